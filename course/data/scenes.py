"""Scenes: several shapes on one larger canvas, with boxes and masks (chapter 08).

The objects are drawn as `course.data.shapes` draws its own, and as large in pixels as
there, so a backbone that learned from that corpus meets them at a size it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from course.arguments import kinds_checked
from course.data.shapes import (
    COLOURS,
    FILLS,
    Factors,
    Style,
    _distance,
    _object_frame,
    _paint,
    _papers,
    boxes_of,
    sample,
)
from course.errors import CourseError, unknown

SHAPES = ("crown", "key", "mushroom", "pin", "star6", "trefoil")
"""Six of the shapes that pretraining never saw: the classes of the scenes."""

KINDS = ("train", "validation", "test")
LEAST_SIZE = 64
LEAST_RADIUS = 4.0

_UNIT = 32.0  # pixels of half a canvas of the shapes corpus, where a scale of 1 ends
_EXTENT = 1.15  # how far the farthest corner of an outline is, in radii
_DRIFT = 2  # pixels from an object to its shadow
_TRIES = 24  # places tried for an object, smaller and smaller, before it is left out
_LEAST_VISIBLE = 0.5
_MARKS = 6  # the most on a canvas, twice those of the shapes corpus
_LITTER = ("disc", "ring", "bar")
_LITTER_STYLE = Style(("solid",), ("plain",), 0, (0.1, 0.27), 1.0, 180)
_CHUNK = 32  # scenes drawn at once: their planes fit the cache

# The first word of every seed of `task`, so that no two parts can share a scene. Far
# from the small numbers that readers give to `draw`.
_TRAIN, _VALIDATION, _TEST = 72_001, 72_002, 72_003


@dataclass(frozen=True)
class Placed:
    """An object that `compose` is asked for.

    Args:
        shape: a name from the shapes of the scene.
        x: centre, in pixels from the left.
        y: centre, in pixels from the top.
        size: radius in pixels, half of the object's extent.
        fill: a name from `shapes.FILLS`.
        colour: a name from `shapes.COLOURS`.
        rotation: in degrees clockwise.
    """

    shape: str
    x: float
    y: float
    size: float
    fill: str = "solid"
    colour: str = "red"
    rotation: float = 0.0


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures of several objects with all that is known of them (chapter 08).

    Objects stand from back to front; what another one covers belongs to neither the
    mask nor the box of the one behind.

    Args:
        images: uint8 (N, 3, S, S).
        boxes: for each picture float32 (k, 4), left, top, right, bottom in pixels.
        labels: for each picture int64 (k,), indices into `class_names`.
        masks: for each picture bool (k, S, S), the visible pixels of each object.
        class_names: the name of each class.
        kind: what the pictures are for: "train", "validation" or "test".
        visible: for each picture float32 (k,), the share of each object that no other
            one covers; empty where not known.

    Raises:
        CourseError: shapes, types or numbers do not fit together.
    """

    images: Tensor
    boxes: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    class_names: tuple[str, ...]
    kind: str
    visible: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        _check_kind(self.kind)
        images, count = self.images, len(self.images)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise CourseError(
                f"Scenes got images of type {images.dtype} and shape "
                f"{tuple(images.shape)}; expected uint8 (N, 3, height, width)."
            )
        found = [len(self.boxes), len(self.labels), len(self.masks)]
        if found != [count] * 3:
            raise CourseError(
                f"Scenes got {count} images but {found[0]} sets of boxes, {found[1]} "
                f"of labels and {found[2]} of masks; expected one of each an image."
            )
        for place, columns in enumerate(
            zip(self.boxes, self.labels, self.masks, strict=True)
        ):
            _check_objects(place, *columns, len(self.class_names))

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor | Sequence[int]) -> Scenes:
        """Return the scenes at `indices` (int64), of the same kind."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return replace(
            self,
            images=self.images[chosen],
            **{
                name: tuple(values[i] for i in chosen.tolist())
                for name, values in self._columns().items()
            },
        )

    def _columns(self) -> dict[str, tuple[Tensor, ...]]:
        """Return what is known of the objects, as far as it is."""
        names = ("boxes", "labels", "masks", "visible")
        columns = {name: getattr(self, name) for name in names}
        return {name: values for name, values in columns.items() if values}


def _check_objects(
    place: int, boxes: Tensor, labels: Tensor, masks: Tensor, classes: int
) -> None:
    """Raise unless one scene's boxes, labels and masks are of the same objects."""
    k = len(labels)
    if labels.ndim != 1 or boxes.shape != (k, 4) or masks.shape[:1] != (k,):
        raise CourseError(
            f"Scene {place} got boxes of shape {tuple(boxes.shape)}, labels of shape "
            f"{tuple(labels.shape)} and masks of shape {tuple(masks.shape)}; expected "
            "(k, 4), (k,) and (k, height, width) for k objects."
        )
    if k and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise CourseError(
            f"The labels of scene {place} run from {int(labels.min())} to "
            f"{int(labels.max())}; expected 0 to {classes - 1}, one a class name."
        )


