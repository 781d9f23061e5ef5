"""Measure everything and write the table.

    make bench                         # or: python benchmarks/table.py
    make bench SKIP="run sliders"      # those rows stay as they were, with their day

Writes `benchmarks/results.json` and, made from it, `benchmarks/results.md`. What cannot
be measured here (no Chromium, no peers) keeps its last rows, and a note says why. Exits
with 1 when `make run` has become slower against an epoch than it ever was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import speed
import torch
import workbook
from timing import NotMeasured, Row, unmeasured
from tqdm.auto import tqdm

from course import data
from course.data.tasks import Task

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".bench-env"
Results = dict[str, Any]


# The parts ----------------------------------------------------------------------------


def _task() -> Task:
    recipe = speed.RECIPE
    return data.task("shapes", train=recipe.steps * recipe.batch)


def peers() -> list[Row]:
    """Time other libraries' loops, in the environment that holds them."""
    if not (PEERS / ".installed").exists():
        raise NotMeasured("there is no .bench-env; `make bench-peers` makes it")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "rows.json"
        command = [str(PEERS / "bin" / "python"), str(HERE / "peers.py"), str(place)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise NotMeasured(f"peers.py failed: {last[0]}")
        return json.loads(place.read_text("utf-8"))


def sliders() -> list[Row]:
    """Time every slider of every chapter in a browser."""
    try:
        import widget_latency
    except ImportError as error:
        raise NotMeasured(f"{error}; `make install` installs Playwright") from error
    return widget_latency.rows()


PARTS: dict[str, Callable[[], list[Row]]] = {
    "training": lambda: speed.training(_task()),
    "peers": peers,
    "generation": lambda: [speed.generation(_task())],
    "probes": speed.probes,
    "starting": speed.starting,
    "clone": lambda: [speed.clone()],
    "sliders": sliders,
    "run": workbook.rows,
}


def part_of(name: str, last: Sequence[Row], skip: bool) -> list[Row]:
    """Return a part's rows: measured now, or its last ones and why they are old.

    Args:
        name: a key of `PARTS`.
        last: the part's rows in the results so far, each with its day.
        skip: whether it is left out this time.
    """
    why = "left out this time"
    if not skip:
        try:
            today = date.today().isoformat()
            return [{**one, "part": name, "day": today} for one in PARTS[name]()]
        except NotMeasured as error:
            why = str(error)
    if all(one["median"] is None for one in last):
        return [{**unmeasured(f"all of “{name}”", "–", "–", why), "part": name}]
    return [{**one, "kept": why} for one in last]


# What may only go down ----------------------------------------------------------------


def entry(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return what the history keeps of a `make run` measured now, None for none."""
    for one in rows:
        fresh = one.get("part") == "run" and "kept" not in one
        if fresh and one["goal"] == workbook.RATIO_GOAL and one["median"] is not None:
            spread = one["highest"] - one["lowest"]
            ratio = {"ratio": one["median"], "spread": spread}
            return {"day": one["day"], "cores": os.cpu_count(), **ratio}
    return None


def slower(now: dict[str, Any], history: Sequence[dict[str, Any]]) -> str:
    """Return a sentence where a ratio is above the lowest so far; else nothing.

    Only what as many cores measured is compared, and above means by more than the
    new one's spread.
    """
    alike = [one for one in history if one["cores"] == now["cores"]]
    if not alike:
        return ""
    best = min(alike, key=lambda one: one["ratio"])
    if now["ratio"] <= best["ratio"] + now["spread"]:
        return ""
    return (
        f"`make run` took {now['ratio']:.0f} epochs of the bare loop, and "
        f"{best['ratio']:.0f} on {best['day']}, which is more than the spread of "
        f"{now['spread']:.0f}: make the chapters as fast as they were, or take the "
        "older entry out of the history in results.json and say why."
    )


# The table ----------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "day": date.today().isoformat(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def written(results: Results) -> str:
    """Return the results as a page in Markdown."""
    where = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    lines = [
        "# Speed, measured side by side",
        "",
        f"Made by `make bench` from `results.json`. {where}.",
        "",
        "| what | against | to reach | median | lowest to highest |",
        "|---|---|---|---|---|",
        *map(_line, results["rows"]),
    ]
    if history := results["history"]:
        past = ", ".join(f"{one['ratio']:.0f} × ({one['day']})" for one in history)
        lines += ["", f"`make run` against an epoch, so far: {past}."]
    return "\n".join(lines) + "\n"


def _line(one: Row) -> str:
    figures = [one[k] for k in ("median", "lowest", "highest")]
    median, low, high = ("–" if k is None else f"{k:.3g}" for k in figures)
    span = "" if one["median"] is None else f"{low} to {high}"
    notes = [span, one.get("note", "")]
    if "kept" in one:
        notes.append(f"of {one.get('day', 'an earlier day')}: {one['kept']}")
    cells = (
        one["what"],
        one["against"],
        one["goal"],
        f"{median} {one['unit']}".strip(),
    )
    return f"| {' | '.join(cells)} | {'; '.join(filter(None, notes))} |"


def measured(results: Results, skip: Sequence[str]) -> tuple[Results, str]:
    """Return new results from the last ones, and a sentence if something got slower."""
    rows: list[Row] = []
    for name in tqdm(PARTS, desc="measuring"):
        last = [one for one in results["rows"] if one.get("part") == name]
        rows += part_of(name, last, name in skip)
    history, now = list(results["history"]), entry(rows)
    said = slower(now, history) if now else ""
    history += [now] if now else []
    return {"machine": machine(), "rows": rows, "history": history}, said


def main() -> None:
    """Measure all but what is left out, and write both files."""
    command = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    command.add_argument("--skip", nargs="*", default=[], choices=list(PARTS))
    skip = command.parse_args().skip
    place = HERE / "results.json"
    results, said = measured(json.loads(place.read_text("utf-8")), skip)
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    place.write_text(text, "utf-8")
    (HERE / "results.md").write_text(written(results), "utf-8")
    print(written(results))
    if said:
        sys.exit(said)


if __name__ == "__main__":
    main()
