"""Boxes drawn on pictures, right and wrong, and the trade of precision for recall."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from PIL import Image, ImageDraw, ImageFont

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.charts import LINES
from course.plots.figure import (
    COLOURS,
    DPI,
    FLAT,
    WIDTH,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    marker,
    number,
    to_array,
    to_list,
    to_png,
)
from course.plots.images import RIGHT, WRONG

if TYPE_CHECKING:
    from course.boxes import Found

MISSED = COLOURS[6]
INK = "#222222"
GAP = 6  # pixels between two pictures
SIGNS = {"right": "✓ ", "wrong": "✗ ", "missed": "missed ", "plain": ""}
SMALL = 260  # pixels of a picture that has room for short words only
SHADES = {"right": RIGHT, "wrong": WRONG, "missed": MISSED, "plain": RIGHT}
# Pixels drawn and left out in turn.
DASHES = {"right": (), "wrong": (9, 5), "missed": (3, 4), "plain": ()}
MEANING = "solid, ✓: right    dashed, ✗: wrong    dotted: missed"


@dataclass(frozen=True)
class _Mark:
    """A box to be drawn: its corners in pixels, what it says, and how it did."""

    box: tuple[float, ...]
    name: str
    score: float | None
    kind: str  # one of SIGNS

    @property
    def text(self) -> str:
        """Its class and score."""
        return self.name if self.score is None else f"{self.name} {self.score:.2f}"

    def plate(self, small: bool) -> str:
        """Return what stands on its plate: as much as there is room for."""
        if not small or self.kind == "plain":
            return SIGNS[self.kind] + (self.name if small else self.text)
        sure = "" if self.score is None else f"{self.score:.2f}".lstrip("0")
        short = {"right": sure, "wrong": self.name, "missed": ""}
        return (SIGNS[self.kind] + short[self.kind]).strip()


@kinds_checked
def scene(
    image: Any,
    found: Found,
    *,
    truth: tuple[Any, Any] | None = None,
    side: int = 512,
    iou: float = 0.5,
) -> Figure:
    """Show what was found on one picture, without a margin, for widgets (chapter 08).

    Right boxes are solid with a tick, wrong ones dashed with a cross, and objects that
    no box found are dotted.

    Args:
        image: one picture, as `image_grid` takes it; a small one is enlarged by a whole
            number until it is at least `side` pixels high, a large one made smaller.
        found: its boxes with scores and labels, the surest first.
        truth: true boxes (k, 4) and labels (k,); None where nobody knows them.
        side: height in pixels.
        iou: how well a right box has to fit.
    """
    pixels = to_list(image)[0]
    marks = _judged(found, truth, iou)
    sheet = _painted(pixels, marks, _scale(pixels, side))
    alt = f"A picture with {_in_words(marks, truth is not None)}"
    return Figure(_quick_png(sheet), alt)


@kinds_checked
def boxes(
    images: Any,
    boxes: Sequence[Any],
    labels: Sequence[Any],
    class_names: Sequence[str],
    scores: Sequence[Any] | None = None,
    truth: Sequence[tuple[Any, Any]] | None = None,
    columns: int = 4,
    caption: str = "",
) -> Figure:
    """Show pictures with their boxes, right and wrong with the truth (chapter 08).

    Where pictures are small, a right box says only how sure it is: its class is the one
    that the picture shows.

    Args:
        images: N pictures, as `image_grid` takes them.
        boxes: for each picture (k, 4), left, top, right, bottom in pixels.
        labels: for each picture (k,), indices into `class_names`.
        class_names: the name of each class.
        scores: for each picture (k,), from 0 to 1; None to show none.
        truth: for each picture the true boxes and labels; None to judge nothing.
        columns: pictures in a row.
        caption: one line above them all.

    Raises:
        CourseError: there are more or fewer boxes, labels or scores than pictures.
    """
    pictures = to_list(images)
    rows = {"boxes": boxes, "labels": labels, "scores": scores, "truth": truth}
    _check(len(pictures), **rows)
    every = [
        _marks_of(
            *(None if row is None else row[place] for row in rows.values()),
            tuple(class_names),
        )
        for place in range(len(pictures))
    ]
    columns = max(1, min(columns, len(pictures)))
    wide = min((int(WIDTH * DPI) - GAP * (columns - 1)) // columns, 420)
    tiles = [
        _painted(pixels, marks, wide / pixels.shape[1])
        for pixels, marks in zip(pictures, every, strict=True)
    ]
    sheet = _sheet(tiles, columns, caption, "" if truth is None else MEANING)
    start = f"{caption.rstrip('.')}: " if caption else ""
    said = [
        f"Picture {place} has {_in_words(marks, truth is not None)}"
        for place, marks in enumerate(every, start=1)
    ]
    return Figure(to_png(sheet, graded=True), start + " ".join(said))


def _quick_png(image: Image.Image) -> bytes:
    """Return PNG bytes for a widget: a few per cent larger, in a third of the time."""
    file = io.BytesIO()
    method = Image.Quantize.FASTOCTREE
    image.quantize(128, method, dither=Image.Dither.NONE).save(file, "PNG")
    return file.getvalue()


def _check(count: int, **rows: Sequence[Any] | None) -> None:
    for name, row in rows.items():
        if row is not None and len(row) != count:
            raise CourseError(
                f"There are {len(row)} sets of {name} for {count} pictures; pass one "
                "for each."
            )


def _marks_of(
    corners: Any, labels: Any, scores: Any, truth: Any, names: tuple[str, ...]
) -> list[_Mark]:
    import torch

    from course.boxes import Found

    kinds = torch.as_tensor(to_array(labels)).long()
    if len(kinds) and not 0 <= int(kinds.min()) <= int(kinds.max()) < len(names):
        raise CourseError(
            f"Labels run from {int(kinds.min())} to {int(kinds.max())}, but there are "
            f"{len(names)} class names; expected a name for each."
        )
    if np.size(to_array(corners)) != 4 * len(kinds):
        raise CourseError(
            f"{len(kinds)} labels came with boxes of {np.size(to_array(corners))} "
            "numbers; expected left, top, right and bottom for each."
        )
    sure = torch.ones(len(kinds)) if scores is None else torch.as_tensor(scores)
    order = sure.argsort(descending=True, stable=True)
    places = torch.as_tensor(to_array(corners)).float().reshape(-1, 4)
    found = Found(places[order], sure[order], kinds[order], names)
    return _judged(found, truth, 0.5, scores is not None)


def _judged(
    found: Found, truth: tuple[Any, Any] | None, iou: float, scored: bool = True
) -> list[_Mark]:
    """Return the boxes, each right or wrong, and those of the objects missed."""
    names = found.class_names
    kinds, missed = ["plain"] * len(found), []
    if truth is not None:
        kinds, missed = _compared(found, truth, iou)
    rows = zip(
        found.boxes.tolist(),
        found.scores.tolist(),
        found.labels.tolist(),
        kinds,
        strict=True,
    )
    marks = [
        _Mark(tuple(box), names[label], score if scored else None, kind)
        for box, score, label, kind in rows
    ]
    return [_Mark(tuple(b), names[k], None, "missed") for b, k in missed] + marks


def _compared(
    found: Found, truth: tuple[Any, Any], iou: float
) -> tuple[list[str], list[tuple[list[float], int]]]:
    """Return how each box did, and the box and label of each object it missed."""
    import torch

    from course.boxes import matched

    corners, labels = (torch.as_tensor(to_array(values)) for values in truth)
    corners, labels = corners.float().reshape(-1, 4), labels.long()
    right = matched(found, corners, labels, iou)
    # Who looks for the objects with the right boxes finds those that have one.
    back = type(found)(corners, torch.ones(len(labels)), labels, found.class_names)
    hit = found.take(right)
    seen = matched(back, hit.boxes, hit.labels, iou).tolist()
    rows = zip(corners.tolist(), labels.tolist(), seen, strict=True)
    missed = [(box, label) for box, label, found_it in rows if not found_it]
    return ["right" if r else "wrong" for r in right.tolist()], missed


def _scale(pixels: np.ndarray, side: int) -> float:
    """Return by how much a picture is enlarged; a whole number keeps its pixels."""
    high = pixels.shape[0]
    return float(-(-side // high)) if high <= side else side / high


def _painted(pixels: np.ndarray, marks: Sequence[_Mark], scale: float) -> Image.Image:
    """Return the picture enlarged, with its boxes and, on top, what they say."""
    high, wide = pixels.shape[:2]
    size = (round(wide * scale), round(high * scale))
    whole = scale == int(scale)
    how = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    sheet = Image.fromarray(np.ascontiguousarray(pixels)).resize(size, how)
    pen, small = ImageDraw.Draw(sheet), size[0] < SMALL
    edges = [_inside([v * scale for v in mark.box], size) for mark in marks]
    for mark, edge in zip(marks, edges, strict=True):
        _frame(pen, edge, mark.kind, 2 if small else 3)
    points = 10 if small else max(12, min(size) // 36)
    texts = [mark.plate(small) for mark in marks]
    _say(pen, edges, texts, size, points)
    return sheet


def _inside(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    """Return a box whose frame lies on the picture."""
    limits = (size[0] - 2, size[1] - 2) * 2
    return [min(max(v, 1), most) for v, most in zip(box, limits, strict=True)]


def _frame(
    pen: ImageDraw.ImageDraw, box: Sequence[float], kind: str, width: int
) -> None:
    """Draw a frame in its shade on a white one, so that it shows on any picture."""
    left, top, right, bottom = box
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    pen.line(corners, fill="white", width=width + 2)
    for start, end in pairwise(corners):
        for piece in _pieces(start, end, DASHES[kind]):
            pen.line(piece, fill=SHADES[kind], width=width)


def _pieces(
    start: tuple[float, float], end: tuple[float, float], dash: Sequence[int]
) -> Iterator[list[tuple[float, float]]]:
    """Yield the pieces of a dashed line."""
    (x, y), (to_x, to_y) = start, end
    length = abs(to_x - x) + abs(to_y - y)  # it runs along one axis
    drawn, left_out = dash or (length, 1)
    at = 0.0
    while at < length:
        ends = (at / length, min(at + drawn, length) / length)
        yield [(x + (to_x - x) * f, y + (to_y - y) * f) for f in ends]
        at += drawn + left_out


_Rectangle = Sequence[float]


def _say(
    pen: ImageDraw.ImageDraw,
    boxes: Sequence[_Rectangle],
    texts: Sequence[str],
    size: tuple[int, int],
    points: int,
) -> None:
    """Write on a white plate by each box, where it covers no other and few boxes."""
    taken: list[_Rectangle] = []
    for box, text in zip(boxes, texts, strict=True):
        wide, high = pen.textlength(text, font=_font(points)) + 6, points + 5

        def cost(place: _Rectangle) -> float:
            plates = sum(_shared(place, other) for other in taken)
            return 20 * plates + sum(_shared(place, other) for other in boxes)

        corners = _corners(box, wide, high, size, taken)
        plate = min(((x, y, x + wide, y + high) for x, y in corners), key=cost)
        taken.append(plate)
        pen.rectangle(list(plate), fill="white", outline=INK)
        pen.text((plate[0] + 3, plate[1] + high / 2), text, INK, _font(points), "lm")


def _corners(
    box: _Rectangle,
    wide: float,
    high: float,
    size: tuple[int, int],
    taken: Sequence[_Rectangle],
) -> Iterator[tuple[float, float]]:
    """Yield where a plate may stand, the best first: above, below, within, beside."""
    left, top, right, bottom = box
    columns = (left, right - wide, left - wide, right, (left + right - wide) / 2)
    for y in (top - high, bottom, top, bottom - high):
        for x in columns:
            yield _kept(x, y, wide, high, size)
    for _, under, _, below in taken:
        for y in (under - high - 1, below + 1):
            yield _kept(left, y, wide, high, size)


def _kept(
    x: float, y: float, wide: float, high: float, size: tuple[int, int]
) -> tuple[float, float]:
    across, down = size
    return max(0, min(x, across - wide - 1)), max(0, min(y, down - high - 1))


def _shared(first: _Rectangle, second: _Rectangle) -> float:
    """Return the area that two rectangles share."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(wide, 0) * max(high, 0)


