"""What a check shows: one sentence, a counter-example, folded hints and the answer."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from course.syllabus import SIGNS

if TYPE_CHECKING:
    from course.exercises.base import Exercise, Verdict


def as_text(exercise: Exercise, verdict: Verdict) -> str:
    """Return the verdict as one line, the same each time for the same answer."""
    sign = SIGNS[verdict.status]
    return f"{sign} {exercise.title}: {verdict.status}. {verdict.message}"


def as_page(exercise: Exercise, verdict: Verdict) -> str:
    """Return the verdict as HTML, its help folded away."""
    sign, status = SIGNS[verdict.status], verdict.status
    about = f"{exercise.title} · {exercise.about}"
    folds = [
        _folded(f"Hint {place}", f"<p>{html.escape(hint)}</p>")
        for place, hint in enumerate(exercise.hints, start=1)
    ]
    if exercise.source:
        source = html.escape(exercise.source)
        folds.append(_folded("Reference answer", f"<pre><code>{source}</code></pre>"))
    return (
        f'<div role="status"><p><b>{sign} {html.escape(status.capitalize())}</b> '
        f"({html.escape(about)})</p><p>{html.escape(verdict.message)}</p>"
        f"{verdict.example}</div>" + "".join(folds)
    )


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>{body}</details>"
