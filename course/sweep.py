"""Sweeps: many short trainings, side by side, kept one by one, in a tidy table."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import inspect
import io
import itertools
import json
import platform
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
import torchvision
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from course import engines, extraction, shelf
from course.arguments import kinds_checked
from course.errors import CourseError, unknown
from course.errors import shown as worded
from course.models import write_whole
from course.progress import shown
from course.training import device_of

P = ParamSpec("P")
T = TypeVar("T")
Cell = dict[str, Any]
Row = dict[str, Any]
Work = Callable[..., Mapping[str, Any]]
LOOK_AGAIN = 5.0  # seconds until a cluster is asked whether it has more workers
TABLES = Path(__file__).parent / "tables"
SHIPPED = ("detection", "few-labels", "near-to-far", "sources", "zoo")
_PLAIN = (str, int, float, bool, type(None))
# What decides a run's result: a change in one of them makes kept runs stale.
_SOURCES = (
    "data/*.py",
    "boxes.py",
    "cost.py",
    "detection.py",
    "extraction.py",
    "lora.py",
    "models.py",
    "probing.py",
    "strategies.py",
    "training.py",
    "transfer.py",
    "zoo.py",
    "weights/*.json",
)


def grid(**axes: Sequence[Any]) -> list[Cell]:
    """Return every combination of the axes' values, the last axis fastest (chapter 05).

    Args:
        axes: name to the values to try, each a text, a number or a truth value.

    Raises:
        CourseError: an axis is no list of values.
    """
    for name, values in axes.items():
        if isinstance(values, str | bytes) or not _several(values):
            raise CourseError(
                f"The axis {name!r} of a grid was {worded(values)}; expected a list of "
                "the values to try."
            )
    return [
        dict(zip(axes, values, strict=True))
        for values in itertools.product(*axes.values())
    ]


def _several(values: Any) -> bool:
    return isinstance(values, Iterable) and getattr(values, "shape", None) != ()


@kinds_checked
def run(
    work: Work,
    cells: Sequence[Cell],
    *,
    folder: Path | None = None,
    key: str = "",
    workers: int | None = None,
    backend: str = "threads",
    progress: bool = True,
) -> list[Row]:
    """Do the same work for every cell of a table, as many at once as there are cores.

    Each worker computes with one core: small trainings are faster so than one after
    the other with all cores. On a GPU there is one worker. An error ends the sweep
    after the runs under way, which are kept too; an interrupt waits for threads and
    ends processes. What is finished is kept in `folder` by this process, whatever the
    backend, and the next call goes on from there.

    Args:
        work: called as ``work(**cell)``, from several threads; returns what it
            measured, plain values by name. Random numbers of torch only inside
            `models.seeded`; `extraction.before_head` and not `features`.
        cells: what is varied, plain values by name; see `grid`.
        folder: where finished runs are kept, a small file each; None for nowhere.
        key: what else decides the result (versions, a recipe): runs that were kept
            under another key are made anew.
        workers: how many at once; None for the number of cores that torch may use.
        backend: ``"threads"``, which share what they load and work for functions of a
            notebook too; ``"processes"``, ``"dask"`` or ``"dask:tcp://HOST:8786"``,
            which load everything for themselves: see `engines.open`.
        progress: show a bar, with the time that is left.

    Returns:
        One row a cell, in the order of the cells: the cell's values, then what was
        measured.

    Raises:
        CourseError: two cells are equal, a value is not plain, `work` measured
            nothing that can be kept or cannot be sent to the workers, or there is no
            such backend.
    """
    places = _places(cells, folder, key)
    rows = {
        n: row
        for n, place in places.items()
        if (row := _kept(place, cells[n])) is not None
    }
    todo = [n for n in places if n not in rows]
    bar = tqdm(total=len(cells), initial=len(rows), desc="runs", disable=not progress)
    here = contextlib.nullcontext() if folder is None else shelf.in_use(Path(folder))
    with (
        bar,
        here,
        _cores_given_back(),
        engines.open(backend, workers or _cores()) as engine,
    ):
        for number, row in _finished(engine, work, cells, todo):
            rows[number] = row
            if places[number] is not None:
                _keep(places[number], row)
            bar.update()
    return [rows[number] for number in range(len(cells))]


def _cores() -> int:
    return torch.get_num_threads() if device_of().type == "cpu" else 1


@contextlib.contextmanager
def _cores_given_back() -> Iterator[None]:
    """Let the threads of a block use one core each; then torch has its cores back."""
    before = torch.get_num_threads()
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)


def _finished(
    engine: engines.Engine, work: Work, cells: Sequence[Cell], todo: Sequence[int]
) -> Iterator[tuple[int, Row]]:
    """Yield the number and the row of every run as it ends, until one fails.

    Then none begins, and those under way are yielded before the error is raised.
    """
    left, waiting = deque(todo), dict[Future, int]()
    failed: BaseException | None = None
    while waiting or (left and failed is None):
        while left and failed is None and len(waiting) < engine.room():
            number = left.popleft()
            waiting[engine.submit(_row, work, cells[number])] = number
        done, _ = wait(waiting, LOOK_AGAIN, FIRST_COMPLETED)
        for future in sorted(done, key=waiting.__getitem__):
            number, problem = waiting.pop(future), _problem(future)
            if problem is None:
                yield number, future.result()
            failed = failed or problem
    if failed is not None:
        raise failed


def _problem(future: Future) -> BaseException | None:
    # A future of a cluster that is gone is cancelled, and would raise instead.
    return CancelledError() if future.cancelled() else future.exception()


def _row(work: Work, cell: Cell) -> Row:
    extraction.in_sweep()
    torch.set_num_threads(1)
    measured = work(**cell)
    if not isinstance(measured, Mapping) or not measured:
        raise CourseError(
            f"The work of a sweep returned {measured!r:.80}; expected a dict of what "
            "it measured."
        )
    twice = sorted(cell.keys() & measured.keys())
    if twice:
        raise CourseError(
            f"The work of a sweep measured {twice[0]!r}, which is already the name of "
            "what is varied; give one of them another name."
        )
    return _plain({**cell, **measured})


def _plain(row: Mapping[str, Any]) -> Row:
    for name, value in row.items():
        if not isinstance(value, _PLAIN):
            raise CourseError(
                f"A sweep cannot keep {name!r} of type {type(value).__name__}; "
                "expected a text, a number, a truth value or None."
            )
    return dict(row)


def once(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function be computed once for the same arguments, however many ask at once.

    `functools.cache` would let two workers compute the same side by side. Threads share
    what was computed; of the backends with processes, each computes it for itself.
    """
    locks: dict[Any, threading.Lock] = {}
    known: dict[Any, T] = {}

    @functools.wraps(function)
    def asked(*arguments: P.args, **named: P.kwargs) -> T:
        key = (arguments, tuple(sorted(named.items())))
        with locks.setdefault(key, threading.Lock()):
            if key not in known:
                known[key] = function(*arguments, **named)
        return known[key]

    return asked


