"""Wrong answers that readers give to the exercises of chapter 06, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course import evidence
from course.exercises.base import Mistake

Answer = Callable[..., Any]
State = Mapping[str, Tensor]
BUDGET = ("steps", "batch", "augment", "rate chosen on")
Images = tuple[Tensor, Tensor]
Parts = Mapping[str, Images]
STRENGTHS = (0.01, 1.0, 100.0)


# Harm, or an unfair budget ------------------------------------------------------------


def _interval(gains: Sequence[float]) -> tuple[float, float]:
    _, low, high, _ = evidence.interval(gains)
    return low, high


def _of_seeds(gains: Sequence[float]) -> tuple[float, float]:
    mean, spread = float(np.mean(gains)), float(np.std(gains, ddof=1))
    return mean - spread, mean + spread


def _judging(
    demands: Sequence[str] = BUDGET,
    ends: Callable[[Sequence[float]], tuple[float, float]] = _interval,
) -> Answer:
    """Return a wrong answer: other demands, or other ends than the interval's."""

    def answer(full: Any, scratch: Any, gains: Sequence[float]) -> str:
        if any(full[name] != scratch[name] for name in demands):
            return "unfair"
        low, high = ends(gains)
        return "harm" if high < 0 else "gain" if low > 0 else "open"

    return answer


def _without(name: str) -> Answer:
    return _judging([demand for demand in BUDGET if demand != name])


def _budget_last(full: Any, scratch: Any, gains: Sequence[float]) -> str:
    said = _judging(())(full, scratch, gains)
    return said if said == "open" else _judging()(full, scratch, gains)


VERDICT = (
    Mistake(
        _budget_last,
        "The budgets differ, so the gains say nothing, not even that it is open: "
        "ask for the budgets first.",
        "budgets asked about last",
    ),
    Mistake(
        _without("rate chosen on"),
        "One side chose its rate on the test part or not at all: that is a part "
        "of the budget too.",
        "selection on the test part let through",
    ),
    Mistake(
        _without("augment"),
        "The augmentation differs: it makes more images out of the same ones.",
        "augmentation not compared",
    ),
    Mistake(
        _without("batch"),
        "The batches differ: as many steps then see more images.",
        "batch not compared",
    ),
    Mistake(
        _without("steps"),
        "The steps differ: who trains longer has learned more.",
        "steps not compared",
    ),
    Mistake(
        _judging(("steps",)),
        "Steps are not all: batch, augmentation, how rates were chosen.",
        "only the steps compared",
    ),
    Mistake(
        _judging(()),
        "Look at the budgets first: they differ here.",
        "unequal budgets in a comparison",
    ),
    Mistake(
        _judging((*BUDGET, "rate")),
        "The rates may differ if both were chosen in the same way.",
        "equal rates demanded",
    ),
    Mistake(
        _judging(ends=lambda gains: _interval([-gain for gain in gains])),
        "Gains are full minus scratch: below zero is harm.",
        "harm and gain swapped",
    ),
    Mistake(
        _judging(ends=_of_seeds),
        "Mean plus and minus a standard deviation says how far seeds are apart; "
        "where their mean lies is what evidence.interval says.",
        "spread of the seeds taken for the interval",
    ),
    Mistake(
        _judging(ends=lambda gains: (min(gains), max(gains))),
        "Three seeds on one side are not yet an interval on one side.",
        "every seed on one side taken for proof",
    ),
    Mistake(
        _judging(ends=lambda gains: (max(gains), max(gains))),
        "That is the best seed alone: all of them count.",
        "best seed reported",
    ),
    Mistake(
        _judging(ends=lambda gains: (float(np.mean(gains)),) * 2),
        "A mean has a sign even by chance: ask its interval.",
        "sign of the mean taken for proof",
    ),
)


# A pull towards the start -------------------------------------------------------------


def _squares(weight: Tensor, start: Tensor) -> Tensor:
    return (weight - start).square().sum()


def _pulling(
    term: Callable[[Tensor, Tensor], Tensor] = _squares,
    wanted: Callable[[str, State], bool] = lambda name, start: name in start,
    factor: Callable[[float], float] = lambda strength: strength,
) -> Answer:
    """Return a wrong answer: another term of a layer, other layers, another factor."""

    def answer(network: nn.Module, start: State, strength: float) -> Any:
        return factor(strength) * sum(
            term(weight, start[name])
            for name, weight in network.named_parameters()
            if wanted(name, start)
        )

    return answer


def _with_the_head(network: nn.Module, start: State, strength: float) -> Tensor:
    zeros = {name: torch.zeros_like(w) for name, w in network.named_parameters()}
    return _pulling()(network, {**zeros, **start}, strength)


def _rooted(network: nn.Module, start: State, strength: float) -> Tensor:
    return _pulling()(network, start, 1.0).sqrt() * strength


