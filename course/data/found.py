"""What a folder of images gave: its task, its files, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

from course.data.listing import PARTS, Row
from course.data.tasks import Task

SHOWN = 5  # files, pairs or classes that are named one by one
_LONGEST = 80  # characters of a name in a page


class Twin(NamedTuple):
    """Two files with the same picture.

    Args:
        files: the two, relative to the folder.
        parts: of `PARTS`, where each of them lies.
        labels: the class that each of them is given.
        bits: of 64 in which their hashes differ; see `twins`.
        same: whether their files hold the same bytes.
    """

    files: tuple[str, str]
    parts: tuple[str, str]
    labels: tuple[str, str]
    bits: int
    same: bool


@dataclass(frozen=True, repr=False)
class Report:
    """What became of every file of a folder; shown as a page in a notebook.

    Args:
        folder: its name.
        counts: part to class to the number of pictures.
        rows: each file that was left out or dropped, or read with a remark.
        twins: pairs of copies in two parts, or of two classes.
        repeated: part to how many of its pictures are copies of another one in it.
        skipped: hidden files, and those that systems leave behind.
        notes: how the parts came about, in sentences.
    """

    folder: str
    counts: Mapping[str, Mapping[str, int]]
    rows: tuple[Row, ...]
    twins: tuple[Twin, ...]
    repeated: Mapping[str, int]
    skipped: int
    notes: tuple[str, ...]

    @property
    def left_out(self) -> tuple[Row, ...]:
        """The files that are in no part, each with its reason."""
        return tuple(row for row in self.rows if row.done != "read")

    @property
    def across(self) -> tuple[Twin, ...]:
        """The copies that lie in two parts: what was learned is asked again."""
        return tuple(twin for twin in self.twins if twin.parts[0] != twin.parts[1])

    @property
    def disputed(self) -> tuple[Twin, ...]:
        """The copies that are given two classes: one of the two is wrong."""
        return tuple(twin for twin in self.twins if twin.labels[0] != twin.labels[1])

    def lines(self) -> list[str]:
        """Return the report in sentences, the most important first."""
        return [
            self._summary(),
            *self.notes,
            *self._copies(),
            *self._reasons(),
            *self._quiet(),
        ]

    def _summary(self) -> str:
        sizes = {part: sum(self.counts[part].values()) for part in PARTS}
        known = len(self.counts["train"])
        parts = ", ".join(f"{size:,} {part}" for part, size in sizes.items())
        return (
            f"{self.folder}: {sum(sizes.values()):,} pictures of {known:,} classes "
            f"({parts}); {len(self.left_out):,} files left out."
        )

    def _copies(self) -> list[str]:
        lines = []
        if self.across:
            pairs = _some([_pair(twin) for twin in self.across])
            lines.append(
                f"{_count(len(self.across), 'picture')} of one part "
                f"{'has a copy' if len(self.across) == 1 else 'have copies'} in "
                f"another: {pairs}."
            )
        if self.disputed:
            pairs = _some([_disputed(twin) for twin in self.disputed])
            lines.append(
                f"{_count(len(self.disputed), 'pair')} of pictures that look the same "
                f"with two classes; look which is right: {pairs}."
            )
        inside = [f"{n:,} in {part}" for part, n in self.repeated.items() if n]
        if inside:
            where = ", ".join(inside)
            lines.append(f"Copies within a part: {where}.")
        return lines

    def _reasons(self) -> list[str]:
        """Return a line for every reason, with the files that it holds for."""
        found: dict[tuple[str, str], list[str]] = {}
        for row in self.rows:
            found.setdefault((row.done, row.reason), []).append(row.file)
        order = sorted(found.items(), key=lambda item: (item[0][0], -len(item[1])))
        return [
            f"{done.capitalize()}, {'but' if done == 'read' else 'since'} it {reason}: "
            f"{_some(list(map(clipped, files)))}."
            for (done, reason), files in order
        ]

    def _quiet(self) -> list[str]:
        if not self.skipped:
            return []
        return [f"{_count(self.skipped, 'hidden file')} passed over."]

    def __repr__(self) -> str:
        return "\n".join(visible(line) for line in self.lines())

    def _repr_html_(self) -> str:
        first, *others = (escape(visible(line)) for line in self.lines())
        items = "".join(f"<li>{line}</li>" for line in others)
        return f"<p><b>{first}</b></p>{self._table()}<ul>{items}</ul>"

    def _table(self) -> str:
        """Return how many pictures each class has in each part, as HTML."""
        names = list(self.counts["train"])
        shown = names if len(names) <= 2 * SHOWN else names[:SHOWN]
        head = "".join(f'<th scope="col">{part}</th>' for part in PARTS)
        body = "".join(
            f'<tr><th scope="row">{escape(clipped(name))}</th>'
            + "".join(f"<td>{self.counts[part].get(name, 0):,}</td>" for part in PARTS)
            + "</tr>"
            for name in shown
        )
        rest = f"and {len(names) - len(shown):,} more classes"
        more = f'<tr><td colspan="4">{rest}</td></tr>' if names != shown else ""
        return (
            f'<table><thead><tr><th scope="col">class</th>{head}</tr></thead>'
            f"<tbody>{body}{more}</tbody></table>"
        )


@dataclass(frozen=True, repr=False, eq=False)
class Folder:
    """A folder of images as a task (chapter 10).

    Args:
        task: the images and labels in three parts.
        report: what became of every file.
        files: part to the file of each of its images, relative to `root`.
        root: the folder.
    """

    task: Task
    report: Report
    files: Mapping[str, tuple[str, ...]]
    root: Path

    def __repr__(self) -> str:
        return repr(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def visible(text: str) -> str:
    """Return a text that every page and screen can show."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def clipped(name: str) -> str:
    """Return a name as a line can hold it: its end tells files apart."""
    name = visible(name)
    return name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    rest = len(names) - SHOWN
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def _pair(twin: Twin) -> str:
    return " = ".join(clipped(file) for file in twin.files)


def _disputed(twin: Twin) -> str:
    return f"{_pair(twin)} ({' or '.join(map(clipped, twin.labels))})"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