@dataclass(frozen=True, eq=False)
class SceneTask:
    """Scenes to learn from, to choose with and to report on (chapter 08)."""

    train: Scenes
    validation: Scenes
    test: Scenes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return self.train.class_names


@kinds_checked
def task(
    train: int = 200,
    validation: int = 100,
    test: int = 250,
    *,
    seed: int = 0,
    shapes: Sequence[str] = SHAPES,
    size: int = 128,
    objects: tuple[int, int] = (2, 5),
    style: str | Style = "full",
    overlap: float = 0.3,
) -> SceneTask:
    """Return scenes in three parts that share none (chapter 08).

    Validation and test part are the same whatever `seed` and `train` are, and the first
    scenes of a part do not depend on how many follow.

    Args:
        train: scenes to learn from.
        validation: scenes to choose with.
        test: scenes to report on.
        seed: of the train part, 0 or more.
        shapes: the classes, names from `shapes.SHAPES`.
        size: height and width in pixels, 64 or more.
        objects: the fewest and the most objects of a scene.
        style: a name from `shapes.STYLES`, or your own `Style`; see `draw`.
        overlap: from 0 (objects keep apart) to 0.5; see `draw`.

    Raises:
        CourseError: as `draw` does.
    """
    parts = (
        draw(
            count,
            start,
            shapes=shapes,
            size=size,
            objects=objects,
            style=style,
            overlap=overlap,
            kind=kind,
        )
        for kind, count, start in (
            ("train", train, (_TRAIN, seed)),
            ("validation", validation, (_VALIDATION, 0)),
            ("test", test, (_TEST, 0)),
        )
    )
    return SceneTask(*parts)


def draw(
    n: int,
    seed: int | Sequence[int],
    *,
    shapes: Sequence[str] = SHAPES,
    size: int = 128,
    objects: tuple[int, int] = (2, 5),
    style: str | Style = "full",
    overlap: float = 0.3,
    kind: str = "train",
) -> Scenes:
    """Draw `n` scenes; the first ones do not depend on how many follow (chapter 08).

    An object for which there is no room, or that would hide another one by more than
    half, is left out: a crowded canvas may hold fewer than asked for, but never none.

    Args:
        n: how many scenes.
        seed: which scenes, a number or several.
        shapes: the classes, names from `shapes.SHAPES`.
        size: height and width in pixels, 64 or more.
        objects: the fewest and the most objects of a scene.
        style: a name from `shapes.STYLES`, or your own `Style`. Its scale is in half
            canvases of 64 pixels, whatever `size` is; its shift is not used.
        overlap: how much nearer two objects may come than the circles around them
            touch, from 0 (they keep apart) to 0.5.
        kind: what the scenes are for, one of `KINDS`.

    Raises:
        CourseError: a name is unknown or a number impossible.
    """
    _check_kind(kind)
    if not isinstance(n, int):
        raise CourseError(f"{n!r:.60} images were asked for; expected a whole number.")
    _check_size(size)
    _check_crowd(objects, overlap)
    words = _words(seed)
    things = sample(n * objects[1], [*words, 1], shapes=shapes, style=style)
    things, there = _spread(things, [*words, 4], size, objects, overlap)
    ground = sample(n, [*words, 2], shapes=shapes, style=style)
    plan = _Plan(ground, _littered(n, [*words, 3], size), things, there)
    chunks = (slice(start, start + _CHUNK) for start in range(0, n, _CHUNK))
    return _joined(
        [_render(plan.take(chunk), size, kind, _LEAST_VISIBLE) for chunk in chunks]
    )


