"""The doctor's lines as a page for people and as JSON for programs."""

from __future__ import annotations

import json
import platform
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from course import __version__
from course.doctor import ready
from course.doctor.line import Line

WIDTH = 100
TITLE = 23  # columns of a title
MARKS = {True: "✓", False: "✗", None: "–"}
HEADINGS = {
    "software": "Software",
    "machine": "This machine",
    "files": "Files",
    "extras": "Extras, for what you may add",
    "speed": "Speed",
}
PLAIN = str.maketrans({"✓": "+", "✗": "x", "–": "-", "→": ">", "…": "~", "×": "x"})
SCHEMA = 1


def texts(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the page piece by piece, as the checks come in.

    Args:
        lines: in the order of the page.
    """
    yield f"course {__version__}: is this machine ready?"
    section, seen = "", []
    for line in lines:
        said = [one.title for one in seen if one.remedy == line.remedy != ""]
        seen.append(line)
        here = line.key.partition(".")[0]
        if here != section:
            section = here
            yield f"\n{HEADINGS.get(section, section)}"
        yield _shown(replace(line, remedy=f"as for {said[0]}") if said else line)
    yield "\n" + _wrapped(verdict(seen), "", "")


def whole(lines: Iterable[Line]) -> str:
    """Return the page as one text.

    Args:
        lines: of all checks.
    """
    return "\n".join(texts(lines)) + "\n"


def _shown(line: Line) -> str:
    lead = f" {MARKS[line.ok]} {line.title:<{TITLE}} "
    text = _wrapped(line.found, lead, " " * len(lead))
    if not line.remedy:
        return text
    wait = "" if line.needed or line.ok is not False else "(can wait) "
    return f"{text}\n{_wrapped(wait + line.remedy, '   → ', '     ', whole=True)}"


def _wrapped(text: str, first: str, others: str, whole: bool = False) -> str:
    """Fill lines; `whole` words stay whole, since a broken command is none."""
    filled = textwrap.fill(
        re.sub(r"[ \t\r\n]+", " ", text),  # a no-break space stays one
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=not whole,
    )
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def verdict(lines: Sequence[Line]) -> str:
    """Return the last sentence of the page."""
    bad = [line for line in lines if line.ok is False]
    needed = [line.title for line in bad if line.needed]
    waiting = len(bad) - len(needed)
    if needed:
        return f"Not ready: {', '.join(needed)}. Begin with the first ✗."
    if waiting:
        one = "One line that can wait is" if waiting == 1 else f"{waiting} lines are"
        return f"Ready. {one} marked ✗."
    return "Ready: everything that the course needs is here."


def as_json(lines: Sequence[Line]) -> str:
    """Return the lines as JSON, with no name of a person or a machine in it.

    ``checks`` maps each line's stable key to its other fields.

    Args:
        lines: of all checks.
    """
    content = {
        "kind": "course doctor",
        "schema": SCHEMA,
        "course": __version__,
        "day": date.today().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
        "ready": ready(lines),
        "checks": {line.key: _fields(line) for line in lines},
    }
    return json.dumps(content, indent=1) + "\n"


def _fields(line: Line) -> dict[str, Any]:
    names = ("ok", "needed", "title", "found", "remedy")
    return {**{name: getattr(line, name) for name in names}, "facts": dict(line.facts)}


def printable(text: str, encoding: str | None) -> str:
    """Return a text that a terminal of this encoding can show.

    Args:
        text: of the page.
        encoding: of the terminal, such as ``"cp1252"``; None for an unknown one.
    """
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return text.translate(PLAIN).encode("ascii", "replace").decode("ascii")
    return text
