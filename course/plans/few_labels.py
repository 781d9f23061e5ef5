"""The few-label curve: strategies by labelled images a class and by steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from course import data, models, transfer
from course.data.tasks import Task
from course.models import Model
from course.sweep import Cell, Plan, grid, once
from course.training import Recipe

STRATEGIES = ("scratch", "probe", "full", "lp-ft", "lora")
LABELS = (1, 2, 5, 10, 20, 50)
BUDGETS = (10, 20, 40, 80, 160)  # steps
STEPS, BATCH = 40, 10
RATES = (1e-3, 3e-3, 1e-2)
# Chapters report the seeds from 0 up; a shipped run shares no subset with them.
SEEDS = range(1000, 1005)
APART = 2000  # seed and subset of the trainings that choose a rate
SUBSETS = (1000, 1001, 1002)  # crossed with as many seeds, at five labels
TESTS = 300  # images, the same in every run

SOURCES: dict[str, str] = {
    "unseen shapes": "resnet10-shapes",
    "digits": "resnet10-glyphs",
}
_TASKS: dict[str, Callable[[], Task]] = {
    "unseen shapes": lambda: data.task(
        "unseen-shapes", style="mild", train=1000, test=TESTS
    ),
    "digits": lambda: data.task("digits", test=TESTS),
}


@cache
def source(target: str) -> Model:
    """Return the pretrained model whose features this target is given."""
    return models.load(SOURCES[target])


@cache
def task(target: str) -> Task:
    """Return a target task, whose test part has `TESTS` images."""
    return _TASKS[target]()


def measured(
    target: str,
    strategy: str,
    labels: int,
    steps: int,
    seed: int,
    rate: float,
    subset: int | None = None,
) -> dict[str, Any]:
    """Train one strategy on a few-shot split and measure it on test (chapter 05).

    Args:
        target: a name in `SOURCES`.
        strategy: a name in `transfer.STRATEGIES`.
        labels: labelled images a class.
        steps: gradient steps of `BATCH` images; a probe makes none.
        seed: of head, order and augmentation.
        rate: the learning rate, or C where the strategy is a probe.
        subset: which images have labels; None for the one of `seed`.

    Returns:
        Accuracy on the test part after the last step, and the seconds of the training.
    """
    few = task(target).few_shot(labels, seed if subset is None else subset)
    recipe = Recipe(steps, batch=BATCH, augment="shift")
    if transfer.STRATEGIES[strategy].descends:
        recipe = Recipe(steps, batch=BATCH, rate=rate, augment="shift")
    run = transfer.run(
        strategy, source(target), few, recipe, seed, part="test", C=rate, progress=False
    )
    return {"accuracy": run.accuracy, "seconds": run.seconds}


def work(
    target: str, strategy: str, labels: int, steps: int, subset: int, seed: int
) -> dict[str, Any]:
    """Choose the rate of a strategy on validation, train and measure: one run."""
    rate, score = chosen(target, strategy, labels, steps)
    found = measured(target, strategy, labels, steps, seed, rate, subset)
    return {"rate": rate, "on_validation": score, **found}


@once
def chosen(target: str, strategy: str, labels: int, steps: int) -> tuple[float, float]:
    """Return the rate that does best on validation, and the accuracy there.

    Tried with a subset and seed that are not reported; of equals the smaller rate.
    """
    values = RATES if transfer.STRATEGIES[strategy].descends else transfer.CS
    few = task(target).few_shot(labels, APART)
    recipe = Recipe(steps, batch=BATCH, augment="shift")
    parts = (few.train, few.validation)
    return transfer.choose_rate(
        strategy, source(target), *parts, recipe, values, APART
    )[0]


def cells(profile: str) -> list[Cell]:
    """Return the runs of the table: by labels, by steps, and by subset and seed."""
    if profile == "smoke":
        return _by_labels((1,), ("probe",), (1000, 1001))
    seeds = SEEDS if profile == "quick" else range(1000, 1020)
    rows = _by_labels(LABELS, STRATEGIES, seeds)
    for seed in seeds:
        for budget in BUDGETS:
            if budget != STEPS:
                rows += _grid(("scratch", "full"), (5,), budget, seed, seed)
    for subset in SUBSETS:
        for seed in SUBSETS:
            if subset != seed:
                rows += _grid(("full", "scratch"), (5,), STEPS, subset, seed)
    return rows


def _by_labels(labels: Any, strategies: Any, seeds: Any) -> list[Cell]:
    return [
        row for seed in seeds for row in _grid(strategies, labels, STEPS, seed, seed)
    ]


def _grid(
    strategies: Any, labels: Any, steps: int, subset: int, seed: int
) -> list[Cell]:
    return grid(
        target=tuple(SOURCES),
        strategy=strategies,
        labels=labels,
        steps=(steps,),
        subset=(subset,),
        seed=(seed,),
    )


PLAN = Plan(
    "few-labels",
    "Accuracy on test by target, strategy, labelled images a class and steps; the rate "
    "of each was chosen on validation with other subsets and seeds.",
    cells,
    work,
)
