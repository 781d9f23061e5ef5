"""Your own images: a folder becomes a task, and nothing in it is lost without a word.

`folder` reads every file of a folder once, says what became of each, looks for pictures
that occur twice, and deals them into train, validation and test where the folder does
not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from course.arguments import kinds_checked
from course.data import listing, reading, twins
from course.data.found import Folder, Report, Twin, clipped
from course.data.listing import PARTS, Entry, Listing, Row
from course.data.pictures import NoPicture, short
from course.data.tasks import Part, Task, TestPart, TrainPart, ValidationPart
from course.errors import CourseError, unknown

DUPLICATES = ("say", "drop")
_KINDS = {"train": TrainPart, "validation": ValidationPart, "test": TestPart}
_OUT = -1  # of a picture that is in no part
# The first words of the seeds that deal pictures into parts and choose some of them.
_DEAL, _SAMPLE = 71_010, 71_011
_PATIENCE = 2  # seconds of reading after which a bar is shown


class _Picture(NamedTuple):
    entry: Entry
    read: reading.Read


@kinds_checked
def folder(
    path: str | os.PathLike[str],
    *,
    size: int = 64,
    seed: int = 0,
    validation: float = 0.15,
    test: float = 0.15,
    per_class: int | None = None,
    duplicates: str = "say",
    progress: bool = True,
) -> Folder:
    """Return a folder of images as a task, and what became of every file (chapter 10).

    Three layouts are understood: a folder for each class; ``train``, ``val`` and
    ``test`` with such folders in them; and a CSV file with a column ``file``, a column
    ``label`` and perhaps a column ``split``. A part that the layout lacks is set aside
    from the training images: at random by `seed`, of each class alike, and copies of
    one picture together. Classes are numbered in the order of their names.

    Each picture is turned upright, laid on white where it is transparent, brought to
    RGB, made smaller until its shorter side has `size` pixels, and cut to the square
    in its middle. Pixels that are missing are never made up: a damaged file is left
    out and named in the report. Files are read one at a time.

    Args:
        path: of the folder, or of the CSV file.
        size: pixels a side of the images: 64 for the course's backbones, 256 for most
            of ImageNet's, which then cut 224 out of the middle.
        seed: of the deal into parts, 0 or more.
        validation: share of the pictures for a missing validation part.
        test: share of the pictures for a missing test part.
        per_class: read so many files of each class at most (in each part that the
            layout gives), chosen by `seed`; None reads all.
        duplicates: "say" names copies that lie in two parts; "drop" also takes them
            out of train (and out of validation, if the other one is in test).
        progress: show a bar where reading takes longer than two seconds.

    Raises:
        CourseError: there is no such folder, no picture in it, or no task of two
            classes or more with every class in every part.
    """
    _check(size, seed, validation, test, duplicates)
    found = listing.find(path)
    _check_classes(found)
    if per_class is not None:
        _sample(found, per_class, seed)
    pictures = _read(found, size, progress)
    together = twins.groups(
        [one.read.mark for one in pictures], [one.read.digest for one in pictures]
    )
    shares = {"test": test, "validation": validation}
    parts = _dealt(found, pictures, together, shares, seed)
    copies = _twins(pictures, parts, together)
    if duplicates == "drop":
        _drop(found, pictures, parts, together)
    return _folder(found, pictures, parts, together, copies)


def _check(
    size: int, seed: int, validation: float, test: float, duplicates: str
) -> None:
    if duplicates not in DUPLICATES:
        raise unknown("way with duplicates", duplicates, DUPLICATES)
    if size < 1 or seed < 0:
        raise CourseError(
            f"A folder was asked for with size={size} and seed={seed}; expected 1 "
            "pixel a side or more, such as 64, and a seed from 0."
        )
    if min(validation, test) <= 0 or validation + test >= 1:
        raise CourseError(
            f"A folder was asked for with validation={validation} and test={test}; "
            "expected shares of the pictures above 0 that leave some to train on, such "
            "as 0.15 each."
        )


def _check_classes(found: Listing) -> None:
    """Refuse a folder of one class, or whose parts name different classes."""
    labels = {part: set() for part in found.parts or ("",)}
    for entry in found.entries:
        labels[entry.part].add(entry.label)
    first, known = next(iter(labels.items()))
    for part, names in labels.items():
        if odd := sorted(names ^ known):
            where, other = (part, first) if odd[0] in names else (first, part)
            raise CourseError(
                f"The class {clipped(odd[0])!r} is in {where} and not in {other}; "
                "expected the same classes in every part."
            )
    if len(known) < 2:
        raise CourseError(
            f"There is only one class, {clipped(min(known))!r}; expected two or more "
            "to tell apart."
        )


def _sample(found: Listing, most: int, seed: int) -> None:
    """Keep so many files of each class at most, and say how many are not read."""
    if most < 1:
        raise CourseError(
            f"A folder was asked for with per_class={most}; expected 1 or more."
        )
    classes: dict[tuple[str, str], list[Entry]] = {}
    for entry in found.entries:
        classes.setdefault((entry.part, entry.label), []).append(entry)
    kept: list[Entry] = []
    for number, (_, entries) in enumerate(sorted(classes.items())):
        generator = np.random.default_rng([_SAMPLE, seed, number])
        places = generator.permutation(len(entries))[:most]
        kept += [entries[place] for place in sorted(places)]
    if len(kept) < len(found.entries):
        found.notes.append(
            f"{len(kept):,} of {len(found.entries):,} files were read, {most:,} of "
            "each class and part at most (per_class)."
        )
    found.entries = sorted(kept)


def _read(found: Listing, size: int, progress: bool) -> list[_Picture]:
    """Read every picture once, and note what could not be read or was changed."""
    from tqdm.auto import tqdm

    pictures = []
    for entry in tqdm(
        found.entries,
        desc="reading",
        leave=False,
        delay=_PATIENCE,
        disable=not progress,
    ):
        try:
            read = reading.read(found.root / entry.file, size)
        except NoPicture as error:
            found.leave(entry.file, error.reason)
            continue
        pictures.append(_Picture(entry, read))
        found.rows += [Row(entry.file, "read", note) for note in read.notes]
    _check_read(found, pictures)
    return pictures


def _check_read(found: Listing, pictures: Sequence[_Picture]) -> None:
    left = {(one.entry.part, one.entry.label) for one in pictures}
    for entry in found.entries:
        if (entry.part, entry.label) not in left:
            why = next(row.reason for row in found.rows if row.file == entry.file)
            raise CourseError(
                f"No picture of the class {clipped(entry.label)!r}"
                f"{f' in {entry.part}' if entry.part else ''} could be read "
                f"({clipped(entry.file)!r} {why}); add some, or leave the class out."
            )


# The deal -----------------------------------------------------------------------------


def _dealt(
    found: Listing,
    pictures: Sequence[_Picture],
    together: np.ndarray,
    shares: Mapping[str, float],
    seed: int,
) -> np.ndarray:
    """Return the part of each picture, by its number in `PARTS`."""
    parts = np.array(
        [PARTS.index(one.entry.part or "train") for one in pictures], np.int64
    )
    missing = {part: share for part, share in shares.items() if part not in found.parts}
    if not missing:
        return parts
    labels = np.array([one.entry.label for one in pictures], object)
    names, numbers = np.unique(labels, return_inverse=True)
    # Sorted by class once: with thousands of classes, a search for each takes minutes.
    order = np.argsort(numbers, kind="stable")
    order = order[parts[order] == PARTS.index("train")]
    starts = np.searchsorted(numbers[order], np.arange(1, len(names)))
    for number, places in enumerate(np.split(order, starts)):
        generator = np.random.default_rng([_DEAL, seed, number])
        _deal_class(places, together, missing, generator, parts, names[number])
    found.notes.append(_how(found, missing, seed))
    return parts


def _how(found: Listing, missing: Mapping[str, float], seed: int) -> str:
    names = " and ".join(sorted(missing, reverse=True))
    shares = " and ".join(f"{missing[n]:.0%}" for n in sorted(missing, reverse=True))
    were = "parts were" if len(missing) > 1 else "part was"
    return (
        f"The {names} {were} set aside by seed {seed}: {shares} of each class"
        f"{' in train' if found.parts else ''}, copies of one picture together."
    )


def _deal_class(
    places: np.ndarray,
    together: np.ndarray,
    missing: Mapping[str, float],
    generator: np.random.Generator,
    parts: np.ndarray,
    name: str,
) -> None:
    """Deal the pictures of one class, copies of one picture as a whole."""
    groups: dict[int, list[int]] = {}
    for place in generator.permutation(places):
        groups.setdefault(int(together[place]), []).append(place)
    left = list(groups.values())
    if len(left) <= len(missing):
        raise CourseError(
            f"The class {clipped(name)!r} has {len(left)} different pictures to deal "
            f"out ({len(places)} with copies); expected {len(missing) + 1} or more, "
            "one for each part. Add pictures, or leave the class out."
        )
    for before, (part, share) in enumerate(missing.items()):
        wanted = max(1, round(share * len(places)))
        # Train and the parts that still follow need a group each.
        chosen, left = _chosen(left, wanted, len(left) - len(missing) + before)
        parts[chosen] = PARTS.index(part)


def _chosen(
    groups: list[list[int]], wanted: int, most: int
) -> tuple[list[int], list[list[int]]]:
    """Return about the wanted number of pictures in whole groups, and the rest."""
    chosen: list[list[int]] = []
    rest: list[list[int]] = []
    for group in groups:
        fits = len(chosen) < most and len(group) <= wanted
        (chosen if fits else rest).append(group)
        wanted -= len(group) * fits
    if not chosen:
        smallest = min(range(len(rest)), key=lambda place: len(rest[place]))
        chosen.append(rest.pop(smallest))
    return [place for group in chosen for place in group], rest


# Copies -------------------------------------------------------------------------------


def _members(together: np.ndarray) -> list[np.ndarray]:
    """Return the places of the pictures in each group of two or more."""
    order = np.argsort(together, kind="stable")
    starts = np.flatnonzero(np.diff(together[order])) + 1
    return [places for places in np.split(order, starts) if len(places) > 1]


def _twins(
    pictures: Sequence[_Picture], parts: np.ndarray, together: np.ndarray
) -> tuple[Twin, ...]:
    """Return the copies that lie in two parts or are given two classes."""
    return tuple(
        _twin(pictures, parts, *pair)
        for places in _members(together)
        for pair in _pairs(pictures, parts, places)
    )


def _pairs(
    pictures: Sequence[_Picture], parts: np.ndarray, places: np.ndarray
) -> list[tuple[int, int]]:
    """Return the pairs of one group that are worth naming."""
    last = places[parts[places] == parts[places].max()]
    pairs = [
        (place, _nearest(pictures, place, last))
        for place in places
        if parts[place] != parts[last[0]]
    ]
    labelled: dict[str, int] = {}
    for place in places:
        labelled.setdefault(pictures[place].entry.label, place)
    first, *others = labelled.values()
    named = {frozenset(pair) for pair in pairs}
    return pairs + [
        (first, other) for other in others if frozenset((first, other)) not in named
    ]


def _nearest(pictures: Sequence[_Picture], place: int, others: Sequence[int]) -> int:
    mark = pictures[place].read.mark
    return min(others, key=lambda other: twins.bits(mark, pictures[other].read.mark))


def _twin(
    pictures: Sequence[_Picture], parts: np.ndarray, first: int, second: int
) -> Twin:
    one, other = pictures[first], pictures[second]
    return Twin(
        (one.entry.file, other.entry.file),
        (PARTS[parts[first]], PARTS[parts[second]]),
        (one.entry.label, other.entry.label),
        twins.bits(one.read.mark, other.read.mark),
        one.read.digest == other.read.digest,
    )


def _drop(
    found: Listing,
    pictures: Sequence[_Picture],
    parts: np.ndarray,
    together: np.ndarray,
) -> None:
    """Take the copies of later parts' pictures out of the earlier ones."""
    for places in _members(together):
        last = places[parts[places] == parts[places].max()]
        copy = pictures[last[0]].entry.file
        for place in places[parts[places] < parts[last[0]]]:
            part, file = PARTS[parts[place]], pictures[place].entry.file
            reason = (
                f"is a copy of a picture in {PARTS[parts[last[0]]]}, {clipped(copy)}"
            )
            found.rows.append(Row(file, f"dropped from {part}", reason))
            parts[place] = _OUT