@cache
def _font(points: int) -> ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), points)


def _sheet(
    tiles: Sequence[Image.Image], columns: int, caption: str, meaning: str
) -> Image.Image:
    """Lay pictures out in rows, a caption above and what the lines mean below."""
    wide = max(tile.width for tile in tiles)
    high = max(tile.height for tile in tiles)
    rows = -(-len(tiles) // columns)
    top = 28 * bool(caption)
    across = columns * (wide + GAP) - GAP
    across = max(across, 360 if meaning or caption else 0)
    down = top + rows * (high + GAP) - GAP + 26 * bool(meaning)
    sheet = Image.new("RGB", (across, down), "white")
    for place, tile in enumerate(tiles):
        x, y = place % columns * (wide + GAP), place // columns * (high + GAP)
        sheet.paste(tile, (x, top + y))
    pen = ImageDraw.Draw(sheet)
    pen.text((across / 2, 12), caption, INK, _font(15), "mm")
    pen.text((across / 2, down - 11), meaning, INK, _font(12), "mm")
    return sheet


def _in_words(marks: Sequence[_Mark], judged: bool) -> str:
    """Return what a picture's boxes say, as the end of a sentence."""
    found = [mark.text for mark in marks if mark.kind != "missed"]
    noun = "box" if len(found) == 1 else "boxes"
    if not judged:
        said = f"{len(found)} {noun}"
        return f"{said}: {listed(found)}." if found else "no box."
    parts = []
    for kind in ("right", "wrong", "missed"):
        texts = [mark.text for mark in marks if mark.kind == kind]
        parts.append(f"{len(texts)} {kind}" + (f" ({listed(texts)})" if texts else ""))
    return f"{len(found)} {noun}: {', '.join(parts)}."


@kinds_checked
def precision_recall(
    curves: Mapping[str, Sequence[Any]],
    points: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
) -> Figure:
    """Draw precision over recall, a curve for each detector (chapter 08).

    Args:
        curves: name to recalls and precisions, from the highest threshold down.
        points: name to the recall and precision of one threshold, marked on the curve
            of that name; names without a curve are marked alone.
        title: one line above the plot.

    Raises:
        CourseError: a curve has no points, or more recalls than precisions.
    """
    lines = {name: _curve(name, *row) for name, row in curves.items()}
    dots = {name: (float(r), float(p)) for name, (r, p) in (points or {}).items()}
    with canvas(3.9) as figure:
        axis = figure.subplots()
        for index, (name, line) in enumerate(lines.items()):
            style = LINES[index % len(LINES)]
            axis.plot(*line, style, color=colour(index), label=name)
        _dots(axis, list(lines), dots)
        axis.set(xlabel="recall", ylabel="precision", title=title)
        axis.set(xlim=(-0.02, 1.03), ylim=(-0.02, 1.05))
        axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        return finish(figure, _curves_alt(lines, dots, title), colours=FLAT)


def _curve(name: str, recalls: Any, precisions: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = to_array(recalls).astype(float), to_array(precisions).astype(float)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise CourseError(
            f"The curve {name!r} has recalls of shape {x.shape} and precisions of "
            f"shape {y.shape}; expected one or more of each, and as many of both."
        )
    return x, y


def _dots(
    axis: Axes, names: Sequence[str], dots: Mapping[str, tuple[float, float]]
) -> None:
    for place, (name, (recall, precision)) in enumerate(dots.items()):
        index = names.index(name) if name in names else len(names) + place
        whose = "" if name in names else f"{name}: "
        axis.plot(
            [recall],
            [precision],
            marker(index),
            color=colour(index),
            markersize=10,
            markeredgecolor="white",
            clip_on=False,
            zorder=5,
            label=f"{whose}recall {recall:.2f}, precision {precision:.2f}",
        )


def _curves_alt(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    dots: Mapping[str, tuple[float, float]],
    title: str,
) -> str:
    sentences = [f"{title.rstrip('.')}." if title else "Precision over recall."]
    for name, (x, y) in lines.items():
        middle = int(np.abs(x - 0.5).argmin())
        sentences.append(
            f"{name}: precision {number(y[middle])} at recall {number(x[middle])}; the "
            f"curve ends at recall {number(x[-1])} with precision {number(y[-1])}."
        )
    for name, (recall, precision) in dots.items():
        sentences.append(
            f"Marked for {name}: recall {number(recall)}, precision "
            f"{number(precision)}."
        )
    return " ".join(sentences)
