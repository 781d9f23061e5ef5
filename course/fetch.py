"""Files from the network: fetched because a reader asked, whole, verified and once.

A download is said before its first byte: how large it is, under which licence, and from
where. It grows in ``<file>.part``, goes on from there after any break, and becomes
``<file>`` in one step, when its digest is the published one. A lock beside it lets one
of many processes fetch; the others wait and find the file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from course import __version__
from course.errors import CourseError
from course.progress import shown

AGENT = f"pretrained-workbook/{__version__}"
BLOCK = 1 << 18  # bytes that are read at once
STALL = 30  # seconds without a byte, after which a connection counts as broken
TRIES = 4  # attempts in a row that brought nothing new, after which we give up
PAUSE = 1.0  # seconds before the second of them; each further pause is twice as long
LEAST_DIGITS = 8  # of a digest: what torchvision writes into the names of its files
UNITS = {"unit": "B", "unit_scale": True, "unit_divisor": 1000, "delay": 0.5}
KINDS = {"sha256": 64, "md5": 32}  # and the hexadecimal digits of each
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that a server may outgrow
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows: no quota
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Remote:
    """A published file that a reader may ask for.

    Args:
        url: where it is published; ``http`` or ``https``.
        file: its name on this machine, without any folder.
        digest: ``"sha256:<hex>"`` or ``"md5:<hex>"``, whole or its first digits.
        megabytes: its size; None where the publisher does not say.
        licence: in a few words; None where it is not known.
        what: what a reader calls it, such as ``"mobilenet_v2 IMAGENET1K_V1"``.
    """

    url: str
    file: str
    digest: str
    megabytes: float | None
    licence: str | None
    what: str


def weights_folder() -> Path:
    """Return where torchvision looks for weights (torch.hub's cache), without torch."""
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    home = os.getenv("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"


def data_folder() -> Path:
    """Return where data sets are kept: `$COURSE_DATA`, or a folder in the home."""
    place = os.getenv("COURSE_DATA") or "~/.pretrained-workbook/data"
    return Path(os.path.expanduser(place))


def size_text(megabytes: float | None) -> str:
    """Return a size as a reader likes to see it: ``"14 MB"``, ``"0.3 MB"``."""
    if megabytes is None:
        return "size not stated"
    return f"{megabytes:,.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"


def matches(path: Path, digest: str) -> bool:
    """Say whether a file has a digest (whole, or as many digits as are given).

    Raises:
        CourseError: the digest is none, or the file cannot be read.
    """
    kind, digits = _digest(digest)
    return hexdigest(path, kind).startswith(digits)


def hexdigest(path: Path, kind: str = "sha256") -> str:
    """Return the digest of a whole file.

    Raises:
        CourseError: the file cannot be read.
    """
    new = hashlib.new(kind, usedforsecurity=False)
    try:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                new.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    return new.hexdigest()


def _unreadable(path: Path, error: OSError) -> CourseError:
    return CourseError(
        f"{shown(Path(path))} cannot be read: {error.strerror or error}."
    )


def _digest(text: str) -> tuple[str, str]:
    kind, _, digits = text.lower().partition(":")
    most = KINDS.get(kind, 0)
    right = re.fullmatch(r"[0-9a-f]*", digits)
    if not right or not LEAST_DIGITS <= len(digits) <= most:
        raise CourseError(
            f"The digest {text!r} cannot be checked; expected sha256: or md5: and "
            f"{LEAST_DIGITS} hexadecimal digits or more."
        )
    return kind, digits


def download(remote: Remote, folder: Path, say: Say = print) -> Path:
    """Return the path of a published file in a folder, fetching it if it is not there.

    Args:
        remote: what to fetch.
        folder: where to; it is made if need be.
        say: is given what the reader should know, a line at a time.

    Raises:
        CourseError: it cannot be fetched, kept or verified. What came is kept in
            ``<file>.part``, and the same call goes on from there, except where the file
            turned out to be another one.
    """
    path = place(remote, folder)
    if path.is_file():
        return path
    _digest(remote.digest)
    host = _host(remote.url)
    with only_one(path, remote.what, say):
        if path.is_file():  # another process was faster
            return path
        part = path.with_name(f"{path.name}.part")
        _room(folder, remote, size(part))
        licence = remote.licence or "not stated"
        say(
            f"Fetching {remote.what}: {size_text(remote.megabytes)}, licence: "
            f"{licence}, from {remote.url} to {shown(path.parent)}."
        )
        _verified(remote, part, host, say)
        keep(part, path)
    return path


def copy(
    source: Path, remote: Remote, folder: Path, say: Say = print, digest: str = ""
) -> Path:
    """Return the path of a published file in a folder, copied if it is not there.

    Args:
        source: a file that should be the published one, on a stick or in a cache.
        remote: what it should be.
        folder: where to; it is made if need be.
        say: is given what the reader should know, a line at a time.
        digest: that the copy must have beside the published one, if any.

    Raises:
        CourseError: it cannot be read or kept, or is not the published file.
    """
    path = place(remote, folder)
    if path.is_file():
        return path
    with only_one(path, remote.what, say):
        if path.is_file():
            return path
        _room(folder, replace(remote, megabytes=size(source) / 1e6), 0)
        # Not the part of a download, which may be half of what is wanted.
        part = path.with_name(f".{path.name}.copy")
        try:
            _duplicate(source, part, remote.what)
            if not all(matches(part, one) for one in (remote.digest, digest) if one):
                raise CourseError(
                    f"{shown(source)} is damaged or another file: its digest is not "
                    f"that of {remote.what}, and it was not taken."
                )
            keep(part, path)
        finally:
            part.unlink(missing_ok=True)
    return path


def _duplicate(source: Path, part: Path, what: str) -> None:
    """Copy bytes with a bar: a stick is slow."""
    from tqdm.auto import tqdm

    with ExitStack() as stack:
        try:
            old = stack.enter_context(open(source, "rb"))
        except OSError as error:
            raise _unreadable(source, error) from error
        with _writing(part):
            new = stack.enter_context(open(part, "wb", buffering=0))
        bar = stack.enter_context(tqdm(total=size(source), desc=what, **UNITS))
        while block := _read(old, source):
            _append(new, block, part)
            bar.update(len(block))


def _read(file: IO[bytes], source: Path) -> bytes:
    try:
        return file.read(BLOCK)
    except OSError as error:
        raise _unreadable(source, error) from error


def place(remote: Remote, folder: Path) -> Path:
    """Return where a file belongs in a folder.

    Raises:
        CourseError: its name is not a plain file name, or something else lies there.
    """
    plain = re.fullmatch(r"\w[\w .+-]*", remote.file)
    if not plain or remote.file.endswith((".part", ".lock", ".", " ")):
        raise CourseError(
            f"{remote.file!r} cannot be the name of a downloaded file; expected one "
            "without folders, such as 'resnet18-f37072fd.pth'."
        )
    path = Path(folder) / remote.file
    if path.exists() and not path.is_file():
        raise CourseError(
            f"{shown(path)} should become a file and is something else; remove it or "
            "name another folder."
        )
    return path


def size(path: Path) -> int:
    """Return the bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def only_one(path: Path, what: str, say: Say) -> Iterator[None]:
    """Let one process at a time make a file; the others wait, and are told why.

    Raises:
        CourseError: nothing can be written in the file's folder.
    """
    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"Another process is fetching {what}; waiting for it.")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise _unwritable(path.parent, error) from error
    try:
        yield
    finally:
        # Once the file is there nobody needs the lock: who still waits for it finds the
        # file. Before that, a lock that is removed would let two processes in.
        if path.is_file():
            with suppress(OSError):  # Windows lets nobody remove an open file
                place.unlink()
        lock.release()


def keep(part: Path, path: Path) -> None:
    """Make a verified part the file, in one step that outlasts a power cut."""
    try:
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def free_megabytes(folder: Path) -> float:
    """Return the free space where a folder is, or will be."""
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free / 1e6


def _room(folder: Path, remote: Remote, already: int) -> None:
    needed = (remote.megabytes or 0) - already / 1e6
    free = free_megabytes(folder)
    if needed > free:
        raise CourseError(
            f"{remote.what} needs {size_text(needed)} more and {size_text(free)} are "
            f"free in {shown(folder)}; make room, or name a folder on another disk "
            "($TORCH_HOME for weights, $COURSE_DATA for data)."
        )


def _unwritable(folder: Path, error: Exception) -> CourseError:
    if isinstance(error, OSError) and error.errno in FULL:
        return CourseError(
            f"The disk of {shown(folder)} is full. What came is kept; make room, and "
            "the same command goes on from there."
        )
    reason = getattr(error, "strerror", None) or error
    return CourseError(
        f"Nothing can be written in {shown(folder)} ({reason}); name a folder of your "
        "own: $TORCH_HOME for weights, $COURSE_DATA for data."
    )


def _host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CourseError(
            f"{url!r} is not fetched; expected an address that begins with https://."
        )
    return parts.hostname


def _verified(remote: Remote, part: Path, host: str, say: Say) -> None:
    """Fill `part` until it is the published file, or refuse and remove it."""
    earlier = size(part)
    if earlier:
        say(f"An earlier call left {size_text(earlier / 1e6)}; going on from there.")
    transfer = _Transfer(remote, part, host)
    transfer.run()
    if not matches(part, remote.digest) and earlier:
        # Perhaps the file was published anew between the two calls.
        say("What the earlier call left belongs to another file; starting over.")
        part.unlink()
        transfer = _Transfer(remote, part, host)
        transfer.run()
    if not matches(part, remote.digest):
        came = size_text(size(part) / 1e6)
        part.unlink()
        raise CourseError(
            f"What {host} sent is not {remote.what} ({came} of "
            f"{transfer.kind or 'no stated type'} with another digest), and was "
            "removed. Perhaps a login page of your network answered in its place; try "
            "again later, or elsewhere."
        )


class _Transfer:
    """One file on its way; attempt after attempt until it is whole."""

    def __init__(self, remote: Remote, part: Path, host: str) -> None:
        self.remote, self.part, self.host = remote, part, host
        self.total: int | None = None  # bytes of the whole file, once the server says
        self.tag = ""  # by which the server knows this version of the file
        self.kind = ""
        self.came = False  # whether any byte came in this call

    def run(self) -> None:
        """Try until all is there, or nothing new came in several attempts."""
        from tqdm.auto import tqdm

        furthest, failures = size(self.part), 0
        name = self.remote.what
        with tqdm(desc=name, **UNITS) as bar:
            while True:
                try:
                    if self.attempt(bar):
                        return
                    error: Exception = ConnectionError("the connection broke off")
                except (OSError, HTTPException) as caught:
                    error = caught
                now = size(self.part)
                failures = 0 if now > furthest else failures + 1
                furthest = max(furthest, now)
                if failures == TRIES or _hopeless(error, self.came):
                    raise self.gave_up(error) from error
                if failures:
                    time.sleep(PAUSE * 2 ** (failures - 1))

    def attempt(self, bar: Any) -> bool:
        """Open one connection, take what comes, and say whether all is there."""
        offset = size(self.part)
        headers = {"User-Agent": AGENT}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self.tag:
                headers["If-Range"] = self.tag
        request = urllib.request.Request(self.remote.url, headers=headers)
        opener = urllib.request.build_opener(_OnlyWeb)
        try:
            with opener.open(request, timeout=STALL) as answer:
                self.begin(answer, offset)
                self.take(answer, bar)
        except HTTPError as error:
            error.close()
            if error.code == 416 and offset:
                return self.beyond_the_end()
            raise
        return self.total in (None, size(self.part))

    def begin(self, answer: HTTPResponse, offset: int) -> None:
        """Read what the server says of itself, and drop a part that no longer fits."""
        start, total = _extent(answer)
        tag = answer.headers.get("ETag", "")
        tag = "" if tag.startswith("W/") else tag  # a weak one promises no equal bytes
        other = (self.total and total and self.total != total) or (
            self.tag and tag and self.tag != tag
        )
        self.total, self.tag = total, tag
        self.kind = answer.headers.get_content_type()
        if start != offset or (start and other):
            with _writing(self.part):
                self.part.unlink(missing_ok=True)
            if start:  # this answer begins in the middle of another file
                raise ConnectionError("the file changed on the server meanwhile")
        if total:
            known = replace(self.remote, megabytes=total / 1e6)
            _room(self.part.parent, known, start)

    def take(self, answer: HTTPResponse, bar: Any) -> None:
        """Append what comes, each piece as soon as it is there."""
        with _writing(self.part):
            file = open(self.part, "ab", buffering=0)  # noqa: SIM115
        with file:
            bar.reset(self.total)
            bar.initial = bar.n = size(self.part)
            while block := answer.read1(BLOCK):
                self.came = True
                _append(file, block, self.part)
                bar.update(len(block))

    def beyond_the_end(self) -> bool:
        """Judge a part of which the server says that nothing follows it."""
        if matches(self.part, self.remote.digest):
            return True
        self.part.unlink()
        return False

    def gave_up(self, error: Exception) -> CourseError:
        """Return the sentence for a download that did not come to its end."""
        kept = size(self.part)
        if kept:
            after = (
                f"{size_text(kept / 1e6)} are kept in {self.part.name}, and the same "
                "command goes on from there."
            )
        else:
            self.part.unlink(missing_ok=True)
            answered = isinstance(error, HTTPError)
            after = (
                f"{'Try again later' if answered else 'See whether you are online'}, "
                "or take it from a stick: course prefetch --from DIR."
            )
        return CourseError(
            f"{self.remote.what} could not be fetched from {self.host}: "
            f"{_reason(error)}. {after}"
        )


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follow a redirection only to http and https, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Refuse, or do what urllib does."""
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in allowed:
            raise CourseError(
                f"{req.host} sends us on to {newurl!r}, which is not followed; nothing "
                "was fetched."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _extent(answer: HTTPResponse) -> tuple[int, int | None]:
    """Return the first byte that an answer holds and the size of the whole file."""
    if answer.status == 206:
        text = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"\s*bytes (\d+)-\d+/(\d+|\*)\s*", text)
        if not found:
            raise HTTPException("the server answered with a range it does not name")
        start, total = found.groups()
        return int(start), None if total == "*" else int(total)
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # or it would be taken for one of the connection
        raise _unwritable(part.parent, error) from error


def _append(file: IO[bytes], block: bytes, part: Path) -> None:
    rest = memoryview(block)
    with _writing(part):
        while rest:  # a nearly full disk takes the beginning of a block
            rest = rest[file.write(rest) :]


def _hopeless(error: Exception, came: bool) -> bool:
    """Say whether the next attempt would fail in the same way as this one.

    Args:
        error: why the last one ended.
        came: whether bytes came before, in this call: then there is a network.
    """
    if isinstance(error, HTTPError):
        return error.code not in PASSING
    reason = error.reason if isinstance(error, URLError) else error
    if came or isinstance(reason, TimeoutError | HTTPException):
        return False
    refused = isinstance(reason, ConnectionRefusedError)
    return refused or not isinstance(reason, ConnectionError)


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} ({error.reason})"
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, socket.gaierror):
        return "its name cannot be looked up, as without a network"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted ({reason.verify_message})"
    if isinstance(reason, TimeoutError):
        return f"nothing came for {STALL} seconds"
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return " ".join(text.split()).rstrip(".").lower()
