"""Exercises of the chapters: checks, hints and reference answers, a module for each."""

from __future__ import annotations

from course.exercises import (
    capstone,
    choosing,
    feature_extraction,
    fine_tuning,
    first_prediction,
    gpu_lab,
    looking_inside,
    meaning_of_text,
    object_detection,
    pretraining_tasks,
    tools,
    when_it_hurts,
    when_it_pays,
)
from course.exercises.base import Case, Exercise, Mistake, Verdict

__all__ = [
    "Case",
    "Exercise",
    "Mistake",
    "Verdict",
    "capstone",
    "choosing",
    "feature_extraction",
    "fine_tuning",
    "first_prediction",
    "gpu_lab",
    "looking_inside",
    "meaning_of_text",
    "object_detection",
    "pretraining_tasks",
    "tools",
    "when_it_hurts",
    "when_it_pays",
]