def compose(
    objects: Sequence[Placed],
    *,
    size: int = 128,
    seed: int = 0,
    shapes: Sequence[str] = SHAPES,
) -> Scenes:
    """Draw one scene of the objects asked for, from back to front (chapter 08).

    An object of which the others leave nothing to be seen has no box and is left out.

    Args:
        objects: what stands where; none gives an empty scene.
        size: height and width in pixels, 64 or more.
        seed: of the background, the marks on it, and the light.
        shapes: the classes, names from `shapes.SHAPES`.

    Raises:
        CourseError: a name is unknown, or an object is outside of the canvas.
    """
    _check_size(size)
    for thing in objects:
        _check_placed(thing, size, shapes)
    count = max(len(objects), 1)
    words = _words(seed)
    things = _asked(objects, sample(count, [*words, 1], shapes=shapes), size)
    there = torch.full((1, count), bool(objects))
    ground = sample(1, [*words, 2], shapes=shapes)
    plan = _Plan(ground, _littered(1, [*words, 3], size), things, there)
    return _render(plan, size, "test", 0.0)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise unknown("kind of scenes", kind, KINDS)


def _check_size(size: int) -> None:
    if not isinstance(size, int) or size < LEAST_SIZE:
        raise CourseError(
            f"Scenes of {size} pixels a side were asked for; expected a whole number "
            f"from {LEAST_SIZE}."
        )


def _words(seed: int | Sequence[int]) -> list[int]:
    words: list[int] = np.atleast_1d(seed).tolist()
    if any(word < 0 for word in words):
        raise CourseError(f"The seed was {seed}; expected a whole number from 0.")
    return words


def _check_crowd(objects: tuple[int, int], overlap: float) -> None:
    pair = isinstance(objects, Sequence) and len(objects) == 2
    if not pair or not 1 <= objects[0] <= objects[1] <= 12:
        raise CourseError(
            f"Scenes of {objects} objects were asked for; expected the fewest and the "
            "most, such as (2, 5), from 1 to 12."
        )
    if not 0 <= overlap <= 0.5:
        raise CourseError(f"overlap was {overlap}; expected a number from 0 to 0.5.")


def _check_placed(thing: Placed, size: int, shapes: Sequence[str]) -> None:
    for kind, name, known in (
        ("shape", thing.shape, shapes),
        ("fill", thing.fill, FILLS),
        ("colour", thing.colour, COLOURS),
    ):
        if name not in known:
            raise unknown(kind, name, known)
    if not (0 <= thing.x <= size and 0 <= thing.y <= size):
        raise CourseError(
            f"A {thing.shape} was placed at ({thing.x}, {thing.y}), outside of the "
            f"canvas; expected x and y from 0 to {size}."
        )
    if not -360 <= thing.rotation <= 360:
        raise CourseError(
            f"A {thing.shape} with a rotation of {thing.rotation} was asked for; "
            "expected degrees from -360 to 360."
        )
    if not LEAST_RADIUS <= thing.size <= size / 2:
        raise CourseError(
            f"A {thing.shape} of size {thing.size} was asked for; expected a radius "
            f"from {LEAST_RADIUS:.0f} to {size // 2} pixels."
        )


