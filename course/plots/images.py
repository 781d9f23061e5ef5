"""Figures made of pictures: grids, predictions, filters and nearest neighbours."""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.figure import (
    COLOURS,
    WIDTH,
    Figure,
    canvas,
    finish,
    listed,
    number,
    to_array,
    to_list,
    to_png,
)

RIGHT, WRONG = COLOURS[0], COLOURS[1]
TITLE_ROOM = 0.24  # inches above a tile
CAPTION_ROOM = 0.34
GAP = 2  # pixels between two filters, before they are enlarged


@kinds_checked
def image_grid(
    images: Any,
    titles: Sequence[str] | None = None,
    columns: int = 8,
    caption: str = "",
) -> Figure:
    """Show pictures in rows, each with its title (chapters 00 and 01).

    Args:
        images: uint8 (N, 3, H, W), or a list of PIL images or (3, H, W) arrays.
        titles: one for each picture.
        columns: pictures in a row.
        caption: one line above them all.
    """
    pictures = to_list(images)
    titles = [str(t) for t in titles] if titles is not None else []
    if columns < 1:
        raise CourseError(f"{columns} pictures in a row were asked for; expected 1 up.")
    columns = min(int(columns), max(len(pictures), 1))
    if titles and len(titles) != len(pictures):
        raise CourseError(
            f"There are {len(titles)} titles for {len(pictures)} pictures; "
            "pass one for each."
        )
    rows = -(-len(pictures) // columns)
    tile = min(WIDTH / columns, 1.8 if len(pictures) > 1 else 3)
    shown = [wrapped(title, tile) for title in titles]
    room = max([TITLE_ROOM + 0.14 * t.count("\n") for t in shown], default=0.04)
    height = rows * (tile * _aspect(pictures) + room) + CAPTION_ROOM * bool(caption)
    with canvas(height, max(tile * columns, 2.5)) as figure:
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for index, axis in enumerate(axes):
            _picture(axis, pictures[index] if index < len(pictures) else None)
            if index < len(titles):
                axis.set_title(shown[index], fontsize=9, pad=2)
        _tighten(figure, caption)
        return finish(figure, _grid_alt(len(pictures), rows, titles, caption))


def _aspect(pictures: Sequence[np.ndarray]) -> float:
    """Height over width of the tallest picture, so that rows have room for it."""
    return max(p.shape[0] / p.shape[1] for p in pictures)


def _picture(axis: Axes, pixels: np.ndarray | None) -> None:
    axis.set_axis_off()
    if pixels is not None:
        smooth = pixels.shape[0] > 160  # small pictures keep their pixels' edges
        axis.imshow(pixels, interpolation="antialiased" if smooth else "nearest")


def _fit(title: str, inches: float) -> str:
    """Shorten a title to the characters that a tile of this width holds."""
    room = max(int(inches * 13), 4)
    return title if len(title) <= room else title[: room - 1] + "…"


def wrapped(title: str, inches: float) -> str:
    """Break a title into two lines at most, each as wide as its tile."""
    lines = textwrap.wrap(title, max(int(inches * 13), 4)) or [""]
    return "\n".join([lines[0], _fit(" ".join(lines[1:]), inches)]).rstrip("\n")


def _tighten(figure: Any, caption: str, space: float = 0.02) -> None:
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=space, hspace=space)
    if caption:
        figure.suptitle(caption, fontsize=11)


def _grid_alt(count: int, rows: int, titles: Sequence[str], caption: str) -> str:
    noun = "picture" if count == 1 else "pictures"
    start = f"{caption.rstrip('.')}: " if caption else ""
    text = f"{start}{count} {noun} in {rows} row{'s' * (rows > 1)}"
    if not titles:
        return text + "."
    counts = [t if n == 1 else f"{t} ({n} times)" for t, n in Counter(titles).items()]
    return f"{text}: {listed([c.replace(chr(10), ' ') for c in counts])}."


