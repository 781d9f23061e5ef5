"""Write `docs/wrong-answers.md`: each wrong answer, and what a reader is told.

    python tests/answers/table.py

A test compares the file with what this makes.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
PLACE = TESTS.parent / "docs" / "wrong-answers.md"
HEAD = """# Wrong answers that are known by name

Each line is an answer that somebody might write. It stands as code in
`tests/answers/`, a test judges it, and this page is made of what the check said:
`python tests/answers/table.py`. Nothing here passes; next to them stand right answers,
written in other ways, which all do.
"""


def every() -> list:
    """Return all answers that are entered, in the order of the chapters."""
    import answers
    from answers.kit import ANSWERS

    for found in pkgutil.iter_modules(answers.__path__):
        importlib.import_module(f"answers.{found.name}")
    return ANSWERS


def page() -> str:
    """Return the page: a table for each exercise, in reading order."""
    from course import exercises
    from course.syllabus import CHAPTERS

    parts = [HEAD]
    for chapter in CHAPTERS:
        parts.append(f"\n## {chapter.number} · {chapter.title}\n")
        module = getattr(exercises, chapter.module)
        parts += [section(exercise) for exercise in module.EXERCISES]
    return "".join(parts)


def section(exercise) -> str:
    """Return the table of one exercise."""
    given = [answer for answer in every() if answer.exercise is exercise]
    wrong = [answer for answer in given if answer.mistake]
    lines = [
        f"\n### {exercise.title}\n",
        f"`{exercise.name}` · {exercise.kind} · {exercise.about} · "
        f"{len(given) - len(wrong)} right answers pass\n",
        "| answer | recognised as | credit | what the reader is told |",
        "|---|---|---|---|",
    ]
    for answer in wrong:
        verdict = exercise.judge(answer.function)
        told = cell(verdict.message)
        name = cell(verdict.mistake)
        credit = f"{verdict.score:.2f}"
        called = answer.function.__name__
        called = f"`{called}`" if called != "answer" else "made by a factory"
        lines.append(f"| {called} | {name} | {credit} | {told} |")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Return a text as it can stand in a table of Markdown."""
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return text.replace("*", "\\*").replace("$", "\\$")


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    from course.exercises import trial

    trial.ANSWERING = trial.LOOKING = 60  # on a busy machine, too
    PLACE.write_text(page(), encoding="utf-8", newline="\n")
