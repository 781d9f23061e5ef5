"""How long the sections of the chapters compute, and the teacher's guide that says so.

    python tests/notebooks/section_times.py

`canonical.py` notes the seconds when it executes a chapter; this fills them into
`docs/teaching.md`, between markers such as ``<!--t 05 · 2--> 12 s<!--/t-->``: chapter
05, its sections up to the one that begins with 2. Between ``<!--exercises-->`` and
``<!--/exercises-->`` go the minutes that the exercises state themselves.
"""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

from course import exercises
from course.copies.timing import titles
from course.syllabus import CHAPTERS

DOCS = Path(__file__).parents[2] / "docs"
TIMES, GUIDE = DOCS / "section-times.json", DOCS / "teaching.md"
NOTEBOOKS = DOCS.parent / "notebooks"
MARK = re.compile(r"<!--t (\d\d)(?: · (.+?))?-->.*?<!--/t-->")
TABLE = re.compile(r"(<!--exercises-->\n).*?(<!--/exercises-->)", re.S)
OPENING = "before the first section"
PROFILE = "quick"  # which `canonical.py` executes


def measured(notebook: Any) -> dict[str, float]:
    """Return the seconds of each section of a notebook that was executed with times."""
    found, here = {OPENING: 0.0}, OPENING
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            for title in titles(cell["source"]):
                here = title
                found.setdefault(here, 0.0)
        else:
            found[here] += _seconds(cell["metadata"].get("execution", {}))
    return {title: round(seconds, 1) for title, seconds in found.items()}


def _seconds(times: dict[str, str]) -> float:
    ends = [times.get("iopub.status.busy"), times.get("shell.execute_reply")]
    if None in ends:
        return 0.0
    began, ended = (datetime.fromisoformat(end) for end in ends)
    return (ended - began).total_seconds()


def keep(chapter: str, sections: dict[str, float]) -> None:
    """Note the seconds of a chapter; those of the others stay.

    Args:
        chapter: its file's name without the ending.
        sections: by title, in reading order.
    """
    every = json.loads(TIMES.read_text("utf-8")) if TIMES.exists() else {}
    every[chapter] = {
        "cores": os.cpu_count(),
        "day": date.today().isoformat(),
        "processor": platform.machine(),
        "profile": PROFILE,
        "seconds": round(sum(sections.values()), 1),
        "sections": sections,
    }
    text = json.dumps(dict(sorted(every.items())), indent=1, ensure_ascii=False)
    write(TIMES, text + "\n")


def write(path: Path, text: str) -> None:
    """Replace a file by a text, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)


def exercise_minutes(notebook: Any, asked: Any) -> dict[str, int]:
    """Return the minutes of exercises in each section of a chapter, in reading order.

    Args:
        notebook: of the chapter.
        asked: its exercises; each names a heading of the second or third level.

    Raises:
        LookupError: an exercise names a heading that is not there.
    """
    section, minutes = (
        _sections(notebook),
        dict.fromkeys(_sections(notebook).values(), 0),
    )
    for exercise in asked:
        if exercise.place not in section:
            raise LookupError(f"{exercise.name}: no heading {exercise.place!r}")
        minutes[section[exercise.place]] += exercise.minutes
    return {title: spent for title, spent in minutes.items() if spent}


def _sections(notebook: Any) -> dict[str, str]:
    """Return each heading of level two or three with the section that it is in."""
    found, here = {}, OPENING
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            for level, title in re.findall(r"^(##|###) +(.+?) *$", text, re.M):
                here = title if level == "##" else here
                found[title] = here
    return found


def exercise_table() -> str:
    """Return the minutes of exercises, by chapter and section, as a Markdown table."""
    rows = ["| chapter | section: minutes | together |", "|---|---|---|"]
    for chapter in CHAPTERS:
        notebook = json.loads((NOTEBOOKS / chapter.notebook).read_text("utf-8"))
        module = vars(getattr(exercises, chapter.module)).values()
        asked = [one for one in module if isinstance(one, exercises.Exercise)]
        spent = exercise_minutes(notebook, asked)
        parts = [f"{title.split(' · ')[0]}: {spent[title]}" for title in spent]
        every = sum(spent.values())
        rows.append(f"| {chapter.number} | {' · '.join(parts)} | {every} |")
    return "\n".join(rows)


def filled(text: str) -> str:
    """Return the guide with the seconds and minutes of now between its markers.

    Raises:
        LookupError: a marker names what is not there.
    """
    every = json.loads(TIMES.read_text("utf-8"))

    def fill(mark: re.Match[str]) -> str:
        number, section = mark[1], mark[2]
        chapter = next((name for name in every if name[:2] == number), None)
        if chapter is None:
            raise LookupError(f"no chapter {number!r} among {list(every)}")
        seconds = until(every[chapter]["sections"], section)
        opening = f"<!--t {number}{f' · {section}' if section else ''}-->"
        return f"{opening}{seconds:.0f} s<!--/t-->"

    text = MARK.sub(fill, text)
    return TABLE.sub(lambda mark: f"{mark[1]}\n{exercise_table()}\n\n{mark[2]}", text)


def until(sections: dict[str, float], last: str | None) -> float:
    """Return the seconds from the top of a chapter to the end of a section.

    Args:
        sections: of the chapter, in reading order.
        last: how its heading begins, such as "2"; None for the whole chapter.

    Raises:
        LookupError: no heading begins so.
    """
    names = list(sections)
    if last is None:
        return sum(sections.values())
    ends = [n for n, name in enumerate(names) if name.split(" · ")[0] == last]
    if not ends:
        raise LookupError(f"no section {last!r} among {names}")
    return sum(sections[name] for name in names[: ends[0] + 1])


if __name__ == "__main__":
    write(GUIDE, filled(GUIDE.read_text("utf-8")))
