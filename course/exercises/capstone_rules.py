"""What must be true of the model that is shipped, and of its defence (chapter 10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from course.exercises.base import Rule
from course.exercises.compare import difference
from course.exercises.defence import (
    Row,
    accuracy_is_clear,
    all_others,
    choice_of,
    reasons_are_true,
)


def shortcomings(row: Row, need: Row) -> list[str]:
    """Return every reason why a candidate does not do; what is unknown does not do."""
    fails = {
        "peeked": row["chosen on"] != "validation",
        "seeds": len(row["validation"]) < need["seeds"],
        "licence": row["licence"] not in need["licences"],
        "slow": row["ms"] is None or row["ms"] > need["ms"],
    }
    return [reason for reason, fail in fails.items() if fail]


def clearly_better(one: Row, other: Row) -> bool:
    """Say whether the worst seed of one is still above the best seed of the other."""
    return bool(min(one["validation"]) > max(other["validation"]))


def fitting(candidates: Sequence[Row], need: Row) -> list[Row]:
    """Return the candidates without a shortcoming."""
    return [row for row in candidates if not shortcomings(row, need)]


def leader(rows: Sequence[Row]) -> Row:
    """Return the row of the highest mean over its seeds, on validation."""
    return max(rows, key=lambda row: fmean(row["validation"]))


def _close(candidates: Sequence[Row], need: Row) -> list[Row]:
    rows = fitting(candidates, need)
    return [row for row in rows if not clearly_better(leader(rows), row)]


def _right_ones(candidates: Sequence[Row], need: Row) -> list[Any]:
    """Return the names of the fastest; there may be several that are as fast."""
    rows = _close(candidates, need)
    least = min((row["ms"] for row in rows), default=None)
    return [row["model"] for row in rows if row["ms"] == least]


def _row_of(value: Any, candidates: Sequence[Row]) -> Row:
    return next(row for row in candidates if row["model"] == value["choice"])


def _chosen(keeps: Callable[[Row, Sequence[Row], Row], bool]) -> Callable[..., bool]:
    """Return a rule about the chosen row; no choice keeps it where nothing fits."""

    def holds(value: Any, candidates: Sequence[Row], need: Row) -> bool:
        if value["choice"] is None:
            return not fitting(candidates, need)
        return keeps(_row_of(value, candidates), candidates, need)

    return holds


def _free_of(*reasons: str) -> Callable[..., bool]:
    """Return a rule: the chosen row has none of these shortcomings."""

    def keeps(row: Row, _: Sequence[Row], need: Row) -> bool:
        return not set(reasons) & set(shortcomings(row, need))

    return _chosen(keeps)


def _is_a_defence(value: Any, candidates: Sequence[Row], _: Row) -> bool:
    names = [None, *(row["model"] for row in candidates)]
    listed = isinstance(value["test"], (list, tuple))
    return (
        listed
        and isinstance(value["ruled out"], Mapping)
        and (value["choice"] in names and "expected" in value)
    )


def _not_first_by(
    score: Callable[[Row], float],
) -> Callable[[Row, Sequence[Row], Row], bool]:
    """Return a rule's test: a wrong choice is not the one that leads by this score."""

    def keeps(row: Row, candidates: Sequence[Row], need: Row) -> bool:
        rows = fitting(candidates, need)
        if row["model"] in _right_ones(candidates, need) or row is leader(rows):
            return True
        return row is not max(rows, key=score)

    return keeps


def _on_test(row: Row) -> float:
    return -1.0 if row["test"] is None else float(row["test"])


def _one_at_most(value: Any, *_: Any) -> bool:
    return len(value["test"]) <= 1


def _tests_the_choice(value: Any, *_: Any) -> bool:
    chosen, tested = value["choice"], value["test"]
    return chosen is None or chosen in tested or len(tested) > 1


def _tests_nothing_else(value: Any, *_: Any) -> bool:
    return value["choice"] is not None or not value["test"]


def _expects(wrong: Callable[[Row], Any]) -> Callable[..., bool]:
    """Return a rule: what is expected is not this number, unless that is the mean."""

    def keeps(value: Any, candidates: Sequence[Row], _: Row) -> bool:
        if value["choice"] is None:
            return True
        row = _row_of(value, candidates)
        number = wrong(row)
        right = not difference(value["expected"], fmean(row["validation"]))
        return right or number is None or bool(difference(value["expected"], number))

    return keeps


def _expects_the_mean(value: Any, candidates: Sequence[Row], _: Row) -> bool:
    if value["choice"] is None:
        return value["expected"] is None
    row = _row_of(value, candidates)
    return not difference(value["expected"], fmean(row["validation"]))


def _true_reasons(
    value: Any, row: Row, candidates: Sequence[Row], need: Row
) -> set[str]:
    reasons, rows = set(shortcomings(row, need)), fitting(candidates, need)
    if rows and clearly_better(leader(rows), row):
        reasons.add("accuracy")
    if value["choice"] is not None and row["ms"] is not None:
        ms = _row_of(value, candidates)["ms"]
        if ms is not None and row["ms"] >= ms:
            reasons.add("slower")
    return reasons


