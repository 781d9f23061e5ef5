"""What the workbook keeps on disks to be faster, how much it is, and how it goes again.

Only what can be made or fetched again is a cache. Your progress, pictures, exported
models, tables and runs are none, and nothing here touches them. Links are not followed,
and what another process is using is left alone.
"""

from __future__ import annotations

import getpass
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from course import extraction, fetch, shelf, sweep
from course.data import named, reviews
from course.errors import CourseError, unknown
from course.fetch import size_text
from course.progress import shown
from course.shelf import Entry

LIMIT = "10 GB"  # of all caches that give way to a limit, where a reader names none
DEEP = 4  # folders below the one in which we look for what was computed
LIMITED, AGED, NAMED, FOREIGN = "limit", "age", "name", "never"
HOUR = 3600  # after which nobody is still writing a file
_SIZES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_AGES = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_WEIGHTS = re.compile(r"\.?.+-[0-9a-f]{8,64}\.(pth|pt|safetensors)(\.part|\.copy)?")
_CELL = re.compile(r"[0-9a-f]{24}\.json")
_SCRATCH = re.compile(r"\.[a-z0-9_]{8}")  # of tempfile, in which a set is unpacked
Say = Callable[[str], object]
Places = Sequence[Path]


@dataclass(frozen=True)
class Cache:
    """One kind of things that are kept.

    Args:
        name: as on the command line.
        what: what is kept.
        back: how it comes back.
        goes: what makes it go: a limit, only its age, only its name, or nothing here,
            since it is another program's.
        find: from the folders below those where readers compute to what may be there.
    """

    name: str
    what: str
    back: str
    goes: str
    find: Callable[[Places], Iterable[Path]]

    def entries(self, places: Places) -> list[Entry]:
        """Return what is there; what is a link, or has gone meanwhile, is not."""
        found = (shelf.entry(path) for path in dict.fromkeys(self.find(places)))
        return [one for one in found if one is not None]


def _names(folder: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    with suppress(OSError):  # it is not there, or has gone meanwhile
        for path in sorted(folder.iterdir()):
            if pattern.fullmatch(path.name):
                yield path


def _features(places: Places) -> Iterator[Path]:
    for place in places:
        yield from _names(place, extraction.KEPT)


def _cells(places: Places) -> Iterator[Path]:
    for place in places:
        if place.parent.name == "cells" and place.name in sweep.SHIPPED:
            yield from _names(place, _CELL)


def _unfinished(places: Places) -> Iterator[Path]:
    for place in places:
        yield from _names(place, re.compile(r"\..+\.partial\.safetensors"))


def _weights(_: Places) -> Iterator[Path]:
    return _names(fetch.weights_folder(), _WEIGHTS)


def _data(_: Places) -> Iterator[Path]:
    home = fetch.data_folder()
    files = [home / one.file for name in named.NAMES for one in named.remotes(name)]
    for file in (*files, home / "sst2" / reviews.GLUE.file):
        yield from (file, *(file.with_name(name) for name in _begun(file.name)))
    unpacked = home / "unpacked"
    yield from (unpacked / name for name in named.NAMES)
    yield from _names(unpacked, _SCRATCH)


def _begun(file: str) -> tuple[str, str]:
    return f"{file}.part", f".{file}.copy"


def _compiled(_: Places) -> Iterator[Path]:
    with suppress(OSError, KeyError, ImportError):  # a user without a name
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
        usual = os.path.join(tempfile.gettempdir(), f"torchinductor_{user}")
        yield from Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or usual).iterdir()


def _hub(_: Places) -> Iterator[Path]:
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    place = os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")
    return _names(Path(os.path.expanduser(place)), re.compile("models--.+"))


CACHES = (
    Cache(
        "features",
        "what networks said of images",
        "the next call computes it",
        LIMITED,
        _features,
    ),
    Cache(
        "sweeps",
        "finished runs of course sweep",
        "the next call runs them",
        LIMITED,
        _cells,
    ),
    Cache(
        "weights",
        "published weights",
        "course prefetch, or download=True",
        LIMITED,
        _weights,
    ),
    Cache(
        "data",
        "published data sets",
        "course prefetch, or download=True",
        LIMITED,
        _data,
    ),
    Cache(
        "unfinished",
        "stopped pretraining, for --resume",
        "it begins anew",
        AGED,
        _unfinished,
    ),
    Cache(
        "compiler",
        "what torch.compile made; of other programs too",
        "the next call compiles it",
        NAMED,
        _compiled,
    ),
    Cache(
        "hub",
        "models from Hugging Face; of other programs too",
        "its own command removes them: hf cache",
        FOREIGN,
        _hub,
    ),
)


