"""Transfer: strategies run on a target task, and compared fairly (chapters 02, 03).

Feature extraction, probes, LoRA and the frozen check have modules of their own and are
found here too: ``from course import transfer`` is all that a chapter needs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn
from tqdm.auto import tqdm

from course import models
from course.arguments import kinds_checked
from course.comparison import Comparison
from course.data.tasks import Part, Task, TrainPart, ValidationPart, forbid_test
from course.errors import CourseError, TrainingDiverged, unknown
from course.extraction import (
    Features,
    before_head,
    features,
    forbid_test_features,
    forget,
)
from course.frozen import assert_frozen, evaluating, fingerprint
from course.lora import LoRAConv2d, add_lora, merge_lora
from course.models import Model
from course.probing import (
    CS,
    Probe,
    attach,
    knn_accuracy,
    linear_probe,
    neighbours,
)
from course.strategies import (
    STRATEGIES,
    Start,
    Strategy,
    begin,
    reinitialise,
    stages,
    strategy_of,
)
from course.training import History, Recipe, evaluate, fit

__all__ = [
    "CS",
    "RATES",
    "STRATEGIES",
    "Comparison",
    "Features",
    "LoRAConv2d",
    "Probe",
    "Run",
    "Start",
    "Strategy",
    "accuracy_on",
    "add_lora",
    "assert_frozen",
    "attach",
    "before_head",
    "begin",
    "choose_rate",
    "compare",
    "evaluating",
    "features",
    "fingerprint",
    "forbid_test_features",
    "forget",
    "knn_accuracy",
    "linear_probe",
    "merge_lora",
    "neighbours",
    "reinitialise",
    "run",
    "stages",
    "strategy_of",
]

RATES = (3e-4, 1e-3, 3e-3)


@dataclass(eq=False)
class Run:
    """One strategy, trained once.

    Args:
        strategy: its name.
        seed: of head, order and augmentation.
        rate: the learning rate, or C where the strategy is a probe.
        steps: gradient steps that were made; 0 for a probe.
        trained_parameters: how many numbers could move.
        seconds: preparing and training, without the evaluation.
        model: as it was after the last step.
        history: of the training.
        accuracy: after the last step, on the part that was asked for; else None.
    """

    strategy: str
    seed: int
    rate: float
    steps: int
    trained_parameters: int
    seconds: float
    model: Model
    history: History
    accuracy: float | None = None


@kinds_checked
def run(
    strategy: str | Strategy,
    source: Model,
    task: Task,
    recipe: Recipe,
    seed: int,
    *,
    part: Literal["validation", "test"] | None = None,
    C: float = 1.0,
    device: str = "auto",
    progress: bool = True,
) -> Run:
    """Carry a source model to a task by one strategy (chapter 03).

    Args:
        strategy: a name in `STRATEGIES`, or one of your own.
        source: a pretrained model; it is not changed.
        task: learnt from its train part.
        recipe: steps, batch, rate, augmentation; a probe makes no steps.
        seed: of the new head, of order and augmentation.
        part: where to measure the accuracy after the last step; None for nowhere.
        C: of the probe, in ``"probe"`` and ``"lp-ft"``.
        device: see `training.device_of`.
        progress: show a bar.

    Raises:
        CourseError: the strategy or the part is unknown.
    """
    chosen = strategy_of(strategy)
    if part not in (None, "validation", "test"):
        raise unknown("part", part, ["validation", "test"])
    start = Start(task.train, seed, C, device)
    result = _trained(chosen, source, start, recipe, progress)
    if part is not None:
        result.accuracy = accuracy_on(result, getattr(task, part), device)
    return result


def _trained(
    strategy: Strategy, source: Model, start: Start, recipe: Recipe, progress: bool
) -> Run:
    """Train by a strategy. Nothing here has a test part in reach."""
    began = time.perf_counter()
    model = begin(strategy, source, start)
    movable = [p.numel() for p in model.network.parameters() if p.requires_grad]
    history = History()
    if strategy.descends:
        history = fit(
            model,
            start.train,
            recipe,
            groups=strategy.groups,
            batchnorm=strategy.batchnorm,
            seed=start.seed,
            device=start.device,
            progress=progress,
            before_step=_with_steps(strategy, recipe.steps),
        )
    if strategy.finish:
        model.network = strategy.finish(model.network)
    model.network.zero_grad(set_to_none=True)  # as large as the weights, and done with
    model.network.requires_grad_(True).eval()
    return Run(
        strategy=strategy.name,
        seed=start.seed,
        rate=recipe.rate if strategy.descends else start.C,
        steps=len(history.rows),
        trained_parameters=sum(movable),
        seconds=time.perf_counter() - began,
        model=model,
        history=history,
    )


def _with_steps(
    strategy: Strategy, steps: int
) -> Callable[[int, nn.Module], None] | None:
    before = strategy.before_step
    if before is None:
        return None
    return lambda step, network: before(step, steps, network)


@kinds_checked
def accuracy_on(result: Run, part: Part, device: str = "auto") -> float:
    """Return the accuracy of a run's model on a part, from 0 to 1.

    A run without gradient steps has the source's backbone, whose features are computed
    once for all such runs.
    """
    if result.steps:
        return evaluate(result.model, part, device).accuracy
    known = before_head(result.model, part, device)
    head = models.head_of(result.model.network)[1]
    predictions = head(known.values.to(head.weight.device)).argmax(dim=1).cpu()
    return (predictions == part.labels).double().mean().item()


# A fair comparison ------------------------------------------------------------------


@kinds_checked
def choose_rate(
    strategy: str | Strategy,
    source: Model,
    train: TrainPart,
    validation: ValidationPart,
    recipe: Recipe,
    values: Sequence[float],
    seed: int,
    *,
    device: str = "auto",
) -> list[tuple[float, float]]:
    """Try each learning rate (a probe's C) once and return the best first (chapter 03).

    The same rule for every strategy: one training a value, the accuracy on validation
    images after the last step, of equals the smaller value. A training that diverged
    counts as accuracy 0, and a value without rivals is not tried (accuracy nan). There
    is no way for a test part to get in here.

    Returns:
        Pairs (value, accuracy on validation), the chosen one first.

    Raises:
        HeldOutError: a test part was given.
    """
    for part in (train, validation):
        forbid_test(part, "the choice of a learning rate")
    chosen = strategy_of(strategy)
    if len(values) == 1:  # nothing to choose
        return [(values[0], math.nan)]
    trials = []
    for value in sorted(values):
        start, at_value = _setting(
            chosen, Start(train, seed, 1.0, device), recipe, value
        )
        try:
            trial = _trained(chosen, source, start, at_value, progress=False)
            trials.append((value, accuracy_on(trial, validation, device)))
        except TrainingDiverged:
            trials.append((value, 0.0))
    return sorted(trials, key=lambda trial: (-trial[1], trial[0]))


def _setting(
    strategy: Strategy, start: Start, recipe: Recipe, value: float
) -> tuple[Start, Recipe]:
    """Put a value where this strategy has its one knob: the rate, or a probe's C."""
    if strategy.descends:
        return start, replace(recipe, rate=value)
    return replace(start, C=value), recipe


@kinds_checked
def compare(
    strategies: Sequence[str | Strategy],
    source: Model,
    task: Task,
    *,
    labels: Sequence[int] = (5,),
    seeds: Sequence[int] = (0, 1, 2),
    recipe: Recipe,
    rates: Sequence[float] = RATES,
    Cs: Sequence[float] = CS,
    device: str = "auto",
    progress: bool = True,
) -> Comparison:
    """Compare strategies: equal budgets, rates chosen on validation (chapter 03).

    For each number of labels a class: every strategy's rate is chosen by `choose_rate`
    with a seed (and so a few-shot subset) that is not reported; then it is trained on
    the few-shot subset of each seed, with the same steps, batch and augmentation, and
    measured on the test part after the last step.

    Args:
        strategies: names in `STRATEGIES`, or your own.
        source: a pretrained model; it is not changed.
        task: the target.
        labels: labelled images a class.
        seeds: each gives a subset, a head, an order of the images.
        recipe: its rate is not used.
        rates: the learning rates to choose from.
        Cs: what a probe chooses its C from.
        device: see `training.device_of`.
        progress: show a bar.

    Raises:
        CourseError: a name is unknown, nothing is to be compared, or a class has too
            few images.
    """
    chosen = _checked(strategies, labels, seeds, rates, Cs)
    rows: list[dict[str, Any]] = []
    search: list[dict[str, Any]] = []
    pairs = [(count, strategy) for count in labels for strategy in chosen]
    for count, strategy in tqdm(pairs, desc="comparing", disable=not progress):
        apart = max(seeds) + 1  # chosen with another subset than those reported
        train = task.few_shot(count, apart).train
        knobs = (recipe, rates if strategy.descends else Cs, apart)
        trials = choose_rate(
            strategy, source, train, task.validation, *knobs, device=device
        )
        about = {"strategy": strategy.name, "labels": count}
        search += [{**about, "rate": v, "accuracy": score} for v, score in trials]
        for seed in seeds:
            start = Start(task.few_shot(count, seed).train, seed, 1.0, device)
            setting = _setting(strategy, start, recipe, trials[0][0])
            result = _trained(strategy, source, *setting, progress=False)
            result.accuracy = accuracy_on(result, task.test, device)
            rows.append({**about, **_row(result)})
    return Comparison(
        task.name, rows, search, recipe, tuple(seeds), len(task.validation)
    )


def _row(result: Run) -> dict[str, Any]:
    columns = ("seed", "rate", "accuracy", "seconds", "trained_parameters", "steps")
    return {column: getattr(result, column) for column in columns}


def _checked(
    strategies: Sequence[str | Strategy],
    labels: Sequence[int],
    seeds: Sequence[int],
    rates: Sequence[float],
    Cs: Sequence[float],
) -> list[Strategy]:
    """Return the strategies to compare, or raise CourseError for what is missing."""
    given = {
        "strategies": strategies,
        "labels": labels,
        "seeds": seeds,
        "rates": rates,
        "Cs": Cs,
    }
    for name, values in given.items():
        if isinstance(values, str) or not len(values):
            raise CourseError(
                f"compare was given {name}={values!r}; expected a tuple of one or more."
            )
        if len(set(values)) != len(values):
            raise CourseError(
                f"compare was given {name}={values!r}; expected each of them once."
            )
    chosen = [strategy_of(strategy) for strategy in strategies]
    if len({strategy.name for strategy in chosen}) < len(chosen):
        raise CourseError(
            "Two strategies to compare have one name; give yours a name of its own: "
            'dataclasses.replace(strategy, name="…").'
        )
    return chosen
