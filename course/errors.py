"""The errors that a reader meets: one sentence, and no traceback in a notebook."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CourseError(ValueError):
    """Something the reader asked for cannot be done; the message says what to do.

    The message names what was wrong, what was expected and the way out. IPython shows
    the message alone (it honours `_render_traceback_`), and `course` on the command
    line prints it and exits with status 2.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class HeldOutError(CourseError):
    """A test part was about to be used for fitting, probing or choosing."""


class TrainingDiverged(CourseError):
    """The loss stopped being a finite number."""


def unknown(kind: str, name: object, known: Iterable[str]) -> CourseError:
    """Build the error for a name that is not in a list, with the nearest known name.

    Args:
        kind: what the name stands for, such as ``"model"`` or ``"task"``.
        name: what the reader wrote.
        known: every name that would have worked.
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return CourseError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")
