"""Figures made of numbers: curves, bars, and dots for each seed beside a cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from course.arguments import kinds_checked
from course.errors import CourseError, shown
from course.plots.figure import (
    COLOURS,
    FLAT,
    WIDTH,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    marker,
    number,
    to_array,
)

LINES = ("-", "--", "-.", ":")


@kinds_checked
def curves(
    series: Mapping[str, Sequence[Any]],
    xlabel: str = "",
    ylabel: str = "",
    logx: bool = False,
    title: str = "",
    ylim: tuple[float, float] | None = None,
    logy: bool = False,
    ticks: Mapping[float, str] | None = None,
) -> Figure:
    """Draw one line for each series, with its band where it has one.

    Args:
        series: name to ``(x, y)`` or ``(x, y, low, high)``, all of one length.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        logx: a logarithmic x axis, for learning rates and numbers of labels.
        title: one line above the plot.
        ylim: ends of the y axis.
        logy: a logarithmic y axis.
        ticks: names of places on the x axis, such as layers.
    """
    lines = {str(name): _line(str(name), row) for name, row in series.items()}
    with canvas(3.7) as figure:
        axis = figure.subplots()
        for index, (name, row) in enumerate(lines.items()):
            _draw_line(axis, index, name, row)
        axis.set(xlabel=xlabel, ylabel=ylabel, ylim=ylim)
        axis.set_xscale("log" if logx else "linear")
        axis.set_yscale("log" if logy else "linear")
        _few_ticks(axis, lines, logx)
        if ticks:
            axis.set_xticks(list(ticks), list(ticks.values()))
        _heading(figure, title, len(lines) > 1, lines)
        alt = _curves_alt(lines, xlabel, ylabel, title, dict(ticks or {}))
        return finish(figure, alt, colours=FLAT)


def _line(name: str, row: Sequence[Any]) -> list[np.ndarray]:
    if not isinstance(row, list | tuple) and np.ndim(row) != 2:
        raise CourseError(
            f"Series {name!r} is {shown(row)}; expected (x, y) or (x, y, low, high)."
        )
    if len(row) not in (2, 4):
        raise CourseError(
            f"Series {name!r} has {len(row)} parts; expected (x, y) or "
            "(x, y, low, high)."
        )
    arrays = [np.atleast_1d(to_array(part)).astype(float) for part in row]
    if len({len(part) for part in arrays}) != 1:
        lengths = ", ".join(str(len(part)) for part in arrays)
        raise CourseError(f"The parts of series {name!r} differ in length: {lengths}.")
    return arrays


def _draw_line(axis: Axes, index: int, name: str, row: Sequence[np.ndarray]) -> None:
    x, y, *band = row
    # A dozen markers on a long curve, each series starting at another place.
    every = max(1, len(x) // 12)
    start = (index * every // 3) % every if len(x) > 12 else 0
    axis.plot(
        x,
        y,
        LINES[index % len(LINES)],
        color=colour(index),
        marker=marker(index),
        markevery=(start, every),
        label=name,
    )
    if band:
        axis.fill_between(x, band[0], band[1], color=colour(index), alpha=0.18, lw=0)


def _few_ticks(axis: Axes, lines: Mapping[str, Any], logx: bool) -> None:
    """On a logarithmic axis, name the places that were measured, if they are few."""
    places = sorted({float(x) for row in lines.values() for x in row[0]})
    if logx and len(places) <= 9:
        axis.set_xticks(places, [number(place) for place in places])
        axis.minorticks_off()


def _heading(figure: Any, title: str, legend: bool, names: Any) -> None:
    """Put the title above and the legend below the plot: they cover nothing."""
    if title:
        figure.suptitle(title, fontsize=11)
    if legend:
        across = 4 if max(len(str(n)) for n in names) < 18 else 2
        figure.legend(loc="outside lower center", ncols=min(across, len(names)))


def _curves_alt(
    lines: Mapping[str, Any], x: str, y: str, title: str, ticks: Mapping[float, str]
) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    parts = []
    for name, (xs, ys, *_) in lines.items():
        if not len(xs):
            parts.append(f"{name} is empty")
            continue
        lowest, highest = np.nanmin(ys), np.nanmax(ys)
        text = (
            f"{name} goes from {number(ys[0])} at {_place(xs[0], ticks)} "
            f"to {number(ys[-1])} at {_place(xs[-1], ticks)}"
        )
        if len(xs) > 2:
            text += f", between {number(lowest)} and {number(highest)}"
        parts.append(text)
    return f"{start}Curves of {y or 'y'} against {x or 'x'}: {'; '.join(parts)}."


def _place(x: float, ticks: Mapping[float, str]) -> str:
    return ticks.get(float(x)) or number(x)


@kinds_checked
def bars(
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
    references: Mapping[str, float] | None = None,
    xlabel: str = "",
    title: str = "",
) -> Figure:
    """Draw a horizontal bar for each name, and lines to compare them with.

    Args:
        names: strategies, layers or classes, from top to bottom.
        values: one for each name.
        low: lower ends of their intervals.
        high: upper ends of their intervals.
        references: name to value of dashed lines, such as chance.
        xlabel: what the values are, with their unit.
        title: one line above the plot.
    """
    value = to_array(values).astype(float)
    if len(names) != len(value):
        raise CourseError(f"There are {len(names)} names for {len(value)} bars.")
    references = dict(references or {})
    ends = None if low is None or high is None else (to_array(low), to_array(high))
    with canvas(0.36 * len(value) + 0.8 + 0.28 * (bool(title) + bool(references))) as f:
        axis = f.subplots()
        _draw_bars(axis, value, ends)
        for index, (name, place) in enumerate(references.items()):
            style = LINES[1:][index % 3]
            axis.axvline(place, color=colour(index + 1), ls=style, label=name)
        axis.set_yticks(range(len(value)), [str(name) for name in names])
        axis.set(xlabel=xlabel, ylim=(len(value) - 0.4, -0.6))
        _heading(f, title, bool(references), references)
        return finish(
            f, _bars_alt(names, value, ends, references, xlabel, title), colours=FLAT
        )


def _draw_bars(axis: Axes, value: np.ndarray, ends: Any) -> None:
    places = np.arange(len(value))
    axis.barh(places, value, color=COLOURS[0], height=0.62)
    tips = value
    if ends is not None:
        spans = np.abs(np.stack([value - ends[0], ends[1] - value]))
        axis.errorbar(value, places, xerr=spans, fmt="none", ecolor="#222", capsize=3)
        tips = np.maximum(value, ends[1])
    reach = max(float(np.nanmax(tips)), 0.0) or 1.0
    for place, tip, height in zip(places, tips, value, strict=True):
        axis.text(
            max(tip, 0) + reach * 0.015,
            place,
            f"{height:.2f}" if reach <= 1.5 else number(height),
            va="center",
            fontsize=9.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    axis.set_xlim(min(0.0, float(np.nanmin(value)) * 1.1), reach * 1.12)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _bars_alt(
    names: Sequence[str], value: Any, ends: Any, references: Any, x: str, title: str
) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    parts = []
    for index, name in enumerate(names):
        text = f"{name} {number(value[index])}"
        if ends is not None:
            text += f" ({number(ends[0][index])} to {number(ends[1][index])})"
        parts.append(text)
    lines = [f"{name} {number(place)}" for name, place in references.items()]
    tail = f" Dashed lines: {listed(lines)}." if lines else ""
    return f"{start}Bars of {x or 'values'}: {listed(parts, 16)}.{tail}"


@kinds_checked
def dot_table(
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    cost: Sequence[float] | None = None,
    intervals: Sequence[tuple[float, float]] | None = None,
    xlabel: str = "accuracy",
    cost_label: str = "seconds",
    title: str = "",
) -> Figure:
    """Draw a dot for each seed and an interval for each strategy, beside its cost.

    Args:
        names: strategies, from top to bottom.
        values: for each strategy its values over the seeds.
        cost: one number for each strategy; left out, so is its panel.
        intervals: (low, high) for each strategy; by default lowest and highest seed.
        xlabel: what the values are.
        cost_label: what the cost is, with its unit.
        title: one line above the plot.
    """
    rows = [to_array(row).astype(float) for row in values]
    if not len(names) == len(rows) == len(rows if cost is None else cost):
        raise CourseError("Each strategy needs one row of values and one cost.")
    spans = intervals or [(row.min(), row.max()) for row in rows]
    with canvas(0.4 * len(rows) + 0.85 + 0.28 * bool(title), WIDTH) as figure:
        ratios = [1] if cost is None else [2.6, 1]
        axes = figure.subplots(
            1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios
        )[0]
        _draw_dots(axes[0], rows, spans)
        axes[0].set_yticks(range(len(rows)), [str(name) for name in names])
        axes[0].set(xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6))
        if cost is not None:
            _draw_cost(axes[1], to_array(cost).astype(float), cost_label)
        _heading(figure, title, False, names)
        alt = _dots_alt(names, rows, spans, cost, (xlabel, cost_label, title))
        return finish(figure, alt, colours=FLAT)


def _draw_dots(axis: Axes, rows: Sequence[np.ndarray], spans: Any) -> None:
    for place, (row, (low, high)) in enumerate(zip(rows, spans, strict=True)):
        axis.plot([low, high], [place, place], color=COLOURS[5], lw=7, alpha=0.6)
        axis.plot(row, [place] * len(row), "o", mfc="none", mec=COLOURS[0], ms=6.5)
        axis.plot(row.mean(), place, "|", color="#000000", ms=15, mew=2.2)
    axis.margins(x=0.06)
    axis.tick_params(axis="y", length=0)


def _draw_cost(axis: Axes, cost: np.ndarray, label: str) -> None:
    places = range(len(cost))
    axis.barh(places, cost, color="#9A9A9A", height=0.5)
    reach = float(cost.max()) or 1.0
    for place, value in zip(places, cost, strict=True):
        axis.text(value + 0.03 * reach, place, number(value), va="center", fontsize=9.5)
    axis.set(xlabel=label, xlim=(0, reach * 1.35))
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _dots_alt(
    names: Sequence[str], rows: Any, spans: Any, cost: Any, labels: tuple[str, ...]
) -> str:
    xlabel, cost_label, title = labels
    start = f"{title.rstrip('.')}. " if title else ""
    parts = []
    for index, name in enumerate(names):
        low, high = spans[index]
        text = (
            f"{name} mean {number(rows[index].mean())} over {len(rows[index])} seeds "
            f"({number(low)} to {number(high)})"
        )
        if cost is not None:
            text += f", {number(cost[index])} {cost_label}"
        parts.append(text)
    return f"{start}{xlabel.capitalize()} of each strategy: {'; '.join(parts)}."
