"""Baselines: what each chapter measured over several seeds, kept to compare with.

One file for each chapter and profile, ``baselines/<profile>/<chapter>.json``. They are
made from a run by `course baseline update`, never by hand; docs/baselines.md says what
they hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from course import drift, execution, runs
from course.drift import Comparison
from course.errors import CourseError
from course.runs import Key, Measured, Place

FEWEST = 5  # seeds: with fewer, the spread is hardly known
SHORTEST = 12  # signs of a reason
LONGEST = 1000
FORMAT = 1
_MOVE = {
    "type": "object",
    "required": ["name", "before", "now"],
    "properties": {
        "name": runs.TEXT,
        "before": runs.NUMBER,
        "now": runs.NUMBER,
    },
}
_NAMES = {"type": "array", "items": runs.TEXT}
_ENTRY = {
    "type": "object",
    "required": ["date", "reason", "machine", "moved", "gone", "new"],
    "properties": {
        "date": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}\Z"},
        "reason": {"type": "string", "minLength": SHORTEST, "maxLength": LONGEST},
        "machine": {"type": "object", "additionalProperties": runs.TEXT},
        "moved": {"type": "array", "items": _MOVE},
        "gone": _NAMES,
        "new": _NAMES,
    },
}
_VALUE = {
    "type": "object",
    "required": ["kind", "name", "unit", "mean", "spread", "low", "high", "seeds"],
    "properties": {
        "kind": {"enum": ["record", "claim", "memory", "time"]},
        "name": runs.TEXT,
        "unit": runs.TEXT,
        "bound": runs.TEXT,
        **dict.fromkeys(("mean", "spread", "low", "high"), runs.NUMBER),
        "seeds": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": r"^\d{1,18}\Z"},
            "additionalProperties": runs.NUMBER,
        },
    },
}
SCHEMA = {
    "type": "object",
    "required": [
        *("format", "chapter", "profile", "backbone", "seeds", "band"),
        *("machine", "history", "values"),
    ],
    "properties": {
        "format": {"const": FORMAT},
        "chapter": runs.NAME,
        "profile": runs.PROFILE,
        "backbone": runs.BACKBONE,
        "seeds": {
            "type": "array",
            "items": runs.SEED,
            "minItems": FEWEST,
            "uniqueItems": True,
        },
        "band": {"const": drift.BAND},
        "machine": {"type": "object", "additionalProperties": runs.TEXT},
        "history": {"type": "array", "items": _ENTRY, "minItems": 1},
        "values": {"type": "array", "items": _VALUE},
    },
}


@dataclass(frozen=True)
class Entry:
    """Why a baseline was made, and what moved with it.

    Args:
        date: the day, such as ``"2026-11-29"``.
        reason: in the words of who made it.
        machine: class of the machine and versions.
        moved: names with the mean before and now.
        gone: names that the new baseline lacks.
        new: names that the old one lacked.
    """

    date: str
    reason: str
    machine: Mapping[str, str]
    moved: list[dict[str, Any]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Baseline:
    """What a chapter measured over at least five seeds, and its history.

    Args:
        measured: the values of each seed.
        history: the first reason first; none is ever dropped.
    """

    measured: Measured
    history: tuple[Entry, ...]


# Making -------------------------------------------------------------------------------


def make(
    rows: Sequence[Mapping[str, Any]], reason: str, date: str
) -> dict[Place, Baseline]:
    """Return a first baseline of each chapter, profile and backbone of a run.

    Args:
        rows: of the run, as `runs.read` returns them.
        reason: why, in a sentence.
        date: the day, such as ``"2026-11-29"``.

    Raises:
        CourseError: the reason is too short, a chapter failed or has fewer than five
            seeds, or its seeds ran on machines of several classes.
    """
    words = _checked_reason(reason)
    for row in rows:
        if row["status"] != "ok":
            raise CourseError(
                f"{runs.place_of(row)} failed with seed {runs.seed_of(row)}; a "
                "baseline is made of whole runs only. Mend it and run it again."
            )
    made = {group.place: group for group in runs.gather(rows)}
    for group in made.values():
        _check_seeds(group)
    return {
        place: Baseline(group, (Entry(date, words, group.machine),))
        for place, group in made.items()
    }


def _checked_reason(reason: str) -> str:
    words = " ".join(runs.printable(reason).split())
    if not SHORTEST <= len(words) <= LONGEST or " " not in words:
        raise CourseError(
            f"The reason was {words[:40]!r}; expected {SHORTEST} to {LONGEST} signs "
            "that tell a later reader why these numbers may move, with --reason."
        )
    return words


def _check_seeds(group: Measured) -> None:
    if len(group.whole) < FEWEST:
        count = len(group.whole)
        raise CourseError(
            f"{group.place} was run with {count} seed{'s' * (count != 1)}; a baseline "
            f"needs {FEWEST}, such as course run --seeds 0,1,2,3,4."
        )
    several = [what for what, word in group.machine.items() if " | " in word]
    if several:
        raise CourseError(
            f"The seeds of {group.place} differ in {', '.join(several)}; expected all "
            "of one baseline from one machine and one installation."
        )


def update(
    rows: Sequence[Mapping[str, Any]], folder: Path, reason: str, date: str
) -> dict[Path, Entry]:
    """Replace or begin the baselines of a run's chapters, and keep why.

    All is checked before the first file is written, and each file is written whole.

    Args:
        rows: of the run, as `runs.read` returns them.
        folder: of the baselines; made where it is missing.
        reason: see `make`.
        date: see `make`.

    Returns:
        The files written, each with the newest entry of its history.

    Raises:
        CourseError: see `make`; or an old baseline cannot be read.
    """
    made = make(rows, reason, date)
    _check_files(folder, list(made))
    old = {
        place: read(folder, place) for place in made if _file(folder, place).exists()
    }
    changes = drift.compare(rows, {place: kept.measured for place, kept in old.items()})
    written = {}
    for place, baseline in made.items():
        if place in old:
            baseline = _succeeding(old[place], baseline, changes)
        file = _file(folder, place)
        file.parent.mkdir(parents=True, exist_ok=True)
        execution.write(file, as_text(baseline))
        written[file] = baseline.history[-1]
    return written


def _check_files(folder: Path, places: Sequence[Place]) -> None:
    """Refuse two backbones whose names differ only in signs that no file may have."""
    owners: dict[Path, Place] = {}
    for place in places:
        other = owners.setdefault(_file(folder, place), place)
        if other != place:
            raise _one_file(_file(folder, place), other, place)


def _one_file(file: Path, one: Place, other: Place) -> CourseError:
    return CourseError(
        f"{file} would hold the baselines of both {one} and {other}; give one of the "
        "two another name."
    )


def _succeeding(old: Baseline, new: Baseline, changes: Comparison) -> Baseline:
    """Return the new baseline with the old one's history and what moved since."""

    def here(row: Any) -> bool:
        return new.measured.place == Place(row.chapter, row.profile, row.backbone or "")

    moved = [
        {"name": row.name, "before": _rounded(row.before), "now": _rounded(row.now)}
        for row in changes.moved
        if here(row)
    ]
    gone, fresh = (
        [row.name for row in rows if here(row)] for rows in (changes.gone, changes.new)
    )
    entry = replace(new.history[-1], moved=moved, gone=gone, new=fresh)
    return replace(new, history=(*old.history, entry))


