"""One file of a folder: read rightly and noted, or refused with the reason."""

from __future__ import annotations

import hashlib
import os
import stat
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from course.data import pictures, twins
from course.data.pictures import NoPicture

MOST_BYTES = 500_000_000
_NAMED = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}
_RAW = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw")
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AS_PNG = "export it as PNG"
_AS_JPEG = "export it as JPEG"
_STARTS = {
    b"%PDF": f"is a PDF, a page and no picture: {_AS_PNG}",
    b"8BPS": f"is a Photoshop file: {_AS_PNG}",
    b"\0\0\0\x0cjP": f"is JPEG 2000, which is not read here: {_AS_JPEG}",
    b"\xff\x0a": f"is JPEG XL, which is not read here: {_AS_JPEG}",
    b"\0\0\0\x0cJXL": f"is JPEG XL, which is not read here: {_AS_JPEG}",
    b"\x1a\x45\xdf\xa3": "is a film, not a picture: export single frames",
    b"PK\x03\x04": "is an archive, not a picture: unpack it",
    b"version https://git-lfs": "is only a pointer of Git LFS: run git lfs pull",
}


class Read(NamedTuple):
    """A picture as a task takes it.

    Args:
        pixels: uint8 (3, size, size).
        notes: what was done to it, if anything worth a word.
        digest: of the bytes of its file.
        mark: of the whole picture, see `twins`.
    """

    pixels: np.ndarray
    notes: tuple[str, ...]
    digest: bytes
    mark: twins.Mark


def read(path: Path, size: int) -> Read:
    """Read the picture in a file.

    Args:
        path: of the file.
        size: pixels a side of the result; see `square`.

    Raises:
        NoPicture: it is none that can be read; `reason` says why.
    """
    name = pictures.short(path.name)
    content = _content(path, name)
    if reason := _refused(path.suffix.lower(), content):
        raise NoPicture(name, reason)
    with pictures.in_words(name):
        # Twice what is needed, so that the last step of the resize is a smooth one.
        picture = pictures.opened(BytesIO(content), name, 2 * max(size, 32))
        notes = _notes(picture, path.suffix.lower())
        picture.load()
        upright, turned = _upright(picture)
        whole = pictures.flat(upright, name)
        if min(whole.size) < size:
            notes.append(f"was enlarged to {size} pixels a side")
        mark = twins.mark(whole)
        digest = hashlib.blake2b(content, digest_size=16).digest()
        return Read(square(whole, size), (*turned, *notes), digest, mark)


def _content(path: Path, name: str) -> bytes:
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for for ever
            raise NoPicture(name, "is no file with a content of its own")
        if about.st_size > MOST_BYTES:
            raise NoPicture(name, f"has more than {MOST_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, NoPicture):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise NoPicture(name, f"could not be opened: {reason}") from error


def _refused(suffix: str, content: bytes) -> str | None:
    """Return why a file is not even tried; None where it is."""
    if not content:
        return "is empty: it has 0 bytes"
    if suffix in _RAW:  # Pillow would read the small preview inside
        return f"is a camera's raw file, which is not read here: {_AS_JPEG}"
    for start, reason in _STARTS.items():
        if content.startswith(start):
            return reason
    if content[4:8] == b"ftyp":
        return _boxed(content[8:12])
    return _written(content[:1024])


def _boxed(brand: bytes) -> str:
    """Return what a file is that begins like those of the MPEG family."""
    if brand in _HEIF:
        return f"is HEIC, which is not read here: {_AS_JPEG}"
    if brand in (b"avif", b"avis"):
        return f"is AVIF, which is not read here: {_AS_JPEG}"
    if brand in (b"crx ",):
        return f"is a camera's raw file, which is not read here: {_AS_JPEG}"
    return "is a film, not a picture: export single frames"


def _written(head: bytes) -> str | None:
    """Return what a file is that holds text; None where it holds none."""
    try:
        text = head.decode("utf-8-sig").lstrip().lower()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # otherwise a character was cut at the end
            return None
        text = head[: error.start].decode("utf-8-sig").lstrip().lower()
    if "\0" in text or not text:
        return None
    if "<svg" in text:
        return f"is SVG, a drawing and no picture: {_AS_PNG}"
    if text.startswith(("<!doctype html", "<html")):
        return "is a web page, not a picture: download the picture itself"
    return "is text, not a picture"


def _notes(picture: Image.Image, suffix: str) -> list[str]:
    """Return what is worth saying of a picture before it is unpacked."""
    kind = "JPEG" if picture.format == "MPO" else str(picture.format)
    notes = []
    if suffix and suffix not in _NAMED[kind]:
        notes.append(f"is a {kind} whatever its name says")
    # An MPO is a photograph with a preview, or with a second one for a 3-D screen.
    if picture.format != "MPO" and getattr(picture, "is_animated", False):
        notes.append("has several frames, of which the first is used")
    if picture.mode in ("CMYK", "LAB", "YCbCr"):
        notes.append(f"was {picture.mode} and became RGB")
    if picture.mode.startswith("I"):
        notes.append("had 16 bits a pixel, of which the upper eight are used")
    if picture.has_transparency_data:
        notes.append("was transparent and lies on white")
    return notes


def _upright(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    try:
        upright = ImageOps.exif_transpose(picture)
    except Exception:  # a camera's note that cannot be read spoils no picture
        return picture, []
    # 1 is upright, and what is not written is taken for that.
    turned = picture.getexif().get(0x0112, 1) in range(2, 9)
    return upright, ["was turned upright, as its camera noted"] if turned else []


def square(picture: Image.Image, size: int) -> np.ndarray:
    """Return the square centre of a picture in RGB, uint8 (3, size, size).

    The shorter side becomes `size` pixels, and what the longer one has too much is cut
    off on both sides alike. The resize is antialiased (bilinear), as torchvision's
    transforms for ImageNet weights are.
    """
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    small = picture.resize((size, size), Image.Resampling.BILINEAR, box)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