# Runs that are kept -------------------------------------------------------------------


def _places(
    cells: Sequence[Cell], folder: Path | None, key: str
) -> dict[int, Path | None]:
    """Return where the row of each cell is kept: a name made of cell and key."""
    texts = [json.dumps(_plain(cell), sort_keys=True) for cell in cells]
    if len(set(texts)) != len(texts):
        again = next(text for text in texts if texts.count(text) > 1)
        raise CourseError(f"A sweep was given the cell {again} twice; expected once.")
    if folder is None:
        return dict.fromkeys(range(len(cells)))
    names = [hashlib.sha256(f"{key}\n{text}".encode()).hexdigest() for text in texts]
    return {n: Path(folder) / f"{name[:24]}.json" for n, name in enumerate(names)}


def _kept(place: Path | None, cell: Cell) -> Row | None:
    """Return the row of a cell in a file, or None where it is missing or damaged."""
    if place is None:
        return None
    try:
        row = json.loads(place.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and cell.items() < row.items()
    return row if whole and all(isinstance(v, _PLAIN) for v in row.values()) else None


def _keep(place: Path, row: Row) -> None:
    text = json.dumps(row, ensure_ascii=False) + "\n"
    try:
        write_whole(place, lambda part: part.write_text(text, "utf-8"))
    except OSError as error:
        raise CourseError(
            f"A finished run could not be kept in {shown(place.parent)} "
            f"({error.strerror or error}); make room, or name another folder."
        ) from error


# Tables that ship ---------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A sweep whose table ships with the workbook (chapters 05 to 08).

    Args:
        name: as on the command line, ``course sweep NAME``.
        sentence: what is varied and what is measured.
        cells: from a profile to the cells.
        work: see `run`.
    """

    name: str
    sentence: str
    cells: Callable[[str], list[Cell]]
    work: Work


@dataclass(frozen=True, eq=False)
class Table:
    """A tidy table, one row a run, and the card that says how it came about."""

    name: str
    rows: list[Row]
    card: dict[str, Any]

    def where(self, **wanted: Any) -> list[Row]:
        """Return the rows in which every named column has the value that is wanted.

        Raises:
            CourseError: there is no such column or no such row.
        """
        for column, value in wanted.items():
            if not isinstance(value, _PLAIN):
                raise CourseError(
                    f"Rows of the table {self.name} were asked for with {column}="
                    f"{worded(value)}; expected a text or a number."
                )
            if column not in self.rows[0]:
                raise unknown(f"column of the table {self.name}", column, self.rows[0])
        found = [
            row for row in self.rows if all(row[c] == v for c, v in wanted.items())
        ]
        if not found:
            said = ", ".join(
                f"{column}={value!r:.80}" for column, value in wanted.items()
            )
            raise CourseError(f"The table {self.name} has no row with {said}.")
        return found


@kinds_checked
def plan(name: str) -> Plan:
    """Return the plan of a shipped table by its name.

    Raises:
        CourseError: the name is unknown.
    """
    if name not in SHIPPED:
        raise unknown("sweep", name, SHIPPED)
    module = {"near-to-far": "distance"}.get(name, name.replace("-", "_"))
    return import_module(f"course.plans.{module}").PLAN


@kinds_checked
def make(
    name: str,
    *,
    profile: str = "quick",
    out: Path = Path("runs/tables"),
    backend: str = "threads",
    progress: bool = True,
) -> Path:
    """Run a plan and write its table and card; stopped, it goes on where it was.

    Args:
        name: one of `SHIPPED`.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``; what ships is ``"quick"``.
        out: the folder of table and card; finished runs are kept below it.
        backend: where the runs go, see `run`.
        progress: show a bar.

    Returns:
        The place of the table; its card has the ending ``.json``.
    """
    chosen = plan(name)
    began = time.time()
    cells = chosen.cells(profile)
    key = _key(chosen)
    rows = run(
        functools.partial(_planned, name, key),
        cells,
        folder=Path(out) / "cells" / name,
        key=key,
        backend=backend,
        progress=progress,
    )
    card = {
        "name": name,
        "what": chosen.sentence,
        "made_by": _command(name, profile, backend),
        "made_on": time.strftime("%Y-%m-%d", time.gmtime(began)),
        "runs": len(rows),
        "seconds_of_all_runs": round(sum(r.get("seconds", 0.0) for r in rows), 1),
        "processor": platform.machine(),
        "threads_a_run": 1,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
    }
    with shelf.in_use(Path(out)):
        return save(Table(name, rows, card), out)


def _command(name: str, profile: str, backend: str) -> str:
    # The address of a scheduler is nobody else's business.
    kind = backend.partition(":")[0]
    told = "" if kind == "threads" else f" --backend {kind}"
    return f"course sweep {name} --profile {profile}{told}"


def _planned(name: str, key: str, /, **cell: Any) -> Mapping[str, Any]:
    """Do a run of a plan, which is sent by its name, where the code is the sender's."""
    chosen = plan(name)
    if _key(chosen) != key:
        raise CourseError(
            f"A worker on {platform.node()} has another version of this workbook or of "
            "torch than the process that sent the work; install the same there and "
            "start the worker anew."
        )
    return chosen.work(**cell)


@functools.cache  # what a process has loaded stays, whatever happens to the files
def _key(chosen: Plan) -> str:
    """Return a hash of everything that decides what a plan's run measures."""
    here = Path(__file__).parent
    digest = hashlib.sha256(torch.__version__.encode())
    digest.update(inspect.getsource(import_module(chosen.work.__module__)).encode())
    for pattern in _SOURCES:
        for path in sorted(here.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@kinds_checked
def save(table: Table, folder: Path) -> Path:
    """Write a table as CSV, and its card with the hash of it; return the CSV's place.

    Args:
        table: its rows have the same columns.
        folder: where ``NAME.csv`` and ``NAME.json`` go.

    Raises:
        CourseError: the table's name is no plain name of a file.
    """
    if not re.fullmatch(r"\w[\w .+-]{0,99}", table.name):
        raise CourseError(
            f"A table named {table.name!r:.80} cannot be written; expected a plain "
            "name, without folders, such as 'few-labels'."
        )
    columns = list(dict.fromkeys(name for row in table.rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        writer.writerow({name: _as_text(row.get(name)) for name in columns})
    content = text.getvalue().encode()
    kinds = {name: _kind([row.get(name) for row in table.rows]) for name in columns}
    digest = hashlib.sha256(content).hexdigest()
    card = {**table.card, "columns": kinds, "sha256": digest}
    path = Path(folder) / f"{table.name}.csv"
    write_whole(path, lambda part: part.write_bytes(content))
    card_text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    write_whole(
        path.with_suffix(".json"), lambda part: part.write_text(card_text, "utf-8")
    )
    return path


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _kind(values: Sequence[Any]) -> str:
    found = {type(value).__name__ for value in values if value is not None}
    if found <= {"int", "float"} and "float" in found:
        return "float"
    return found.pop() if len(found) == 1 else "str"


_FAULTS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    csv.Error,
)
_READ: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: text == "True",
}


@kinds_checked
def load(name: str | Path) -> Table:
    """Return a shipped table by its name, or the one in a CSV file (chapter 05).

    Raises:
        CourseError: the name is unknown, or table and card are missing, damaged or do
            not belong together.
    """
    if not isinstance(name, Path) and not str(name).endswith(".csv"):
        if name not in SHIPPED:
            raise unknown("table", name, SHIPPED)
        name = TABLES / f"{name}.csv"
    path = Path(name)
    try:
        content = path.read_bytes()
        card = json.loads(path.with_suffix(".json").read_text("utf-8"))
        whole = hashlib.sha256(content).hexdigest() == card["sha256"]
        rows = _rows(content, card["columns"]) if whole else []
    except _FAULTS as error:
        raise _damaged(path) from error
    if not rows:
        raise _damaged(path)
    return Table(path.stem, rows, card)


def _rows(content: bytes, kinds: Mapping[str, str]) -> list[Row]:
    lines = csv.DictReader(io.StringIO(content.decode()))
    return [
        {
            name: None if text == "" else _READ[kinds[name]](text)
            for name, text in line.items()
        }
        for line in lines
    ]


def _damaged(path: Path) -> CourseError:
    return CourseError(
        f"The table {path.name} or its card is missing, damaged or not what it was "
        f"when it was made; make both anew with `course sweep {path.stem}`."
    )
