"""What each source is worth for each target: the truth behind the scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from course import data, models, transfer
from course.data.tasks import Task
from course.models import Model
from course.sweep import Cell, Plan, grid, once
from course.training import Recipe

LABELS = 10  # images a class: all that a score may look at, and all to train on
STEPS, BATCH = 40, 10
RATES = (1e-3, 3e-3, 1e-2)
# Chapters report the seeds from 0 up; a shipped run shares no subset with them.
SEEDS = range(1000, 1005)
APART = 2000  # seed and subset of the trainings that choose a rate
TESTS = 300  # images, the same in every run
TRAIN = 1000  # images from which the subsets are taken

_SHAPES = "resnet10-shapes"


def _half_of_shapes() -> Model:
    """Return the shapes network with new random weights in its last two stages."""
    model = models.load(_SHAPES)
    for stage in ("layer3", "layer4"):
        transfer.reinitialise(model.network.get_submodule(stage), seed=7)
    return model


def _random() -> Model:
    return models.fresh(models.load(_SHAPES).class_names, seed=7)


SOURCES: dict[str, Callable[[], Model]] = {
    "shapes": partial(models.load, _SHAPES),
    "glyphs": partial(models.load, "resnet10-glyphs"),
    "colours": partial(models.load, "resnet10-colours"),
    "fills": partial(models.load, "resnet10-fills"),
    "simclr": partial(models.load, "resnet10-simclr"),
    "half of shapes": _half_of_shapes,
    "random": _random,
}
TARGETS: dict[str, str] = {
    "unseen shapes": "unseen-shapes",
    "digits": "digits",
    "fill": "fills",
    "colour": "colours",
    "position": "position",
}


@cache
def model(source: str) -> Model:
    """Return a candidate: a shipped network, half of one, or a random one."""
    return SOURCES[source]()


@cache
def task(target: str) -> Task:
    """Return a target task, whose test part has `TESTS` images."""
    return data.task(TARGETS[target], style="mild", train=TRAIN, test=TESTS)


def _recipe(rate: float, steps: int = STEPS) -> Recipe:
    return Recipe(steps, batch=BATCH, rate=rate, augment="shift")


def measured(
    source: str, target: str, seed: int, rate: float, steps: int = STEPS
) -> dict[str, Any]:
    """Fine-tune one source on a few-shot split and measure it on test (chapter 07).

    Args:
        source: a name in `SOURCES`.
        target: a name in `TARGETS`.
        seed: of the subset, the head, the order and the augmentation.
        rate: the learning rate.
        steps: gradient steps; the table's by default.

    Returns:
        Accuracy on the test part after the last step, and the seconds of the training.
    """
    few = task(target).few_shot(LABELS, seed)
    how = _recipe(rate, steps)
    run = transfer.run(
        "full", model(source), few, how, seed, part="test", progress=False
    )
    return {"accuracy": run.accuracy, "seconds": run.seconds}


def work(source: str, target: str, seed: int) -> dict[str, Any]:
    """Choose rate and C on validation, fine-tune and probe, measure both: one run."""
    rate, on_validation = chosen(source, target, "full")
    C, _ = chosen(source, target, "probe")
    found = measured(source, target, seed, rate)
    few = task(target).few_shot(LABELS, seed)
    probe = transfer.run(
        "probe", model(source), few, _recipe(rate), seed, part="test", C=C
    )
    return {
        "rate": rate,
        "on_validation": on_validation,
        **found,
        "C": C,
        "probe": probe.accuracy,
    }


@once
def chosen(source: str, target: str, strategy: str) -> tuple[float, float]:
    """Return the rate (a probe's C) that does best on validation, and how well.

    Tried with a subset and seed that are not reported; of equals the smaller one.
    """
    values = RATES if transfer.STRATEGIES[strategy].descends else transfer.CS
    few = task(target).few_shot(LABELS, APART)
    parts = (few.train, few.validation)
    return transfer.choose_rate(
        strategy, model(source), *parts, _recipe(RATES[0]), values, APART
    )[0]


def cells(profile: str) -> list[Cell]:
    """Return the runs of the table: every source on every target, a few seeds each."""
    if profile == "smoke":
        return grid(source=("shapes", "random"), target=("digits",), seed=(1000, 1001))
    seeds = SEEDS if profile == "quick" else range(1000, 1020)
    return grid(seed=tuple(seeds), target=tuple(TARGETS), source=tuple(SOURCES))


PLAN = Plan(
    "sources",
    "Accuracy on test by source and target after full fine-tuning on a few labels, and "
    "of a probe; rate and C of each were chosen on validation with other subsets.",
    cells,
    work,
)
