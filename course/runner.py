"""Headless runs of the chapters: executed notebooks, pages, and their evidence."""

from __future__ import annotations

import html
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from course import progress
from course.errors import CourseError, unknown

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


@dataclass
class Result:
    """What became of one chapter.

    Args:
        chapter: the notebook's name without its ending.
        status: ``"ok"`` or ``"failed"``.
        seconds: wall time.
        peak_mb: the most memory its kernel held, in MB; None where it is not known.
        records: name, value and unit of each recorded number.
        claims: text, value, bound of each lesson, and whether it holds.
        environment: versions, machine, profile and seed.
        error: cell and last line of what went wrong; empty where all went well.
    """

    chapter: str
    status: str
    seconds: float
    peak_mb: float | None
    records: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    error: str = ""


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
    return [known[_stem(name, list(known))] for name in names]


def _stem(name: str, known: list[str]) -> str:
    stem = Path(name).stem
    matches = [
        chapter
        for chapter in known
        if stem in (chapter, chapter[:2]) or stem.zfill(2) == chapter[:2]
    ]
    if not matches:
        raise unknown("chapter", name, known)
    return matches[0]


def run_chapters(
    chapters: Sequence[Path],
    out: Path,
    *,
    profile: str = "quick",
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> list[Result]:
    """Execute chapters one after the other and leave their evidence in a folder.

    The folder gets the executed notebooks, an HTML page of each, ``index.html`` and
    ``records.json``. A chapter that fails does not stop the others.

    Args:
        chapters: notebooks, from `find_chapters`.
        out: the folder; made where it is missing.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``.
        seed: the chapters' seed.
        report: called with a line of progress for each chapter.
    """
    _make(out)
    results: list[Result] = []
    for chapter in chapters:
        report(f"{chapter.stem} …")
        result = _in_a_process(chapter, out, profile, seed)
        results.append(result)
        report(_line(result))
        _write(out / "records.json", json.dumps(_plain(results), indent=2) + "\n")
        pages = {path.stem for path in out.glob("*.html")}
        _write(out / "index.html", _index(results, pages))
    return results


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CourseError(
            f"The folder {out} cannot be made ({error.strerror}); name another with "
            "--out."
        ) from error


def _in_a_process(chapter: Path, out: Path, profile: str, seed: int) -> Result:
    # A process a chapter: its children's peak memory is then this chapter's alone.
    context = get_context("spawn")
    for ending in (".ipynb", ".html"):  # of an earlier run: not to be taken for this
        (out / chapter.name).with_suffix(ending).unlink(missing_ok=True)
    try:
        with ProcessPoolExecutor(1, context, _keep_no_progress) as pool:
            return pool.submit(execute, chapter, out, profile, seed).result()
    finally:
        _unfinished(chapter, out).unlink(missing_ok=True)


def _keep_no_progress() -> None:
    """Leave the reader's progress alone in this process and in its kernels."""
    os.environ[progress.VARIABLE] = ""


def _unfinished(chapter: Path, out: Path) -> Path:
    return out / f".{chapter.name}"


def execute(chapter: Path, out: Path, profile: str, seed: int) -> Result:
    """Execute one chapter with papermill and write its notebook and page.

    Args:
        chapter: the notebook.
        out: an existing folder.
        profile: see `run_chapters`.
        seed: see `run_chapters`.
    """
    import papermill

    for name, value in KERNEL.items():
        os.environ.setdefault(name, value)
    began = time.perf_counter()
    executed, error = _unfinished(chapter, out), ""
    parameters = {"PROFILE": profile, "SEED": seed}
    try:
        _check_parameters(chapter, parameters)
        papermill.execute_notebook(
            chapter,
            executed,
            parameters,
            kernel_name="python3",
            cwd=chapter.parent,
            progress_bar=sys.stderr.isatty(),
        )
    except papermill.PapermillExecutionError as failure:
        place = f"cell {failure.cell_index + 1}, In [{failure.exec_count}]"
        error = f"{place}: {failure.ename}: {_last(failure.evalue)}"
    except CourseError as failure:
        error = str(failure)
    except Exception as failure:  # a dead kernel, a file that is no notebook
        error = f"{type(failure).__name__}: {_last(failure)}"
    seconds = time.perf_counter() - began
    records, claims = _keep(executed, out / chapter.name)
    return Result(
        chapter=chapter.stem,
        status="failed" if error else "ok",
        seconds=round(seconds, 1),
        peak_mb=_peak_mb(),
        records=[_only(row, "name", "value", "unit") for row in records],
        claims=[_only(row, "text", "value", "bound", "holds") for row in claims],
        environment=environment(profile, seed),
        error=error,
    )


def _check_parameters(chapter: Path, parameters: dict[str, Any]) -> None:
    """Raise where the chapter would not notice a parameter: papermill only warns."""
    import papermill

    missing = set(parameters) - set(papermill.inspect_notebook(chapter))
    if missing:
        raise CourseError(
            f"{chapter.name} has no parameter {', '.join(sorted(missing))}; expected "
            "it in a cell tagged 'parameters'."
        )


def _last(message: object) -> str:
    lines = [line for line in str(message).splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _keep(executed: Path, place: Path) -> tuple[list[dict], list[dict]]:
    """Move an executed notebook to its place, make its page, and read its evidence."""
    import nbformat

    from course import evidence

    if not executed.is_file():
        return [], []
    notebook = nbformat.read(executed, as_version=4)
    executed.unlink()
    notebook.metadata.pop("widgets", None)
    _write(place, nbformat.writes(notebook) + "\n")
    _write(place.with_suffix(".html"), page_of(notebook, place.stem))
    return evidence.read(notebook)


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


def _peak_mb() -> float | None:
    """Return the largest memory of a kernel that has ended, in MB."""
    try:
        import resource
    except ImportError:  # Windows has no such count
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 1024), 1)