L2_SP = (
    Mistake(
        _pulling(wanted=lambda name, start: True),
        "The new head has no name in start: skip names that are not there.",
        "new head looked up in the start",
    ),
    Mistake(
        _with_the_head,
        "The new head has no start to go back to: leave it out.",
        "new head pulled to zero",
    ),
    Mistake(
        _pulling(term=lambda weight, start: weight.square().sum()),
        "That pulls towards zero, as weight decay does.",
        "weight decay instead of L2-SP",
    ),
    Mistake(
        _rooted,
        "The distance is not squared: leave out the root.",
        "root of the squares",
    ),
    Mistake(
        _pulling(term=lambda weight, start: (weight - start).abs().sum()),
        "These are absolute values; L2-SP takes squares.",
        "absolute values instead of squares",
    ),
    Mistake(
        _pulling(term=lambda weight, start: (weight - start).sum().square()),
        "The differences were added before they were squared, so they cancel: "
        "square each one first.",
        "square of the sum",
    ),
    Mistake(
        _pulling(term=lambda weight, start: (weight - start).square().mean()),
        "A mean makes large layers light: sum the squares.",
        "mean instead of a sum",
    ),
    Mistake(
        _pulling(factor=lambda strength: 1.0),
        "The strength is missing.",
        "strength left out",
    ),
    Mistake(
        _pulling(factor=lambda strength: strength / 2),
        "It is half of what was asked: the formula has no half.",
        "half of the penalty",
    ),
    Mistake(
        _pulling(wanted=lambda name, start: name in start and "bias" not in name),
        "The biases are missing: every parameter with a start is pulled.",
        "biases left out",
    ),
    Mistake(
        _pulling(term=lambda weight, start: _squares(weight.detach(), start)),
        "The number has no gradient and pulls at nothing: no detach() or item(), "
        "and not the tensors of a state_dict().",
        "penalty without a gradient",
    ),
)


# What is forgotten --------------------------------------------------------------------


def right(weights: Tensor, features: Tensor, labels: Tensor) -> float:
    """Return the share of the features that a linear classifier names rightly."""
    return ((features @ weights).argmax(dim=1) == labels).double().mean().item()


def reprobed(
    parts: Parts,
    fit: Answer,
    fitted: str = "train",
    chosen: str = "validation",
    told: str = "test",
    strengths: Sequence[float] = STRENGTHS,
) -> float:
    """Return the accuracy of a new probe, by the parts that it uses."""
    probes = [fit(*parts[fitted], strength) for strength in strengths]
    best = max(probes, key=lambda probe: right(probe, *parts[chosen]))
    return right(best, *parts[told])


def measuring(
    head_on: tuple[str, str] = ("test", "test"),
    change: Callable[[Parts, Parts], tuple[Parts, Parts]] = lambda *parts: parts,
    **probing: Any,
) -> Answer:
    """Return a wrong answer: by the head's parts before and after, or by a probe's."""

    def answer(head: Tensor, before: Parts, after: Parts, fit: Answer) -> Any:
        known, left = (
            right(head, *parts[name])
            for parts, name in zip((before, after), head_on, strict=True)
        )
        one, other = (
            reprobed(parts, fit, **probing) for parts in change(before, after)
        )
        return known - left, one - other

    return answer


def _gained(*arguments: Any) -> tuple[float, float]:
    stale, lost = measuring()(*arguments)
    return -stale, -lost


def _swapped(*arguments: Any) -> tuple[float, float]:
    return measuring()(*arguments)[::-1]


def _what_is_left(head: Tensor, _: Parts, after: Parts, fit: Answer) -> Any:
    return right(head, *after["test"]), reprobed(after, fit)


def _from_the_old_head(head: Tensor, before: Parts, after: Parts, fit: Answer) -> Any:
    known = right(head, *before["test"])
    return known - right(head, *after["test"]), known - reprobed(after, fit)


