"""A tiny chart of each record over past runs, drawn as SVG by hand."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from course.run_report.reading import Past, Run
from course.run_report.wording import measured, number
from course.runs import RATIO, Measured, Place
from course.syllabus import counted

if TYPE_CHECKING:
    from course.drift import Comparison

WIDTH, HEIGHT, EDGE = 150, 44, 6  # of a chart, in pixels
FLAT = 0.01  # of its size: half the height of a chart of values that are all the same


class Key(NamedTuple):
    """Which record of which chapter, in which size."""

    chapter: str
    profile: str
    backbone: str | None
    name: str


class Band(NamedTuple):
    """Where a single seed of the baseline may lie."""

    low: float
    high: float


@dataclass
class Series:
    """A record over the runs.

    Args:
        unit: of its values.
        runs: a list for each run, this one last: its values, one a seed; empty where
            the run did not measure it.
    """

    unit: str
    runs: list[list[float]] = field(default_factory=list)

    @property
    def means(self) -> list[float | None]:
        """The mean of each run; None where there is none."""
        return [fmean(values) if values else None for values in self.runs]

    @property
    def now(self) -> float | None:
        """The mean of this run."""
        return self.means[-1]


def collect(run: Run, past: Past) -> dict[Key, Series]:
    """Return every record of a run with what earlier runs measured of it.

    Args:
        run: the one that is reported.
        past: earlier ones, from the oldest on.
    """
    every = [*past.runs, run]
    found: dict[Key, Series] = {}
    for key, unit, _ in _values(run):
        found.setdefault(key, Series(unit, [[] for _ in every]))
    for place, one in enumerate(every):
        for key, _, value in _values(one):
            if key in found and value is not None:
                found[key].runs[place].append(value)
    return found


def _values(run: Run) -> Iterator[tuple[Key, str, float | None]]:
    for part in run.parts:
        profile, backbone = part.setting.profile, part.setting.backbone
        for record in part.records:
            key = Key(part.chapter, profile, backbone, record.name)
            yield key, record.unit, record.value


def outside(series: Series, band: Band | None) -> bool:
    """Say whether a seed of this run lies outside of the baseline's band."""
    return band is not None and any(
        not band.low <= value <= band.high for value in series.runs[-1]
    )


def chart(key: Key, series: Series, band: Band | None) -> str:
    """Return a record over the runs as an SVG with its description.

    Returns:
        Markup; empty where there is nothing to compare this run with.
    """
    values = [value for run in series.runs for value in run]
    if not values or (sum(map(bool, series.runs)) < 2 and band is None):
        return ""
    scale = _scale([*values, *(band or ())])
    across = _across(len(series.runs))
    kind = "out" if outside(series, band) else "now"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{html.escape(described(key, series, band))}</title>"
        f"{_shade(band, scale)}{_lines(series, across, scale)}"
        f"{_last(series, across[-1], scale, kind)}</svg>"
    )


def described(key: Key, series: Series, band: Band | None) -> str:
    """Return what a chart shows, in words."""
    said = [f"{key.name}: {measured(series.now, series.unit)} in this run"]
    earlier = [value for value in series.means[:-1] if value is not None]
    if earlier:
        span = f"{number(min(earlier))} to {number(max(earlier))}"
        said.append(f"{span} in {counted(len(earlier), 'earlier run')}")
    if band is not None:
        where = "outside" if outside(series, band) else "inside"
        ends = f"{number(band.low)} to {number(band.high)}"
        said.append(f"{where} the baseline's band, {ends}")
    return "; ".join(said)


class _Scale(NamedTuple):
    low: float
    high: float

    def y(self, value: float) -> str:
        share = (value - self.low) / (self.high - self.low)
        return _short(HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE))


def _scale(values: Sequence[float]) -> _Scale:
    low, high = min(values), max(values)
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return _Scale(low, high)
    half = FLAT * abs(low) or 1.0
    return _Scale(low - half, low + half)


def _across(runs: int) -> list[str]:
    step = (WIDTH - 2 * EDGE) / max(1, runs - 1)
    first = EDGE if runs > 1 else WIDTH / 2
    return [_short(first + place * step) for place in range(runs)]


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _shade(band: Band | None, scale: _Scale) -> str:
    if band is None:
        return ""
    top, bottom = float(scale.y(band.high)), float(scale.y(band.low))
    high = _short(max(1.0, bottom - top))
    return f'<rect width="{WIDTH}" y="{_short(top)}" height="{high}" class="band"/>'


def _lines(series: Series, across: Sequence[str], scale: _Scale) -> str:
    """Draw the means as a line with dots, and each run's seeds as an upright line."""
    line, dots, seeds, drawn = "", "", "", False
    for x, values, mean in zip(across, series.runs, series.means, strict=True):
        if mean is not None:
            line += f"{'L' if drawn else 'M'}{x} {scale.y(mean)}"
            dots += f"M{x} {scale.y(mean)}h0"
            if len(values) > 1:
                seeds += f"M{x} {scale.y(min(values))}V{scale.y(max(values))}"
        drawn = mean is not None
    paths = {"seeds": seeds, "past": line, "dots": dots}
    return "".join(f'<path class="{k}" d="{d}"/>' for k, d in paths.items() if d)


def _last(series: Series, x: str, scale: _Scale, kind: str) -> str:
    if series.now is None:
        return ""
    y = scale.y(series.now)
    if kind == "now":
        return f'<circle class="now" cx="{x}" cy="{y}" r="4"/>'
    left, top = _short(float(x) - 4), _short(float(y) - 4)
    return f'<rect class="out" x="{left}" y="{top}" width="8" height="8"/>'


def bands(
    comparison: Comparison | None, baselines: Mapping[Place, Measured]
) -> dict[Key, Band]:
    """Return the bands that are known: of the baselines, and of what moved.

    Times have none: baselines keep them as ratios, and charts show seconds.

    Args:
        comparison: of this run with the baselines.
        baselines: what they measured.
    """
    known = {}
    for moved in comparison.moved if comparison else ():
        if moved.unit != RATIO and moved.low is not None and moved.high is not None:
            key = Key(moved.chapter, moved.profile, moved.backbone, moved.name)
            known[key] = Band(moved.low, moved.high)
    for place, measured_there in baselines.items():
        known |= dict(_bands(place, measured_there))
    return known


def _bands(place: Place, there: Measured) -> Iterator[tuple[Key, Band]]:
    from course import drift

    for key, values in there.values.items():
        summary = drift.summarise(key, values.values())
        if key.kind in ("record", "memory") and key.unit != RATIO and summary.n > 1:
            name = Key(place.chapter, place.profile, place.backbone or None, key.name)
            yield name, Band(summary.low, summary.high)