def environment(profile: str, seed: int) -> dict[str, Any]:
    """Return what a result may depend on: versions, machine, profile and seed."""
    versions = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "profile": profile,
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": versions,
    }


def _only(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _plain(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]


def _line(result: Result) -> str:
    held = sum(claim["holds"] for claim in result.claims)
    memory = f"{result.peak_mb:.0f} MB" if result.peak_mb else "memory unknown"
    text = (
        f"{result.chapter}: {result.status}, {result.seconds:.0f} s, {memory}, "
        f"{held} of {len(result.claims)} claims hold"
    )
    return f"{text}\n  {result.chapter}, {result.error}" if result.error else text


def _write(path: Path, text: str) -> None:
    """Write a file so that it is whole or as it was."""
    place = path.with_name(f".{path.name}.part")
    place.write_text(text, encoding="utf-8")
    os.replace(place, path)


def _index(results: Sequence[Result], pages: Collection[str]) -> str:
    rows = "".join(_index_row(result, result.chapter in pages) for result in results)
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("chapter", "status", "seconds", "peak MB", "claims that hold")
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<title>The workbook, executed</title><style>body{font:16px/1.5 sans-serif;"
        "max-width:60rem;margin:2rem auto;padding:0 1rem}td,th{text-align:left;"
        "padding:.3rem .8rem;border-bottom:1px solid #ccc;vertical-align:top}"
        "</style></head><body><h1>The workbook, executed</h1>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        '<p><a href="records.json">records.json</a></p></body></html>\n'
    )


def _index_row(result: Result, has_page: bool) -> str:
    name = html.escape(result.chapter)
    title = f'<a href="{name}.html">{name}</a>' if has_page else name
    held = [claim["holds"] for claim in result.claims]
    status = html.escape(f"{result.status} {result.error}".strip())
    memory = f"{result.peak_mb:.0f}" if result.peak_mb else "unknown"
    cells = (status, f"{result.seconds:.0f}", memory, f"{sum(held)} of {len(held)}")
    return (
        f'<tr><th scope="row">{title}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
    )
