"""Find the exercises of a chapter: the cell of the answer, and the check under it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from course.errors import CourseError, unknown
from course.exercises import Exercise


@dataclass(frozen=True)
class Task:
    """An exercise as it stands in a chapter.

    Args:
        exercise: what is asked, and its answer.
        module: where it is, under `course.exercises`.
        answer: the index of the cell that the reader fills in.
        check: the index of the cell that checks it.
    """

    exercise: Exercise
    module: str
    answer: int
    check: int

    @property
    def name(self) -> str:
        """What the reader's function is called."""
        return self.exercise.name


def read(path: Path) -> Any:
    """Return a chapter as nbformat reads it.

    Raises:
        CourseError: the file is no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError) as error:
        raise CourseError(
            f"{path.name} is no notebook that can be read; expected a chapter."
        ) from error


def tasks(notebook: Any, chapter: str) -> list[Task]:
    """Return the exercises of a chapter in their order.

    Args:
        notebook: as nbformat reads it.
        chapter: its name, for messages.

    Raises:
        CourseError: a check has no answer cell right before it, or checks what is not
            there.
    """
    found, before = [], None
    modules: set[str] = set()
    for index, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = _parsed(cell["source"])
        modules |= set(_modules(tree))
        for module, name in _checked(tree):
            if module not in modules:
                continue
            place = f"{chapter}, cell {index + 1}"
            if before is None or not _binds(notebook["cells"][before]["source"], name):
                raise CourseError(
                    f"{place} checks `{name}`, and the code cell before it does not "
                    f"define it; expected a cell with `def {name}(…)` there."
                )
            found.append(Task(_exercise(module, name, place), module, before, index))
        before = index
    return found


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:  # a cell with a magic checks nothing
        return ast.Module(body=[], type_ignores=[])


def _modules(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of exercises that a cell imports."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "course.exercises":
            yield from (alias.name for alias in node.names)


def _checked(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield module and exercise of each ``name = module.name.check(name)``."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "check"
            and isinstance(node.func.value, ast.Attribute)
            and isinstance(node.func.value.value, ast.Name)
        ):
            yield node.func.value.value.id, node.func.value.attr


def _binds(source: str, name: str) -> bool:
    return any(name == bound for bound, _ in definitions(source))


def definitions(source: str) -> list[tuple[str, ast.stmt]]:
    """Return the names that a cell defines at its top level, each with its statement.

    Args:
        source: of the cell.
    """
    found: list[tuple[str, ast.stmt]] = []
    for node in _parsed(source).body:
        if isinstance(node, ast.FunctionDef):
            found.append((node.name, node))
        elif isinstance(node, ast.Assign):
            targets = [t.id for t in node.targets if isinstance(t, ast.Name)]
            found += [(name, node) for name in targets]
    return found


def _exercise(module: str, name: str, place: str) -> Exercise:
    try:
        holder = importlib.import_module(f"course.exercises.{module}")
    except ModuleNotFoundError as error:
        raise CourseError(
            f"{place} checks `{module}.{name}`, and course/exercises has no module "
            f"{module}."
        ) from error
    found = getattr(holder, name, None)
    if not isinstance(found, Exercise):
        known = [one.name for one in getattr(holder, "EXERCISES", ())]
        raise unknown(f"exercise in {place}:", name, known)
    return found
