"""How an answer is entered: whose it is, and what a check has to say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from course.exercises.base import Exercise


@dataclass(frozen=True)
class Answer:
    """An answer to an exercise.

    Args:
        exercise: the one that it answers.
        function: as a reader would write it; it calls nothing of the exercise.
        mistake: the name of the mistake that must be recognised; "" where it is right.
        score: the credit that it must get; None where that is left open.
    """

    exercise: Exercise
    function: Callable[..., Any]
    mistake: str = ""
    score: float | None = None


ANSWERS: list[Answer] = []


def wrong(exercise: Exercise, mistake: str, score: float | None = None):
    """Enter a wrong answer, by the name of its mistake."""

    def enter(function):
        ANSWERS.append(Answer(exercise, function, mistake, score))
        return function

    return enter


def right(exercise: Exercise):
    """Enter a right answer that is written differently from the reference."""

    def enter(function):
        ANSWERS.append(Answer(exercise, function))
        return function

    return enter
