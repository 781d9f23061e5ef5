"""Folders of things that can be made again: who works in them, and what may go.

A process that writes into such a folder leaves a mark there, held by a lock that ends
with the process, however it ends. So a killed process leaves nothing that stops the
next one, and what it left half-written is removed by the next one that is alone.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

MARK = ".in-use-"
PATIENCE = 5  # seconds to hold a mark of our own, which others may look at
# What `models.write_whole` writes before the name is right, should it be killed there.
HALF_WRITTEN = re.compile(r"\..+\.(csv|json|safetensors)\.[a-z0-9_]{8}")


@dataclass(frozen=True)
class Entry:
    """A file or a folder that can be made again.

    Args:
        path: where it is.
        size: in bytes; of a folder, of all that is in it.
        used: when it was last read or written, in seconds since 1970.
    """

    path: Path
    size: int
    used: float


def entry(path: Path) -> Entry | None:
    """Measure a file or a folder.

    Returns:
        None where it has gone meanwhile, or where it is a link: what lies at its other
        end is somebody else's.
    """
    try:
        about = path.lstat()
    except OSError:
        return None
    if stat.S_ISLNK(about.st_mode):
        return None
    # Not the times of a folder: looking into it is no use of it.
    whole = list(_within(path)) if stat.S_ISDIR(about.st_mode) else [about]
    # A disk may note no reading; then it is the writing that counts.
    used = max(max(one.st_atime, one.st_mtime) for one in whole or [about])
    files = (one.st_size for one in whole if stat.S_ISREG(one.st_mode))
    return Entry(path, sum(files), used)


def _within(folder: Path) -> Iterator[os.stat_result]:
    for place, _, files in os.walk(folder):  # it follows no links
        for name in files:
            with suppress(OSError):
                yield os.lstat(os.path.join(place, name))


def remove(path: Path) -> bool:
    """Remove a file or a folder, and say whether it has gone; links are not followed.

    What has gone already has gone; what may not be removed stays.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return not os.path.lexists(path)


def touch(path: Path) -> None:
    """Note that a file was used now; where that cannot be noted, it is as well."""
    with suppress(OSError):
        os.utime(path)


def beyond(entries: Iterable[Entry], limit: int) -> list[Entry]:
    """Return which entries have to go so that a limit holds, least recently used first.

    Args:
        entries: in any order.
        limit: in bytes.
    """
    oldest = sorted(entries, key=lambda one: (one.used, one.path.name))
    left, going = sum(one.size for one in oldest), []
    for one in oldest:
        if left <= limit:
            break
        going.append(one)
        left -= one.size
    return going


# Who works in a folder ----------------------------------------------------------------


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Say that this process writes into a folder, until the end of a block.

    First, what killed processes left half-written is removed, if nobody else is there.
    Where nothing can be written, the block is run all the same.

    Args:
        folder: is made if need be.
    """
    lock = _marked(Path(folder))
    if lock is None:
        yield
        return
    mark = Path(lock.lock_file)
    try:
        if not busy(mark.parent, besides=mark):
            remove_half_written(mark.parent, before=mark.stat().st_mtime)
        yield
    finally:
        with suppress(OSError):  # Windows lets nobody remove an open file
            mark.unlink()
        lock.release()


def _marked(folder: Path) -> FileLock | None:
    lock = FileLock(folder / f"{MARK}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Somebody who looks at the mark before it is held takes it for a dead one, and
        # a new one is made.
        lock.acquire(timeout=PATIENCE, poll_interval=0.01)
    except (OSError, NotImplementedError):  # no room, no right, no locks
        return None
    return lock


def busy(folder: Path, besides: Path | None = None) -> bool:
    """Say whether a living process works in a folder; marks of killed ones are removed.

    Args:
        folder: need not be there.
        besides: the mark of whoever asks.
    """
    marks = [path for path in folder.glob(f"{MARK}*") if path != besides]
    return sum(held(path) for path in marks) > 0  # all of them are looked at


def held(lock: Path) -> bool:
    """Say whether a process holds a lock; one that nobody holds is removed."""
    if not lock.is_file():
        return False
    mine = FileLock(lock)
    try:
        mine.acquire(timeout=0)
    except (OSError, NotImplementedError):  # held, or not ours to say
        return True
    with suppress(OSError):
        lock.unlink()
    mine.release()
    return False


def remove_half_written(folder: Path, before: float) -> list[Path]:
    """Remove what killed processes were about to write, and return what has gone.

    Args:
        folder: in which nobody works but the caller.
        before: what is younger, in seconds since 1970, is left alone: a process may
            have begun since the caller looked.
    """
    gone = []
    for path in folder.iterdir():
        if HALF_WRITTEN.fullmatch(path.name) and not path.is_symlink():
            with suppress(OSError):
                if path.lstat().st_mtime < before and remove(path):
                    gone.append(path)
    return gone
