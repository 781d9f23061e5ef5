"""Wrong answers that readers give to the exercises of chapter 03, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.base import Mistake

Optimiser = torch.optim.Optimizer

# is_fair ------------------------------------------------------------------------------


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], *allowed: str) -> set[str]:
    names = (set(a) | set(b)) - {"strategy", "rate", *allowed}
    return {name for name in names if a.get(name) != b.get(name)}


def _all_that_differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {name for name in set(a) | set(b) if a.get(name) != b.get(name)}


def _first_only(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {name for name in _differing(a, b) if name in a}


def _shared_only(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    return {name for name in _differing(a, b) if name in a and name in b}


def _taken_for_there(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    names = set(a) | set(b)
    return {n for n in names - {"strategy", "rate"} if a[n] != b[n]}


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[tuple[str, Any]]:
    pairs = set(a.items()) ^ set(b.items())
    return {(name, value) for name, value in pairs if name not in ("strategy", "rate")}


IS_FAIR = (
    Mistake(
        lambda a, b: _all_that_differs(a, b) - {"rate"},
        "The strategy is what is compared: it must differ.",
        "the strategy named too",
    ),
    Mistake(
        lambda a, b: _all_that_differs(a, b) - {"strategy"},
        "Each strategy needs its own rate; what must agree is where it was chosen.",
        "the rate named too",
    ),
    Mistake(
        _all_that_differs,
        "Strategy and rate may differ: leave both out.",
        "all that differs",
    ),
    Mistake(
        lambda a, b: _differing(a, b, "steps"),
        "The steps are the budget: a strategy that may train for longer wins for "
        "that reason alone, so they must not differ.",
        "unequal budgets in a comparison",
    ),
    Mistake(
        lambda a, b: _differing(a, b, "rate chosen on"),
        "The rate may differ, but how it was chosen may not: “rate chosen on” is a "
        "setting like the others.",
        "how the rate was chosen left out",
    ),
    Mistake(
        _first_only,
        "A setting that only the second one names was passed over: go over the "
        "names of both.",
        "only what the first names",
    ),
    Mistake(
        _shared_only,
        "A setting that only one of them names differs too.",
        "only what both name",
    ),
    Mistake(
        _taken_for_there,
        "A name that one of them lacks cannot be looked up there: ask with `in` or "
        "get first.",
        "looked up where it is not",
    ),
    Mistake(
        lambda a, b: not _differing(a, b),
        "Return the names of what differs, not yes or no.",
        "yes or no",
    ),
    Mistake(
        lambda a, b: len(_differing(a, b)),
        "Return the names of what differs, not how many there are.",
        "how many",
    ),
    Mistake(
        lambda a, b: set(a) - _differing(a, b),
        "These are the settings that agree.",
        "what agrees",
    ),
    Mistake(
        _pairs,
        "These are pairs of a name and a value: the names are asked.",
        "pairs and not names",
    ),
)

# freeze -------------------------------------------------------------------------------


def _frozen(network: nn.Module, names: Iterable[str]) -> None:
    for name in names:
        network.get_submodule(name).eval().requires_grad_(False)


def _training(network: nn.Module, wanted: bool = True) -> list[str]:
    return [n for n, p in network.named_parameters() if p.requires_grad is wanted]


def _statistics_move(network: nn.Module, names: Sequence[str]) -> list[str]:
    for name in names:
        network.get_submodule(name).requires_grad_(False)
    return _training(network)


def _only_eval(network: nn.Module, names: Sequence[str]) -> list[str]:
    for name in names:
        network.get_submodule(name).eval()
    return _training(network)


def _froze_the_others(network: nn.Module, names: Sequence[str]) -> list[str]:
    _frozen(network, [n for n, _ in network.named_children() if n not in names])
    return _training(network)


def _named_the_frozen(network: nn.Module, names: Sequence[str]) -> list[str]:
    _frozen(network, names)
    return _training(network, wanted=False)


def _named_the_children(network: nn.Module, names: Sequence[str]) -> list[str]:
    _frozen(network, names)
    return [name for name, _ in network.named_children() if name not in names]


def _all_in_eval(network: nn.Module, names: Sequence[str]) -> list[str]:
    _frozen(network, names)
    network.eval()
    return _training(network)


def _one_level(network: nn.Module, names: Sequence[str]) -> list[str]:
    for name in names:
        part = network.get_submodule(name).eval()
        for parameter in part.parameters(recurse=False):
            parameter.requires_grad_(False)
    return _training(network)


def _weights_only(network: nn.Module, names: Sequence[str]) -> list[str]:
    for name in names:
        for own, parameter in network.get_submodule(name).eval().named_parameters():
            parameter.requires_grad_(not own.endswith("weight"))
    return _training(network)


def _by_part_of_a_name(network: nn.Module, names: Sequence[str]) -> list[str]:
    for name in names:
        network.get_submodule(name).eval()
    for own, parameter in network.named_parameters():
        parameter.requires_grad_(not any(name in own for name in names))
    return _training(network)


def _everything(network: nn.Module, names: Sequence[str]) -> list[str]:
    network.eval().requires_grad_(False)
    return []


FREEZE = (
    Mistake(
        _statistics_move,
        "BatchNorm's running_mean and running_var still move: put the frozen parts "
        "in eval mode.",
        "BatchNorm moving in a frozen backbone",
    ),
    Mistake(
        _only_eval,
        "eval() stops no gradient, nor does `part.requires_grad = False`, which a "
        "module does not know: call part.requires_grad_(False).",
        "gradients not stopped",
    ),
    Mistake(
        _froze_the_others,
        "You froze what was to train, and the other way.",
        "the others frozen",
    ),
    Mistake(
        _named_the_frozen,
        "Return the names that still train, not the frozen.",
        "the frozen named",
    ),
    Mistake(
        _named_the_children,
        "These are children: the parameters are asked, such as fc.weight.",
        "children named, not parameters",
    ),
    Mistake(
        _all_in_eval,
        "The whole network is in eval mode: only the frozen parts should be.",
        "the whole network in eval mode",
    ),
    Mistake(
        _one_level,
        "A layer holds its parameters further down, in its own children: "
        "part.requires_grad_(False) and part.parameters() reach them.",
        "one level deep",
    ),
    Mistake(
        _weights_only,
        "The biases still train: freeze every parameter, and not only weights.",
        "biases forgotten",
    ),
    Mistake(
        _by_part_of_a_name,
        "“bn1” is part of “layer1.bn1.weight” as well: compare the first name "
        "before the point, or take the child by its name.",
        "names that only contain it",
    ),
    Mistake(
        _everything,
        "Everything is frozen and nothing can learn: freeze the named children.",
        "everything frozen",
    ),
    Mistake(
        lambda network, names: _training(network),
        "Nothing was frozen: torch.no_grad() ends with its own block.",
        "nothing frozen",
    ),
)

# prepare ------------------------------------------------------------------------------


def _swapped(network: nn.Module, classes: int) -> None:
    network.fc = nn.Linear(network.fc.in_features, classes)


def _stopped(network: nn.Module, frozen: bool) -> None:
    if frozen:
        network.eval().requires_grad_(False)


def _adam(network: nn.Module, rate: float) -> Optimiser:
    return torch.optim.AdamW(network.parameters(), lr=rate)


def _too_early(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    _stopped(n, frozen)
    optimizer = _adam(n, rate)
    _swapped(n, classes)
    return optimizer


def _no_eval(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    n.requires_grad_(not frozen)
    _swapped(n, classes)
    return _adam(n, rate)


def _no_flag(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    if frozen:
        n.eval()
    _swapped(n, classes)
    return _adam(n, rate)


def _head_frozen(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    _swapped(n, classes)
    _stopped(n, frozen)
    return _adam(n, rate)


def _only_a_number(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    _stopped(n, frozen)
    n.fc.requires_grad_(True)
    n.fc.out_features = classes
    return _adam(n, rate)


def _behind(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    _stopped(n, frozen)
    n.fc = nn.Sequential(n.fc, nn.Linear(n.fc.out_features, classes))
    return _adam(n, rate)


def _turned(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    _stopped(n, frozen)
    n.fc = nn.Linear(classes, n.fc.in_features)
    return _adam(n, rate)


def _eval_always(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    n.eval().requires_grad_(not frozen)
    _swapped(n, classes)
    return _adam(n, rate)


def _head_in_it(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    _stopped(n, frozen)
    _swapped(n, classes)
    return torch.optim.AdamW(n.fc.parameters(), lr=rate)


def _flag(always: bool) -> Callable[..., Optimiser]:
    """Make an answer that does not ask whether to freeze."""

    def answer(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
        _stopped(n, always)
        _swapped(n, classes)
        return _adam(n, rate)

    return answer


def _no_rate(n: nn.Module, classes: int, frozen: bool, rate: float) -> Optimiser:
    return _flag(frozen)(n, classes, frozen, 0.001)


def _the_network(n: nn.Module, classes: int, frozen: bool, rate: float) -> nn.Module:
    _flag(frozen)(n, classes, frozen, rate)
    return n


PREPARE = (
    Mistake(
        _head_frozen,
        "The new head was frozen with the rest: freeze first and swap then.",
        "the head frozen too",
    ),
    Mistake(
        _too_early,
        "The optimiser was built before the head was swapped, so it moves the old "
        "head and not the new one: build it last.",
        "optimiser built before the head was swapped",
    ),
    Mistake(
        _no_eval,
        "BatchNorm's running_mean and running_var still move in the frozen "
        "backbone: put it in eval mode as well.",
        "BatchNorm moving in a frozen backbone",
    ),
    Mistake(
        _no_flag,
        "eval() stops no gradient: call network.requires_grad_(False) as well.",
        "gradients not stopped",
    ),
    Mistake(
        _only_a_number,
        "The old head still answers: out_features is only a note, and a head under "
        "another name is never called. Set network.fc to a new nn.Linear.",
        "the old head still answers",
    ),
    Mistake(
        _behind,
        "The old head is still there with a new layer behind it: put the new one "
        "in its place.",
        "a layer behind the old head",
    ),
    Mistake(
        _turned,
        "nn.Linear takes what goes in first and what comes out second.",
        "inputs and outputs the wrong way round",
    ),
    Mistake(
        _eval_always,
        "Where everything trains, BatchNorm's statistics should move too: call "
        "eval() only where the backbone is frozen.",
        "eval mode always",
    ),
    Mistake(
        _head_in_it,
        "Only the head is in the optimiser: where nothing is frozen, the backbone "
        "should move as well.",
        "only the head in the optimiser",
    ),
    Mistake(
        _flag(always=False),
        "The backbone moves although it was to be frozen: ask for `frozen`.",
        "never frozen",
    ),
    Mistake(
        _flag(always=True),
        "The backbone stays although it was to move: ask for `frozen`.",
        "always frozen",
    ),
    Mistake(
        _no_rate,
        "The optimiser has a rate of its own choice: pass lr=rate.",
        "the rate left out",
    ),
    Mistake(
        _the_network,
        "That is the network, which was changed in place: return the optimiser.",
        "the network returned",
    ),
)

# lora_update --------------------------------------------------------------------------


def _in_place(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    weight += scale * (b @ a)
    return weight


def _by_rank(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return weight + scale / len(a) * (b @ a)


def _cut_off(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    return weight + scale * (b.detach() @ a.detach())


LORA_UPDATE = (
    Mistake(
        lambda weight, a, b, scale: weight + b @ a,
        "The scale is missing.",
        "the scale left out",
    ),
    Mistake(
        lambda weight, a, b, scale: scale * (b @ a),
        "That is the update alone: add it to the weight.",
        "the update alone",
    ),
    Mistake(
        _in_place,
        "The frozen weight itself was changed: do not use +=.",
        "the frozen weight changed",
    ),
    Mistake(
        lambda weight, a, b, scale: weight + scale * (a.T @ b.T),
        "The update is transposed: b @ a, not a.T @ b.T.",
        "the update transposed",
    ),
    Mistake(
        lambda weight, a, b, scale: scale * (weight + b @ a),
        "The scale belongs to the update, not to the weight.",
        "the weight scaled too",
    ),
    Mistake(
        lambda weight, a, b, scale: weight + scale * (b * a),
        "* multiplies number by number: @ is the product of matrices.",
        "* instead of @",
    ),
    Mistake(
        lambda weight, a, b, scale: weight + scale * (a @ b),
        "a @ b has the shape (rank, rank), where it has one: b @ a is (out, in).",
        "a @ b",
    ),
    Mistake(
        _by_rank,
        "It was divided by the rank once more: here the scale is already what counts.",
        "divided by the rank",
    ),
    Mistake(
        lambda weight, a, b, scale: (1 - scale) * weight + scale * (b @ a),
        "The weight stays whole: an update is added, not mixed in.",
        "a mixture",
    ),
    Mistake(
        lambda weight, a, b, scale: weight - scale * (b @ a),
        "The update is added, not subtracted: its sign is learned.",
        "subtracted",
    ),
    Mistake(
        lambda weight, a, b, scale: weight + (scale * b) @ (scale * a),
        "Both matrices were scaled, so the scale counts twice.",
        "scaled twice",
    ),
    Mistake(
        _cut_off,
        "detach, .data, item and no_grad cut a and b off from the gradient: they "
        "would never learn.",
        "cut off from the gradient",
    ),
)

# groups -------------------------------------------------------------------------------


Groups = list[dict[str, Any]]


def _by_depth(rate_at: Callable[[float, float, int], float]) -> Callable[..., Groups]:
    """Make an answer of the rate for each depth below the head, which is 0."""

    def answer(network: nn.Module, rate: float, decay: float) -> Groups:
        return [
            {"params": list(child.parameters()), "lr": rate_at(rate, decay, depth)}
            for depth, child in enumerate(reversed(list(network.children())))
        ]

    return answer


def _first_is_fastest(network: nn.Module, rate: float, decay: float) -> Groups:
    return [
        {"params": list(child.parameters()), "lr": rate * decay**depth}
        for depth, child in enumerate(network.children())
    ]


def _head_left_out(network: nn.Module, rate: float, decay: float) -> Groups:
    return _by_depth(lambda r, d, k: r * d**k)(network, rate, decay)[1:]


def _each_parameter(network: nn.Module, rate: float, decay: float) -> Groups:
    parameters = reversed(list(network.parameters()))
    return [{"params": [p], "lr": rate * decay**k} for k, p in enumerate(parameters)]


def _own_only(network: nn.Module, rate: float, decay: float) -> Groups:
    return [
        {"params": list(child.parameters(recurse=False)), "lr": rate * decay**depth}
        for depth, child in enumerate(reversed(list(network.children())))
    ]


def _with_names(network: nn.Module, rate: float, decay: float) -> Groups:
    return [
        {"params": list(child.named_parameters()), "lr": rate * decay**depth}
        for depth, child in enumerate(reversed(list(network.children())))
    ]


def _other_key(network: nn.Module, rate: float, decay: float) -> Groups:
    groups = _by_depth(lambda r, d, k: r * d**k)(network, rate, decay)
    return [{"params": group["params"], "rate": group["lr"]} for group in groups]


GROUPS = (
    Mistake(
        _first_is_fastest,
        "The first layer is fastest: start from the head.",
        "the first layer fastest",
    ),
    Mistake(
        _by_depth(lambda rate, decay, depth: rate),
        "Every layer has the same rate: use decay.",
        "one rate for all",
    ),
    Mistake(
        _head_left_out,
        "The head is in no group, so it would never train.",
        "the head left out",
    ),
    Mistake(
        _by_depth(lambda rate, decay, depth: rate * (1 - (1 - decay) * depth)),
        "The rate should fall by a factor, and not by the same amount each time: "
        "decay to the power of the depth.",
        "falls by the same amount",
    ),
    Mistake(
        _by_depth(lambda rate, decay, depth: rate * decay / max(depth, decay)),
        "The rate was divided by the depth: decay to the power of the depth.",
        "divided by the depth",
    ),
    Mistake(
        _by_depth(lambda rate, decay, depth: rate * decay ** (depth + 1)),
        "The head trains at the full rate: count from depth 0.",
        "the head slowed down too",
    ),
    Mistake(
        _by_depth(lambda rate, decay, depth: rate * (decay if depth else 1)),
        "Only the head is told from the rest: each layer is slower than the next.",
        "only two rates",
    ),
    Mistake(
        _by_depth(lambda rate, decay, depth: rate / decay**depth),
        "Dividing by decay makes early layers faster: multiply.",
        "divided instead of multiplied",
    ),
    Mistake(
        _each_parameter,
        "Each parameter has a depth of its own: those of one child share a rate.",
        "counted by parameters",
    ),
    Mistake(
        _own_only,
        "recurse=False leaves out what lies in children of a child.",
        "one level deep",
    ),
    Mistake(
        _with_names,
        "named_parameters gives pairs: an optimiser's group takes the parameters.",
        "pairs and not parameters",
    ),
    Mistake(
        _other_key,
        'An optimiser looks for "params" and "lr": the keys are these two.',
        "another key",
    ),
)
