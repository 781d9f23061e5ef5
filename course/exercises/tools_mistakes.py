"""Wrong answers that readers give to the exercises of chapter 11, by name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course.exercises.base import Mistake

Answer = Callable[..., Any]
Row = Mapping[str, Any]

# The header of a file of weights ------------------------------------------------------


def _header(data: bytes) -> dict[str, Any]:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def _tensors(data: bytes) -> dict[str, Any]:
    header = _header(data)
    return {name: row for name, row in header.items() if name != "__metadata__"}


def _summed(value: Callable[[Any], float]) -> Answer:
    """Return an answer by what it takes a tensor's entry for."""
    return lambda data: sum(value(row) for row in _tensors(data).values())


def _size(row: Row) -> int:
    start, end = row["data_offsets"]
    return end - start


def _count(row: Row) -> int:
    return math.prod(row["shape"])


def _wrong_end(data: bytes) -> int:
    length = int.from_bytes(data[:8], "big")  # beyond the end, so all the rest
    header = json.loads(data[8 : 8 + length])
    return sum(_count(row) for name, row in header.items() if name[:2] != "__")


def _from_the_start(data: bytes) -> int:
    header = json.loads(data[: int.from_bytes(data[:8], "little")])
    return sum(_count(row) for row in header.values())


def _notes_too(data: bytes) -> int:
    return sum(_count(row) for row in _header(data).values())


def _weights_alone(data: bytes) -> int:
    tensors = _tensors(data).items()
    return sum(_count(row) for name, row in tensors if name.endswith("weight"))


def _no_whole_numbers(data: bytes) -> int:
    tensors = _tensors(data).values()
    return sum(_count(row) for row in tensors if not row["dtype"].startswith("I"))


