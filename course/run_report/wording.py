"""How the page, the summary and the XML word the same things."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from course import evidence
from course.run_report.reading import Claim, Part, Run, Setting
from course.syllabus import CHAPTERS, counted

if TYPE_CHECKING:
    from course.drift import Comparison, Moved, Named

# What XML forbids, what could not be shown, and what would turn the text around it:
# control characters, changes of direction, halves of characters.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
TITLES = {c.notebook.removesuffix(".ipynb"): f"{c.number} {c.title}" for c in CHAPTERS}
SURE = 0.001  # a smaller p is not told apart


def clean(text: str) -> str:
    """Replace what must not be in a file of text."""
    return UNSEEN.sub("�", text)


def title(chapter: str) -> str:
    """Return a chapter's number and title; its name where the course has none such."""
    return TITLES.get(chapter, chapter or "a chapter without a name")


def number(value: float | None) -> str:
    """Word a number as the chapters do, but with the digits that a small one needs."""
    if value is None:
        return "no number"
    small = 0 < abs(value) < 0.001
    return (f"{value:.2g}" if small else evidence.cell(value)).replace("-", "−")


def measured(value: float | None, unit: str = "") -> str:
    """Word a number with its unit."""
    return f"{number(value)} {unit}".strip()


def time(seconds: float | None) -> str:
    """Word a time."""
    if seconds is None:
        return "time unknown"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"


def memory(megabytes: float | None) -> str:
    """Word the memory of a kernel."""
    return "memory unknown" if megabytes is None else f"{megabytes:,.0f} MB"


def before(moved: Moved) -> str:
    """Word a baseline's value with its spread."""
    spread = "" if moved.spread is None else f" ± {number(moved.spread)}"
    return f"{number(moved.before)}{spread}"


def steps(moved: Moved) -> str:
    """Word by how many standard errors a value moved, and to which side."""
    errors = moved.standard_errors
    if errors is None:
        return "–"
    size = abs(errors)
    return f"{'−' if errors < 0 else '+'}{size:,.{1 if size < 100 else 0}f}"


def chance(p: float | None) -> str:
    """Word a probability."""
    if p is None:
        return "–"
    return f"< {SURE}" if p < SURE else f"{p:.3f}"


def interval(claim: Claim) -> str:
    """Word what a claim measured, with its interval where it has one."""
    ends = (claim.low, claim.high)
    if None in ends or ends == (claim.value, claim.value):
        return number(claim.value)
    return f"{number(claim.value)} [{number(ends[0])}, {number(ends[1])}]"


def of_which(profile: str, backbone: str | None, run: Run) -> str:
    """Name profile and backbone where a run has more than one pair of them."""
    pairs = {(one.profile, one.backbone) for one in run.settings} | {
        (profile, backbone)
    }
    return Setting(profile, backbone, None).label if len(pairs) > 1 else ""


def named(row: Named) -> str:
    """Word what only one side has."""
    if not row.name:
        return f"{title(row.chapter)}: the whole chapter"
    return f"{title(row.chapter)}: {row.name} ({row.kind})"


def passed_over(part: Part, comparison: Comparison | None) -> bool:
    """Say whether claims of this chapter that do not hold turn nothing red."""
    return part.setting.profile == "smoke" and comparison is None


def red(run: Run, comparison: Comparison | None) -> bool:
    """Say whether something needs to be looked at before this is merged."""
    return bool(run.failed) or not run.parts or bool(comparison and comparison.red)


def verdict(run: Run, comparison: Comparison | None) -> str:
    """Return the one sentence that a maintainer reads first."""
    if not run.parts:
        return "Red: nothing was run; records.json holds no chapter."
    if comparison is not None and (comparison.compared or comparison.red):
        return comparison.verdict
    if run.failed:
        count = f"{len(run.failed)} of {counted(len(run.parts), 'chapter')}"
        return f"Red: {count} did not run through; compared with no baseline."
    claims = sum(len(part.claims) for part in run.parts)
    held = sum(part.held for part in run.parts)
    return (
        f"Green: {counted(len(run.parts), 'chapter')} ran through, {held} of {claims} "
        "claims hold; compared with no baseline."
    )
