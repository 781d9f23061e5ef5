"""All exercises of the course, by the chapter that asks them."""

from __future__ import annotations

from importlib import import_module

from course import syllabus
from course.exercises.base import Exercise


def by_chapter() -> dict[str, tuple[Exercise, ...]]:
    """Return the exercises of every chapter, in the order of the chapter's panel."""
    names = [chapter.module for chapter in syllabus.CHAPTERS]
    modules = {name: import_module(f"course.exercises.{name}") for name in names}
    return {name: tuple(module.EXERCISES) for name, module in modules.items()}