COUNT_VALUES = (
    Mistake(
        _wrong_end,
        "The header was cut in the wrong place: it begins at byte 8, and the eight "
        "bytes before it say its length, the least significant first.",
        "header cut in the wrong place",
    ),
    Mistake(
        _from_the_start,
        "The eight bytes of the length were read as JSON: the header begins after "
        "them.",
        "header read from the first byte",
    ),
    Mistake(
        _notes_too,
        'The header may hold "__metadata__", which is no tensor and has no shape.',
        "metadata taken for a tensor",
    ),
    Mistake(
        lambda data: len(_tensors(data)),
        "That is how many tensors there are: multiply the sides of each shape.",
        "tensors counted",
    ),
    Mistake(
        lambda data: len(_header(data)),
        "Those are the entries of the header: multiply the sides of each shape, and "
        'leave "__metadata__" out.',
        "entries counted",
    ),
    Mistake(
        _summed(_size),
        "Those are bytes: a number takes one to eight of them, which its dtype says.",
        "bytes counted",
    ),
    Mistake(
        _summed(lambda row: _size(row) // 4),
        "Not every number takes four bytes: take the shapes, which need no dtype.",
        "four bytes a number",
    ),
    Mistake(
        _summed(lambda row: _count(row) if row["shape"] else 0),
        "An empty shape is a single number, not none.",
        "a single number taken for none",
    ),
    Mistake(
        _summed(lambda row: sum(row["shape"])),
        "The sides were added: a tensor of 3 by 4 holds 12 numbers.",
        "sides added",
    ),
    Mistake(
        _summed(lambda row: row["shape"][0]),
        "That is the first side alone: multiply all of them.",
        "first side alone",
    ),
    Mistake(
        _weights_alone,
        "Only what is called weight was counted: biases and the like are numbers too.",
        "weights alone",
    ),
    Mistake(
        _no_whole_numbers,
        "Whole numbers were left out: the file holds them as well.",
        "whole numbers left out",
    ),
    Mistake(
        lambda data: max((_count(row) for row in _tensors(data).values()), default=0),
        "That is the largest tensor: sum over all of them.",
        "the largest tensor alone",
    ),
)

# What may be shipped ------------------------------------------------------------------


def _known(row: Row, *columns: str) -> bool:
    return all(row[name] is not None for name in columns)


def _licensed(row: Row, allowed: Sequence[str], *columns: str) -> bool:
    fine = {licence.lower() for licence in allowed}
    return all(row[name].lower() in fine for name in columns)


def _small(row: Row, most_mb: float) -> bool:
    return row["mb"] is not None and row["mb"] <= most_mb


def _by(fits: Callable[[Row, Sequence[str], float], bool]) -> Answer:
    """Return an answer by which rows it lets through."""
    return lambda rows, allowed, most_mb: [
        row["model"] for row in rows if fits(row, allowed, most_mb)
    ]


def _fits(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    stated = _known(row, "code", "weights")
    return (
        stated and _licensed(row, allowed, "code", "weights") and _small(row, most_mb)
    )


def _one_column(name: str) -> Answer:
    return _by(
        lambda row, allowed, mb: (
            _known(row, name) and _licensed(row, allowed, name) and _small(row, mb)
        )
    )


def _either(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    fine = [
        _known(row, name) and _licensed(row, allowed, name)
        for name in ("code", "weights")
    ]
    return any(fine) and _small(row, most_mb)


def _silence_is_yes(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    stated = [name for name in ("code", "weights") if row[name] is not None]
    return _licensed(row, allowed, *stated) and _small(row, most_mb)


def _size_unasked(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    return _fits({**row, "mb": row["mb"] or 0.0}, allowed, most_mb)


def _in_text(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    def within(name: str) -> bool:
        return any(licence.lower() in row[name].lower() for licence in allowed)

    stated = _known(row, "code", "weights") and _small(row, most_mb)
    return stated and within("code") and within("weights")


def _as_written(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    return row["code"] in allowed and row["weights"] in allowed and _small(row, most_mb)


def _below(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    return _fits(row, allowed, most_mb) and row["mb"] < most_mb


def _not_forbidden(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    stated = [row["code"] or "", row["weights"] or ""]
    return not any("NC" in one for one in stated) and _small(row, most_mb)


def _none_asked(row: Row, allowed: Sequence[str], most_mb: float) -> bool:
    return _licensed(row, allowed, "code", "weights") and row["mb"] <= most_mb


def _rows_themselves(
    rows: Sequence[Row], allowed: Sequence[str], most_mb: float
) -> list[Row]:
    return [row for row in rows if _fits(row, allowed, most_mb)]


MAY_SHIP = (
    Mistake(
        _one_column("code"),
        "Only the code's licence was read: it does not cover the weights.",
        "weights' licence not read",
    ),
    Mistake(
        _one_column("weights"),
        "Only the weights' licence was read: a product holds the code as well.",
        "code's licence not read",
    ),
    Mistake(
        _by(_either),
        "One of the two licences is not enough: both have to be in the list.",
        "either licence will do",
    ),
    Mistake(
        _by(_silence_is_yes),
        "A licence that nobody has stated was taken for a permission: None is a no, "
        "until you have asked.",
        "silence taken for permission",
    ),
    Mistake(
        _by(_size_unasked),
        "An unknown size was taken for none: None does not fit under a limit.",
        "unknown size taken for zero",
    ),
    Mistake(
        _by(_in_text),
        "A part of the name was found in it: a licence may begin like another and "
        "forbid what that one allows. Compare whole names.",
        "part of a name taken for the licence",
    ),
    Mistake(
        _by(_as_written),
        "Upper and lower case were told apart: “mit” is the MIT licence. Compare in "
        "lower case.",
        "upper and lower case told apart",
    ),
    Mistake(
        _by(_below),
        "At most includes the limit: <= and not <.",
        "the limit itself refused",
    ),
    Mistake(
        _by(_not_forbidden),
        "You threw out what forbids selling by its name. There are other licences that "
        "do not fit: keep only what is in the list.",
        "a list of what is forbidden",
    ),
    Mistake(
        _by(_none_asked),
        "None has no lower case, and is not less than a number: ask for it first.",
        "None not asked for",
    ),
    Mistake(
        _by(
            lambda row, allowed, _: (
                _known(row, "code", "weights")
                and _licensed(row, allowed, "code", "weights")
            )
        ),
        "The size was not looked at.",
        "size not looked at",
    ),
    Mistake(
        _by(lambda row, allowed, most_mb: _small(row, most_mb)),
        "The licences were not looked at.",
        "licences not looked at",
    ),
    Mistake(
        _by(lambda *row: not _fits(*row)),
        "Those are the ones that may not be shipped.",
        "the wrong ones kept",
    ),
    Mistake(
        _rows_themselves,
        "These are rows: return the names of the models.",
        "rows instead of names",
    ),
)

# The time of a download ---------------------------------------------------------------

BITS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16} | {
    "int8": 8,
    "int4": 4,
}


def _time(
    bits: Callable[[str], float] = BITS.__getitem__,
    second: float = 1e6,
    factor: float = 1.0,
) -> Answer:
    """Return an answer by a weight's bits, a megabit, and what it multiplies by."""

    def answer(parameters: int, dtype: str, mbit: float, readers: int) -> float:
        return factor * parameters * bits(dtype) * readers / (mbit * second)

    return answer


def _one_reader(parameters: int, dtype: str, mbit: float, readers: int) -> float:
    return _time()(parameters, dtype, mbit, 1)


def _shared_out(parameters: int, dtype: str, mbit: float, readers: int) -> float:
    return _time()(parameters, dtype, mbit, 1) / readers


def _turned(parameters: int, dtype: str, mbit: float, readers: int) -> float:
    return 1 / _time()(parameters, dtype, mbit, readers)


def _size_alone(parameters: int, dtype: str, mbit: float, readers: int) -> float:
    return parameters * BITS[dtype] * readers / 8


def _rounded(parameters: int, dtype: str, mbit: float, readers: int) -> float:
    return round(_time()(parameters, dtype, mbit, readers))


DOWNLOAD_SECONDS = (
    Mistake(
        _time(factor=1 / 8),
        "That is eight times too short: a line's speed is in bits, and a byte has "
        "eight of them.",
        "megabits taken for megabytes",
    ),
    Mistake(
        _time(factor=8),
        "That is eight times too long: the number in a dtype's name is bits already.",
        "bits taken for bytes",
    ),
    Mistake(
        _time(lambda dtype: 32 if dtype == "bfloat16" else BITS[dtype]),
        "bfloat16 has 16 bits; it has the range of 32, and not their number.",
        "bfloat16 taken for 32 bits",
    ),
    Mistake(
        _time(lambda dtype: 32),
        "Every weight was given 32 bits: the dtype says how many it has.",
        "32 bits whatever the dtype",
    ),
    Mistake(
        _time(lambda dtype: max(8, BITS[dtype])),
        "Two int4 share a byte: each takes 4 bits.",
        "a byte for each int4",
    ),
    Mistake(
        _time(second=2**20),
        "A megabit on a line is 10⁶ bits, and not 2²⁰.",
        "2²⁰ bits a megabit",
    ),
    Mistake(
        _time(second=1),
        "The speed is in megabits: a million bits each.",
        "mega forgotten",
    ),
    Mistake(
        _time(second=1e3),
        "Mega is a million, and kilo a thousand.",
        "mega taken for kilo",
    ),
    Mistake(
        _time(factor=1 / 60),
        "Those are minutes: seconds were asked for.",
        "minutes",
    ),
    Mistake(
        _one_reader,
        "All share one line: what thirty fetch takes thirty times as long.",
        "one reader's download",
    ),
    Mistake(
        _shared_out,
        "More readers do not make it faster: they share one line, so multiply.",
        "divided by the readers",
    ),
    Mistake(
        _turned,
        "That is speed by size: divide the size by the speed.",
        "speed divided by size",
    ),
    Mistake(
        _size_alone,
        "That is a size in bytes: divide the bits by the bits that pass in a second.",
        "size instead of time",
    ),
    Mistake(
        _rounded,
        "The seconds were rounded: return them as they are.",
        "rounded to whole seconds",
    ),
)
