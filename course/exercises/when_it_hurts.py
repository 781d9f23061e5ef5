"""Exercises of chapter 06: harm, forgetting, holding on, smaller files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from course import evidence
from course.exercises import when_it_hurts_mistakes as mistakes
from course.exercises.base import Case, Exercise, seeded, small_network
from course.exercises.when_it_hurts_mistakes import (
    STRENGTHS,
    Parts,
    State,
    measuring,
    right,
)


def _whole(generator: Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


# Harm, or an unfair budget ------------------------------------------------------------


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
    for name in ("steps", "batch", "augment", "rate chosen on"):
        if full[name] != scratch[name]:
            return "unfair"
    _, low, high, _ = evidence.interval(gains)
    return "harm" if high < 0 else "gain" if low > 0 else "open"


def _design(**changes: Any) -> dict[str, Any]:
    first = {"steps": 40, "batch": 16, "augment": "shift", "rate": 3e-3}
    return {**first, "rate chosen on": "validation", **changes}


OTHERWISE = {
    "steps": 20,
    "batch": 32,
    "augment": "none",
    "rate": 1e-2,
    "rate chosen on": "test",
}


PARTS = {
    "steps": "the steps",
    "batch": "the batch",
    "augment": "the augmentation",
    "rate chosen on": "how the rate was chosen",
    "rate": "the interval",
}


def _verdict_cases() -> list[Case]:
    evidence.interval([0.0, 1.0])  # what it imports is not the answer's time
    gentle = _design(steps=20, rate=7.5e-4, **{"rate chosen on": "nothing"})
    tries = [
        (gentle, [-0.30, -0.28, -0.33], "half the steps", "the steps"),
        (_design(rate=1e-2), [0.05, 0.07, 0.06], "another rate", "the interval"),
        (_design(), [-0.04, -0.05, -0.045], "all below zero", "the interval"),
        (_design(), [0.06, -0.01, 0.05], "mixed", "the interval"),
        (_design(), [-0.06, 0.01, -0.05], "mixed", "the interval"),
        (_design(), [-0.09, -0.01, -0.02], "wide, all below zero", "the interval"),
        (_design(), [0.06, 0.06, -0.001], "wide", "the interval"),
        (_design(steps=80), [0.06, -0.01, 0.05], "mixed, more steps", "the steps"),
    ]
    tries += [
        (_design(**{name: OTHERWISE[name]}), gains, f"another {name}", PARTS[name])
        for name in list(PARTS)[:4]
        for gains in ([0.05, 0.07, 0.06], [-0.1, -0.11, -0.1])
    ]
    return [
        Case((full, _design(), gains), f"verdict({said}, {gains})", part)
        for full, gains, said, part in tries
    ]


def _draw_verdict(generator: Generator) -> Case:
    """Draw gains whose interval does not end at zero; half of the budgets differ."""
    name = list(OTHERWISE)[_whole(generator, 0, 4)]
    changes = {name: OTHERWISE[name]} if _whole(generator, 0, 1) else {}
    while True:
        count = _whole(generator, 3, 6)
        middle = 0.12 * torch.rand((), generator=generator) - 0.06
        drawn = middle + 0.03 * torch.randn(count, generator=generator)
        gains = [round(gain, 3) for gain in drawn.tolist()]
        if min(abs(end) for end in evidence.interval(gains)[1:3]) > 2e-3:
            break
    said = f"another {name}" if changes else "equal budgets"
    part = PARTS[name] if changes else "the interval"
    return Case((_design(**changes), _design(), gains), f"verdict({said}, …)", part)


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
    mistakes=mistakes.VERDICT,
    place="3 · The trap",
    draw=_draw_verdict,
)


# A pull towards the start -------------------------------------------------------------


def l2_sp_reference(network: nn.Module, start: State, strength: float) -> Tensor:
    """Return strength times the squared distance of the weights from where they began.

    Args:
        network: in training, with a new head.
        start: name to pretrained weight; the new head has no name there.
        strength: how hard the pull is.

    Returns:
        A number with a gradient.
    """
    distance = torch.tensor(0.0)
    for name, weight in network.named_parameters():
        if name in start:
            distance = distance + (weight - start[name]).square().sum()
    return strength * distance


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


def _moved(
    network: nn.Module, generator: Generator, by: float = 1.0, head: bool = True
) -> dict[str, Tensor]:
    """Return where a network may have begun, with no head where it has a new one."""
    return {
        name: w.detach() + by * torch.randn(w.shape, generator=generator)
        for name, w in network.named_parameters()
        if not (head and name.startswith("fc."))
    }


def _l2_sp_cases() -> list[Case]:
    network, generator = small_network(), seeded(0)
    old = _moved(network, generator, head=False)
    still = _moved(network, generator, by=0.0)
    cases = [
        Case((network, old, 1.5), "l2_sp(the old head kept, …, 1.5)", "the old head"),
        Case((network, still, 0.5), "l2_sp(nothing has moved, …)", "at the start"),
    ]
    for strength in (0.5, 2.0):
        start = _moved(network, generator)
        shown = f"l2_sp(a new head, …, {strength})"
        cases.append(Case((network, start, strength), shown, "a new head"))
    return cases


def _draw_l2_sp(generator: Generator) -> Case:
    sizes = [_whole(generator, 1, 4) for _ in range(4)]
    network = nn.Sequential()
    for place, name in enumerate(("first", "second", "fc")):
        network.add_module(name, nn.Linear(sizes[place], sizes[place + 1]))
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    head = bool(_whole(generator, 0, 1))
    strength = _whole(generator, 1, 20) / 8
    start = _moved(network, generator, head=head)
    shown = f"l2_sp({'a new' if head else 'the old'} head, …, {strength:g})"
    part = "a new head" if head else "the old head"
    return Case((network, start, strength), shown, part)


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
    mistakes=mistakes.L2_SP,
    observe=_penalty_and_pull,
    place="4 · Forgetting",
    draw=_draw_l2_sp,
)


SEPARATE = ("the old head's images", "the new probe's features", "the probe's strength")


# What is forgotten --------------------------------------------------------------------


def forgotten_reference(
    head: Tensor, before: Parts, after: Parts, fit: Callable[..., Tensor]
) -> tuple[float, float]:
    """Return the accuracy on the old task that is lost: old head, and new probe.

    Args:
        head: (features, classes), the weights of the old head.
        before: part to (features, labels) of old images, by the backbone as it was;
            the parts are "train", "validation" and "test".
        after: the same images by the backbone as it is.
        fit: from features, labels and a strength to the weights of a probe.
    """

    def reprobed(parts: Parts) -> float:
        probes = [fit(*parts["train"], strength) for strength in (0.01, 1.0, 100.0)]
        chosen = max(probes, key=lambda probe: right(probe, *parts["validation"]))
        return right(chosen, *parts["test"])

    stale = right(head, *before["test"]) - right(head, *after["test"])
    return stale, reprobed(before) - reprobed(after)


def forgotten_given(
    head: Tensor, before: Parts, after: Parts, fit: Callable[..., Tensor]
) -> tuple[float, float]:
    """Return the accuracy on the old task that is lost, with three bugs."""
    probes = [fit(*before["train"], strength) for strength in (0.01, 1.0, 100.0)]
    known, found = (
        max(right(probe, *parts["test"]) for probe in probes)
        for parts in (before, after)
    )
    stale = right(head, *before["test"]) - right(head, *after["train"])
    return stale, known - found


class _Ridge:
    """A probe by least squares with a pull to zero; it shows itself as `fit`."""

    def __call__(self, features: Tensor, labels: Tensor, strength: float) -> Tensor:
        pull = strength * torch.eye(features.shape[1]).to(features)
        wanted = F.one_hot(labels).to(features)
        return torch.linalg.solve(features.T @ features + pull, features.T @ wanted)

    def __repr__(self) -> str:
        return "fit"


FIT = _Ridge()


def _images(
    generator: Generator, means: Tensor, counts: Sequence[int], noise: float
) -> mistakes.Images:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    blur = torch.randn((len(labels), means.shape[1]), generator=generator)
    return means[labels] + noise * blur.double(), labels


def _all_parts(
    generator: Generator, means: Tensor, noise: float, **counts: Sequence[int]
) -> dict[str, mistakes.Images]:
    return {
        part: _images(generator, means, counts.get(part, (3,) * len(means)), noise)
        for part in ("train", "validation", "test")
    }


def _clear(parts: Parts) -> bool:
    """Say whether no tie on validation images decides what is found on test images."""
    probes = [FIT(*parts["train"], strength) for strength in STRENGTHS]
    known, found = (
        [right(probe, *parts[name]) for probe in probes]
        for name in ("validation", "test")
    )
    best = [f for k, f in zip(known, found, strict=True) if k == max(known)]
    return len(set(best)) == 1


def _tight(shuffle: Sequence[int] = (0, 1, 2)) -> tuple[Tensor, Tensor]:
    """Return class means far apart, and a head that takes them in another order."""
    means = 3 * torch.eye(3, 4).double()
    return means, means[list(shuffle)].T


def _other_images() -> Case:
    """Only the old head's images matter: any probe reads all of them."""
    means, head = _tight((0, 2, 1))  # it is right on the first class alone
    counts = {"train": (6, 2, 1), "test": (2, 4, 3)}
    before = _all_parts(seeded(0), means, 0.1, **counts)
    features, labels = before["test"]
    moved = torch.where((labels == 0)[:, None], means[1], features)
    after = {**before, "test": (moved, labels)}
    shown = "forgotten(unequal classes in train and test)"
    return Case((head, before, after, FIT), shown, SEPARATE[0])


