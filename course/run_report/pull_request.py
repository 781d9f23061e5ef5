"""A summary of a run in GitHub's Markdown, short enough for a pull request."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from course.run_report import wording
from course.run_report.reading import Part, Run
from course.run_report.wording import named, title
from course.syllabus import counted

if TYPE_CHECKING:
    from course.drift import Comparison, Moved

MOST = 20  # rows of a table, and lines of a list
LONGEST = 300  # characters of a name or a message
MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~^$-])")
# What GitHub would turn into a mention, a reference or a link wherever it stands.
LIVE = re.compile(r"(@|#(?=\w)|(?<=https)(?=:)|(?<=http)(?=:)|(?<=www)(?=\.))")
COLUMNS = ("", "what", "chapter", "before", "now", "standard errors", "adjusted p")


def summary(run: Run, comparison: Comparison | None) -> str:
    """Return the summary of a run.

    Args:
        run: from `reading.load`.
        comparison: with the baselines; None where there was none.
    """
    mark = "❌" if wording.red(run, comparison) else "✅"
    parts = [f"### {mark} {plain(wording.verdict(run, comparison))}"]
    parts += _failed(run.failed)
    if comparison is not None:
        parts += _moved(comparison, run)
        parts += _listed("Gone", map(named, comparison.gone))
        parts += _listed("New", map(named, comparison.new))
        parts += _listed(
            "Machine and versions",
            (f"{one.what}: {one.before} → {one.now}" for one in comparison.changed),
        )
        parts += _listed("Not compared", comparison.notes)
    return wording.clean("\n\n".join(parts) + "\n")


def plain(words: str) -> str:
    """Escape a text so that GitHub shows it as it stands, on one line."""
    line = MARKUP.sub(r"\\\1", html.escape(_line(words), quote=False))
    return LIVE.sub("\\1\u200b", line)


def code(words: str) -> str:
    """Return a text as code: nothing within it has a meaning, not even a mention.

    Not for a table, where an upright line within code would still end the cell.
    """
    line = _line(words)
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"{fence}{line}{fence}"


def _line(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _failed(parts: Sequence[Part]) -> list[str]:
    if not parts:
        return []
    lines = [
        f"- **{plain(title(part.chapter))}** ({plain(part.setting.label)}): "
        f"{code(part.error or 'no message was kept')}"
        + (f", cell {code(part.cell)}" if part.cell else "")
        for part in parts
    ]
    return [f"**{counted(len(parts), 'chapter')} did not run through**", _short(lines)]


def _short(lines: Sequence[str]) -> str:
    more = len(lines) - MOST
    rest = [f"- … and {more} more"] if more > 0 else []
    return "\n".join([*lines[:MOST], *rest])


def _listed(heading: str, texts: Iterable[str]) -> list[str]:
    lines = [f"- {plain(one)}" for one in texts]
    return [f"**{heading}** ({len(lines)})", _short(lines)] if lines else []


def _moved(comparison: Comparison, run: Run) -> list[str]:
    if not comparison.moved:
        return []
    rows = [_row(COLUMNS), "|".join(["", *["---"] * len(COLUMNS), ""])]
    rows += [_moved_row(row, run) for row in comparison.moved[:MOST]]
    more = len(comparison.moved) - MOST
    rest = [f"… and {more} more, in the report."] if more > 0 else []
    return ["**What moved**", "\n".join(rows), *rest]


def _moved_row(row: Moved, run: Run) -> str:
    size = wording.of_which(row.profile, row.backbone, run)
    where = ", ".join(filter(None, [title(row.chapter), size]))
    return _row(
        [
            "❌" if row.red else "note",
            plain(row.name),
            plain(where),
            plain(wording.before(row)),
            plain(wording.measured(row.now, row.unit)),
            wording.steps(row),
            plain(wording.chance(row.p_adjusted)),
        ]
    )


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
