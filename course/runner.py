"""Headless runs of the chapters: executed notebooks, pages, and their evidence."""

from __future__ import annotations

import html
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tqdm.auto import tqdm

from course import execution
from course.errors import CourseError, unknown
from course.execution import Job, Limits, Result

MEMORY_MB = 1500  # that a chapter is taken to hold where no run has measured it
USUAL = Limits()
SPARE = 0.9  # of the free memory is given to chapters
TIMES = Path("docs/section-times.json")  # beside the folder of the chapters
EARLIER = Path("runs/latest")  # where a run looks for what chapters took


class Room(NamedTuple):
    """What this machine gives to a run: kernels at once, threads of each, MB."""

    kernels: int
    threads: int
    memory_mb: float


class Cost(NamedTuple):
    """What a chapter is expected to take."""

    seconds: float
    memory_mb: float


def notebooks_folder() -> Path:
    """Return the folder of the chapters, beside the package or the current folder's.

    Raises:
        CourseError: the package was installed without its repository.
    """
    for place in (Path(__file__).parents[1], Path.cwd()):
        if any((place / "notebooks").glob("[0-9][0-9]_*.ipynb")):  # copies hold some
            return place / "notebooks"
    raise CourseError(
        "The notebooks were not found beside the package or in the current folder; "
        "clone the repository and run the command in it."
    )


def find_chapters(names: Sequence[str], folder: Path) -> list[Path]:
    """Return the notebooks of chapters named like ``0``, ``00`` or by their file.

    Args:
        names: empty for every chapter.
        folder: where the notebooks are.

    Raises:
        CourseError: there is no such chapter.
    """
    known = {path.stem: path for path in sorted(folder.glob("[0-9]*.ipynb"))}
    if not names:
        return list(known.values())
    return list(dict.fromkeys(known[_stem(name, list(known))] for name in names))


def _stem(name: str, known: list[str]) -> str:
    stem = Path(name).stem
    matches = [
        chapter
        for chapter in known
        if stem in (chapter, chapter[:2]) or stem.zfill(2) == chapter[:2]
    ]
    if not matches or not stem:
        raise unknown("chapter", name, known)
    return matches[0]


