"""Where images and labels come from: drawn here, shipped, fetched, or your own."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from course.arguments import kinds_checked
from course.data import digits, glyphs, photos, scenes, shapes
from course.data.tasks import (
    Part,
    Task,
    TestPart,
    TrainPart,
    ValidationPart,
    forbid_test,
)
from course.errors import CourseError, unknown

if TYPE_CHECKING:
    from course.data import docstrings, named, reviews, texts
    from course.data.examples import write_shapes
    from course.data.folders import folder

__all__ = [
    "TASKS",
    "Part",
    "Task",
    "TestPart",
    "TrainPart",
    "ValidationPart",
    "digits",
    "docstrings",
    "folder",
    "forbid_test",
    "glyphs",
    "named",
    "photos",
    "reviews",
    "scenes",
    "shapes",
    "task",
    "texts",
    "write_shapes",
]

# What opens files of the reader's loads Pillow: only where it is asked for.
_LATER = {
    "docstrings": "docstrings",
    "folder": "folders",
    "named": "named",
    "reviews": "reviews",
    "texts": "texts",
    "write_shapes": "examples",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LATER[name]}")
    return module if name == _LATER[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


_P = TypeVar("_P", bound=Part)

_Seed = tuple[int, int]


class _Recipe(NamedTuple):
    """How a shape task comes about: which shapes are drawn, and what is asked."""

    shapes: tuple[str, ...]
    factor: str


_SHAPE_TASKS = {
    "shapes": _Recipe(shapes.SOURCE_SHAPES, "shape"),
    "unseen-shapes": _Recipe(shapes.HELD_OUT_SHAPES, "shape"),
    "fills": _Recipe(shapes.SOURCE_SHAPES, "fill"),
    "colours": _Recipe(shapes.SOURCE_SHAPES, "colour"),
    "orientation": _Recipe(shapes.ORIENTED_SHAPES, "orientation"),
    "position": _Recipe(shapes.SOURCE_SHAPES, "position"),
}

TASKS = (*_SHAPE_TASKS, "glyphs", "digits")
"""The names that `task` knows."""

# The first word of every seed, so that no two parts can ever share an image. Far from
# the small numbers that readers give to `shapes.draw` and `glyphs.draw`.
_TRAIN, _VALIDATION, _TEST = 71_001, 71_002, 71_003


@kinds_checked
def task(
    name: str,
    *,
    seed: int = 0,
    train: int = 3000,
    validation: int = 300,
    test: int = 600,
    size: int = 64,
    style: str | shapes.Style = "full",
) -> Task:
    """Return a task by name, with its train, validation and test part (chapter 00).

    Validation and test parts are the same whatever `seed` is. The digits are 1,797
    scans: there, `train`, `validation` and `test` give at most 897, 300 and 600.

    Args:
        name: one of `TASKS`.
        seed: of the train part, 0 or more.
        train: images to learn from.
        validation: images to choose with.
        test: images to report on.
        size: pixels a side, 8 or more where shapes are drawn.
        style: nuisance of the shape tasks, a name from `shapes.STYLES` or your own.

    Raises:
        CourseError: the name or style is unknown, or a number is too small.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    _check(seed=seed, train=train, validation=validation, test=test, size=size)
    if name == "digits":
        return _digits(seed, (train, validation, test), size)
    return Task(
        name,
        _part(TrainPart, name, train, (_TRAIN, seed), size, style),
        _part(ValidationPart, name, validation, (_VALIDATION, 0), size, style),
        _part(TestPart, name, test, (_TEST, 0), size, style),
    )


def _check(seed: int, **sizes: int) -> None:
    for name, value in {"seed": seed + 1, **sizes}.items():
        if value < 1:
            raise CourseError(
                f"A task was asked for with {name}={value - (name == 'seed')}; "
                f"expected {'0' if name == 'seed' else '1'} or more."
            )


def _digits(seed: int, sizes: tuple[int, int, int], size: int) -> Task:
    found = digits.load(size)
    train, validation, test = (
        torch.arange(min(count, most))
        for count, most in zip(sizes, digits.SIZES.values(), strict=True)
    )
    # Any stretch of the deal is stratified; the seed says where this one starts.
    start = int(np.random.default_rng([_TRAIN, seed]).integers(digits.SIZES["train"]))
    return Task(
        found.name,
        found.train.take((train + start) % digits.SIZES["train"]),
        found.validation.take(validation),
        found.test.take(test),
    )


def _part(
    kind: type[_P],
    name: str,
    count: int,
    seed: _Seed,
    size: int,
    style: str | shapes.Style,
) -> _P:
    if name == "glyphs":
        letters = glyphs.draw(count, seed, size)
        known = {"font": letters.fonts}
        return kind(letters.images, letters.labels, glyphs.LETTERS, known)
    recipe = _SHAPE_TASKS[name]
    drawn = _drawn(recipe, count, seed, size, style)
    labels, names = shapes.label_of(drawn, recipe.factor)
    return kind(drawn.images, labels, names, drawn.factors, drawn.masks, drawn.boxes)


def _drawn(
    recipe: _Recipe, count: int, seed: _Seed, size: int, style: str | shapes.Style
) -> shapes.Drawn:
    chosen = _styled(recipe.factor, style)
    factors = shapes.sample(count, seed, shapes=recipe.shapes, style=chosen)
    if recipe.factor in _SPREAD:
        # Words of its own after the seed: `sample` takes one for each of its columns.
        generator = np.random.default_rng([*seed, 0, 1])
        factors = replace(factors, **_SPREAD[recipe.factor](factors, generator))
    return shapes.render(factors, size)


def _styled(factor: str, style: str | shapes.Style) -> shapes.Style:
    """Return the style, opened where it would leave out some of the classes."""
    if isinstance(style, str):
        if style not in shapes.STYLES:
            raise unknown("style", style, shapes.STYLES)
        style = shapes.STYLES[style]
    if factor == "fill":
        return replace(style, fills=tuple(shapes.FILLS))
    if factor == "colour":
        return replace(style, colours=tuple(shapes.COLOURS))
    if factor == "position":
        low, high = (min(edge, 0.7) for edge in style.scale)
        return replace(style, scale=(low, high))
    return style


def _turned(
    factors: shapes.Factors, generator: np.random.Generator
) -> dict[str, Tensor]:
    """Turn objects to the eight orientations alike, 4.5° or more from a border."""
    steps = generator.permutation(len(factors)) % 8
    degrees = steps * 45.0 + generator.uniform(-18, 18, len(factors))
    return {"rotation": torch.from_numpy((degrees + 180) % 360 - 180).float()}


def _placed(
    factors: shapes.Factors, generator: np.random.Generator
) -> dict[str, Tensor]:
    """Put objects into the nine cells alike, whole and clear of the cells' borders."""
    cells = generator.permutation(len(factors)) % 9
    room = 1 - factors.scale.double().numpy()
    places = {}
    for axis, step in (("x", cells % 3 - 1), ("y", cells // 3 - 1)):
        inner = generator.uniform(-0.14, 0.14, len(factors))
        outer = generator.uniform(0.19, room)
        value = np.where(step == 0, inner, step * outer)
        places[axis] = torch.from_numpy(value).float()
    return places


_SPREAD = {"orientation": _turned, "position": _placed}
