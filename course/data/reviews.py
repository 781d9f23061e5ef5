"""Sentences of film reviews, good or bad: SST-2, from a folder or fetched by name.

The Stanford Sentiment Treebank (Socher et al. 2013, EMNLP), two classes. Two layouts
are read: whole sentences in ``train.tsv``, ``dev.tsv`` and ``test.tsv``, each line a
sentence, a tab and 0 or 1; and GLUE's archive ``SST-2.zip`` (Wang et al. 2019, arXiv
1804.07461), whose training lines are phrases and whose test labels are secret.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from course import fetch
from course.arguments import kinds_checked
from course.data.texts import TextPart, TextTask
from course.errors import CourseError
from course.progress import shown

CLASSES = ("negative", "positive")
GLUE = fetch.Remote(
    "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",
    "SST-2.zip",
    "sha256:d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
    7.4,
    None,
    "SST-2 (GLUE)",
)

_HEADER = "sentence\tlabel"
_FILES = ("train.tsv", "dev.tsv", "test.tsv")
_DEAL = 71_040  # the first word of the seed that sets validation lines aside
_ASIDE = 872  # lines: as many as GLUE's own dev file has

_Lines = list[tuple[str, int]]


@kinds_checked
def sst2(folder: str | Path | None = None, download: bool = False) -> TextTask:
    """Return the sentiment task SST-2, `CLASSES` negative and positive (chapter 09).

    In GLUE's layout the test part is ``dev.tsv``, since nobody has the test's labels,
    and the validation part is set aside from the training lines.

    Args:
        folder: with ``train.tsv``, ``dev.tsv`` and ``test.tsv``, or ``SST-2.zip``; by
            default ``sst2`` in `fetch.data_folder()`.
        download: fetch GLUE's archive where nothing is there. Its size is said first.

    Raises:
        CourseError: nothing is there and it was not asked for, it cannot be fetched,
            or a line is no sentence with 0 or 1.
    """
    home = fetch.data_folder() / "sst2" if folder is None else Path(folder).expanduser()
    if not _is_there(home):
        if not download:
            raise _absent(home)
        fetch.download(GLUE, home)
    train = _read(home, "train.tsv")
    if train.startswith(_HEADER):
        return _glue(_parsed(train, home, "train.tsv"), home)
    rest = (_parsed(_read(home, name), home, name) for name in _FILES[1:])
    return _task(_parsed(train, home, "train.tsv"), *rest)


def _is_there(home: Path) -> bool:
    return (home / "train.tsv").is_file() or (home / GLUE.file).is_file()


def _absent(home: Path) -> CourseError:
    return CourseError(
        f"SST-2 is not in {shown(home)}. Put train.tsv, dev.tsv and test.tsv there "
        "(each line a sentence, a tab, 0 or 1), name a folder= that has them, or pass "
        f"download=True ({fetch.size_text(GLUE.megabytes)}, licence: not stated); the "
        "rest of the chapter needs none of it."
    )


def _glue(lines: _Lines, home: Path) -> TextTask:
    order = np.random.default_rng([_DEAL, 0]).permutation(len(lines)).tolist()
    aside = min(_ASIDE, len(lines) // 4)
    return _task(
        [lines[at] for at in sorted(order[aside:])],
        [lines[at] for at in sorted(order[:aside])],
        _parsed(_read(home, "dev.tsv"), home, "dev.tsv"),
    )


def _task(train: _Lines, validation: _Lines, test: _Lines) -> TextTask:
    parts = [
        TextPart(
            tuple(text for text, _ in lines),
            torch.tensor([label for _, label in lines], dtype=torch.int64),
            CLASSES,
            kind,
        )
        for kind, lines in (
            ("train", train),
            ("validation", validation),
            ("test", test),
        )
    ]
    return TextTask("sst2", *parts)


def _read(home: Path, name: str) -> str:
    """Return the text of a file, which may be in the archive."""
    place, content = home / name, b""
    try:
        if place.is_file():
            content = place.read_bytes()
        elif (home / GLUE.file).is_file():
            with zipfile.ZipFile(home / GLUE.file) as archive:
                content = archive.read(f"SST-2/{name}")
        else:
            raise CourseError(
                f"SST-2 in {shown(home)} is not complete: {name} is missing; expected "
                f"{', '.join(_FILES)} in one folder."
            )
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CourseError(
            f"{shown(place)} is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from error
    except (OSError, KeyError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise CourseError(
            f"{name} of SST-2 in {shown(home)} cannot be read ({error}); remove it and "
            "fetch it again."
        ) from error


def _parsed(content: str, home: Path, name: str) -> _Lines:
    lines = []
    # Not `splitlines`, which would also break a sentence at rare characters.
    for number, line in enumerate(content.split("\n"), start=1):
        line = line.strip("\r")
        if not line.strip() or (number == 1 and line == _HEADER):
            continue
        text, tab, label = line.rpartition("\t")
        if not tab or not text.strip() or label.strip() not in ("0", "1"):
            raise CourseError(
                f"Line {number} of {name} in {shown(home)} is {line[:60]!r}; expected "
                "a sentence, a tab, and 0 (negative) or 1 (positive)."
            )
        lines.append((text.strip(), int(label)))
    if not lines:
        raise CourseError(
            f"{name} in {shown(home)} holds no sentence; expected one a line, with a "
            "tab and 0 or 1."
        )
    return lines
