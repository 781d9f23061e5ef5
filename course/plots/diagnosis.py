"""Figures of chapter 10: what is confused, how honest probabilities are, the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps
from scipy import stats

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.charts import LINES, _heading
from course.plots.differences import LEVEL
from course.plots.figure import (
    FLAT,
    WIDTH,
    Figure,
    canvas,
    colour,
    finish,
    marker,
    number,
    to_array,
    to_list,
)
from course.plots.heat import _heat, _in_words, _painted
from course.plots.images import _fit, wrapped

if TYPE_CHECKING:  # figures alone, as the slides need them, load no torch
    from course.calibration import Reliability
    from course.diagnosis import Wrong

NUMBERED = 25  # classes, up to which every cell has room for its number
NAMED = 40  # classes, up to which every row has room for its name
PALE = 1.9  # the map's end: never so dark that black words could not be read
PAIR = 1.16  # inches a side of a picture, of two side by side
ROOM = 0.4  # inches above a pair
SIDE = 176  # pixels a side before the figure is drawn


@kinds_checked
def confusion(matrix: Any, names: Sequence[str], title: str = "") -> Figure:
    """Draw how many images of each class were given each class (chapter 10).

    What is right lies on the framed diagonal. A cell's shade is its share of its row,
    blue where right and orange where wrong, so classes of any size can be compared;
    orange grows with the root of the share, or a few mistakes would not be seen.

    Args:
        matrix: int (C, C), from `diagnosis.confusion`.
        names: of the classes.
        title: one line above the plot.

    Raises:
        CourseError: the matrix does not fit the names.
    """
    from course import diagnosis

    words = diagnosis.in_words(matrix, names)
    counts = to_array(matrix)
    size = float(np.clip(0.42 * len(names), 2.2, WIDTH - 1.4))
    wide = min(WIDTH, max(3.4, size + 1.7))
    with canvas(size + 1.3 + 0.28 * bool(title), wide) as figure:
        axis = figure.subplots()
        _cells(axis, counts)
        _class_names(axis, [str(name) for name in names])
        axis.set(xlabel="taken for", ylabel="true class")
        axis.grid(visible=False)
        axis.tick_params(length=0)
        for side in ("left", "bottom"):
            axis.spines[side].set_visible(False)
        _heading(figure, title, False, names)
        start = f"{title.rstrip('.')}. " if title else ""
        alt = f"{start}Confusion matrix of {len(names)} classes. {words}"
        return finish(figure, alt, graded=True)


def _cells(axis: Axes, counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    own = np.eye(len(counts), dtype=bool)
    # The root makes a few mistakes of a large class visible.
    for cmap, shade, hidden in (
        ("Blues", shares, ~own),
        ("Oranges", np.sqrt(shares), own),
    ):
        shown = np.ma.masked_array(shade, hidden | (counts == 0))
        axis.imshow(shown, cmap=cmap, vmin=0, vmax=PALE, aspect="equal")
    edges = np.arange(len(counts) + 1) - 0.5
    for draw in (axis.hlines, axis.vlines):
        draw(edges, edges[0], edges[-1], color="#D5D5D5", lw=0.6, zorder=0.5)
    for place in edges[:-1]:
        frame = Rectangle((place, place), 1, 1, fill=False, ec="#4A6E90", lw=0.9)
        axis.add_patch(frame)
    if len(counts) <= NUMBERED:
        size = float(np.clip(130 / len(counts), 5.5, 10.5))
        for (row, column), count in np.ndenumerate(counts):
            if count:
                where = {"ha": "center", "va": "center", "fontsize": size}
                axis.text(column, row, f"{count:,}", color="#111111", **where)


def _class_names(axis: Axes, names: Sequence[str]) -> None:
    """Name rows and columns, or number every tenth where there are too many."""
    if len(names) > NAMED:
        axis.set_xticks(range(0, len(names), 10))
        axis.set_yticks(range(0, len(names), 10))
        return
    short = [_fit(name, 1.1) for name in names]
    size = float(np.clip(200 / len(names), 5.5, 9.5))
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    flat = max(map(len, short)) * len(names) <= 36
    axis.set_xticks(range(len(names)), short, size=size, **({} if flat else turned))
    axis.set_yticks(range(len(names)), short, size=size)


@kinds_checked
def reliability(
    before: Reliability,
    after: Reliability | None = None,
    names: tuple[str, str] = ("before", "after"),
    title: str = "",
) -> Figure:
    """Draw accuracy against confidence, and below it how many images are in each bin.

    A network whose probabilities are honest lies on the dashed line (chapter 10).

    Args:
        before: from `calibration.reliability`.
        after: the same with a temperature; None for `before` alone.
        names: what the two are called.
        title: one line above the plot.
    """
    series = dict(zip(names, filter(None, [before, after]), strict=False))
    with canvas(4.9 + 0.25 * bool(title), 5.6) as figure:
        main, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        main.plot([0, 1], [0, 1], "--", color="#666666", lw=1, label="honest")
        for index, (name, found) in enumerate(series.items()):
            _bins(main, index, f"{name}: error {found.error:.3f}", found)
            counts = np.append(0, to_array(found.counts))
            style = {"color": colour(index), "ls": LINES[index]}
            below.step(to_array(found.edges), counts, where="pre", **style)
        main.set(ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
        below.set(xlabel="probability of the answer", ylabel="images")
        below.set_ylim(bottom=0)
        _heading(figure, title, True, ["honest", *series])
        return finish(figure, _reliability_alt(series, title), colours=FLAT)


def _bins(axis: Axes, index: int, label: str, found: Reliability) -> None:
    """Draw the bins that hold images, each with its Wilson interval."""
    full = to_array(found.counts) > 0
    n = to_array(found.counts)[full]
    x, y = to_array(found.confidence)[full], to_array(found.accuracy)[full]
    tests = [
        stats.binomtest(round(share * count), int(count)).proportion_ci(LEVEL, "wilson")
        for share, count in zip(y, n, strict=True)
    ]
    ends = np.array([[test.low, test.high] for test in tests]).T
    axis.errorbar(
        x,
        y,
        yerr=np.abs(ends - y),
        color=colour(index),
        marker=marker(index),
        ls=LINES[index],
        lw=1.2,
        elinewidth=0.9,
        capsize=2,
        label=label,
    )


def _reliability_alt(series: dict[str, Reliability], title: str) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    parts = []
    for name, found in series.items():
        fullest = int(found.counts.argmax())
        parts.append(
            f"{name}: calibration error {number(found.error)} over "
            f"{int(found.counts.sum())} images; the fullest bin holds "
            f"{int(found.counts[fullest])}, with a mean probability of "
            f"{number(found.confidence[fullest])} and an accuracy of "
            f"{number(found.accuracy[fullest])}"
        )
    return f"{start}Share that is right against probability. {'. '.join(parts)}."


@kinds_checked
def most_wrong(
    images: Any,
    rows: Sequence[Wrong],
    maps: Any = None,
    names: Sequence[str] = (),
    caption: str = "",
) -> Figure:
    """Show images that were taken for something else, each beside where it was looked.

    Args:
        images: one picture a row, as the model saw it (`explain.as_seen`), as
            `image_grid` takes them.
        rows: from `diagnosis.most_wrong`.
        maps: (N, h, w), of `explain.grad_cam` for the class that was given; None for
            the pictures alone.
        names: of the classes; without them they are called by their numbers.
        caption: one line above them all.

    Raises:
        CourseError: there is no image, or there are not as many of each.
    """
    pictures = to_list(images)
    heats = [None] * len(pictures) if maps is None else [_heat(heat) for heat in maps]
    if not len(pictures) == len(rows) == len(heats):
        raise CourseError(
            f"There are {len(pictures)} pictures, {len(rows)} rows and {len(heats)} "
            "maps; expected one of each a picture: take the images at row.index."
        )
    columns = min(3, len(rows))
    down = -(-len(rows) // columns)
    height = down * (PAIR + ROOM) + 0.4 * bool(caption)
    wide = max(columns * 2 * PAIR, 3.5)
    with canvas(height, wide) as figure:
        axes = list(figure.subplots(down, columns, squeeze=False).flat)
        for place, axis in enumerate(axes):
            axis.set_axis_off()
            if place < len(rows):
                axis.imshow(_pair(pictures[place], heats[place]))
                words = "\n".join(_given_and_true(rows[place], names, short=True))
                axis.set_title(words, fontsize=9, pad=3, loc="left")
        figure.get_layout_engine().set(w_pad=0.05, h_pad=0.03, wspace=0.02, hspace=0)
        if caption:
            figure.suptitle(wrapped(caption, wide), fontsize=11)
        alt = _most_wrong_alt(rows, heats, names, caption)
        return finish(figure, alt, graded=maps is not None)


def _given_and_true(
    row: Wrong, names: Sequence[str], short: bool = False
) -> tuple[str, str]:
    given, true = (
        str(names[label]) if names else f"class {label}"
        for label in (row.predicted, row.true)
    )
    if short:
        given, true = _fit(given, 1.2), _fit(true, 1.2)
    return f"given {given} ({row.probability:.2f})", f"true {true} ({row.of_true:.2f})"


def _pair(pixels: np.ndarray, heat: np.ndarray | None) -> np.ndarray:
    """Return a picture in a white square, and beside it the same under its map."""
    nothing = np.zeros((1, 1), np.float32)
    tiles = [_painted(pixels, nothing, 0.0, None, SIDE)]
    if heat is not None:
        tiles.append(_painted(pixels, heat, 0.5, None, SIDE))
    square = [
        ImageOps.pad(Image.fromarray(tile), (SIDE, SIDE), color="white")
        for tile in tiles
    ]
    return np.concatenate([np.asarray(tile) for tile in square], axis=1)


def _most_wrong_alt(
    rows: Sequence[Wrong], heats: Sequence[Any], names: Sequence[str], caption: str
) -> str:
    start = f"{caption.rstrip('.')}: " if caption else ""
    said = []
    for row, heat in zip(rows, heats, strict=True):
        text = ", ".join(_given_and_true(row, names))
        said.append(text if heat is None else f"{text}, {_in_words(heat, None)}")
    beside = "" if heats[0] is None else ", each beside its heat map"
    noun = "picture" if len(rows) == 1 else "pictures"
    return f"{start}{len(rows)} {noun} taken for something else{beside}: " + (
        "; ".join(said) + "."
    )
