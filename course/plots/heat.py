"""Heat maps over pictures: where a network looked, and where the object is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from PIL import Image, ImageFilter

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.figure import (
    WIDTH,
    Figure,
    canvas,
    finish,
    number,
    to_array,
    to_list,
    to_png,
)
from course.plots.images import TITLE_ROOM, wrapped

# Its brightness grows evenly, for colour-blind eyes too; what is cold goes dark.
MAP = "inferno"
SIDE = 256  # pixels
BAR_ROOM = 0.3  # inches below the pictures
HEADING_ROOM = 0.22  # above them, for a caption
MOST = 12  # pictures described one by one
ROWS = ("upper", "middle", "lower")
COLUMNS = ("left", "centre", "right")


@kinds_checked
def overlay(
    image: Any, heat: Any, strength: float = 0.5, mask: Any = None, side: int = SIDE
) -> Figure:
    """Lay a heat map over one picture, fast enough to follow a slider (chapter 04).

    Args:
        image: one picture, as `image_grid` takes them.
        heat: (h, w); a coarse one is enlarged, what is negative counts as nothing, and
            the largest value gets the brightest colour.
        strength: 0 shows the picture alone, 1 the map alone.
        mask: bool (H, W), the object, whose outline is drawn.
        side: height in pixels.
    """
    pixels = to_list(image)[0]
    values = _heat(heat)
    outline = _mask(mask, pixels)
    painted = _painted(pixels, values, strength, outline, side)
    alt = f"Heat map over a picture: {_in_words(values, outline)}."
    return Figure(to_png(Image.fromarray(painted)), alt)


@kinds_checked
def heatmaps(
    images: Any,
    maps: Any,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    strength: float = 0.5,
    masks: Any = None,
    caption: str = "",
) -> Figure:
    """Show pictures in rows with their heat maps over them (chapter 04).

    Args:
        images: N pictures, as `image_grid` takes them.
        maps: (N, h, w), each as `overlay` takes it, so each has its own scale.
        titles: one for each picture.
        columns: pictures in a row.
        strength: 0 shows the pictures alone, 1 the maps alone.
        masks: bool (N, H, W), the objects, whose outlines are drawn.
        caption: one line above them all.
    """
    pictures = to_list(images)
    heats = [_heat(heat) for heat in maps]
    outlines = [None] * len(pictures) if masks is None else list(masks)
    names = [str(t) for t in titles] if titles is not None else [""] * len(pictures)
    for what, found in (("maps", heats), ("masks", outlines), ("titles", names)):
        if len(found) != len(pictures):
            raise CourseError(
                f"There are {len(found)} {what} for {len(pictures)} pictures; pass one "
                "for each."
            )
    outlines = [_mask(m, p) for m, p in zip(outlines, pictures, strict=True)]
    tiles = [
        _painted(pixels, heat, strength, outline, SIDE)
        for pixels, heat, outline in zip(pictures, heats, outlines, strict=True)
    ]
    alt = _alt(heats, outlines, names, caption)
    return _grid(tiles, names if titles is not None else [], columns, caption, alt)


def _grid(
    tiles: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int,
    caption: str,
    alt: str,
) -> Figure:
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    tile = min(WIDTH / columns, 1.75)
    shown = [wrapped(title, tile) for title in titles]
    room = max([TITLE_ROOM + 0.14 * t.count("\n") for t in shown], default=0.04)
    tall = tile * max(t.shape[0] / t.shape[1] for t in tiles) + room
    height = rows * tall + HEADING_ROOM * bool(caption) + BAR_ROOM
    with canvas(height, max(tile * columns, 3.4)) as figure:
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for index, axis in enumerate(axes):
            axis.set_axis_off()
            if index < len(tiles):
                axis.imshow(tiles[index], interpolation="antialiased")
            if index < len(shown):
                axis.set_title(shown[index], fontsize=9, pad=2)
        _colour_bar(figure, axes)
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        if caption:
            figure.suptitle(caption, fontsize=11)
        return finish(figure, alt, graded=True)


def _colour_bar(figure: Any, axes: list[Any]) -> None:
    scale = ScalarMappable(cmap=MAP)
    bar = figure.colorbar(
        scale,
        ax=axes,
        location="bottom",
        shrink=0.5,
        aspect=30,
        pad=0.02,
        fraction=0.05,
    )
    bar.outline.set_visible(False)
    bar.set_ticks([0, 1], labels=["nothing", "the most in this picture"])
    bar.ax.tick_params(length=0, labelsize=9)


def _heat(heat: Any) -> np.ndarray:
    """Return a map as float32 (h, w) from 0 to 1."""
    values = to_array(heat).astype(np.float32)
    if values.ndim != 2 or not values.size:
        raise CourseError(
            f"A heat map was expected as (height, width) and came as {values.shape}."
        )
    if not np.isfinite(values).all():
        raise CourseError("A heat map has values that are not finite numbers.")
    values = values.clip(min=0)
    return values / (values.max() or 1.0)


def _mask(mask: Any, pixels: np.ndarray) -> np.ndarray | None:
    if mask is None:
        return None
    values = to_array(mask).astype(bool)
    if values.shape != pixels.shape[:2]:
        raise CourseError(
            f"A mask came as {values.shape} for a picture of {pixels.shape[:2]}; "
            "expected the same height and width."
        )
    return values


def _painted(
    pixels: np.ndarray,
    heat: np.ndarray,
    strength: float,
    mask: np.ndarray | None,
    side: int,
) -> np.ndarray:
    """Return uint8 (H, W, 3): a picture, its heat, the outline of its object."""
    size = (round(side * pixels.shape[1] / pixels.shape[0]), side)
    small = pixels.shape[0] < side  # small pictures keep their pixels' edges
    how = Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
    picture = np.asarray(Image.fromarray(pixels).resize(size, how), np.float32)
    warm = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    colours = matplotlib.colormaps[MAP](warm)[..., :3] * 255
    faded = _faded(picture, min(1.0, 2 * strength))
    painted = (1 - strength) * faded + strength * colours
    if mask is not None:
        white, black = _outline(mask, size)
        painted[black], painted[white] = 0, 255
    return painted.round().astype(np.uint8)


def _faded(picture: np.ndarray, share: float) -> np.ndarray:
    """Take the colour out of a picture, so that under a map a colour means heat."""
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    return (1 - share) * picture + share * grey[..., None]


def _outline(mask: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return where a white line around an object is, and the black one around that."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        size, Image.Resampling.BILINEAR
    )
    inner = large.point(lambda value: 255 * (value > 127))
    middle = inner.filter(ImageFilter.MaxFilter(5))
    outer = middle.filter(ImageFilter.MaxFilter(3))
    inside, white, black = (np.asarray(plane) > 0 for plane in (inner, middle, outer))
    return white & ~inside, black & ~white


def _in_words(heat: np.ndarray, mask: np.ndarray | None) -> str:
    if not heat.any():
        return "no heat"
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    high, wide = heat.shape
    down, across = (2 * row + 1) * 3 // (2 * high), (2 * column + 1) * 3 // (2 * wide)
    place = f"{ROWS[down]} {COLUMNS[across]}".replace("middle centre", "centre")
    return f"hottest at the {place}" + _share_in_words(heat, mask)


def _share_in_words(heat: np.ndarray, mask: np.ndarray | None) -> str:
    if mask is None:
        return ""
    return f", {number(_share(heat, mask))} of the heat on the object"


def _share(heat: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the heat that lies on the object."""
    size = (mask.shape[1], mask.shape[0])
    large = Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR)
    values = np.asarray(large, np.float64)
    return float(values[mask].sum() / values.sum())


def _alt(
    heats: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    titles: Sequence[str],
    caption: str,
) -> str:
    start = f"{caption.rstrip('.')}: " if caption else ""
    noun = "picture" if len(heats) == 1 else "pictures"
    rows = [
        f"{title}, {_in_words(heat, mask)}".removeprefix(", ")
        for title, heat, mask in zip(titles, heats, masks, strict=True)
    ]
    more = f"; and {len(rows) - MOST} more" if len(rows) > MOST else ""
    shown = "; ".join(rows[:MOST]) + more
    return f"{start}{len(heats)} {noun} under heat maps: {shown}."
