"""How fast is the workbook? Each figure is a ratio of two things timed in turns.

What is compared runs alternately in one process, so a machine that gets slower gets
slower for both; a row is the median of the pairs' ratios, with the lowest and highest.
Seconds of another machine say nothing about yours. `table.py` makes the table of it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from timing import Row, alternately, row
from torch import Tensor, nn
from torch.nn import functional as F

from course import data, extraction, models, probing
from course.data import shapes
from course.data.tasks import Part, Task
from course.models import Model
from course.training import Recipe, autocast, evaluate, fit, placed

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
RECIPE = Recipe(60, batch=32)
# Of the head that is trained by gradient descent: AdamW got furthest of SGD and AdamW
# at four rates each.
RATE, EPOCHS = 0.01, 30


# Training -----------------------------------------------------------------------------


def fit_once(part: Part, model: Model | None = None) -> None:
    """One epoch with `fit`, of a fresh network where none is given."""
    model = model or models.fresh(part.class_names, 0)
    fit(model, part, RECIPE, progress=False, device="cpu")


def bare_loop(model: Model, part: Part) -> None:
    """One epoch as one would write it by hand, with all that `fit` does for speed."""
    optimiser = _optimiser(model)
    order = torch.randperm(len(part))
    for step, places in enumerate(order.split(RECIPE.batch)):
        for group in optimiser.param_groups:
            group["lr"] = RECIPE.rate_at(step)
        images = placed(model.preprocess(part.images[places]), CPU)
        _descend(model.network, optimiser, images, part.labels[places])


def bare_steps(model: Model, part: Part) -> None:
    """As many steps as an epoch has, all on one prepared batch: what must be computed.

    Forwards, loss, backwards, clipping and optimiser, and nothing besides.
    """
    optimiser = _optimiser(model)
    images = placed(model.preprocess(part.images[: RECIPE.batch]), CPU)
    for _ in range(len(part) // RECIPE.batch):
        _descend(model.network, optimiser, images, part.labels[: RECIPE.batch])


def _optimiser(model: Model) -> torch.optim.Optimizer:
    """Make a network ready to be trained and return what moves it."""
    network = model.network.to(memory_format=torch.channels_last).train()
    return torch.optim.AdamW(
        network.parameters(), weight_decay=RECIPE.weight_decay, fused=True
    )


def _descend(
    network: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    with autocast(CPU):
        loss = F.cross_entropy(network(images).float(), labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), RECIPE.clip)
    optimiser.step()


def training(task: Task) -> list[Row]:
    """Time `fit` against a bare loop, and against the steps that must be computed."""
    part = task.train
    rows = []
    for run, against, goal in (
        (bare_loop, "a bare PyTorch loop", "at most 1.03"),
        (bare_steps, "its own steps on one prepared batch, the floor", "no goal"),
    ):
        ours, theirs = alternately(
            lambda: fit_once(part),
            lambda run=run: run(models.fresh(part.class_names, 0), part),
            pairs=9,
        )
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        rows.append(row("`fit`, one epoch", against, goal, ratios, "×"))
    return rows


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
        command = ["git", "clone", "--quiet", "--bare", "--no-local", str(ROOT)]
        subprocess.run([*command, folder], check=True)
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
    return row("a clone", "–", "at most 20", [size / 2**20], "MiB")
