"""Plant every mutant, see what catches it, and write `docs/mutants.md`.

    python tests/mutants/table.py            # minutes: what leads to the claims
    python tests/mutants/table.py --whole    # and a run of a chapter for each mutant

Nothing in the tables is typed: names and places come from `planted.py`, figures from
runs in the profile quick with seed 0. Without ``--whole`` the second table stays.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from mutants import planted, trial
from mutants.planted import MUTANTS, ROOT, SURVIVORS, Mutant

PLACE = ROOT / "docs" / "mutants.md"
TABLE = re.compile(r"(<!--claims-->\n).*?(<!--/claims-->)", re.S)
WHOLE = re.compile(r"(<!--whole-->\n).*?(<!--/whole-->)", re.S)
BLIND = re.compile(r"(<!--blind-->\n).*?(<!--/blind-->)", re.S)
RUN = """
import sys
from pathlib import Path
from course import runner
chapter, out = sys.argv[1:]
chapters = runner.find_chapters([chapter], Path("notebooks").resolve())
runner.run_chapters(chapters, Path(out), profile="quick", seed=0, report=str)
"""


def whole(mutant: Mutant, out: Path) -> dict[str, Any]:
    """Run the chapter of a mutant with it, as `course run` does; return its row."""
    with planted.package(mutant) as home:
        path = os.pathsep.join(filter(None, [str(home), os.getenv("PYTHONPATH")]))
        subprocess.run(
            [sys.executable, "-P", "-c", RUN, mutant.chapter, str(out)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, "COURSE_PROGRESS": ""},
            check=True,
        )
    (row,) = json.loads((out / "records.json").read_text("utf-8"))
    return row


# What the tables say ------------------------------------------------------------------


def claims_table(rows: Iterable[tuple[Mutant, dict, dict]]) -> str:
    """Return the table of mutants and of what caught each."""
    head = ("mistake", "chapter", "planted in", "what somebody did", "caught by")
    return _table([*head, "without it", "with it"], [_row(*row) for row in rows])


def _row(mutant: Mutant, without: dict, outcome: dict) -> list[str]:
    about = [mutant.name, mutant.chapter[:2], f"`{mutant.place}`", mutant.slip]
    if mutant.guard:
        said = outcome["message"].partition(". ")[0]
        return [*about, f"guard, {outcome['error']}: {said}", "–", "stopped"]
    claim, before = outcome["claims"][-1], without["claims"][-1]
    return [
        *about,
        f"claim: {claim['text']} ({claim['bound']})",
        _span(before),
        _span(claim),
    ]


def _span(claim: dict[str, Any]) -> str:
    value = f"{claim['value']:.4g}"
    if claim["n"] == 1:
        return value
    return f"{value} [{claim['low']:.4g}, {claim['high']:.4g}]"


def whole_table(rows: Iterable[tuple[Mutant, dict, str]]) -> str:
    """Return the table of whole chapters: what fell, and which records moved."""
    lines = []
    for mutant, row, moved in rows:
        cell = f" (cell `{row['cell']}`)" if row.get("cell") else ""
        fell = f"{_last(row['error'])}{cell}" if row["error"] else "nothing"
        about = [mutant.name, mutant.chapter[:2], f"`{mutant.place}`"]
        lines.append([*about, row["status"], fell, moved])
    head = ["mistake", "chapter", "planted in", "run", "what fell first"]
    return _table([*head, "records beyond the baseline"], lines)


def _last(error: str) -> str:
    return error.partition(": ")[2].partition(" Run the chapter")[0] or error


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    cells = ([text.replace("|", "\\|") for text in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def rows_of(text: str) -> list[tuple[str, str]]:
    """Return name and place of each mutant in the first table and of the blind ones."""
    tables = TABLE.search(text)[0] + BLIND.search(text)[0]
    return re.findall(r"^\| ([^|]+) \| \d\d \| `([^`]+)` \|", tables, re.M)


def moved_in(row: dict[str, Any]) -> str:
    """Return the records of a run that lie beyond the chapter's baseline, in words."""
    from course import baselines, drift
    from course.errors import CourseError

    try:
        known = baselines.find(ROOT / "baselines")
    except CourseError:
        return "no baseline"
    before = {place: baseline.measured for place, baseline in known.items()}
    found = [one for one in drift.compare([row], before).moved if one.red]
    said = [
        f"{one.name}: {one.before:.3g} → {one.now:.3g}"
        for one in found
        if one.kind == "record" and None not in (one.before, one.now)
    ]
    more = f" and {len(said) - 3} more" if len(said) > 3 else ""
    return "; ".join(said[:3]) + more or "none"


# Running ------------------------------------------------------------------------------


def tried() -> Iterator[tuple[Mutant, dict, dict]]:
    """Yield each mutant with its outcomes without and with it, as they come."""
    with trial.Trial() as player:
        for mutant in sorted(MUTANTS, key=lambda one: bool(one.hard)):
            without: dict[str, Any] = {}
            if not mutant.guard:
                without = player.of(mutant, planting=False)
                _must(trial.green(mutant, without), mutant, without)
            outcome = player.of(mutant)
            _must(trial.caught(mutant, outcome), mutant, outcome)
            print(mutant.name, outcome["message"][:60], flush=True)
            yield mutant, without, outcome


def _must(fine: bool, mutant: Mutant, outcome: dict) -> None:
    if not fine:
        raise SystemExit(f"{mutant.name}: {outcome['error']}: {outcome['message']}")


def run_whole() -> Iterator[tuple[Mutant, dict, str]]:
    """Yield each mutant, survivors too, with the row of a whole chapter."""
    for mutant in (*MUTANTS, *SURVIVORS):
        with TemporaryDirectory() as folder:
            row = whole(mutant, Path(folder))
        print(mutant.name, row["status"], row["error"][:80], flush=True)
        yield mutant, row, moved_in(row)


def blind_table() -> str:
    """Return the table of mutants that nothing notices."""
    if not SURVIVORS:
        return "None of those that were planted.\n"
    return _table(
        ["mistake", "chapter", "planted in", "what somebody did"],
        [[m.name, m.chapter[:2], f"`{m.place}`", m.slip] for m in SURVIVORS],
    )


def fill(table: re.Pattern[str], content: str) -> None:
    """Put a table between its marks in the document, whole or not at all."""
    text = PLACE.read_text("utf-8")
    part = PLACE.with_name(f".{PLACE.name}.part")
    filled = table.sub(lambda mark: mark[1] + content + mark[2], text)
    part.write_text(filled, encoding="utf-8", newline="\n")
    os.replace(part, PLACE)


def main(arguments: Sequence[str]) -> None:
    """Run, and fill the tables of the document."""
    fill(BLIND, blind_table())
    rows: list[Any] = []  # a table grows, so that an interrupt loses little
    if "--whole" in arguments:
        for row in run_whole():
            rows.append(row)
            fill(WHOLE, whole_table(rows))
        return
    for row in tried():
        rows.append(row)
        fill(TABLE, claims_table(sorted(rows, key=lambda one: MUTANTS.index(one[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
