"""Exercises of chapter 11: a file's header, a licence, the time of a download."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator

from course.exercises import tools_mistakes as mistakes
from course.exercises.base import Case, Exercise

Row = Mapping[str, Any]
BYTES = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1}


def _whole(generator: Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


# The header of a file of weights ------------------------------------------------------


def count_values_reference(data: bytes) -> int:
    """Return how many numbers a safetensors file holds, from its header alone.

    Args:
        data: the whole file. Its first eight bytes are the length of the header, the
            least significant byte first; then comes the header, as JSON: for each
            tensor its "dtype", its "shape" and where its bytes lie. The entry
            "__metadata__", which a file may have, is no tensor.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            total += math.prod(tensor["shape"])  # 1 where the shape is empty
    return total


def _file(
    tensors: Mapping[str, tuple[str, Sequence[int]]], notes: Mapping[str, str]
) -> bytes:
    """Return a safetensors file of zeros; `tensors` are kinds and shapes by name."""
    header: dict[str, Any] = {"__metadata__": dict(notes)} if notes else {}
    place = 0
    for name, (dtype, shape) in tensors.items():
        end = place + BYTES[dtype] * math.prod(shape)
        offsets = [place, end]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(place)


def _file_case(
    tensors: Mapping[str, tuple[str, Sequence[int]]],
    part: str,
    notes: Mapping[str, str] | None = None,
) -> Case:
    shapes = ", ".join(f"{kind} {tuple(shape)}" for kind, shape in tensors.values())
    shown = f"count_values(a file with {shapes or 'no tensor'})"
    return Case((_file(tensors, notes or {}),), shown, part)


def _file_cases() -> list[Case]:
    some = {"fc.weight": ("F32", (3, 4)), "fc.bias": ("F32", (3,))}
    return [
        _file_case({"fc.weight": ("F32", (5, 2))}, "one tensor"),
        _file_case(some, "several tensors"),
        _file_case(some, "notes in the header", {"licence": "MIT", "made": "here"}),
        _file_case(
            {"fc.weight": ("F16", (4, 3)), "fc.bias": ("BF16", (4,))}, "half precision"
        ),
        _file_case(
            {"bn.weight": ("F32", (6,)), "bn.seen": ("I64", ())}, "a single number"
        ),
        _file_case({}, "no tensor", {"licence": "MIT"}),
    ]


def _draw_file(generator: Generator) -> Case:
    tensors, kinds = {}, tuple(BYTES)
    for number in range(_whole(generator, 1, 4)):
        sides = [_whole(generator, 2, 5) for _ in range(_whole(generator, 1, 4))]
        name = f"layer{number}.{('weight', 'bias')[_whole(generator, 0, 1)]}"
        tensors[name] = (kinds[_whole(generator, 0, len(kinds) - 1)], sides)
    return _file_case(tensors, "several tensors")


count_values = Exercise(
    name="count_values",
    title="Read a file's header by hand",
    minutes=10,
    difficulty="medium",
    trains="looking into a file of weights without opening it",
    hints=(
        "Three steps: how long is the header, what does it say, and what is the "
        "product of each shape?",
        'int.from_bytes(data[:8], "little") is the length; json.loads reads the bytes '
        'that follow, and "__metadata__" has to be left out.',
        'math.prod(tensor["shape"]) for each, summed. The product of no sides is 1, '
        "which is right for a single number.",
    ),
    reference=count_values_reference,
    cases=_file_cases,
    mistakes=mistakes.COUNT_VALUES,
    place="4 · What is in a file of weights?",
    draw=_draw_file,
)

# What may be shipped ------------------------------------------------------------------


def may_ship_reference(
    rows: Sequence[Row], allowed: Sequence[str], most_mb: float
) -> list[str]:
    """Return the names of the models that may be built into a product.

    Args:
        rows: with "model", "code" and "weights" (a licence each, or None where nobody
            has stated one) and "mb" (None where it is not known).
        allowed: the licences that will do; upper and lower case do not matter.
        most_mb: the most that the file may have.

    Returns:
        Names, in the order given.
    """
    fine = {licence.lower() for licence in allowed}

    def fits(row: Row) -> bool:
        stated = [row["code"], row["weights"], row["mb"]]
        if None in stated:
            return False
        licences = {row["code"].lower(), row["weights"].lower()}
        return licences <= fine and row["mb"] <= most_mb

    return [row["model"] for row in rows if fits(row)]


def _candidate(
    model: str, code: str | None, weights: str | None, mb: float | None
) -> dict[str, Any]:
    return {"model": model, "code": code, "weights": weights, "mb": mb}


ALLOWED = ("MIT", "Apache-2.0", "BSD-3-Clause")
CANDIDATES = (
    _candidate("birch", "MIT", "MIT", 44.0),
    _candidate("cedar", "BSD-3-Clause", None, 45.0),
    _candidate("elm", "Apache-2.0", "CC-BY-NC-4.0", 12.0),
    _candidate("holly", "apache-2.0", "mit", 52.0),
    _candidate("larch", None, "MIT", 57.0),
    _candidate("maple", "Apache-2.0", "Apache-2.0", 88.0),
    _candidate("oak", "GPL-3.0", "MIT", 20.0),
    _candidate("pine", "MIT", "Apache-2.0", None),
    _candidate("rowan", "MIT", "BSD-3-Clause-No-Military-License", 40.0),
    _candidate("willow", "BSD-3-Clause", "Apache-2.0", 60.0),
)


