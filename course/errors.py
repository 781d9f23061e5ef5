"""The errors that a reader meets: one sentence, and no traceback in a notebook."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable

_BREAKS = r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+"
_LONG = 80  # characters of a name that is not known
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONG


class CourseError(ValueError):
    """Something the reader asked for cannot be done; the message says what to do.

    The message names what was wrong, what was expected and the way out. IPython shows
    the message alone (it honours `_render_traceback_`), and `course` on the command
    line prints it and exits with status 2.
    """

    def __init__(self, *arguments: object) -> None:
        # A name of a file may hold a line break; the sentence stays on one line.
        plain = (
            re.sub(_BREAKS, " ", a) if isinstance(a, str) else a for a in arguments
        )
        super().__init__(*plain)

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class HeldOutError(CourseError):
    """A test part was about to be used for fitting, probing or choosing."""


class TrainingDiverged(CourseError):
    """The loss stopped being a finite number."""


def shown(value: object) -> str:
    """Return a value as a sentence holds it: short, on one line, without addresses."""
    text = " ".join(_SHORT.repr(value).split())
    inside = text.startswith("<") and " at 0x" in text
    return f"an object of type {type(value).__name__}" if inside else text


def unknown(kind: str, name: object, known: Iterable[str]) -> CourseError:
    """Build the error for a name that is not in a list, with the nearest known name.

    Args:
        kind: what the name stands for, such as ``"model"`` or ``"task"``.
        name: what the reader wrote.
        known: every name that would have worked.
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name)[:_LONG], names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return CourseError(
        f"Unknown {kind} {shown(name)}.{hint} Known: {', '.join(names)}."
    )
