"""Seconds of each section, read out of an executed run; no figure is typed by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course.copies.chapters import read
from course.errors import CourseError


@dataclass(frozen=True)
class Section:
    """A part of a chapter under a heading of its own.

    Args:
        title: without its number signs.
        seconds: that its cells took; None where no run is at hand.
    """

    title: str
    seconds: float | None


@dataclass(frozen=True)
class Timing:
    """A run of chapters, or none.

    Args:
        place: the folder with its executed notebooks; None where there is no run.
        conditions: by chapter, where it ran, in words; only for chapters that ran well.
    """

    place: Path | None = None
    conditions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Path | None) -> Timing:
        """Read the run that left a ``records.json``; an empty one for None.

        Raises:
            CourseError: the file is not there, or no such file.
        """
        if records is None:
            return cls()
        try:
            rows = json.loads(records.read_text("utf-8"))
            well = {r["chapter"]: _words(r) for r in rows if r["status"] == "ok"}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CourseError(
                f"{records} holds no run that can be read; expected the records.json "
                "that `course run` leaves."
            ) from error
        return cls(records.parent, well)

    def sections(self, notebook: Any, chapter: str) -> list[Section]:
        """Return the sections of a chapter with their seconds, where they are known.

        Args:
            notebook: the chapter as it is now.
            chapter: its file's name.

        Raises:
            CourseError: the chapter was changed after the run.
        """
        seconds = self._seconds(notebook, chapter)
        found: list[Section] = []
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                found += [Section(title, None) for title in titles(cell["source"])]
            elif found and seconds:
                last = found[-1]
                total = (last.seconds or 0) + seconds[cell["id"]]
                found[-1] = Section(last.title, total)
        return found

    def about(self, chapter: str) -> str:
        """Say where a chapter was measured; "" where it was not."""
        return self.conditions.get(Path(chapter).stem, "")

    def _seconds(self, notebook: Any, chapter: str) -> dict[str, float]:
        if self.place is None or not self.about(chapter):
            return {}
        run = {cell["id"]: cell for cell in read(self.place / chapter)["cells"]}
        seconds = {}
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                executed = run.get(cell["id"])
                if executed is None or executed["source"] != cell["source"]:
                    raise CourseError(
                        f"{chapter} was changed after the run in {self.place}; run it "
                        "again with `course run`."
                    )
                duration = executed["metadata"].get("papermill", {}).get("duration")
                seconds[cell["id"]] = float(duration or 0)
        return seconds


def titles(source: str) -> list[str]:
    """Return the headings of the second level in a text."""
    return [title.strip() for title in re.findall(r"^## +(.+)$", source, re.M)]


def _words(row: Mapping[str, Any]) -> str:
    environment = row["environment"]
    return (
        f"{environment['profile']} profile, {environment['cores']} cores, "
        f"{row['seconds']:.0f} s in all"
    )
