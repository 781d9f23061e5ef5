"""Other people's models and images for the chapters, fetched before a class begins.

A plan first, then a question, then the downloads, each verified. ``--to DIR`` makes a
folder that travels on a stick, ``--from DIR`` takes it in without a network.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from course import fetch, models
from course.data import named
from course.errors import CourseError
from course.fetch import Remote, Say, size_text
from course.progress import shown

MODELS = (
    ("vgg16", "IMAGENET1K_V1", "the article's example, chapters 00 and 10"),
    ("mobilenet_v2", "IMAGENET1K_V1", "your own images, chapter 10"),
    ("squeezenet1_1", "IMAGENET1K_V1", "the smallest file with ImageNet's classes"),
    ("resnet18", "IMAGENET1K_V1", "the big brother of our resnet10, chapter 07"),
)
DATA_REASON = "images in place of your own, chapter 10"
LARGE = 100  # megabytes from which on a data set is fetched only by its name
WEIGHTS, DATA = "weights", "data"  # the folders on a stick
MANIFEST = "manifest.json"
KIND = "files for the pretrained workbook"  # tells the manifest from other JSON
MOST_BYTES = 1_000_000  # of a manifest: a larger file is another one
HERE, MISSING, OTHER = "is here", "to fetch", "is there, but is not the published file"


@dataclass(frozen=True)
class Item:
    """One file that a chapter can use.

    Args:
        name: of a model with its weights, ``"vgg16:IMAGENET1K_V1"``, or of a data set.
        remote: where it is published.
        cache: the folder on this machine in which the workbook looks for it.
        group: its folder on a stick, `WEIGHTS` or `DATA`.
        why: what it is for.
    """

    name: str
    remote: Remote
    cache: Path
    group: str
    why: str


@dataclass(frozen=True)
class Job:
    """What is to be done about an item.

    Args:
        item: which.
        folder: where it should be.
        state: `HERE`, `MISSING` or `OTHER`.
        source: the file that it is copied from; None where it is downloaded.
        digest: that the source must have, beside the published one.
        begun: megabytes that an earlier call left.
        foreign: whether this machine's cache holds another file under that name.
    """

    item: Item
    folder: Path
    state: str
    source: Path | None = None
    digest: str = ""
    begun: float = 0.0
    foreign: bool = False


def run(
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    *,
    to: Path | None = None,
    source: Path | None = None,
    agreed: bool = False,
    ask: Callable[[str], str] = input,
    say: Say = print,
) -> int:
    """Show a plan, ask, and fetch what is missing; return the exit status.

    Args:
        models: names with or without weights; None with `datasets` None: all.
        datasets: names of data sets.
        to: a folder to fill, for a stick, in place of this machine's own.
        source: such a folder, to take files from; the network is not touched.
        agreed: do not ask.
        ask: puts a question to the reader.
        say: is given what the reader should know, a line at a time.

    Returns:
        0: all is there, or the answer was no. 1: something failed; the rest is there.

    Raises:
        CourseError: a name is unknown, the disk is too small, or a folder is no stick.
    """
    items = None
    if models is not None or datasets is not None:
        items = wanted(models or (), datasets or ())
    refused: list[str] = []
    if source is not None:
        jobs = from_stick(source, items, refused)
    else:
        _writable(to)
        jobs = look(wanted() if items is None else items, to)
    left = _left_out() if items is None and source is None else []
    for line in [*table(jobs), *left, *refused, *rooms(jobs)]:
        say(line)
    missing = [job for job in jobs if job.state == MISSING]
    if missing and not (agreed or _agrees(missing, ask)):
        say("Nothing was fetched.")
        return 0
    failed = _do(jobs, to, say) + len(refused)
    say(_result(jobs, missing, failed))
    return 1 if failed else 0


def _left_out() -> list[str]:
    return [
        f"Left out: {name} ({size_text(size)}); --datasets {name} brings it."
        for name, size in large().items()
    ]


def _writable(to: Path | None) -> None:
    """Refuse a folder that holds somebody else's manifest before it is filled."""
    if to is not None and (to / MANIFEST).exists():
        _entries(to)


