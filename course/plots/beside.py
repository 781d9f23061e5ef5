"""Points of this run beside curves that were measured before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from course.arguments import kinds_checked
from course.plots.charts import LINES, _few_ticks, _line
from course.plots.figure import (
    FLAT,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    marker,
    number,
)


@kinds_checked
def beside(
    curves: Mapping[str, Sequence[Any]],
    points: Mapping[str, Sequence[Any]],
    xlabel: str,
    ylabel: str,
    *,
    title: str = "",
    ylim: tuple[float, float] | None = None,
    before: str = "shipped table",
    now: str = "this run",
) -> Figure:
    """Draw thin curves of earlier runs, and this run's points on them (chapter 05).

    Args:
        curves: name to ``(x, y)`` or ``(x, y, low, high)``; x is drawn logarithmically.
        points: a name of `curves` to the same of this run; others may be left out.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        title: one line above the plot.
        ylim: ends of the y axis.
        before: what the curves are, for the legend.
        now: what the points are.
    """
    lines = {name: _line(name, row) for name, row in curves.items()}
    dots = {name: _line(name, row) for name, row in points.items()}
    with canvas(4.0) as figure:
        axis = figure.subplots()
        axis.set_xscale("log")
        for index, name in enumerate(lines):
            _draw_curve(axis, index, name, lines[name])
            if name in dots:
                _draw_points(axis, index, dots[name])
        axis.set(xlabel=xlabel, ylabel=ylabel, ylim=ylim)
        _few_ticks(
            axis, {**lines, **{f"{n} now": row for n, row in dots.items()}}, True
        )
        said = f"Lines: {before}. Large markers: {now}."
        figure.suptitle("\n".join(filter(None, [title, said])), fontsize=11)
        across = 5 if max(map(len, lines)) < 10 else 2
        figure.legend(loc="outside lower center", ncols=min(across, len(lines)))
        return finish(
            figure, _alt(lines, dots, title, (xlabel, before, now)), colours=FLAT
        )


def _draw_curve(axis: Axes, index: int, name: str, row: Sequence[np.ndarray]) -> None:
    x, y, *band = row
    style = {"color": colour(index), "marker": marker(index), "markersize": 3.5}
    axis.plot(x, y, LINES[index % len(LINES)], lw=1.1, label=name, **style)
    if band:
        axis.fill_between(x, band[0], band[1], color=colour(index), alpha=0.12, lw=0)


def _draw_points(axis: Axes, index: int, row: Sequence[np.ndarray]) -> None:
    x, y, *ends = row
    # Side by side where five of them share a number of labels.
    x = x * 1.05 ** (index - 2)
    bars = np.abs(np.array(ends) - y) if ends else None
    axis.errorbar(
        x,
        y,
        yerr=bars,
        fmt=marker(index),
        markersize=8,
        markerfacecolor="white",
        markeredgewidth=1.8,
        color=colour(index),
        elinewidth=1.4,
        capsize=2.5,
    )


def _alt(
    lines: Mapping[str, Any],
    dots: Mapping[str, Any],
    title: str,
    words: tuple[str, str, str],
) -> str:
    xlabel, before, now = words
    parts = []
    for name, (x, y, *_) in lines.items():
        text = f"{name} from {number(y[0])} at {number(x[0])} to {number(y[-1])} at "
        parts.append(text + number(x[-1]))
    start = f"{title.rstrip('.')}. " if title else ""
    alt = f"{start}By {xlabel}, {before}: {listed(parts)}."
    here = [
        f"{name} {number(value)} at {number(place)}"
        for name, (x, y, *_) in dots.items()
        for place, value in zip(x, y, strict=True)
    ]
    return f"{alt} {now[:1].upper()}{now[1:]}: {listed(here)}." if here else alt