def places(further: Iterable[Path] = ()) -> list[Path]:
    """Return the folders in which somebody may have computed something.

    Those are ``runs`` and ``notebooks``, in the present folder and beside the package,
    and what is in them.

    Args:
        further: more to look into.

    Raises:
        CourseError: one of `further` is no folder.
    """
    further = list(further)
    for place in further:
        if not place.is_dir():
            raise CourseError(
                f"{shown(place)} is no folder; expected one in which features, tables "
                "or weights were made."
            )
    near = (Path.cwd(), Path(__file__).parents[1])
    roots = [place / name for place in near for name in ("runs", "notebooks")]
    found = (place.resolve() for root in (*roots, *further) for place in _below(root))
    return list(dict.fromkeys(found))


def _below(root: Path) -> Iterator[Path]:
    for place, folders, _ in os.walk(root):  # it follows no links
        here = Path(place)
        yield here
        deep = len(here.relative_to(root).parts) >= DEEP
        folders[:] = [] if deep else sorted(f for f in folders if f[0] != ".")


# Look ---------------------------------------------------------------------------------


def table(further: Iterable[Path] = ()) -> list[str]:
    """Return what is kept, line by line: size, number, last use, what, how it is back.

    Args:
        further: see `places`.
    """
    where = places(further)
    rows = [("cache", "size", "entries", "from", "last used", "what; how it is back")]
    total = 0
    for cache in CACHES:
        held = cache.entries(where)
        total += sum(one.size for one in held)
        rows.append(_row(cache, held))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [_line(row, widths) for row in rows]
    return [*lines, f"Together {_size(total)}; course cache prune leaves {LIMIT}."]


def _row(cache: Cache, held: Sequence[Entry]) -> tuple[str, ...]:
    days = [time.strftime("%Y-%m-%d", time.localtime(one.used)) for one in held]
    said = f"{cache.what}; {cache.back}"
    ends = (min(days), max(days)) if days else ("", "")
    size = _size(sum(one.size for one in held))
    return cache.name, size, str(len(held)), *ends, said


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
    cells[1:3] = [row[at].rjust(widths[at]) for at in (1, 2)]
    return "  ".join(cells).rstrip()


def folders(further: Iterable[Path] = ()) -> list[str]:
    """Return the folders in which something is kept, each with its caches and size.

    Args:
        further: see `places`.
    """
    sizes: dict[tuple[str, Path], int] = {}
    where = places(further)
    for cache in CACHES:
        for one in cache.entries(where):
            key = cache.name, one.path.parent
            sizes[key] = sizes.get(key, 0) + one.size
    return [
        f"  {name} in {shown(folder)}: {_size(size)}"
        for (name, folder), size in sizes.items()
    ]


def size(further: Iterable[Path] = ()) -> int:
    """Return how many bytes all caches hold together.

    Args:
        further: see `places`.
    """
    where = places(further)
    return sum(one.size for cache in CACHES for one in cache.entries(where))


def _size(size: float) -> str:
    return size_text(size / 1e6) if size < 1e9 else f"{size / 1e9:.1f} GB"


# Let go -------------------------------------------------------------------------------


