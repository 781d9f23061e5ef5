"""One chapter, executed in a process of its own: notebook, page and evidence."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from course import evidence, places, progress, yardstick
from course.errors import CourseError

# Where nbconvert's own page is too faint to read: at least 4.5 to 1 on its grey, and
# links that are told by more than their colour.
READABLE = """<style>
.jp-InputPrompt, .jp-OutputPrompt { opacity: 1 !important; }
.highlight .ow { color: #7a00cc !important; }
.highlight .m, .highlight .mi, .highlight .mf { color: #006600 !important; }
.highlight .c, .highlight .c1 { color: #2b6060 !important; }
.jp-RenderedMarkdown :is(p, li) a:not(.anchor-link) {
  text-decoration: underline !important;
}
</style></head>"""
# Otherwise every thread keeps a heap of its own, and a kernel holds a tenth more. Only
# glibc reads it.
KERNEL = {"MALLOC_ARENA_MAX": "2"}
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "captum", "ipywidgets")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SHOWN = 60  # characters of a cell that a message quotes


@dataclass(frozen=True)
class Job:
    """One chapter with its parameters, as papermill is given them.

    Args:
        chapter: the notebook.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``.
        seed: the chapter's seed.
        backbone: by name; None for the chapter's own.
        folder: where the executed notebook goes, relative to that of the run.
    """

    chapter: Path
    profile: str = "quick"
    seed: int = 0
    backbone: str | None = None
    folder: str = "."

    @property
    def parameters(self) -> dict[str, Any]:
        """What papermill writes into the cell tagged ``parameters``."""
        given = {"PROFILE": self.profile, "SEED": self.seed}
        return given if self.backbone is None else {**given, "BACKBONE": self.backbone}

    @property
    def label(self) -> str:
        """The chapter, and its run where a folder holds several."""
        name = self.chapter.stem
        return name if self.folder == "." else f"{name} ({self.folder})"


class Limits(NamedTuple):
    """How many seconds a cell and a chapter may take; None for as the profile says."""

    cell: float | None = None
    chapter: float | None = None

    def of(self, profile: str) -> Limits:
        """Return these limits, filled up with those of a profile."""
        usual = LIMITS.get(profile, PATIENT)
        return Limits(self.cell or usual.cell, self.chapter or usual.chapter)


LIMITS = {"smoke": Limits(180, 600), "quick": Limits(600, 1800)}
PATIENT = Limits(6 * 3600, 24 * 3600)


@dataclass
class Result:
    """What became of one chapter.

    Args:
        chapter: the notebook's name without its ending.
        status: ``"ok"`` or ``"failed"``.
        seconds: wall time.
        peak_mb: the most memory its kernel held, in MB; None where it is not known.
        records: name, value, interval and unit of each recorded number.
        claims: text, value, interval, bound and margin of each lesson, and whether it
            holds.
        environment: versions, machine, threads and parameters.
        error: cell and last line of what went wrong; empty where all went well.
        cell: the identifier of the cell that failed; None where none did.
        folder: where notebook and page are, relative to ``records.json``.
        reference: seconds and MB of the `yardstick` in the same kernel; None where it
            did not run.
        key: what the result depends on, as `key_of` returns it.
    """

    chapter: str
    status: str
    seconds: float
    peak_mb: float | None
    records: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    cell: str | None = None
    folder: str = "."
    reference: dict[str, float] | None = None
    key: str = ""


class _Failure(NamedTuple):
    """What went wrong, and in which cell of the executed notebook, where in one."""

    message: str
    cell: Mapping[str, Any] | None = None


def serve(
    sending: Connection, job: Job, out: Path, limits: Limits, threads: int
) -> None:
    """Execute a job in this process, which serves nothing else, and send its `Result`.

    The process and its kernel end when the one that started it does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other one says when to end
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    _fall_silent()
    os.environ[progress.VARIABLE] = ""  # the reader's own is left alone
    os.environ.update({name: str(threads) for name in THREADS})
    for name, value in KERNEL.items():
        os.environ.setdefault(name, value)
    with places.for_jupyter() as instead:
        os.environ.update(instead)
        sending.send(asdict(execute(job, out, limits)))


def _fall_silent() -> None:
    """Send what this process and its kernel write on stderr nowhere.

    Kernels warn of their own sockets there, and of ours when they are ended. What a
    chapter writes is an output of its cells.
    """
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _end_with_the_other() -> None:
    other = parent_process()
    if other is not None:
        wait([other.sentinel])
        end_family(os.getpid())
        os._exit(1)


def end_family(process: int, *, first: bool = False) -> None:
    """End all that a process has started, and what these have.

    Args:
        process: its number.
        first: end the process itself, before it sees that its kernel has gone and goes
            on to write what is left.
    """
    import psutil

    with suppress(psutil.NoSuchProcess):
        one = psutil.Process(process)
        family = one.children(recursive=True)
        for member in [one] * first + family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=5)


def execute(job: Job, out: Path, limits: Limits) -> Result:
    """Execute one chapter with papermill and write its notebook and page.

    Args:
        job: what, and with which parameters.
        out: the folder of the run, in which the job's own exists.
        limits: a cell that takes longer ends the chapter; the one of the chapter is
            kept by who started this process.
    """
    began = time.perf_counter()
    failure = _papermill(job, unfinished(job, out), limits)
    return collect(job, out, failure, time.perf_counter() - began, _peak_mb())


def unfinished(job: Job, out: Path) -> Path:
    """Return where a chapter is written while it runs."""
    return out / job.folder / f".{job.chapter.name}"


def _papermill(job: Job, executed: Path, limits: Limits) -> _Failure | None:
    import papermill
    from nbclient.exceptions import CellTimeoutError

    try:
        _check_parameters(job)
        papermill.execute_notebook(
            _prepared(job),
            executed,
            job.parameters,
            kernel_name="python3",
            cwd=job.chapter.parent,
            progress_bar=False,
            execution_timeout=limits.cell,
        )
    except papermill.PapermillExecutionError as failure:
        message = f"{failure.ename}: {_last(failure.evalue)}"
        return _Failure(message, _raising(executed))
    except CellTimeoutError:
        return _Failure(_late("cell", limits.cell), _latest(executed))
    except CourseError as failure:
        return _Failure(str(failure))
    except Exception as failure:  # a dead kernel, a file that is no notebook
        return _Failure(
            f"{type(failure).__name__}: {_last(failure)}", _latest(executed)
        )
    return None


def _prepared(job: Job) -> Any:
    import nbformat

    notebook = nbformat.read(job.chapter, as_version=4)
    if job.profile != "smoke":  # whose seconds say nothing
        yardstick.add(notebook)
    return notebook


def _check_parameters(job: Job) -> None:
    """Raise where the chapter would not notice a parameter: papermill only warns."""
    missing = set(job.parameters) - parameters_of(job.chapter)
    if missing:
        raise CourseError(
            f"{job.chapter.name} has no parameter {', '.join(sorted(missing))}; "
            "expected it in a cell tagged 'parameters'."
        )


def parameters_of(chapter: Path) -> set[str]:
    """Return the names of the parameters that a chapter has."""
    import papermill

    return set(papermill.inspect_notebook(chapter))


def _late(what: str, seconds: float) -> str:
    return (
        f"the {what} took longer than its limit of {seconds:g} seconds; --{what}-limit "
        "allows more"
    )


def overdue(job: Job, out: Path, limits: Limits, seconds: float) -> Result:
    """Return the result of a chapter that was ended when its time was over."""
    failure = _Failure(_late("chapter", limits.chapter), _latest(unfinished(job, out)))
    return collect(job, out, failure, seconds)


def lost(job: Job, out: Path, code: int | None, seconds: float) -> Result:
    """Return the result of a chapter whose process ended before it did."""
    why = f"its process ended with {code}: killed, perhaps for want of memory"
    return collect(job, out, _Failure(why, _latest(unfinished(job, out))), seconds)


# What is left behind ------------------------------------------------------------------


def collect(
    job: Job,
    out: Path,
    failure: _Failure | None,
    seconds: float,
    peak_mb: float | None = None,
) -> Result:
    """Move an executed notebook to its place, make its page, and read its evidence."""
    notebook = _read(unfinished(job, out))
    unfinished(job, out).unlink(missing_ok=True)
    records, claims = [], []
    if notebook is not None:
        notebook.metadata.pop("widgets", None)
        _keep(notebook, out / job.folder / job.chapter.name)
        records, claims = evidence.read(notebook)
    return Result(
        chapter=job.chapter.stem,
        status="failed" if failure else "ok",
        seconds=round(seconds, 1),
        peak_mb=peak_mb,
        records=records,
        claims=claims,
        environment=environment(job),
        error=_worded(failure, job.chapter) if failure else "",
        cell=failure.cell["id"] if failure and failure.cell else None,
        folder=job.folder,
        reference=yardstick.read(notebook) if notebook else None,
    )


def _read(path: Path) -> Any:
    import nbformat

    with suppress(OSError, ValueError, nbformat.reader.NotJSONError):
        return nbformat.read(path, as_version=4)
    return None


def _keep(notebook: Any, place: Path) -> None:
    import nbformat

    write(place, nbformat.writes(notebook) + "\n")
    write(place.with_suffix(".html"), page_of(notebook, place.stem))


def write(path: Path, text: str) -> None:
    """Write a file so that it is whole or as it was."""
    place = path.with_name(f".{path.name}.part")
    place.write_text(text, encoding="utf-8")
    os.replace(place, path)


def _raising(executed: Path) -> Mapping[str, Any] | None:
    """Return the cell that raised, in the notebook that papermill left."""
    for cell in (_read(executed) or {}).get("cells", []):
        if any(one["output_type"] == "error" for one in cell.get("outputs", [])):
            return cell
    return None


def _latest(executed: Path) -> Mapping[str, Any] | None:
    """Return the cell that was begun last: papermill saves when it begins one."""
    began: Mapping[str, Any] | None = None
    for cell in (_read(executed) or {}).get("cells", []):
        if cell["metadata"].get("papermill", {}).get("start_time"):
            began = cell if cell["cell_type"] == "code" else began
    return began


def _worded(failure: _Failure, chapter: Path) -> str:
    """Name the cell as the reader's own notebook counts it."""
    if failure.cell is None:
        return failure.message
    cells = [cell["id"] for cell in (_read(chapter) or {}).get("cells", [])]
    here = failure.cell["id"]
    place = f"cell {cells.index(here) + 1}" if here in cells else f"cell {here!r}"
    count = failure.cell.get("execution_count")
    if count is not None:
        return f"{place}, In [{count}]: {failure.message}"
    first = next(iter(failure.cell["source"].strip().splitlines()), "")
    return f"{place} ({first[:SHOWN]}): {failure.message}"


def _last(message: object) -> str:
    lines = [line for line in str(message).splitlines() if line.strip()]
    return lines[-1] if lines else ""


def page_of(notebook: Any, title: str) -> str:
    """Return a notebook as one HTML page, its pictures inside and described.

    Only the typesetting of equations is fetched when the page is opened.

    Args:
        notebook: as nbformat reads it.
        title: of the page, where the notebook opens with no heading.
    """
    from nbconvert import HTMLExporter

    from course import plots

    exporter = HTMLExporter(require_js_url="", jquery_url="")
    resources = {"metadata": {"name": heading(notebook) or title}}
    page = exporter.from_notebook_node(plots.described(notebook), resources)[0]
    return page.replace("</head>", READABLE, 1)


def heading(notebook: Any) -> str:
    """Return the notebook's title: its first line, where that is a heading."""
    first = notebook["cells"][0]["source"] if notebook["cells"] else ""
    line = first.strip().partition("\n")[0]
    return line.removeprefix("# ").strip() if line.startswith("# ") else ""


# What it depends on -------------------------------------------------------------------


def _peak_mb() -> float | None:
    """Return the largest memory of a kernel that has ended, in MB."""
    try:
        import resource
    except ImportError:  # Windows has no such count
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 1024), 1)


def environment(job: Job) -> dict[str, Any]:
    """Return what a result may depend on: versions, machine, threads and parameters."""
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    threads = os.environ.get(THREADS[0], "")
    return {
        "profile": job.profile,
        "seed": job.seed,
        "backbone": job.backbone,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": int(threads) if threads.isdigit() else None,
        "packages": versions,
    }


def key_of(job: Job, threads: int) -> str:
    """Return a digest of all that a result depends on.

    Of the chapter's code, the package, the parameters and the environment: the same
    key, the same result but for seconds and memory.
    """
    needed = {**environment(job), "threads": threads, "package": _package_digest()}
    needed |= {"name": job.chapter.stem, "chapter": _digest(job.chapter)}
    return hashlib.sha256(json.dumps(needed, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    """Return a digest of a chapter's code: words and outputs change no result."""
    notebook = _read(path)
    if notebook is None:
        return ""
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


@functools.cache
def _package_digest() -> str:
    whole, root = hashlib.sha256(), Path(__file__).parent
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return whole.hexdigest()