# The task -----------------------------------------------------------------------------


def _folder(
    found: Listing,
    pictures: Sequence[_Picture],
    parts: np.ndarray,
    together: np.ndarray,
    copies: tuple[Twin, ...],
) -> Folder:
    names = tuple(sorted({one.entry.label for one in pictures}))
    number = {name: place for place, name in enumerate(names)}
    labels = np.array([number[one.entry.label] for one in pictures], np.int64)
    chosen = {part: np.flatnonzero(parts == at) for at, part in enumerate(PARTS)}
    _check_left(chosen, labels, names)
    built = {
        part: _part(_KINDS[part], pictures, places, labels, names)
        for part, places in chosen.items()
    }
    name = short(found.root.resolve().name) or "folder"
    report = Report(
        name,
        {part: _counts(labels[places], names) for part, places in chosen.items()},
        tuple(sorted(found.rows)),
        copies,
        {p: len(at) - len(set(together[at].tolist())) for p, at in chosen.items()},
        found.skipped,
        tuple(found.notes),
    )
    files = {
        part: tuple(pictures[place].entry.file for place in places)
        for part, places in chosen.items()
    }
    return Folder(Task(name, **built), report, files, found.root)


def _check_left(
    chosen: Mapping[str, np.ndarray], labels: np.ndarray, names: Sequence[str]
) -> None:
    """Refuse a part out of which the last picture of a class was dropped."""
    for part, places in chosen.items():
        gone = set(range(len(names))) - set(labels[places].tolist())
        if gone:
            raise CourseError(
                f"All pictures of the class {clipped(names[min(gone)])!r} in {part} "
                "have copies in a later part, and were dropped; pass "
                'duplicates="say" to see which, and add others.'
            )


def _part(
    kind: type[Part],
    pictures: Sequence[_Picture],
    places: np.ndarray,
    labels: np.ndarray,
    names: tuple[str, ...],
) -> Part:
    images = np.stack([pictures[place].read.pixels for place in places])
    return kind(torch.from_numpy(images), torch.from_numpy(labels[places]), names)


def _counts(labels: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(names)).tolist()
    return dict(zip(names, counts, strict=True))
