"""Exercises of chapter 03: what moves, how fast, and whether a comparison is fair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.base import Case, Exercise, Mistake, seeded, small_network


def freeze_reference(network: nn.Module, names: Sequence[str]) -> list[str]:
    """Freeze some parts of a network, BatchNorm's moving statistics included.

    Args:
        network: in training mode; changed in place.
        names: direct children to freeze, such as "conv1".

    Returns:
        The names of the parameters that still train.
    """
    for name in names:
        part = network.get_submodule(name)
        part.requires_grad_(False)
        part.eval()  # or the statistics of its BatchNorm go on moving
    return [name for name, p in network.named_parameters() if p.requires_grad]


def _forgot_statistics(network: nn.Module, names: Sequence[str]) -> list[str]:
    for name in names:
        network.get_submodule(name).requires_grad_(False)
    return [name for name, p in network.named_parameters() if p.requires_grad]


def _only_eval(network: nn.Module, names: Sequence[str]) -> list[str]:
    for name in names:
        network.get_submodule(name).eval()
    return [name for name, p in network.named_parameters() if p.requires_grad]


def _froze_the_others(network: nn.Module, names: Sequence[str]) -> list[str]:
    others = [name for name, _ in network.named_children() if name not in names]
    return freeze_reference(network, others)


def _named_the_frozen(network: nn.Module, names: Sequence[str]) -> list[str]:
    freeze_reference(network, names)
    return [name for name, p in network.named_parameters() if not p.requires_grad]


def _all_in_eval(network: nn.Module, names: Sequence[str]) -> list[str]:
    left = freeze_reference(network, names)
    network.eval()
    return left


def _moved_by_a_step(result: Any, network: nn.Module, _: Any) -> dict[str, Any]:
    """Train for one step, and say what was returned and what has moved."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(4, 3, 6, 6, generator=seeded(0)) + 1
    parameters = [p for p in network.parameters() if p.requires_grad]
    loss = _forward(network, images).square().sum()
    if parameters:
        loss.backward()
        torch.optim.SGD(parameters, lr=0.1).step()
    after = network.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    counted = {name for name in moved if not name.endswith("num_batches_tracked")}
    return {"still trains": set(result), "moved in a step": counted}


def _forward(network: nn.Module, images: Tensor) -> Tensor:
    children = dict(network.named_children())
    head = children.pop("fc")
    for child in children.values():
        images = child(images)
    return head(images.mean(dim=(2, 3)))


def _freeze_cases() -> list[Case]:
    choices = [("conv1", "bn1", "layer1"), ("conv1", "bn1"), ("fc",)]
    return [
        Case((small_network(), names), f"freeze(network, {list(names)})")
        for names in choices
    ]


freeze = Exercise(
    name="freeze",
    title="Really frozen?",
    minutes=8,
    difficulty="medium",
    trains="what requires_grad does not reach",
    hints=(
        "A parameter moves by its gradient. What else in a network moves?",
        "BatchNorm updates running_mean and running_var in every forward pass in "
        "training mode, with no gradient at all.",
        "For each name: network.get_submodule(name).requires_grad_(False), and .eval() "
        "on the same part; then list the parameters with requires_grad.",
    ),
    reference=freeze_reference,
    cases=_freeze_cases,
    mistakes=(
        Mistake(
            _forgot_statistics,
            "BatchNorm's running_mean and running_var still move: put the frozen parts "
            "in eval mode.",
        ),
        Mistake(_only_eval, "eval() stops no gradient: use requires_grad_(False)."),
        Mistake(_froze_the_others, "You froze what was to train, and the other way."),
        Mistake(
            _named_the_frozen, "Return the names that still train, not the frozen."
        ),
        Mistake(
            _all_in_eval,
            "The whole network is in eval mode: only the frozen parts should be.",
        ),
    ),
    observe=_moved_by_a_step,
)


