"""References: the tools of the trade, open problems and papers, from one data file.

Everything that the course links to outside of itself, and says of others' licences,
stands in `tables/references.json` with its date. Nothing here reaches the network.
"""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from course.errors import unknown
from course.syllabus import CHAPTERS

PLACE = Path(__file__).parent / "tables" / "references.json"
ARXIV = "https://arxiv.org/abs/"


@dataclass(frozen=True)
class Tool:
    """A library or a store of models.

    Args:
        name: as people call it.
        module: what is imported.
        package: what pip installs.
        group: what kind of thing it is, such as "models" or "shrink".
        use: what it is for.
        code: the licence of the library, by its SPDX name.
        weights: what is known of the licences of its weights.
        line: the line that uses it; it may download.
        link: its address.
    """

    name: str
    module: str
    package: str
    group: str
    use: str
    code: str
    weights: str
    line: str
    link: str

    @property
    def installed(self) -> bool:
        """Whether it can be imported here; it is not imported to find out."""
        return find_spec(self.module) is not None

    @property
    def here(self) -> str:
        """Its version, or the line that installs it."""
        if not self.installed:
            return f"pip install {self.package}"
        try:
            return f"version {metadata.version(self.package)}"
        except metadata.PackageNotFoundError:
            return "installed"


@dataclass(frozen=True)
class Paper:
    """A paper: who and when, its title, and its number on arXiv."""

    who: str
    title: str
    arxiv: str

    @property
    def link(self) -> str:
        """Its address."""
        return ARXIV + self.arxiv


@dataclass(frozen=True)
class Problem:
    """An open problem.

    Args:
        theme: "choosing well", "tuning well", "efficiency" or "generality".
        name: the question.
        chapters: numbers of those that measure a part of it.
        tries: what the field tries now.
        papers: where to read on.
    """

    theme: str
    name: str
    chapters: tuple[str, ...]
    tries: str
    papers: tuple[Paper, ...]


@cache
def _data() -> dict[str, Any]:
    return json.loads(PLACE.read_text("utf-8"))


def as_of() -> str:
    """Return the month in which the data file was last read through, as YYYY-MM."""
    return _data()["as_of"]


def caution() -> str:
    """Return what has to be said beside anything about licences."""
    return _data()["caution"]


def tools() -> tuple[Tool, ...]:
    """Return all tools, those that have models first (chapter 11)."""
    return tuple(Tool(**row) for row in _data()["tools"])


def tool(name: str) -> Tool:
    """Return a tool by its name.

    Raises:
        CourseError: there is no such tool.
    """
    known = {one.name: one for one in tools()}
    if name not in known:
        raise unknown("tool", name, known)
    return known[name]


def papers() -> dict[str, Paper]:
    """Return all papers by their key."""
    return {key: Paper(*row) for key, row in _data()["papers"].items()}


def problems() -> tuple[Problem, ...]:
    """Return the open problems, theme by theme (chapter 11)."""
    known = papers()
    return tuple(
        Problem(
            row["theme"],
            row["name"],
            tuple(row["chapters"]),
            row["tries"],
            tuple(known[key] for key in row["papers"]),
        )
        for row in _data()["problems"]
    )


def licence(address: str | None) -> str | None:
    """Return the licence that was read at an address; None where none is known.

    Args:
        address: as a registry names it, such as torchvision's.
    """
    return _data()["licences_read"].get(address)


def links() -> tuple[str, ...]:
    """Return every address of the data file, each once."""
    found = [one.link for one in tools()]
    found += [one.link for one in papers().values()]
    return tuple(dict.fromkeys([*found, *_data()["licences_read"]]))


def tried(name: str, run: Callable[[], object] | None = None) -> str:
    """Run a tool's line where the tool is installed, and say what came (chapter 11).

    Args:
        name: the tool's.
        run: uses it without a download; None where it can only download.

    Returns:
        Two lines, whatever happens: another version's error is reported, not raised.

    Raises:
        CourseError: there is no such tool.
    """
    asked = tool(name)
    head = f"{asked.name} · {asked.here}"
    if not asked.installed:
        return f"{asked.name} is not installed here; {asked.here}\n  {asked.line}"
    if run is None:
        return f"{head}\n  would download, so it is not run: {asked.line}"
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return f"{head}\n  {run()}"
    except Exception as error:  # a version that differs is no reason to stop a chapter
        said = " ".join(str(error).split())[:120]
        return f"{head}\n  did not run here ({type(error).__name__}: {said})"


def addresses() -> str:
    """Return the names of the tools with their addresses, as one line of Markdown."""
    return " · ".join(f"[{one.name}]({one.link})" for one in tools())


def problem_map() -> str:
    """Return the open problems as a Markdown table: where measured, what is tried."""
    head = "| problem | measured in | what is tried now | read on |\n|---|---|---|---|"
    rows, theme = [head], ""
    for one in problems():
        if one.theme != theme:
            theme = one.theme
            rows.append(f"| **{theme.capitalize()}** | | | |")
        read = "; ".join(f"[{paper.who}]({paper.link})" for paper in one.papers)
        where = ", ".join(_chapter(number) for number in one.chapters)
        rows.append(f"| {one.name} | {where} | {one.tries} | {read} |")
    return "\n".join(rows)


def _chapter(number: str) -> str:
    """Return a link to a chapter; its number alone where the course lacks it."""
    known = {chapter.number: chapter for chapter in CHAPTERS}
    return f"[{number}]({known[number].notebook})" if number in known else number