@kinds_checked
def predictions(
    images: Any,
    predicted: Sequence[Any],
    titles: Sequence[str] | None = None,
    top: int = 3,
) -> Figure:
    """Show each picture beside bars of its most likely classes (chapter 00).

    Args:
        images: one picture or several, as `image_grid` takes them.
        predicted: ``[(name, probability), ...]`` for one picture, a list of such
            lists for several.
        titles: one above each picture, such as its true class.
        top: how many classes to show.
    """
    pictures = to_list(images)
    single = len(predicted) and _is_pair(predicted[0])
    rows = [predicted] if single else list(predicted)
    if not all(len(row) and all(map(_is_pair, row)) for row in map(_listed, rows)):
        raise CourseError(
            f"The predictions were {predicted!r:.80}; expected a list of pairs of a "
            "name and a probability for each picture, as Model.predict returns it."
        )
    if len(rows) != len(pictures):
        raise CourseError(
            f"There are {len(rows)} lists of predictions for {len(pictures)} pictures."
        )
    if titles is not None and len(titles) != len(pictures):
        raise CourseError(
            f"There are {len(titles)} titles for {len(pictures)} pictures; pass one "
            "for each."
        )
    lists = [[(str(name), float(p)) for name, p in row[:top]] for row in rows]
    names = [str(t) for t in titles] if titles is not None else [""] * len(rows)
    with canvas(1.35 * len(rows) + 0.35) as figure:
        axes = figure.subplots(len(rows), 2, squeeze=False, width_ratios=[1, 3.4])
        for pair, pixels, row, title in zip(axes, pictures, lists, names, strict=True):
            _picture(pair[0], pixels)
            pair[0].set_title(title, fontsize=10, loc="left")  # a long one has room
            _probabilities(pair[1], row, top)
        axes[-1][1].tick_params(labelbottom=True)
        axes[-1][1].set_xlabel("probability")
        return finish(figure, _predictions_alt(lists, names))


def _is_pair(item: Any) -> bool:
    return (
        isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], str)
    )


def _listed(row: Any) -> Sequence[Any]:
    return row if isinstance(row, list | tuple) else ()


def _probabilities(axis: Axes, row: Sequence[tuple[str, float]], top: int) -> None:
    places = range(len(row))
    values = [p for _, p in row]
    colours = [COLOURS[0]] + [COLOURS[5]] * (len(row) - 1)
    axis.barh(places, values, color=colours, height=0.62)
    for place, value in zip(places, values, strict=True):
        axis.text(value + 0.012, place, f"{value:.2f}", va="center", fontsize=9.5)
    axis.set_yticks(places, [_fit(name, 1.9) for name, _ in row])
    axis.set(xlim=(0, 1.1), ylim=(top - 0.4, -0.6), xticks=np.arange(0, 1.1, 0.25))
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(labelbottom=False)


def _predictions_alt(rows: Sequence[Sequence[tuple[str, float]]], names: Any) -> str:
    sentences = []
    for place, (row, name) in enumerate(zip(rows, names, strict=True), start=1):
        found = listed([f"{label} {p:.2f}" for label, p in row])
        subject = f"Picture {place}" + (f", {name}" if name else "")
        sentences.append(f"{subject}: most likely {found}.")
    return " ".join(sentences)


@kinds_checked
def filters(weights: Any, caption: str = "", columns: int = 4) -> Figure:
    """Show a first convolution's filters as enlarged RGB tiles (chapter 01).

    Args:
        weights: (filters, 3, h, w), as `conv1.weight` is; or a dict of such weights
            by name, for filters over time. Grey is zero; all panels share one scale.
        caption: one line above them all.
        columns: panels in a row.
    """
    named = weights if isinstance(weights, Mapping) else {"": weights}
    values = {str(name): to_array(w) for name, w in named.items()}
    for value in values.values():
        if value.ndim != 4 or value.shape[1] != 3:
            raise CourseError(
                f"Filters over RGB have shape (filters, 3, h, w); found {value.shape}."
            )
    strongest = max(float(np.abs(v).max()) for v in values.values()) or 1.0
    across = 8 if len(values) == 1 else 4
    tiles = {name: _mosaic(v, strongest, across) for name, v in values.items()}
    return _panels(tiles, caption, columns, _filters_alt(values, caption))


