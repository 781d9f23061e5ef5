"""Published data sets by name: torchvision's, fetched where a reader asks for them.

Addresses and digests are torchvision's own, read from its classes. Their archives go
through `course.fetch`, which says size and licence first and checks the digest;
torchvision's own class unpacks and reads them. None of them holds a pickle, which could
run code when it is opened: that is why CIFAR10 and CIFAR100 are not here.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from filelock import FileLock
from tqdm.auto import tqdm

from course import fetch
from course.arguments import kinds_checked
from course.data import pictures, reading
from course.data.tasks import Part, Task, TestPart, TrainPart, ValidationPart
from course.errors import CourseError, unknown
from course.progress import shown

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

_P = TypeVar("_P", bound=Part)
_DEAL = 71_030  # the first word of the seeds that choose pictures
_PATIENCE = 2  # seconds of reading after which a bar is shown
_PICKLED = ("cifar10", "cifar100")


@dataclass(frozen=True)
class _Known:
    """One of torchvision's classes, and what it does not say of itself.

    Args:
        published: returns address and MD5 digest of each file, given the class.
        at: the folder of the published files, below the one that the class is given.
        made: what is there, below the same one, once they are unpacked.
        labels: the attribute that holds the label of each image.
        files: the attribute that holds the file of each image; "" where the class
            holds the images themselves.
        splits: options for the train, the validation and the test part; without the
            second, validation is set aside from train.
        megabytes: of each file.
        licence: in a few words, where the publisher states one.
    """

    name: str
    published: Callable[[Any], list[tuple[str, str]]]
    at: str
    made: str
    labels: str
    files: str
    splits: tuple[Mapping[str, Any], ...]
    megabytes: tuple[float, ...]
    licence: str | None


def _mirrored(kind: Any) -> list[tuple[str, str]]:
    return [(kind.mirrors[0] + file, digest) for file, digest in kind.resources]


def _digit_like(name: str, megabytes: tuple[float, ...], licence: str) -> _Known:
    return _Known(
        name,
        _mirrored,
        f"{name}/raw",
        name,
        "targets",
        "",
        ({"train": True}, {"train": False}),
        megabytes,
        licence,
    )


def _split(*names: str) -> tuple[Mapping[str, str], ...]:
    return tuple({"split": name} for name in names)


_KNOWN = {
    known.name.lower(): known
    for known in (
        _digit_like("MNIST", (9.9, 0.1, 1.6, 0.1), "CC BY-SA 3.0"),
        _digit_like("FashionMNIST", (26.4, 0.1, 4.4, 0.1), "MIT"),
        _digit_like("KMNIST", (18.2, 0.1, 3.0, 0.1), "CC BY-SA 4.0"),
        _Known(
            "SVHN",
            lambda kind: [
                (kind.split_list[part][0], kind.split_list[part][2])
                for part in ("train", "test")
            ],
            ".",
            "test_32x32.mat",
            "labels",
            "",
            _split("train", "test"),
            (182.0, 64.3),
            "for non-commercial use only",
        ),
        _Known(
            "OxfordIIITPet",
            lambda kind: list(kind._RESOURCES),
            "oxford-iiit-pet",
            "oxford-iiit-pet",
            "_labels",
            "_images",
            _split("trainval", "test"),
            (791.9, 19.2),
            "CC BY-SA 4.0",
        ),
        _Known(
            "Flowers102",
            lambda kind: [
                (kind._download_url_prefix + file, digest)
                for file, digest in kind._file_dict.values()
            ],
            "flowers-102",
            "flowers-102",
            "_labels",
            "_image_files",
            _split("train", "val", "test"),
            (344.9, 0.1, 0.1),
            None,
        ),
        _Known(
            "DTD",
            lambda kind: [(kind._URL, kind._MD5)],
            "dtd",
            "dtd",
            "_labels",
            "_image_files",
            _split("train", "val", "test"),
            (625.2,),
            "for research",
        ),
        _Known(
            "Food101",
            lambda kind: [(kind._URL, kind._MD5)],
            ".",
            "food-101",
            "_labels",
            "_image_files",
            _split("train", "test"),
            (4996.3,),
            None,
        ),
    )
}

NAMES = tuple(_KNOWN)
"""The names that `task` knows: those of torchvision's classes in small letters."""