def _asked(objects: Sequence[Placed], things: Factors, size: int) -> Factors:
    """Return the factors of the objects that a reader placed."""
    if not objects:
        return things
    half = size / 2
    columns = {
        "shape": [things.shapes.index(o.shape) for o in objects],
        "fill": [list(FILLS).index(o.fill) for o in objects],
        "colour": [list(COLOURS).index(o.colour) for o in objects],
        "x": [o.x / half - 1 for o in objects],
        "y": [o.y / half - 1 for o in objects],
        "scale": [o.size / half for o in objects],
        "rotation": [float(o.rotation) for o in objects],
    }
    return replace(things, **{k: torch.tensor(v) for k, v in columns.items()})


def _spread(
    things: Factors,
    seed: list[int],
    size: int,
    objects: tuple[int, int],
    overlap: float,
) -> tuple[Factors, Tensor]:
    """Place the objects of each scene, and tell which found room: bool (n, most).

    The places of an object are tried in turn, and its radius shrinks with each: the
    first at which its circle keeps clear of those before it is taken.
    """
    low, most = objects
    n = len(things) // most
    chance = np.random.default_rng([*seed, 0]).random((n, most, _TRIES, 2))
    counts = np.random.default_rng([*seed, 1]).random(n) * (most - low + 1) + low
    radii = things.scale.double().numpy().reshape(n, most, 1) * _UNIT
    radii = radii * np.linspace(1, 0.6, _TRIES)
    radii = np.minimum(radii, (size / 2 - 1) / _EXTENT)
    margin = (radii * _EXTENT + 1)[..., None]
    tried = np.concatenate([margin + chance * (size - 2 * margin), radii[..., None]], 3)
    placed, there = _first_clear(tried, counts.astype(int), 1 - overlap)
    x, y, radius = torch.from_numpy(placed.reshape(-1, 3).T / (size / 2)).float()
    return replace(things, x=x - 1, y=y - 1, scale=radius), torch.from_numpy(there)


