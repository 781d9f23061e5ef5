"""A reader who hands over anything: what comes back, and what was left on the disk.

`Desk.meets` makes one call and holds it to the promise of the workbook: the right
result, or a `CourseError` of one clear sentence; nothing half-written stays, and
nothing is written outside the folder that was chosen.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

from course.errors import CourseError

TALLY = Counter()  # cases that were tried, by kind
LONGEST = 1600  # characters of a sentence; the longest names every model there is
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
# Places a process writes to by itself, whatever it was asked.
_ITS_OWN = ("__pycache__", "/dev/null", "/dev/tty", "/proc/", "/dev/shm/")
_watching: list[list[str]] = []


def _heard(event, arguments):
    if not _watching:
        return
    if event == "open":
        path, _, flags = arguments
        written = isinstance(path, str | bytes) and (flags or 0) & _WRITES
    else:
        path = arguments[-2] if event == "os.rename" else arguments[0]
        path = arguments[1] if event in ("os.rename", "os.link") else path
        written = event in ("os.mkdir", "os.rename", "os.link", "os.symlink")
    if written:
        _watching[-1].append(os.path.abspath(os.fsdecode(path)))


sys.addaudithook(_heard)


@contextlib.contextmanager
def writes():
    """Give the list of paths that Python opens for writing, makes or renames to."""
    found: list[str] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def listing(folder):
    """Return what a folder holds: path to size and content's beginning."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            key = str(path.relative_to(folder))
            about = path.lstat()
            found[key] = (about.st_size, about.st_mtime_ns) if name in files else None
    return found


def sentence_of(error):
    """Return what is wrong with an error's message as one sentence; "" for nothing."""
    text = str(error)
    if not text.strip():
        return "says nothing"
    if "\n" in text or "Traceback" in text:
        return "is a dump of lines"
    if len(text) > LONGEST:
        return f"has {len(text)} characters"
    if not re.search(r"[.?!]['\"”)]?$", text):
        return "is no sentence"
    if re.search(r"\b(NoneType|object at 0x)", text):
        return "speaks of Python's insides"
    return ""


class Desk:
    """Where a reader works: a chosen folder, and all that lies around it.

    Args:
        around: an empty folder; `chosen`, `home` and `notebook` are made in it.
    """

    def __init__(self, around, monkeypatch):
        self.around = around
        self.chosen = around / "chosen"
        for name in ("chosen", "home", "notebook", "temporary"):
            (around / name).mkdir()
        monkeypatch.chdir(around / "notebook")
        for name in ("HOME", "TORCH_HOME", "COURSE_DATA", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, str(around / "home"))
        monkeypatch.setenv("COURSE_PROGRESS", str(around / "home" / "progress.json"))
        monkeypatch.setattr(tempfile, "tempdir", str(around / "temporary"))

    def meets(self, kind, call, *, names="", right=None, makes=False, what=""):
        """Make a call, count it, and return its result, or its CourseError.

        Args:
            kind: of case, for the count.
            call: without arguments.
            names: what the sentence of an error has to name, a regular expression.
            right: is given a result and returns whether it is the right one; None
                where every input of this kind has to be refused.
            makes: whether a call that goes well may write into the chosen folder.
            what: the input, for a message of the test.
        """
        TALLY[kind] += 1
        before, inside = self._outside(), listing(self.chosen)
        quiet = io.StringIO()
        with (
            writes() as written,
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            try:
                result = call()
            except CourseError as error:
                result = error
        assert "Traceback" not in quiet.getvalue(), what
        assert self._outside() == before, f"{what}: written outside the folder"
        far = [path for path in written if not self._near(path)]
        assert not far, f"{what}: {far} written"
        if isinstance(result, CourseError):
            assert not sentence_of(result), f"{what}: {result} {sentence_of(result)}"
            assert re.search(names, str(result)), f"{what}: {result} names not {names}"
            assert listing(self.chosen) == inside, f"{what}: something partial remains"
        else:
            assert right is not None, f"{what}: was taken, and gave {result!r:.200}"
            assert right(result), f"{what}: {result!r:.200} is not right"
            assert makes or listing(self.chosen) == inside, f"{what}: wrote by the way"
        return result

    def _outside(self):
        rows = listing(self.around)
        return {k: v for k, v in rows.items() if not k.startswith("chosen")}

    def _near(self, path):
        own = any(part in path for part in _ITS_OWN)
        return own or Path(path).is_relative_to(self.around)