def lora_update_reference(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Return a weight with its low-rank update (Hu and others 2021, arXiv 2106.09685).

    Args:
        weight: (out, in), frozen, so it must not be changed in place.
        a: (rank, in).
        b: (out, rank).
        scale: how strongly the update counts.
    """
    return weight + scale * (b @ a)


def _no_scale(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return weight + b @ a


def _no_weight(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return scale * (b @ a)


def _in_place(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    weight += scale * (b @ a)
    return weight


def _transposed(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return weight + scale * (a.T @ b.T)


def _scaled_weight(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return scale * (weight + b @ a)


def _and_the_weight(result: Any, weight: Tensor, *_: Any) -> dict[str, Any]:
    result = result if isinstance(result, Tensor) else torch.as_tensor(result)
    return {"updated weight": result, "frozen weight afterwards": weight}


def _lora_cases() -> list[Case]:
    cases = []
    for seed, (out, into, rank) in enumerate([(4, 4, 1), (6, 6, 2), (5, 3, 2)]):
        shapes = [(out, into), (rank, into), (out, rank)]
        generator = seeded(seed)
        tensors = [torch.randn(shape, generator=generator) for shape in shapes]
        shown = f"lora_update(weight ({out}, {into}), a, b of rank {rank}, 0.5)"
        cases.append(Case((*tensors, 0.5), shown))
    return cases


lora_update = Exercise(
    name="lora_update",
    title="LoRA in one line",
    minutes=6,
    difficulty="medium",
    trains="why a low-rank update is cheap",
    hints=(
        "Two thin matrices multiply to a matrix of the weight's shape.",
        "b has shape (out, rank) and a (rank, in): b @ a is (out, in).",
        "weight + scale * (b @ a), which leaves weight itself as it was.",
    ),
    reference=lora_update_reference,
    cases=_lora_cases,
    mistakes=(
        Mistake(_no_scale, "The scale is missing."),
        Mistake(_no_weight, "That is the update alone: add it to the weight."),
        Mistake(_in_place, "The frozen weight itself was changed: do not use +=."),
        Mistake(_transposed, "The update is transposed: b @ a, not a.T @ b.T."),
        Mistake(_scaled_weight, "The scale belongs to the update, not to the weight."),
    ),
    observe=_and_the_weight,
)


def groups_reference(
    network: nn.Module, rate: float, decay: float
) -> list[dict[str, Any]]:
    """Return a parameter group for each child of a network.

    The head learns at `rate`, each earlier child at `decay` times the rate of the one
    after it.

    Args:
        network: its direct children are in order, from input to head.
        rate: learning rate of the last child.
        decay: below one.

    Returns:
        Groups with "params" and "lr", as torch's optimisers take them.
    """
    children = reversed(list(network.children()))
    return [
        {"params": list(child.parameters()), "lr": rate * decay**depth}
        for depth, child in enumerate(children)
    ]


def _first_is_fastest(n: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    return [
        {"params": list(child.parameters()), "lr": rate * decay**depth}
        for depth, child in enumerate(n.children())
    ]


def _one_rate(network: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    return [{"params": list(network.parameters()), "lr": rate}]


def _head_left_out(n: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    return groups_reference(n, rate, decay)[1:]


def _linear_decay(n: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    groups = groups_reference(n, rate, decay)
    for depth, group in enumerate(groups[1:], start=1):
        group["lr"] = rate * decay / depth
    return groups


def _head_decayed(n: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    return groups_reference(n, rate * decay, decay)


def _rates(result: Any, network: nn.Module, *_: Any) -> dict[str, float]:
    """Return the rate of each parameter that is in a group, by its name."""
    names = {id(p): name for name, p in network.named_parameters()}
    return {
        names[id(parameter)]: float(group["lr"])
        for group in result
        for parameter in group["params"]
    }


groups = Exercise(
    name="groups",
    title="Discriminative learning rates",
    minutes=8,
    difficulty="medium",
    trains="the idea that early layers need to move less",
    hints=(
        "Early layers are general, the head is new: which should move fastest?",
        "Walk over the children from the head backwards and count the depth from 0.",
        "for depth, child in enumerate(reversed(list(network.children()))): a dict "
        'with "params": list(child.parameters()) and "lr": rate * decay**depth.',
    ),
    reference=groups_reference,
    cases=lambda: [
        Case((small_network(), rate, decay), f"groups(network, {rate:g}, {decay:g})")
        for rate, decay in ((0.01, 0.5), (10.0, 0.1), (1.0, 0.5))
    ],
    mistakes=(
        Mistake(_first_is_fastest, "The first layer is fastest: start from the head."),
        Mistake(_one_rate, "Every layer has the same rate: use decay."),
        Mistake(_head_left_out, "The head is in no group, so it would never train."),
        Mistake(_linear_decay, "The rate should fall by a factor: decay to the depth."),
        Mistake(_head_decayed, "The head trains at the full rate: count from depth 0."),
    ),
    observe=_rates,
)


def is_fair_reference(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    """Return what differs between two experiments and should not.

    The strategy is what is compared. The rate may differ too, as long as it was chosen
    on the same part. All else must be equal; a setting that only one names differs.
    """
    allowed = {"strategy", "rate"}
    return {
        name
        for name in (set(a) | set(b)) - allowed
        if name not in a or name not in b or a[name] != b[name]
    }


def _with_strategy(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return is_fair_reference(a, b) | {"strategy"}


def _with_rate(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    differs = {"rate"} if a.get("rate") != b.get("rate") else set()
    return is_fair_reference(a, b) | differs


def _with_both(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return _with_strategy(a, b) | _with_rate(a, b)


def _shared_only(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {name for name in is_fair_reference(a, b) if name in a and name in b}


def _yes_or_no(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return not is_fair_reference(a, b)


def _what_agrees(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return set(a) - is_fair_reference(a, b)


def _design(**changes: Any) -> dict[str, Any]:
    design = {
        "strategy": "full",
        "steps": 200,
        "batch": 32,
        "augment": "shift",
        "rate": 1e-3,
        "rate chosen on": "validation",
    }
    return {**design, **changes}


def _fair_cases() -> list[Case]:
    others = [
        _design(strategy="scratch", rate=3e-3),
        _design(strategy="scratch", steps=100, rate=2.5e-4),
        _design(strategy="probe", **{"rate chosen on": "test"}),
        _design(strategy="head", warmup=0.1, augment="none"),
    ]
    return [
        Case((_design(), other), f"is_fair(full, {other['strategy']})")
        for other in others
    ]


is_fair = Exercise(
    name="is_fair",
    title="Is this comparison fair?",
    minutes=6,
    difficulty="easy",
    trains="reading an experiment before believing it",
    hints=(
        "Two strategies should differ in the strategy: what else may differ?",
        "The rate may, if both were chosen on validation data; steps may not.",
        "Go over set(a) | set(b) without strategy and rate; a name that one of them "
        "lacks differs as well.",
    ),
    reference=is_fair_reference,
    cases=_fair_cases,
    mistakes=(
        Mistake(_with_strategy, "The strategy is what is compared: it must differ."),
        Mistake(
            _with_rate,
            "Each strategy needs its own rate; what must agree is where it was chosen.",
        ),
        Mistake(
            _with_both,
            "Strategy and rate may differ: leave both out.",
        ),
        Mistake(_shared_only, "A setting that only one of them names differs too."),
        Mistake(_yes_or_no, "Return the names of what differs, not yes or no."),
        Mistake(_what_agrees, "These are the settings that agree."),
    ),
)

EXERCISES = (freeze, lora_update, groups, is_fair)
