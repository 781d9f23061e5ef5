"""What a folder of a run holds, whatever version of the workbook made it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from course import runs
from course.errors import CourseError

T = TypeVar("T", bound="Number | Claim")

PROFILES = ("smoke", "quick", "full")
ROWS = {"type": "array", "items": {"type": "object"}}
MOST_PAST = 24  # earlier runs; more points than that run into one another
NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"


@dataclass(frozen=True)
class Number:
    """A record: a number that a chapter measured.

    Args:
        name: in words; a second of the same name within a chapter is told apart.
        value: the mean; None where it was no finite number.
        unit: empty for shares and counts.
    """

    name: str
    value: float | None
    unit: str


@dataclass(frozen=True)
class Claim:
    """A lesson with its bound.

    Args:
        text: the lesson.
        value: what was measured; None where it was no finite number.
        low: lower end of its interval.
        high: upper end.
        bound: in words, such as ``"at least 0.5"``.
        holds: whether it does.
        margin: how far inside the bound the nearer end of the interval is; negative
            outside; None where it is not known.
    """

    text: str
    value: float | None
    low: float | None
    high: float | None
    bound: str
    holds: bool
    margin: float | None

    @property
    def share(self) -> float | None:
        """The margin as a share of how far the bound is; see `distance`."""
        far = distance(self.bound, self.value)
        return self.margin / far if self.margin is not None and far else None


@dataclass(frozen=True)
class Setting:
    """What the chapters of one run share: the profile, the backbone and the seed."""

    profile: str
    backbone: str | None
    seed: int | None

    @property
    def label(self) -> str:
        """In words."""
        return ", ".join(self.words)

    @property
    def words(self) -> list[str]:
        """Profile, seed and backbone, as far as they are known."""
        seed = [] if self.seed is None else [f"seed {self.seed}"]
        return [self.profile or "no profile", *seed, *filter(None, [self.backbone])]

    @property
    def place(self) -> tuple[int, str, str, float]:
        """Where it stands in an order."""
        known = self.profile in PROFILES
        rank = PROFILES.index(self.profile) if known else len(PROFILES)
        seed = -math.inf if self.seed is None else self.seed
        return rank, self.profile, self.backbone or "", seed


@dataclass(frozen=True)
class Part:
    """One chapter of one run.

    Args:
        chapter: the notebook's name without its ending.
        setting: of the run.
        ok: whether it ran through.
        seconds: wall time.
        peak_mb: the most memory that its kernel held.
        records: in the chapter's order.
        claims: in the chapter's order.
        environment: what to the words for it; versions are named by their package.
        error: what went wrong; empty where nothing did.
        cell: identifier of the cell that failed.
        folder: where notebook and page are, relative to the run's folder.
        page: the address of its page, relative to the report; empty without one.
    """

    chapter: str
    setting: Setting
    ok: bool
    seconds: float | None
    peak_mb: float | None
    records: tuple[Number, ...]
    claims: tuple[Claim, ...]
    environment: Mapping[str, str]
    error: str
    cell: str | None
    folder: str
    page: str = ""

    @property
    def held(self) -> int:
        """How many of its claims hold."""
        return sum(claim.holds for claim in self.claims)

    @property
    def address(self) -> str:
        """Its page, at the failing cell where there is one; empty without a page."""
        if not self.page or self.cell is None:
            return self.page
        return f"{self.page}#cell-id={quote(self.cell, safe='', errors='replace')}"


@dataclass(frozen=True)
class Run:
    """A folder that `course run` left.

    Args:
        place: the folder.
        made: when its records were written.
        parts: by chapter, then by setting.
    """

    place: Path
    made: datetime
    parts: tuple[Part, ...]

    @property
    def settings(self) -> list[Setting]:
        """The runs in it, in order."""
        known = {part.setting for part in self.parts}
        return sorted(known, key=lambda setting: setting.place)

    @property
    def chapters(self) -> list[str]:
        """The chapters in it, in order."""
        return sorted({part.chapter for part in self.parts})

    @property
    def failed(self) -> list[Part]:
        """The parts that did not run through."""
        return [part for part in self.parts if not part.ok]


@dataclass
class Past:
    """Earlier runs, from the oldest on, and why others were left out."""

    runs: list[Run] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def load(out: Path) -> Run:
    """Read a run.

    Args:
        out: its folder, or the ``records.json`` in it.

    Raises:
        CourseError: there are no records, or they are none of a run.
    """
    out = folder_of(out)
    place = out / "records.json"
    rows = runs.read_json(place, ROWS, "the records of a run", "run the chapters again")
    made = datetime.fromtimestamp(place.stat().st_mtime).astimezone()
    parts = [_with_page(_part(row), out) for row in rows]
    parts.sort(key=lambda part: (part.chapter, part.setting.place))
    return Run(out, made, tuple(parts))


def folder_of(place: Path) -> Path:
    """Return the folder of a run that is named by it or by its records."""
    return place.parent if place.name == "records.json" else place


def load_past(history: Iterable[Path], now: Run) -> Past:
    """Read earlier runs; one that cannot be read is left out with its reason.

    Args:
        history: their folders, or the ``records.json`` in them, in any order; the one
            of `now` is passed over.
        now: the run that is reported.
    """
    past, own = Past(), now.place.resolve()
    for folder in sorted(history):
        if folder_of(folder).resolve() == own:
            continue
        try:
            past.runs.append(load(folder))
        except CourseError as error:
            past.left_out.append(str(error))
    past.runs.sort(key=lambda run: run.made)
    del past.runs[:-MOST_PAST]
    return past


def _part(row: Mapping[str, Any]) -> Part:
    environment = _dict(row.get("environment"))
    seed = environment.get("seed")
    setting = Setting(
        _text(environment.get("profile")),
        _text(environment.get("backbone")) or None,
        seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
    )
    records = map(_record, _dicts(row.get("records")))
    claims = map(_claim, _dicts(row.get("claims")))
    cell = row.get("cell")
    return Part(
        chapter=_text(row.get("chapter")),
        setting=setting,
        ok=row.get("status") == "ok",
        seconds=_number(row.get("seconds")),
        peak_mb=_number(row.get("peak_mb")),
        records=tuple(_told_apart(records, "name")),
        claims=tuple(_told_apart(claims, "text")),
        environment=dict(_versions(environment)),
        error=_text(row.get("error")),
        cell=None if cell is None else _text(cell),
        folder=_text(row.get("folder")) or ".",
    )


def _with_page(part: Part, out: Path) -> Part:
    """Add the address of the page, where there is one."""
    name = f"{part.chapter}.html"
    with suppress(OSError, ValueError):  # a name that no file could have
        if (out / part.folder / name).is_file():
            address = name if part.folder == "." else f"{part.folder}/{name}"
            # The dot keeps what follows from being another host or a scheme.
            return replace(part, page=f"./{quote(address, errors='replace')}")
    return part


def _record(row: Mapping[str, Any]) -> Number:
    return Number(
        _text(row.get("name")), _number(row.get("value")), _text(row.get("unit"))
    )


def _told_apart(rows: Iterable[T], attribute: str) -> Iterator[T]:
    """Number what comes again under the same name, as a comparison does."""
    seen: Counter[str] = Counter()
    for row in rows:
        name = getattr(row, attribute)
        seen[name] += 1
        again = {attribute: f"{name} ({seen[name]})"}
        yield replace(row, **again) if seen[name] > 1 else row


def _claim(row: Mapping[str, Any]) -> Claim:
    value, bound = _number(row.get("value")), _text(row.get("bound"))
    low, high = (_number(row.get(end, value)) for end in ("low", "high"))
    margin = _number(row["margin"]) if "margin" in row else _margin(bound, low, high)
    holds = row.get("holds") is True
    return Claim(_text(row.get("text")), value, low, high, bound, holds, margin)


def ends(bound: str) -> tuple[float | None, float | None]:
    """Return the lower and the upper bound that a claim's words name."""
    found = re.fullmatch(
        f"(at least|at most|between) ({NUMBER})(?: and ({NUMBER}))?", bound
    )
    if not found:
        return None, None
    word, first, second = found.groups()
    if word == "between":
        return float(first), None if second is None else float(second)
    return (float(first), None) if word == "at least" else (None, float(first))


def distance(bound: str, value: float | None) -> float | None:
    """Return how far a bound is: what a claim's margin is measured by.

    For ``between`` half of the width; else the bound, or the value where that is the
    larger: without their signs.
    """
    low, high = ends(bound)
    if low is not None and high is not None:
        return (high - low) / 2
    sizes = [abs(one) for one in (low, high, value) if one is not None]
    return max(sizes) if low is not None or high is not None else None


def _margin(bound: str, low: float | None, high: float | None) -> float | None:
    """Work out the margin where an older run did not keep it."""
    least, most = ends(bound)
    rooms = []
    if least is not None and low is not None:
        rooms.append(low - least)
    if most is not None and high is not None:
        rooms.append(most - high)
    return min(rooms, default=None)


def _versions(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        if (
            name not in ("profile", "seed", "backbone", "packages")
            and value is not None
        ):
            yield _text(name), _text(value)
    for name, version in _dict(environment.get("packages")).items():
        yield _text(name), _text(version)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        return float(value) if math.isfinite(value) else None
    return None


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> Sequence[Mapping[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)]
