"""Evidence: recorded numbers, and lessons that are checks which can fail.

Every number that a chapter speaks of is recorded where it was computed, and stored in
the output of its cell under a MIME type of our own; a run of the workbook reads it back
from the executed notebook. There are no side files.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from course.arguments import kinds_checked
from course.errors import CourseError, unknown

RECORD_MIME = "application/vnd.course.record+json"
CLAIM_MIME = "application/vnd.course.claim+json"
PROFILES = ("smoke", "quick", "full")
HOLDS, FAILS = "#00735c", "#b84700"  # at least 4.5 to 1 against white
LEVEL = 0.9  # the lower end of a 90 % interval is the one-sided 95 % bound

T = TypeVar("T")
Value = float | Sequence[float]


class ClaimError(CourseError):
    """A lesson of a chapter did not hold in this run."""


class Interval(NamedTuple):
    """A mean and how far it may lie from the truth, given `n` independent values."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Profile:
    """How large this run is: ``"smoke"``, ``"quick"`` or ``"full"``, and its seed."""

    name: str
    seed: int = 0

    def pick(self, *, smoke: T, quick: T, full: T) -> T:
        """Return the value for this profile."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.name]


@dataclass
class _Run:
    profile: Profile
    records: list[dict[str, Any]]
    claims: list[dict[str, Any]]


_run = _Run(Profile("quick"), [], [])


@kinds_checked
def begin(profile: str, seed: int = 0) -> Profile:
    """Start a chapter: forget earlier records and return its profile.

    Args:
        profile: one of `PROFILES`.
        seed: the chapter's seed.

    Raises:
        CourseError: the profile is unknown, or the seed is no whole number from 0.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    if not isinstance(seed, int) or seed < 0:
        raise CourseError(f"The seed was {seed!r}; expected a whole number from 0.")
    _run.profile, _run.records, _run.claims = Profile(profile, seed), [], []
    return _run.profile


@kinds_checked
def interval(values: Value, level: float = LEVEL) -> Interval:
    """Return mean and Student-t interval of independent values (chapter 00).

    Args:
        values: one number a seed, subset or portion; a single number has no width.
        level: how often such an interval holds the true mean.

    Raises:
        CourseError: there are no values.
    """
    numbers = np.atleast_1d(np.asarray(values, dtype=float))
    if numbers.size == 0:
        raise CourseError("An interval was asked of no values; expected at least one.")
    mean, n = float(numbers.mean()), int(numbers.size)
    if n == 1:
        return Interval(mean, mean, mean, 1)
    from scipy import stats

    half = stats.t.ppf(0.5 + level / 2, n - 1) * numbers.std(ddof=1) / math.sqrt(n)
    return Interval(mean, mean - float(half), mean + float(half), n)


@kinds_checked
def record(name: str, value: Value, unit: str = "") -> None:
    """Show a number and store it in the output of the cell.

    Args:
        name: what it is, in words.
        value: a number, or one for each seed, subset or portion.
        unit: such as ``"s"`` or ``"MB"``; empty for shares and counts.
    """
    span = interval(value)
    row = {"name": name, "value": _round(span.mean), "unit": unit, **_spread(span)}
    _run.records.append(row)
    markup = _record_html(name, span, unit)
    text = f"{name} = {_worded(span, unit)}"
    _show({RECORD_MIME: row, "text/plain": text, "text/html": markup})


@kinds_checked
def claim(
    text: str,
    value: Value,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    between: tuple[float, float] | None = None,
) -> None:
    """Show whether a lesson holds, and stop the chapter where it does not.

    With several values it is the interval's end that must keep the bound: its lower
    end for `at_least`, its upper end for `at_most`, both for `between`.

    Args:
        text: the lesson, as the predicate of a sentence.
        value: a number, or one for each seed or subset.
        at_least: the smallest value with which the lesson holds.
        at_most: the largest.
        between: both.

    Raises:
        ClaimError: the lesson does not hold, and the profile is not ``"smoke"``.
        CourseError: not exactly one bound was given.
    """
    span = interval(value)
    bound, margin = _margin(span, at_least, at_most, between)
    holds = bool(margin >= 0)  # a NaN margin never holds
    row = {"text": text, "value": _round(span.mean), "bound": bound, "holds": holds}
    row |= {"margin": _round(margin), **_spread(span)}
    _run.claims.append(row)
    _show(_claim_bundle(row, span))
    if not holds and _run.profile.name != "smoke":
        raise ClaimError(
            f"{text!r} does not hold: {_worded(span)}, but expected {bound}. Run the "
            "chapter from a fresh kernel; if it stays so, that is worth a report."
        )


