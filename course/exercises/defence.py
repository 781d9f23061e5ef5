"""What holds of every defence of a choice: a reason for each other, and a true one.

A defence is a dict with the name of the "choice" and, under "ruled out", a reason for
each of the other candidates (chapters 07 and 10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Holds = Callable[[Any, Sequence[Row], Row], bool]
TrueReasons = Callable[[Any, Row, Sequence[Row], Row], set[str]]
"""From answer, row, candidates and need to every reason that is true of the row."""


def choice_of(value: Any) -> Any:
    """Return the name that a defence chooses."""
    return value["choice"]


def all_others(value: Any, candidates: Sequence[Row], _: Row) -> bool:
    """Say whether a defence rules out every other candidate, and nothing else."""
    others = {row["model"] for row in candidates} - {value["choice"]}
    return set(value["ruled out"]) == others


def reasons_are_true(true_reasons: TrueReasons) -> Holds:
    """Return a rule: each reason that is given is true of its candidate."""

    def holds(value: Any, candidates: Sequence[Row], need: Row) -> bool:
        return all(
            value["ruled out"].get(row["model"])
            in [None, *true_reasons(value, row, candidates, need)]
            for row in candidates
        )

    return holds


def accuracy_is_clear(true_reasons: TrueReasons) -> Holds:
    """Return a rule: "accuracy" is said only of those that are clearly behind."""

    def holds(value: Any, candidates: Sequence[Row], need: Row) -> bool:
        return all(
            "accuracy" in true_reasons(value, row, candidates, need)
            for row in candidates
            if value["ruled out"].get(row["model"]) == "accuracy"
        )

    return holds
