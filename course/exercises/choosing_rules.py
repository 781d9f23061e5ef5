"""What must be true of a choice among models, and of its defence (chapter 07)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

FIGURES = ("validation", "spread", "ms", "mb", "licence")


def _shortcomings(row: Row, need: Row) -> list[str]:
    """Return every reason why a row does not do; what is unknown does not do."""
    fails = {
        "slow": row["ms"] is None or row["ms"] > need["ms"],
        "large": row["mb"] is None or row["mb"] > need["mb"],
        "licence": row["licence"] not in need["licences"],
        "source": row["source"] in need["sources that saw the test images"],
    }
    return [reason for reason, fail in fails.items() if fail]


def clearly_better(one: Row, other: Row) -> bool:
    """Say whether one is ahead by more than both spreads together."""
    ahead = one["validation"] - other["validation"]
    return bool(ahead > one["spread"] + other["spread"])


def _fitting(candidates: Sequence[Row], need: Row) -> list[Row]:
    return [row for row in candidates if not _shortcomings(row, need)]


def _best(rows: Sequence[Row], column: str = "validation") -> Row:
    return max(rows, key=lambda row: row[column])


def close(candidates: Sequence[Row], need: Row) -> list[Row]:
    """Return what fits and is not clearly behind the most accurate that fits."""
    rows = _fitting(candidates, need)
    return [row for row in rows if not clearly_better(_best(rows), row)]


def _cheapest(candidates: Sequence[Row], need: Row, cost: str) -> list[Any]:
    """Return the names of the cheapest; there may be several of the same cost."""
    rows = close(candidates, need)
    least = min((row[cost] for row in rows), default=None)
    return [row["model"] for row in rows if row[cost] == least]


def _chosen(keeps: Callable[[Row, Sequence[Row], Row], bool]) -> Callable[..., bool]:
    """Return a rule about the chosen row; no choice keeps it where nothing fits."""

    def holds(value: Any, candidates: Sequence[Row], need: Row) -> bool:
        if value["choice"] is None:
            return not _fitting(candidates, need)
        row = next(row for row in candidates if row["model"] == value["choice"])
        return keeps(row, candidates, need)

    return holds


def _is_a_defence(value: Any, candidates: Sequence[Row], _: Row) -> bool:
    names = [None, *(row["model"] for row in candidates)]
    kinds = (
        isinstance(value["figures"], Mapping),
        isinstance(value["ruled out"], Mapping),
    )
    return all(kinds) and value["choice"] in names


def _unknown_is_unfit(row: Row, _: Sequence[Row], need: Row) -> bool:
    return row["ms"] is not None and row["mb"] is not None


def _within_limits(row: Row, _: Sequence[Row], need: Row) -> bool:
    return not {"slow", "large"} & set(_shortcomings(row, need))


def _stated(row: Row, _: Sequence[Row], need: Row) -> bool:
    return row["licence"] is not None


def _not_by_test(row: Row, candidates: Sequence[Row], need: Row) -> bool:
    fitting = _fitting(candidates, need)
    on_test, on_validation = _best(fitting, "test"), _best(fitting)
    right = row["model"] in _cheapest(candidates, need, need["save"])
    return right or row is not on_test or on_test is on_validation


def _saves_what_is_asked(row: Row, candidates: Sequence[Row], need: Row) -> bool:
    other = "mb" if need["save"] == "ms" else "ms"
    right = row["model"] in _cheapest(candidates, need, need["save"])
    return right or row["model"] not in _cheapest(candidates, need, other)


def _quotes_validation(value: Any, candidates: Sequence[Row], need: Row) -> bool:
    def keeps(row: Row, *_: Any) -> bool:
        quoted = value["figures"]["validation"]
        return bool(quoted != row["test"] or row["test"] == row["validation"])

    return _chosen(keeps)(value, candidates, need)


def _figures_of_the_table(value: Any, candidates: Sequence[Row], need: Row) -> bool:
    figures = value["figures"]
    if value["choice"] is None:
        return not any(figures.values())

    def keeps(row: Row, *_: Any) -> bool:
        return not any(difference(figures[name], row[name]) for name in FIGURES)

    return _chosen(keeps)(value, candidates, need)


def _true_reasons(
    value: Any, row: Row, candidates: Sequence[Row], need: Row
) -> set[str]:
    reasons, fitting = set(_shortcomings(row, need)), _fitting(candidates, need)
    if fitting and clearly_better(_best(fitting), row):
        reasons.add("accuracy")
    chosen = [other for other in candidates if other["model"] == value["choice"]]
    prices = [other[need["save"]] for other in (row, *chosen)]
    if chosen and None not in prices and prices[0] >= prices[1]:
        reasons.add("dearer")
    return reasons


RULES = (
    Rule(
        "no defence in the form asked for",
        _is_a_defence,
        'a dict with "choice" (a name or None), "figures" and "ruled out" (dicts)',
        "Return the name of the model, not its row, and two dicts beside it.",
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
        _chosen(lambda row, *rest: bool(_fitting(*rest))),
        "None, since nothing fits",
        "Where no candidate keeps all limits, say so: a limit has to be moved by "
        "those who set it.",
        choice_of,
    ),
    Rule(
        "unknown cost taken for none",
        _chosen(_unknown_is_unfit),
        "a model whose ms and MB are known",
        "A cost that nobody measured is no cost of zero: None does not fit.",
        choice_of,
    ),
    Rule(
        "limit exceeded",
        _chosen(_within_limits),
        "a model within the limits of ms and MB",
        "A limit is not to be weighed against accuracy: first leave out what is above "
        "it, then choose.",
        choice_of,
    ),
    Rule(
        "unstated licence taken for allowed",
        _chosen(_stated),
        "a model whose licence is stated",
        "Not stated means not allowed until you have asked: None is in no list.",
        choice_of,
    ),
    Rule(
        "licence not read",
        _chosen(lambda row, _, need: row["licence"] in need["licences"]),
        "a model whose licence will do",
        "You may not use the best one if its licence forbids it: look into "
        'need["licences"] first.',
        choice_of,
    ),
    Rule(
        "source that saw the test images",
        _chosen(lambda row, _, need: "source" not in _shortcomings(row, need)),
        "a model whose source has not seen the test images",
        "Its accuracy may be memory: leave out the sources that saw the test images.",
        choice_of,
    ),
    Rule(
        "selection on the test part",
        _chosen(_not_by_test),
        "a choice by accuracy on validation images",
        "You took the best on the test part, which then says nothing any more: choose "
        "by validation, and leave the test column alone.",
        choice_of,
    ),
    Rule(
        "clearly less accurate",
        _chosen(
            lambda row, candidates, need: any(
                row is other for other in close(candidates, need)
            )
        ),
        "one that is not clearly behind the most accurate that fits",
        "A cheap model is no bargain if another that fits is ahead by more than both "
        "spreads together.",
        choice_of,
    ),
    Rule(
        "the other cost saved",
        _chosen(_saves_what_is_asked),
        'the cheapest in what need["save"] names',
        "You saved ms where MB are short, or the other way round: need says what to "
        "save.",
        choice_of,
    ),
    Rule(
        "a cheaper one within the spread overlooked",
        _chosen(
            lambda row, candidates, need: (
                row["model"] in _cheapest(candidates, need, need["save"])
            )
        ),
        "the cheapest of those that are not clearly behind",
        "A cheaper one that fits is behind by less than both spreads together: the "
        "difference may be chance, the cost is not.",
        choice_of,
    ),
    Rule(
        "accuracy on the test part quoted",
        _quotes_validation,
        "the accuracy on validation images, which is what was chosen by",
        "The figures are to defend the choice, and it was made on validation images.",
        lambda value: value["figures"],
    ),
    Rule(
        "figures of another row",
        _figures_of_the_table,
        "validation, spread, ms, mb and licence of the chosen row",
        "Whoever checks your defence looks into the table: copy the figures from the "
        "row that you chose, and none where nothing fits.",
        lambda value: value["figures"],
    ),
    Rule(
        "some ruled out without a word",
        all_others,
        "a reason for each of the others, and for none else",
        "Go over all candidates but the chosen one, those that fit as well.",
        lambda value: value["ruled out"],
    ),
    Rule(
        "within the spread, yet called less accurate",
        accuracy_is_clear(_true_reasons),
        '"accuracy" only for what is clearly behind',
        "A difference below both spreads together is no reason: what rules such a "
        'model out is that it is "dearer".',
        lambda value: value["ruled out"],
    ),
    Rule(
        "a reason that is not true",
        reasons_are_true(_true_reasons),
        '"slow", "large", "licence", "source", "accuracy" or "dearer", where true',
        "Look the reason up in that row of the table.",
        lambda value: value["ruled out"],
    ),
)
