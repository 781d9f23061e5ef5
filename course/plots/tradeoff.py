"""A figure of what one pays and what one gets: named points, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.figure import (
    FLAT,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    marker,
    number,
    to_array,
)

# Where a name may stand beside its point, best first: offset in points, and alignment.
_SIDES = (
    (9, 0, "left", "center"),
    (-9, 0, "right", "center"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
    (8, 8, "left", "bottom"),
    (-8, 8, "right", "bottom"),
    (8, -8, "left", "top"),
    (-8, -8, "right", "top"),
    (0, 22, "center", "bottom"),
    (0, -22, "center", "top"),
    (16, 20, "left", "bottom"),
    (-16, 20, "right", "bottom"),
    (16, -20, "left", "top"),
    (-16, -20, "right", "top"),
)


class _Point(NamedTuple):
    name: str
    cost: float
    mean: float
    low: float
    high: float


@kinds_checked
def tradeoff(
    points: Mapping[str, tuple[float, Sequence[float]]],
    xlabel: str = "cost",
    ylabel: str = "accuracy",
    title: str = "",
    logx: bool = True,
) -> Figure:
    """Draw what each choice costs and brings; a line joins the best (chapter 06).

    The line is the Pareto front: nothing on it is both dearer and worse, in its mean,
    than another choice.

    Args:
        points: name to its cost and its values, one a seed; a bar goes from the lowest
            to the highest.
        xlabel: what the cost is, with its unit.
        ylabel: what the values are; more is better.
        title: one line above the plot.
        logx: a logarithmic axis of the cost.

    Raises:
        CourseError: there is no point, or one has no value.
    """
    chosen = [_point(name, cost, values) for name, (cost, values) in points.items()]
    if not chosen:
        raise CourseError("There is nothing to compare: expected at least one point.")
    front = _front(chosen)
    with canvas(4.3) as figure:
        axis = figure.subplots()
        axis.set_xscale("log" if logx else "linear")
        axis.plot(
            [p.cost for p in front],
            [p.mean for p in front],
            "--",
            color="#777777",
            lw=1.2,
            zorder=1,
        )
        for index, point in enumerate(chosen):
            _draw(axis, index, point)
        axis.margins(x=0.14, y=0.12)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        if logx:
            _plain_ticks(axis)
        if title:
            figure.suptitle(title, fontsize=11)
        figure.canvas.draw()  # or nobody knows yet how large a name is
        _name_all(axis, chosen)
        return finish(
            figure, _alt(chosen, front, (xlabel, ylabel, title)), colours=FLAT
        )


def _point(name: str, cost: float, values: Sequence[float]) -> _Point:
    numbers = np.atleast_1d(to_array(values)).astype(float)
    if not len(numbers):
        raise CourseError(f"{name!r} has no value; expected one for each seed.")
    low, high = float(numbers.min()), float(numbers.max())
    return _Point(str(name), float(cost), float(numbers.mean()), low, high)


def _front(points: Sequence[_Point]) -> list[_Point]:
    """Return the points that no other beats in both, from the cheapest on."""
    best, front = -np.inf, []
    for point in sorted(points, key=lambda p: (p.cost, -p.mean)):
        if point.mean > best:
            best = point.mean
            front.append(point)
    return front


def _draw(axis: Axes, index: int, point: _Point) -> None:
    axis.plot([point.cost] * 2, [point.low, point.high], color=colour(index), lw=1.6)
    axis.plot(
        point.cost,
        point.mean,
        marker(index),
        ms=12 if marker(index) == "*" else 9,
        color=colour(index),
        mec="white",
        mew=0.8,
        zorder=3,
    )


def _plain_ticks(axis: Axes) -> None:
    low, high = axis.get_xlim()
    steps = [m * 10.0**e for e in range(-6, 13) for m in (1, 1.5, 2, 3, 5, 7)]
    ticks = [step for step in steps if low <= step <= high]
    if len(ticks) >= 2:
        axis.set_xticks(ticks, [number(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_xlim(low, high)


def _name_all(axis: Axes, points: Sequence[_Point]) -> None:
    """Write every name where it covers neither a marker nor another name."""
    taken = [_around(axis, point) for point in points]
    for index, point in enumerate(points):
        tries = [_named(axis, index, point, side) for side in _SIDES]
        boxes = [_extent(axis, text) for text in tries]
        costs = [_overlap(axis, box, taken) for box in boxes]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        for place, text in enumerate(tries):
            if place != best:
                text.remove()


def _named(axis: Axes, index: int, point: _Point, side: Any) -> Annotation:
    dx, dy, across, along = side
    return axis.annotate(
        point.name,
        (point.cost, point.mean),
        xytext=(dx, dy),
        textcoords="offset points",
        ha=across,
        va=along,
        fontsize=9.5,
        color="#222222",
        zorder=2,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )


def _extent(axis: Axes, text: Annotation) -> Bbox:
    return text.get_window_extent(axis.figure.canvas.get_renderer())


def _around(axis: Axes, point: _Point) -> Bbox:
    x, low = axis.transData.transform((point.cost, point.low))
    _, high = axis.transData.transform((point.cost, point.high))
    _, middle = axis.transData.transform((point.cost, point.mean))
    return Bbox([[x - 7, min(low, middle - 7)], [x + 7, max(high, middle + 7)]])


def _overlap(axis: Axes, box: Bbox, taken: Sequence[Bbox]) -> float:
    """Return how many square pixels of a name would cover something or be cut off."""
    frame = axis.get_window_extent()
    inside = Bbox.intersection(box, frame)
    lost = box.width * box.height
    lost -= inside.width * inside.height if inside is not None else 0
    shared = [Bbox.intersection(box, other) for other in taken]
    return lost + sum(s.width * s.height for s in shared if s is not None)


def _alt(
    points: Sequence[_Point], front: Sequence[_Point], labels: tuple[str, str, str]
) -> str:
    xlabel, ylabel, title = labels
    start = f"{title.rstrip('.')}. " if title else ""
    parts = [
        f"{p.name} {number(p.mean)} ({number(p.low)} to {number(p.high)}) "
        f"at {number(p.cost)}"
        for p in points
    ]
    best = listed([p.name for p in front])
    return (
        f"{start}{ylabel.capitalize()} against {xlabel}: {'; '.join(parts)}. "
        f"Not beaten in both: {best}."
    )