def _first_clear(
    tried: np.ndarray, counts: np.ndarray, nearest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return x, y and radius of each object, (n, most, 3), and which are there."""
    n, most = tried.shape[:2]
    placed = np.zeros((n, most, 3))
    there = np.zeros((n, most), bool)
    for k in range(most):
        gaps = tried[:, k, :, None] - placed[:, None, :k]
        reach = tried[:, k, :, None, 2] + placed[:, None, :k, 2]
        apart = (gaps[..., :2] ** 2).sum(-1) >= (nearest * reach) ** 2
        clear = (apart | ~there[:, None, :k]).all(-1)
        first = clear.argmax(1)
        placed[:, k] = tried[np.arange(n), k, first]
        there[:, k] = clear.any(1) & (k < counts)
    return placed, there


def _littered(n: int, seed: list[int], size: int) -> Factors:
    """Return the marks of n scenes, `_MARKS` for each: they mean nothing."""
    marks = sample(n * _MARKS, seed, shapes=_LITTER, style=_LITTER_STYLE)
    return replace(marks, scale=marks.scale * _UNIT / (size / 2))


@dataclass(frozen=True, eq=False)
class _Plan:
    """All that is to be drawn in n scenes."""

    ground: Factors  # n: papers, and how much litter
    marks: Factors  # n * _MARKS
    things: Factors  # n * most objects, from back to front
    there: Tensor  # bool (n, most), which of them stand

    def take(self, chunk: slice) -> _Plan:
        """Return the plan of some of the scenes."""
        ground, there = self.ground.take(chunk), self.there[chunk]
        marks, things = (
            factors.take(slice(chunk.start * each, chunk.stop * each))
            for factors, each in ((self.marks, _MARKS), (self.things, there.shape[1]))
        )
        return _Plan(ground, marks, things, there)


def _render(plan: _Plan, size: int, kind: str, least: float) -> Scenes:
    """Draw the scenes; what comes k-th in each is drawn in one batch.

    Args:
        plan: what is drawn.
        size: of the canvas in pixels.
        kind: of the scenes.
        least: the share of an object that those before it must leave.
    """
    most = plan.there.shape[1]
    sheets = _Sheets.start(plan.ground, most, size)
    shown = plan.ground.clutter * (_MARKS // 3)  # a style has 0 to 3 marks
    for mark in range(int(shown.max())):
        who = torch.nonzero(shown > mark).flatten()
        sheets.mark(_Stamps.of(who, plan.marks.take(who * _MARKS + mark), size))
    for layer in range(most):
        who = torch.nonzero(plan.there[:, layer]).flatten()
        if len(who):
            things = plan.things.take(who * most + layer)
            sheets.add(_Stamps.of(who, things, size), layer, least)
    return sheets.scenes(plan.things.shape.view(-1, most), plan.things.shapes, kind)


def _joined(parts: list[Scenes]) -> Scenes:
    columns = {
        name: tuple(value for part in parts for value in getattr(part, name))
        for name in parts[0]._columns()
    }
    return replace(parts[0], images=torch.cat([p.images for p in parts]), **columns)


@dataclass(frozen=True, eq=False)
class _Stamps:
    """Objects to be drawn, one on each of n canvases, and a patch P pixels wide for it.

    The patch is as large as the largest object with its shadow needs, and is moved
    inside the canvas; beyond its object it changes nothing.
    """

    who: Tensor  # int64 (n,), which canvases
    spot: Tensor  # int64 (n, P * P), the patch's pixels on the canvas
    factors: Factors
    x: Tensor  # float32 (n, P, P), in the object's own frame
    y: Tensor
    distance: Tensor  # float32 (n, P, P), to the outline in pixels, negative inside

    @classmethod
    def of(cls, who: Tensor, factors: Factors, size: int) -> _Stamps:
        """Measure objects on canvases of `size` pixels."""
        half = size / 2
        side = min(int(2.6 * float(factors.scale.max()) * half) + 6, size)
        left, top = (
            ((value + 1) * half - side / 2).round().long().clamp(0, size - side)
            for value in (factors.x, factors.y)
        )
        columns, rows = (edge[:, None] + torch.arange(side) for edge in (left, top))
        spot = (rows[:, :, None] * size + columns[:, None, :]).flatten(1)
        px, py = ((value + 0.5) / half - 1 for value in (columns, rows))
        x, y = _object_frame(factors, px[:, None, :], py[:, :, None])
        distance = _distance(factors, x, y) * (factors.scale * half)[:, None, None]
        return cls(who, spot, factors, x, y, distance)

    def take(self, fits: Tensor) -> _Stamps:
        """Return some of the objects."""
        if bool(fits.all()):
            return self
        values = {f.name: getattr(self, f.name)[fits] for f in fields(self)[3:]}
        chosen = self.factors.take(fits)
        return _Stamps(self.who[fits], self.spot[fits], chosen, **values)

    @property
    def inside(self) -> Tensor:
        """The object's own pixels of each patch: bool (n, P * P)."""
        return (self.distance < 0).flatten(1)

    def over(self, under: Tensor, strength: float = 1.0) -> Tensor:
        """Return patches (n, 3, P * P) with the objects painted over what was there."""
        cover = (0.5 - self.distance).clamp(0, 1).flatten(1)[:, None] * strength
        paint = _paint(self.factors, self.x, self.y).flatten(2)
        return under * (1 - cover) + paint * cover

    def light(self, half: float) -> Tensor:
        """Return what the shadows leave of the light, (n, 1, P * P)."""
        # A shadow is the outline again, a little to the right and further down.
        kept = self.distance[:, None, :-_DRIFT, :-_DRIFT]
        shadow = pad(kept, (_DRIFT, 0, _DRIFT, 0), mode="replicate")
        soft = 0.3 * self.factors.scale[:, None, None, None] * half
        return (1 - (0.5 - shadow / soft).clamp(0, 1) * 0.4).flatten(2)


@dataclass(frozen=True, eq=False)
class _Sheets:
    """Scenes while they are drawn: n canvases, each with its pixels in one row."""

    size: int
    pixels: Tensor  # float32 (n, 3, S * S)
    masks: Tensor  # bool (n, most, S * S), what is seen of each object
    seen: Tensor  # int32 (n, most), how many pixels those are
    whole: Tensor  # int32 (n, most), how many the object has

    @classmethod
    def start(cls, ground: Factors, most: int, size: int) -> _Sheets:
        """Return papers with nothing on them."""
        line = (torch.arange(size) + 0.5) / size * 2 - 1
        px, py = line[None, None, :], line[None, :, None]
        paper = _papers(ground, px, py)
        masks = torch.zeros(len(paper), most, size * size, dtype=torch.bool)
        counts = torch.zeros(2, len(paper), most, dtype=torch.int32)
        return cls(size, paper.flatten(2), masks, *counts)

    def mark(self, stamps: _Stamps) -> None:
        """Draw a faint mark on some canvases, as the shapes corpus does."""
        where = self._where(stamps, 3)
        self.pixels.put_(where, stamps.over(self.pixels.take(where), 0.6))

    def add(self, stamps: _Stamps, layer: int, least: float) -> None:
        """Draw an object on some canvases, each the `layer`-th of its scene.

        One that would leave less than the share `least` of another is not drawn.
        """
        behind = self.masks.take(self._where(stamps, self.masks.shape[1]))
        hidden = (behind & stamps.inside[:, None]).sum(2, dtype=torch.int32)
        left = self.seen[stamps.who] - hidden
        fits = (left >= least * self.whole[stamps.who]).all(1)
        stamps = stamps.take(fits)
        self._hide(stamps, layer, behind[fits], left[fits])
        where = self._where(stamps, 3)
        under = self.pixels.take(where) * stamps.light(self.size / 2)
        self.pixels.put_(where, stamps.over(under))

    def _hide(self, stamps: _Stamps, layer: int, behind: Tensor, left: Tensor) -> None:
        """Take what new objects cover from the masks behind, and add their own."""
        masks = behind & ~stamps.inside[:, None]
        masks[:, layer] = stamps.inside
        self.masks.put_(self._where(stamps, masks.shape[1]), masks)
        self.seen[stamps.who] = left
        area = stamps.inside.sum(1, dtype=torch.int32)
        self.seen[stamps.who, layer] = self.whole[stamps.who, layer] = area

    def _where(self, stamps: _Stamps, planes: int) -> Tensor:
        """Return the patches' places in canvases of several planes, all in one row."""
        first = stamps.who[:, None, None] * planes
        plane = first + torch.arange(planes)[:, None]
        return plane * self.size**2 + stamps.spot[:, None]

    def scenes(self, labels: Tensor, shapes: tuple[str, ...], kind: str) -> Scenes:
        """Return the finished scenes, with the objects of which something is seen."""
        size, stands = self.size, self.seen > 0
        images = (self.pixels + 0.5).clamp(0, 255).to(torch.uint8)
        masks = self.masks[stands].view(-1, size, size)
        counts = stands.sum(1).tolist()
        columns = (
            boxes_of(masks),
            labels[stands],
            masks,
            self.seen[stands] / self.whole[stands],
        )
        boxes, classes, seen, shares = (torch.split(c, counts) for c in columns)
        images = images.view(-1, 3, size, size)
        return Scenes(images, boxes, classes, seen, shapes, kind, shares)
