"""Figures of chapter 06: paired differences, what is gained and kept, tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.charts import _heading
from course.plots.figure import (
    FLAT,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    marker,
    number,
    to_array,
)

LEVEL = 0.9  # of the intervals, as in `evidence`
Span = tuple[float, float, float]


@kinds_checked
def differences(
    series: Mapping[str, Mapping[str, Sequence[float]]],
    before: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    xlabel: str = "difference",
    title: str = "",
    said: tuple[str, str] = ("this run", "shipped table"),
) -> Figure:
    """Draw means with 90 % intervals around a line at zero, a row a name (chapter 06).

    Args:
        series: name of a series, such as a strategy, to row to values, one a seed.
        before: the same of runs that were made earlier; drawn thin and hollow, and
            first in the order of the rows.
        xlabel: what the values are, with their unit.
        title: one line above the plot.
        said: what `series` and `before` are, for the legend and the words.

    Raises:
        CourseError: there is nothing to draw, or a row has no value.
    """
    known = [*(before or {}).values(), *series.values()]
    rows = list(dict.fromkeys(str(name) for values in known for name in values))
    if not rows:
        raise CourseError("There are no differences to draw; expected one or more.")
    spans = {name: _spans(values) for name, values in series.items()}
    old = {name: _spans(values) for name, values in (before or {}).items()}
    with canvas(0.34 * len(rows) * max(1.3, len(spans)) ** 0.7 + 1.3) as figure:
        axis = figure.subplots()
        axis.axvline(0, color="#222222", lw=1)
        for index, name in enumerate(spans):
            shift = (index - (len(spans) - 1) / 2) * 0.62 / len(spans)
            _row_of(axis, index, rows, spans[name], shift, name)
            _row_of(axis, index, rows, old.get(name, {}), shift + 0.1, None)
        axis.set_yticks(range(len(rows)), rows)
        axis.set(xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6))
        axis.tick_params(axis="y", length=0)
        note = f"Filled: {said[0]}. Hollow: {said[1]}." if old else ""
        _heading(figure, "\n".join(filter(None, [title, note])), len(spans) > 1, spans)
        return finish(
            figure, _differences_alt(spans, old, (xlabel, title, *said)), colours=FLAT
        )


def _spans(values: Mapping[str, Sequence[float]]) -> dict[str, Span]:
    return {str(name): _span(str(name), row) for name, row in values.items()}


def _span(name: str, values: Sequence[float]) -> Span:
    numbers = np.atleast_1d(to_array(values)).astype(float)
    if not len(numbers):
        raise CourseError(f"{name!r} has no value; expected one for each seed.")
    mean = float(numbers.mean())
    if len(numbers) == 1:
        return mean, mean, mean
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(numbers) - 1))
    half *= float(numbers.std(ddof=1)) / math.sqrt(len(numbers))
    return mean, mean - half, mean + half


def _row_of(
    axis: Axes,
    index: int,
    rows: Sequence[str],
    spans: Mapping[str, Span],
    shift: float,
    label: str | None,
) -> None:
    """Draw one series: filled with a label, or thin and hollow without one."""
    fresh = label is not None
    if not spans:
        return
    places = [rows.index(name) + shift for name in spans]
    columns = zip(*spans.values(), strict=True)
    means, lows, highs = (np.array(column) for column in columns)
    axis.errorbar(
        means,
        places,
        xerr=np.abs(np.stack([means - lows, highs - means])),
        fmt=marker(index),
        color=colour(index),
        mfc=colour(index) if fresh else "white",
        ms=7.5 if fresh else 5,
        elinewidth=2 if fresh else 0.9,
        capsize=3 if fresh else 0,
        label=label,
        zorder=3 if fresh else 2,
    )


def _differences_alt(
    spans: Mapping[str, Mapping[str, Span]],
    old: Mapping[str, Mapping[str, Span]],
    words: tuple[str, str, str, str],
) -> str:
    xlabel, title, now, then = words
    start = f"{title.rstrip('.')}. " if title else ""
    text = f"{start}{xlabel[:1].upper()}{xlabel[1:]}, {now}: {_in_words(spans)}."
    return f"{text} {then[:1].upper()}{then[1:]}: {_in_words(old)}." if old else text


def _in_words(spans: Mapping[str, Mapping[str, Span]]) -> str:
    return "; ".join(
        f"{name}: "
        + listed(
            [f"{row} {number(m)} ({number(a)} to {number(b)})" for row, (m, a, b) in
             rows.items()],
            16,
        )
        for name, rows in spans.items()
    )  # fmt: skip


@kinds_checked
def kept(
    points: Mapping[str, tuple[float, float, float]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    references: Mapping[str, float] | None = None,
    said: tuple[str, str] = ("with the old head", "re-probed"),
) -> Figure:
    """Draw what each choice gains on one axis and what it keeps on the other, twice.

    A hollow mark and a filled one of a choice are joined by a line (chapter 06).

    Args:
        points: name to x, and y measured in the two ways that `said` names.
        xlabel: what is gained.
        ylabel: what is kept.
        title: one line above the plot.
        references: name to y of dashed lines, such as the accuracy before.
        said: how the hollow and the filled mark were measured.
    """
    if not points:
        raise CourseError("There is nothing to draw; expected one or more points.")
    with canvas(4.4) as figure:
        axis = figure.subplots()
        for name, level in (references or {}).items():
            axis.axhline(level, color="#666666", ls="--", lw=1)
            axis.annotate(
                name, (0, level), xycoords=("axes fraction", "data"), xytext=(4, 3),
                textcoords="offset points", fontsize=9.5, color="#444444",
            )  # fmt: skip
        for index, (name, (x, low, high)) in enumerate(points.items()):
            _joined(axis, index, str(name), x, (low, high))
        lowest = min(y for _, *ends in points.values() for y in ends)
        bottom = max(0.0, math.floor(10 * lowest - 1) / 10)
        axis.set(xlabel=xlabel, ylabel=ylabel, ylim=(bottom, 1.06))
        axis.margins(x=0.08)
        note = f"Hollow: {said[0]}. Filled: {said[1]}."
        _heading(figure, "\n".join(filter(None, [title, note])), True, points)
        return finish(
            figure, _kept_alt(points, (xlabel, ylabel, title), said), colours=FLAT
        )


def _joined(
    axis: Axes, index: int, name: str, x: float, ends: tuple[float, float]
) -> None:
    axis.plot([x, x], ends, color=colour(index), lw=1.4)
    style = {"color": colour(index), "ls": "none", "marker": marker(index), "ms": 9}
    axis.plot(x, ends[0], mfc="white", mew=1.8, **style)
    axis.plot(x, ends[1], label=name, **style)


def _kept_alt(
    points: Mapping[str, tuple[float, float, float]],
    words: tuple[str, str, str],
    said: tuple[str, str],
) -> str:
    xlabel, ylabel, title = words
    start = f"{title.rstrip('.')}. " if title else ""
    parts = [
        f"{name} at {number(x)}: {number(one)} {said[0]}, {number(two)} {said[1]}"
        for name, (x, one, two) in points.items()
    ]
    return f"{start}{ylabel.capitalize()} against {xlabel}: {'; '.join(parts)}."


@kinds_checked
def matrix(
    panels: Mapping[str, Any],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw tables of shares from 0 to 1 side by side, dark where they are high.

    Args:
        panels: name to a table, (rows, columns).
        rows: names from top to bottom.
        columns: names from left to right.
        title: one line above the plot (chapter 06).
    """
    grids = {str(name): to_array(grid).astype(float) for name, grid in panels.items()}
    for name, grid in grids.items():
        if grid.shape != (len(rows), len(columns)):
            raise CourseError(
                f"The table {name!r} has shape {grid.shape}; expected {len(rows)} rows "
                f"and {len(columns)} columns."
            )
    with canvas(0.34 * len(rows) + 1.2) as figure:
        axes = figure.subplots(1, len(grids), sharey=True, squeeze=False)[0]
        for axis, (name, grid) in zip(axes, grids.items(), strict=True):
            # Never so dark that black words on it could not be read.
            axis.imshow(grid, cmap="Blues", vmin=0, vmax=1.9, aspect="auto")
            axis.set_title(name)
            axis.set_xticks(range(len(columns)), columns)
            axis.set_yticks(range(len(rows)), rows)
            axis.grid(visible=False)
            axis.tick_params(length=0)
            for (row, column), value in np.ndenumerate(grid):
                place = {"ha": "center", "va": "center", "fontsize": 9}
                axis.text(column, row, f"{value:.2f}", color="#111111", **place)
        if title:
            figure.suptitle(title, fontsize=11)
        return finish(figure, _matrix_alt(grids, rows, columns, title), colours=FLAT)


def _matrix_alt(
    grids: Mapping[str, np.ndarray],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> str:
    start = f"{title.rstrip('.')}. " if title else ""
    parts = []
    for name, grid in grids.items():
        lines = [
            f"{row} {', '.join(number(value) for value in values)}"
            for row, values in zip(rows, grid, strict=True)
        ]
        parts.append(f"{name}: {'; '.join(lines)}")
    return f"{start}By column ({', '.join(columns)}). {'. '.join(parts)}."
