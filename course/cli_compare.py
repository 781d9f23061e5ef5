"""The command line's part on runs: `course compare` and `course baseline`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course.errors import CourseError

if TYPE_CHECKING:
    from course.drift import Comparison, Moved
    from course.runs import Measured, Place

LONGEST = 120  # signs of a name that a line shows


def add(commands: argparse._SubParsersAction) -> None:
    """Add both commands to the parser of the command line."""
    _add_compare(commands)
    _add_baseline(commands)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "compare", help="say what moved in a run, and whether by more than chance"
    )
    _add_run(command)
    command.add_argument(
        "before",
        nargs="?",
        type=Path,
        metavar="BASELINE",
        help="a folder of baselines, or another run; default: the repository's",
    )
    command.add_argument(
        "--timing", action="store_true", help="let times count, too, not memory alone"
    )
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="write all of it for a program"
    )
    command.set_defaults(command=compare)


def _add_baseline(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "baseline", help="make baselines of a run, or tell why they are what they are"
    )
    acts = command.add_subparsers(required=True, metavar="ACT")
    act = acts.add_parser("update", help="replace baselines by a run, with a reason")
    _add_run(act)
    act.add_argument(
        "--reason", required=True, help="why the numbers may move; it is kept"
    )
    act.add_argument(
        "--chapters", nargs="+", metavar="CHAPTER", help="such as 02; default: all"
    )
    _add_folder(act)
    act.set_defaults(command=update)
    act = acts.add_parser("history", help="print every reason that was ever given")
    _add_folder(act)
    act.set_defaults(command=history)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "run", type=Path, metavar="RUN", help="the folder of a run, or its records.json"
    )


def _add_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--baselines",
        type=Path,
        metavar="DIR",
        help="where they are; default: the repository's",
    )


def compare(options: argparse.Namespace) -> int:
    """Compare a run and bring its report up to date; the status says what is red."""
    from course import drift, run_report, runs

    before = known(options.before)
    found = drift.compare(runs.read(options.run), before, timing=options.timing)
    run_report.everything(options.run, found, before)
    if options.json:
        from course.execution import write

        write(options.json, json.dumps(as_plain(found), indent=2, allow_nan=False))
    for line in lines(found):
        _say(line)
    if not found.compared and not found.red:
        raise CourseError(
            "Nothing could be compared; expected a run of chapters that have a "
            "baseline. Make one with course baseline update."
        )
    print(found.verdict)
    return 1 if found.red else 0


def known(before: Path | None) -> dict[Place, Measured]:
    """Return what a run is compared with: baselines, or what another run measured.

    Args:
        before: a folder of baselines, a run's folder or ``records.json``; None for the
            repository's baselines.
    """
    from course import baselines, runs

    folder = before or home()
    if folder.is_file() or (folder / "records.json").exists():
        return {group.place: group for group in runs.gather(runs.read(folder))}
    return {place: kept.measured for place, kept in baselines.find(folder).items()}


def home() -> Path:
    """Return the repository's folder of baselines, whether or not it is there.

    Raises:
        CourseError: the package was installed without its repository.
    """
    from course.runner import notebooks_folder

    return notebooks_folder().parent / "baselines"


def update(options: argparse.Namespace) -> int:
    """Make or replace baselines, and say what moved with them."""
    from course import baselines, runs

    rows = _chosen(runs.read(options.run), options.chapters)
    written = baselines.update(
        rows, options.baselines or home(), options.reason, date.today().isoformat()
    )
    for file, entry in written.items():
        counts = (len(entry.moved), len(entry.gone), len(entry.new))
        print("{}: {} moved, {} gone, {} new".format(file, *counts))
        for row in entry.moved:
            change = f"was {_number(row['before'])}, is {_number(row['now'])}"
            _say(f"  {row['name'][:LONGEST]}: {change}")
    return 0


def _chosen(rows: list[dict[str, Any]], names: list[str] | None) -> list[dict]:
    """Return the rows of some chapters, each of which must be there."""
    if not names:
        return rows
    from course.runner import find_chapters, notebooks_folder

    stems = [path.stem for path in find_chapters(names, notebooks_folder())]
    missing = set(stems) - {row["chapter"] for row in rows}
    if missing:
        raise CourseError(
            f"The run holds no {', '.join(sorted(missing))}; expected every chapter "
            "named with --chapters. Run it, or leave it out."
        )
    return [row for row in rows if row["chapter"] in stems]


def history(options: argparse.Namespace) -> int:
    """Print the reasons of each baseline, the first one first."""
    from course import baselines

    for place, kept in sorted(baselines.find(options.baselines or home()).items()):
        print(f"{place}: {len(kept.measured.whole)} seeds")
        for entry in kept.history:
            moved = f" ({len(entry.moved)} moved)" if entry.moved else ""
            _say(f"  {entry.date}  {entry.reason}{moved}")
    return 0


# Words --------------------------------------------------------------------------------


def _say(line: str) -> None:
    """Print a line, in a terminal of another encoding as well as it can."""
    from course.doctor.page import printable

    print(printable(line, sys.stdout.encoding))


def as_plain(found: Comparison) -> dict[str, Any]:
    """Return a comparison for a program: what `asdict` makes, with the verdict."""
    return {"red": found.red, "verdict": found.verdict, **asdict(found)}


def lines(found: Comparison) -> Iterator[str]:
    """Yield a comparison as lines of text, what moved first; not yet its verdict."""
    for row in found.moved:
        yield _moved_line(row)
    for row in found.failed:
        yield f"RED  {_where(row)} failed with seed {row.seed}: {row.error[:400]}"
    for row in found.broken:
        value = _number(row.value)
        yield (
            f"RED  {_where(row)} {row.text[:LONGEST]!r} does not hold with seed "
            f"{row.seed}: {value}, expected {row.bound[:LONGEST]}"
        )
    for row in found.gone:
        yield f"RED  {_where(row)} {row.name[:LONGEST]!r} is gone ({row.kind})"
    for row in found.new:
        yield f"note {_where(row)} {row.name[:LONGEST]!r} is new ({row.kind})"
    for row in found.changed:
        yield f"note {row.what}: {row.before[:LONGEST]} before, {row.now[:LONGEST]} now"
    for note in found.notes:
        yield f"note {note[:400]}"
    if found.same_seed:
        yield (
            f"note {found.exact} of {found.same_seed} values are exactly those of the "
            "same seeds."
        )


def _moved_line(row: Moved) -> str:
    unit = f" {row.unit}" if row.unit else ""
    parts = [row.reason]
    if row.standard_errors is not None:
        parts.append(f"{row.standard_errors:+.1f} standard errors")
    if row.p_adjusted is not None:
        parts.append(f"adjusted p {row.p_adjusted:.2g}")
    if row.low is not None:
        parts.append(
            f"one seed is expected in {_number(row.low)} to {_number(row.high)}"
        )
    return (
        f"{'RED ' if row.red else 'note'} {_where(row)} {row.name[:LONGEST]!r}: "
        f"was {_number(row.before)}, is {_number(row.now)}{unit} ({'; '.join(parts)})"
    )


def _where(row: Any) -> str:
    chosen = row.profile if row.backbone is None else f"{row.profile}, {row.backbone}"
    return f"{row.chapter} ({chosen[:LONGEST]})"


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.4g}"
