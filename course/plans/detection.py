"""A detector on three backbones: random, frozen and pretrained, by steps and scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any

from course import detection, models
from course.data import scenes as drawn
from course.data.scenes import Scenes
from course.detection import Detector
from course.errors import TrainingDiverged, unknown
from course.models import Model
from course.sweep import Cell, Plan, grid, once
from course.training import History, Recipe


@dataclass(frozen=True)
class Variant:
    """Where a detector's backbone comes from, and whether it may move (chapter 08)."""

    sentence: str
    pretrained: bool = True
    frozen: bool = False


VARIANTS = {
    "random": Variant("A backbone with random weights, all trained.", pretrained=False),
    "frozen": Variant("A pretrained backbone that stays as it is.", frozen=True),
    "pretrained": Variant("A pretrained backbone, all trained."),
}
SOURCE = "resnet10-shapes"
STEPS, BATCH = 80, 4
SCENES = 100  # to learn from
FEWER, MORE = 20, 1000
LONG = (300, 1000)  # steps
LONGEST = 4400  # for the random backbone alone: how long until it has caught up?
CLIP = 5.0
RATES = (1e-3, 2e-3, 4e-3)
# Rates of longer trainings are those of this many steps: a search at full length would
# cost more than everything that is reported.
SEARCHED = 300
# The chapter reports the seeds from 0 up; a shipped run shares no scene with them.
SEEDS = range(1000, 1003)
APART = (2000, 2001)  # seeds and scenes of the trainings that choose a rate
VALIDATION, TESTS = 150, 250  # scenes, the same in every run


@cache
def source() -> Model:
    """Return the pretrained model, which never saw a scene nor one of its shapes."""
    return models.load(SOURCE)


def backbone(variant: str, seed: int) -> Model:
    """Return the model whose layers the detector gets.

    Args:
        variant: a name in `VARIANTS`.
        seed: of the weights, where they are random.
    """
    if variant not in VARIANTS:
        raise unknown("backbone", variant, VARIANTS)
    if VARIANTS[variant].pretrained:
        return source()
    return models.fresh(source().class_names, seed)


@once
def train(count: int, seed: int) -> Scenes:
    """Return scenes to learn from, others for every seed."""
    return drawn.task(count, 1, 1, seed=seed).train


@once
def validation() -> Scenes:
    """Return the scenes on which a rate is chosen."""
    return drawn.task(1, VALIDATION, 1).validation


@once
def test() -> Scenes:
    """Return the scenes that figures are reported on."""
    return drawn.task(1, 1, TESTS).test


def recipe(steps: int, rate: float) -> Recipe:
    """Return the recipe that every variant shares, but for its rate."""
    return Recipe(steps, batch=BATCH, rate=rate, clip=CLIP, augment="flip")


def trained(
    variant: str, scenes: int, steps: int, seed: int, rate: float
) -> tuple[Detector, History]:
    """Train a detector on one of the backbones (chapter 08).

    Args:
        variant: a name in `VARIANTS`.
        scenes: how many to learn from.
        steps: gradient steps of `BATCH` scenes.
        seed: of scenes, new layers, order and mirroring.
        rate: the learning rate.
    """
    part = train(scenes, seed)
    detector = detection.detector(
        backbone(variant, seed),
        part.class_names,
        frozen=VARIANTS[variant].frozen,
        seed=seed,
        size=part.images.shape[-1],
    )
    history = detection.fit(
        detector, part, recipe(steps, rate), seed=seed, progress=False
    )
    return detector, history


def score(detector: Detector, scenes: Scenes) -> dict[str, float]:
    """Return the mean average precisions of a detector on scenes (chapter 08)."""
    found = detection.detect(detector, scenes.images, score=detection.LOWEST)
    return detection.mean_average_precision(found, scenes)


def measured(
    variant: str, scenes: int, steps: int, seed: int, rate: float
) -> dict[str, Any]:
    """Train a detector and measure it on the test scenes after the last step.

    Args:
        variant: see `trained`.
        scenes: see `trained`.
        steps: see `trained`.
        seed: see `trained`.
        rate: see `trained`.

    Returns:
        ``"map50"``, ``"map"`` and the seconds of the training.
    """
    detector, history = trained(variant, scenes, steps, seed, rate)
    values = score(detector, test())
    return {
        "map50": values["map50"],
        "map": values["map"],
        "seconds": history.seconds,
    }


def work(variant: str, scenes: int, steps: int, seed: int) -> dict[str, Any]:
    """Choose the rate of a variant on validation, train and measure: one run."""
    rate, there = chosen(variant, min(steps, SEARCHED))
    found = measured(variant, scenes, steps, seed, rate)
    return {"rate": rate, "on_validation": there, **found}


@once
def chosen(variant: str, steps: int) -> tuple[float, float]:
    """Return the rate that does best on validation, and the mAP50 there.

    The mean of two trainings, with scenes and seeds that are not reported; of equals
    the smaller rate. A training that diverged counts as 0.
    """
    trials = [
        (rate, fmean(_on_validation(variant, steps, seed, rate) for seed in APART))
        for rate in sorted(RATES)
    ]
    return max(trials, key=lambda trial: (trial[1], -trial[0]))


def _on_validation(variant: str, steps: int, seed: int, rate: float) -> float:
    count = SCENES if steps <= STEPS else MORE
    try:
        detector, _ = trained(variant, count, steps, seed, rate)
    except TrainingDiverged:
        return 0.0
    return score(detector, validation())["map50"]


def cells(profile: str) -> list[Cell]:
    """Return the runs of the table: by scenes at few steps, then by steps."""
    if profile == "smoke":
        return _grid(("frozen",), (FEWER,), (2,), (1000, 1001))
    seeds = tuple(SEEDS if profile == "quick" else range(1000, 1010))
    every = tuple(VARIANTS)
    return [
        *_grid(every, (FEWER, SCENES, MORE), (STEPS,), seeds),
        *_grid(every, (MORE,), LONG, seeds),
        *_grid(("random",), (MORE,), (LONGEST,), seeds),
    ]


def _grid(
    variants: tuple[str, ...],
    scenes: tuple[int, ...],
    steps: tuple[int, ...],
    seeds: tuple[int, ...],
) -> list[Cell]:
    return grid(seed=seeds, scenes=scenes, steps=steps, variant=variants)


PLAN = Plan(
    "detection",
    "mAP50 and mAP on test scenes by backbone, scenes to learn from and steps; the "
    "rate of each backbone was chosen on validation with other scenes and seeds.",
    cells,
    work,
)