FORGOTTEN = (
    Mistake(
        measuring(head_on=("test", "train")),
        "After fine-tuning the old head was asked about training images, before "
        "it about test images: the difference is not what was forgotten.",
        "accuracy on the training part",
    ),
    Mistake(
        measuring(head_on=("train", "train")),
        "The old head learned from the training part: ask it about test images.",
        "old head judged on the training part, twice",
    ),
    Mistake(
        measuring(change=lambda b, a: (b, {**a, "train": b["train"]})),
        "A probe of the old features was asked about the new ones, so it is as "
        "stale as the old head: fit a new probe on the features after.",
        "old head on the new features",
    ),
    Mistake(
        measuring(chosen="test"),
        "The best of three on the test part is chosen by the test part: let "
        "validation images choose the strength.",
        "selection on the test part",
    ),
    Mistake(
        measuring(chosen="train"),
        "The training images chose the strength: they like the weakest pull best. "
        "Let validation images choose.",
        "strength chosen on the training part",
    ),
    Mistake(
        measuring(strengths=[1.0]),
        "One strength was taken for all: each probe chooses its own on validation "
        "images.",
        "strength not chosen",
    ),
    Mistake(
        measuring(told="validation"),
        "The accuracy on validation images was returned, and they have chosen "
        "the strength: judge on test images.",
        "accuracy on the validation part",
    ),
    Mistake(
        measuring(fitted="test"),
        "The probes have learned from the test images on which they are judged.",
        "probe fitted on the test part",
    ),
    Mistake(
        measuring(fitted="validation"),
        "The probes have learned from the images that choose the strength: fit "
        "them on the training part.",
        "probe fitted on the validation part",
    ),
    Mistake(
        _from_the_old_head,
        "A new probe after was compared with the old head before: compare it with "
        "a probe before.",
        "probe compared with the old head",
    ),
    Mistake(
        _what_is_left,
        "That is what is left: what is lost is before minus after.",
        "what is left instead of what is lost",
    ),
    Mistake(
        _gained,
        "The sign: what is lost is before minus after.",
        "gain instead of loss",
    ),
    Mistake(
        _swapped,
        "The old head's loss comes first, then the new probe's.",
        "pair in the other order",
    ),
)


# Between before and after -------------------------------------------------------------


def _blend(before: Tensor, after: Tensor, share: float) -> Tensor:
    return (1 - share) * before + share * after


def _mixing(
    mix: Callable[[Tensor, Tensor, float], Tensor] = _blend,
    statistics: Callable[[Tensor, Tensor, float], Tensor | None] | None = None,
    counts: Callable[[Tensor, Tensor, float], Tensor | None] = lambda _, after, __: (
        after
    ),
) -> Answer:
    """Return a wrong answer by what it does with each kind; None leaves a name out."""

    def answer(before: State, after: State, share: float) -> dict[str, Tensor]:
        mixed = {}
        for name, value in after.items():
            rule = mix if value.is_floating_point() else counts
            if "running" in name and statistics is not None:
                rule = statistics
            mixed[name] = rule(before[name], value, share)
        return {name: value for name, value in mixed.items() if value is not None}

    return answer


def _into_after(before: State, after: State, share: float) -> dict[str, Tensor]:
    for name, value in after.items():
        if value.is_floating_point():
            value.mul_(share).add_((1 - share) * before[name])
    return dict(after)


def _into_before(before: State, after: State, share: float) -> dict[str, Tensor]:
    for name, value in before.items():
        if value.is_floating_point():
            value.mul_(1 - share).add_(share * after[name])
        else:
            value.copy_(after[name])
    return dict(before)


INTERPOLATE = (
    Mistake(
        _mixing(statistics=lambda before, after, share: after),
        "The weights are mixed, and BatchNorm's statistics are still those of "
        "after: they belong to the mixed network as little as before's would.",
        "statistics of after",
    ),
    Mistake(
        _mixing(statistics=lambda before, after, share: before),
        "The weights are mixed, and BatchNorm's statistics are still those of "
        "before: mix them as well.",
        "statistics of before",
    ),
    Mistake(
        _mixing(statistics=lambda *_: None, counts=lambda *_: None),
        "BatchNorm's buffers are missing: mix them too.",
        "buffers left out",
    ),
    Mistake(
        _mixing(counts=lambda *_: None),
        "The counts of batches are missing: keep those of after.",
        "counts left out",
    ),
    Mistake(
        _mixing(counts=lambda before, after, share: before),
        "The counts are those of before: the task asks for those of after.",
        "counts of before",
    ),
    Mistake(
        _mixing(counts=_blend),
        "num_batches_tracked is a count, not a weight: keep that of after.",
        "counts mixed",
    ),
    Mistake(
        _mixing(mix=lambda before, after, share: _blend(after, before, share)),
        "The other way round: a share of 0 is before.",
        "before and after swapped",
    ),
    Mistake(
        _mixing(mix=lambda before, after, share: before + share * after),
        "before counts in full: its part is (1 - share).",
        "before in full",
    ),
    Mistake(
        _mixing(mix=lambda before, after, share: share * (after - before)),
        "That is the step alone: add it to before.",
        "step without its start",
    ),
    Mistake(
        _mixing(mix=lambda before, after, share: (before + after) / 2),
        "That is halfway, whatever the share.",
        "half and half, whatever the share",
    ),
    Mistake(
        _into_after,
        "The state of after was changed: make new tensors.",
        "after changed in place",
    ),
    Mistake(
        _into_before,
        "The state of before was changed: make new tensors.",
        "before changed in place",
    ),
)


# Eight bits a weight ------------------------------------------------------------------