def _agrees(missing: Sequence[Job], ask: Callable[[str], str]) -> bool:
    try:
        answer = ask("Go ahead? [y/N] ")
    except EOFError:  # nobody is there to ask
        return False
    return answer.strip().lower() in ("y", "yes")


def _do(jobs: Sequence[Job], to: Path | None, say: Say) -> int:
    """Bring what is missing; return how many failed, which does not stop the others."""
    failed = 0
    for job in jobs:
        try:
            _bring(job, say)
            if to is not None:
                note(job, to)
        except CourseError as error:
            failed += 1
            say(f"✗ {error}")
        else:
            if job.state == MISSING:
                say(f"✓ {job.item.remote.what}")
    return failed


def _bring(job: Job, say: Say) -> None:
    remote = job.item.remote
    if job.state == OTHER:
        raise CourseError(
            f"{shown(fetch.place(remote, job.folder))} is not the published "
            f"{remote.what} and was left as it is; remove it, and the same command "
            "fetches the published one."
        )
    if job.state == MISSING and job.source:
        fetch.copy(job.source, remote, job.folder, say, job.digest)
    elif job.state == MISSING:
        fetch.download(remote, job.folder, say)


def _result(jobs: Sequence[Job], missing: Sequence[Job], failed: int) -> str:
    if failed:
        return f"{failed} failed; the same command tries again what is still missing."
    if not missing:
        return "Everything is there; nothing was to be done."
    return f"All {len(jobs)} are there." if len(jobs) > 1 else "It is there."


# What is wanted -----------------------------------------------------------------------


def wanted(
    names: Sequence[str] | None = None, datasets: Sequence[str] | None = None
) -> list[Item]:
    """Return the files of models and data sets; without names, all of the chapters'.

    Without names, that is all of `MODELS` and all data sets but the `large` ones.

    Raises:
        CourseError: a name is unknown.
    """
    if names is None:
        names = [f"{name}:{weights}" for name, weights, _ in MODELS]
    if datasets is None:
        datasets = [name for name in named.NAMES if name not in large()]
    items = [_of_model(name) for name in names]
    items += [item for name in datasets for item in _of_dataset(name)]
    return list(dict.fromkeys(items))


def _of_model(text: str) -> Item:
    name, _, weights = text.partition(":")
    if name in models.SHIPPED:
        raise CourseError(
            f"{name} comes with the workbook; there is nothing to fetch for it."
        )
    remote = models.remote(name, weights or _usual_weights(name))
    chapters = {f"{one} {weights}": why for one, weights, why in MODELS}
    return Item(
        name=remote.what.replace(" ", ":"),
        remote=remote,
        cache=fetch.weights_folder(),
        group=WEIGHTS,
        why=chapters.get(remote.what, "asked for by name"),
    )


def _usual_weights(name: str) -> str | None:
    """Return which weights of a model are meant where none are named."""
    for known, weights, _ in MODELS:
        if known == name:
            return weights
    from torchvision.models import get_model_weights, list_models

    return get_model_weights(name).DEFAULT.name if name in list_models() else None


def large() -> dict[str, float]:
    """Return the data sets that are fetched only by name, with their megabytes."""
    sizes = {
        name: sum(remote.megabytes or 0 for remote in named.remotes(name))
        for name in named.NAMES
    }
    return {name: size for name, size in sizes.items() if size >= LARGE}


def _of_dataset(name: str) -> list[Item]:
    return [
        Item(name, remote, fetch.data_folder(), DATA, DATA_REASON)
        for remote in named.remotes(name)
    ]


# What is there ------------------------------------------------------------------------


