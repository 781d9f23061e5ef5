"""From near to far: what a source gains over scratch as the target moves away."""

from __future__ import annotations

from functools import cache
from typing import Any

from course import data, models, transfer
from course.data.tasks import Task
from course.models import Model
from course.sweep import Cell, Plan, grid, once
from course.training import Recipe

STRATEGIES = ("scratch", "full", "probe", "untrained probe")
LABELS = 20  # images a class
STEPS, BATCH = 30, 16
LONG = 120  # steps, for the targets where scratch is ahead or might be
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
# Chapters report the seeds from 0 up; a shipped run shares no subset with them.
SEEDS = range(1000, 1006)
APART = 2000  # seed and subset of the trainings that choose a rate
TESTS = 300  # images, the same in every run
SOURCES: dict[str, str] = {
    "shapes": "resnet10-shapes",
    "colours": "resnet10-colours",
}
# In the order of the dial: the same question of other classes, the same in another
# look, and then other questions about pictures like the source's.
TARGETS: dict[str, tuple[str, str]] = {
    "unseen shapes": ("unseen-shapes", "full"),
    "in another style": ("unseen-shapes", "plain"),
    "fill": ("fills", "full"),
    "position": ("position", "full"),
    "colour": ("colours", "full"),
}


@cache
def source(name: str) -> Model:
    """Return a pretrained model by its short name."""
    return models.load(SOURCES[name])


@cache
def untrained() -> Model:
    """Return a network with the source's layers and random weights."""
    return models.fresh(source("shapes").class_names, seed=7)


@cache
def task(target: str) -> Task:
    """Return a target task, whose test part has `TESTS` images."""
    name, style = TARGETS[target]
    return data.task(name, style=style, train=1200, validation=200, test=TESTS)


def measured(
    strategy: str,
    target: str,
    steps: int,
    seed: int,
    rate: float,
    origin: str = "shapes",
) -> dict[str, Any]:
    """Carry a source to a target by one strategy and measure it on test (chapter 06).

    Args:
        strategy: one of `STRATEGIES`.
        target: a name in `TARGETS`.
        steps: gradient steps of `BATCH` images; a probe makes none.
        seed: of subset, head, order and augmentation.
        rate: the learning rate, or C where the strategy is a probe.
        origin: a name in `SOURCES`.

    Returns:
        Accuracy on the test part after the last step, and the seconds of the training.
    """
    few = task(target).few_shot(LABELS, seed)
    way, start = _way(strategy, origin)
    recipe = _recipe(steps, rate if transfer.STRATEGIES[way].descends else 1.0)
    run = transfer.run(
        way, start, few, recipe, seed, part="test", C=rate, progress=False
    )
    return {"accuracy": run.accuracy, "seconds": run.seconds}


def _way(strategy: str, origin: str) -> tuple[str, Model]:
    if strategy == "untrained probe":
        return "probe", untrained()
    return strategy, source(origin)


def _recipe(steps: int, rate: float = 1e-3) -> Recipe:
    return Recipe(steps, batch=BATCH, rate=rate, augment="shift")


def work(
    origin: str, target: str, strategy: str, steps: int, seed: int
) -> dict[str, Any]:
    """Choose the rate of a strategy on validation, train and measure: one run."""
    rate, score = chosen(origin, target, strategy, steps)
    found = measured(strategy, target, steps, seed, rate, origin)
    return {"rate": rate, "on_validation": score, **found}


@once
def chosen(origin: str, target: str, strategy: str, steps: int) -> tuple[float, float]:
    """Return the rate (a probe's C) that does best on validation, and how well.

    Tried with a subset and seed that are not reported; of equals the smaller one.
    """
    way, start = _way(strategy, origin)
    values = RATES if transfer.STRATEGIES[way].descends else transfer.CS
    few = task(target).few_shot(LABELS, APART)
    parts = (few.train, few.validation)
    return transfer.choose_rate(way, start, *parts, _recipe(steps), values, APART)[0]


def cells(profile: str) -> list[Cell]:
    """Return the runs of the table: all targets, then other budgets and sources."""
    if profile == "smoke":
        return _grid("shapes", ("colour",), ("untrained probe",), STEPS, (1000, 1001))
    seeds = tuple(SEEDS if profile == "quick" else range(1000, 1020))
    trained, far = ("scratch", "full"), ("fill", "colour")
    elsewhere = ("in another style", "position", "colour")
    return [
        *_grid("shapes", tuple(TARGETS), STRATEGIES, STEPS, seeds),
        *_grid("colours", elsewhere, ("full", "probe"), STEPS, seeds),
        *_grid("shapes", far, trained, LONG, seeds),
    ]


def _grid(
    origin: str,
    targets: tuple[str, ...],
    strategies: tuple[str, ...],
    steps: int,
    seeds: tuple[int, ...],
) -> list[Cell]:
    return grid(
        seed=seeds,
        origin=(origin,),
        target=targets,
        steps=(steps,),
        strategy=strategies,
    )


PLAN = Plan(
    "near-to-far",
    "Accuracy on test by source, target, strategy and steps; the rate of each was "
    "chosen on validation with other subsets and seeds.",
    cells,
    work,
)
