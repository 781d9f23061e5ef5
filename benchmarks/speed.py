"""How fast is the workbook? Each figure is a ratio of two things timed in turns.

    make bench        # or: python benchmarks/speed.py

What is compared runs alternately in one process, so a machine that gets slower gets
slower for both; a row is the median of the pairs' ratios, with the lowest and highest.
Writes `benchmarks/results.json` and, made from it, `benchmarks/results.md`. Seconds of
another machine say nothing about yours.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from course import data, extraction, models, probing
from course.data import shapes
from course.data.tasks import Part, Task
from course.models import Model
from course.training import Recipe, autocast, evaluate, fit

HERE = Path(__file__).parent
PAIRS = 5
CPU = torch.device("cpu")
RECIPE = Recipe(60, batch=32)
# Of the head that is trained by gradient descent: AdamW got furthest of SGD and AdamW
# at four rates each.
RATE, EPOCHS = 0.01, 30
Row = dict[str, Any]


def alternately(
    first: Callable[[], Any], second: Callable[[], Any], pairs: int = PAIRS
) -> tuple[list[float], list[float]]:
    """Return the seconds of both, run in turns; the first pair is only a warm-up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs + 1):
        for seconds, run in zip(taken, (first, second), strict=True):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    return taken[0][1:], taken[1][1:]


def row(what: str, against: str, goal: str, values: list[float], unit: str) -> Row:
    """Return a line of the table: the median of some values, lowest and highest."""
    return {
        "what": what,
        "against": against,
        "goal": goal,
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
        "unit": unit,
    }


# Training -----------------------------------------------------------------------------


def bare_loop(model: Model, part: Part) -> None:
    """One epoch as one would write it by hand, with all that `fit` does for speed."""
    network = model.network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(
        network.parameters(), weight_decay=RECIPE.weight_decay, fused=True
    )
    order = torch.randperm(len(part))
    for step, places in enumerate(order.split(RECIPE.batch)):
        for group in optimiser.param_groups:
            group["lr"] = RECIPE.rate_at(step)
        images = model.preprocess(part.images[places])
        images = images.to(memory_format=torch.channels_last)
        with autocast(CPU):
            loss = F.cross_entropy(network(images).float(), part.labels[places])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()


def training(task: Task) -> Row:
    """Time `fit` and a bare loop: same network, images, precision and batch."""
    names = task.class_names
    ours, theirs = alternately(
        lambda: fit(
            models.fresh(names, 0), task.train, RECIPE, progress=False, device="cpu"
        ),
        lambda: bare_loop(models.fresh(names, 0), task.train),
        pairs=9,
    )
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    goal = "at most 1.03"
    return row("`fit`, one epoch", "a bare PyTorch loop", goal, ratios, "×")


def generation(task: Task) -> Row:
    """Time drawing images and training on as many, one epoch."""
    count = len(task.train)
    drawing, learning = alternately(
        lambda: shapes.draw(count, seed=1),
        lambda: bare_loop(models.fresh(task.class_names, 0), task.train),
    )
    ratios = [b / a for a, b in zip(drawing, learning, strict=True)]
    return row("drawing images", "training on them", "at least 1.5", ratios, "× faster")


# A linear probe -----------------------------------------------------------------------


