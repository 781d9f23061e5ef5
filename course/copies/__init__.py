"""Copies of the chapters from one source: for students, teachers, a wall, nbgrader."""

from __future__ import annotations

from course.copies.products import nbgrader, slides, student, teacher

__all__ = ["nbgrader", "slides", "student", "teacher"]