# Files --------------------------------------------------------------------------------


def find(folder: Path) -> dict[Place, Baseline]:
    """Return every baseline in a folder.

    Args:
        folder: with a folder for each profile.

    Raises:
        CourseError: there is none, or one cannot be read.
    """
    files = sorted(folder.glob("*/*.json"))
    if not files:
        raise CourseError(
            f"There are no baselines in {folder}; expected files such as "
            "quick/00_first_prediction.json. Make them with course baseline update."
        )
    kept = [_read(file) for file in files]
    for file, baseline in zip(files, kept, strict=True):
        _check_place(folder, file, baseline.measured.place)
    return {baseline.measured.place: baseline for baseline in kept}


def read(folder: Path, place: Place) -> Baseline:
    """Return the baseline of a chapter.

    Args:
        folder: of all baselines.
        place: chapter, profile and backbone.

    Raises:
        CourseError: there is none, or its file does not hold it.
    """
    file = _file(folder, place)
    baseline = _read(file)
    if baseline.measured.place != place:
        raise _one_file(file, baseline.measured.place, place)
    return baseline


def _file(folder: Path, place: Place) -> Path:
    tail = re.sub(r"[^A-Za-z0-9_-]", "-", place.backbone)
    name = f"{place.chapter}.{tail}.json" if tail else f"{place.chapter}.json"
    return folder / place.profile / name


