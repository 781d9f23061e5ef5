"""A place to drop files on, or to choose them at, whose bytes reach Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from course.data.pictures import short
from course.errors import CourseError
from course.widgets.base import Surface, guarded

LIMIT_MB = 8  # a message of more than 10 MiB never reaches the kernel, without a word
MOST = 32  # files at once
NOTE = f"or drop them here: {LIMIT_MB} MB each at most; nothing is stored"
STYLE = """
.course-drop { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px;
  box-sizing: border-box; width: 100%; padding: 7px 10px; border-radius: 4px;
  border: 2px dashed var(--jp-border-color1, #bdbdbd);
  color: var(--jp-ui-font-color1, #222); }
.course-drop-over { border: 2px solid var(--jp-brand-color1, #0072b2);
  background: var(--jp-layout-color2, #eee); }
.course-drop .course-drop-choose { width: auto; max-width: 100%; margin: 0; }
"""


@dataclass(frozen=True)
class Dropped:
    """A file as it arrived: where it stands among those that came with it.

    Args:
        name: without its folder, fit for a sentence.
        place: from 0.
        count: how many came at once; 0 where what was dropped is no file.
        content: its bytes, or None where they were not sent.
        problem: why not: "large", "many" or "unreadable".
    """

    name: str
    place: int
    count: int
    content: bytes | None
    problem: str = ""

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            CourseError: they were not sent; the message says why and what to do.
        """
        if self.content is not None and len(self.content) <= LIMIT_MB * 1_000_000:
            return self.content
        if not self.count:
            raise CourseError(
                "That was no file but an address or a text: save the picture first, "
                "then drop its file."
            )
        if self.problem == "many":
            raise CourseError(
                f"{self.count} files came at once; the first {MOST} were taken."
            )
        if self.problem == "unreadable":
            raise CourseError(
                f"{self.name!r} could not be read; if it is a folder, open it and drop "
                "the pictures inside."
            )
        raise CourseError(
            f"{self.name!r} has more than {LIMIT_MB} MB: make it smaller, or write its "
            "path instead."
        )


class FileDrop(anywidget.AnyWidget):
    """A dashed zone with a button; files that are dropped on its panel arrive too.

    Args:
        label: of the button.
        hint: what it does, for a pointer that rests on it.
        surface: where an error of `take` is shown.
        take: called with each file in turn.
    """

    _esm = Path(__file__).with_name("file_drop.js").read_text("utf-8")
    _css = STYLE

    label = traitlets.Unicode("").tag(sync=True)
    hint = traitlets.Unicode("").tag(sync=True)
    note = traitlets.Unicode(NOTE).tag(sync=True)
    limit = traitlets.Int(LIMIT_MB * 1_000_000).tag(sync=True)  # bytes
    most = traitlets.Int(MOST).tag(sync=True)
    taken = traitlets.Int(0).tag(sync=True)  # answers so far: the page sends the next

    def __init__(
        self,
        label: str,
        hint: str,
        surface: Surface,
        take: Callable[[Dropped], None],
    ) -> None:
        super().__init__(label=label, hint=hint)
        self._take = take
        self.on_msg(guarded(surface, self._received))

    def _received(self, _: Any, content: Any, buffers: Sequence[Any]) -> None:
        try:
            self._take(_dropped(content, buffers))
        finally:
            self.taken += 1


def _dropped(content: Mapping[str, Any], buffers: Sequence[Any]) -> Dropped:
    return Dropped(
        short(str(content.get("name", ""))),
        int(content.get("place", 0)),
        int(content.get("count", 0)),
        bytes(buffers[0]) if buffers else None,
        str(content.get("problem", "")),
    )
