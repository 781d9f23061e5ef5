"""The shapes corpus: drawn objects whose every factor is known (chapter 00).

Only sums, products, square roots and comparisons are done for a pixel. Those are exact
to the last bit on every processor, so a seed gives the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from course.arguments import kinds_checked
from course.data import outlines
from course.errors import CourseError, unknown

SOURCE_SHAPES = tuple(outlines.SOURCE)
HELD_OUT_SHAPES = tuple(outlines.HELD_OUT)
SHAPES = SOURCE_SHAPES + HELD_OUT_SHAPES
ORIENTED_SHAPES = (
    "arrow",
    "chevron",
    "crescent",
    "drop",
    "fish",
    "half_disc",
    "heart",
    "horseshoe",
    "house",
    "pac",
    "tee",
)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 62, 58),
    "orange": (240, 138, 32),
    "yellow": (246, 206, 56),
    "green": (64, 158, 84),
    "teal": (38, 176, 176),
    "blue": (48, 98, 204),
    "violet": (128, 78, 186),
    "pink": (236, 124, 178),
}
# Pairs of muted tones: paper, sand, sage, mist, lilac, rose, slate, ink, moss, plum.
PAPERS = (
    ((244, 240, 230), (226, 220, 206)),
    ((232, 218, 194), (214, 198, 170)),
    ((206, 218, 200), (186, 202, 180)),
    ((210, 222, 232), (188, 204, 218)),
    ((222, 214, 230), (204, 194, 216)),
    ((238, 216, 212), (222, 196, 192)),
    ((108, 120, 134), (90, 102, 118)),
    ((44, 50, 66), (58, 66, 84)),
    ((72, 84, 70), (88, 102, 84)),
    ((78, 62, 80), (94, 78, 98)),
)
FACTORS = ("shape", "fill", "colour", "orientation", "position")
_COLUMNS = ("shape", "fill", "colour", "background", "clutter")
_NUMBERS = ("x", "y", "scale", "rotation")
_LOOKS = 4 + 5 * 3  # light, tint, paper, angle; then five numbers for each mark
_CHUNK = 64  # images drawn at once: their planes fit the cache


def _index(kind: str, name: str | float, known: tuple[str, ...]) -> int:
    number = isinstance(name, int | np.integer) and not isinstance(name, bool)
    if number and 0 <= name < len(known):
        return int(name)
    if name not in known:
        raise unknown(kind, name, known)
    return known.index(str(name))


@dataclass(frozen=True)
class Style:
    """Which nuisances the corpus has, and how much of each.

    Args:
        fills: names from `FILLS`.
        backgrounds: names from `BACKGROUNDS`.
        clutter: most marks behind the object (0 to 3).
        scale: smallest and largest radius of the object, in half canvases.
        shift: how far from the centre: 0 stays there, 1 goes to the edge.
        rotation: turned by up to so many degrees either way.
        colours: names from `COLOURS`.
    """

    fills: tuple[str, ...]
    backgrounds: tuple[str, ...]
    clutter: int
    scale: tuple[float, float]
    shift: float
    rotation: float
    colours: tuple[str, ...] = tuple(COLOURS)

    def __post_init__(self) -> None:
        for kind, names, known in (
            ("fill", self.fills, FILLS),
            ("background", self.backgrounds, BACKGROUNDS),
            ("colour", self.colours, COLOURS),
        ):
            for name in names:
                _index(kind, name, tuple(known))
            if not names:
                raise CourseError(
                    f"A style without a {kind} cannot be drawn; name one."
                )
        if self.clutter not in (0, 1, 2, 3) or not (
            0 < self.scale[0] <= self.scale[1] <= 1
            and 0 <= self.shift <= 1
            and self.rotation >= 0
        ):
            raise CourseError(
                f"A style with clutter {self.clutter}, scale {self.scale}, shift "
                f"{self.shift} and rotation {self.rotation} cannot be drawn; expected "
                "0 to 3 marks, scales from above 0 to 1, a shift from 0 to 1 and a "
                "rotation from 0."
            )


@dataclass(frozen=True, eq=False)
class Factors:
    """What is drawn in each of N images; `look` holds the chance nobody names.

    Shape, fill, colour and background are indices (int64) into `shapes`, `FILLS`,
    `COLOURS` and `BACKGROUNDS`; clutter counts marks; x, y and scale are in half
    canvases, rotation in degrees clockwise (float32).
    """

    shapes: tuple[str, ...]
    shape: Tensor
    fill: Tensor
    colour: Tensor
    background: Tensor
    clutter: Tensor
    x: Tensor
    y: Tensor
    scale: Tensor
    rotation: Tensor
    look: Tensor

    def __len__(self) -> int:
        return len(self.shape)

    def take(self, places: slice | Tensor) -> Factors:
        """Return the factors of some of the images."""
        values = {
            f.name: getattr(self, f.name)[places]
            for f in fields(self)
            if f.name != "shapes"
        }
        return replace(self, **values)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Images with everything that is known of them.

    Args:
        images: uint8 (N, 3, S, S).
        masks: bool (N, S, S), the object's pixels.
        boxes: float32 (N, 4), left, top, right, bottom in pixels.
        factors: name to a tensor of N values.
        shapes: the names behind ``factors["shape"]``.
    """

    images: Tensor
    masks: Tensor
    boxes: Tensor
    factors: dict[str, Tensor]
    shapes: tuple[str, ...]


