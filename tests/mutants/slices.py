"""The statements of a chapter that lead to one of its claims, found in its source.

A whole chapter takes a minute, a claim often a few seconds: what it needs is the claim,
the statements that define the names it uses, theirs in turn, and those that change such
an object on the way. Too many statements would be slow, too few end in a NameError,
which no test here takes for a caught mistake.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# What these are called with they leave alone.
HARMLESS = {"print", "display", "evidence", "plots", "widgets"}
ADDING = {"append", "extend", "update", "setdefault", "add", "insert"}
TRAINING = {"fit", "pretrain", "distil"}  # what they are given
BUILTINS = set(dir(builtins))
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Piece:
    """A statement of a code cell and what it says of names.

    Args:
        cell: the id of its cell in the notebook.
        source: as it stands there.
        uses: names that have to be there when it runs.
        binds: names that it always sets, so that what they were before is lost.
        sets: names that it sets, maybe, or whose objects it changes.
        loads: all names that it looks up, also those that it has set itself.
        imports: names of modules, and of what is in them.
        late: for each function that it defines the names that a call of it uses.
        alters: for each of these functions the names whose objects a call changes.
    """

    cell: str
    source: str
    uses: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    late: dict[str, set[str]] = field(default_factory=dict)
    alters: dict[str, set[str]] = field(default_factory=dict)


@cache
def pieces(chapter: str) -> tuple[Piece, ...]:
    """Return the statements of a chapter, such as ``"03_fine_tuning"``, in order."""
    notebook = nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return tuple(piece for cell in cells for piece in read(cell.id, cell.source))


def leading_to(chapter: str, words: str) -> list[Piece]:
    """Return the statements up to the one that holds some words, in order.

    Args:
        chapter: its file's name without the ending.
        words: of a claim, in the one statement that has them.
    """
    every = pieces(chapter)
    ends = [place for place, piece in enumerate(every) if words in piece.source]
    if len(ends) != 1:
        raise LookupError(f"{len(ends)} places of {chapter} hold {words!r}, not one.")
    needed: set[str] = set()
    taken = []
    for place in range(ends[0], -1, -1):
        piece, before = every[place], every[: place + 1]
        wanted = place == ends[0] or "evidence.begin(" in piece.source
        if wanted or needed & (piece.binds | _changes(piece, before)):
            taken.append(piece)
            needed -= piece.binds
            called = _with_late(piece.loads, before)
            needed |= piece.uses | (called - piece.loads - piece.binds)
    return taken[::-1]


def _changes(piece: Piece, before: tuple[Piece, ...]) -> set[str]:
    """Return what a piece changes, and what the functions do that it calls or sends."""
    changed = set(piece.sets)
    for name in _with_late(piece.loads, before):
        homes = [other.alters[name] for other in before if name in other.alters]
        changed |= homes[-1] if homes else set()
    return changed - set().union(*(other.imports for other in before))


def _with_late(names: Iterable[str], before: tuple[Piece, ...]) -> set[str]:
    """Add what the functions among some names use when they are called."""
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            homes = [piece.late[name] for piece in before if name in piece.late]
            left += homes[-1] if homes else ()
    return found


# What a statement does with names -----------------------------------------------------


def read(cell: str, source: str) -> Iterator[Piece]:
    """Yield the statements of a cell, each with what it uses, sets and changes."""
    lines = source.splitlines(keepends=True)
    for statement in ast.parse(source).body:
        heads = [d.lineno for d in getattr(statement, "decorator_list", ())]
        first = min([statement.lineno, *heads]) - 1
        piece = Piece(cell, "".join(lines[first : statement.end_lineno]))
        _block([statement], piece, set(), sure=True)
        piece.sets -= piece.binds
        yield piece


def _block(body: list[ast.stmt], piece: Piece, known: set[str], sure: bool) -> None:
    """Read statements in order; `known` are the names that were set before each."""
    for statement in body:
        piece.sets |= set(_changed(statement))
        if isinstance(statement, ast.If | ast.For | ast.While | ast.Try):
            _maybe(statement, piece, known)
        elif isinstance(statement, ast.With):
            _look_up([item.context_expr for item in statement.items], piece, known)
            known |= _stores([i.optional_vars for i in statement.items])
            _block(statement.body, piece, known, sure)
        else:
            _look_up([statement], piece, known)
            bound = _bound(statement)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                piece.imports |= bound
            if isinstance(statement, ast.AugAssign):
                bound = set()
            known |= bound
            (piece.binds if sure else piece.sets).update(bound)
            if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
                piece.late[statement.name] = free = _free(statement)
                piece.alters[statement.name] = free & set(_changed(statement))
                piece.sets -= piece.alters[statement.name]


def _maybe(statement: ast.stmt, piece: Piece, known: set[str]) -> None:
    """Read a statement whose body may not run: what it sets is set for sure in it."""
    inside = set(known)
    for part in ("test", "iter"):
        _look_up([getattr(statement, part, None)], piece, known)
    targets = _stores([getattr(statement, "target", None)])
    inside |= targets
    piece.sets |= targets
    handlers = [h.body for h in getattr(statement, "handlers", ())]
    rest = [getattr(statement, part, []) for part in ("body", "orelse", "finalbody")]
    for body in (*rest, *handlers):
        _block(body, piece, set(inside), sure=False)


def _look_up(nodes: Iterable[ast.AST | None], piece: Piece, known: set[str]) -> None:
    found = _loads(nodes)
    piece.loads |= found
    piece.uses |= found - known


def _free(node: ast.AST) -> set[str]:
    """Return the names that a function, or a class's methods, takes from outside."""
    inside = [n for n in ast.walk(node) if n is not node]
    own = {n.arg for n in inside if isinstance(n, ast.arg)}
    own |= {n.id for n in inside if _is_name(n, ast.Store)}
    own |= {n.name for n in inside if isinstance(n, (*_FUNCTIONS, ast.ClassDef))}
    loaded = {n.id for n in inside if _is_name(n, ast.Load)}
    return loaded - own - BUILTINS


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(a.asname or a.name).partition(".")[0] for a in statement.names}
    return _stores([statement])