def _check_place(folder: Path, file: Path, place: Place) -> None:
    expected = _file(folder, place)
    if file != expected:
        raise CourseError(
            f"{file} holds the baseline of {place}; expected that in {expected}. Move "
            "it there or delete it."
        )


def _read(file: Path) -> Baseline:
    content = runs.read_json(
        file, SCHEMA, "a baseline", "take it from the repository or make it anew"
    )
    baseline = _from_plain(content)
    if len(baseline.measured.values) < len(content["values"]):
        raise CourseError(f"{file} holds a value twice; make it anew from a run.")
    wrong = next(_by_hand(content["values"], baseline.measured), None)
    if wrong is not None:
        raise CourseError(
            f"{file} gives for {wrong!r} a mean or band that its seeds do not have; "
            "baselines are not edited. Make it anew with course baseline update."
        )
    return baseline


def _by_hand(rows: Sequence[Mapping[str, Any]], measured: Measured) -> Iterator[str]:
    """Yield the names of values whose summary is not that of their seeds."""
    for row, (key, values) in zip(rows, measured.values.items(), strict=True):
        summary = drift.summarise(key, values.values())
        for what in ("mean", "spread", "low", "high"):
            if not _alike(row[what], _rounded(getattr(summary, what))):
                yield row["name"]


def _alike(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-5)


def _from_plain(content: Mapping[str, Any]) -> Baseline:
    place = Place(content["chapter"], content["profile"], content["backbone"] or "")
    values = {
        Key(row["kind"], row["name"], row["unit"]): {
            int(seed): value for seed, value in row["seeds"].items()
        }
        for row in content["values"]
    }
    bounds = {row["name"]: row["bound"] for row in content["values"] if "bound" in row}
    seeds = tuple(int(seed) for seed in content["seeds"])
    measured = Measured(place, content["machine"], values, bounds, seeds)
    history = tuple(
        Entry(**{name: row[name] for name in Entry.__dataclass_fields__})
        for row in content["history"]
    )
    return Baseline(measured, history)


def as_text(baseline: Baseline) -> str:
    """Return the file of a baseline: strict JSON, one line for each value."""
    place = baseline.measured.place
    head = {
        "format": FORMAT,
        "chapter": place.chapter,
        "profile": place.profile,
        "backbone": place.backbone or None,
        "seeds": list(baseline.measured.whole),
        "band": drift.BAND,
        "machine": dict(baseline.measured.machine),
    }
    lines = [f'  "{name}": {_json(value)}' for name, value in head.items()]
    lines.append(_list("history", map(asdict, baseline.history)))
    lines.append(_list("values", _values(baseline.measured)))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _list(name: str, rows: Iterable[Mapping[str, Any]]) -> str:
    body = ",\n".join(f"    {_json(row)}" for row in rows)
    return f'  "{name}": [\n{body}\n  ]'


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _values(measured: Measured) -> Iterator[dict[str, Any]]:
    for key, values in measured.values.items():
        summary = drift.summarise(key, values.values())
        bound = measured.bounds.get(key.name) if key.kind == "claim" else None
        yield {
            **asdict(key),
            **({} if bound is None else {"bound": bound}),
            "mean": _rounded(summary.mean),
            "spread": _rounded(summary.spread),
            "low": _rounded(summary.low),
            "high": _rounded(summary.high),
            "seeds": {str(seed): value for seed, value in values.items()},
        }


def _rounded(value: float | None) -> float | None:
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.7g}")