def matrix(
    chapters: Sequence[Path],
    profiles: Sequence[str] = ("quick",),
    seeds: Sequence[int] = (0,),
    backbones: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[Job]:
    """Return a job for each chapter, profile, seed and backbone.

    A chapter without a parameter ``BACKBONE`` is run once, with its own.

    Args:
        chapters: notebooks, from `find_chapters`.
        profiles: their sizes.
        seeds: their seeds.
        backbones: names that `models.load` knows; empty for each chapter's own.
        say: is told which chapters have their own backbone only.

    Raises:
        CourseError: a seed is below 0, or something stands there twice.
    """
    for kind, values in (
        ("profile", profiles),
        ("seed", seeds),
        ("backbone", backbones),
    ):
        _check_axis(kind, values)
    takes = {path for path in chapters if backbones and _takes_backbone(path)}
    if backbones and len(takes) < len(chapters):
        own = ", ".join(path.stem for path in chapters if path not in takes)
        say(f"Without a parameter BACKBONE, so run once with their own: {own}.")
    jobs = [
        Job(path, profile, seed, backbone)
        for profile, seed in itertools.product(profiles, seeds)
        for path in chapters
        for backbone in (backbones if path in takes else (None,))
    ]
    one = len({(job.profile, job.seed, job.backbone) for job in jobs}) <= 1
    return jobs if one else [replace(job, folder=_folder(job)) for job in jobs]


def _check_axis(kind: str, values: Sequence[Any]) -> None:
    twice = [value for value in values if list(values).count(value) > 1]
    if twice:
        raise CourseError(
            f"The {kind} {twice[0]} was named twice; name each {kind} once."
        )
    for value in values:
        if kind == "seed" and value < 0:
            raise CourseError(f"The seed was {value}; expected 0 or more.")


def _takes_backbone(chapter: Path) -> bool:
    return "BACKBONE" in execution.parameters_of(chapter)


def _folder(job: Job) -> str:
    parts = [job.profile, f"seed{job.seed}", job.backbone]
    return "-".join(str(part) for part in parts if part is not None)


def run_chapters(
    chapters: Sequence[Path],
    out: Path,
    *,
    profile: str = "quick",
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> list[Result]:
    """Execute chapters, each once, and leave their evidence in a folder, as `run` does.

    Args:
        chapters: notebooks, from `find_chapters`.
        out: the folder; made where it is missing.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``.
        seed: the chapters' seed.
        report: called with a line of progress for each chapter.
    """
    return run(matrix(chapters, [profile], [seed]), out, report=report)


def run(
    jobs: Sequence[Job],
    out: Path,
    *,
    kernels: int | None = None,
    limits: Limits = USUAL,
    resume: bool = False,
    report: Callable[[str], None] = print,
) -> list[Result]:
    """Execute jobs side by side, the longest first, and leave their evidence.

    The folder gets the executed notebooks, an HTML page of each, ``index.html`` and
    ``records.json``, all after each chapter. A chapter that fails does not stop the
    others; an interrupt stops all kernels and keeps what was finished.

    Args:
        jobs: from `matrix`.
        out: the folder; made where it is missing.
        kernels: how many at once; None for what cores and memory allow.
        limits: seconds for a cell and for a chapter; filled up from
            the profile's.
        resume: keep results of an earlier run in the folder whose `execution.key_of`
            is the same and that went well.
        report: called with a line of progress for each chapter.

    Raises:
        CourseError: the folder cannot be made, or `kernels` is less than 1.
    """
    room = room_for(len(jobs), kernels)
    kept = _kept(out, jobs, room.threads) if resume else {}
    for folder in {out, *(out / job.folder for job in jobs)}:
        _make(folder)
    book = _Book(jobs, out, kept)
    missing = [job for job in jobs if job not in kept]
    if resume:
        report(f"{len(kept)} of {len(jobs)} are as they were; {len(missing)} to run.")
    costs = _costs(out, jobs)
    with _Kernels(out, room, limits, costs) as pool:
        for job, result in pool.results(missing, report):
            book.add(job, replace(result, key=execution.key_of(job, room.threads)))
            report(_line(job, result))
    book.write()
    return book.results()


def room_for(jobs: int, kernels: int | None = None) -> Room:
    """Return how many kernels run at once here, and how many threads each gets.

    Never more kernels than cores, nor more threads in all; as many kernels as find
    `MEMORY_MB` each.

    Args:
        jobs: how many there are to run.
        kernels: how many at once, where somebody decided it.

    Raises:
        CourseError: `kernels` is less than 1.
    """
    from course.doctor import hardware

    if kernels is not None and kernels < 1:
        raise CourseError(f"{kernels} kernels were asked for; expected 1 or more.")
    cores = max(1, int(min(hardware.visible_cores(), hardware.cpu_quota())))
    memory = hardware.memory_bytes()[2] / 2**20 * SPARE
    fits = max(1, int(min(memory / MEMORY_MB, cores, max(jobs, 1))))
    count = fits if kernels is None else kernels
    return Room(count, _threads(max(1, cores // count)), memory)


def _threads(most: int) -> int:
    """Return how many threads a kernel gets: fewer where the reader said so."""
    wanted = os.environ.get(execution.THREADS[0], "")
    return min(most, int(wanted)) if wanted.isdigit() and int(wanted) else most


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(
            f"The folder {out} cannot be made ({error.strerror}); name another with "
            "--out."
        ) from error


# What earlier runs left ---------------------------------------------------------------


def read_results(folder: Path) -> list[Result]:
    """Return the results of a run, from the ``records.json`` in its folder.

    What a newer workbook added to a row is left out, what an older one lacked is empty.

    Raises:
        CourseError: there is no such file, or it holds no run.
    """
    known = {one.name for one in fields(Result)}
    try:
        rows = json.loads((folder / "records.json").read_text("utf-8"))
        return [Result(**{k: v for k, v in row.items() if k in known}) for row in rows]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CourseError(
            f"{folder} holds no run that can be read; expected the records.json that "
            "`course run` leaves."
        ) from error


def _earlier(folder: Path) -> list[Result]:
    try:
        return read_results(folder)
    except CourseError:
        return []


def _kept(out: Path, jobs: Sequence[Job], threads: int) -> dict[Job, Result]:
    """Return what need not be run again: it went well, and nothing has changed."""
    earlier = {(r.chapter, r.folder): r for r in _earlier(out) if r.status == "ok"}
    kept = {}
    for job in jobs:
        result = earlier.get((job.chapter.stem, job.folder))
        whole = (out / job.folder / job.chapter.name).is_file()
        if result and whole and result.key == execution.key_of(job, threads):
            kept[job] = result
    return kept


def _costs(out: Path, jobs: Iterable[Job]) -> dict[Job, Cost]:
    """Return what each job will take, as far as earlier runs tell."""
    seen: dict[tuple[str, str], Cost] = {}
    for result in [*_earlier(EARLIER), *_earlier(out)]:
        name = result.chapter, result.environment.get("profile", "")
        seen[name] = Cost(result.seconds, result.peak_mb or MEMORY_MB)
    return {
        job: seen.get((job.chapter.stem, job.profile)) or _noted(job.chapter)
        for job in jobs
    }


def _noted(chapter: Path) -> Cost:
    """Return what a chapter took when it was last executed to be committed."""
    try:
        rows = json.loads((chapter.parents[1] / TIMES).read_text("utf-8"))
        return Cost(float(rows[chapter.stem]["seconds"]), MEMORY_MB)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return Cost(0, MEMORY_MB)


class _Book:
    """What is known of a run, in the order of its jobs, and its files."""

    def __init__(self, jobs: Sequence[Job], out: Path, kept: dict[Job, Result]) -> None:
        self._jobs, self._out, self._known = jobs, out, dict(kept)

    def add(self, job: Job, result: Result) -> None:
        self._known[job] = result
        self.write()

    def results(self) -> list[Result]:
        return [self._known[job] for job in self._jobs if job in self._known]

    def write(self) -> None:
        results, out = self.results(), self._out
        text = json.dumps([asdict(result) for result in results], indent=2)
        execution.write(out / "records.json", text + "\n")
        pages = {path.relative_to(out).as_posix() for path in out.rglob("*.html")}
        execution.write(out / "index.html", _index(results, pages))


# Kernels side by side -----------------------------------------------------------------


@dataclass(eq=False)
class _Running:
    job: Job
    process: BaseProcess
    receiving: Connection
    began: float
    limits: Limits

    def seconds(self) -> float:
        return time.monotonic() - self.began


class _Kernels:
    """The chapters that run now; leaving the ``with`` block ends them."""

    def __init__(
        self, out: Path, room: Room, limits: Limits, costs: dict[Job, Cost]
    ) -> None:
        self._out, self._room, self._limits, self._costs = out, room, limits, costs
        self._running: list[_Running] = []

    def __enter__(self) -> _Kernels:
        return self

    def __exit__(self, *_: object) -> None:
        for one in list(self._running):
            self._end(one)
            execution.unfinished(one.job, self._out).unlink(missing_ok=True)

    def results(
        self, jobs: Sequence[Job], say: Callable[[str], None]
    ) -> Iterator[tuple[Job, Result]]:
        """Yield each job with its result as soon as it is there."""
        waiting = sorted(jobs, key=lambda job: -self._costs[job].seconds)
        with tqdm(total=len(jobs), unit="chapter", disable=None, leave=False) as bar:
            while waiting or self._running:
                while waiting and (job := self._next(waiting)):
                    waiting.remove(job)
                    say(f"{job.label} …")
                    self._start(job)
                for job, result in self._ended():
                    bar.update()
                    yield job, result

    def _next(self, waiting: Sequence[Job]) -> Job | None:
        """Return the longest job that finds a core and its memory now."""
        if len(self._running) >= self._room.kernels:
            return None
        held = sum(self._costs[one.job].memory_mb for one in self._running)
        free = self._room.memory_mb - held
        fitting = (job for job in waiting if self._costs[job].memory_mb <= free)
        return next(fitting, None if self._running else waiting[0])

    def _start(self, job: Job) -> None:
        limits = self._limits.of(job.profile)
        place = self._out / job.folder / job.chapter.name
        for ending in (
            ".ipynb",
            ".html",
        ):  # of an earlier run: not to be taken for this
            place.with_suffix(ending).unlink(missing_ok=True)
        context = get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        given = (sending, job, self._out, limits, self._room.threads)
        process = context.Process(target=execution.serve, args=given)
        with _deaf_to_interrupts():
            process.start()
        sending.close()  # here: the end of the process is then the end of the pipe
        now = time.monotonic()
        self._running.append(_Running(job, process, receiving, now, limits))

    def _ended(self) -> Iterator[tuple[Job, Result]]:
        """Wait until one has ended, or its time is over."""
        left = [one.limits.chapter - one.seconds() for one in self._running]
        wait([one.receiving for one in self._running], max(0.0, min(left)))
        for one in list(self._running):
            if one.receiving.poll() or one.seconds() > one.limits.chapter:
                yield one.job, self._result(one)

    def _result(self, one: _Running) -> Result:
        late = not one.receiving.poll()
        try:
            sent = None if late else one.receiving.recv()
        except EOFError:
            sent = None
        self._end(one)
        if sent is not None:
            return Result(**sent)
        seconds, code = one.seconds(), one.process.exitcode
        if late:
            return execution.overdue(one.job, self._out, one.limits, seconds)
        return execution.lost(one.job, self._out, code, seconds)

    def _end(self, one: _Running) -> None:
        if one.process.pid is not None:
            execution.end_family(one.process.pid, first=True)
        one.process.join()
        one.receiving.close()
        self._running.remove(one)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let a process that is started here not hear Ctrl-C: this one ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# What the reader sees -----------------------------------------------------------------


def _line(job: Job, result: Result) -> str:
    held = sum(claim["holds"] for claim in result.claims)
    memory = f"{result.peak_mb:.0f} MB" if result.peak_mb else "memory unknown"
    text = (
        f"{job.label}: {result.status}, {result.seconds:.0f} s, {memory}, "
        f"{held} of {len(result.claims)} claims hold"
    )
    return f"{text}\n  {result.chapter}, {result.error}" if result.error else text


def _index(results: Sequence[Result], pages: Collection[str]) -> str:
    rows = "".join(_index_row(result, pages) for result in results)
    names = ("chapter", "run", "status", "seconds", "peak MB", "claims that hold")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<title>The workbook, executed</title><style>body{font:16px/1.5 sans-serif;"
        "max-width:60rem;margin:2rem auto;padding:0 1rem}td,th{text-align:left;"
        "padding:.3rem .8rem;border-bottom:1px solid #ccc;vertical-align:top}"
        "</style></head><body><h1>The workbook, executed</h1>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        '<p><a href="records.json">records.json</a></p></body></html>\n'
    )


def _index_row(result: Result, pages: Collection[str]) -> str:
    path = (Path(result.folder) / f"{result.chapter}.html").as_posix()
    name = html.escape(result.chapter)
    link = f'<a href="./{quote(path)}">{name}</a>'
    title = link if path in pages else name
    held = [claim["holds"] for claim in result.claims]
    status = html.escape(f"{result.status} {result.error}".strip())
    memory = f"{result.peak_mb:.0f}" if result.peak_mb else "unknown"
    told = result.environment
    run = f"{told.get('profile', '')}, seed {told.get('seed', '')}"
    run += f", {told['backbone']}" if told.get("backbone") else ""
    cells = (html.escape(run), status, f"{result.seconds:.0f}", memory)
    cells = (*cells, f"{sum(held)} of {len(held)}")
    return (
        f'<tr><th scope="row">{title}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )
