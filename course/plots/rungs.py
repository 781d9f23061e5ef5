"""The figure of a ladder: what every change of a training step costs and brings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.charts import _heading
from course.plots.figure import FLAT, Figure, canvas, finish, number

NEWEST, EARLIER, BEST = "#00436B", "#7095B5", "#D55E00"
BEST_WORDS = "#A84A00"  # darker: small letters need more contrast
REACH = 3  # so many times the fastest rung are drawn; a floor may lie beyond
LEAST = 1e-3  # seconds, where the axis of the first step begins
SMALL = 9.0  # points
NEEDED = (
    "rung", "images_a_second", "faster", "floor", "peak_mb", "first_seconds", "accuracy"
)  # fmt: skip


class _Rung(NamedTuple):
    name: str
    rate: float
    faster: float
    floor: float
    memory: float
    first: float
    mean: float
    low: float
    high: float


@kinds_checked
def rungs(rows: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Draw a row for each rung: its speed below its best, memory, wait and accuracy.

    The last rung is darker than the ones before it (chapter 12).

    Args:
        rows: of `ladder.climb`, one for each rung and seed, from the first rung on. The
            seeds of a rung share all but their accuracy; what could not be measured is
            not a number.
        title: one line above the plot.

    Raises:
        CourseError: there is no row, or one lacks a column.
    """
    steps = _grouped(rows)
    names = [step.name for step in steps]
    with canvas(0.27 * len(steps) + 1.15 + 0.25 * bool(title)) as figure:
        axes = figure.subplots(1, 4, sharey=True, width_ratios=(1.8, 1, 1, 1.2))
        figure.get_layout_engine().set(w_pad=0.06)
        _draw_rates(axes[0], steps)
        _draw_memory(axes[1], steps)
        _draw_first(axes[2], steps)
        _draw_accuracy(axes[3], steps)
        axes[0].set_yticks(range(len(steps)), names, fontsize=SMALL)
        axes[0].set_ylim(len(steps) - 0.4, -0.6)
        axes[0].get_yticklabels()[-1].set_fontweight("bold")
        _heading(figure, title, True, ["at best"] * 4)
        return finish(figure, _alt(steps, title), colours=FLAT)


def _grouped(rows: Sequence[Mapping[str, Any]]) -> list[_Rung]:
    if not rows:
        raise CourseError("There are no rungs to draw: expected one row or more.")
    seeds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        missing = [key for key in NEEDED if key not in row]
        if missing:
            raise CourseError(
                f"A row of the ladder has no {missing[0]!r}; expected the columns "
                f"{', '.join(NEEDED)}."
            )
        seeds.setdefault(str(row["rung"]), []).append(row)
    return [_rung(name, group) for name, group in seeds.items()]


def _rung(name: str, rows: Sequence[Mapping[str, Any]]) -> _Rung:
    shared = [float(rows[0][key]) for key in NEEDED[1:-1]]
    accuracy = np.array([float(row["accuracy"]) for row in rows])
    return _Rung(
        name,
        *shared,
        float(accuracy.mean()),
        float(accuracy.min()),
        float(accuracy.max()),
    )


def _draw_rates(axis: Axes, steps: Sequence[_Rung]) -> None:
    rates, floors = [s.rate for s in steps], [s.floor for s in steps]
    fastest = _ends([0.0, *rates])[1]
    _draw_bars(axis, rates, "measured")
    _scale(axis, 0, min(REACH * fastest, max(fastest, *_ends(floors))), _plain)
    _draw_floors(axis, floors, axis.get_xlim()[1])
    _tidy(axis, "images a second")
    texts = [_plain(rate) for rate in rates]
    _column(axis, texts)
    shift = 17 + 6.7 * max(map(len, texts))
    shares = [f"{s:.{int(s < 0.0995)}%}" if s else "–" for s in map(_share, steps)]
    _column(axis, shares, shift, BEST_WORDS)
    place = {"xycoords": "axes fraction", "textcoords": "offset points"}
    style = {"fontsize": SMALL, "color": BEST_WORDS}
    axis.annotate("of best", (1, 1), xytext=(shift, 5), **style, **place)


def _draw_floors(axis: Axes, floors: Sequence[float], reach: float) -> None:
    """Mark what is possible at best; an arrow at the edge where that is further."""
    inside = [floor if floor <= reach else math.nan for floor in floors]
    beyond = [reach if floor > reach else math.nan for floor in floors]
    places = range(len(floors))
    style: dict[str, Any] = {"color": BEST, "ls": "none", "clip_on": False}
    if not all(map(math.isnan, inside)):
        axis.plot(inside, places, marker="|", ms=13, mew=2.4, label="at best", **style)
    if not all(map(math.isnan, beyond)):
        axis.plot(beyond, places, marker=">", ms=6, label="best is beyond", **style)


