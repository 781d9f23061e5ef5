"""Answers to the exercises of chapter 11, wrong ones and right ones."""

import json
import math
import struct

import numpy as np

from answers.kit import right, wrong
from course.exercises import tools

count_values, may_ship = tools.count_values, tools.may_ship
download_seconds = tools.download_seconds

# Read a file's header by hand ---------------------------------------------------------


@right(count_values)
def count_by_struct(data):
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length].decode("utf-8"))
    header.pop("__metadata__", None)
    return sum(int(np.prod(row["shape"])) for row in header.values())


@right(count_values)
def count_by_loops(data):
    length = 0
    for place in range(8):
        length += data[place] * 256**place
    count = 0
    for row in json.loads(data[8:][:length]).values():
        if "shape" not in row:
            continue
        sides = 1
        for side in row["shape"]:
            sides *= side
        count += sides
    return count


@right(count_values)
def count_by_offsets(data):
    wide = {"F64": 8, "I64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1}
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    total = 0
    for name, row in header.items():
        if not name.startswith("__"):
            begin, end = row["data_offsets"]
            total += (end - begin) // wide[row["dtype"]]
    return total


@right(count_values)
def count_by_the_library(data):
    from safetensors.torch import load

    return sum(tensor.numel() for tensor in load(data).values())


def header_of(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def rows_of(data):
    return [row for name, row in header_of(data).items() if name != "__metadata__"]


@wrong(count_values, "header cut in the wrong place", score=1 / 6)
def count_big_end_first(data):
    (length,) = struct.unpack(">Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return sum(math.prod(row["shape"]) for row in header.values())


@wrong(count_values, "header cut in the wrong place")
def count_all_the_rest(data):
    header = json.loads(data[8:])
    return sum(math.prod(r["shape"]) for n, r in header.items() if n[0] != "_")


@wrong(count_values, "header read from the first byte", score=0.0)
def count_from_the_first_byte(data):
    length = int.from_bytes(data[:8], "little")
    return sum(math.prod(row["shape"]) for row in json.loads(data[:length]).values())


@wrong(count_values, "metadata taken for a tensor", score=4 / 6)
def count_the_notes(data):
    return sum(math.prod(row["shape"]) for row in header_of(data).values())


@wrong(count_values, "tensors counted")
def count_tensors(data):
    return len([name for name in header_of(data) if not name.startswith("__")])


@wrong(count_values, "entries counted", score=0.0)
def count_entries(data):
    return len(header_of(data).keys())


@wrong(count_values, "bytes counted", score=1 / 6)
def count_bytes(data):
    return sum(end - begin for begin, end in (r["data_offsets"] for r in rows_of(data)))


@wrong(count_values, "bytes counted")
def count_what_follows(data):
    return len(data) - 8 - int.from_bytes(data[:8], "little")


@wrong(count_values, "four bytes a number")
def count_quarters(data):
    total = 0
    for row in rows_of(data):
        total += (row["data_offsets"][1] - row["data_offsets"][0]) // 4
    return total


@wrong(count_values, "sides added")
def count_sides(data):
    return sum(sum(row["shape"]) for row in rows_of(data))


@wrong(count_values, "first side alone")
def count_rows(data):
    total = 0
    for row in rows_of(data):
        total += row["shape"][0]
    return total


@wrong(count_values, "a single number taken for none", score=5 / 6)
def count_no_scalars(data):
    total = 0
    for row in rows_of(data):
        sides = 0
        for side in row["shape"]:
            sides = sides * side if sides else side
        total += sides
    return total


@wrong(count_values, "weights alone")
def count_weights(data):
    rows = header_of(data)
    return sum(math.prod(rows[n]["shape"]) for n in rows if n.endswith(".weight"))


@wrong(count_values, "whole numbers left out")
def count_floats(data):
    return sum(math.prod(r["shape"]) for r in rows_of(data) if "F" in r["dtype"])


@wrong(count_values, "the largest tensor alone")
def count_largest(data):
    sizes = [math.prod(row["shape"]) for row in rows_of(data)]
    return max(sizes, default=0)


# Which may go into a product? ---------------------------------------------------------


@right(may_ship)
def ship_by_loops(rows, allowed, most_mb):
    fine = [licence.casefold() for licence in allowed]
    names = []
    for row in rows:
        if row["code"] is None or row["weights"] is None or row["mb"] is None:
            continue
        if row["code"].casefold() not in fine or row["weights"].casefold() not in fine:
            continue
        if row["mb"] > most_mb:
            continue
        names.append(row["model"])
    return names


@right(may_ship)
def ship_with_a_default(rows, allowed, most_mb):
    fine = [licence.upper() for licence in allowed]

    def permits(licence):
        return (licence or "nobody said").upper() in fine

    def small(mb):
        return (math.inf if mb is None else mb) <= most_mb

    kept = filter(lambda r: permits(r["code"]) and permits(r["weights"]), rows)
    return tuple(row["model"] for row in kept if small(row["mb"]))


@right(may_ship)
def ship_by_striking_out(rows, allowed, most_mb):
    left = {row["model"]: row for row in rows}
    for name, row in list(left.items()):
        for column in ("code", "weights"):
            stated = str(row[column]).lower()
            if stated not in map(str.lower, allowed):
                left.pop(name, None)
        if row["mb"] is None or not row["mb"] <= most_mb:
            left.pop(name, None)
    return list(left)


def lower(names):
    return {name.lower() for name in names}


def fine(row, allowed, *columns):
    return all(row[c] is not None and row[c].lower() in lower(allowed) for c in columns)


def small(row, most_mb):
    return row["mb"] is not None and row["mb"] <= most_mb


@wrong(may_ship, "weights' licence not read")
def ship_by_code(rows, allowed, most_mb):
    return [r["model"] for r in rows if fine(r, allowed, "code") and small(r, most_mb)]


@wrong(may_ship, "code's licence not read")
def ship_by_weights(rows, allowed, most_mb):
    return [
        r["model"] for r in rows if fine(r, allowed, "weights") and small(r, most_mb)
    ]


@wrong(may_ship, "either licence will do")
def ship_by_either(rows, allowed, most_mb):
    names = []
    for row in rows:
        good = fine(row, allowed, "code") or fine(row, allowed, "weights")
        if good and small(row, most_mb):
            names.append(row["model"])
    return names


@wrong(may_ship, "silence taken for permission")
def ship_what_says_nothing(rows, allowed, most_mb):
    fits = lower(allowed) | {""}
    return [
        row["model"]
        for row in rows
        if (row["code"] or "").lower() in fits
        and (row["weights"] or "").lower() in fits
        and small(row, most_mb)
    ]


@wrong(may_ship, "unknown size taken for zero")
def ship_unknown_sizes(rows, allowed, most_mb):
    return [
        row["model"]
        for row in rows
        if fine(row, allowed, "code", "weights") and (row["mb"] or 0) <= most_mb
    ]


@wrong(may_ship, "part of a name taken for the licence", score=7 / 9)
def ship_by_a_part_of_the_name(rows, allowed, most_mb):
    def permits(licence):
        return licence is not None and any(
            name in licence.lower() for name in lower(allowed)
        )

    return [
        row["model"]
        for row in rows
        if permits(row["code"]) and permits(row["weights"]) and small(row, most_mb)
    ]


@wrong(may_ship, "upper and lower case told apart")
def ship_as_written(rows, allowed, most_mb):
    return [
        row["model"]
        for row in rows
        if {row["code"], row["weights"]} <= set(allowed) and small(row, most_mb)
    ]


@wrong(may_ship, "the limit itself refused")
def ship_below(rows, allowed, most_mb):
    return [
        row["model"]
        for row in rows
        if fine(row, allowed, "code", "weights")
        and row["mb"] is not None
        and row["mb"] < most_mb
    ]


@wrong(may_ship, "a list of what is forbidden")
def ship_what_is_not_forbidden(rows, allowed, most_mb):
    names = []
    for row in rows:
        forbidden = "-NC" in str(row["code"]) or "-NC" in str(row["weights"])
        if not forbidden and small(row, most_mb):
            names.append(row["model"])
    return names


@wrong(may_ship, "None not asked for")
def ship_without_asking(rows, allowed, most_mb):
    names = []
    for row in rows:
        stated = row["code"].lower(), row["weights"].lower()
        if set(stated) <= lower(allowed) and row["mb"] <= most_mb:
            names.append(row["model"])
    return names


@wrong(may_ship, "size not looked at")
def ship_any_size(rows, allowed, most_mb):
    return [row["model"] for row in rows if fine(row, allowed, "code", "weights")]


@wrong(may_ship, "licences not looked at")
def ship_any_licence(rows, allowed, most_mb):
    return [row["model"] for row in rows if small(row, most_mb)]


@wrong(may_ship, "the wrong ones kept", score=0.0)
def ship_the_others(rows, allowed, most_mb):
    good = ship_by_loops(rows, allowed, most_mb)
    return [row["model"] for row in rows if row["model"] not in good]


@wrong(may_ship, "rows instead of names")
def ship_rows(rows, allowed, most_mb):
    good = ship_by_loops(rows, allowed, most_mb)
    return [row for row in rows if row["model"] in good]


# How long is the download? ------------------------------------------------------------

WIDTHS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


@right(download_seconds)
def seconds_by_the_name(parameters, dtype, mbit, readers):
    bits = int("".join(letter for letter in dtype if letter.isdigit()))
    return readers * parameters * bits / mbit / 1_000_000


@right(download_seconds)
def seconds_by_bytes(parameters, dtype, mbit, readers):
    size = parameters * {**WIDTHS, "int4": 0.5}[dtype]
    megabytes = size / 10**6
    return megabytes * 8 / mbit * readers


@right(download_seconds)
def seconds_by_torch(count, kind, speed, people):
    import torch

    bits = 4 if kind == "int4" else getattr(torch, kind).itemsize * 8
    return torch.tensor(count * bits * people / (speed * 1e6), dtype=torch.double)


def bits_of(dtype):
    return int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz"))


def entered(name, score=None):
    return wrong(download_seconds, name, score)


@entered("megabits taken for megabytes", 0.0)
def seconds_of_bytes(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) / 8 * readers / (mbit * 1e6)


@entered("bits taken for bytes", 0.0)
def seconds_eight_times(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) * 8 * readers / (mbit * 1e6)


@entered("32 bits whatever the dtype")
def seconds_of_floats(parameters, dtype, mbit, readers):
    return 4 * 8 * parameters * readers / (mbit * 1e6)


@entered("bfloat16 taken for 32 bits")
def seconds_of_wide_brains(parameters, dtype, mbit, readers):
    bits = {"float64": 64, "float16": 16, "int8": 8, "int4": 4}.get(dtype, 32)
    return parameters * bits * readers / (mbit * 1e6)


@entered("a byte for each int4")
def seconds_of_whole_bytes(parameters, dtype, mbit, readers):
    width = WIDTHS.get(dtype, 1)
    return parameters * width * 8 * readers / (mbit * 1e6)


@entered("2²⁰ bits a megabit", 0.0)
def seconds_of_mebibits(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) * readers / (mbit * 1024**2)


@entered("mega forgotten", 0.0)
def seconds_without_mega(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) * readers / mbit


@entered("mega taken for kilo", 0.0)
def seconds_of_kilobits(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) * readers / (mbit * 1000)


@entered("minutes", 0.0)
def seconds_in_minutes(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) * readers / (mbit * 1e6) / 60


@entered("one reader's download", 0.75)
def seconds_alone(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) / (mbit * 1e6)


@entered("divided by the readers", 0.75)
def seconds_shared_out(parameters, dtype, mbit, readers):
    return parameters * bits_of(dtype) / (mbit * 1e6 * readers)


@entered("speed divided by size", 0.0)
def seconds_upside_down(parameters, dtype, mbit, readers):
    return mbit * 1e6 / (parameters * bits_of(dtype) * readers)


@entered("size instead of time", 0.0)
def seconds_as_bytes(parameters, dtype, mbit, readers):
    return readers * parameters * bits_of(dtype) // 8


@entered("rounded to whole seconds", 0.0)
def seconds_rounded(parameters, dtype, mbit, readers):
    return round(parameters * bits_of(dtype) * readers / (mbit * 1e6))
