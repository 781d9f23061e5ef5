"""What every measurement here shares: turns, rows, and what cannot be measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

PAIRS = 5
Row = dict[str, Any]


class NotMeasured(Exception):
    """A part of the table cannot be measured here; the message says why."""


def alternately(
    first: Callable[[], Any], second: Callable[[], Any], pairs: int = PAIRS
) -> tuple[list[float], list[float]]:
    """Return the seconds of both, run in turns; the first pair is only a warm-up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs + 1):
        for seconds, run in zip(taken, (first, second), strict=True):
            seconds.append(seconds_of(run))
    return taken[0][1:], taken[1][1:]


def seconds_of(run: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def row(what: str, against: str, goal: str, values: list[float], unit: str) -> Row:
    """Return a line of the table: the median of some values, lowest and highest."""
    return {
        "what": what,
        "against": against,
        "goal": goal,
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
        "unit": unit,
    }


def unmeasured(what: str, against: str, goal: str, why: str) -> Row:
    """Return a line of the table that holds no figure, and why."""
    empty = dict.fromkeys(("median", "lowest", "highest"))
    line = {"what": what, "against": against, "goal": goal, **empty, "unit": ""}
    return {**line, "note": f"not measured: {why}"}