def bytes_of(text: str) -> int:
    """Return the bytes that a text such as ``"500MB"`` means.

    Raises:
        CourseError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?b)\s*", text, re.I)
    if found:
        return int(float(found[1]) * _SIZES[found[2].lower()])
    if text.strip() == "0":
        return 0
    raise CourseError(
        f"The limit was {text!r}; expected a size such as 500MB, 2GB or 0."
    )


def seconds_of(text: str) -> int:
    """Return the seconds that a text such as ``"30d"`` means.

    Raises:
        CourseError: it is no time.
    """
    found = re.fullmatch(r"\s*(\d{1,6})\s*([hdw])\s*", text, re.I)
    if not found:
        raise CourseError(
            f"The age was {text!r}; expected hours, days or weeks, such as 12h, 30d or "
            "4w."
        )
    return int(found[1]) * _AGES[found[2].lower()]


def prune(
    limit: str | None = None,
    older: str | None = None,
    further: Iterable[Path] = (),
    say: Say = print,
) -> int:
    """Let go what was not used for the longest time, and say what went.

    Args:
        limit: what all caches together may hold, such as ``"2GB"``; None for `LIMIT`,
            or for no limit where `older` is given. Unfinished pretraining does not give
            way to a limit.
        older: let go also what was not used for that long, such as ``"30d"``.
        further: see `places`.
        say: is given what the reader should know, a line at a time.

    Returns:
        0, or 1 where something could not be removed.

    Raises:
        CourseError: a size or a time is none.
    """
    age = None if older is None else time.time() - seconds_of(older)
    if limit is None and older is None:
        limit = LIMIT
    most = None if limit is None else bytes_of(limit)
    where = places(further)
    kept = {cache.name: cache.entries(where) for cache in CACHES}
    going = _outdated(kept, age)
    if most is not None:
        limited = [e for c in CACHES if c.goes == LIMITED for e in kept[c.name]]
        going += shelf.beyond([e for e in limited if e not in going], most)
    return _let_go(going, where, say)


def _outdated(kept: dict[str, list[Entry]], since: float | None) -> list[Entry]:
    if since is None:
        return []
    able = [cache.name for cache in CACHES if cache.goes in (LIMITED, AGED)]
    return [one for name in able for one in kept[name] if one.used < since]


def clear(
    names: Sequence[str] = (),
    further: Iterable[Path] = (),
    agreed: bool = False,
    ask: Callable[[str], str] = input,
    say: Say = print,
) -> int:
    """Let caches go altogether, after a question.

    Args:
        names: of caches; none for all but those that other programs share.
        further: see `places`.
        agreed: do not ask.
        ask: puts a question to the reader.
        say: see `prune`.

    Returns:
        See `prune`.

    Raises:
        CourseError: a name is unknown, or the cache is another program's.
    """
    chosen, where = _chosen(names), places(further)
    held = {cache: cache.entries(where) for cache in chosen}
    going = [one for entries in held.values() for one in entries]
    if not going:
        return _let_go([], where, say)
    for cache, entries in held.items():
        total = _size(sum(one.size for one in entries))
        say(f"{cache.name}: {len(entries)}, {total}; {cache.back}.")
    if not (agreed or _agrees(going, ask)):
        say("Nothing was removed.")
        return 0
    return _let_go(going, where, say)


def _chosen(names: Sequence[str]) -> list[Cache]:
    known = {cache.name: cache for cache in CACHES}
    if not names:
        return [cache for cache in CACHES if cache.goes in (LIMITED, AGED)]
    for name in names:
        if name not in known:
            raise unknown("cache", name, known)
        if known[name].goes == FOREIGN:
            raise CourseError(
                f"The cache {name} holds {known[name].what}, and is left alone; "
                f"{known[name].back}."
            )
    return [known[name] for name in dict.fromkeys(names)]


def _agrees(going: Sequence[Entry], ask: Callable[[str], str]) -> bool:
    total = _size(sum(one.size for one in going))
    try:
        answer = ask(f"Remove {len(going)}, together {total}? [y/N] ")
    except EOFError:  # nobody is there to ask
        return False
    return answer.strip().lower() in ("y", "yes")


def _let_go(going: Sequence[Entry], where: Places, say: Say) -> int:
    """Remove entries that nobody uses, and what killed processes left half-written."""
    gone, busy, stuck = [], [], []
    for one in going:
        if _in_use(one):
            busy.append(one)
        else:
            (gone if shelf.remove(one.path) else stuck).append(one)
    for place in where:
        if not shelf.busy(place):
            with suppress(OSError):
                shelf.remove_half_written(place, before=time.time() - HOUR)
    for one in stuck:
        say(f"✗ {shown(one.path)} could not be removed.")
    if busy:
        say(f"Left alone, since another process is using them: {len(busy)}.")
    total = _size(sum(one.size for one in gone))
    say(f"Removed {len(gone)}, {total}." if gone else "Nothing was to be removed.")
    return 1 if stuck else 0


def _in_use(one: Entry) -> bool:
    """Say whether a process fetches, unpacks or writes there, or has used it just now.

    A lock that nobody holds any more is removed on the way.
    """
    folder, name = one.path.parent, one.path.name
    now = shelf.entry(one.path)
    if now is not None and now.used > one.used:
        return True
    if _SCRATCH.fullmatch(name):  # nobody knows of which data set it is
        locks = list(folder.glob(".*.lock"))
    else:
        whole = name.removesuffix(".part")
        if name.startswith(".") and name.endswith(".copy"):
            whole = name[1 : -len(".copy")]
        locks = [folder / f".{whole}.lock"]
    return sum(shelf.held(lock) for lock in locks) > 0 or shelf.busy(folder)
