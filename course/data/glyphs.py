"""Glyphs: printed letters bent, thickened and coarsened until they look handwritten.

Each letter of each font is rendered once and kept as a signed distance field: the
distance to the outline, positive inside. Drawing is then one lookup in that field,
and the thickness of a stroke is where the field is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from course.arguments import kinds_checked
from course.data.digits import LEVELS, as_rgb, enlarge
from course.errors import CourseError

if TYPE_CHECKING:
    from PIL import Image

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")
"""The capitals, and the small letters whose form differs (arXiv:1702.05373)."""

FONTS = (
    *("DejaVuSans" + face for face in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *("DejaVuSansMono" + face for face in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *("DejaVuSerif" + face for face in ("", "-Bold", "-Italic", "-BoldItalic")),
    *("STIXGeneral" + face for face in ("", "Bol", "Italic", "BolIta")),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10"),
)
"""Fonts that come with matplotlib, by the name of their file."""

_CELL = 96  # pixels a side of a letter in the atlas
_FILL = 0.7  # the part of its cell that a letter spans
_BATCH = 256
_RESOLUTIONS = (8, 10, 12, 16, 24, 32, None)  # pixels a side; None leaves it sharp
_SHARES = (0.32, 0.1, 0.1, 0.08, 0.1, 0.1, 0.2)


class Glyphs(NamedTuple):
    """Drawn letters: uint8 (N, 3, S, S), and int64 (N,) each of label and font."""

    images: Tensor
    labels: Tensor
    fonts: Tensor


@kinds_checked
def draw(n: int, seed: int | Sequence[int], size: int = 64) -> Glyphs:
    """Draw `n` letters, white on black; the same seed gives the same bytes.

    Args:
        n: how many images; the 37 letters come equally often, in random order.
        seed: of a numpy PCG64 generator, one number or several.
        size: pixels a side.

    Returns:
        The images, the labels (indices into `LETTERS`) and the fonts (into `FONTS`).

    Raises:
        CourseError: `n` or `size` is below 1.
    """
    if n < 1 or size < 1:
        raise CourseError(
            f"{n} glyphs of {size} pixels a side were asked for; expected at least "
            "one glyph of at least one pixel."
        )
    generator = np.random.default_rng(seed)
    labels = torch.from_numpy(generator.permutation(n) % len(LETTERS))
    fonts = torch.from_numpy(generator.integers(0, len(FONTS), n))
    images = torch.empty((n, 3, size, size), dtype=torch.uint8)
    for start in range(0, n, _BATCH):
        here = slice(start, start + _BATCH)
        ink = _ink(labels[here], fonts[here], size, generator)
        ink = _coarsen(ink, generator)
        images[here] = as_rgb(_expose(ink, generator))
    return Glyphs(images, labels, fonts)


def atlas() -> Tensor:
    """Return the signed distance fields, float32 (letters, fonts, 96, 96).

    Distances are in half cells, positive inside the letter; every letter is centred
    and its longer side spans 0.7 of the cell. Rendered once a process by FreeType.
    """
    return _atlas().field


@dataclass(frozen=True, eq=False)
class _Atlas:
    field: Tensor  # float32 (letters, fonts, cell, cell)
    stroke: Tensor  # float32 (letters, fonts): half the width of a typical stroke


@cache
def _atlas() -> _Atlas:
    from scipy.ndimage import distance_transform_edt

    shape = (len(LETTERS), len(FONTS), _CELL, _CELL)
    inside = [_render(letter, name) for letter in LETTERS for name in FONTS]
    field = np.stack(
        [
            np.maximum(distance_transform_edt(cell) - 0.5, 0)
            - np.maximum(distance_transform_edt(~cell) - 0.5, 0)
            for cell in inside
        ]
    ) / (_CELL / 2)
    # Depth rises from 0 to half the stroke's width, so its mean is a quarter of it.
    depth = [f[cell].mean() for f, cell in zip(field, inside, strict=True)]
    stroke = 2 * np.array(depth)
    return _Atlas(
        torch.from_numpy(field.reshape(shape)).float(),
        torch.from_numpy(stroke.reshape(shape[:2])).float(),
    )


@cache
def _folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _render(letter: str, name: str) -> np.ndarray:
    """Return bool (cell, cell): the letter, centred, its longer side at `_FILL`."""
    from PIL import Image

    trial = _printed(letter, name, _CELL)
    exact = _CELL * _FILL / max(trial.size)
    ink = _printed(letter, name, _CELL * exact)
    cell = Image.new("L", (_CELL, _CELL))
    cell.paste(ink, ((_CELL - ink.width) // 2, (_CELL - ink.height) // 2))
    return np.asarray(cell) > 127


def _printed(letter: str, name: str, points: float) -> Image.Image:
    """Return a letter cut to its ink: the boxes that fonts give are wider than it."""
    from PIL import Image, ImageDraw, ImageFont

    # Basic layout: Raqm is not on every machine, and would shift the letters.
    font = ImageFont.truetype(
        _folder() / f"{name}.ttf", points, layout_engine=ImageFont.Layout.BASIC
    )
    paper = Image.new("L", (5 * _CELL, 5 * _CELL))
    ImageDraw.Draw(paper).text((2 * _CELL, 2 * _CELL), letter, font=font, fill=255)
    return paper.crop(paper.getbbox())


def _ink(
    labels: Tensor, fonts: Tensor, size: int, generator: np.random.Generator
) -> Tensor:
    """Draw bent letters, float32 (N, S, S): the part of each pixel that ink covers."""
    known = _atlas()
    field, stroke = known.field[labels, fonts], known.stroke[labels, fonts]
    count = len(labels)
    linear, grain = _affine(count, generator)
    grid = affine_grid(linear, [count, 1, size, size], align_corners=False)
    grid = grid + _bend(count, size, generator)
    distance = grid_sample(
        field[:, None], grid, padding_mode="border", align_corners=False
    )[:, 0]
    # A pen has its own width, whatever the font: half of it, in half cells.
    pen = _uniform(generator, 0.05, 0.13, count) * 2 * _FILL
    thicker = torch.maximum(pen - stroke, -0.5 * stroke)
    pixel = 2 * grain / size
    outline = distance + thicker[:, None, None]
    return (0.5 + outline / pixel[:, None, None]).clamp(0, 1)


def _affine(count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return maps from frame to cell, float32 (N, 2, 3), and how much each enlarges."""
    angle = torch.deg2rad(_uniform(generator, -15, 15, count))
    shear = _uniform(generator, -0.25, 0.25, count)
    wide = _FILL / _uniform(generator, 0.55, 1.0, count)
    tall = _FILL / _uniform(generator, 0.75, 1.1, count)
    shift = _uniform(generator, -0.1, 0.1, 2 * count).view(2, count)
    cos, sin = torch.cos(angle), torch.sin(angle)
    across = torch.stack((wide * cos, wide * (shear * cos - sin), shift[0]), 1)
    down = torch.stack((tall * sin, tall * (shear * sin + cos), shift[1]), 1)
    return torch.stack((across, down), 1), torch.sqrt(wide * tall)