def _ship_case(
    rows: Sequence[Row], part: str, most_mb: float, allowed: Sequence[str] = ALLOWED
) -> Case:
    shown = f"may_ship({len(rows)} models, {list(allowed)}, {most_mb:g})"
    return Case(([dict(row) for row in rows], allowed, most_mb), shown, part)


def _ship_cases() -> list[Case]:
    by_name = {row["model"]: row for row in CANDIDATES}

    def of(*names: str) -> list[Row]:
        return [by_name[name] for name in names]

    return [
        _ship_case(of("willow", "maple", "birch"), "size", 60.0),
        _ship_case(of("oak", "birch", "elm"), "both licences", 60.0),
        _ship_case(of("cedar", "birch", "larch"), "nothing stated", 60.0),
        _ship_case(of("birch", "holly"), "upper and lower case", 60.0),
        _ship_case(of("pine", "birch"), "unknown size", 60.0),
        _ship_case(of("birch", "rowan"), "names that look alike", 60.0),
        _ship_case(CANDIDATES, "all of them", 50.0),
        _ship_case(CANDIDATES, "another list", 100.0, ("GPL-3.0", "MIT")),
        _ship_case(of("cedar", "elm"), "nothing left", 60.0),
    ]


def _draw_ship(generator: Generator) -> Case:
    stated = (*ALLOWED, "mit", "CC-BY-NC-4.0", "GPL-3.0", None)

    def licence() -> str | None:
        return stated[_whole(generator, 0, len(stated) - 1)]

    rows = []
    for row in CANDIDATES[: _whole(generator, 2, 6)]:
        mb = _whole(generator, 0, 9)
        code, weights = licence(), licence()
        size = float(10 * mb) if mb else None
        rows.append(_candidate(row["model"], code, weights, size))
    return _ship_case(rows, "all of them", float(10 * _whole(generator, 4, 9)))


may_ship = Exercise(
    name="may_ship",
    title="Which may go into a product?",
    minutes=8,
    difficulty="easy",
    trains="reading silence as a no",
    hints=(
        "A row fits if three things are stated, both licences are in the list, and the "
        "size is not above the limit.",
        "Ask for None first, on its own. Then compare licences in lower case and "
        "whole: one name may begin like another.",
        "fine = {a.lower() for a in allowed}; keep a row where None is in none of the "
        'three, {row["code"].lower(), row["weights"].lower()} <= fine, and '
        'row["mb"] <= most_mb. Return the names.',
    ),
    reference=may_ship_reference,
    cases=_ship_cases,
    mistakes=mistakes.MAY_SHIP,
    place="3 · What a licence covers",
    draw=_draw_ship,
)

# The time of a download ---------------------------------------------------------------

BITS = {
    "float64": 64,
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "int8": 8,
    "int4": 4,
}


def download_seconds_reference(
    parameters: int, dtype: str, mbit: float, readers: int
) -> float:
    """Return how long it takes until every reader has a model's weights.

    Args:
        parameters: how many weights it has.
        dtype: how each is stored: "float64", "float32", "float16", "bfloat16", "int8",
            or "int4", of which two share a byte.
        mbit: what the line that all share carries, in megabits (10⁶ bits) a second.
        readers: how many fetch a copy each.
    """
    bits = parameters * BITS[dtype] * readers
    return bits / (mbit * 1e6)


def _download_case(
    parameters: int, dtype: str, mbit: float, readers: int, part: str
) -> Case:
    return Case.of("download_seconds", parameters, dtype, mbit, readers, part=part)


def _download_cases() -> list[Case]:
    tries = [
        (25_557_032, "float32", 16.0, 1, "one reader"),
        (5_288_548, "float32", 50.0, 1, "one reader"),
        (25_557_032, "float16", 16.0, 1, "half precision"),
        (86_567_656, "bfloat16", 25.0, 1, "half precision"),
        (25_557_032, "int8", 16.0, 1, "few bits"),
        (7_000_000_001, "int4", 100.0, 1, "few bits"),
        (11_689_512, "float32", 50.0, 30, "a class"),
        (1_000_000, "float64", 8.0, 2, "a class"),
    ]
    return [_download_case(*row) for row in tries]


def _draw_download(generator: Generator) -> Case:
    dtype = tuple(BITS)[_whole(generator, 0, len(BITS) - 1)]
    parameters = 1000 * _whole(generator, 1000, 90_000)
    readers = _whole(generator, 1, 30)
    mbit = float(_whole(generator, 2, 100))
    part = "one reader" if readers == 1 else "a class"
    return _download_case(parameters, dtype, mbit, readers, part)


download_seconds = Exercise(
    name="download_seconds",
    title="How long is the download?",
    minutes=6,
    difficulty="easy",
    trains="saying how large a model is before anything is fetched",
    hints=(
        "How many bits are there to carry in all, and how many does the line carry in "
        "a second?",
        "The number in a dtype's name is its bits, and a network's speed is stated in "
        "bits as well: no byte is needed. A megabit is 10⁶ bits.",
        "parameters * bits * readers / (mbit * 1e6), where bits is 64, 32, 16, 16, 8 "
        "or 4.",
    ),
    reference=download_seconds_reference,
    cases=_download_cases,
    mistakes=mistakes.DOWNLOAD_SECONDS,
    place="2 · How large is it?",
    draw=_draw_download,
)

EXERCISES = (download_seconds, may_ship, count_values)
