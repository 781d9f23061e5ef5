"""Exercises of chapter 06: judging harm, holding on to the old task, smaller files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course import evidence
from course.exercises.base import Case, Exercise, Mistake, seeded, small_network

BUDGET = ("steps", "batch", "augment", "rate chosen on")


def verdict_reference(
    full: Mapping[str, Any], scratch: Mapping[str, Any], gains: Sequence[float]
) -> str:
    """Say what an experiment allows to say about pretraining.

    Args:
        full: steps, batch, augment, "rate chosen on" and rate of the fine-tuning.
        scratch: the same of the training from scratch.
        gains: accuracy of full minus scratch, one a seed.

    Returns:
        "unfair" where the budgets differ; otherwise "harm" or "gain" where the whole
        interval lies on one side of zero, and "open" where it does not.
    """
    if any(full[name] != scratch[name] for name in BUDGET):
        return "unfair"
    _, low, high, _ = evidence.interval(gains)
    return "harm" if high < 0 else "gain" if low > 0 else "open"


def _blind_to_budgets(full: Any, scratch: Any, gains: Sequence[float]) -> str:
    return verdict_reference(full, full, gains)


def _by_the_mean(full: Any, scratch: Any, gains: Sequence[float]) -> str:
    fair = all(full[name] == scratch[name] for name in BUDGET)
    return "unfair" if not fair else "harm" if np.mean(gains) < 0 else "gain"


def _equal_rates(full: Any, scratch: Any, gains: Sequence[float]) -> str:
    if full["rate"] != scratch["rate"]:
        return "unfair"
    return verdict_reference(full, scratch, gains)


def _steps_only(full: Any, scratch: Any, gains: Sequence[float]) -> str:
    same = full["steps"] == scratch["steps"]
    return verdict_reference(full, full, gains) if same else "unfair"


def _turned_round(full: Any, scratch: Any, gains: Sequence[float]) -> str:
    return verdict_reference(full, scratch, [-gain for gain in gains])


def _every_seed(full: Any, scratch: Any, gains: Sequence[float]) -> str:
    fair = all(full[name] == scratch[name] for name in BUDGET)
    below, above = max(gains) < 0, min(gains) > 0
    return "unfair" if not fair else "harm" if below else "gain" if above else "open"


def _verdict_cases() -> list[Case]:
    def design(**changes: Any) -> dict[str, Any]:
        first = {"steps": 40, "batch": 16, "augment": "shift", "rate": 3e-3}
        return {**first, "rate chosen on": "validation", **changes}

    gentle = design(steps=20, rate=7.5e-4, **{"rate chosen on": "nothing"})
    on_test = design(**{"rate chosen on": "test"})
    tries = [
        (gentle, design(), [-0.30, -0.28, -0.33], "half the steps"),
        (design(rate=1e-2), design(), [0.05, 0.07, 0.06], "another rate"),
        (design(), design(), [-0.04, -0.05, -0.045], "all below zero"),
        (design(), design(), [0.06, -0.01, 0.05], "mixed"),
        (design(), design(), [-0.09, -0.01, -0.02], "wide, all below zero"),
        (on_test, design(), [0.05, 0.07, 0.06], "a rate chosen on test"),
        (design(augment="none"), design(), [-0.1, -0.11, -0.1], "no augmentation"),
    ]
    return [
        Case((full, scratch, gains), f"verdict({said}, {gains})")
        for full, scratch, gains, said in tries
    ]


verdict = Exercise(
    name="verdict",
    title="Did pretraining do harm?",
    minutes=8,
    difficulty="easy",
    trains="asking about the budget before believing a difference",
    hints=(
        "What has to be equal before the gains mean anything? The rate itself need not "
        "be: each strategy has its own.",
        'Compare steps, batch, augment and "rate chosen on"; then take '
        "evidence.interval(gains), which has a low and a high end.",
        'If any of the four differs: "unfair". Otherwise "harm" if high < 0, "gain" if '
        'low > 0, else "open".',
    ),
    reference=verdict_reference,
    cases=_verdict_cases,
    mistakes=(
        Mistake(
            _steps_only,
            "Steps are not all: batch, augmentation, how rates were chosen.",
        ),
        Mistake(_blind_to_budgets, "Look at the budgets first: they differ here."),
        Mistake(
            _equal_rates,
            "The rates may differ if both were chosen in the same way.",
        ),
        Mistake(_turned_round, "Gains are full minus scratch: below zero is harm."),
        Mistake(
            _every_seed,
            "Three seeds on one side are not yet an interval on one side.",
        ),
        Mistake(_by_the_mean, "A mean has a sign even by chance: ask its interval."),
    ),
)


def interpolate_reference(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return the state of a network between two: (1 - share) · before + share · after.

    Args:
        before: a state dict, which must not be changed.
        after: another of the same network, nor must this one.
        share: from 0 to 1.

    Returns:
        Every name: floats are mixed, whole numbers are those of `after`.
    """
    return {
        name: (1 - share) * before[name] + share * value
        if value.is_floating_point()
        else value
        for name, value in after.items()
    }