def look(items: Sequence[Item], to: Path | None = None) -> list[Job]:
    """Return what is to be done so that items are on this machine, or on a stick.

    Args:
        items: what is wanted.
        to: the folder of the stick; None for this machine.
    """
    jobs = []
    for item in items:
        if to is None:
            state = _state(item.remote, item.cache)
            if state == MISSING and item.group == DATA and named.present(item.name):
                state = HERE  # unpacked, and the archive was removed
            jobs.append(_job(item, item.cache, state))
            continue
        folder, cached = to / item.group, _state(item.remote, item.cache)
        source = item.cache / item.remote.file if cached == HERE else None
        job = _job(item, folder, _state(item.remote, folder), source)
        jobs.append(replace(job, foreign=cached == OTHER))
    return jobs


def _job(
    item: Item, folder: Path, state: str, source: Path | None = None, digest: str = ""
) -> Job:
    part = folder / f"{item.remote.file}.part"
    begun = 0.0 if source else fetch.size(part) / 1e6
    return Job(item, folder, state, source, digest, begun)


def _state(remote: Remote, folder: Path) -> str:
    try:
        path = fetch.place(remote, folder)
        if not path.is_file():
            return MISSING
        return HERE if fetch.matches(path, remote.digest) else OTHER
    except CourseError:  # a folder lies in its place, or it cannot be read
        return OTHER


# The plan -----------------------------------------------------------------------------


