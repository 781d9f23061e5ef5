"""Exercises of the chapters: checks, hints and reference answers, a module for each."""

from __future__ import annotations

from course.exercises import (
    feature_extraction,
    fine_tuning,
    first_prediction,
    looking_inside,
    pretraining_tasks,
)
from course.exercises.base import Case, Exercise, Mistake, Verdict

__all__ = [
    "Case",
    "Exercise",
    "Mistake",
    "Verdict",
    "feature_extraction",
    "fine_tuning",
    "first_prediction",
    "looking_inside",
    "pretraining_tasks",
]