def _draw_memory(axis: Axes, steps: Sequence[_Rung]) -> None:
    values = [step.memory for step in steps]
    _draw_bars(axis, values)
    _scale(axis, 0, _ends([0.0, *values])[1], _plain)
    _tidy(axis, "peak MB")
    _column(axis, [_plain(value) for value in values])


def _draw_bars(axis: Axes, values: Sequence[float], label: str = "_") -> None:
    tones = _tones(len(values))
    bars = axis.barh(range(len(values)), values, height=0.62, color=tones)
    bars[-1].set_label(label)


def _draw_first(axis: Axes, steps: Sequence[_Rung]) -> None:
    values = [s.first if math.isnan(s.first) else max(s.first, LEAST) for s in steps]
    low, high = (math.log10(value) for value in _ends(values))
    decades = range(math.floor(low), max(math.floor(low) + 1, math.ceil(high)) + 1)
    shown = decades if len(decades) <= 3 else (decades[0], decades[-1])
    axis.set_xscale("log")
    _draw_dots(axis, values)
    axis.set_xticks([10.0**e for e in shown], [f"{10.0**e:g}" for e in shown])
    axis.set_xticks([10.0**e for e in decades], minor=True)
    axis.tick_params(axis="x", which="minor", labelbottom=False)
    axis.set_xlim(10.0 ** (decades[0] - 0.15), 10.0 ** (decades[-1] + 0.15))
    _tidy(axis, "first step, s")
    _column(axis, [_plain(step.first) for step in steps])


def _draw_accuracy(axis: Axes, steps: Sequence[_Rung]) -> None:
    for place, (step, tone) in enumerate(zip(steps, _tones(len(steps)), strict=True)):
        span, label = [step.low, step.high], "all seeds" if step is steps[-1] else None
        axis.plot(span, [place, place], "|-", color=tone, lw=1.6, ms=8, label=label)
    _draw_dots(axis, [step.mean for step in steps])
    low, high = _ends([end for step in steps for end in (step.low, step.high)])
    spare = max(0.1 * (high - low), 0.002)
    wide = high - low > 0.4  # round ends would lie beyond what an accuracy can be
    _scale(axis, *((0, 1) if wide else (low - spare, high + spare)), number)
    _tidy(axis, "accuracy")
    _column(axis, [f"{s.mean:.3f}" if s.mean == s.mean else "–" for s in steps])


def _draw_dots(axis: Axes, values: Sequence[float]) -> None:
    tones = _tones(len(values))
    axis.scatter(values, range(len(values)), s=24, color=tones, zorder=3)


def _tones(count: int) -> list[str]:
    return [EARLIER] * (count - 1) + [NEWEST]


def _scale(axis: Axes, low: float, high: float, said: Callable[[float], str]) -> None:
    """Let an axis end at round numbers, and name no more than these two ends."""
    ticks = MaxNLocator(2).tick_values(low, high if high > low else low + 1)
    axis.set_xlim(ticks[0], ticks[-1])
    axis.set_xticks(ticks, [said(ticks[0]), *[""] * (len(ticks) - 2), said(ticks[-1])])


def _tidy(axis: Axes, title: str) -> None:
    axis.set_title(title, fontsize=9.5, loc="left")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=SMALL)


def _column(
    axis: Axes, texts: Sequence[str], shift: float = 9, tone: str = "#000000"
) -> None:
    """Write values to the right of a panel, where no bar and no mark can be."""
    for place, text in enumerate(texts):
        axis.annotate(
            text,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(shift, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=tone,
            fontweight="bold" if place + 1 == len(texts) else "normal",
            annotation_clip=False,
        )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest of the numbers that are known; 1 for none."""
    known = [value for value in values if math.isfinite(value)] or [1.0]
    return min(known), max(known)


def _plain(value: float) -> str:
    """Write a rate or a size without powers of ten; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else number(value)


def _alt(steps: Sequence[_Rung], title: str) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    count = f"{len(steps)} rung{'s' * (len(steps) > 1)}"
    return f"{start}A ladder of {count}. {' '.join(map(_in_words, steps))}"


def _in_words(step: _Rung) -> str:
    measured = math.isfinite(step.memory)
    memory = f"peak {_plain(step.memory)} MB" if measured else "memory not measured"
    return (
        f"{step.name}: {_plain(step.rate)} images a second, {number(step.faster)} "
        f"times the first, {_of_best(step)}; {memory}; first step {number(step.first)} "
        f"seconds; accuracy {number(step.mean)} ({number(step.low)} to "
        f"{number(step.high)})."
    )


def _of_best(step: _Rung) -> str:
    share = _share(step)
    if not share:
        return "its best unknown"
    return f"{number(100 * share)} % of the best ({_plain(step.floor)})"


def _share(step: _Rung) -> float:
    """Return which part of the best a rung reaches; 0 where that is not known."""
    known = math.isfinite(step.rate) and math.isfinite(step.floor) and step.floor > 0
    return step.rate / step.floor if known else 0.0