def table(jobs: Sequence[Job]) -> list[str]:
    """Return the plan, line by line: what, how large, whether it is there, what for."""
    head = ("what", "size", "state", "licence", "for")
    rows = [head, *(_row(job) for job in jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = []
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
        cells[1] = row[1].rjust(widths[1])
        lines.append("  ".join(cells).rstrip())
    missing = [job for job in jobs if job.state == MISSING]
    copied = [job for job in missing if job.source]
    fetched = [job for job in missing if not job.source]
    if copied:
        lines.append(f"To copy: {_total(copied)}.")
    if fetched:
        lines.append(f"To fetch: {_total(fetched)}.")
    return lines


def _row(job: Job) -> tuple[str, ...]:
    state, remote = job.state, job.item.remote
    if state == MISSING and job.source:
        state = "to copy"
    elif state == MISSING and job.begun:
        state = f"to fetch, {size_text(job.begun)} are here"
    elif state == MISSING and job.foreign:
        state = "to fetch; the cache's is not the published file"
    size = "not stated" if remote.megabytes is None else size_text(remote.megabytes)
    return remote.what, size, state, remote.licence or "not stated", job.item.why


def _total(jobs: Sequence[Job]) -> str:
    sizes = [job.item.remote.megabytes for job in jobs]
    known = [one for one in sizes if one is not None]
    text = size_text(max(0.0, sum(known) - sum(job.begun for job in jobs)))
    silent = len(sizes) - len(known)
    return f"{text}, and {silent} of a size that is not stated" if silent else text


def rooms(jobs: Sequence[Job]) -> list[str]:
    """Say how much is free on each disk that the jobs would write to.

    Raises:
        CourseError: it is less than what they need.
    """
    disks: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.state == MISSING:
            disks[_disk(job.folder)].append(job)
    lines = []
    for here in disks.values():
        folder, free = here[0].folder, fetch.free_megabytes(here[0].folder)
        needed = sum((job.item.remote.megabytes or 0) - job.begun for job in here)
        if needed > free:
            raise CourseError(
                f"{size_text(needed)} are needed and {size_text(free)} are free in "
                f"{shown(folder)}; make room, or ask for less with --models or "
                "--datasets."
            )
        lines.append(f"Free in {shown(folder)}: {size_text(free)}.")
    return lines


def _disk(folder: Path) -> int:
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return os.stat(there).st_dev


# The stick ----------------------------------------------------------------------------


def note(job: Job, stick: Path) -> None:
    """Write a file that is on a stick into its manifest, whole, with its SHA-256.

    Raises:
        CourseError: the folder holds another manifest, or cannot be written.
    """
    item, path = job.item, job.folder / job.item.remote.file
    entry = {
        "name": item.name,
        "folder": item.group,
        "file": item.remote.file,
        "bytes": fetch.size(path),
        "sha256": fetch.hexdigest(path),
    }
    place = stick / MANIFEST
    others = _entries(stick) if place.exists() else []
    where = (item.group, item.remote.file)
    kept = [one for one in others if (one.get("folder"), one.get("file")) != where]
    _write(place, {"kind": KIND, "version": 1, "files": [*kept, entry]})


def _write(place: Path, content: dict[str, Any]) -> None:
    new = place.with_name(f".{place.name}.new")
    try:
        new.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        os.replace(new, place)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise CourseError(
            f"{shown(place)} cannot be written: {error.strerror or error}."
        ) from error


def _entries(stick: Path) -> list[dict[str, Any]]:
    """Return what a manifest lists.

    Raises:
        CourseError: there is none, or it is none of ours.
    """
    place = stick / MANIFEST
    try:
        if place.stat().st_size > MOST_BYTES:
            raise ValueError("too large")
        content = json.loads(place.read_text("utf-8"))
        entries = content["files"]
        if content["kind"] != KIND or not isinstance(entries, list):
            raise ValueError("of another kind")
    except FileNotFoundError as error:
        raise CourseError(
            f"There is no {MANIFEST} in {shown(stick)}; expected a folder made by "
            "course prefetch --to DIR."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CourseError(
            f"{shown(place)} is damaged or of another kind; expected the one that "
            "course prefetch --to DIR writes."
        ) from error
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def from_stick(
    stick: Path, items: Sequence[Item] | None, refused: list[str]
) -> list[Job]:
    """Return what a stick can bring to this machine.

    Args:
        stick: a folder that ``--to`` made.
        items: what is wanted; None for all that is on it.
        refused: is given a sentence for each file that will not be taken.

    Raises:
        CourseError: the folder holds no manifest of ours.
    """
    jobs: dict[Item, Job] = {}
    for entry in _entries(stick):
        try:
            job = _offered(stick, entry)
        except CourseError as error:
            refused.append(f"✗ {error}")
        else:
            jobs[job.item] = job
    if items is None:
        return list(jobs.values())
    refused += [
        f"✗ {item.remote.what} is not on the stick."
        for item in items
        if item not in jobs and _state(item.remote, item.cache) != HERE
    ]
    return [jobs[item] for item in items if item in jobs]


def _offered(stick: Path, entry: dict[str, Any]) -> Job:
    """Return the job of one entry, if it is a published file of a plain name.

    Raises:
        CourseError: it is not, or its file is missing.
    """
    name, folder, file = (entry.get(key) for key in ("name", "folder", "file"))
    label = f"{str(folder)[:100]}/{str(file)[:100]}"
    item = next(
        (one for one in _known(name) if (one.group, one.remote.file) == (folder, file)),
        None,
    )
    if item is None:
        raise CourseError(
            f"{label!r} on the stick is no file that the workbook knows, and is not "
            "taken."
        )
    path, digest = stick / item.group / item.remote.file, entry.get("sha256")
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise CourseError(f"{label!r} is listed, but no such file is on the stick.")
    published = item.remote.digest.lower()
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        digest = ""
    if not digest or (
        published.startswith("sha256:") and not f"sha256:{digest}".startswith(published)
    ):
        raise CourseError(
            f"{label!r} on the stick is not the published {item.remote.what}, and is "
            "not taken."
        )
    state = _state(item.remote, item.cache)
    return _job(item, item.cache, state, path, f"sha256:{digest}")


def _known(name: Any) -> Iterator[Item]:
    """Yield the items of a name in a manifest; none where nobody knows it."""
    try:
        if not isinstance(name, str):
            return
        if name in named.NAMES:
            yield from _of_dataset(name)
        else:
            yield _of_model(name)
    except CourseError:
        return
