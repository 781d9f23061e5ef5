"""The figure of a profile: what ran when, a lane for each thread."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from course.arguments import kinds_checked
from course.errors import CourseError
from course.plots.figure import (
    DPI,
    FLAT,
    WIDTH,
    Figure,
    canvas,
    colour,
    finish,
    listed,
    number,
)

DEPTHS = 4  # that are drawn of calls within calls
NAMED = 8  # outermost names that get a colour and a hatch of their own
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "ooo", "|||")
OTHER, THIN, EDGE = "#777777", "#8C8C8C", "#555555"
SHADES = ("#BDBDBD", "#D0D0D0", "#E2E2E2")  # from the second depth on
GAP = 0.5  # between two lanes, in rows
PIXEL = 1 / (WIDTH * DPI * 0.88)  # of the whole time, once names stand at the left
EDGED = 5  # pixels: an edge would be most of what is narrower
ENTRY = 36  # letters, at most, of a name in the legend
LETTER = 6.2  # pixels, at most on average, of the names in the bars
KEYS = ("name", "thread", "start", "length")


class _Call(NamedTuple):
    name: str
    thread: str
    start: float  # ms after the first event
    length: float  # ms
    depth: int
    within: str  # the outermost call around it


Bars = Sequence[tuple[float, float]]


@kinds_checked
def timeline(
    events: Sequence[Mapping[str, Any]], title: str = "", longest: int = 5
) -> Figure:
    """Draw when everything in a profile ran: a lane a thread, a row a depth of calls.

    What begins while something else of its thread runs is drawn below it. The outermost
    names are told by colour and hatch, those within are grey (chapter 12).

    Args:
        events: each with a ``"name"``, its ``"thread"``, and ``"start"`` and
            ``"length"`` in microseconds, in any order; the lanes stand in the order in
            which their threads first come.
        title: one line above the plot.
        longest: so many of the longest calls right below the outermost ones are in the
            words.

    Raises:
        CourseError: there is no event, or one lacks something or has no length.
    """
    calls = _calls(events)
    lasted = max(call.start + call.length for call in calls)
    span = lasted or 1.0
    styles = _styles(calls)
    rows = _rows(calls)
    height = -min(rows.values()) + 1
    columns = _columns(styles)
    below = 0.21 * math.ceil(len(styles) / columns)
    with canvas(0.26 * height + 0.75 + below + 0.25 * bool(title)) as figure:
        axis = figure.subplots()
        _draw(axis, calls, rows, styles, span * PIXEL)
        _lanes(axis, rows)
        axis.set(xlabel="ms", xlim=(-0.005 * span, 1.005 * span))
        axis.set_ylim(-height + 0.3, 0.7)
        _legend(figure, styles, columns)
        if title:
            figure.suptitle(title, fontsize=11)
        figure.canvas.draw()  # or nobody knows yet how wide a millisecond is
        _name_all(axis, calls, rows)
        return finish(figure, _alt(calls, lasted, title, longest), colours=FLAT)


# The calls ----------------------------------------------------------------------------


def _calls(events: Sequence[Mapping[str, Any]]) -> list[_Call]:
    if not events:
        raise CourseError("There is nothing to draw: expected one event or more.")
    known = [_known(event) for event in events]
    first = min(start for _, _, start, _ in known)
    threads: dict[str, list[Any]] = defaultdict(list)
    for name, thread, start, length in known:
        threads[thread].append((start - first, -length, name))
    return [
        call for thread, found in threads.items() for call in _nested(thread, found)
    ]


def _known(event: Mapping[str, Any]) -> tuple[str, str, float, float]:
    missing = [key for key in KEYS if key not in event]
    if missing:
        raise CourseError(
            f"An event has no {missing[0]!r}; expected each with {', '.join(KEYS)}."
        )
    start, length = float(event["start"]), float(event["length"])
    if not math.isfinite(start) or not 0 <= length < math.inf:
        raise CourseError(
            f"The event {event['name']!r} starts at {start:g} and takes {length:g} "
            "microseconds; expected numbers, and a length of 0 or more."
        )
    return str(event["name"]), str(event["thread"]), start, length


def _nested(thread: str, found: Sequence[tuple[float, float, str]]) -> Iterable[_Call]:
    """Yield the calls of a thread, each with its depth: how many still run around it.

    Args:
        thread: that they ran in.
        found: start, negative length in microseconds, and name.
    """
    around: list[tuple[float, str]] = []
    for start, minus, name in sorted(found):
        while around and around[-1][0] <= start:
            around.pop()
        within = around[0][1] if around else name
        yield _Call(name, thread, start / 1e3, -minus / 1e3, len(around), within)
        around.append((start - minus, name))


def _totals(calls: Iterable[_Call]) -> dict[str, tuple[int, float]]:
    """Return name to count and total ms of the outermost calls, the longest first."""
    totals: dict[str, tuple[int, float]] = {}
    for call in calls:
        if not call.depth:
            count, total = totals.get(call.name, (0, 0.0))
            totals[call.name] = count + 1, total + call.length
    return dict(sorted(totals.items(), key=lambda item: -item[1][1]))


def _styles(calls: Sequence[_Call]) -> dict[str, tuple[str, str]]:
    """Return name to colour and hatch; what got none of its own is ``"other"``."""
    names = list(_totals(calls))
    places = range(min(NAMED, len(names)))
    styles = {names[place]: (colour(place), HATCHES[place]) for place in places}
    return {**styles, "other": (OTHER, "")} if len(names) > NAMED else styles


def _rows(calls: Sequence[_Call]) -> dict[tuple[str, int], float]:
    """Return thread and depth to the height at which they are drawn, from 0 down."""
    deepest: dict[str, int] = {}
    for call in calls:
        deepest[call.thread] = max(deepest.get(call.thread, 0), call.depth)
    rows, height = {}, 0.0
    for thread, depth in deepest.items():
        for level in range(min(depth + 1, DEPTHS)):
            rows[thread, level] = height
            height -= 1
        height -= GAP
    return rows


# The picture --------------------------------------------------------------------------


def _draw(
    axis: Axes,
    calls: Sequence[_Call],
    rows: Mapping[tuple[str, int], float],
    styles: Mapping[str, tuple[str, str]],
    pixel: float,
) -> None:
    groups: dict[tuple[float, int, str], list[tuple[float, float]]] = defaultdict(list)
    for call in calls:
        if call.depth < DEPTHS:
            style = (call.name if call.name in styles else "other") * (not call.depth)
            place = rows[call.thread, call.depth], call.depth, style
            groups[place].append((call.start, call.length))
    for (row, depth, style), bars in groups.items():
        if depth:
            _draw_inner(axis, row, depth, bars, pixel)
        else:
            tone, hatch = styles[style]
            wide, thin = _visible(bars, pixel)
            _bars(axis, row, wide, tone, "white", hatch)
            _bars(axis, row, thin, tone)


def _draw_inner(axis: Axes, row: float, depth: int, bars: Bars, pixel: float) -> None:
    wide, thin = _visible(bars, pixel)
    _bars(axis, row, wide, SHADES[depth - 1], EDGE)
    _bars(axis, row, thin, THIN)


def _visible(bars: Bars, pixel: float) -> tuple[Bars, Bars]:
    """Return the bars that have room for an edge, and what to draw of the thin ones.

    Bars below a third of a pixel are drawn where together they fill a third of one: a
    thread that is busy with thousands of them does not look idle.
    """
    wide = [bar for bar in bars if bar[1] >= EDGED * pixel]
    thin = [bar for bar in bars if pixel / 3 <= bar[1] < EDGED * pixel]
    specks = np.array([bar for bar in bars if bar[1] < pixel / 3]).reshape(-1, 2)
    filled = np.bincount((specks[:, 0] / pixel).astype(int), weights=specks[:, 1])
    places = np.flatnonzero(filled >= pixel / 3)
    return wide, thin + [(place * pixel, pixel) for place in places]


def _bars(
    axis: Axes, row: float, bars: Bars, tone: str, edge: str = "", hatch: str = ""
) -> None:
    if bars:
        axis.broken_barh(
            bars,
            (row - 0.42, 0.84),
            facecolor=tone,
            edgecolor=edge or "none",
            linewidth=0.7 if edge else 0,
            hatch=hatch,
        )


def _lanes(axis: Axes, rows: Mapping[tuple[str, int], float]) -> None:
    lanes: dict[str, list[float]] = defaultdict(list)
    for (thread, _), row in rows.items():
        lanes[thread].append(row)
    middles = [sum(lane) / len(lane) for lane in lanes.values()]
    axis.set_yticks(middles, [_short(name, 18) for name in lanes])
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    for top, *_ in list(lanes.values())[1:]:
        axis.axhline(top + 0.5 + GAP / 2, color="#BBBBBB", lw=0.8)


def _columns(styles: Mapping[str, Any]) -> int:
    """Return how many names of the legend stand side by side."""
    widths = [62 + 7 * len(_short(name, ENTRY)) for name in styles]
    room = WIDTH * DPI - 20
    return len(widths) if sum(widths) <= room else max(1, int(room / max(widths)))


def _legend(figure: Any, styles: Mapping[str, tuple[str, str]], columns: int) -> None:
    patches = [
        Patch(fc=tone, ec="white", hatch=hatch, label=_short(name, ENTRY))
        for name, (tone, hatch) in styles.items()
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=columns,
        columnspacing=1.4,
        handletextpad=0.6,
    )


def _name_all(
    axis: Axes, calls: Sequence[_Call], rows: Mapping[tuple[str, int], float]
) -> None:
    """Write names into the bars that are wide enough for all of it, or for its end."""
    low, high = axis.get_xlim()
    scale = axis.get_window_extent().width / (high - low)
    for call in calls:
        room = (scale * call.length - 6) / LETTER
        tries = (call.name, re.split(r"::|: ", call.name)[-1])
        name = next((name for name in tries if 0 < len(name) <= room), None)
        if name and call.depth < DEPTHS:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            axis.text(
                call.start + call.length / 2,
                rows[call.thread, call.depth],
                name,
                ha="center",
                va="center_baseline",
                fontsize=8,
                color="#111111",
                bbox=None if call.depth else box,
            )


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


# The words ----------------------------------------------------------------------------


def _alt(calls: Sequence[_Call], span: float, title: str, longest: int) -> str:
    threads = list(dict.fromkeys(call.thread for call in calls))
    start = f"{title.rstrip('.')}. " if title else ""
    outer = [
        f"{name} {_times(count)}, {number(total)} ms"
        for name, (count, total) in _totals(calls).items()
    ]
    text = (
        f"{start}Timeline of {_counted(len(calls), 'event')} in {number(span)} ms, "
        f"{_counted(len(threads), 'thread')}: {listed(threads)}. "
        f"Outermost: {_listed(outer)}."
    )
    return text + _inner(calls, longest) + _left_out(calls)


def _inner(calls: Sequence[_Call], longest: int) -> str:
    inner = sorted((c for c in calls if c.depth == 1), key=lambda c: -c.length)
    said = [
        f"{c.name} {number(c.length)} ms, in {c.within}, at {number(c.start)} ms"
        for c in inner[:longest]
    ]
    return f" Longest within them: {'; '.join(said)}." if said else ""


def _left_out(calls: Sequence[_Call]) -> str:
    deeper = sum(call.depth >= DEPTHS for call in calls)
    verb = "is" if deeper == 1 else "are"
    said = f" {_counted(deeper, 'deeper event')} {verb} not drawn."
    return said if deeper else ""


def _listed(items: Sequence[str], most: int = 12) -> str:
    more = f"; and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + more


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