def _turned_features() -> Case:
    """Only the probe's features matter: after says it all, in another order."""
    means, head = _tight()
    before = _all_parts(seeded(1), means, 0.1)
    after = {part: (f.roll(1, dims=1), y) for part, (f, y) in before.items()}
    shown = "forgotten(after says the same in another order)"
    return Case((head, before, after, FIT), shown, SEPARATE[1])


@cache
def _noisy_images() -> Case:
    """Only the choice of a strength matters: both backbones are the same in train."""
    means = torch.eye(3, 6).double()
    generator, wrong = seeded(2), [measuring(strengths=[1.0])]
    wrong += [measuring(chosen=part) for part in ("test", "train")]
    wrong += [measuring(fitted=part) for part in ("test", "validation")]
    while True:
        before, after = (_all_parts(generator, means, 0.9) for _ in range(2))
        after["train"] = before["train"]
        arguments = (torch.zeros(6, 3).double(), before, after, FIT)
        lost = measuring()(*arguments)[1]
        differ = all(abs(answer(*arguments)[1] - lost) > 0.1 for answer in wrong)
        if differ and _clear(before) and _clear(after):
            return Case(arguments, "forgotten(few and noisy images)", SEPARATE[2])


def _draw_forgotten(generator: Generator) -> Case:
    classes, width = _whole(generator, 2, 3), _whole(generator, 3, 5)
    while True:
        means = 1.5 * torch.randn((classes, width), generator=generator).double()
        sizes = [[_whole(generator, 2, 6) for _ in means] for _ in range(3)]
        counts = dict(zip(("train", "validation", "test"), sizes, strict=True))
        before = _all_parts(generator, means, 0.8, **counts)
        turn = torch.randn((width, width), generator=generator).double()
        after = _all_parts(generator, means @ turn, 2.0, **counts)
        if _clear(before) and _clear(after):
            break
    shown = f"forgotten({classes} classes, {width} features, …)"
    return Case((means.T.clone(), before, after, FIT), shown, "all of it together")