def _known(name: str) -> _Known:
    lower = str(name).lower()
    if lower in _PICKLED:
        raise CourseError(
            f"{name} is published as pickles, which can run code when they are opened, "
            "and is not read here; take fashionmnist, svhn or oxfordiiitpet."
        )
    if lower not in _KNOWN:
        raise unknown("data set", name, NAMES)
    return _KNOWN[lower]


def _class(known: _Known) -> type[VisionDataset]:
    from torchvision import datasets

    return getattr(datasets, known.name)


def remotes(name: str) -> list[fetch.Remote]:
    """Return the published files of a data set, as `fetch.download` takes them.

    Args:
        name: one of `NAMES`.

    Raises:
        CourseError: the name is unknown.
    """
    known = _known(name)
    return [
        fetch.Remote(
            url,
            _kept_as(known, url),
            f"md5:{digest}",
            megabytes,
            known.licence,
            f"{known.name}, {url.rsplit('/', 1)[1]}",
        )
        for (url, digest), megabytes in zip(
            known.published(_class(known)), known.megabytes, strict=True
        )
    ]


def _kept_as(known: _Known, url: str) -> str:
    """Return the name under which a file is kept: several sets have a train-images."""
    return f"{known.name}-{url.rsplit('/', 1)[1]}"


def present(name: str, root: str | os.PathLike[str] | None = None) -> bool:
    """Say whether `task` would find a data set without a network.

    Args:
        name: one of `NAMES`.
        root: where data sets are kept; by default `fetch.data_folder()`.

    Raises:
        CourseError: the name is unknown.
    """
    place = _root(root)
    return _home(_known(name), place) is not None or not _missing(name, place)


def _root(root: str | os.PathLike[str] | None) -> Path:
    return fetch.data_folder() if root is None else Path(root).expanduser()


def _missing(name: str, place: Path) -> list[fetch.Remote]:
    return [one for one in remotes(name) if not (place / one.file).is_file()]


def _home(known: _Known, place: Path) -> Path | None:
    """Return the folder to give to torchvision's class; None before it is unpacked."""
    # The second is where torchvision itself would have put it.
    for home in (_unpacked(known, place), place):
        if (home / known.made).exists():
            return home
    return None


def _unpacked(known: _Known, place: Path) -> Path:
    return place / "unpacked" / known.name.lower()


