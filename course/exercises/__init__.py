"""Exercises of the chapters: checks, hints and reference answers, a module for each."""

from __future__ import annotations

from course.exercises import (
    choosing,
    feature_extraction,
    fine_tuning,
    first_prediction,
    looking_inside,
    pretraining_tasks,
    when_it_hurts,
    when_it_pays,
)
from course.exercises.base import Case, Exercise, Mistake, Verdict

__all__ = [
    "Case",
    "Exercise",
    "Mistake",
    "Verdict",
    "choosing",
    "feature_extraction",
    "fine_tuning",
    "first_prediction",
    "looking_inside",
    "pretraining_tasks",
    "when_it_hurts",
    "when_it_pays",
]
