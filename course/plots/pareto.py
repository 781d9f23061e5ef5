"""What models cost against what they reach, and those that nothing else beats."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.figure import (
    COLOURS,
    FLAT,
    Figure,
    canvas,
    finish,
    listed,
    number,
    to_array,
)

Place = tuple[int, int, str]
NAMED = 8.5  # points, the size of a model's name
# Where the near corner of a name may go, in pixels from its point, and on which side of
# it the name ends: above and to the left of a front that rises there is most room.
LEFT = [(-x, y, "right") for y in range(4, 220, 10) for x in range(-24, 200, 14)]
BELOW = [(x, -y, "left") for y in range(4, 60, 10) for x in range(8, 60, 14)]
# To the right it would block the way up of the next one: a last resort.
RIGHT = [(x, y, "left") for y in range(4, 220, 10) for x in range(-4, 60, 14)]
PLACES = sorted([*LEFT, *BELOW], key=lambda place: np.hypot(*place[:2])) + RIGHT


@kinds_checked
def pareto(
    names: Sequence[str],
    cost: Sequence[float],
    gain: Sequence[float],
    front: Sequence[int],
    marked: Sequence[int] = (),
    faded: Collection[int] = (),
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Figure:
    """Draw models by cost and gain, and join those on the front (chapter 07).

    Args:
        names: of all models.
        cost: of each, above zero; the axis is logarithmic.
        gain: of each.
        front: places in `names` of those that no other dominates, cheapest first;
            only these get their names.
        marked: places of a few to point out, such as a shortlist.
        faded: places of those that do not count, such as what a limit leaves out.
        xlabel: what the cost is, with its unit.
        ylabel: what the gain is, with its unit.
        title: one line above the plot.

    Raises:
        CourseError: names, costs and gains differ in number, or a cost is not above 0.
    """
    x, y = to_array(cost).astype(float), to_array(gain).astype(float)
    if not len(names) == len(x) == len(y) or not len(names):
        raise CourseError(
            f"There are {len(names)} names, {len(x)} costs and {len(y)} gains; "
            "expected as many of each, and at least one."
        )
    if not (x > 0).all():
        raise CourseError("A cost was not above 0; a logarithmic axis cannot show it.")
    with canvas(4.8) as figure:
        axis = figure.subplots()
        _draw_models(axis, x, y, front, marked, faded)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axis.minorticks_off()
        low, high = y.min(), y.max()
        reach = (high - low) or 1.0
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.set_ylim(low - 0.05 * reach, high + 0.35 * reach)
        axis.set_xlim(x.min() * (x.min() / x.max()) ** 0.15, x.max() * 1.4)
        if title:
            figure.suptitle(title, fontsize=11)
        figure.legend(loc="outside lower center", ncols=4)
        figure.get_layout_engine().execute(figure)  # now the pixels are known,
        figure.set_layout_engine("none")  # and stay
        _name(axis, [str(name) for name in names], x, y, front)
        alt = _alt(names, x, y, front, marked, faded, (xlabel, ylabel, title))
        return finish(figure, alt, colours=FLAT)


def _draw_models(
    axis: Axes,
    x: np.ndarray,
    y: np.ndarray,
    front: Sequence[int],
    marked: Sequence[int],
    faded: Collection[int],
) -> None:
    out = [place for place in range(len(x)) if place in faded]
    others = [n for n in range(len(x)) if n not in faded and n not in front]
    if out:
        style = {"s": 14, "marker": "x", "color": "#B5B5B5", "linewidths": 1}
        axis.scatter(x[out], y[out], label="outside the limits", **style)
    if others:
        axis.scatter(x[others], y[others], s=16, color="#8A8A8A", label="dominated")
    line = {"color": COLOURS[0], "marker": "o", "ms": 5, "zorder": 3}
    if len(front):
        axis.plot(x[list(front)], y[list(front)], label="Pareto front", **line)
    if len(marked):
        chosen = list(marked)
        ring = {"s": 110, "facecolors": "none", "edgecolors": COLOURS[1]}
        axis.scatter(
            x[chosen], y[chosen], linewidths=2, zorder=4, label="shortlist", **ring
        )


def _name(
    axis: Axes,
    names: Sequence[str],
    x: np.ndarray,
    y: np.ndarray,
    front: Sequence[int],
) -> None:
    """Write the names of the front where they cover neither it nor one another."""
    pixels = axis.transData.transform(np.column_stack([x, y]))
    taken = np.concatenate([_around(pixels, 4), _along(pixels[list(front)])])
    for n in front:  # from the left, so that none blocks the way up of a later one
        point = x[n], y[n]
        measured = axis.text(*point, names[n], fontsize=NAMED)
        size = measured.get_window_extent()
        measured.remove()
        place, covered = _free_place(
            axis.get_window_extent(), pixels[n], (size.width, size.height), taken
        )
        if place is not None:
            _write(axis, names[n], point, place)
            taken = np.concatenate([taken, covered])


def _write(axis: Axes, name: str, point: tuple[float, float], place: Place) -> None:
    """Write a name beside its point, with a thin line between them."""
    *offset, side = place
    below = offset[1] < 0
    line = {"arrowstyle": "-", "color": "#999999", "lw": 0.7, "shrinkA": 1}
    axis.annotate(
        name,
        point,
        offset,
        textcoords="offset pixels",
        fontsize=NAMED,
        ha=side,
        va="top" if below else "bottom",
        in_layout=False,
        arrowprops={**line, "relpos": (side == "right", below)},
        zorder=5,
    )


def _free_place(
    inside: Bbox, point: np.ndarray, size: tuple[float, float], taken: np.ndarray
) -> tuple[Place | None, np.ndarray]:
    """Return the nearest free place for a name, and what it and its line cover there.

    Args:
        inside: the axes, in pixels.
        point: (2,), what is named.
        size: of the name.
        taken: (N, 4), boxes that must stay free.

    Returns:
        One of `PLACES`, or None where none is free; and (M, 4) boxes.
    """
    for x, y, side in PLACES:
        end = point + np.array([x, y])
        corner = end - (size[0] * (side == "right"), size[1] * (y < 0))
        box = np.concatenate([corner, corner + size])
        if (box[:2] < inside.p0).any() or (box[2:] > inside.p1).any():
            continue
        if _overlap(box[None], taken):
            continue
        line = _along(np.stack([point, end]), leave=7)
        if not _overlap(line, taken):
            return (x, y, side), np.concatenate([box[None], line])
    return None, np.empty((0, 4))


def _overlap(boxes: np.ndarray, others: np.ndarray) -> bool:
    """Say whether any box (x0, y0, x1, y1) of one array meets one of the other."""
    one, two = boxes[:, None], others[None]
    apart = (one[..., :2] > two[..., 2:]) | (two[..., :2] > one[..., 2:])
    return bool((~apart.any(axis=-1)).any())


def _around(points: np.ndarray, reach: float) -> np.ndarray:
    return np.concatenate([points - reach, points + reach], axis=1)


def _along(points: np.ndarray, leave: float = 0.0) -> np.ndarray:
    """Return small boxes along a line through points; `leave` pixels of it at first."""
    boxes = [np.empty((0, 4))]
    for start, end in itertools.pairwise(points):
        length = float(np.hypot(*(end - start)))
        steps = np.arange(leave, length, 4.0)[:, None]
        boxes.append(_around(start + (end - start) * steps / (length or 1.0), 2))
    return np.concatenate(boxes)


def _alt(
    names: Sequence[str],
    x: np.ndarray,
    y: np.ndarray,
    front: Sequence[int],
    marked: Sequence[int],
    faded: Collection[int],
    words: tuple[str, str, str],
) -> str:
    xlabel, ylabel, title = words
    start = f"{title.rstrip('.')}. " if title else ""
    points = [f"{names[n]} ({number(x[n])}, {number(y[n])})" for n in front]
    on_it = f"On the front: {listed(points, 30)}." if points else "The front is empty."
    list_ = [str(names[n]) for n in marked]
    ringed = f" On the shortlist: {listed(list_)}." if list_ else ""
    out = f" {len(faded)} are outside the limits." if faded else ""
    return (
        f"{start}{len(names)} models by {xlabel or 'cost'} from {number(x.min())} to "
        f"{number(x.max())} and {ylabel or 'gain'} from {number(y.min())} to "
        f"{number(y.max())}. {on_it}{ringed}{out}"
    )
