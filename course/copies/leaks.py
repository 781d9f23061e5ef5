"""Look for reference answers in a folder that must not hold any."""

from __future__ import annotations

import ast
import base64
import binascii
import html
import importlib
import inspect
import json
import pkgutil
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course import exercises
from course.copies.answers import source_of
from course.errors import CourseError
from course.exercises import Exercise

SHORTEST = 24  # characters, spaces left out: shorter statements say nothing
ENCODED = re.compile(r"[A-Za-z0-9+/\s]{24,}={0,2}\Z")


@dataclass(frozen=True)
class Chance:
    """A statement that stands in the open for a reason of its own.

    Args:
        statement: as Python writes it.
        files: where it may stand, without folder and ending.
        reason: why.
    """

    statement: str
    files: tuple[str, ...]
    reason: str


CHANCES = (
    Chance(
        "given = joint / joint.sum(dim=0)",
        ("choose", "07_choosing"),
        "P(y | z) out of P(y, z): chapter 07 shows it for NCE before it asks for LEEP",
    ),
    Chance(
        "maps = maps.clone().requires_grad_()",
        ("04_looking_inside",),
        "how one asks for a gradient: the chapter tries the forecast on a real layer",
    ),
    Chance(
        "return (mean, mean - half, mean + half)",
        ("comparison", "differences"),
        "how the package returns any interval",
    ),
)


@dataclass(frozen=True)
class Answer:
    """What gives an answer away: its statements, and the name of the reference."""

    exercise: str
    marks: frozenset[str]


@dataclass(frozen=True)
class Leak:
    """A part of an answer that was found: where, whose, and which."""

    file: str
    exercise: str
    mark: str


def answer_of(exercise: Exercise) -> Answer:
    """Return what must not be found of the answer to an exercise.

    What is handed out with the exercise, such as the sound lines around a bug, gives
    nothing away.

    Raises:
        CourseError: its module is sealed.
    """
    name = exercise.reference.__name__
    marks = set(_marks(ast.parse(source_of(exercise)).body[0]))
    if exercise.given is not None:
        handed = textwrap.dedent(inspect.getsource(exercise.given))
        shown = _squeezed(ast.unparse(ast.parse(handed)))
        marks = {mark for mark in marks if mark not in shown}
    kept = {mark for mark in marks if len(mark) >= SHORTEST} or {max(marks, key=len)}
    label = f"{exercise.chapter}.{exercise.name}"
    return Answer(label, frozenset({*kept, name} - {exercise.name}))


def answers() -> list[Answer]:
    """Return what must not be found, for every exercise of the course."""
    found = []
    for module in pkgutil.iter_modules(exercises.__path__):
        holder = importlib.import_module(f"{exercises.__name__}.{module.name}")
        found += [answer_of(one) for one in getattr(holder, "EXERCISES", ())]
    return found


def _marks(function: ast.AST) -> Iterator[str]:
    """Yield each statement inside a function, in the forms in which it may be found."""
    for node in ast.walk(function):
        if isinstance(node, ast.stmt) and node is not function and not _is_words(node):
            yield _squeezed(ast.unparse(node))
            if isinstance(node, ast.Return) and node.value is not None:
                yield _squeezed(ast.unparse(node.value))


def _is_words(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _squeezed(text: str) -> str:
    """Return a text without what a formatter may change: spaces, quotes, commas."""
    text = re.sub(r"\s+", "", text).replace('"', "'")
    return re.sub(r",(?=[)\]}])", "", text)


def scan(folder: Path, answers: Sequence[Answer]) -> list[Leak]:
    """Return every part of an answer that is in a file of a folder, in any form.

    Python and the cells of notebooks are read as a formatter would leave them; texts
    in metadata, outputs and attachments without their HTML, and decoded where they are
    base64.

    Args:
        folder: looked through with all folders in it.
        answers: what must not be there.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            file = path.relative_to(folder).as_posix()
            found += _leaks(file, "\n".join(_texts(path)), answers)
    return found


def _leaks(file: str, text: str, answers: Sequence[Answer]) -> list[Leak]:
    stem = Path(file).stem
    known = {_squeezed(one.statement) for one in CHANCES if stem in one.files}
    known |= {mark.removeprefix("return") for mark in known}
    return [
        Leak(file, answer.exercise, mark)
        for answer in answers
        for mark in sorted(answer.marks - known)
        if mark in text
    ]


def _texts(path: Path) -> Iterator[str]:
    """Yield what a file says, squeezed."""
    data = path.read_bytes()
    text = data.decode("utf-8", "replace")
    yield _squeezed(text)
    if path.suffix == ".py":
        yield from _statements(text)
    elif path.suffix == ".html":
        yield _plain(text)
    elif path.suffix in (".ipynb", ".json"):
        try:
            yield from _words(json.loads(text))
        except ValueError:
            return


def _statements(source: str) -> Iterator[str]:
    """Yield each statement of Python as `ast` writes it; nothing where it is none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            yield _squeezed(ast.unparse(node))


def _words(value: Any) -> Iterator[str]:
    """Yield every text in what JSON holds: plain, out of HTML, and out of base64."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _words(key)
            yield from _words(item)
    elif isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            yield from _words("".join(value))  # as notebooks store their lines
        else:
            for item in value:
                yield from _words(item)
    elif isinstance(value, str):
        yield _squeezed(value)
        yield _plain(value)
        yield from _statements(value)
        yield from _decoded(value)


def _plain(page: str) -> str:
    return _squeezed(html.unescape(re.sub(r"<[^>]*>", "", page)))


def _decoded(value: str) -> Iterator[str]:
    if ENCODED.match(value):
        try:
            data = base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            return
        text = data.decode("utf-8", "replace")
        yield _squeezed(text)
        yield from _statements(text)


def refuse(leaks: Sequence[Leak]) -> None:
    """Raise where anything was found.

    Raises:
        CourseError: with the first place, and how many there are.
    """
    if leaks:
        first = leaks[0]
        raise CourseError(
            f"A part of the answer to {first.exercise} stands in {first.file} (one of "
            f"{len(leaks)} such places); no copy was made. Write that place "
            "differently, or list it with its reason in course/copies/leaks.py."
        )