def _bend(count: int, size: int, generator: np.random.Generator) -> Tensor:
    """Return smooth random displacements, float32 (N, S, S, 2), in half cells."""
    strength = _uniform(generator, 0.0, 0.16, count)[:, None, None, None]
    coarse = _uniform(generator, -1, 1, count * 2 * 25).view(count, 2, 5, 5) * strength
    smooth = interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
    return smooth.permute(0, 2, 3, 1)


def _coarsen(ink: Tensor, generator: np.random.Generator) -> Tensor:
    """Scan each image at a resolution of its own and show it as digits are shown."""
    size = ink.shape[-1]
    chosen = generator.choice(len(_RESOLUTIONS), len(ink), p=_SHARES)
    result = ink.clone()
    for index, resolution in enumerate(_RESOLUTIONS):
        here = torch.from_numpy(np.flatnonzero(chosen == index))
        if resolution is None or resolution >= size or not len(here):
            continue
        scan = interpolate(ink[here][:, None], size=(resolution,) * 2, mode="area")
        result[here] = enlarge((scan[:, 0] * LEVELS).round() / LEVELS, size)
    return result


def _expose(ink: Tensor, generator: np.random.Generator) -> Tensor:
    """Vary contrast a little and add slight noise, float32 (N, S, S) from 0 to 1."""
    count = len(ink)
    white = _uniform(generator, 0.85, 1.0, count)[:, None, None]
    strength = _uniform(generator, 0.0, 0.05, count)[:, None, None]
    noise = generator.random(ink.shape, dtype=np.float32) - 0.5
    return (ink * white + torch.from_numpy(noise) * strength).clamp(0, 1)


def _uniform(
    generator: np.random.Generator, low: float, high: float, count: int
) -> Tensor:
    return torch.from_numpy(generator.uniform(low, high, count)).float()
