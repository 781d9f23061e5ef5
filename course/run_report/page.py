"""The report as one HTML page that fetches nothing and needs no script."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from course.run_report import charts, wording
from course.run_report.charts import Band, Key, Series
from course.run_report.reading import Claim, Part, Past, Run, Setting
from course.run_report.wording import named, title
from course.syllabus import counted

if TYPE_CHECKING:
    from course.drift import Comparison, Moved, Named

FIRST = 12  # rows of a long table that are not folded
ROOMY = 3  # runs with which a cell of the matrix has room for a single line
FEW = 12  # lines of a list that are not folded


class Told(NamedTuple):
    """All that the page is made of."""

    run: Run
    past: Past
    comparison: Comparison | None
    series: Mapping[Key, Series]
    bands: Mapping[Key, Band]


def page(told: Told) -> str:
    """Return the report as HTML.

    Args:
        told: the run, earlier ones, and how it compares.
    """
    style = files("course").joinpath("run_report.css").read_text("utf-8")
    parts = (
        _header(told),
        _moved(told),
        _matrix(told.run),
        _claims(told.run),
        _records(told),
        _environment(told),
        _remarks(told),
    )
    return wording.clean(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>A run of the workbook</title><style>{style}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def text(value: object) -> str:
    """Escape a text for HTML, within attributes too."""
    return html.escape(str(value), quote=True)


# The first ten seconds ----------------------------------------------------------------


def _header(told: Told) -> str:
    run = told.run
    kind, mark = ("bad", "✗") if wording.red(run, told.comparison) else ("good", "✓")
    made = run.made.strftime("%d %B %Y, %H:%M").lstrip("0")
    settings = counted(len(run.settings), "run")
    return (
        f'<header><h1>A run of the workbook</h1><p class="about">{text(made)}: '
        f"{counted(len(run.chapters), 'chapter')}, {settings}</p>"
        f'<p class="verdict {kind}"><b aria-hidden="true">{mark}</b> '
        f"{text(wording.verdict(run, told.comparison))}</p>"
        f"{_tiles(told)}{_failures(told)}</header>"
    )


def _tiles(told: Told) -> str:
    run, comparison = told.run, told.comparison
    claims = sum(len(part.claims) for part in run.parts)
    tiles = {
        "ran through": f"{len(run.parts) - len(run.failed)} of {len(run.parts)}",
        "claims hold": f"{sum(part.held for part in run.parts):,} of {claims:,}",
    }
    if comparison is not None and comparison.compared:
        reds = sum(row.red for row in comparison.moved)
        tiles["numbers moved"] = f"{reds:,} of {comparison.compared:,}"
        if comparison.same_seed:
            same = f"{comparison.exact:,} of {comparison.same_seed:,}"
            tiles["same seed, same value"] = same
    tiles["computing"] = wording.time(sum(part.seconds or 0 for part in run.parts))
    peaks = [part.peak_mb for part in run.parts if part.peak_mb is not None]
    tiles["most memory"] = wording.memory(max(peaks, default=None))
    items = "".join(
        f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>"
        for name, value in tiles.items()
    )
    return f"<dl>{items}</dl>"


def _failures(told: Told) -> str:
    lines = [_failure(part) for part in told.run.failed]
    lines += [
        _broken(part, claim)
        for part in told.run.parts
        if part.ok  # else it is what ended the chapter
        for claim in part.claims
        if not claim.holds
    ]
    if not lines:
        return ""
    return f"<h2>What failed</h2>{_list(lines, 'failures')}"


def _failure(part: Part) -> str:
    name = text(title(part.chapter))
    linked = f'<a href="{text(part.address)}">{name}</a>' if part.page else name
    said = text(part.error or "no message was kept")
    return f"{linked} <small>{text(part.setting.label)}</small><code>{said}</code>"


def _broken(part: Part, claim: Claim) -> str:
    return (
        f"{text(title(part.chapter))} <small>{text(part.setting.label)}</small>: "
        f"“{text(claim.text)}” does not hold: {text(wording.interval(claim))}, "
        f"expected {text(claim.bound)}. The chapter went on, as the smoke profile does."
    )


def _list(lines: Sequence[str], kind: str = "") -> str:
    """List lines of markup; what are more than a few of them, folded."""
    named = f' class="{kind}"' if kind else ""
    shown = f"<ul{named}>{_items(lines[:FEW])}</ul>"
    rest = lines[FEW:]
    if not rest:
        return shown
    more = f"<ul{named}>{_items(rest)}</ul>"
    return f"{shown}<details><summary>{len(rest)} more</summary>{more}</details>"


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{line}</li>" for line in lines)


# What moved ---------------------------------------------------------------------------

NOTHING = {
    True: "Nothing moved by more than chance.",
    False: "Nothing could be compared: no baseline holds a number of this run.",
}
MOVED = ("what", "before", "now", "standard errors", "adjusted p", "runs", "why")


def _moved(told: Told) -> str:
    comparison = told.comparison
    if comparison is None:
        return (
            "<h2>What moved</h2><p>This run was compared with no baseline: "
            "<code>course compare</code> does it.</p>"
        )
    rows = [_moved_row(row, told) for row in comparison.moved]
    said = "" if rows else f"<p>{NOTHING[bool(comparison.compared)]}</p>"
    table = _folded(_head(MOVED), rows, "moved", "What moved")
    gone, new = comparison.gone, comparison.new
    return (
        f"<h2>What moved</h2>{said}{table}"
        f"{_named('Gone: the baseline has it, this run does not', gone, told.run)}"
        f"{_named('New: this run has it, the baseline does not', new, told.run)}"
    )


def _moved_row(row: Moved, told: Told) -> str:
    kind, word = ("bad", "✗ red") if row.red else ("note", "○ note")
    key = Key(row.chapter, row.profile, row.backbone, row.name)
    series = told.series.get(key) if row.kind == "record" else None
    drawn = charts.chart(key, series, told.bands.get(key)) if series else ""
    size = wording.of_which(row.profile, row.backbone, told.run)
    about = " · ".join(filter(None, [title(row.chapter), row.kind, size]))
    numbers = (
        wording.before(row),
        wording.measured(row.now, row.unit),
        wording.steps(row),
        wording.chance(row.p_adjusted),
    )
    cells = "".join(f'<td class="number">{text(cell)}</td>' for cell in numbers)
    return (
        f'<tr><th scope="row"><b class="{kind}">{word}</b> {text(row.name)}'
        f"<small>{text(about)}</small></th>{cells}<td>{drawn}</td>"
        f'<td class="why">{text(row.reason)}</td></tr>'
    )


def _named(heading: str, rows: Sequence[Named], run: Run) -> str:
    if not rows:
        return ""
    lines = [f"{text(named(row))}{_size(row, run)}" for row in rows]
    return f"<h3>{heading} ({len(rows)})</h3>{_list(lines)}"


def _size(row: Named, run: Run) -> str:
    size = wording.of_which(row.profile, row.backbone, run)
    return f" <small>{text(size)}</small>" if size else ""


def _folded(head: str, rows: Sequence[str], kind: str, name: str) -> str:
    """Return a table in a box that scrolls; its later rows folded, where there are."""
    if not rows:
        return ""
    first = _table(head, rows[:FIRST], kind, name)
    rest = rows[FIRST:]
    if not rest:
        return first
    more = _table(head, rest, kind, f"{name}, continued")
    return f"{first}<details><summary>{len(rest)} more</summary>{more}</details>"


def _table(head: str, rows: Sequence[str], kind: str, name: str, foot: str = "") -> str:
    end = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(name)}">'
        f'<table class="{kind}"><thead>{head}</thead><tbody>{"".join(rows)}</tbody>'
        f"{end}</table></div>"
    )


def _head(names: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    return f"<tr>{cells}</tr>"


# Chapters and runs --------------------------------------------------------------------


def _matrix(run: Run) -> str:
    if not run.parts:
        return ""
    cells = {(part.chapter, part.setting): part for part in run.parts}
    heads = "".join(f'<th scope="col">{_words(one)}</th>' for one in run.settings)
    rows = [
        f'<tr><th scope="row">{text(title(chapter))}</th>'
        + "".join(_cell(cells.get((chapter, one))) for one in run.settings)
        + "</tr>"
        for chapter in run.chapters
    ]
    head = f'<tr><th scope="col">chapter</th>{heads}</tr>'
    sums = "".join(_sum(run, setting) for setting in run.settings)
    kind = "roomy" if len(run.settings) <= ROOMY else "tight"
    foot = f'<tr><th scope="row">together</th>{sums}</tr>'
    return (
        "<h2>Chapters and runs</h2><p>A chapter leads to its executed notebook, a "
        "failed one to the cell that failed. Then its time, the most memory that its "
        "kernel held, and how many of its claims hold.</p>"
        f"{_table(head, rows, f'matrix {kind}', 'Chapters and runs', foot)}"
    )


def _words(setting: Setting) -> str:
    return "<br>".join(text(word) for word in setting.words)


def _cell(part: Part | None) -> str:
    if part is None:
        return '<td class="none">– not run</td>'
    kind, word = ("ok", "✓ ok") if part.ok else ("failed", "✗ failed")
    linked = f'<a href="{text(part.address)}">{word}</a>' if part.page else word
    about = f"{wording.time(part.seconds)} · {wording.memory(part.peak_mb)}"
    claims = f"{part.held} of {counted(len(part.claims), 'claim')}"
    lacking = " lacking" if part.held < len(part.claims) else ""
    return (
        f'<td class="{kind}"><b>{linked}</b><small>{text(about)}</small>'
        f'<small class="held{lacking}">{claims}</small></td>'
    )


def _sum(run: Run, setting: Setting) -> str:
    parts = [part for part in run.parts if part.setting == setting]
    ok = sum(part.ok for part in parts)
    seconds = wording.time(sum(part.seconds or 0 for part in parts))
    return f"<td>{ok} of {len(parts)} ok<small>{seconds}</small></td>"


# Claims -------------------------------------------------------------------------------

CLAIMS = ("margin", "claim", "measured", "expected", "held in")


class Closest(NamedTuple):
    """A claim where it came closest to its bound, of all runs."""

    part: Part
    claim: Claim
    held: int
    runs: int

    @property
    def order(self) -> tuple[bool, float]:
        """Those that do not hold first, then by how little room was left."""
        share = self.claim.share
        return self.held == self.runs, 1e9 if share is None else share


def closest(run: Run) -> list[Closest]:
    """Return every claim where it came closest to its bound, the closest first."""
    groups: dict[tuple, list[tuple[Part, Claim]]] = defaultdict(list)
    for part in run.parts:
        for claim in part.claims:
            size = part.setting.profile, part.setting.backbone
            groups[part.chapter, *size, claim.text].append((part, claim))
    found = []
    for pairs in groups.values():
        held = sum(claim.holds for _, claim in pairs)
        every = [Closest(part, claim, held, len(pairs)) for part, claim in pairs]
        found.append(min(every, key=lambda one: (one.claim.holds, one.order)))
    return sorted(found, key=lambda one: one.order)


def _claims(run: Run) -> str:
    rows = [_claim(one, run) for one in closest(run)]
    if not rows:
        return ""
    return (
        "<h2>Claims, the closest first</h2><p>The margin is how far inside its bound "
        "the nearer end of the interval lies, as a share of the bound (of the value, "
        "where that is larger; of half the width between two bounds). Of several runs "
        "the one with the least is shown.</p>"
        f"{_folded(_head(CLAIMS), rows, 'claims', 'Claims')}"
    )


def _claim(one: Closest, run: Run) -> str:
    part, claim = one.part, one.claim
    mark = "✓" if one.held == one.runs else "✗"
    kind = "held" if one.held == one.runs else "failed"
    several = len(run.settings) > 1
    where = (
        f"{title(part.chapter)} · {part.setting.label}"
        if several
        else title(part.chapter)
    )
    name = text(claim.text)
    linked = f'<a href="{text(part.page)}">{name}</a>' if part.page else name
    return (
        f'<tr>{_share(claim)}<th scope="row">{linked}<small>{text(where)}</small></th>'
        f'<td class="number">{text(wording.interval(claim))}</td>'
        f'<td class="bound">{text(claim.bound)}</td>'
        f'<td class="{kind}">{mark} {one.held} of {one.runs}</td></tr>'
    )


def _share(claim: Claim) -> str:
    share = claim.share
    if share is None:
        return '<td class="bar">–</td>'
    full = round(100 * min(1.0, max(0.0, share)))
    return f'<td class="bar" style="--share:{full}%">{text(percent(share))}</td>'


def percent(share: float) -> str:
    """Word a share; a small one with the digits that tell it from nothing."""
    digits = 1 if abs(share) < 0.1 else 0
    whole = round(100 * share, digits) + 0.0  # no zero below nothing
    return f"{whole:.{digits}f} %".replace("-", "−")


# Records over runs --------------------------------------------------------------------


def _records(told: Told) -> str:
    if not told.series:
        return ""
    groups: dict[str, list[str]] = defaultdict(list)
    out: dict[str, int] = defaultdict(int)
    for key, series in told.series.items():
        band = told.bands.get(key)
        groups[key.chapter].append(_small(key, series, band, told.run))
        out[key.chapter] += charts.outside(series, band)
    folds = "".join(
        _fold(chapter, groups[chapter], out[chapter]) for chapter in sorted(groups)
    )
    return f"<h2>Every number, over the runs</h2>{_legend(told)}{folds}"


def _legend(told: Told) -> str:
    count = counted(len(told.past.runs), "earlier run")
    if not told.past.runs and not told.bands:
        return (
            "<p>Neither earlier runs nor a baseline are at hand to draw them with.</p>"
        )
    return (
        f"<p>From left to right: {count}, then this one, the large dot. A small dot is "
        "the mean over the seeds of a run, an upright line its smallest and its "
        "largest value. Grey is the baseline's band for one seed; what left it is a "
        "square.</p>"
    )


def _fold(chapter: str, shown: Sequence[str], out: int) -> str:
    away = f', <b class="bad">{out} outside the band</b>' if out else ""
    return (
        f"<details><summary>{text(title(chapter))}: {counted(len(shown), 'number')}"
        f'{away}</summary><div class="small">{"".join(shown)}</div></details>'
    )


def _small(key: Key, series: Series, band: Band | None, run: Run) -> str:
    size = wording.of_which(key.profile, key.backbone, run)
    more = f" <small>{text(size)}</small>" if size else ""
    kind = ' class="away"' if charts.outside(series, band) else ""
    value = text(wording.measured(series.now, series.unit))
    return (
        f"<figure{kind}>{charts.chart(key, series, band)}<figcaption>{text(key.name)}"
        f"{more} <b>{value}</b></figcaption></figure>"
    )


# Where it ran -------------------------------------------------------------------------


def _environment(told: Told) -> str:
    own = _facts(told.run)
    if told.comparison is None:
        return f"<h2>Where it ran</h2>{own}" if own else ""
    rows = [
        f'<tr><th scope="row">{text(one.what)}</th><td>{text(one.before)}</td>'
        f"<td>{text(one.now)}</td></tr>"
        for one in told.comparison.changed
    ]
    table = _table(
        _head(("what", "baseline", "this run")), rows, "changed", "Differences"
    )
    said = table if rows else "<p>Machine and versions are the baseline's.</p>"
    whole = f"<details><summary>All that is known of this run</summary>{own}</details>"
    return f"<h2>Where it ran, beside the baseline</h2>{said}{whole if own else ''}"


def _facts(run: Run) -> str:
    found: dict[str, set[str]] = defaultdict(set)
    for part in run.parts:
        for what, value in part.environment.items():
            found[what].add(value)
    items = "".join(
        f"<div><dt>{text(what)}</dt><dd>{text(' and '.join(sorted(values)))}</dd></div>"
        for what, values in found.items()
    )
    return f"<dl>{items}</dl>" if items else ""


def _remarks(told: Told) -> str:
    notes = told.comparison.notes if told.comparison else ()
    lines = [text(line) for line in (*notes, *told.past.left_out)]
    return f"<h2>What could not be compared</h2>{_list(lines)}" if lines else ""