def _mosaic(weights: np.ndarray, strongest: float, across: int) -> np.ndarray:
    """Lay filters out in rows on white, one pixel a weight."""
    count, _, high, wide = weights.shape
    rows = -(-count // across)
    step_y, step_x, zoom = high * 8 + GAP * 2, wide * 8 + GAP * 2, 8
    sheet = np.full((rows * step_y, across * step_x, 3), 255, np.uint8)
    shades = np.clip(127.5 + 127.5 * weights / strongest, 0, 255).astype(np.uint8)
    for index, shade in enumerate(np.moveaxis(shades, 1, 3)):
        tile = shade.repeat(zoom, 0).repeat(zoom, 1)
        y, x = (index // across) * step_y + GAP, (index % across) * step_x + GAP
        sheet[y : y + high * zoom, x : x + wide * zoom] = tile
    return sheet


def _panels(
    tiles: Mapping[str, np.ndarray], caption: str, columns: int, alt: str
) -> Figure:
    rows = -(-len(tiles) // columns)
    columns = -(-len(tiles) // rows)  # the last row as full as the others
    width = WIDTH if len(tiles) > 1 else 5.2
    tall = width / columns * _aspect(list(tiles.values())) + TITLE_ROOM
    with canvas(rows * tall + CAPTION_ROOM * bool(caption), width) as figure:
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axis in axes:
            axis.set_axis_off()
        for axis, (name, sheet) in zip(axes, tiles.items(), strict=False):
            axis.imshow(sheet, interpolation="nearest")
            axis.set_title(name, fontsize=10)
        _tighten(figure, caption, 0.03)
        return finish(figure, alt)


def _filters_alt(values: Mapping[str, np.ndarray], caption: str) -> str:
    start = f"{caption.rstrip('.')}: " if caption else ""
    parts = []
    for name, weights in values.items():
        count, _, high, wide = weights.shape
        spread = number(weights.std())
        lead = f"{name}: " if name else ""
        parts.append(f"{lead}{count} filters of {high} by {wide}, spread {spread}")
    return start + "; ".join(parts) + "."


@kinds_checked
def neighbours(
    queries: Any,
    found: Sequence[Any],
    correct: Any,
    titles: Sequence[Sequence[str]] | None = None,
    caption: str = "",
) -> Figure:
    """Show each query and its nearest pictures, marked right or wrong (chapter 01).

    Args:
        queries: Q pictures.
        found: Q rows of k pictures, nearest first.
        correct: Q rows of k booleans: does the neighbour have the query's class?
        titles: Q rows of k + 1 class names: the query's, then its neighbours'.
        caption: one line above them all.
    """
    left, right = to_list(queries), [to_list(row) for row in found]
    flags = to_array(correct).astype(bool).reshape(len(left), -1)
    k = flags.shape[1]
    tile = min(WIDTH / (k + 1.3), 1.1)
    rows = len(left)
    with canvas(rows * (tile + TITLE_ROOM) + 0.4, tile * (k + 1.3)) as figure:
        ratios = [1, 0.3, *[1] * k]
        axes = figure.subplots(rows, k + 2, squeeze=False, width_ratios=ratios)
        for row, (axis_row, query) in enumerate(zip(axes, left, strict=True)):
            pictures = [query, None, *right[row]]
            for axis, picture in zip(axis_row, pictures, strict=True):
                _picture(axis, picture)
            names = titles[row] if titles is not None else ["query", *[""] * k]
            axis_row[0].set_title(_fit(str(names[0]), tile), fontsize=9, pad=4)
            for place, axis in enumerate(axis_row[2:]):
                _mark(axis, flags[row, place], str(names[place + 1]), tile)
        _tighten(figure, caption, 0.04)
        return finish(figure, _neighbours_alt(flags, titles, caption))


def _mark(axis: Axes, right: bool, title: str, tile: float) -> None:
    """Frame a neighbour: colour, line style and sign all say the same.

    The words stay dark: in the frame's colour they would be too faint to read.
    """
    shade, sign, style = (RIGHT, "✓", "-") if right else (WRONG, "✗", "--")
    frame = Rectangle((0, 0), 1, 1, transform=axis.transAxes, fill=False, clip_on=False)
    frame.set(edgecolor=shade, linewidth=2.6, linestyle=style)
    axis.add_patch(frame)
    text = _fit(f"{sign} {title}".strip(), tile)
    axis.set_title(text, fontsize=9, pad=4)


def _neighbours_alt(flags: np.ndarray, titles: Any, caption: str) -> str:
    start = f"{caption.rstrip('.')}: " if caption else ""
    rows = []
    for place, row in enumerate(flags):
        name = f" ({titles[place][0]})" if titles is not None else ""
        rows.append(
            f"query {place + 1}{name}: {row.sum()} of {len(row)} neighbours "
            "have its class"
        )
    return f"{start}{listed(rows)}. In all {flags.sum()} of {flags.size}."


@kinds_checked
def plain(image: Any, alt: str, side: int = 256) -> Figure:
    """Return one picture as a figure with nothing around it, for widgets.

    Args:
        image: as `image_grid` takes them; a small one is enlarged to `side` pixels
            or more, and its pixels keep their edges.
        alt: what it shows.
        side: least height in pixels.
    """
    pixels = to_list(image)[0]
    times = max(1, -(-side // pixels.shape[0]))
    large = pixels.repeat(times, 0).repeat(times, 1)
    return Figure(to_png(Image.fromarray(large)), alt)


@kinds_checked
def stacked(*figures: Figure) -> Figure:
    """Put finished figures below one another, for a widget with two (chapter 02).

    Args:
        figures: from top to bottom, each in the middle of its row.
    """
    if not figures:
        raise CourseError("There is no figure to stack: pass at least one.")
    pictures = [Image.open(io.BytesIO(figure.png)).convert("RGB") for figure in figures]
    wide = max(picture.width for picture in pictures)
    sheet = Image.new("RGB", (wide, sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, ((wide - picture.width) // 2, top))
        top += picture.height
    return Figure(to_png(sheet), " ".join(figure.alt for figure in figures))