def by_descent(model: Model, task: Task, enough: float) -> float:
    """Train a head on a frozen backbone as tutorials do; return its accuracy.

    Every epoch sends all images through the backbone again. It ends as soon as the
    validation accuracy is reached, or after `EPOCHS` epochs.
    """
    model = models.replace_head(model, task.class_names, seed=0)
    model.network.requires_grad_(False).eval()
    _, head = models.head_of(model.network)
    head.requires_grad_(True)
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE)
    reached = 0.0
    for _ in range(EPOCHS):
        for places in torch.randperm(len(task.train)).split(RECIPE.batch):
            loss = _loss(model, task.train.images[places], task.train.labels[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        reached = evaluate(model, task.validation, device="cpu").accuracy
        model.network.eval()
        if reached >= enough:
            break
    return reached


def _loss(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    with autocast(CPU):
        logits = model.network(model.preprocess(images))
    return F.cross_entropy(logits.float(), labels)


def probe(task: Task, source: Model, forget: bool) -> float:
    """Fit our linear probe; return its validation accuracy.

    Args:
        task: what to tell.
        source: the frozen backbone.
        forget: compute the features anew, which happens once for a part.
    """
    if forget:
        extraction.forget()
    train, validation = (
        extraction.features(source, part, device="cpu")
        for part in (task.train, task.validation)
    )
    return probing.linear_probe(train, validation, Cs=(1.0,)).score(validation)


def probes() -> list[Row]:
    """Time the probe, with and without kept features, and the tutorials' way."""
    task, source = data.task("digits"), models.load("resnet10-shapes")
    enough = probe(task, source, forget=True) - 0.01
    reached: list[float] = []
    rows = []
    for forget, what, goal in (
        (True, "linear probe, the first time", "no goal"),
        (False, "linear probe, features kept", "at least 30"),
    ):
        ours, theirs = alternately(
            lambda forget=forget: probe(task, source, forget),
            lambda: reached.append(by_descent(source, task, enough)),
        )
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        against = f"frozen forwards, a head by AdamW, up to {EPOCHS} epochs"
        rows.append(row(what, against, goal, ratios, "× faster"))
        best = max(reached)  # where it is below ours, the ratio is a lower bound
        rows[-1]["note"] = (
            f"accuracy {enough + 0.01:.2f} against {best:.2f} at the most"
        )
    return rows


# Starting and size --------------------------------------------------------------------


def starting() -> list[Row]:
    """Time what it adds to an empty Python: the import, and the command's help."""
    rows = []
    for what, command in (
        ("`import course`", [sys.executable, "-c", "import course"]),
        ("`course --help`", [str(Path(sys.executable).with_name("course")), "--help"]),
    ):
        ours, empty = alternately(
            lambda command=command: _started(command),
            lambda: _started([sys.executable, "-c", "pass"]),
            pairs=9,
        )
        added = [a - b for a, b in zip(ours, empty, strict=True)]
        rows.append(row(what, "`python -c pass`", "at most 0.15", added, "s more"))
    return rows


def _started(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def clone() -> Row:
    """Measure what a fresh clone fetches."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "clone", "--quiet", "--bare", "--no-local", str(HERE.parent)]
        subprocess.run([*command, folder], check=True)
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
    return row("a clone", "–", "at most 20", [size / 2**20], "MiB")


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


def written(results: dict[str, Any]) -> str:
    """Return the results as a page in Markdown."""
    where = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    lines = [
        "# Speed, measured side by side",
        "",
        f"Made by `make bench` from `results.json`. {where}.",
        "",
        "| what | against | to reach | median | lowest to highest |",
        "|---|---|---|---|---|",
    ]
    for one in results["rows"]:
        median, low, high = (f"{one[k]:.3g}" for k in ("median", "lowest", "highest"))
        cells = (one["what"], one["against"], one["goal"])
        note = f"; {one['note']}" if "note" in one else ""
        cells += (f"{median} {one['unit']}", f"{low} to {high}{note}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all, and write both files."""
    task = data.task("shapes", train=RECIPE.steps * RECIPE.batch)
    parts = (
        lambda: [training(task)],
        lambda: [generation(task)],
        probes,
        starting,
        lambda: [clone()],
    )
    rows = [one for part in tqdm(parts, desc="measuring") for one in part()]
    results = {"machine": machine(), "rows": rows}
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (HERE / "results.json").write_text(text, "utf-8")
    (HERE / "results.md").write_text(written(results), "utf-8")
    print(written(results))


if __name__ == "__main__":
    main()
