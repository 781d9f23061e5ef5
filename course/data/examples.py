"""A folder of drawn shapes as JPEG files: images to practise on with no network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from course.arguments import kinds_checked
from course.data import shapes
from course.data.pictures import short
from course.errors import CourseError, unknown

LAYOUTS = ("parts", "flat")
FAULTS = (
    "empty.jpg",
    "cut off.jpg",
    "really a PNG.jpg",
    "printer colours.jpg",
    "seen before.jpg",
)
"""The files that `faults=True` adds, each with one thing wrong."""

_DRAWN = 71_020  # the first word of every seed here: no part of `data.task` has it
_QUALITY = 90


@kinds_checked
def write_shapes(
    folder: str | os.PathLike[str],
    *,
    names: Sequence[str] = shapes.HELD_OUT_SHAPES,
    train: int = 40,
    validation: int = 15,
    test: int = 30,
    size: int = 96,
    style: str | shapes.Style = "mild",
    seed: int = 0,
    layout: str = "parts",
    faults: bool = False,
) -> Path:
    """Write a folder of shapes as JPEG files, a folder for each class (chapter 10).

    The same arguments give the same pictures. The folder appears when it is whole.

    Args:
        folder: where to; it must not exist yet, or be empty.
        names: the classes, from `shapes.SHAPES`; two or more.
        train: pictures of each class in ``train``.
        validation: pictures of each class in ``val``.
        test: pictures of each class in ``test``.
        size: pixels a side, 32 or more.
        style: nuisance of the pictures, as for `shapes.draw`.
        seed: which pictures, 0 or more.
        layout: "parts" writes ``train``, ``val`` and ``test``; "flat" puts all of a
            class into one folder.
        faults: add five files with something wrong to the first class, as they occur
            in folders of photographs: see `FAULTS`.

    Returns:
        The path of the folder.

    Raises:
        CourseError: the folder holds something, or a number or name is impossible.
    """
    counts = {"train": train, "val": validation, "test": test}
    _check(names, counts, size, seed, layout)
    place = Path(folder).expanduser()
    with _whole(place) as draft:
        for number, (part, count) in enumerate(counts.items()):
            for name in names:
                chosen = (_DRAWN, seed, number, shapes.SHAPES.index(name))
                drawn = shapes.draw(
                    count, chosen, shapes=(name,), style=style, size=size
                )
                at = _home(draft, part, name, layout)
                at.mkdir(parents=True, exist_ok=True)
                for picture, pixels in enumerate(drawn.images.numpy()):
                    _save(pixels, at / f"{name}_{part}_{picture:03}.jpg")
        if faults:
            _spoil(draft, names[0], layout)
    return place


def _check(
    names: Sequence[str], counts: dict[str, int], size: int, seed: int, layout: str
) -> None:
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    for name in names:
        if name not in shapes.SHAPES:
            raise unknown("shape", name, shapes.SHAPES)
    if isinstance(names, str) or not 1 < len(set(names)) == len(names):
        raise CourseError(
            f"The shapes {names!r} were asked for; expected two or more, each once."
        )
    if min(counts.values()) < 1 or size < 32 or seed < 0:
        raise CourseError(
            f"Shapes were asked for with {counts}, size={size} and seed={seed}; "
            "expected 1 or more of each class, 32 pixels a side or more, and a seed "
            "from 0."
        )


@contextmanager
def _whole(place: Path) -> Iterator[Path]:
    """Give a folder to write into, which becomes `place` once it is whole."""
    name = short(place.absolute().name)
    try:
        if place.exists() and not (place.is_dir() and not any(place.iterdir())):
            raise CourseError(
                f"{name!r} is there already and not empty, and is left as it is; name "
                "another folder, or remove this one."
            )
        place.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".course-", dir=place.absolute().parent
        ) as scratch:
            # Its own mode lets nobody else in; that of a folder within is as usual.
            draft = Path(scratch) / "whole"
            draft.mkdir()
            yield draft
            if place.exists():  # Windows does not put one folder in place of another
                place.rmdir()
            os.rename(draft, place)
    except OSError as error:
        raise CourseError(
            f"The folder {name!r} could not be written: {error.strerror or error}."
        ) from error


def _home(draft: Path, part: str, name: str, layout: str) -> Path:
    return draft / name if layout == "flat" else draft / part / name


def _save(pixels: np.ndarray, file: Path) -> None:
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, "JPEG", quality=_QUALITY)


def _spoil(draft: Path, name: str, layout: str) -> None:
    """Add files with something wrong to the training pictures of a class."""
    train, test = (_home(draft, part, name, layout) for part in ("train", "test"))
    whole = (train / f"{name}_train_000.jpg").read_bytes()
    empty, cut, png, print_, seen = (train / fault for fault in FAULTS)
    empty.write_bytes(b"")
    cut.write_bytes(whole[: len(whole) // 2])
    with Image.open(test / f"{name}_test_000.jpg") as picture:
        picture.save(seen, "JPEG", quality=60)
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(png, "PNG")
        turned = picture.transpose(Image.Transpose.ROTATE_180)
        turned.convert("CMYK").save(print_, "JPEG", quality=_QUALITY)