@kinds_checked
def task(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    train: int | None = 3000,
    validation: int = 300,
    test: int | None = 600,
    size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Task:
    """Return a published data set as a task, with the test images that came with it.

    Each part is a sample in which all classes are there alike. A validation part that
    the data set lacks is set aside from its training images. Grey images get three
    equal channels; each is made smaller until its shorter side has `size` pixels and
    cut to the square in its middle.

    Args:
        name: one of `NAMES`.
        root: where data sets are kept; by default `fetch.data_folder()`.
        download: fetch it where it is missing. Size and licence are said first.
        train: images to learn from at most; None for all that are left.
        validation: images to choose with at most.
        test: images to report on at most; None for all. They do not depend on `seed`.
        size: pixels a side.
        seed: of the sample and of the validation part, 0 or more.
        progress: show a bar where reading takes longer than two seconds.

    Raises:
        CourseError: the name is unknown, the data set is not here and was not asked
            for, it cannot be fetched or read, or a number is too small.
    """
    known = _known(name)
    _check(train, validation, test, size, seed)
    home = _ready(known, _root(root), download)
    sets = _sets(known, home)
    chosen = _chosen(
        [_labels(one, known) for one in sets], train, validation, test, seed
    )
    parts = [
        _part(kind, known, sets[at], places, size, progress)
        for kind, (at, places) in zip(
            (TrainPart, ValidationPart, TestPart), chosen, strict=True
        )
    ]
    return Task(known.name.lower(), *parts)


def _check(
    train: int | None, validation: int, test: int | None, size: int, seed: int
) -> None:
    asked = {"train": train, "validation": validation, "test": test, "size": size}
    for name, value in asked.items():
        if value is not None and value < 1:
            raise CourseError(
                f"A data set was asked for with {name}={value}; expected 1 or more."
            )
    if seed < 0:
        raise CourseError(f"The seed was {seed}; expected a whole number from 0.")


# From the network to the disk ---------------------------------------------------------


def _ready(known: _Known, place: Path, download: bool) -> Path:
    """Return the folder of a data set that is unpacked, fetching it if it may."""
    name = known.name.lower()
    if home := _home(known, place):
        return home
    missing = _missing(name, place)
    if missing and not download:
        raise _absent(name, missing, place)
    for remote in missing:
        fetch.download(remote, place)
    _unpack(known, place)
    return _unpacked(known, place)


def _absent(name: str, missing: list[fetch.Remote], place: Path) -> CourseError:
    size = fetch.size_text(sum(one.megabytes or 0 for one in missing))
    licence = missing[0].licence or "not stated"
    return CourseError(
        f"The data set {name} is not in {shown(place)}. Fetch it once with the command "
        f"course prefetch --datasets {name}, or pass download=True ({size}, licence: "
        f'{licence}); until then, data.task("digits") needs no network.'
    )


def _unpack(known: _Known, place: Path) -> None:
    """Unpack the published files where torchvision's class finds them."""
    target = _unpacked(known, place)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.exists():  # another process was faster
                return
            with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as scratch:
                draft = Path(scratch) / "whole"
                _unpack_into(known, place, draft)
                os.rename(draft, target)
    except (OSError, EOFError, RuntimeError, zlib.error, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CourseError(
            f"The data set {known.name} could not be unpacked in {shown(place)}: "
            f"{reason}."
        ) from error


def _unpack_into(known: _Known, place: Path, draft: Path) -> None:
    at = draft / known.at
    at.mkdir(parents=True)
    for remote in remotes(known.name):
        kept = place / remote.file
        if not fetch.matches(kept, remote.digest):
            # torchvision would fetch it anew, and nobody has asked for that.
            raise CourseError(
                f"{shown(kept)} is damaged: its digest is not the published one. "
                "Remove it and fetch it again."
            )
        _lay(kept, at / remote.url.rsplit("/", 1)[1])
    for split in known.splits:
        _class(known)(draft, download=True, **split)
    for archive in at.glob("*gz"):
        archive.unlink()


def _lay(file: Path, at: Path) -> None:
    try:
        os.link(file, at)
    except OSError:  # a memory stick knows no links
        shutil.copyfile(file, at)


# From the disk to a task --------------------------------------------------------------


def _sets(known: _Known, home: Path) -> list[VisionDataset]:
    try:
        return [_class(known)(home, **split) for split in known.splits]
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        raise CourseError(
            f"The data set {known.name} in {shown(home)} is damaged or not complete; "
            "remove it and fetch it again."
        ) from error


def _labels(images: VisionDataset, known: _Known) -> np.ndarray:
    return np.asarray(getattr(images, known.labels), dtype=np.int64)


def _chosen(
    labels: list[np.ndarray],
    train: int | None,
    validation: int,
    test: int | None,
    seed: int,
) -> list[tuple[int, np.ndarray]]:
    """Return for each part which of the sets it is from, and which images of it."""
    first = _dealt(labels[0], (_DEAL, 0, seed))
    if len(labels) == 3:
        second, held = 1, _dealt(labels[1], (_DEAL, 1, seed))[:validation]
    else:
        second, held, first = 0, first[:validation], first[validation:]
    if not len(first):
        raise CourseError(
            f"With validation={validation} no image is left to train on; there are "
            f"{len(labels[0])}."
        )
    last = _dealt(labels[-1], (_DEAL, 2, 0))[:test]
    return [(0, first[:train]), (second, held), (len(labels) - 1, last)]


def _dealt(labels: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """Return an order of which every beginning holds all classes alike."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    # How far through its own class an image is, a little shifted for every class.
    shift = np.repeat(generator.uniform(size=len(counts)), counts)
    through = (np.arange(len(labels)) - starts + shift) / np.repeat(counts, counts)
    return by_class[np.argsort(through, kind="stable")]


def _part(
    kind: type[_P],
    known: _Known,
    images: VisionDataset,
    places: np.ndarray,
    size: int,
    progress: bool,
) -> _P:
    pixels = torch.empty((len(places), 3, size, size), dtype=torch.uint8)
    bar = tqdm(
        places,
        desc=f"reading {kind.kind}",
        leave=False,
        delay=_PATIENCE,
        disable=not progress,
    )
    for at, place in enumerate(bar):
        pixels[at] = torch.from_numpy(_pixels(known, images, int(place), size))
    labels = torch.from_numpy(_labels(images, known)[places])
    # SVHN's class does not name the digits that it holds.
    names = tuple(map(str, getattr(images, "classes", range(10))))
    return kind(pixels, labels, names)


def _pixels(known: _Known, images: VisionDataset, place: int, size: int) -> np.ndarray:
    if known.files:
        return reading.read(Path(getattr(images, known.files)[place]), size).pixels
    return reading.square(pictures.flat(images[place][0]), size)
