"""What runs measured: `records.json` read with care, and each value by its seed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course.errors import CourseError

LARGEST = 64 * 2**20  # bytes of a records.json; a run of everything holds two million
MOST = 1e100  # whose square is still a number
NAME = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z"}
PROFILE = {"enum": ["smoke", "quick", "full"]}
BACKBONE = {"type": ["string", "null"], "maxLength": 100}
SEED = {"type": "integer", "minimum": 0}
NUMBER = {"type": ["number", "null"]}
POSITIVE = {"type": "number", "minimum": 1e-6}
TEXT = {"type": "string"}
_RECORD = {
    "type": "object",
    "required": ["name", "value", "unit"],
    "properties": {"name": TEXT, "value": NUMBER, "unit": TEXT},
}
_CLAIM = {
    "type": "object",
    "required": ["text", "value", "bound", "holds"],
    "properties": {
        "text": TEXT,
        "value": NUMBER,
        "bound": TEXT,
        "holds": {"type": "boolean"},
    },
}
_ENVIRONMENT = {
    "type": "object",
    "required": ["profile", "seed"],
    "properties": {
        "profile": PROFILE,
        "seed": SEED,
        "backbone": BACKBONE,
        "packages": {"type": "object", "additionalProperties": TEXT},
        "cores": {"type": ["integer", "null"]},
        "threads": {"type": ["integer", "null"]},
        **dict.fromkeys(("python", "platform", "machine"), TEXT),
    },
}
SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": [
            *("chapter", "status", "seconds", "records", "claims", "environment")
        ],
        "properties": {
            "chapter": NAME,
            "status": {"enum": ["ok", "failed"]},
            "seconds": {"type": "number", "minimum": 0},
            "peak_mb": NUMBER,
            "records": {"type": "array", "items": _RECORD},
            "claims": {"type": "array", "items": _CLAIM},
            "environment": _ENVIRONMENT,
            "error": TEXT,
            "cell": {"type": ["string", "null"]},
            "reference": {
                "type": ["object", "null"],
                "required": ["seconds", "mb"],
                "properties": {"seconds": POSITIVE, "mb": POSITIVE},
            },
        },
    },
}
RATIO = "× reference"
SECONDS = {"s": 1, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9, "min": 60}
BYTES = ("kB", "KB", "KiB", "MB", "MiB", "GB", "GiB")
MACHINE = ("×", "threads")  # ratios of times, and what the machine offers


@dataclass(frozen=True, order=True)
class Place:
    """What a value is compared within: a chapter at one size with one backbone."""

    chapter: str
    profile: str = "quick"
    backbone: str = ""

    def __str__(self) -> str:
        """Word it as a reader would: the chapter, then what was chosen."""
        chosen = ", ".join(filter(None, (self.profile, self.backbone)))
        return f"{self.chapter} ({chosen})"


@dataclass(frozen=True)
class Key:
    """Which value of a chapter.

    Args:
        kind: ``"record"``, ``"claim"``, ``"memory"`` or ``"time"``.
        name: as recorded; a name that comes again is numbered.
        unit: of the value that is compared.
    """

    kind: str
    name: str
    unit: str = ""


TIME = Key("time", "the whole chapter", RATIO)
MEMORY = Key("memory", "the kernel at its largest", RATIO)


@dataclass(frozen=True)
class Measured:
    """What one chapter measured with several seeds.

    Args:
        place: which chapter, profile and backbone.
        machine: class of the machine and versions, in words.
        values: of each key, the value for each seed; None where it was no number.
        bounds: of each claim's text.
        whole: the seeds with which the chapter ran through.
    """

    place: Place
    machine: Mapping[str, str]
    values: Mapping[Key, Mapping[int, float | None]]
    bounds: Mapping[str, str]
    whole: tuple[int, ...]


# Reading ------------------------------------------------------------------------------


def read(place: Path) -> list[dict[str, Any]]:
    """Return the rows of a run: one for each chapter, profile, seed and backbone.

    Args:
        place: the run's folder, or its ``records.json``.

    Raises:
        CourseError: there is no such file, or it does not hold the rows of a run.
    """
    file = place / "records.json" if place.is_dir() else place
    rows = read_json(file, SCHEMA, "the records of a run", "run the chapters again")
    counted = Counter((place_of(row), seed_of(row)) for row in rows)
    for (where, seed), count in counted.items():
        if count > 1:
            raise CourseError(
                f"{file} holds {where} with seed {seed} {count} times; expected it "
                "once. Name the folder of one run."
            )
    return rows


def read_json(file: Path, schema: Mapping[str, Any], what: str, way_out: str) -> Any:
    """Return what a JSON file holds, once it has been checked.

    Args:
        file: not to be trusted.
        schema: a JSON schema.
        what: the file should hold, for the message.
        way_out: what the reader can do, for the message.

    Raises:
        CourseError: it cannot be read, is too large, no strict JSON, or against the
            schema.
    """
    try:
        content = json.loads(
            _text(file),
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_whole,
        )
        reason = _against(schema, content)
        content = _clean(content)
    except (OSError, ValueError, RecursionError) as error:
        reason = _why(error)
    if reason:
        raise CourseError(f"{file} does not hold {what}: {reason}; {way_out}.")
    return content


def _text(file: Path) -> str:
    if not file.is_file():
        raise ValueError("it is no file" if file.exists() else "there is no such file")
    with file.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST // 2**20} MiB")
    return content.decode("utf-8")


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not abs(number) <= MOST:
        raise ValueError(f"{digits[:20]} is too large for a number")
    return number


def _whole(digits: str) -> int:
    if len(digits) > 18:
        raise ValueError(f"{digits[:20]}… is too large for a number")
    return int(digits)


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error.msg}, line {error.lineno})"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError):
        return (error.strerror or "it cannot be read").lower()
    return str(error)


def _clean(content: Any) -> Any:
    """Return the content with `printable` texts alone: names come from anywhere."""
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, list):
        return [_clean(part) for part in content]
    if isinstance(content, dict):
        return {printable(name): _clean(part) for name, part in content.items()}
    return content


def _against(schema: Mapping[str, Any], content: Any) -> str:
    """Say where the content is against the schema; nothing where it is not."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(content))
    if error is None:
        return ""
    message = error.message.replace("\n", " ")
    short = message if len(message) <= 120 else f"{message[:60]} … {message[-50:]}"
    return f"at {error.json_path[:80]}, {printable(short)}"