def _loads(nodes: Iterable[ast.AST | None]) -> set[str]:
    """Return the names that are looked up as soon as this runs."""
    found: set[str] = set()
    for node in filter(None, nodes):
        if isinstance(node, _FUNCTIONS):
            found |= _loads([*node.decorator_list, *node.args.defaults])
        elif isinstance(node, ast.ClassDef):
            found |= _loads([*node.bases, *node.decorator_list])
        else:
            local = _local(node)
            names = {n.id for n in ast.walk(node) if _is_name(n, ast.Load)}
            found |= names - local
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found - BUILTINS


def _local(node: ast.AST) -> set[str]:
    """Return the names of loops in brackets and of lambdas, which are theirs alone."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.comprehension):
            found |= _stores([inner.target])
        elif isinstance(inner, ast.Lambda):
            found |= {arg.arg for arg in ast.walk(inner.args) if _is_arg(arg)}
    return found


def _stores(nodes: Iterable[ast.AST | None]) -> set[str]:
    return {
        inner.id
        for node in filter(None, nodes)
        for inner in _outside_brackets(node)
        if _is_name(inner, ast.Store)
    }


def _outside_brackets(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.comprehension):
            yield from _outside_brackets(child)


def _changed(statement: ast.stmt) -> Iterator[str]:
    """Yield the names whose objects a statement may change."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(
            node.ctx, ast.Load
        ):
            yield from _root(node)
        elif isinstance(node, ast.AugAssign):
            yield from _root(node.target)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _called(node.value)
        elif _asks_for(node, ADDING):
            yield from _root(node.func)
        elif _asks_for(node, TRAINING):
            yield from _called(node)
        elif isinstance(node, ast.For):  # what the loop hands out belongs to these
            inside = {name for part in node.body for name in _changed(part)}
            if inside & _stores([node.target]):
                yield from _loads([node.iter])


def _asks_for(node: ast.AST, methods: set[str]) -> bool:
    call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return call and node.func.attr in methods


def _called(call: ast.Call) -> Iterator[str]:
    who = set(_root(call.func))
    if not who & HARMLESS:
        yield from who
        for argument in (*call.args, *(word.value for word in call.keywords)):
            yield from _root(argument)


def _root(node: ast.AST) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name) and not node.id.isupper() and node.id not in BUILTINS:
        yield node.id


def _is_name(node: ast.AST, context: type[ast.expr_context]) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, context)


def _is_arg(node: ast.AST) -> bool:
    return isinstance(node, ast.arg)
