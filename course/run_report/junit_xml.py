"""A run as JUnit XML, which CI servers read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from course.run_report import wording
from course.run_report.reading import Claim, Part, Run, Setting
from course.run_report.wording import named

if TYPE_CHECKING:
    from course.drift import Comparison, Moved


def document(run: Run, comparison: Comparison | None) -> str:
    """Return a run as JUnit XML.

    Args:
        run: from `reading.load`.
        comparison: with the baselines; None where there was none.
    """
    top = ElementTree.Element("testsuites", name="course run")
    for setting in run.settings:
        top.append(_suite(run, setting, comparison))
    if comparison is not None:
        top.append(_compared(comparison))
    _count(top, "testsuite/testcase")
    for suite in top:
        _count(suite, "testcase")
    ElementTree.indent(top)
    text = ElementTree.tostring(top, encoding="unicode")
    return wording.clean(f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')


def _count(element: ElementTree.Element, path: str) -> None:
    cases = element.findall(path)
    element.set("tests", str(len(cases)))
    element.set("errors", "0")
    for attribute, tag in (("failures", "failure"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.1f}")


def _suite(
    run: Run, setting: Setting, comparison: Comparison | None
) -> ElementTree.Element:
    made = run.made.replace(tzinfo=None).isoformat(timespec="seconds")
    suite = ElementTree.Element("testsuite", name=setting.label, timestamp=made)
    own = {part.chapter: part for part in run.parts if part.setting == setting}
    for chapter in run.chapters:
        if chapter in own:
            suite.extend(_cases(own[chapter], comparison))
        else:
            case = _case(chapter, "runs through")
            ElementTree.SubElement(case, "skipped", message="not run in this run")
            suite.append(case)
    return suite


def _case(chapter: str, name: str, seconds: float = 0) -> ElementTree.Element:
    return ElementTree.Element(
        "testcase", classname=chapter, name=name, time=f"{seconds:.1f}"
    )


def _cases(part: Part, comparison: Comparison | None) -> Iterator[ElementTree.Element]:
    case = _case(part.chapter, "runs through", part.seconds or 0)
    if not part.ok:
        where = f"cell {part.cell}, {part.address}" if part.cell else part.address
        _fail(case, "chapter", part.error or "no message was kept", where)
    yield case
    for claim in part.claims:
        yield _claim(part, claim, wording.passed_over(part, comparison))


def _fail(case: ElementTree.Element, kind: str, message: str, where: str = "") -> None:
    failure = ElementTree.SubElement(case, "failure", type=kind, message=message)
    failure.text = "\n".join(filter(None, [message, where]))


def _claim(part: Part, claim: Claim, passed_over: bool) -> ElementTree.Element:
    case = _case(part.chapter, f"claim: {claim.text}")
    message = f"{wording.interval(claim)}, but expected {claim.bound}"
    if not claim.holds and passed_over:
        said = f"{message}; the smoke profile goes on all the same"
        ElementTree.SubElement(case, "skipped", message=said)
    elif not claim.holds:
        _fail(case, "claim", message, part.address)
    return case


def _compared(comparison: Comparison) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name="beside the baseline")
    for row in comparison.moved:
        case = _case(row.chapter, f"{row.kind}: {row.name}")
        if row.red:
            _fail(case, "moved", _said(row))
        suite.append(case)
    for gone in comparison.gone:
        case = _case(gone.chapter, f"{gone.kind}: {gone.name or 'the whole chapter'}")
        _fail(case, "gone", f"{named(gone)} is in the baseline and not in this run")
        suite.append(case)
    return suite


def _said(row: Moved) -> str:
    size = Setting(row.profile, row.backbone, None).label
    now = wording.measured(row.now, row.unit)
    return f"{wording.before(row)} before, {now} now ({size}): {row.reason}"
