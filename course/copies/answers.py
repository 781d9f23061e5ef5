"""Put reference answers into a chapter's answer cells, as a reader would write them."""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from course.copies.chapters import Task, definitions
from course.errors import CourseError
from course.exercises import Exercise

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
INDENT = "    "


def filled(notebook: Any, task: Task, *, marked: bool = False) -> str:
    """Return the source of an answer cell with the reference answer in it.

    The stub's signature and docstring stay. Names that the answer needs and the chapter
    has not imported by then are imported inside it.

    Args:
        notebook: the chapter, with its stubs.
        task: the exercise.
        marked: whether to keep the stub and set the answer between nbgrader's marks.

    Raises:
        CourseError: the answer is no function with a source.
    """
    stub = notebook["cells"][task.answer]["source"]
    node = next(node for name, node in definitions(stub) if name == task.name)
    body = _body(task, _imported(notebook["cells"][: task.answer]))
    empty = isinstance(node, ast.FunctionDef) and task.exercise.given is None
    head = _head(stub, node, task)
    if not marked:
        return _replaced(stub, node, [*head, *body])
    if empty:
        marks = [f"{INDENT}{mark}" for mark in (BEGIN, END)]
        return _replaced(stub, node, [*head, marks[0], *body, marks[1]])
    return "\n".join([stub, BEGIN, *head, *body, END])


def _replaced(source: str, node: ast.stmt, lines: Iterable[str]) -> str:
    before = source.splitlines()[: node.lineno - 1]
    after = source.splitlines()[node.end_lineno :]
    return "\n".join([*before, *lines, *after])


def _head(source: str, node: ast.stmt, task: Task) -> list[str]:
    """Return signature and docstring: the stub's, or the reference's bare signature."""
    reference = _function(task)
    wanted = [argument.arg for argument in reference.args.args]
    docstring: list[str] = []
    if isinstance(node, ast.FunctionDef):
        lines = source.splitlines()
        if _has_docstring(node):
            docstring = lines[node.body[0].lineno - 1 : node.body[0].end_lineno]
        same = [argument.arg for argument in node.args.args] == wanted
        if same and node.body[0].lineno > node.lineno:
            return [*lines[node.lineno - 1 : node.body[0].lineno - 1], *docstring]
    return [f"def {task.name}({_arguments(reference.args)}):", *docstring]


def _arguments(arguments: ast.arguments) -> str:
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(arguments)


def _has_docstring(node: ast.FunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None


def source_of(exercise: Exercise) -> str:
    """Return a reference answer as it is written.

    Raises:
        CourseError: it is no function with a source.
    """
    if not exercise.source:
        raise CourseError(
            f"The reference of {exercise.chapter}.{exercise.name} has no source that "
            "could be read; expected a function that starts with `def`."
        )
    return exercise.source


def _function(task: Task) -> ast.FunctionDef:
    tree = ast.parse(source_of(task.exercise))
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef))


def _body(task: Task, imported: set[str]) -> list[str]:
    """Return the lines of the answer, four spaces in, with their comments."""
    source, node = source_of(task.exercise), _function(task)
    start = node.body[0].end_lineno if _has_docstring(node) else node.body[0].lineno - 1
    lines = textwrap.dedent("\n".join(source.splitlines()[start:])).splitlines()
    needed = [line for line in _imports(task, source) if line not in imported]
    return [f"{INDENT}{line}" if line else "" for line in [*needed, *lines]]


def _imports(task: Task, source: str) -> list[str]:
    """Return an import for each name that the answer takes from its module."""
    module = inspect.getmodule(task.exercise.reference)
    known = _lines_of_imports(ast.parse(inspect.getsource(module)).body)
    table = symtable.symtable(source, "answer", "exec").get_children()[0]
    names = sorted(_globals(table) - set(dir(builtins)) - {table.get_name()})
    own = f"from course.exercises.{task.module} import"
    return sorted({known.get(name, f"{own} {name}") for name in names})


def _globals(table: symtable.SymbolTable) -> set[str]:
    names = {one.get_name() for one in table.get_symbols() if one.is_global()}
    return names.union(*(_globals(child) for child in table.get_children()))


def _imported(cells: Sequence[Any]) -> set[str]:
    """Return the imports of a chapter so far, a name a line."""
    lines: set[str] = set()
    for cell in cells:
        if cell["cell_type"] == "code":
            try:
                body = ast.parse(cell["source"]).body
            except SyntaxError:
                continue
            lines |= set(_lines_of_imports(body).values())
    return lines


def _lines_of_imports(body: Sequence[ast.stmt]) -> dict[str, str]:
    """Return for each imported name the line that imports it alone."""
    lines = {}
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                one = ast.Import([alias])
                if isinstance(node, ast.ImportFrom):
                    one = ast.ImportFrom(node.module, [alias], node.level)
                lines[alias.asname or alias.name.partition(".")[0]] = ast.unparse(one)
    return lines