def _weights_alone(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    mixed = interpolate_reference(before, after, share)
    return {n: after[n] if "running" in n else value for n, value in mixed.items()}


def _old_statistics(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    mixed = interpolate_reference(before, after, share)
    return {n: before[n] if "running" in n else value for n, value in mixed.items()}


def _statistics_left_out(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    mixed = interpolate_reference(before, after, share)
    return {n: v for n, v in mixed.items() if "running" not in n and "num_" not in n}


def _other_way(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    return {
        **interpolate_reference(before, after, 1 - share),
        **{n: v for n, v in after.items() if not v.is_floating_point()},
    }


def _whole_numbers_too(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    return {n: (1 - share) * before[n] + share * v for n, v in after.items()}


def _sum_of_both(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    mixed = {
        name: before[name] + share * value
        for name, value in after.items()
        if value.is_floating_point()
    }
    return {**after, **mixed}


def _in_place_mix(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    for name, value in after.items():
        if value.is_floating_point():
            value.mul_(share).add_((1 - share) * before[name])
    return dict(after)


def _state_and_sources(
    result: Any, before: Mapping[str, Tensor], after: Mapping[str, Tensor], _: float
) -> dict[str, Any]:
    return {
        "names": sorted(result),
        "before, afterwards": dict(before),
        "after, afterwards": dict(after),
        "the mix": dict(result),
    }


def _two_states() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    states = []
    for seed in (1, 2):
        network, generator = small_network(), seeded(seed)
        network.train()
        for parameter in network.parameters():
            parameter.data.add_(torch.randn(parameter.shape, generator=generator))
        for _ in range(seed):  # so that statistics and counts differ
            network[1](torch.randn(2, 4, 3, 3, generator=generator) + seed)
        states.append({n: v.clone() for n, v in network.state_dict().items()})
    return states[0], states[1]


interpolate = Exercise(
    name="interpolate",
    title="Between before and after",
    minutes=8,
    difficulty="medium",
    trains="that a network is its weights and its statistics",
    hints=(
        "A state dict holds every number of a network by name; go over all of them.",
        "Mix what value.is_floating_point() is true of, BatchNorm's running_mean and "
        "running_var among it. A count of batches is a whole number: keep after's.",
        "{name: (1 - share) * before[name] + share * value if "
        "value.is_floating_point() else value for name, value in after.items()}",
    ),
    reference=interpolate_reference,
    cases=lambda: [
        Case((*_two_states(), share), f"interpolate(before, after, {share})")
        for share in (0.25, 0.0, 1.0)
    ],
    mistakes=(
        Mistake(
            _weights_alone,
            "The weights are mixed, and BatchNorm's statistics are still those of "
            "after: they belong to the mixed network as little as before's would.",
        ),
        Mistake(
            _old_statistics,
            "The weights are mixed, and BatchNorm's statistics are still those of "
            "before: mix them as well.",
        ),
        Mistake(_statistics_left_out, "BatchNorm's buffers are missing: mix them too."),
        Mistake(_other_way, "The other way round: a share of 0 is before."),
        Mistake(
            _whole_numbers_too,
            "num_batches_tracked is a count, not a weight: keep that of after.",
        ),
        Mistake(_sum_of_both, "before counts in full: its part is (1 - share)."),
        Mistake(_in_place_mix, "The state of after was changed: make new tensors."),
    ),
    observe=_state_and_sources,
)


def l2_sp_reference(
    network: nn.Module, start: Mapping[str, Tensor], strength: float
) -> Tensor:
    """Return strength times the squared distance of the weights from where they began.

    Args:
        network: in training, with a new head.
        start: name to pretrained weight; the new head has no name there.
        strength: how hard the pull is.

    Returns:
        A number with a gradient.
    """
    return strength * sum(
        (weight - start[name]).square().sum()
        for name, weight in network.named_parameters()
        if name in start
    )


def _to_zero(n: nn.Module, start: Mapping[str, Tensor], strength: float) -> Tensor:
    kept = {name: torch.zeros_like(value) for name, value in start.items()}
    return l2_sp_reference(n, kept, strength)


def _with_the_head(
    n: nn.Module, start: Mapping[str, Tensor], strength: float
) -> Tensor:
    head = {name: torch.zeros_like(w) for name, w in n.named_parameters()}
    return l2_sp_reference(n, {**head, **start}, strength)


def _not_squared(n: nn.Module, start: Mapping[str, Tensor], strength: float) -> Tensor:
    return l2_sp_reference(n, start, 1.0).sqrt() * strength


def _absolute(n: nn.Module, start: Mapping[str, Tensor], strength: float) -> Tensor:
    return strength * sum(
        (w - start[name]).abs().sum()
        for name, w in n.named_parameters()
        if name in start
    )


def _averaged(n: nn.Module, start: Mapping[str, Tensor], strength: float) -> Tensor:
    return strength * sum(
        (w - start[name]).square().mean()
        for name, w in n.named_parameters()
        if name in start
    )


def _no_strength(n: nn.Module, start: Mapping[str, Tensor], strength: float) -> Tensor:
    return l2_sp_reference(n, start, 1.0)


def _no_gradient(n: nn.Module, start: Mapping[str, Tensor], strength: float) -> Tensor:
    return l2_sp_reference(n, start, strength).detach()


def _penalty_and_pull(result: Any, network: nn.Module, *_: Any) -> dict[str, Any]:
    value = torch.as_tensor(result)
    network.zero_grad()
    if value.requires_grad:
        value.backward()
    pulls = {
        name: torch.zeros_like(w) if w.grad is None else w.grad
        for name, w in network.named_parameters()
    }
    pulls = pulls if value.requires_grad else {}
    return {"the penalty": value.detach().double(), "its gradient": pulls}


def _l2_sp_cases() -> list[Case]:
    cases = []
    for seed, strength in ((0, 0.5), (1, 2.0)):
        network, generator = small_network(), seeded(seed)
        start = {
            name: w.detach() + torch.randn(w.shape, generator=generator)
            for name, w in network.named_parameters()
            if not name.startswith("fc.")
        }
        cases.append(Case((network, start, strength), f"l2_sp(…, {strength})"))
    return cases


l2_sp = Exercise(
    name="l2_sp",
    title="A pull towards the start",
    minutes=8,
    difficulty="medium",
    trains="the difference between weight decay and L2-SP",
    hints=(
        "Weight decay asks how far a weight is from zero. And here, how far from what?",
        "Go over network.named_parameters(); skip names that are not in start, such as "
        "the new head's.",
        "strength * sum((w - start[n]).square().sum() for n, w in "
        "network.named_parameters() if n in start)",
    ),
    reference=l2_sp_reference,
    cases=_l2_sp_cases,
    mistakes=(
        Mistake(_to_zero, "That pulls towards zero, as weight decay does."),
        Mistake(
            _with_the_head, "The new head has no start to go back to: leave it out."
        ),
        Mistake(_not_squared, "The distance is not squared: leave out the root."),
        Mistake(_absolute, "These are absolute values; L2-SP takes squares."),
        Mistake(_averaged, "A mean makes large layers light: sum the squares."),
        Mistake(_no_strength, "The strength is missing."),
        Mistake(
            _no_gradient,
            "The number has no gradient and pulls at nothing: no detach() or item().",
        ),
    ),
    observe=_penalty_and_pull,
)


def quantise_reference(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values and a scale for each output channel.

    Args:
        weight: float (out, in, height, width).

    Returns:
        Values from -127 to 127 as torch.int8, of the weight's shape, and the scales,
        (out,): a weight is about its value times the scale of its channel.
    """
    scale = weight.abs().amax(dim=(1, 2, 3)) / 127
    values = (weight / scale[:, None, None, None]).round()
    return values.to(torch.int8), scale


def _one_scale(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = (weight.abs().max() / 127).expand(len(weight))
    return (weight / scale[0]).round().to(torch.int8), scale


def _by_input(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.abs().amax(dim=(0, 2, 3)) / 127
    return (weight / scale[:, None, None]).round().to(torch.int8), scale


def _cut_off(weight: Tensor) -> tuple[Tensor, Tensor]:
    _, scale = quantise_reference(weight)
    return (weight / scale[:, None, None, None]).to(torch.int8), scale


def _by_128(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.abs().amax(dim=(1, 2, 3)) / 128
    steps = (weight / scale[:, None, None, None]).round().int()
    return ((steps + 128) % 256 - 128).to(torch.int8), scale


def _clipped_128(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.abs().amax(dim=(1, 2, 3)) / 128
    steps = (weight / scale[:, None, None, None]).round()
    return steps.clamp(-128, 127).to(torch.int8), scale


def _highest(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.amax(dim=(1, 2, 3)) / 127
    steps = (weight / scale[:, None, None, None]).round().int()
    return ((steps + 128) % 256 - 128).to(torch.int8), scale


def _highest_clipped(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.amax(dim=(1, 2, 3)) / 127
    steps = (weight / scale[:, None, None, None]).round()
    return steps.clamp(-127, 127).to(torch.int8), scale


def _unsigned(weight: Tensor) -> tuple[Tensor, Tensor]:
    low, high = weight.amin(dim=(1, 2, 3)), weight.amax(dim=(1, 2, 3))
    scale = (high - low) / 255
    steps = (weight - low[:, None, None, None]) / scale[:, None, None, None]
    return steps.round().to(torch.uint8), scale


def _still_float(weight: Tensor) -> tuple[Tensor, Tensor]:
    values, scale = quantise_reference(weight)
    return values.float(), scale


def _inverse(weight: Tensor) -> tuple[Tensor, Tensor]:
    values, scale = quantise_reference(weight)
    return values, 1 / scale


def _whole_weight(weight: Tensor) -> Tensor:
    values, scale = quantise_reference(weight)
    return values * scale[:, None, None, None]


def _values_and_scale(result: Any, weight: Tensor) -> dict[str, Any]:
    if isinstance(result, Tensor):
        return {"a pair (values, scale)": False, "the tensor": result}
    values, scale = result
    return {
        "a pair (values, scale)": True,
        "scale": scale,
        "type of the values": str(values.dtype),
        "values": values,
    }


def _quantise_cases() -> list[Case]:
    cases = []
    for seed, (out, into, side) in enumerate([(3, 3, 3), (4, 2, 3), (2, 5, 1)]):
        weight = 10 * torch.randn((out, into, side, side), generator=seeded(seed))
        weight *= 2.0 ** torch.arange(out)[:, None, None, None]  # unlike channels
        weight[0, 0, 0, 0] = -1.5 * weight[0].abs().max()  # the largest is negative
        cases.append(Case((weight,), f"quantise(weight {tuple(weight.shape)})"))
    return cases


quantise = Exercise(
    name="quantise",
    title="Eight bits a weight",
    minutes=10,
    difficulty="medium",
    trains="what int8 keeps of a weight, and what it costs",
    hints=(
        "The largest weight of a channel, whatever its sign, should become 127 or "
        "-127. What then is one step worth?",
        "The scale of a channel is weight.abs().amax(dim=(1, 2, 3)) / 127; it has the "
        "shape (out,), so it needs three more axes to divide a weight.",
        "values = (weight / scale[:, None, None, None]).round().to(torch.int8); return "
        "values, scale.",
    ),
    reference=quantise_reference,
    cases=_quantise_cases,
    mistakes=(
        Mistake(
            _one_scale,
            "All channels share one scale: those with small weights keep few steps. "
            "Take the largest of each output channel.",
        ),
        Mistake(
            _by_input,
            "The scale belongs to an input channel: leave axis 0, the outputs, and "
            "take the largest over the other three.",
        ),
        Mistake(
            _cut_off,
            "The type was changed without rounding, which cuts off towards zero: "
            "use .round() first.",
        ),
        Mistake(
            _by_128,
            "int8 ends at 127: with 128 steps the largest weight runs over and changes "
            "its sign.",
        ),
        Mistake(
            _clipped_128,
            "With 128 steps the largest positive weight has to be cut: 127 are the "
            "same to both sides.",
        ),
        Mistake(_highest, "A weight can be large and negative: use abs()."),
        Mistake(_highest_clipped, "A large negative weight was cut: use abs()."),
        Mistake(
            _unsigned,
            "These are unsigned numbers that begin at the lowest weight: symmetric "
            "int8 has zero in the middle.",
        ),
        Mistake(
            _still_float, "The values are whole, but still floats: .to(torch.int8)."
        ),
        Mistake(_inverse, "The scale is upside down: it is what one step is worth."),
        Mistake(
            _whole_weight,
            "That is the weight made whole again: return what is stored, (values, "
            "scale).",
        ),
    ),
    observe=_values_and_scale,
)

EXERCISES = (verdict, interpolate, l2_sp, quantise)
