"""How long does `make run` take, and how much memory does each chapter's kernel hold?

    python benchmarks/workbook.py 00 04      # some chapters only, to look at

The whole workbook is executed in the quick profile, once. Its time stands against an
epoch of the bare loop of `speed.py`, timed in the same command before and after: the
ratio of another machine can be compared with yours, its minutes cannot.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speed import RECIPE, bare_loop
from timing import PAIRS, NotMeasured, Row, row, seconds_of, unmeasured

from course import data, models

WHAT = "`make run`, all chapters, quick"
AGAINST = f"an epoch of the bare loop, {RECIPE.steps * RECIPE.batch:,} images"
RATIO_GOAL = "may only go down"
MINUTES_GOAL = "at most 12 on two cores"
MEMORY_GOAL = "at most 1.5"


def reference(times: int = PAIRS) -> list[float]:
    """Return the seconds of an epoch of the bare loop, after a warm-up."""
    task = data.task("shapes", train=RECIPE.steps * RECIPE.batch)
    taken = [
        seconds_of(lambda: bare_loop(models.fresh(task.class_names, 0), task.train))
        for _ in range(times + 1)
    ]
    return taken[1:]


def executed(chapters: Sequence[str] = ()) -> tuple[float, list[dict[str, Any]]]:
    """Run chapters as `make run` does; return the seconds and the run's records.

    Args:
        chapters: as `course run` takes them; empty for all.

    Raises:
        NotMeasured: the command or a chapter failed.
    """
    command = [str(Path(sys.executable).with_name("course")), "run", *chapters]
    with tempfile.TemporaryDirectory() as folder:
        done: list[subprocess.CompletedProcess[str]] = []
        seconds = seconds_of(
            lambda: done.append(
                subprocess.run(
                    [*command, "--out", folder], capture_output=True, text=True
                )
            )
        )
        if done[0].returncode:
            lines = (done[0].stdout + done[0].stderr).strip().splitlines()
            raise NotMeasured(f"`course run` failed: {' / '.join(lines[-2:])}")
        records = json.loads((Path(folder) / "records.json").read_text("utf-8"))
    return seconds, records


def memory(record: dict[str, Any]) -> Row:
    """Return how much a chapter's kernel held at the most, in GB of 10^9 bytes."""
    what = f"memory of the kernel, chapter {record['chapter'][:2]}"
    if record["peak_mb"] is None:
        return unmeasured(what, "–", MEMORY_GOAL, "this system does not count it")
    gigabytes = record["peak_mb"] * 2**20 / 1e9
    return row(what, "–", MEMORY_GOAL, [gigabytes], "GB")


def rows(chapters: Sequence[str] = ()) -> list[Row]:
    """Return the ratio, the minutes and each chapter's memory."""
    before = reference()
    seconds, records = executed(chapters)
    ratios = [seconds / one for one in [*before, *reference()]]
    return [
        row(WHAT, AGAINST, RATIO_GOAL, ratios, "×"),
        row(WHAT, "–", MINUTES_GOAL, [seconds / 60], "minutes"),
        *(memory(record) for record in records),
    ]


if __name__ == "__main__":
    for one in rows(sys.argv[1:]):
        print(one)
