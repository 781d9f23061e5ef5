"""The report of a run: a page, a summary for a pull request, and JUnit XML.

All three are made from the ``records.json`` that `course run` left, in this version or
an older one, and from what `course compare` found. They lie beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from course.execution import write as _write
from course.run_report import charts, junit_xml, pull_request
from course.run_report.page import Told, page
from course.run_report.reading import folder_of, load, load_past

if TYPE_CHECKING:
    from course.drift import Comparison
    from course.runs import Measured, Place


def write(
    out: Path,
    *,
    history: Iterable[Path] = (),
    comparison: Comparison | None = None,
    baselines: Mapping[Place, Measured] | None = None,
) -> Path:
    """Write ``report.html``, whole or not at all, and return where it is.

    Args:
        out: the folder of a run, or the ``records.json`` in it.
        history: earlier ones, named likewise, in any order; the run itself is passed
            over, and one that cannot be read is named on the page.
        comparison: of the run with the baselines; None where there was none.
        baselines: with what it was compared, to draw where one more seed is expected;
            without them, what moved brings its own.

    Raises:
        CourseError: the folder holds no records of a run.
    """
    run = load(out)
    past = load_past(history, run)
    known = charts.bands(comparison, baselines or {})
    told = Told(run, past, comparison, charts.collect(run, past), known)
    place = folder_of(out) / "report.html"
    _write(place, page(told))
    return place


def markdown(out: Path, *, comparison: Comparison | None = None) -> str:
    """Return a run's summary for a pull request, as GitHub's Markdown.

    Args:
        out: the folder of the run.
        comparison: with the baselines; None where there was none.

    Raises:
        CourseError: the folder holds no records of a run.
    """
    return pull_request.summary(load(out), comparison)


def summary(out: Path, *, comparison: Comparison | None = None) -> Path:
    """Write what `markdown` returns as ``summary.md`` and return where it is."""
    place = folder_of(out) / "summary.md"
    _write(place, markdown(out, comparison=comparison))
    return place


def junit(out: Path, *, comparison: Comparison | None = None) -> Path:
    """Write ``junit.xml`` for a CI server and return where it is.

    A test suite a run, with a test for each chapter and for each claim; and one for the
    comparison, with a test for each value that moved or is gone.

    Args:
        out: the folder of the run.
        comparison: with the baselines; None where there was none.

    Raises:
        CourseError: the folder holds no records of a run.
    """
    place = folder_of(out) / "junit.xml"
    _write(place, junit_xml.document(load(out), comparison))
    return place


def everything(
    out: Path,
    comparison: Comparison | None = None,
    baselines: Mapping[Place, Measured] | None = None,
) -> Path:
    """Write page, summary and XML of a run, and return where the page is.

    Its history is what lies beside it: the other runs in the folder that holds it.

    Args:
        out: as for `write`.
        comparison: as for `write`.
        baselines: as for `write`.

    Raises:
        CourseError: the folder holds no records of a run.
    """
    beside = sorted(folder_of(out).absolute().parent.glob("*/records.json"))
    page = write(out, history=beside, comparison=comparison, baselines=baselines)
    summary(out, comparison=comparison)
    junit(out, comparison=comparison)
    return page
