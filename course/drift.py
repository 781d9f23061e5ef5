"""What moved between a run and a baseline, and whether that is more than chance.

A value of a run with m seeds, beside a baseline with n: the means differ by so many
standard errors, and Student's t says how often chance alone parts them as far. Many
values are looked at, so Benjamini and Hochberg's correction is made over all of them.
The words and limits are in docs/baselines.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from course import runs
from course.runs import Key, Measured, Place

# Of a hundred runs in which nothing moved, five may be called red: four for records and
# claims, one for what the machine took.
LEVEL, MACHINE_LEVEL = 0.04, 0.01
BAND = 0.99  # how often the band of a baseline holds the value of one more seed
EXACT = 1.5e-6  # values are kept to six digits after the point
SHARE = 0.005  # half a point of an accuracy, half a percent of anything: never red
BROKEN, BROKEN_SHARE = 0.5, 0.1  # of a value that no seed of the baseline changed
MORE = 0.1  # of memory or time: less is left to the machine


@dataclass(frozen=True)
class Moved:
    """One value that lies away from its baseline.

    Args:
        chapter: the notebook's name without its ending.
        profile: ``"smoke"``, ``"quick"`` or ``"full"``.
        backbone: None for the chapter's own.
        name: of the record, the claim's text, or what of the kernel was measured.
        unit: as recorded; ``"× reference"`` for ratios to the reference cell.
        kind: ``"record"``, ``"claim"``, ``"memory"`` or ``"time"``.
        before: mean over the baseline's seeds; None where it was not a number.
        spread: standard deviation over the baseline's seeds; None with one seed.
        now: mean over the run's seeds; None where one of them is not a number.
        low: lower end of the band of a single seed; None where there is none.
        high: upper end of it.
        standard_errors: how many the two means are apart; None without a spread.
        p_adjusted: after Benjamini and Hochberg; None where chance was not asked.
        red: whether it turns the run red.
        reason: why it is listed, and why it is or is not red; one clause.
    """

    chapter: str
    profile: str
    backbone: str | None
    name: str
    unit: str
    kind: str
    before: float | None
    spread: float | None
    now: float | None
    low: float | None
    high: float | None
    standard_errors: float | None
    p_adjusted: float | None
    red: bool
    reason: str


@dataclass(frozen=True)
class Named:
    """A value that only one side has."""

    chapter: str
    profile: str
    backbone: str | None
    name: str
    kind: str


@dataclass(frozen=True)
class Failed:
    """A chapter that did not run through: always red."""

    chapter: str
    profile: str
    backbone: str | None
    seed: int
    error: str
    cell: str | None


@dataclass(frozen=True)
class Broken:
    """A claim that does not hold: always red.

    Outside the smoke profile it also ends its chapter, which then is in `failed` too.
    """

    chapter: str
    profile: str
    backbone: str | None
    seed: int
    text: str
    value: float | None
    bound: str


@dataclass(frozen=True)
class Changed:
    """Something of the machine or the versions that the baseline had otherwise."""

    what: str
    before: str
    now: str


@dataclass(frozen=True)
class Comparison:
    """A run beside its baselines.

    Args:
        moved: red ones first, then by how far they moved.
        gone: in every seed of the baseline and not in the run: red.
        new: in the run alone: a note.
        failed: chapters that did not run through: red.
        broken: claims that do not hold: red.
        changed: how machine and versions differ from the baselines'.
        notes: sentences on what could not be compared, and why.
        compared: how many values were compared.
        same_seed: of how many values the baseline has the same seed.
        exact: how many of those are exactly the baseline's.
    """

    moved: list[Moved] = field(default_factory=list)
    gone: list[Named] = field(default_factory=list)
    new: list[Named] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: int = 0
    same_seed: int = 0
    exact: int = 0

    @property
    def red(self) -> bool:
        """Whether anything turns the run red."""
        things = (self.gone, self.failed, self.broken)
        return any(things) or any(row.red for row in self.moved)

    @property
    def verdict(self) -> str:
        """Return one line: green or red, and why."""
        parts = [f"{count} {what}" for count, what in self._counts() if count]
        if not self.red:
            return f"Green: none of {self.compared} values moved."
        return f"Red: {', '.join(parts)}, of {self.compared} values compared."

    def _counts(self) -> list[tuple[int, str]]:
        rows = [row for row in self.moved if row.red]
        return [
            (len(rows), "moved"),
            (len(self.gone), "gone"),
            (len(self.failed), f"chapter{'s' * (len(self.failed) != 1)} failed"),
            (len(self.broken), f"claim{'s' * (len(self.broken) != 1)} not holding"),
        ]


class Summary(NamedTuple):
    """Mean, standard deviation, and the band in which one more seed is expected.

    With fewer than two numbers there is no spread and no band.
    """

    n: int
    mean: float
    spread: float | None
    low: float | None
    high: float | None


class _Look(NamedTuple):
    """What is known of one value before chance is asked.

    Args:
        row: as it would be listed.
        freedom: degrees of freedom of its test; None where it is not tested.
        far: whether it lies far enough away to matter, were it more than chance.
    """

    row: Moved
    freedom: int | None
    far: bool


# Comparing ----------------------------------------------------------------------------


def compare(
    rows: Sequence[Mapping[str, Any]],
    before: Mapping[Place, Measured],
    *,
    timing: bool = False,
) -> Comparison:
    """Return what a run has otherwise than its baselines.

    Args:
        rows: of the run, as `runs.read` returns them.
        before: the baselines, or what `runs.gather` makes of another run.
        timing: let times turn the run red, too.
    """
    pairs = [
        (before[now.place], now) for now in runs.gather(rows) if now.place in before
    ]
    looks = [look for old, now in pairs for look in _looks(old, now)]
    same_seed, exact = _exact(pairs)
    return Comparison(
        moved=_moved(looks, timing),
        gone=[row for old, now in pairs for row in _gone(old, now)],
        new=[row for old, now in pairs for row in _new(old, now)],
        failed=[_failed(row) for row in rows if row["status"] == "failed"],
        broken=[claim for row in rows for claim in _broken(row)],
        changed=list(dict.fromkeys(c for pair in pairs for c in _changed(*pair))),
        notes=[
            *_unknown(rows, before),
            *_unknown_ratios(pairs),
            *(note for pair in pairs for note in _bounds(*pair)),
        ],
        compared=len(looks),
        same_seed=same_seed,
        exact=exact,
    )


def _looks(old: Measured, now: Measured) -> Iterator[_Look]:
    same = old.machine == now.machine
    for key, values in now.values.items():
        known = old.values.get(key)
        if known is not None and not _unmeasured(key, known, values):
            yield _look(old.place, key, known, values, same)


def _unmeasured(key: Key, *sides: Mapping[int, float | None]) -> bool:
    """Say whether a side lacks its ratio to the reference cell: that did not run."""
    ratio = key.unit.endswith("reference") and key.kind in ("time", "memory")
    return ratio and any(None in side.values() for side in sides)


def _look(
    place: Place,
    key: Key,
    old: Mapping[int, float | None],
    now: Mapping[int, float | None],
    same: bool,
) -> _Look:
    known, numbers = _numbers(old), _numbers(now)
    before, mean = summarise(key, known.values()), _mean(numbers.values())
    row = _row(place, key, before, mean)
    if len(numbers) < len(now) and len(known) == len(old):
        return _Look(replace(row, now=None, reason="no number any more"), None, True)
    if numbers and not known:
        return _Look(replace(row, reason="a number now, which it was not"), None, True)
    if not numbers:  # nor was it always one before
        return _Look(row, None, False)
    if before.spread is None:
        row = replace(row, red=False, reason="only one seed to compare with")
        return _Look(row, None, abs(mean - before.mean) > EXACT)
    if before.spread == 0:
        return _constant(row, key, known, numbers, same)
    error = before.spread * math.sqrt(1 / len(numbers) + 1 / before.n)
    row = replace(row, standard_errors=(mean - before.mean) / error)
    far = abs(mean - before.mean) > _floor(key, before.mean)
    return _Look(row, before.n - 1, far)


def _constant(
    row: Moved,
    key: Key,
    known: Mapping[int, float],
    numbers: Mapping[int, float],
    same: bool,
) -> _Look:
    """Look at a value that no seed of the baseline changes."""
    if same and set(numbers) <= set(known):
        reason = "with these seeds, on this class of machine, it was always the same"
        far = any(abs(value - known[seed]) > EXACT for seed, value in numbers.items())
    else:
        reason = "it was the same with every seed"
        away = max(abs(value - row.before) for value in numbers.values())
        far = away > _floor(key, row.before)
        if key.kind in ("record", "claim") and away <= _broken_from(key, row.before):
            # Counts and p values go in steps: that five seeds agree happens by chance.
            reason += ", but so few do not promise that the next one agrees"
            row = replace(row, red=False)
    return _Look(replace(row, reason=reason), None, far)


def _broken_from(key: Key, mean: float) -> float:
    """Return how far away a value is wrong even where the seeds tell no spread."""
    shares = {"": BROKEN_SHARE, "%": 100 * BROKEN_SHARE}
    return max(BROKEN * abs(mean), shares.get(key.unit, 0.0))


def _numbers(values: Mapping[int, float | None]) -> dict[int, float]:
    return {seed: value for seed, value in values.items() if value is not None}


def _row(place: Place, key: Key, before: Summary, now: float) -> Moved:
    return Moved(
        chapter=place.chapter,
        profile=place.profile,
        backbone=place.backbone or None,
        name=key.name,
        unit=key.unit,
        kind=key.kind,
        before=before.mean if before.n else None,
        spread=before.spread,
        now=now,
        low=before.low,
        high=before.high,
        standard_errors=None,
        p_adjusted=None,
        red=True,  # once it has moved, unless something speaks against it
        reason="",
    )


# Spread -------------------------------------------------------------------------------


def summarise(key: Key, values: Iterable[float | None]) -> Summary:
    """Return mean, standard deviation and band of a value over seeds.

    The band is Student's prediction interval for one more seed at the level `BAND`,
    and never narrower than what is called the same anyway.

    Args:
        key: which value: the narrowest band depends on its unit.
        values: one for each seed; None, where it was no number, is left out.
    """
    numbers = [value for value in values if value is not None]
    n, mean = len(numbers), _mean(numbers)
    if n < 2:
        return Summary(n, mean, None, None, None)
    squares = math.fsum((value - mean) ** 2 for value in numbers)
    same = max(numbers) - min(numbers) <= EXACT
    spread = 0.0 if same else math.sqrt(squares / (n - 1))
    half = _quantile(n - 1) * spread * math.sqrt(1 + 1 / n)
    half = max(half, _floor(key, mean))
    return Summary(n, mean, spread, mean - half, mean + half)


def _mean(numbers: Iterable[float]) -> float:
    values = list(numbers)
    return math.fsum(values) / len(values) if values else math.nan


@functools.cache
def _quantile(freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.5 + BAND / 2, freedom))


def _floor(key: Key, mean: float) -> float:
    """Return the difference up to which two means are called the same."""
    shares = {"": SHARE, "%": 100 * SHARE} if key.kind in ("record", "claim") else {}
    return max(SHARE * abs(mean), shares.get(key.unit, 0.0))


def chance(errors: Sequence[float], freedom: Sequence[int] | int) -> np.ndarray:
    """Return how often chance alone parts two means by so many standard errors.

    Args:
        errors: shape [values], of either sign.
        freedom: degrees of freedom: the baseline's seeds less one.

    Returns:
        Two-sided p values, shape [values], after Benjamini and Hochberg.
    """
    from scipy import stats

    single = 2 * stats.t.sf(np.abs(errors), freedom)
    return stats.false_discovery_control(single) if len(single) else single


# Deciding -----------------------------------------------------------------------------


def _moved(looks: Sequence[_Look], timing: bool) -> list[Moved]:
    counted = {"memory", "time"} if timing else {"memory"}
    families = (
        ({"record", "claim"}, LEVEL),
        (counted, MACHINE_LEVEL),
        ({"time"} - counted, MACHINE_LEVEL),
    )
    rows = [
        _settled(row, timing)
        for kinds, level in families
        for row in _beyond([k for k in looks if k.row.kind in kinds], level)
    ]
    return sorted(rows, key=_order)


def _beyond(looks: Sequence[_Look], level: float) -> Iterator[Moved]:
    """Yield the rows of one family that lie further away than chance takes them."""
    tested = [look for look in looks if look.freedom is not None]
    errors = [look.row.standard_errors for look in tested]
    adjusted = chance(errors, [look.freedom for look in tested])
    for look, p in zip(tested, adjusted.tolist(), strict=True):
        if look.far and p <= level:
            yield replace(look.row, p_adjusted=p)
    yield from (look.row for look in looks if look.freedom is None and look.far)


def _settled(row: Moved, timing: bool) -> Moved:
    """Say of a row that has moved whether it is red, and why."""
    if None in (row.before, row.now):
        return replace(row, red=timing or row.kind != "time")
    if row.kind in ("record", "claim") or row.spread is None:
        return replace(row, reason=row.reason or "further away than chance takes it")
    change = (row.now - row.before) / abs(row.before) if row.before else math.inf
    reason = f"{abs(change):.0%} {'more' if change > 0 else 'less'}"
    if row.kind == "time" and not timing:
        reason += "; times count only with --timing"
        return replace(row, red=False, reason=reason)
    if change <= MORE:
        reason += f"; red is more than {MORE:.0%} more"
        return replace(row, red=False, reason=reason)
    return replace(row, reason=reason)


def _order(row: Moved) -> tuple[bool, float, str, str]:
    far = math.inf if row.standard_errors is None else abs(row.standard_errors)
    return not row.red, -far, row.chapter, row.name


# Gone, new, failed --------------------------------------------------------------------


def _gone(old: Measured, now: Measured) -> list[Named]:
    """Return what every seed of the baseline has and some whole chapter now has not."""
    return [
        Named(*_words(old.place), key.name, key.kind)
        for key, values in old.values.items()
        if set(old.whole) <= set(values)
        and not set(now.whole) <= set(now.values.get(key, ()))
    ]


def _new(old: Measured, now: Measured) -> list[Named]:
    return [
        Named(*_words(old.place), key.name, key.kind)
        for key in now.values
        if key not in old.values
    ]


def _words(place: Place) -> tuple[str, str, str | None]:
    return place.chapter, place.profile, place.backbone or None


def _failed(row: Mapping[str, Any]) -> Failed:
    words = (*_words(runs.place_of(row)), runs.seed_of(row))
    return Failed(*words, row.get("error", ""), row.get("cell"))


def _broken(row: Mapping[str, Any]) -> list[Broken]:
    place = runs.place_of(row)
    if place.profile == "smoke":  # too small for the lessons to hold
        return []
    return [
        Broken(*_words(place), runs.seed_of(row), c["text"], c["value"], c["bound"])
        for c in row["claims"]
        if not c["holds"]
    ]


def _exact(pairs: Sequence[tuple[Measured, Measured]]) -> tuple[int, int]:
    """Return how many values have the same seed on both sides, and how many agree."""
    both = [
        value == old.values[key][seed]
        for old, now in pairs
        for key, values in now.values.items()
        for seed, value in values.items()
        if key.kind in ("record", "claim") and seed in old.values.get(key, ())
    ]
    return len(both), sum(both)


def _changed(old: Measured, now: Measured) -> list[Changed]:
    return [
        Changed(what, word, now.machine.get(what, "unknown"))
        for what, word in old.machine.items()
        if word != now.machine.get(what, "unknown")
    ]


def _unknown(
    rows: Sequence[Mapping[str, Any]], before: Mapping[Place, Measured]
) -> list[str]:
    """Say what has no baseline, and what of the baselines was not run."""
    ran = {runs.place_of(row): None for row in rows}
    alone = [
        f"{place}: there is no baseline to compare it with."
        for place in ran
        if place not in before
    ]
    sizes = {(place.profile, place.backbone) for place in ran}
    left = [
        place
        for place in sorted(before)
        if place not in ran and (place.profile, place.backbone) in sizes
    ]
    names = ", ".join(map(str, left))
    return alone + [f"Not in this run, so not compared: {names}."] * bool(left)


def _bounds(old: Measured, now: Measured) -> Iterator[str]:
    for text, bound in now.bounds.items():
        before = old.bounds.get(text, bound)
        if before != bound:
            yield f"{now.place}: the bound of {text!r} was {before} and is {bound}."


def _unknown_ratios(pairs: Sequence[tuple[Measured, Measured]]) -> list[str]:
    places = [
        str(now.place)
        for old, now in pairs
        if any(
            None in side.values.get(key, {}).values()
            for side in (old, now)
            for key in (runs.TIME, runs.MEMORY)
        )
    ]
    text = (
        "On one side the reference cell did not run, or memory could not be read, so "
        f"times or memory were not compared: {', '.join(places)}."
    )
    return [text] * bool(places)