forgotten = Exercise(
    name="forgotten",
    title="Three bugs in a measurement",
    minutes=10,
    difficulty="medium",
    trains="which images may say what is forgotten",
    hints=(
        "Follow the parts, line by line: which images does a probe learn from, which "
        "ones choose its strength, which ones judge? And by which backbone?",
        "What is known before and after has to be asked of the same test images. A new "
        "probe learns from the features that it will read. A maximum over test images "
        "is a choice by test images.",
        'For each of before and after: probes = [fit(*parts["train"], s) for s in …], '
        'take the one that is best on parts["validation"], and see what it gets right '
        'of parts["test"]. The old head is judged on after["test"].',
    ),
    reference=forgotten_reference,
    cases=lambda: [_other_images(), _turned_features(), _noisy_images()],
    mistakes=mistakes.FORGOTTEN,
    kind="find the bug",
    place="4 · Forgetting",
    draw=_draw_forgotten,
    given=forgotten_given,
)


# Between before and after -------------------------------------------------------------


def interpolate_reference(
    before: State, after: State, share: float
) -> dict[str, Tensor]:
    """Return the state of a network between two: (1 - share) · before + share · after.

    Args:
        before: a state dict, which must not be changed.
        after: another of the same network, nor must this one.
        share: from 0 to 1.

    Returns:
        Every name: floats are mixed, whole numbers are those of `after`.
    """
    mixed = {}
    for name, value in after.items():
        if value.is_floating_point():
            mixed[name] = (1 - share) * before[name] + share * value
        else:
            mixed[name] = value
    return mixed