def _saw(value: Tensor) -> Tensor:
    return value - value.floor()


def _wave(value: Tensor) -> Tensor:
    """Return a triangle wave from 0 to 1 and back in one unit."""
    return (_saw(value) * 2 - 1).abs()


def _sharp(value: Tensor, slope: float = 4.0) -> Tensor:
    """Return 0 below a half and 1 above it, with a soft edge."""
    return ((value - 0.5) * slope + 0.5).clamp(0, 1)


def _hashed(x: Tensor, y: Tensor) -> Tensor:
    """Return noise from 0 to 1 for each pair of whole numbers."""
    mixed = (x.long() * 374761393 + y.long() * 668265263) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0x7FFFFFFF
    return ((mixed ^ (mixed >> 16)) & 0xFFFF).float() / 65535


def _radius(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()


def _checker(x: Tensor, y: Tensor) -> Tensor:
    return ((x.floor() + y.floor()).remainder(2) == 0).float()


def _dots(x: Tensor, y: Tensor) -> Tensor:
    return ((0.36 - _radius(_saw(x) - 0.5, _saw(y) - 0.5)) * 5 + 0.5).clamp(0, 1)


def _lattice(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(_sharp(_wave(x) - 0.22), _sharp(_wave(y) - 0.22))


def _bricks(x: Tensor, y: Tensor) -> Tensor:
    shifted = x + (y.floor().remainder(2) == 0).float() * 0.5
    joints = torch.maximum(_wave(shifted) - 0.32, _wave(y) - 0.22)
    return _sharp(joints)


Texture = Callable[[Tensor, Tensor], Tensor]
FILLS: dict[str, Texture] = {
    "solid": lambda x, y: torch.zeros_like(x),
    "gradient": lambda x, y: (y * 0.55 + 0.5).clamp(0, 1),
    "halo": lambda x, y: (1.05 - _radius(x, y) * 1.2).clamp(0, 1),
    "stripes": lambda x, y: _sharp(_wave(x * 1.7 + 0.25)),
    "checker": lambda x, y: _checker(x * 1.9, y * 1.9),
    "dots": lambda x, y: _dots(x * 1.9, y * 1.9),
    "rings": lambda x, y: _sharp(_wave(_radius(x, y) * 2.2)),
    "waves": lambda x, y: _sharp(_wave(y * 1.6 + 0.55 * _wave(x * 1.6))),
    "lattice": lambda x, y: _lattice(x * 1.5, y * 1.5),
    "bricks": lambda x, y: _bricks(x * 1.3, y * 2.2),
    "speckle": lambda x, y: _sharp(_hashed((x * 5).floor(), (y * 5).floor()), 9.0),
    "split": lambda x, y: (x * 12 + 0.5).clamp(0, 1),
}
BACKGROUNDS: dict[str, Texture] = {
    "plain": lambda x, y: torch.zeros_like(x),
    "gradient": lambda x, y: (x * 0.6 + 0.5).clamp(0, 1),
    "glow": lambda x, y: (1 - _radius(x, y) * 0.8).clamp(0, 1),
    "bands": lambda x, y: _sharp(_wave(x * 1.4)),
    "tiles": lambda x, y: _checker(x * 2.5, y * 2.5),
    "grain": lambda x, y: _hashed((x * 40).floor(), (y * 40).floor()),
    "dunes": lambda x, y: _wave(y * 1.1 + 0.4 * _wave(x * 0.8)),
}
STYLES: dict[str, Style] = {
    "plain": Style(("solid",), ("plain",), 0, (0.5, 0.7), 0.5, 10),
    "mild": Style(
        ("solid", "gradient", "stripes"),
        ("plain", "gradient"),
        1,
        (0.42, 0.75),
        0.8,
        30,
    ),
    "full": Style(tuple(FILLS), tuple(BACKGROUNDS), 3, (0.32, 0.82), 1.0, 180),
}


@kinds_checked
def draw(
    n: int,
    seed: int | Sequence[int],
    *,
    shapes: Sequence[str] = SOURCE_SHAPES,
    style: str | Style = "full",
    size: int = 64,
    **fixed: str | float,
) -> Drawn:
    """Draw `n` images; the first ones do not depend on how many follow.

    Args:
        n: how many images.
        seed: which images, a number or several.
        shapes: the classes to choose from, names from `SHAPES`.
        style: a name from `STYLES`, or your own `Style`.
        size: height and width in pixels.
        fixed: factors that are the same in all images, by name or number:
            ``shape="star5", fill="dots", rotation=30.0``.

    Raises:
        CourseError: a name is unknown or a number impossible.
    """
    return render(sample(n, seed, shapes=shapes, style=style, **fixed), size)


@kinds_checked
def sample(
    n: int,
    seed: int | Sequence[int],
    *,
    shapes: Sequence[str] = SOURCE_SHAPES,
    style: str | Style = "full",
    **fixed: str | float,
) -> Factors:
    """Choose the factors of `n` images; see `draw`."""
    _check_request(n, seed, shapes)
    chance = _Chance(n, np.atleast_1d(seed).tolist())
    found = _style(style)
    columns = _categories(chance, tuple(shapes), found) | _numbers(chance, found)
    columns["look"] = chance.uniform(9, (n, _LOOKS))
    for name, value in fixed.items():
        columns[name] = torch.full_like(*_fixed(name, value, columns, tuple(shapes)))
    return Factors(tuple(shapes), **columns)


def _check_request(n: int, seed: int | Sequence[int], shapes: Sequence[str]) -> None:
    if not isinstance(n, int) or n < 1:
        raise CourseError(f"{n} images were asked for; expected a whole number from 1.")
    if any(part < 0 for part in np.atleast_1d(seed)):
        raise CourseError(f"The seed was {seed}; expected a whole number from 0.")
    for name in shapes:
        _index("shape", name, SHAPES)
    if not shapes or len(set(shapes)) < len(shapes):
        raise CourseError(
            f"The shapes {tuple(shapes)} were asked for; expected one or more, each "
            "once."
        )


@dataclass(frozen=True)
class _Chance:
    """Draws columns of random numbers, each from a generator of its own."""

    n: int
    seed: list[int]

    def uniform(self, column: int, shape: tuple[int, ...]) -> Tensor:
        generator = np.random.default_rng([*self.seed, column])
        return torch.from_numpy(generator.random(shape)).float()

    def balanced(self, column: int, choices: Sequence[int]) -> Tensor:
        """Return every choice equally often, in a random order."""
        generator = np.random.default_rng([*self.seed, column])
        rounds = -(-self.n // len(choices))
        order = generator.permuted(np.tile(choices, (rounds, 1)), axis=1)
        return torch.from_numpy(order.reshape(-1)[: self.n].astype(np.int64))


def _style(style: str | Style) -> Style:
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise unknown("style", style, STYLES)
    return STYLES[style]


def _categories(
    chance: _Chance, shapes: tuple[str, ...], style: Style
) -> dict[str, Tensor]:
    fills = [_index("fill", name, tuple(FILLS)) for name in style.fills]
    colours = [_index("colour", name, tuple(COLOURS)) for name in style.colours]
    papers = [_index("background", b, tuple(BACKGROUNDS)) for b in style.backgrounds]
    choices = (range(len(shapes)), fills, colours, papers, range(style.clutter + 1))
    return {
        name: chance.balanced(column, list(values))
        for column, (name, values) in enumerate(zip(_COLUMNS, choices, strict=True))
    }


def _numbers(chance: _Chance, style: Style) -> dict[str, Tensor]:
    low, high = style.scale
    scale = low + (high - low) * chance.uniform(5, (chance.n,))
    room = style.shift * (1 - scale).clamp(min=0)
    place = chance.uniform(6, (chance.n, 2)) * 2 - 1
    turn = (chance.uniform(7, (chance.n,)) * 2 - 1) * style.rotation
    return {
        "x": place[:, 0] * room,
        "y": place[:, 1] * room,
        "scale": scale,
        "rotation": turn,
    }


def _fixed(
    name: str, value: str | float, columns: dict[str, Tensor], shapes: tuple[str, ...]
) -> tuple[Tensor, float]:
    known = {
        "shape": shapes,
        "fill": tuple(FILLS),
        "colour": tuple(COLOURS),
        "background": tuple(BACKGROUNDS),
    }
    if name not in (*_COLUMNS, *_NUMBERS):
        raise unknown("factor", name, (*_COLUMNS, *_NUMBERS))
    if name in known:
        return columns[name], _index(name, value, known[name])
    limits = {"clutter": (0, 3), "scale": (0.05, 1), "rotation": (-360, 360)}
    low, high = limits.get(name, (-1, 1))
    whole = name != "clutter" or value in (0, 1, 2, 3)
    if isinstance(value, str) or not low <= value <= high or not whole:
        raise CourseError(f"{name} was {value!r}; expected a number {low} to {high}.")
    return columns[name], value


@kinds_checked
def render(factors: Factors, size: int = 64) -> Drawn:
    """Draw images from their factors.

    Args:
        factors: from `sample`, or changed by hand.
        size: height and width in pixels, at least 8.
    """
    if size < 8:
        raise CourseError(f"A size of {size} pixels was asked for; expected 8 or more.")
    parts = [
        _render(factors.take(slice(start, start + _CHUNK)), size)
        for start in range(0, len(factors), _CHUNK)
    ]
    images, masks = (torch.cat(column) for column in zip(*parts, strict=True))
    known = {name: getattr(factors, name) for name in (*_COLUMNS, *_NUMBERS)}
    return Drawn(images, masks, boxes_of(masks), known, factors.shapes)


def _render(factors: Factors, size: int) -> tuple[Tensor, Tensor]:
    line = (torch.arange(size) + 0.5) / size * 2 - 1
    px, py = line[None, None, :], line[None, :, None]
    x, y = _object_frame(factors, px, py)
    pixels = factors.scale[:, None, None] * (size / 2)
    distance = _distance(factors, x, y) * pixels
    canvas = _papers(factors, px, py)
    canvas = _marks(factors, canvas, px, py, size)
    drift = 0.05 + 0.05 * factors.scale[:, None, None]
    shadow = (
        _distance(factors, *_object_frame(factors, px - drift, py - drift)) * pixels
    )
    shade = (0.5 - shadow / (0.06 * size)).clamp(0, 1) * 0.4
    canvas = canvas * (1 - shade[:, None])
    cover = (0.5 - distance).clamp(0, 1)[:, None]
    canvas = canvas * (1 - cover) + _paint(factors, x, y) * cover
    return (canvas + 0.5).clamp(0, 255).to(torch.uint8), distance < 0


def _object_frame(factors: Factors, px: Tensor, py: Tensor) -> tuple[Tensor, Tensor]:
    """Return where each pixel is in the object's own frame, its radius the unit."""
    angle = np.radians(factors.rotation.double().numpy())
    cosine, sine = (
        torch.from_numpy(f(angle).astype(np.float32))[:, None, None]
        for f in (np.cos, np.sin)
    )
    scale = factors.scale[:, None, None]
    x = (px - factors.x[:, None, None]) / scale
    y = (py - factors.y[:, None, None]) / scale
    return cosine * x + sine * y, cosine * y - sine * x


def _distance(factors: Factors, x: Tensor, y: Tensor) -> Tensor:
    """Return the signed distance to the outline, read from the atlas bilinearly."""
    cells, reach = outlines.CELLS, outlines.REACH
    u, v = (
        ((value / reach + 1) * (0.5 * cells) - 0.5).clamp(0, cells - 1.001)
        for value in (x, y)
    )
    names = [SHAPES.index(name) for name in factors.shapes]
    page = torch.tensor(names)[factors.shape][:, None, None] * (cells * cells)
    i, j = u.floor(), v.floor()
    fu, fv = u - i, v - j
    place = page + j.long() * cells + i.long()
    flat = outlines.atlas().flatten()
    top = flat[place] * (1 - fu) + flat[place + 1] * fu
    bottom = flat[place + cells] * (1 - fu) + flat[place + cells + 1] * fu
    return top * (1 - fv) + bottom * fv


def _textured(
    kinds: Tensor, textures: dict[str, Texture], x: Tensor, y: Tensor
) -> Tensor:
    """Return each image's own texture, every texture evaluated on its images alone."""
    result = torch.zeros_like(x)
    for number, texture in enumerate(textures.values()):
        where = torch.nonzero(kinds == number).flatten()
        if len(where):
            result[where] = texture(x[where], y[where])
    return result


def _paint(factors: Factors, x: Tensor, y: Tensor) -> Tensor:
    """Return the object's colour at each pixel: two tones of one hue, mixed by fill."""
    light = factors.look[:, 0, None]
    base = torch.tensor(list(COLOURS.values())).float()[factors.colour]
    base = base * (0.9 + 0.16 * factors.look[:, 1, None])
    second = torch.where(light < 0.5, base * 0.52, 255 - (255 - base) * 0.42)
    tone = _textured(factors.fill, FILLS, x, y)[:, None]
    return base[:, :, None, None] * (1 - tone) + second[:, :, None, None] * tone


def _papers(factors: Factors, px: Tensor, py: Tensor) -> Tensor:
    tones = torch.tensor(PAPERS).float()
    pair = tones[(factors.look[:, 2] * len(PAPERS)).long()]
    # A direction without sines: a point of the unit square's border.
    slant = (factors.look[:, 3] * 2 - 1)[:, None, None]
    x, y = px + slant * py, py - slant * px
    tone = _textured(factors.background, BACKGROUNDS, x, y)[:, None]
    first, second = pair[:, 0, :, None, None], pair[:, 1, :, None, None]
    return first * (1 - tone) + second * tone


def _marks(
    factors: Factors, canvas: Tensor, px: Tensor, py: Tensor, size: int
) -> Tensor:
    """Return the canvas with small discs, rings and bars that mean nothing."""
    colours = torch.tensor(list(COLOURS.values())).float()
    for mark in range(int(factors.clutter.max())):
        look = factors.look[:, 4 + 5 * mark : 9 + 5 * mark, None, None]
        x, y = px - (look[:, 0] * 2 - 1), py - (look[:, 1] * 2 - 1)
        radius = 0.05 + 0.09 * look[:, 2]
        disc = _radius(x, y) - radius
        ring = disc.abs() - radius * 0.3
        bar = torch.maximum(x.abs() - radius, y.abs() - radius * 0.3)
        kind = look[:, 3] * 3
        distance = torch.where(kind < 1, disc, torch.where(kind < 2, ring, bar))
        shown = (factors.clutter > mark)[:, None, None].float() * 0.6
        cover = ((0.5 - distance * (size / 2)).clamp(0, 1) * shown)[:, None]
        colour = colours[(look[:, 4, 0, 0] * len(colours)).long()][:, :, None, None]
        canvas = canvas * (1 - cover) + colour * cover
    return canvas


def boxes_of(masks: Tensor) -> Tensor:
    """Return left, top, right, bottom of each mask, in pixels: float32 (N, 4).

    Args:
        masks: bool (N, H, W); an empty mask has the box 0, 0, 0, 0.
    """
    sides = []
    for direction in (1, 2):  # rows folded away: left and right; then columns
        hit = masks.any(dim=direction).float()
        length = hit.shape[1]
        first = hit.argmax(dim=1)
        last = length - hit.flip(1).argmax(dim=1)
        full = hit.any(dim=1)
        sides.append((first * full, last * full))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1).float()


@kinds_checked
def label_of(drawn: Drawn, factor: str) -> tuple[Tensor, tuple[str, ...]]:
    """Make a factor the label: int64 (N,) and its class names.

    Orientation is the rotation in eight steps of 45° (it means something for
    `ORIENTED_SHAPES` alone), position the cell of a 3×3 grid that holds the centre.

    Args:
        drawn: images with their factors.
        factor: one of `FACTORS`.
    """
    if factor not in FACTORS:
        raise unknown("factor", factor, FACTORS)
    if factor == "orientation":
        return (drawn.factors["rotation"] / 45).round().long() % 8, _ORIENTATIONS
    if factor == "position":
        x, y = ((drawn.factors[k] * 3).round().clamp(-1, 1) for k in ("x", "y"))
        return (y.long() + 1) * 3 + x.long() + 1, _POSITIONS
    names = {"shape": drawn.shapes, "fill": tuple(FILLS), "colour": tuple(COLOURS)}
    return drawn.factors[factor], names[factor]


_ORIENTATIONS = tuple(f"{angle}°" for angle in range(0, 360, 45))
_POSITIONS = tuple(
    f"{row} {column}"
    for row in ("top", "middle", "bottom")
    for column in ("left", "centre", "right")
)