def _largest(weight: Tensor) -> Tensor:
    return weight.abs().amax(dim=(1, 2, 3))


def _stepped(weight: Tensor, scale: Tensor) -> Tensor:
    return weight / scale[:, None, None, None]


def _good(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = _largest(weight) / 127
    return _stepped(weight, scale).round().to(torch.int8), scale


def _wrapped(steps: Tensor) -> Tensor:
    """Return what a change of type makes of numbers that int8 cannot hold."""
    return ((steps.round().int() + 128) % 256 - 128).to(torch.int8)


def _one_scale(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = (weight.abs().max() / 127).expand(len(weight))
    return (weight / scale[0]).round().to(torch.int8), scale


def _by_input(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.abs().amax(dim=(0, 2, 3)) / 127
    return (weight / scale[:, None, None]).round().to(torch.int8), scale


def _broadcast(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = _largest(weight) / 127
    return (weight / scale).round().to(torch.int8), scale


def _cut_off(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = _largest(weight) / 127
    return _stepped(weight, scale).to(torch.int8), scale


def _by_128(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = _largest(weight) / 128
    return _wrapped(_stepped(weight, scale)), scale


def _clipped_128(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = _largest(weight) / 128
    steps = _stepped(weight, scale).round()
    return steps.clamp(-128, 127).to(torch.int8), scale


def _highest(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.amax(dim=(1, 2, 3)) / 127
    return _wrapped(_stepped(weight, scale)), scale


def _highest_clipped(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.amax(dim=(1, 2, 3)) / 127
    steps = _stepped(weight, scale).round()
    return steps.clamp(-127, 127).to(torch.int8), scale


def _unsigned(weight: Tensor) -> tuple[Tensor, Tensor]:
    low, high = weight.amin(dim=(1, 2, 3)), weight.amax(dim=(1, 2, 3))
    scale = (high - low) / 255
    steps = _stepped(weight - low[:, None, None, None], scale)
    return steps.round().to(torch.uint8), scale


def _still_float(weight: Tensor) -> tuple[Tensor, Tensor]:
    values, scale = _good(weight)
    return values.float(), scale


def _inverse(weight: Tensor) -> tuple[Tensor, Tensor]:
    values, scale = _good(weight)
    return values, 1 / scale


def _four_axes(weight: Tensor) -> tuple[Tensor, Tensor]:
    values, scale = _good(weight)
    return values, scale[:, None, None, None]


def _scale_first(weight: Tensor) -> tuple[Tensor, Tensor]:
    return _good(weight)[::-1]


def _whole_weight(weight: Tensor) -> Tensor:
    values, scale = _good(weight)
    return values * scale[:, None, None, None]


QUANTISE = (
    Mistake(
        _one_scale,
        "All channels share one scale: those with small weights keep few steps. "
        "Take the largest of each output channel.",
        "one scale for all channels",
    ),
    Mistake(
        _by_input,
        "The scale belongs to an input channel: leave axis 0, the outputs, and "
        "take the largest over the other three.",
        "largest over the wrong axis",
    ),
    Mistake(
        _broadcast,
        "The scales were laid along the width of the windows: give them three "
        "more axes, scale[:, None, None, None].",
        "scale divided along the wrong axis",
    ),
    Mistake(
        _cut_off,
        "The type was changed without rounding, which cuts off towards zero: "
        "use .round() first.",
        "cut off instead of rounded",
    ),
    Mistake(
        _by_128,
        "int8 ends at 127: with 128 steps the largest weight runs over and changes "
        "its sign.",
        "128 steps that run over",
    ),
    Mistake(
        _clipped_128,
        "With 128 steps the largest positive weight has to be cut: 127 are the "
        "same to both sides.",
        "128 steps, clipped",
    ),
    Mistake(
        _highest,
        "A weight can be large and negative: use abs().",
        "largest without its sign dropped",
    ),
    Mistake(
        _highest_clipped,
        "A large negative weight was cut: use abs().",
        "largest without its sign dropped, clipped",
    ),
    Mistake(
        _unsigned,
        "These are unsigned numbers that begin at the lowest weight: symmetric "
        "int8 has zero in the middle.",
        "unsigned numbers",
    ),
    Mistake(
        _still_float,
        "The values are whole, but still floats: .to(torch.int8).",
        "still floats",
    ),
    Mistake(
        _inverse,
        "The scale is upside down: it is what one step is worth.",
        "scale upside down",
    ),
    Mistake(
        _four_axes,
        "The scale has four axes: return it as (out,), one number a channel.",
        "scale with four axes",
    ),
    Mistake(
        _scale_first,
        "The values come first, then the scale.",
        "scale before the values",
    ),
    Mistake(
        _whole_weight,
        "That is the weight made whole again: return what is stored, (values, scale).",
        "weight made whole again",
    ),
)
