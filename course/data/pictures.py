"""Pictures of the reader's own: opened safely, and every failure is one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from course.errors import CourseError

PIXELS = 50_000_000  # a small file can claim to be a picture that fills the memory
SIDE = 1024  # the longest side that a model is given; every model shrinks it further
DRAFT_PIXELS = 89_000_000  # of a JPEG that is unpacked at a fraction of its size
# No format that needs another program, and none that is a program itself.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def short(name: str, most: int = 60) -> str:
    """Return a file's name, without its folder, as a sentence can hold it."""
    plain = "".join(
        c for c in name.replace("\\", "/").rsplit("/")[-1] if c.isprintable()
    )
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def from_path(text: str) -> Image.Image:
    """Open the picture at a path that a reader wrote.

    Args:
        text: relative to the notebook's folder, or absolute; quotes around it and a
            leading ``~`` are understood.

    Raises:
        CourseError: there is no readable picture at that path.
    """
    written = text.strip().strip("\"'")
    if not written:
        raise CourseError("Write the path of a picture first, such as my_cat.jpg.")
    name = short(written)
    try:
        path = Path(written).expanduser()
        if not path.is_file():
            raise CourseError(
                f"There is no file {name!r} at this path; it is looked for where the "
                "notebook runs: check the folder and the spelling."
            )
        with path.open("rb") as file:
            return decoded(file, name)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CourseError(
            f"The file {name!r} could not be opened: {reason}."
        ) from error


class NoPicture(CourseError):
    """A file is no picture that can be read.

    Args:
        name: what the file is called in the sentence.
        reason: the rest of the sentence, without its full stop.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} {reason}.")
        self.reason = reason


def decoded(file: BinaryIO, name: str) -> Image.Image:
    """Return a file's picture: upright, in RGB, 1024 pixels a side at most.

    Args:
        file: open for reading bytes.
        name: what the picture is called in a message.

    Raises:
        CourseError: it is no picture of a known format, damaged, or too large.
    """
    with in_words(name):
        picture = opened(file, name)
        picture.load()
        return _small(flat(ImageOps.exif_transpose(picture), name))


@contextmanager
def in_words(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises over a file into one sentence.

    Raises:
        NoPicture: the file is of no known format, damaged, or too large.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except CourseError:
        raise
    except UnidentifiedImageError:
        raise NoPicture(
            name,
            "is no picture that can be read here; expected "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}",
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:  # a damaged file can raise whatever it likes
        raise NoPicture(
            name, "is damaged or not complete; save it once more and try again"
        ) from error


def opened(file: BinaryIO, name: str, side: int | None = None) -> Image.Image:
    """Open a picture of a known format without unpacking it; call it in `in_words`.

    Args:
        file: open for reading bytes.
        name: what the picture is called in a message.
        side: pixels a side that are needed at least: a JPEG is then unpacked at an
            eighth of its size, a quarter or a half, whichever is still enough.

    Raises:
        NoPicture: it has too many pixels.
    """
    picture = Image.open(file, formats=FORMATS)
    if side is not None and picture.width * picture.height <= DRAFT_PIXELS:
        picture.draft(None, (side, side))
    if picture.width * picture.height > PIXELS:
        raise _too_large(name)
    return picture


def _too_large(name: str) -> NoPicture:
    return NoPicture(
        name,
        f"has more than {PIXELS // 1_000_000} million pixels: make it smaller first",
    )


def in_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture in RGB, on white where it is transparent, and not too large.

    Args:
        picture: of any mode; of 16 bits a pixel the upper eight are kept.
    """
    return _small(flat(picture))


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((SIDE, SIDE))
    return picture


def flat(picture: Image.Image, name: str = "the picture") -> Image.Image:
    """Return a picture in RGB, on white where it is transparent, at its own size.

    Args:
        picture: of any mode; of 16 bits a pixel the upper eight are kept.
        name: what the picture is called in a message.

    Raises:
        NoPicture: its pixels are numbers of which nobody knows what is white.
    """
    if picture.mode == "F" or (picture.mode == "I" and picture.getextrema()[1] > 65535):
        raise NoPicture(
            name,
            "has pixels of more than 16 bits; save it with 8 bits a channel",
        )
    if picture.mode.startswith("I"):
        deep = np.asarray(picture).clip(0)
        picture = Image.fromarray((deep >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")