def printable(text: str) -> str:
    """Return a text without what would steer a terminal; line ends become spaces."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " for sign in text)


# Gathering ----------------------------------------------------------------------------


def place_of(row: Mapping[str, Any]) -> Place:
    """Return the chapter, profile and backbone of a row."""
    about = row["environment"]
    return Place(row["chapter"], about["profile"], about.get("backbone") or "")


def seed_of(row: Mapping[str, Any]) -> int:
    """Return the seed of a row."""
    return int(row["environment"]["seed"])


def gather(rows: Iterable[Mapping[str, Any]]) -> list[Measured]:
    """Return the values of rows by their place, key and seed.

    Times and memory of the kernel, and times among the records, become ratios to the
    reference cell of the same kernel; they are None where it did not run.

    Args:
        rows: from `read`.
    """
    places: dict[Place, list[Mapping[str, Any]]] = {}
    for row in rows:
        places.setdefault(place_of(row), []).append(row)
    return [_measured(place, group) for place, group in sorted(places.items())]


def _measured(place: Place, rows: Sequence[Mapping[str, Any]]) -> Measured:
    values: dict[Key, dict[int, float | None]] = {}
    bounds: dict[str, str] = {}
    for row in sorted(rows, key=seed_of):
        for key, value in _values(row):
            values.setdefault(key, {})[seed_of(row)] = value
        for claim in row["claims"]:
            bounds.setdefault(claim["text"], claim["bound"])
    whole = sorted(seed_of(row) for row in rows if row["status"] == "ok")
    return Measured(place, _machine(rows), values, bounds, tuple(whole))


def _values(row: Mapping[str, Any]) -> Iterator[tuple[Key, float | None]]:
    reference = row.get("reference") or {}
    seconds, megabytes = reference.get("seconds"), reference.get("mb")
    names = Counter((TIME.name, MEMORY.name))
    for record in row["records"]:
        name = _numbered(record["name"], names)
        yield _as_compared(name, record["value"], record["unit"], seconds)
    names.clear()
    for claim in row["claims"]:
        yield Key("claim", _numbered(claim["text"], names)), claim["value"]
    if row["status"] == "ok":  # a chapter that stopped early took less of both
        yield TIME, _ratio(row["seconds"], seconds)
        yield MEMORY, _ratio(row.get("peak_mb"), megabytes)


def _numbered(name: str, names: Counter[str]) -> str:
    names[name] += 1
    return name if names[name] == 1 else f"{name} ({names[name]})"


def _ratio(value: float | None, reference: float | None) -> float | None:
    if value is None or reference is None:
        return None
    return _rounded(value / reference)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")  # microseconds keep their digits, too


def _as_compared(
    name: str, value: float | None, unit: str, seconds: float | None
) -> tuple[Key, float | None]:
    """Return key and value of a record; a time is divided by that of the reference."""
    if unit in SECONDS:
        took = None if value is None else value * SECONDS[unit]
        return Key("time", name, RATIO), _ratio(took, seconds)
    if unit.endswith("/s"):
        done = None if None in (value, seconds) else _rounded(value * seconds)
        return Key("time", name, f"{unit[:-2]} per reference"), done
    if unit in MACHINE:
        return Key("time", name, unit), value
    return Key("memory" if unit in BYTES else "record", name, unit), value


def _machine(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the class of the machine; where rows differ, each of what they say."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for what, word in _class(row["environment"]).items():
            found.setdefault(what, {})[word] = None
    return {what: " | ".join(words) for what, words in found.items()}


def _class(about: Mapping[str, Any]) -> dict[str, str]:
    packages = about.get("packages", {})
    words = {
        "system": about.get("platform", "").split("-")[0],
        "processor": about.get("machine", ""),
        "cores": str(about.get("cores") or ""),
        "threads": str(about.get("threads") or ""),
        "python": ".".join(about.get("python", "").split(".")[:2]),
        **{name: packages.get(name, "") for name in ("torch", "torchvision")},
    }
    return {what: word or "unknown" for what, word in words.items()}