RULES = (
    Rule(
        "no defence in the form asked for",
        _is_a_defence,
        'a dict with "choice" (a name or None), "test" (a list of names), "expected" '
        'and "ruled out" (a dict)',
        "Return the name of the model, not its row, and the other three beside it.",
    ),
    Rule(
        "nothing chosen, though one fits",
        _chosen(lambda *_: True),
        "a choice, since one fits",
        "None is for tables in which nothing fits: look for a limit that is read too "
        "strictly, such as < for at most.",
        choice_of,
    ),
    Rule(
        "a choice, though nothing fits",
        _chosen(lambda row, *rest: bool(fitting(*rest))),
        "None, since nothing fits",
        "Where no candidate will do, say so, and train another one: a limit is not "
        "there to be missed by a little.",
        choice_of,
    ),
    Rule(
        "tuned on the test part and shipped",
        _free_of("peeked"),
        "a model whose settings were chosen on validation images",
        "Its settings were chosen by looking at the test images, so no number is left "
        "that says what it does on new ones.",
        choice_of,
    ),
    Rule(
        "too few seeds believed",
        _free_of("seeds"),
        "a model with as many seeds as are asked for",
        'One good run may be luck: len(row["validation"]) has to reach need["seeds"].',
        choice_of,
    ),
    Rule(
        "licence not read",
        _free_of("licence"),
        "a model whose licence will do",
        "You may not ship what its licence forbids, and a licence that is not stated "
        'forbids it: look into need["licences"].',
        choice_of,
    ),
    Rule(
        "unknown time taken for none",
        _chosen(lambda row, *_: row["ms"] is not None),
        "a model whose ms are known",
        "A time that nobody measured is not a time of zero: None does not fit.",
        choice_of,
    ),
    Rule(
        "limit exceeded",
        _free_of("slow"),
        "a model within the limit of ms",
        "A limit is not to be weighed against accuracy: first leave out what is above "
        "it, then choose.",
        choice_of,
    ),
    Rule(
        "selection on the test part",
        _chosen(_not_first_by(_on_test)),
        "a choice by accuracy on validation images",
        "You took the best on the test part, which then says nothing any more: choose "
        "by validation, and leave the test column alone.",
        choice_of,
    ),
    Rule(
        "chosen by the best seed",
        _chosen(_not_first_by(lambda row: max(row["validation"]))),
        "a choice by the mean over the seeds",
        "The best of several runs is the luckiest: compare means over the seeds.",
        choice_of,
    ),
    Rule(
        "clearly less accurate",
        _chosen(lambda row, *rest: any(row is other for other in _close(*rest))),
        "one that is not clearly behind the highest mean of those that fit",
        "A fast model is no bargain where even the worst seed of another one that fits "
        "is ahead of its best.",
        choice_of,
    ),
    Rule(
        "a faster one among equals overlooked",
        _chosen(lambda row, *rest: row["model"] in _right_ones(*rest)),
        "the fastest of those that are not clearly behind",
        "The seeds of a faster one that fits overlap with those of the first: the "
        "difference may be chance, the time is not.",
        choice_of,
    ),
    Rule(
        "several models tested",
        _one_at_most,
        "one name at most to be tested",
        "Whoever tests several and keeps the best has chosen on the test part: decide "
        "first, then test that one.",
        lambda value: value["test"],
    ),
    Rule(
        "the choice not tested",
        _tests_the_choice,
        "the chosen model to be tested",
        "One number is still missing before it leaves the house: how the chosen model "
        "does on images that had no part in any choice.",
        lambda value: value["test"],
    ),
    Rule(
        "tested, though nothing is chosen",
        _tests_nothing_else,
        "nothing to be tested where nothing is chosen",
        "A look at the test part is spent on what you ship: keep it for that day.",
        lambda value: value["test"],
    ),
    Rule(
        "accuracy on the test part expected",
        _expects(lambda row: row["test"]),
        "the mean over the seeds on validation images",
        "What you expect is written down before you look at the test part: it is there "
        "to find out whether you were right.",
        lambda value: value["expected"],
    ),
    Rule(
        "the best seed expected",
        _expects(lambda row: max(row["validation"])),
        "the mean over the seeds",
        "The best run of several is luck as well as merit, and luck is not repeated: "
        "expect the mean.",
        lambda value: value["expected"],
    ),
    Rule(
        "another number expected",
        _expects_the_mean,
        "the mean over the chosen model's seeds on validation images, or None",
        "Add up the chosen row's accuracies on validation and divide by how many there "
        "are; expect None where nothing is chosen.",
        lambda value: value["expected"],
    ),
    Rule(
        "some ruled out without a word",
        all_others,
        "a reason for each of the others, and for none else",
        "Go over all candidates but the chosen one, those that fit as well.",
        lambda value: value["ruled out"],
    ),
    Rule(
        "within the seeds, yet called less accurate",
        accuracy_is_clear(_true_reasons),
        '"accuracy" only for what is clearly behind',
        "Where seeds overlap, the difference is no reason: what rules such a model out "
        'is that it is "slower".',
        lambda value: value["ruled out"],
    ),
    Rule(
        "a reason that is not true",
        reasons_are_true(_true_reasons),
        '"peeked", "seeds", "licence", "slow", "accuracy" or "slower", where true',
        "Look the reason up in that row of the table.",
        lambda value: value["ruled out"],
    ),
)
