"""nbgrader: the metadata of exercise cells, and a course folder made of chapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course.copies import folder
from course.copies.answers import filled
from course.copies.chapters import Task

POINTS = {"easy": 1, "medium": 2, "hard": 3}
SCHEMA = 3  # of nbgrader's metadata
STUB = "pass  # your answer goes here"
SETTINGS = f'''"""Settings of nbgrader for the workbook on pretrained models."""

import os

# Checks do not depend on the size of a run: grade in the smallest one. Grading a
# submission is nobody's progress.
os.environ.setdefault("COURSE_PROFILE", "smoke")
os.environ["COURSE_PROGRESS"] = ""

c = get_config()  # noqa: F821 (nbgrader defines it)
c.CourseDirectory.course_id = "pretrained-workbook"
c.ClearSolutions.code_stub = {{"python": "{STUB}"}}
c.Execute.timeout = 600  # seconds a cell
'''


def points(task: Task) -> int:
    """Return what an exercise is worth."""
    return POINTS[task.exercise.difficulty]


def stamp(notebook: Any, tasks: Sequence[Task]) -> None:
    """Give the exercise cells of a chapter their metadata for nbgrader, in place.

    Stamping twice changes nothing more. Cells that are no exercise lose it.

    Args:
        notebook: as nbformat reads it.
        tasks: its exercises.
    """
    for cell in notebook["cells"]:
        cell["metadata"].pop("nbgrader", None)
    for task in tasks:
        answer, check = (notebook["cells"][i] for i in (task.answer, task.check))
        answer["metadata"]["nbgrader"] = _metadata(task.name, solution=True)
        check["metadata"]["nbgrader"] = _metadata(
            f"{task.name}-check", grade=True, locked=True, points=points(task)
        )


def _metadata(identity: str, **given: Any) -> dict[str, Any]:
    plain = {"grade": False, "locked": False, "solution": False, "task": False}
    return {
        "grade_id": identity,
        "schema_version": SCHEMA,
        **plain,
        **given,
    }


def source(notebook: Any, tasks: Sequence[Task]) -> None:
    """Turn a chapter into nbgrader's source, in place: answers in marks, checks graded.

    A check cell ends with the points of its verdict, which nbgrader takes for partial
    credit.

    Args:
        notebook: as nbformat reads it.
        tasks: its exercises.
    """
    answers = [filled(notebook, task, marked=True) for task in tasks]
    stamp(notebook, tasks)
    for task, answer in zip(tasks, answers, strict=True):
        notebook["cells"][task.answer]["source"] = answer
        graded = f"{task.module}.{task.name}.points({points(task)})"
        notebook["cells"][task.check]["source"] += f"\n{graded}"


def settings(made: Path) -> None:
    """Write nbgrader's settings into the course folder."""
    folder.write(made / "nbgrader_config.py", SETTINGS)