def _margin(
    span: Interval,
    at_least: float | None,
    at_most: float | None,
    between: tuple[float, float] | None,
) -> tuple[str, float]:
    given = [b for b in (at_least, at_most, between) if b is not None]
    if len(given) != 1:
        raise CourseError(
            f"A claim was given {len(given)} bounds; expected exactly one of at_least, "
            "at_most and between."
        )
    if at_least is not None:
        return f"at least {at_least:g}", span.low - at_least
    if at_most is not None:
        return f"at most {at_most:g}", at_most - span.high
    if np.shape(given[0]) != (2,):
        raise CourseError(f"A claim was between {given[0]!r:.60}; expected two bounds.")
    low, high = given[0]
    margin = min(span.low - low, high - span.high)
    if math.isnan(span.mean):
        margin = math.nan  # min() may have hidden it
    return f"between {low:g} and {high:g}", margin


@kinds_checked
def sentence(template: str, **values: Any) -> None:
    """Show a sentence whose figures come from results, as Markdown.

    Args:
        template: a format string, such as ``"The probe reaches {probe:.2f}."``.
        values: numbers, words, or sequences of numbers, which become their mean and
            interval.
    """
    ready = {
        name: _worded(interval(value)) if isinstance(value, list | tuple) else value
        for name, value in values.items()
    }
    try:
        text = template.format(**ready)
        names = {k: literal(v) for k, v in values.items() if isinstance(v, str)}
        shown = template.format(**{**ready, **names})
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise CourseError(
            f"The sentence {template!r:.80} does not fit what it was given "
            f"({', '.join(ready)}): {error}."
        ) from error
    _show({"text/markdown": shown, "text/plain": text})


def literal(text: str) -> str:
    """Return a text without what Markdown takes for a link, a picture, code or HTML.

    Names of classes and files come from others, and the page of an executed notebook
    would take what is markup in them at its word.
    """
    marked = re.sub(r"([\\`\[\]])", r"\\\1", text)
    return html.escape(" ".join(marked.split()), quote=False)


@kinds_checked
def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    caption: str = "",
) -> None:
    """Show results as a table, one row a mapping.

    Args:
        rows: mappings from column name to value.
        columns: which columns, in order; None for those of the first row.
        caption: one line above the table.
    """
    _show(table_bundle(rows, columns, caption))


