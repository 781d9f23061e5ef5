"""`course run`: which chapters, sizes, seeds and backbones, and how many at once."""

from __future__ import annotations

import argparse
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from course.errors import CourseError, unknown

PROFILES = ("smoke", "quick", "full")
MOST = 100  # seeds; a longer list is a slip of the keyboard


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of `course`."""
    command = commands.add_parser("run", help="execute chapters without a screen")
    command.add_argument(
        "chapters", nargs="*", metavar="CHAPTER", help="such as 02; default: all"
    )
    _add_axes(command)
    command.add_argument(
        "--out", type=Path, default=Path("runs/latest"), help="default: %(default)s"
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="run only what failed, is missing there, or has changed since",
    )
    _add_room(command)
    command.set_defaults(command=run)


def _add_axes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profiles",
        "--profile",
        type=_profile_list,
        metavar="NAME[,NAME …]",
        help="smoke, quick, full: a few seconds, two cores, a GPU (default: quick)",
    )
    command.add_argument(
        "--seeds", "--seed", default="0", help="such as 0,1,2 or 0-4; default: 0"
    )
    command.add_argument(
        "--backbones",
        default="",
        metavar="NAME[,NAME …]",
        help="for chapters with a parameter BACKBONE; default: their own",
    )


def _add_room(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--kernels",
        type=int,
        metavar="N",
        help="how many chapters at once; default: what cores and memory allow",
    )
    for what in ("cell", "chapter"):
        command.add_argument(
            f"--{what}-limit",
            type=float,
            metavar="SECONDS",
            help=f"after which a {what} is stopped; default: by profile",
        )


def run(options: argparse.Namespace) -> int:
    """Execute chapters; the exit status says whether all went well."""
    from course import runner

    jobs = runner.matrix(
        runner.find_chapters(options.chapters, runner.notebooks_folder()),
        options.profiles or _from_environment(),
        seeds(options.seeds),
        _names(options.backbones),
    )
    with _ended_like_ctrl_c():
        results = runner.run(
            jobs,
            options.out,
            kernels=options.kernels,
            limits=_limits(options),
            resume=options.resume,
            report=_say,
        )
    failed = [result.chapter for result in results if result.status != "ok"]
    print(f"{len(results) - len(failed)} of {len(results)} chapters ran through.")
    print(f"Report: {_report(options.out)}")
    return 1 if failed else 0


def _report(out: Path) -> Path:
    """Write report, summary and XML of a run, and say what moved in it."""
    from course import drift, run_report, runs
    from course.cli_compare import home, known

    try:
        before = known(None) if home().is_dir() else {}
    except CourseError as error:  # damaged: the run is worth a report all the same
        print(f"Not compared: {error}")
        before = {}
    if not before:
        return run_report.everything(out)
    found = drift.compare(runs.read(out), before)
    if found.compared:
        print(f"Beside the baselines: {found.verdict}")
    return run_report.everything(out, found, before)


def _say(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line)


def _profile_list(text: str) -> Sequence[str]:
    names = _names(text)
    for name in names:
        if name not in PROFILES:
            raise argparse.ArgumentTypeError(str(unknown("profile", name, PROFILES)))
    return names


def _from_environment() -> Sequence[str]:
    name = os.environ.get("COURSE_PROFILE", "quick")
    if name not in PROFILES:
        raise CourseError(f"COURSE_PROFILE is {name!r}; expected smoke, quick or full.")
    return [name]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def seeds(text: str) -> list[int]:
    """Return the seeds of a text such as ``"0,1,2"``, ``"0-4"`` or ``"7"``.

    Raises:
        CourseError: it is no such text, or names more than `MOST`.
    """
    found: list[int] = []
    for piece in _names(text):
        span = re.fullmatch(r"(\d{1,9})-(\d{1,9})", piece)
        if not span and not re.fullmatch(r"-?\d{1,9}", piece):
            raise CourseError(
                f"The seeds were {text!r}; expected whole numbers from 0, such as "
                "0,1,2 or 0-4."
            )
        low, high = map(int, span.groups() if span else (piece, piece))
        found += range(low, min(high, low + MOST) + 1)
    if not 1 <= len(found) <= MOST:
        raise CourseError(
            f"The seeds {text!r} are {len(found)} or more; expected 1 to {MOST}."
        )
    return found


def _limits(options: argparse.Namespace) -> Any:
    from course.execution import Limits

    for name in ("cell", "chapter"):
        given = getattr(options, f"{name}_limit")
        if given is not None and not given > 0:
            raise CourseError(
                f"--{name}-limit was {given:g}; expected seconds, more than 0."
            )
    return Limits(options.cell_limit, options.chapter_limit)


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, as batch systems send it, end the kernels as Ctrl-C does."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
