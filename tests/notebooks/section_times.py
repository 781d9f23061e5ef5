"""How long the sections of the chapters compute, and the teacher's guide that says so.

    python tests/notebooks/section_times.py

`canonical.py` notes the seconds when it executes a chapter; this fills them into
`docs/teaching.md`, between markers such as ``<!--t 05 · 2--> 12 s<!--/t-->``: chapter
05, its sections up to the one that begins with 2.
"""

from __future__ import annotations

import json
import os
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
TIMES, GUIDE = DOCS / "section-times.json", DOCS / "teaching.md"
MARK = re.compile(r"<!--t (\d\d)(?: · (.+?))?-->.*?<!--/t-->")
OPENING = "before the first section"


def titles(source: str) -> list[str]:
    """Return the headings of the second level in a text."""
    return [title.strip() for title in re.findall(r"^## +(.+)$", source, re.M)]


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
        "seconds": round(sum(sections.values()), 1),
        "sections": sections,
    }
    text = json.dumps(dict(sorted(every.items())), indent=1, ensure_ascii=False)
    part = TIMES.with_name(f".{TIMES.name}.part")
    part.write_text(text + "\n", encoding="utf-8", newline="\n")
    os.replace(part, TIMES)


def filled(text: str) -> str:
    """Return the guide with the seconds of now between its markers.

    Raises:
        LookupError: a marker names what is not there.
    """
    every = json.loads(TIMES.read_text("utf-8"))

    def fill(mark: re.Match[str]) -> str:
        number, section = mark[1], mark[2]
        chapter = next(name for name in every if name.startswith(number))
        seconds = until(every[chapter]["sections"], section)
        opening = f"<!--t {number}{f' · {section}' if section else ''}-->"
        return f"{opening}{seconds:.0f} s<!--/t-->"

    return MARK.sub(fill, text)


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
    GUIDE.write_text(filled(GUIDE.read_text("utf-8")), encoding="utf-8", newline="\n")