@kinds_checked
def table_bundle(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    caption: str = "",
    *,
    order: tuple[str, bool] | None = None,
    right: bool = False,
) -> dict[str, str]:
    """Return a table as HTML and as plain text, by MIME type, for `table` and widgets.

    Args:
        rows: as `table` takes them.
        columns: as `table` takes them.
        caption: one line above the table.
        order: the column by which the rows are sorted, and whether from the largest;
            its heading says so.
        right: put columns of numbers to the right, so that they can be compared.
    """
    names = list(columns if columns is not None else rows[0] if rows else ())
    lines = [[cell(row.get(name, "")) for name in names] for row in rows if names]
    aligned = {
        place: "right"
        for place, name in enumerate(names)
        if right and any(as_number(row.get(name)) is not None for row in rows)
    }
    head = "".join(
        _head_html(name, aligned.get(place), order) for place, name in enumerate(names)
    )
    body = "".join(_row_html(line, aligned) for line in lines)
    markup = (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    return {"text/html": markup, "text/plain": _plain(caption, [names, *lines])}


def so_far() -> tuple[list[dict], list[dict]]:
    """Return copies of what this chapter has recorded and claimed, as `read` does."""
    return [dict(row) for row in _run.records], [dict(row) for row in _run.claims]


def summary() -> None:
    """Show all that the chapter has recorded and claimed so far, as one table."""
    rows = [
        {
            "what": row["name"],
            "value": _worded(_span(row), row["unit"]),
            "claim": "",
        }
        for row in _run.records
    ]
    rows += [
        {
            "what": row["text"],
            "value": _worded(_span(row)),
            "claim": f"{row['bound']}: {'holds' if row['holds'] else 'does not hold'}",
        }
        for row in _run.claims
    ]
    table(rows, ["what", "value", "claim"], "What this chapter measured")


def read(notebook: Mapping[str, Any]) -> tuple[list[dict], list[dict]]:
    """Return the records and the claims that an executed notebook holds.

    Args:
        notebook: as nbformat reads it.
    """
    bundles = [
        output.get("data", {})
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
    ]
    records, claims = (
        [dict(bundle[kind]) for bundle in bundles if kind in bundle]
        for kind in (RECORD_MIME, CLAIM_MIME)
    )
    return records, claims


def _show(bundle: dict[str, Any]) -> None:
    from IPython.display import display

    display(bundle, raw=True)


def _round(value: float) -> float | None:
    # Strict JSON has no NaN, and a notebook must stay readable.
    return round(value, 6) if math.isfinite(value) else None


def _spread(span: Interval) -> dict[str, Any]:
    return {"low": _round(span.low), "high": _round(span.high), "n": span.n}


def _span(row: Mapping[str, Any]) -> Interval:
    ends = (math.nan if row[k] is None else row[k] for k in ("value", "low", "high"))
    return Interval(*ends, row["n"])


def _number(value: float) -> str:
    if math.isfinite(value) and (value == int(value) or abs(value) >= 100):
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _worded(span: Interval, unit: str = "") -> str:
    tail = f" {unit}" if unit else ""
    if span.n == 1:
        return f"{_number(span.mean)}{tail}"
    ends = f"[{_number(span.low)}, {_number(span.high)}]"
    return f"{_number(span.mean)}{tail} {ends}"


def _record_html(name: str, span: Interval, unit: str) -> str:
    how = f", {LEVEL:.0%} interval of {span.n} values" if span.n > 1 else ""
    return (
        f"<div>{html.escape(name)} = <b>{html.escape(_worded(span, unit))}</b>"
        f"<small>{how}</small></div>"
    )


def _claim_bundle(row: Mapping[str, Any], span: Interval) -> dict[str, Any]:
    mark, word = ("✓", "holds") if row["holds"] else ("✗", "does not hold")
    tail = f"{_worded(span)}, expected {row['bound']}"
    # White on its own ground, which reads on light and dark pages alike.
    style = f"color:#ffffff;background-color:{HOLDS if row['holds'] else FAILS}"
    markup = (
        f'<div><b style="{style};padding:0 4px">{mark} {word}</b>: '
        f"{html.escape(row['text'])} <small>({html.escape(tail)})</small></div>"
    )
    plain = f"{mark} {word}: {row['text']} ({tail})"
    return {CLAIM_MIME: dict(row), "text/plain": plain, "text/html": markup}


def cell(value: Any) -> str:
    """Word a value as `table` does: numbers rounded, several as mean and interval."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Interval):
        return _worded(value)
    if isinstance(value, list | tuple) and value and isinstance(value[0], float):
        return _worded(interval(value))
    return _number(value) if isinstance(value, float) else str(value)


def as_number(value: Any) -> float | None:
    """Return what a cell of a table counts as in an order: a number, a mean, or None.

    Args:
        value: a cell's value; a text such as ``"1,200"`` counts as its number.
    """
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, Interval):
        return value.mean
    if isinstance(value, list | tuple) and value and isinstance(value[0], float):
        return interval(value).mean
    try:
        number = float(value.replace(",", "") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _head_html(
    name: str, aligned: str | None, order: tuple[str, bool] | None = None
) -> str:
    style = f' style="text-align:{aligned}"' if aligned else ""
    if order is None or order[0] != name:
        return f'<th scope="col"{style}>{html.escape(name)}</th>'
    word, sign = ("descending", "▼") if order[1] else ("ascending", "▲")
    return (
        f'<th scope="col" aria-sort="{word}"{style}>{html.escape(name)} '
        f'<span aria-hidden="true">{sign}</span></th>'
    )


def _row_html(cells: Sequence[str], aligned: Mapping[int, str]) -> str:
    first, *rest = (html.escape(text) for text in cells)
    start = aligned.get(0, "left")
    return (
        f'<tr><th scope="row" style="text-align:{start}">{first}</th>'
        + "".join(
            f'<td style="text-align:{aligned.get(place, "left")}">{text}</td>'
            for place, text in enumerate(rest, start=1)
        )
        + "</tr>"
    )


def _plain(caption: str, lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    return "\n".join(filter(None, [caption, *(line.rstrip() for line in text)]))
