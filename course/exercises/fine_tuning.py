"""Exercises of chapter 03: what moves, how fast, and whether a comparison is fair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises import fine_tuning_mistakes as mistakes
from course.exercises.base import Case, Exercise, seeded
from course.exercises.fine_tuning_mistakes import Optimiser

MANY = 100  # names; no experiment or network of a check has as many


def _whole(generator: torch.Generator, low: int, high: int) -> int:
    """Draw a whole number, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _one_of(generator: torch.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(torch.rand((), generator=generator) * len(choices))]


class _Network(nn.Module):
    """A ResNet in small: conv1, bn1, layers with names of their own, and fc.

    The old head is all ones, so that it is recognised.
    """

    def __init__(self, layers: int, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv1 = nn.Conv2d(3, 4, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            for place in range(1, layers + 1):
                layer = nn.Sequential()
                layer.add_module("conv1", nn.Conv2d(4, 4, 1, bias=False))
                layer.add_module("bn1", nn.BatchNorm2d(4))
                self.add_module(f"layer{place}", layer)
            self.fc: nn.Module = nn.Linear(4, classes)
        nn.init.ones_(self.fc.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, classes) logits for (N, 3, H, W) images."""
        for name, child in self.named_children():
            if name == "conv1" or name == "bn1" or name.startswith("layer"):
                images = F.silu(child(images))
        return self.fc(images.mean(dim=(2, 3)))


@cache
def _network(layers: int = 1, classes: int = 2) -> _Network:
    """Return the one network of this size; every call of an answer gets a copy."""
    return _Network(layers, classes)


def _numbers_of(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of all that may move in a training step, by name."""
    return {
        name: value.clone()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def _moved(network: nn.Module, steps: int, step: Callable[[], None]) -> list[str]:
    """Train for some steps, and return the names of what has moved."""
    before = _numbers_of(network)
    images = torch.randn(4, 3, 6, 6, generator=seeded(0)) + 1
    for _ in range(steps):
        network.zero_grad()
        loss = (network(images) - 1).square().mean()
        if loss.requires_grad:
            loss.backward()
        step()
    after = _numbers_of(network)
    return sorted(name for name in after if not torch.equal(after[name], before[name]))


def is_fair_reference(a: Mapping[str, Any], b: Mapping[str, Any]) -> set[str]:
    """Return what differs between two experiments and should not.

    The strategy is what is compared. The rate may differ too, as long as it was chosen
    on the same part. All else must be equal; a setting that only one names differs.
    """
    differs = set()
    for name in set(a) | set(b):
        if name in ("strategy", "rate"):
            continue
        if name not in a or name not in b or a[name] != b[name]:
            differs.add(name)
    return differs


def _names(result: Any, *_: Any) -> Any:
    """Return names in order, whatever held them; anything else as it is."""
    if isinstance(result, (str, Mapping, Tensor)) or not isinstance(result, Iterable):
        return result
    found = list(islice(result, MANY))
    if len(found) == MANY:
        return found
    return sorted({str(name): name for name in found}.values(), key=str)


CHOICES: dict[str, tuple[Any, ...]] = {
    "steps": (50, 100, 200, 400),
    "batch": (8, 16, 32),
    "augment": ("none", "shift", "flip"),
    "rate": (0.03, 0.01, 0.003),
    "rate chosen on": ("validation", "test", "nothing"),
}
FAIR, RECIPE, CHOSEN = "a fair comparison", "another recipe", "how the rate was chosen"
ALONE = "a setting that only one names"


def _fair_case(part: str, generator: torch.Generator) -> Case:
    """Draw two experiments that differ in the strategy and in what the part says."""
    a = {name: _one_of(generator, choices) for name, choices in CHOICES.items()}
    names = {FAIR: [], CHOSEN: ["rate chosen on"], ALONE: []}.get(part)
    if names is None:
        names = ["steps", "batch", "augment"][_whole(generator, 0, 1) :]
        names = names[: _whole(generator, 1, 2)]
    b = dict(a)
    for name in (*names, *["rate"][: _whole(generator, 0, 1)]):
        b[name] = _one_of(generator, [v for v in CHOICES[name] if v != a[name]])
    if part == ALONE:
        del _one_of(generator, (a, b))[_one_of(generator, ("batch", "augment"))]
    one, other = {"strategy": "full", **a}, {"strategy": "scratch", **b}
    return Case.of("is_fair", one, other, part=part)


def _draw_fair(generator: torch.Generator) -> Case:
    return _fair_case(_one_of(generator, (FAIR, RECIPE, CHOSEN, ALONE)), generator)


is_fair = Exercise(
    name="is_fair",
    title="Is this comparison fair?",
    minutes=6,
    difficulty="easy",
    trains="reading an experiment before believing it",
    kind="write a function",
    place="An unfair budget",
    hints=(
        "Two strategies should differ in the strategy: what else may differ?",
        "The rate may, if both were chosen on validation data; steps may not.",
        "Go over set(a) | set(b) without strategy and rate; a name that one of them "
        "lacks differs as well.",
    ),
    reference=is_fair_reference,
    cases=lambda: [
        _fair_case(part, seeded(seed))
        for seed, part in enumerate((FAIR, RECIPE, CHOSEN, ALONE), start=1)
    ],
    draw=_draw_fair,
    observe=_names,
    mistakes=mistakes.IS_FAIR,
)


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


def _moved_by_a_step(result: Any, network: nn.Module, _: Any) -> dict[str, Any]:
    """Train for one step, and say what was returned and what has moved."""

    def step() -> None:
        # By hand: the first optimiser of a process takes a second to import.
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad

    moved = _moved(network, 1, step)
    return {"still trains": _names(result), "moved in a step": moved}


BACKBONE, SOME = "the whole backbone", "some children"
HEAD, NOTHING = "the head alone", "nothing to freeze"


def _freeze_case(part: str, generator: torch.Generator) -> Case:
    network = _network(_whole(generator, 1, 2))
    *names, head = [name for name, _ in network.named_children()]
    chosen = {BACKBONE: names, HEAD: [head], NOTHING: []}.get(part)
    if chosen is None:
        order = torch.randperm(len(names), generator=generator).tolist()
        chosen = [names[k] for k in order[: _whole(generator, 1, len(names) - 1)]]
    return Case((network, chosen), f"freeze(network, {chosen})", part)


def _draw_freeze(generator: torch.Generator) -> Case:
    return _freeze_case(_one_of(generator, (BACKBONE, SOME, HEAD, NOTHING)), generator)


freeze = Exercise(
    name="freeze",
    title="Really frozen?",
    minutes=8,
    difficulty="medium",
    trains="what requires_grad does not reach",
    kind="write a function",
    place="3 · Is it really frozen?",
    hints=(
        "A parameter moves by its gradient. What else in a network moves?",
        "BatchNorm updates running_mean and running_var in every forward pass in "
        "training mode, with no gradient at all.",
        "For each name: network.get_submodule(name).requires_grad_(False), and .eval() "
        "on the same part; then list the parameters with requires_grad.",
    ),
    reference=freeze_reference,
    cases=lambda: [
        _freeze_case(part, seeded(seed))
        for seed, part in enumerate((BACKBONE, SOME, HEAD, NOTHING))
    ],
    draw=_draw_freeze,
    observe=_moved_by_a_step,
    mistakes=mistakes.FREEZE,
)


def prepare_reference(
    network: nn.Module, classes: int, frozen: bool, rate: float
) -> Optimiser:
    """Give a network a new head, and return an optimiser that trains it.

    Args:
        network: in training mode, its head is `fc`; changed in place.
        classes: how many the new head tells apart.
        frozen: whether all but the head stays as it is, statistics included.
        rate: the learning rate.
    """
    if frozen:
        network.requires_grad_(False)
        network.eval()  # or BatchNorm's statistics go on moving
    network.fc = nn.Linear(network.fc.in_features, classes)
    return torch.optim.AdamW(network.parameters(), lr=rate)


def _prepare_as_handed_out(
    network: nn.Module, classes: int, frozen: bool, rate: float
) -> Optimiser:
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    if frozen:
        network.requires_grad_(False)
        network.eval()  # or BatchNorm's statistics go on moving
    network.fc = nn.Linear(network.fc.in_features, classes)
    return optimizer


def _prepared(
    result: Any, network: nn.Module, classes: int, frozen: bool, rate: float
) -> dict[str, Any]:
    """Train for two steps, and say what the head is, what moves, and how fast."""
    optimizer = result if isinstance(result, Optimiser) else None
    kind = "an optimiser" if optimizer else type(result).__name__
    groups = optimizer.param_groups if optimizer else []
    with torch.no_grad():
        new = all(not bool((p == 1).all()) for p in network.fc.parameters())
    moved = _moved(network, 2, optimizer.step if optimizer else lambda: None)
    logits = network(torch.zeros(2, 3, 6, 6))
    return {
        "what was returned": kind,
        "numbers for a picture": logits.shape[1],
        "the head is a new one": new,
        "moved in two steps": moved,
        "rates": sorted({float(group["lr"]) for group in groups}),
    }


FREE, STILL = "everything trains", "a frozen backbone"
AGAIN = "as many classes as before"


def _prepare_case(part: str, generator: torch.Generator) -> Case:
    before = _whole(generator, 2, 4)
    classes = before if part == AGAIN else before + _whole(generator, 1, 3)
    frozen = _whole(generator, 0, 1) == 1 if part == AGAIN else part == STILL
    rate = _one_of(generator, (0.3, 0.1, 0.03))
    network = _network(_whole(generator, 0, 2), before)
    shown = f"prepare(network, {classes}, {frozen}, {rate:g})"
    return Case((network, classes, frozen, rate), shown, part)


def _prepare_cases() -> list[Case]:
    # The first optimiser of a process imports much; that is not the reader's time.
    torch.optim.SGD([torch.zeros(1)], lr=1.0).zero_grad()
    parts = enumerate((FREE, STILL, AGAIN, AGAIN))
    return [_prepare_case(part, seeded(seed)) for seed, part in parts]


def _draw_prepare(generator: torch.Generator) -> Case:
    return _prepare_case(_one_of(generator, (FREE, STILL, AGAIN)), generator)


prepare = Exercise(
    name="prepare",
    title="The head that never learns",
    minutes=7,
    difficulty="medium",
    trains="what an optimiser holds on to",
    kind="find the bug",
    place="3 · Is it really frozen?",
    hints=(
        "Nothing is wrong with any line. What does each know of those below it?",
        "An optimiser moves the very tensors that it was given. Are those of the new "
        "head among them?",
        "Build the optimiser last: after the swap, network.parameters() holds the new "
        "head and no longer the old one.",
    ),
    reference=prepare_reference,
    given=_prepare_as_handed_out,
    cases=_prepare_cases,
    draw=_draw_prepare,
    observe=_prepared,
    mistakes=mistakes.PREPARE,
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


def _updated(
    result: Any, weight: Tensor, a: Tensor, b: Tensor, scale: float
) -> dict[str, Any]:
    result = result if isinstance(result, Tensor) else torch.as_tensor(result)
    return {
        "updated weight": result.detach(),
        "frozen weight afterwards": weight,
        "a and b get a gradient": result.requires_grad,
    }


SQUARE, OBLONG = "a square weight", "a weight that is not square"
WHOLE, TRAINED = "a scale of one", "with a gradient"


def _lora_case(part: str, generator: torch.Generator) -> Case:
    out, into = _whole(generator, 2, 6), _whole(generator, 2, 6)
    if part == SQUARE:
        into = out
    elif part == OBLONG and into == out:
        into += 1
    rank = _whole(generator, 1, 3)
    scale = 1.0 if part == WHOLE else _one_of(generator, (0.5, 0.1, 2.0, -3.0))
    shapes = [(out, into), (rank, into), (out, rank)]
    weight, a, b = [torch.randn(shape, generator=generator) for shape in shapes]
    if part == TRAINED:
        a.requires_grad_(True)
        b.requires_grad_(True)
    shown = f"lora_update(weight ({out}, {into}), a, b of rank {rank}, {scale:g})"
    return Case((weight, a, b, scale), shown, part)


def _draw_lora(generator: torch.Generator) -> Case:
    return _lora_case(_one_of(generator, (SQUARE, OBLONG, WHOLE, TRAINED)), generator)


lora_update = Exercise(
    name="lora_update",
    title="LoRA in one line",
    minutes=6,
    difficulty="medium",
    trains="why a low-rank update is cheap",
    kind="write a function",
    place="4 · LoRA in twenty lines",
    hints=(
        "Two thin matrices multiply to a matrix of the weight's shape.",
        "b has shape (out, rank) and a (rank, in): b @ a is (out, in).",
        "weight + scale * (b @ a), which leaves weight itself as it was.",
    ),
    reference=lora_update_reference,
    cases=lambda: [
        _lora_case(part, seeded(seed))
        for seed, part in enumerate((SQUARE, OBLONG, WHOLE, TRAINED))
    ],
    draw=_draw_lora,
    observe=_updated,
    mistakes=mistakes.LORA_UPDATE,
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
    found = []
    for child in reversed(list(network.children())):
        found.append({"params": list(child.parameters()), "lr": rate})
        rate = rate * decay
    return found


def _rates(result: Any, network: nn.Module, *_: Any) -> dict[str, Any]:
    """Return the rate of each parameter that is in a group, by its name."""
    names = {id(p): name for name, p in network.named_parameters()}
    rates: dict[str, Any] = {}
    for group in result:
        for parameter in group["params"]:
            name = names.get(id(parameter), f"a {type(parameter).__name__}")
            rates[name] = "in two groups" if name in rates else float(group["lr"])
    return rates


TWO, MORE, NESTED = "two children", "more children", "children with children"


def _groups_case(part: str, generator: torch.Generator) -> Case:
    network: nn.Module = _network(_whole(generator, 1, 2))
    if part != NESTED:
        count = 2 if part == TWO else _whole(generator, 3, 6)
        network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(count)))
    rate = _one_of(generator, (1.0, 3.0, 10.0))
    decay = _one_of(generator, (0.3, 0.5, 0.9))
    count = len(list(network.children()))
    shown = f"groups(network of {count} children, {rate:g}, {decay:g})"
    return Case((network, rate, decay), shown, part)


def _draw_groups(generator: torch.Generator) -> Case:
    return _groups_case(_one_of(generator, (TWO, MORE, NESTED)), generator)


groups = Exercise(
    name="groups",
    title="Discriminative learning rates",
    minutes=8,
    difficulty="medium",
    trains="the idea that early layers need to move less",
    kind="write a function",
    place="5 · All strategies on one table",
    hints=(
        "Early layers are general, the head is new: which should move fastest?",
        "Walk over the children from the head backwards and count the depth from 0.",
        "for depth, child in enumerate(reversed(list(network.children()))): a dict "
        'with "params": list(child.parameters()) and "lr": rate * decay**depth.',
    ),
    reference=groups_reference,
    cases=lambda: [
        _groups_case(part, seeded(seed))
        for seed, part in enumerate((TWO, MORE, NESTED))
    ],
    draw=_draw_groups,
    observe=_rates,
    mistakes=mistakes.GROUPS,
)

EXERCISES = (is_fair, freeze, prepare, lora_update, groups)