def _state_and_sources(
    result: Any, before: State, after: State, _: float
) -> dict[str, Any]:
    return {
        "names": sorted(result),
        "tensors alone": all(isinstance(v, Tensor) for v in result.values()),
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


def _interpolate_cases() -> list[Case]:
    kinds = {
        "weights": lambda name: "running" not in name and "num_" not in name,
        "statistics": lambda name: "running" in name,
        "counts of batches": lambda name: "num_" in name,
    }
    cases = []
    for part, wanted in kinds.items():
        states = (
            {name: value for name, value in state.items() if wanted(name)}
            for state in _two_states()
        )
        cases.append(Case((*states, 0.25), f"interpolate({part}, 0.25)", part))
    ends = [
        Case((*_two_states(), share), f"interpolate(before, after, {share})", part)
        for share, part in ((0.25, "a whole network"), (0.0, "the ends"))
    ]
    last = Case((*_two_states(), 1.0), "interpolate(before, after, 1.0)", "the ends")
    return [*cases, *ends, last]


def _draw_interpolate(generator: Generator) -> Case:
    shapes = {}
    for place in range(_whole(generator, 1, 3)):
        width = _whole(generator, 1, 4)
        shapes[f"conv{place}.weight"] = (width, _whole(generator, 1, 3), 1, 1)
        if _whole(generator, 0, 1):
            shapes[f"bn{place}.running_mean"] = (width,)
            shapes[f"bn{place}.num_batches_tracked"] = ()
    before, after = (
        {
            name: torch.randn(shape, generator=generator)
            if "num_" not in name
            else torch.tensor(_whole(generator, low, low + 40))
            for name, shape in shapes.items()
        }
        for low in (0, 50)
    )
    share = _whole(generator, 1, 15) / 16
    shown = f"interpolate({len(shapes)} names, {share:g})"
    return Case((before, after, share), shown, "a whole network")


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
    cases=_interpolate_cases,
    mistakes=mistakes.INTERPOLATE,
    observe=_state_and_sources,
    place="4 · Forgetting",
    draw=_draw_interpolate,
)


# Eight bits a weight ------------------------------------------------------------------


def quantise_reference(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values and a scale for each output channel.

    Args:
        weight: float (out, in, height, width).

    Returns:
        Values from -127 to 127 as torch.int8, of the weight's shape, and the scales,
        (out,): a weight is about its value times the scale of its channel.
    """
    values, scales = [], []
    for channel in weight:
        scale = channel.abs().max() / 127
        scales.append(scale)
        values.append((channel / scale).round())
    return torch.stack(values).to(torch.int8), torch.stack(scales)


def _values_and_scale(result: Any, weight: Tensor) -> dict[str, Any]:
    if isinstance(result, Tensor):
        return {"a pair (values, scale)": False, "the tensor": result}
    values, scale = result
    return {
        "a pair (values, scale)": True,
        "tensors": isinstance(values, Tensor) and isinstance(scale, Tensor),
        "scale": scale,
        "type of the values": str(values.dtype),
        "values": values,
    }


def _weight(generator: Generator, shape: Sequence[int], largest: float) -> Tensor:
    """Draw a weight with unlike channels; nothing lies halfway between two steps."""
    whole = torch.randint(-120, 121, tuple(shape), generator=generator)
    steps = whole + 0.8 * torch.rand(tuple(shape), generator=generator) - 0.4
    for channel in steps:  # the largest of each, somewhere
        channel.view(-1)[_whole(generator, 0, channel.numel() - 1)] = largest
    unlike = 2.0 ** torch.randperm(shape[0], generator=generator)
    return steps * (0.01 * unlike)[:, None, None, None]


def _quantise_cases() -> list[Case]:
    cases = []
    for seed, (shape, largest, part) in enumerate(
        [
            ((3, 3, 3, 3), -127, "the largest weight is negative"),
            ((4, 2, 3, 3), 127, "the largest weight is positive"),
            ((2, 5, 1, 1), 127, "windows of one pixel"),
            ((2, 1, 5, 3), -127, "the largest weight is negative"),
        ]
    ):
        weight = _weight(seeded(seed), shape, largest)
        cases.append(Case((weight,), f"quantise(weight {shape})", part))
    return cases


def _draw_quantise(generator: Generator) -> Case:
    shape = tuple(_whole(generator, 1, most) for most in (4, 4, 3, 3))
    largest = (-127, 127)[_whole(generator, 0, 1)]
    sign = "negative" if largest < 0 else "positive"
    weight, part = _weight(generator, shape, largest), f"the largest weight is {sign}"
    return Case((weight,), f"quantise(weight {shape})", part)


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
    mistakes=mistakes.QUANTISE,
    observe=_values_and_scale,
    place="Half the bits",
    draw=_draw_quantise,
)


EXERCISES = (verdict, l2_sp, forgotten, interpolate, quantise)
