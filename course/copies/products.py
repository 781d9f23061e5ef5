"""The folders that are handed out, each made of the same chapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat

from course import execution
from course.copies import deck, folder, grading, leaks, notes
from course.copies.answers import filled
from course.copies.chapters import Task, read, tasks
from course.copies.timing import Timing

Report = Callable[[str], None]


def student(
    chapters: Sequence[Path], out: Path, *, force: bool = False, report: Report = print
) -> None:
    """Make a folder that stands alone, without any answer that could be read.

    Answer cells are stubs; their outputs and those of the checks are gone, all other
    outputs stay, so that the pages can be read before they are run.

    Args:
        chapters: notebooks of a workbook.
        out: the folder.
        force: whether to replace an earlier copy there.
        report: called with a line for each chapter.

    Raises:
        CourseError: `out` holds other files, a chapter breaks the rules for exercises,
            or a part of an answer was found in what was made.
    """
    known = leaks.answers()
    with folder.building(out, force=force) as made:
        titles = _notebooks(chapters, made / "notebooks", _for_students, report)
        _stand_alone(chapters, made, titles, closed=True)
        leaks.refuse(leaks.scan(made, known))


def teacher(
    chapters: Sequence[Path],
    out: Path,
    *,
    timing: Path | None = None,
    force: bool = False,
    report: Report = print,
) -> None:
    """Make a folder with reference answers in the answer cells, and notes.

    Args:
        chapters: notebooks of a workbook.
        out: the folder.
        timing: ``records.json`` of a run of these chapters; its seconds are noted.
        force: whether to replace an earlier copy there.
        report: called with a line for each chapter.

    Raises:
        CourseError: as for `student`, or `timing` is no such file.
    """
    measured = Timing.of(timing)

    def change(notebook: Any, chapter: str) -> None:
        found = tasks(notebook, chapter)
        sections = measured.sections(notebook, chapter)
        answers = [filled(notebook, task) for task in found]
        _clear(notebook, found)
        for task, answer in zip(found, answers, strict=True):
            notebook["cells"][task.answer]["source"] = answer
        notes.add(notebook, found, sections, measured.about(chapter))

    with folder.building(out, force=force) as made:
        titles = _notebooks(chapters, made / "notebooks", change, report)
        _stand_alone(chapters, made, titles, closed=False)


def slides(
    chapters: Sequence[Path], out: Path, *, force: bool = False, report: Report = print
) -> None:
    """Make a page of slides of each chapter, and the notebook that it was made from.

    The slides show what a student copy shows. A page needs no other file; only the
    typesetting of equations is fetched when it is opened.

    Args:
        chapters: notebooks of a workbook.
        out: the folder.
        force: whether to replace earlier slides there.
        report: called with a line for each chapter.

    Raises:
        CourseError: as for `student`.
    """

    def change(notebook: Any, chapter: str) -> None:
        _for_students(notebook, chapter)
        deck.cut(notebook)

    known = leaks.answers()
    with folder.building(out, force=force) as made:
        _notebooks(chapters, made, change, report)
        for path in sorted(made.glob("*.ipynb")):
            folder.write(path.with_suffix(".html"), deck.page(read(path), path.stem))
        leaks.refuse(leaks.scan(made, known))


def nbgrader(
    chapters: Sequence[Path], out: Path, *, force: bool = False, report: Report = print
) -> None:
    """Make a course folder for nbgrader: an assignment for each chapter.

    Args:
        chapters: notebooks of a workbook.
        out: the folder.
        force: whether to replace an earlier one, with submissions and marks.
        report: called with a line for each chapter.

    Raises:
        CourseError: as for `student`.
    """

    def change(notebook: Any, chapter: str) -> None:
        found = tasks(notebook, chapter)
        _clear(notebook, found)
        grading.source(notebook, found)

    with folder.building(out, force=force) as made:
        for chapter in chapters:
            place = made / "source" / chapter.stem
            _notebooks([chapter], place, change, report)
        grading.settings(made)


def _notebooks(
    chapters: Sequence[Path],
    place: Path,
    change: Callable[[Any, str], None],
    report: Report,
) -> list[tuple[str, str]]:
    """Write changed chapters into a folder; return file and title of each."""
    place.mkdir(parents=True, exist_ok=True)
    titles = []
    for path in chapters:
        notebook = read(path)
        change(notebook, path.name)
        text = nbformat.writes(notebook)
        folder.write(place / path.name, text.rstrip("\n") + "\n")
        titles.append((path.name, execution.heading(notebook) or path.stem))
        report(path.stem)
    return titles


def _for_students(notebook: Any, chapter: str) -> None:
    found = tasks(notebook, chapter)
    grading.stamp(notebook, found)
    _clear(notebook, found)


def _clear(notebook: Any, found: Sequence[Task]) -> None:
    """Take the outputs of exercise cells away: a check's holds the answer."""
    for task in found:
        for index in (task.answer, task.check):
            notebook["cells"][index]["outputs"] = []
            notebook["cells"][index]["execution_count"] = None


def _stand_alone(
    chapters: Sequence[Path],
    made: Path,
    titles: Sequence[tuple[str, str]],
    *,
    closed: bool,
) -> None:
    root = chapters[0].parents[1]
    folder.copy_package(root, made, closed=closed)
    folder.copy_settings(root, made)
    rows = "\n".join(f"- [{title}](notebooks/{file})" for file, title in titles)
    name = "student.md" if closed else "teacher.md"
    text = (folder.TEXTS / name).read_text("utf-8")
    folder.write(made / "README.md", text.format(chapters=rows))
