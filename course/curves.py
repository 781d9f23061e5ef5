"""Curves over labels or steps: where two cross, where a level is reached."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from course.arguments import kinds_checked
from course.errors import CourseError

RESAMPLES = 1000  # of the seeds, for the interval of a crossing
LEVEL = 0.9  # of that interval


@kinds_checked
def reaches(x: Sequence[float], y: Sequence[float], level: float) -> float | None:
    """Return where a curve first reaches a level, straight between points in log x.

    Args:
        x: rising numbers above 0, such as labels a class or multiply-adds.
        y: the value at each of them.
        level: what is to be reached.

    Returns:
        The place; the first x where the curve begins there, None where it never does.
    """
    if len(x) != len(y) or not len(x) or not all(place > 0 for place in x):
        raise CourseError(
            f"A curve has {len(x)} places and {len(y)} values; expected one or more "
            "places above 0, and a value for each."
        )
    places, values = np.log(np.asarray(x, float)), np.asarray(y, float)
    above = np.flatnonzero(values >= level)
    if not len(above):
        return None
    after = int(above[0])
    if after == 0:
        return float(x[0])
    low, high = values[after - 1], values[after]
    share = (level - low) / (high - low)
    step = places[after] - places[after - 1]
    return float(np.exp(places[after - 1] + share * step))


@dataclass(frozen=True)
class Crossing:
    """Where one curve overtakes another.

    Args:
        at: the place; None where the curves do not cross in the range.
        low: lower end of the 90 % interval; None where too few resamples cross.
        high: its upper end.
        share: of the resamples in which the curves cross at all.
        ahead: "first" or "second", whichever is ahead at the end of the range.
    """

    at: float | None
    low: float | None
    high: float | None
    share: float
    ahead: str

    def sentence(
        self, first: str, second: str, unit: str, ends: Sequence[float]
    ) -> str:
        """Return what came out, in words.

        Args:
            first: the name of the first curve.
            second: the name of the second.
            unit: what x counts, such as "labels a class".
            ends: the smallest and the largest x.
        """
        winner, other = (first, second) if self.ahead == "first" else (second, first)
        span = f"between {ends[0]:g} and {ends[1]:g} {unit}"
        sure = f"in {self.share:.0%} of the resampled sets of seeds they do"
        if self.at is None:
            tail = f" ({sure})" if self.share else ""
            return (
                f"{winner} and {other} do not cross {span}{tail}: {winner} stays ahead."
            )
        text = f"{winner} overtakes {other} at {self.at:.1f} {unit}"
        if self.low is None:
            return f"{text}, which is not certain: {sure}."
        return (
            f"{text} ({LEVEL:.0%} interval {self.low:.1f} to {self.high:.1f}; {sure})."
        )


@kinds_checked
def crossing(
    x: Sequence[float],
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    seed: int = 0,
) -> Crossing:
    """Compute where the mean of one curve overtakes that of another (chapter 05).

    Straight between the points in log x. The interval comes from the seeds, drawn anew
    with replacement, both curves with the same ones (Efron 1979, the bootstrap).

    Args:
        x: rising numbers above 0.
        first: one row a seed, one value for each x.
        second: the same seeds in the same order.
        seed: of the resampling.

    Raises:
        CourseError: the shapes do not fit together.
    """
    if np.shape(first) != np.shape(second):
        raise CourseError(
            f"Two curves came with shapes {np.shape(first)} and {np.shape(second)}; "
            "expected the same seeds and places for both."
        )
    ahead = np.subtract(np.asarray(first, float), np.asarray(second, float))
    if (
        not len(ahead)
        or ahead.ndim != 2
        or ahead.shape[1] != len(x)
        or np.any(np.diff(x) <= 0)
    ):
        raise CourseError(
            f"A crossing was asked of {len(x)} places and differences of shape "
            f"{ahead.shape}; expected rising places, and a row of {len(x)} values for "
            "each seed."
        )
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(ahead), (RESAMPLES, len(ahead)))
    places = [_sign_change(x, ahead[draw].mean(axis=0)) for draw in draws]
    crossed = [place for place in places if place is not None]
    low = high = None
    if len(crossed) > RESAMPLES / 2:
        low, high = np.quantile(crossed, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    mean = ahead.mean(axis=0)
    winner = "first" if mean[-1] >= 0 else "second"
    return Crossing(_sign_change(x, mean), low, high, len(crossed) / RESAMPLES, winner)


def _sign_change(x: Sequence[float], difference: np.ndarray) -> float | None:
    """Return the last place where a curve crosses zero; touching it is no crossing."""
    signs = np.sign(difference)
    kept = np.flatnonzero(signs)
    turns = [(a, b) for a, b in itertools.pairwise(kept) if signs[a] != signs[b]]
    if not turns:
        return None
    a, b = turns[-1]
    share = difference[a] / (difference[a] - difference[b])
    return float(x[a] * (x[b] / x[a]) ** share)


@kinds_checked
def disagreement(
    live: Mapping[object, Sequence[float]],
    shipped: Mapping[object, Sequence[float]],
    least: float,
) -> float:
    """Return how likely means as far apart as these are, if nothing has changed.

    Student's test for every point that both know, with one spread for both, since they
    are to be draws from one distribution; the smallest p times the number of points
    (Bonferroni). Near 0: what was computed here is not what the table says.

    Args:
        live: the values of each point, a seed each; two or more.
        shipped: the same points and more.
        least: the smallest standard deviation that is believed, one image in the test
            part: three equal accuracies do not mean that there is no spread.

    Raises:
        CourseError: a point is not in the table, or has fewer than two values.
    """
    if not live:
        raise CourseError(
            "No point was measured here; expected one or more to compare."
        )
    values = []
    for name, here in live.items():
        there = shipped.get(name, ())
        if len(here) < 2 or len(there) < 2:
            raise CourseError(
                f"The point {name!r} has {len(here)} live and {len(there)} shipped "
                "values; expected two or more of each."
            )
        values.append(_p_value(here, there, least))
    return min(1.0, min(values) * len(values))


def _p_value(a: Sequence[float], b: Sequence[float], least: float) -> float:
    spreads = [max(float(np.std(v, ddof=1)), least) for v in (a, b)]
    sides = zip((a, b), spreads, strict=True)
    means = [part for v, s in sides for part in (float(np.mean(v)), s, len(v))]
    p = float(stats.ttest_ind_from_stats(*means, equal_var=True).pvalue)
    return 1.0 if math.isnan(p) else p
