"""Pictures of the reader's own: opened safely, and every failure is one sentence."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from course.errors import CourseError

PIXELS = 50_000_000  # a small file can claim to be a picture that fills the memory
SIDE = 1024  # the longest side that a model is given; every model shrinks it further
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


def decoded(file: BinaryIO, name: str) -> Image.Image:
    """Return a file's picture: upright, in RGB, 1024 pixels a side at most.

    Args:
        file: open for reading bytes.
        name: what the picture is called in a message.

    Raises:
        CourseError: it is no picture of a known format, damaged, or too large.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            picture = Image.open(file, formats=FORMATS)
            _check_size(picture, name)
            picture.load()
            return in_rgb(ImageOps.exif_transpose(picture))
    except CourseError:
        raise
    except UnidentifiedImageError:
        raise CourseError(
            f"{name!r} is no picture that can be read here; expected "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:  # a damaged file can raise whatever it likes
        raise CourseError(
            f"{name!r} is damaged or not complete; save it once more and try again."
        ) from error


def _check_size(picture: Image.Image, name: str) -> None:
    if picture.width * picture.height > PIXELS:
        raise _too_large(name)


def _too_large(name: str) -> CourseError:
    return CourseError(
        f"{name!r} has more than {PIXELS // 1_000_000} million pixels: make it smaller "
        "first."
    )


def in_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture in RGB, on white where it is transparent, and not too large.

    Args:
        picture: of any mode; of 16 bits a pixel the upper eight are kept.
    """
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    picture = picture.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    return picture
