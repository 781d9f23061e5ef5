"""The chapters, and how far a reader is: what is done, and what is worth repeating."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from course.progress import Done, Progress, Vote

SIGNS = {"passed": "✓", "failed": "✗", "not started": "○"}
MANY = 3  # tries, from which on a pass was hard work


@dataclass(frozen=True)
class Chapter:
    """A chapter, and where its exercises are.

    Args:
        number: two digits.
        module: of its exercises, in `course.exercises`.
        title: short, as its notebook's heading begins.
        notebook: its file.
    """

    number: str
    module: str
    title: str
    notebook: str


CHAPTERS = tuple(
    Chapter(notebook[:2], module, title, f"{notebook}.ipynb")
    for module, title, notebook in (
        ("first_prediction", "First prediction", "00_first_prediction"),
        ("pretraining_tasks", "Pretraining", "01_pretraining"),
        ("feature_extraction", "Feature extraction", "02_feature_extraction"),
        ("fine_tuning", "Fine-tuning", "03_fine_tuning"),
        ("looking_inside", "Looking inside", "04_looking_inside"),
        ("when_it_pays", "When pretraining pays", "05_when_pretraining_pays"),
        ("when_it_hurts", "When it hurts", "06_when_it_hurts"),
        ("choosing", "Which one do I choose?", "07_choosing"),
        ("object_detection", "Object detection", "08_object_detection"),
        ("meaning_of_text", "The meaning of text", "09_meaning_of_text"),
        ("capstone", "A model for your problem", "10_capstone"),
        ("tools", "Tools and outlook", "11_tools_and_outlook"),
        ("gpu_lab", "GPU lab", "12_gpu_lab"),
    )
)


class Asked(Protocol):
    """What the map needs to know of an exercise; `course.exercises` has them."""

    @property
    def name(self) -> str:
        """What the reader's function is called."""

    @property
    def title(self) -> str:
        """What is asked, in a few words."""

    @property
    def minutes(self) -> int:
        """How long it takes."""


Exercises = Mapping[str, Sequence[Asked]]  # by the chapter's module


@dataclass(frozen=True)
class Row:
    """An exercise, and what the reader has done with it."""

    chapter: Chapter
    asked: Asked
    done: Done


@dataclass(frozen=True)
class Repeat:
    """Something to go back to: where it is, what it is called, and why."""

    chapter: Chapter
    title: str
    why: str

    @property
    def text(self) -> str:
        """Title and reason as one sentence, or as two after a question."""
        if self.title.endswith(("?", "…")):
            return f"{self.title} {self.why[0].upper()}{self.why[1:]}."
        return f"{self.title}: {self.why}."


def here() -> str:
    """Return the chapter whose exercises the running notebook has imported, or ""."""
    notebook = sys.modules.get("__main__")
    for chapter in CHAPTERS:
        module = sys.modules.get(f"course.exercises.{chapter.module}")
        if module is not None and getattr(notebook, chapter.module, None) is module:
            return chapter.module
    return ""


def rows(progress: Progress, exercises: Exercises) -> list[Row]:
    """Return every exercise of the course, in reading order, with what was done."""
    return [
        Row(chapter, asked, progress.of(chapter.module, asked.name))
        for chapter in CHAPTERS
        for asked in exercises.get(chapter.module, ())
    ]


def repeats(progress: Progress, exercises: Exercises) -> list[Repeat]:
    """Return what is worth repeating, in reading order."""
    by_chapter: dict[str, list[Repeat]] = {c.module: [] for c in CHAPTERS}
    for row in rows(progress, exercises):
        if reason := why(row.done):
            found = Repeat(row.chapter, row.asked.title, reason)
            by_chapter[row.chapter.module].append(found)
    known = {chapter.module: chapter for chapter in CHAPTERS}
    for (module, question), vote in progress.polls.items():
        if module in known and not vote.right:
            found = Repeat(known[module], question, _otherwise(vote))
            by_chapter[module].append(found)
    return [found for chapter in CHAPTERS for found in by_chapter[chapter.module]]


def why(done: Done) -> str:
    """Say why an exercise is worth repeating; "" where it is not."""
    if done.status == "failed":
        since = f"; it had passed on {done.passed}" if done.passed else ""
        return f"failed the last check{since}"
    if done.answered and done.passed:
        return "passed after the reference answer was shown"
    if done.needed >= MANY:
        return f"passed after {done.needed} tries"
    return ""


def _otherwise(vote: Vote) -> str:
    return f"you predicted “{vote.last}”, and it came out otherwise"


def summary(progress: Progress, exercises: Exercises) -> str:
    """Say in one sentence how far the reader is with the whole course."""
    every = rows(progress, exercises)
    states = [row.done.status for row in every]
    votes = progress.polls.values()
    parts = [f"{states.count('passed')} of {len(every)} exercises passed"]
    if failed := states.count("failed"):
        parts.append(f"{failed} failed the last check")
    if votes:
        right = sum(vote.right for vote in votes)
        parts.append(f"{right} of {len(votes)} predictions came out")
    untouched = not votes and set(states) <= {"not started"}
    return "Nothing done yet." if untouched else f"{', '.join(parts)}."


def state(row: Row) -> str:
    """Say what became of an exercise, or how long it takes where nothing has yet."""
    done = row.done
    if done.status == "not started":
        return counted(row.asked.minutes, "minute")
    partly = f", best {done.best:.0%}" if not done.passed and done.best else ""
    return f"{done.status}, {counted(done.tries, 'try', 'tries')}{partly}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its word, such as "1 try" or "2 tries"."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def as_text(progress: Progress, exercises: Exercises) -> str:
    """Return the map of the course for a terminal."""
    lines = [summary(progress, exercises)]
    every = rows(progress, exercises)
    for chapter in CHAPTERS:
        own = [row for row in every if row.chapter is chapter]
        lines += ["", f"{chapter.number} {chapter.title}"]
        lines += [_line(row) for row in own]
    again = repeats(progress, exercises)
    if again:
        lines += ["", "Worth repeating"]
        lines += [f"  {found.chapter.number} {found.text}" for found in again]
    return "\n".join(lines)


def _line(row: Row) -> str:
    return f"  {SIGNS[row.done.status]} {row.asked.title} ({state(row)})"
