"""Exercises of chapter 10: a split, mistakes, a temperature, a choice, a predictor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Generator, Tensor, nn

from course.exercises import capstone_mistakes as mistakes
from course.exercises.base import Case, Exercise, seeded
from course.exercises.capstone_rules import RULES, Row, fitting, leader

Floats = Sequence[float]


def _whole(generator: Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _one_of(generator: Generator, values: Sequence[Any]) -> Any:
    return values[_whole(generator, 0, len(values) - 1)]


def _mixed(generator: Generator, count: int) -> Tensor:
    return torch.randperm(count, generator=generator)


# A split without leaks ----------------------------------------------------------------


def split_reference(
    labels: Tensor, groups: Tensor, order: Sequence[int], count: int
) -> Tensor:
    """Return which images are held out: whole groups, about `count` images a class.

    Args:
        labels: int64 (N,), the class of each image.
        groups: int64 (N,), the number of its group; the images of a group show the
            same thing, and are of one class.
        order: the number of each group once, shuffled: first come, first held out.
        count: a class with so many images held out, or more, gets no further group.

    Returns:
        bool (N,), True for what is held out.
    """
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for group in order:
        members = groups == group
        label = labels[members][0]
        already = (held_out & (labels == label)).sum()
        if already < count:
            held_out |= members
    return held_out


def _mask(result: Any, *_: Any) -> dict[str, Any]:
    """Return a mask with its type: numbers would not select images later."""
    found = torch.as_tensor(result)
    return {"True or False": found.dtype == torch.bool, "held out": found}


ALONE, COPIES = "every image a group of its own", "groups of several images"
NUMBERED = "groups with any numbers"


def _split_case(part: str, generator: Generator) -> Case:
    """Draw images in groups; every class keeps a group for training."""
    classes, most = _whole(generator, 2, 3), 1 if part == ALONE else 4
    sizes = [
        [_whole(generator, 1, most) for _ in range(_whole(generator, 3, 5))]
        for _ in range(classes)
    ]
    amounts = [size for own in sizes for size in own]
    names = _mixed(generator, 90 if part == NUMBERED else len(amounts))
    names = names[: len(amounts)] + (10 if part == NUMBERED else 0)
    repeats = torch.tensor(amounts)
    kinds = torch.tensor([c for c, own in enumerate(sizes) for _ in own])
    shuffled = _mixed(generator, sum(amounts))
    labels = kinds.repeat_interleave(repeats)[shuffled]
    groups = names.repeat_interleave(repeats)[shuffled]
    order = names[_mixed(generator, len(names))].tolist()
    count = _whole(generator, 1, min(sum(own) - max(own) for own in sizes))
    shown = f"split({len(labels)} labels, {len(order)} groups, order, {count})"
    return Case((labels, groups, order, count), shown, part)


def _split_cases() -> list[Case]:
    # The first of each part is small enough to be shown as a table.
    parts = [(ALONE, 0), (COPIES, 84), (NUMBERED, 51), (COPIES, 1), (NUMBERED, 4)]
    return [_split_case(part, seeded(seed)) for part, seed in parts]


def _draw_split(generator: Generator) -> Case:
    return _split_case(_one_of(generator, (ALONE, COPIES, NUMBERED)), generator)


split = Exercise(
    name="split",
    title="Split without leaking",
    minutes=10,
    difficulty="medium",
    trains="keeping copies of one thing on one side",
    hints=(
        "Go through the groups, not through the images. Of each you need two things: "
        "which images belong to it, and which class they are of.",
        "members = groups == group is a mask; labels[members][0] is its class. How "
        "many of that class are held out already? (held_out & (labels == label)).sum()"
        " says it.",
        "Begin with torch.zeros(len(labels), dtype=torch.bool); for each group of "
        "order: if already < count: held_out |= members.",
    ),
    reference=split_reference,
    cases=_split_cases,
    mistakes=mistakes.SPLIT,
    observe=_mask,
    place="1 · Look at the data first",
    draw=_draw_split,
)

# The most wrong first -----------------------------------------------------------------


def most_wrong_reference(
    probabilities: Tensor, labels: Tensor, count: int
) -> list[int]:
    """Return the places of the images that are named wrongly with most confidence.

    Args:
        probabilities: (N, C), of each class.
        labels: int64 (N,).
        count: so many at most.

    Returns:
        The most confident first; of equally confident ones the first comes first.
    """
    wrong = []
    for place, (row, label) in enumerate(zip(probabilities, labels, strict=True)):
        if row.argmax() != label:
            wrong.append((-row.max().item(), place))
    return [place for _, place in sorted(wrong)[:count]]


MANY, TIES = "many are wrong", "ties"
FEW, NONE = "fewer are wrong than asked for", "none is wrong"
ERRORS = {MANY: 5, TIES: 5, FEW: 2, NONE: 0}


def _wrong_case(part: str, generator: Generator) -> Case:
    """Draw probabilities in hundredths; only ties are equally confident."""
    count, classes = _whole(generator, 8, 11), _whole(generator, 3, 5)
    percent = _mixed(generator, 45)[:count] + 51
    if part == TIES:
        percent = torch.tensor([60, 90])[_mixed(generator, count) % 2]
    first = percent / 100
    rest = torch.rand((count, classes), generator=generator) ** 3 + 0.01
    guesses = torch.randint(0, classes, (count,), generator=generator)
    rows = torch.arange(count)
    rest[rows, guesses] = 0
    probabilities = rest / rest.sum(dim=1, keepdim=True) * (1 - first)[:, None]
    probabilities[rows, guesses] = first
    labels = guesses.clone()
    for place in _mixed(generator, count)[: ERRORS[part]]:
        labels[place] = (labels[place] + _whole(generator, 1, classes - 1)) % classes
    asked = 3 if part in (MANY, TIES) else _whole(generator, 3, 5)
    shown = f"most_wrong(probabilities {(count, classes)}, labels, {asked})"
    return Case((probabilities, labels, asked), shown, part)


def _draw_wrong(generator: Generator) -> Case:
    return _wrong_case(_one_of(generator, (MANY, MANY, TIES, FEW)), generator)


most_wrong = Exercise(
    name="most_wrong",
    title="The most wrong first",
    minutes=6,
    difficulty="easy",
    trains="looking at mistakes in a useful order",
    hints=(
        "Two questions: which images are named wrongly, and how sure was the network "
        "of each of these?",
        "confidence, guesses = probabilities.max(dim=1) gives both; guesses != labels "
        "says which are wrong. There may be fewer of them than `count`.",
        "wrong = (guesses != labels).nonzero().flatten(); then sort these places by "
        "-confidence[wrong], with stable=True, and cut with [:count].",
    ),
    reference=most_wrong_reference,
    cases=lambda: [
        _wrong_case(part, seeded(seed))
        for seed, part in enumerate((MANY, MANY, TIES, TIES, FEW, NONE))
    ],
    mistakes=mistakes.MOST_WRONG,
    place="5 · Where it is wrong",
    draw=_draw_wrong,
)

# One number for honesty ---------------------------------------------------------------


def best_temperature_reference(
    logits: Tensor, labels: Tensor, grid: Floats
) -> tuple[float, float]:
    """Return the temperature of the least loss, and that loss.

    Args:
        logits: (N, C), of validation images.
        labels: int64 (N,).
        grid: temperatures above 0, in any order.

    Returns:
        The one with the least mean negative log-likelihood of the labels under
        softmax(logits / temperature), and that mean (Guo et al. 2017, 1706.04599).
    """
    best, least = grid[0], math.inf
    for temperature in grid:
        total = 0.0
        for row, label in zip(logits / temperature, labels, strict=True):
            # log softmax in one go: no probability is rounded to 0 on the way
            total -= (row[label] - torch.logsumexp(row, dim=0)).item()
        if total / len(labels) < least:
            best, least = temperature, total / len(labels)
    return best, least


def _pair(result: Any, *_: Any) -> dict[str, Any]:
    try:
        temperature, loss = result
    except (TypeError, ValueError):
        return {"a pair (temperature, loss)": False, "what came back": result}
    return {
        "a pair (temperature, loss)": True,
        "temperature": temperature,
        "loss": loss,
    }


SURE, TIMID = "a network that is too sure", "a network that is not sure enough"
UNSORTED, FAR = "a grid in no order", "logits far apart"
SCALES = {SURE: 3.0, TIMID: 0.4, UNSORTED: 2.0, FAR: 500.0}
GRID = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def _losses(logits: Tensor, labels: Tensor, grid: Floats) -> list[float]:
    """Return the loss of each temperature of a grid, the least first."""
    found = [best_temperature_reference(logits, labels, [value]) for value in grid]
    return sorted(loss for _, loss in found)


def _temperature_case(part: str, generator: Generator) -> Case:
    """Draw logits of which one temperature is the best, and not by a hair."""
    count, classes = _whole(generator, 10, 14), _whole(generator, 3, 5)
    grid = list(GRID)
    if part in (UNSORTED, FAR):
        grid = [GRID[place] for place in _mixed(generator, len(GRID))]
    while True:
        labels = torch.randint(0, classes, (count,), generator=generator)
        logits = torch.randn((count, classes), generator=generator)
        logits[torch.arange(count), labels] += 1.5
        wrong = (logits.argmax(dim=1) != labels).sum()
        logits = SCALES[part] * logits
        first, second, *_ = _losses(logits, labels, grid)
        if 1 <= wrong < count / 2 and second > 1.002 * first:
            break
    shown = f"best_temperature(logits {(count, classes)}, labels, {len(grid)} values)"
    return Case((logits, labels, grid), shown, part)


def _draw_temperature(generator: Generator) -> Case:
    return _temperature_case(_one_of(generator, list(SCALES)), generator)


best_temperature = Exercise(
    name="best_temperature",
    title="One number for honesty",
    minutes=10,
    difficulty="medium",
    trains="what a temperature mends, and how it is chosen",
    hints=(
        "Two steps: a loss for one temperature, and a loop that keeps the best.",
        "The loss is the mean of -log softmax(logits / temperature) at the label. Of "
        "logits far apart the softmax is rounded to 0: never write it out alone.",
        "F.cross_entropy(logits / temperature, labels).item() for each temperature of "
        "grid; keep the pair (temperature, loss) whose loss is least.",
    ),
    reference=best_temperature_reference,
    cases=lambda: [
        _temperature_case(part, seeded(seed)) for seed, part in enumerate(SCALES)
    ],
    mistakes=mistakes.BEST_TEMPERATURE,
    observe=_pair,
    place="6 · How sure is it?",
    draw=_draw_temperature,
)

# What leaves the house ----------------------------------------------------------------


def _row(
    model: str,
    validation: Floats,
    ms: float | None,
    licence: str | None = "MIT",
    test: float | None = None,
    chosen_on: str = "validation",
) -> dict[str, Any]:
    """Return a candidate; accuracies on validation are one a seed."""
    return {
        "model": model,
        "validation": list(validation),
        "chosen on": chosen_on,
        "test": test,
        "ms": ms,
        "licence": licence,
    }


CANDIDATES = (
    _row("crane", (0.963,), 20.0),
    _row("eagle", (0.971, 0.968, 0.974), 15.0, test=0.978, chosen_on="test"),
    _row("finch", (0.930, 0.956, 0.935), 27.0, "BSD-3"),
    _row("heron", (0.949, 0.941, 0.946), 18.0, "Apache-2.0"),
    _row("owl", (0.958, 0.961, 0.955), 17.0, "CC BY-NC"),
    _row("raven", (0.960, 0.957, 0.963), 16.0, None),
    _row("robin", (0.952, 0.947, 0.944), 25.0, "BSD-3", test=0.944),
    _row("stork", (0.966, 0.962, 0.969), 48.0, test=0.963),
    _row("swift", (0.921, 0.918, 0.924), 5.0),
    _row("wren", (0.931, 0.938, 0.935), 12.0, test=0.955),
)
OPEN = ("MIT", "BSD-3", "Apache-2.0")
NEED = {"ms": 30.0, "seeds": 3, "licences": OPEN}


def ship_reference(candidates: Sequence[Row], need: Row) -> dict[str, Any]:
    """Choose the model to ship, and say why.

    Args:
        candidates: rows with model, validation (accuracies, one a seed), "chosen on"
            (the images by which its settings were chosen: "validation" or "test"),
            test (its accuracy; None where nobody looked), ms and licence; None is
            unknown.
        need: at most so many ms, so many seeds at least, and the licences that do.

    Returns:
        "choice", of those that fit and are not clearly behind the highest mean of
        them the name of the fastest, or None; "test", a list of the names to be tried
        on the test images; "expected", the accuracy to expect there; "ruled out", a
        reason for each of the others: "peeked", "seeds", "licence", "slow",
        "accuracy" or "slower".
    """

    def unfit(row: Row) -> str:
        if row["chosen on"] == "test":
            return "peeked"
        if len(row["validation"]) < need["seeds"]:
            return "seeds"
        if row["licence"] not in need["licences"]:
            return "licence"
        return "slow" if row["ms"] is None or row["ms"] > need["ms"] else ""

    reasons = {row["model"]: unfit(row) for row in candidates}
    fit = [row for row in candidates if not reasons[row["model"]]]
    if not fit:
        return {"choice": None, "test": [], "expected": None, "ruled out": reasons}
    best = max(fit, key=lambda row: fmean(row["validation"]))
    close = []
    for row in fit:
        behind = max(row["validation"]) < min(best["validation"])
        reasons[row["model"]] = "accuracy" if behind else "slower"
        if not behind:
            close.append(row)
    choice = min(close, key=lambda row: row["ms"])
    del reasons[choice["model"]]
    return {
        "choice": choice["model"],
        "test": [choice["model"]],
        "expected": fmean(choice["validation"]),
        "ruled out": reasons,
    }


def _ship_cases() -> list[Case]:
    some = [dict(row) for row in CANDIDATES]
    gaps = [
        _row("crow", (0.95, 0.96, 0.97), None),
        _row("gull", (0.93, 0.92, 0.94), 20.0),
        _row("kite", (0.90, 0.91, 0.89), 10.0, test=0.95),
    ]
    tries = [
        ("as in the table", some, NEED),
        ("one seed will do", some, {**NEED, "seeds": 1}),
        ("for research", some, {**NEED, "licences": (*OPEN, "CC BY-NC")}),
        ("on a fast machine", some, {**NEED, "ms": 48.0}),
        ("at most 12 ms", some, {**NEED, "ms": 12.0}),
        ("an unknown time", gaps, NEED),
        ("another licence", some, {**NEED, "licences": ("GPL-3",)}),
    ]
    return [
        Case((rows, dict(need)), f"ship({len(rows)} candidates, {said})")
        for said, rows, need in tries
    ]


def _draw_row(generator: Generator, model: str) -> dict[str, Any]:
    centre, seeds = _whole(generator, 880, 960), _whole(generator, 1, 8)
    values = [centre + _whole(generator, -9, 9) for _ in range(min(seeds, 3))]
    looked = _whole(generator, 0, 1)
    peeked = _whole(generator, 0, 3) == 0
    ms = _whole(generator, 0, 12)
    return _row(
        model,
        [value / 1000 for value in values],
        float(ms) if ms else None,
        _one_of(generator, (*OPEN, *OPEN, "CC BY-NC", None)),
        (centre + _whole(generator, -25, 25)) / 1000 if looked or peeked else None,
        "test" if peeked else "validation",
    )


def _draw_ship(generator: Generator) -> Case:
    """Draw candidates; of those that fit, one alone has the highest mean."""
    need = {**NEED, "ms": 10.0}
    while True:
        count = _whole(generator, 2, 7)
        names = [row["model"] for row in CANDIDATES[:count]]
        rows = [_draw_row(generator, name) for name in names]
        fit = fitting(rows, need)
        means = [fmean(row["validation"]) for row in fit if row is not leader(fit)]
        if all(fmean(leader(fit)["validation"]) - value > 1e-6 for value in means):
            return Case((rows, need), f"ship({count} candidates, …)")


ship = Exercise(
    name="ship",
    title="What do you ship?",
    minutes=12,
    difficulty="hard",
    trains="deciding before the test part is opened",
    hints=(
        "In four steps: who may be shipped at all, who of these has the highest mean, "
        "who is not clearly behind that one, and who of those is the fastest?",
        'Begin with a reason for each that does not fit: "chosen on" is not '
        '"validation", too few seeds, the licence, ms above the limit or None. One is '
        "clearly behind where its best seed is below the worst seed of the first.",
        'close = [r for r in fit if max(r["validation"]) >= min(best["validation"])]; '
        'choice = min(close, key=lambda r: r["ms"]). "test" is a list of that name '
        'alone, "expected" the mean of its validation. Of the others that fit, those '
        'in close are "slower", the rest lose by "accuracy".',
    ),
    reference=ship_reference,
    cases=_ship_cases,
    mistakes=(),
    kind="choose and defend",
    place="7 · Test once",
    draw=_draw_ship,
    rules=RULES,
)

# Two bugs in a predictor --------------------------------------------------------------


def predict_probabilities_reference(
    network: nn.Module, pixels: Tensor, mean: Floats, std: Floats, temperature: float
) -> Tensor:
    """Return the probability of each class for one picture.

    Args:
        network: in whatever mode it was left.
        pixels: uint8 (H, W, 3), RGB, as a picture comes from a file.
        mean: of each channel, as the network met it in training.
        std: of each channel, likewise.
        temperature: the one that was chosen on validation images.

    Returns:
        (classes,), summing to 1.
    """
    network.eval()
    image = pixels.permute(2, 0, 1).float() / 255
    image = image - torch.tensor(mean)[:, None, None]
    image = image / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        logits = network(image[None])[0]
    return (logits / temperature).softmax(dim=0)


def _predict_given(
    network: nn.Module, pixels: Tensor, mean: Floats, std: Floats, temperature: float
) -> Tensor:
    """Return the probability of each class, with both bugs in."""
    network.eval()
    height, width, _ = pixels.shape
    image = pixels.reshape(3, height, width).float() / 255
    image = image - torch.tensor(mean)[:, None, None]
    image = image / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        probabilities = network(image[None]).softmax(dim=1)[0]
    probabilities = probabilities / temperature
    return probabilities / probabilities.sum()


AXES, HEAT = "a picture with something on it", "a temperature"
TRAINING = "a network in training mode"


def _network(classes: int, seed: int) -> nn.Sequential:
    """Return a small network whose BatchNorm has seen other pictures than ours."""
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )
    with torch.no_grad():
        for values in network.parameters():
            values.copy_(0.7 * torch.randn(values.shape, generator=seeded(seed)))
        network[1].running_mean.copy_(torch.randn(6, generator=seeded(seed)))
    return network


def _predict_case(part: str, generator: Generator) -> Case:
    """Draw a picture and a network; each bug does harm in a part of its own."""
    high, wide = _whole(generator, 5, 8), _whole(generator, 5, 8)
    pixels = torch.randint(0, 256, (high, wide, 3), generator=generator).byte()
    # A left half unlike the right one, and a red unlike the blue one.
    pixels[:, : wide // 2] //= 4
    pixels[..., 2] //= 3
    if part == HEAT:  # grey all over, so that no order of the numbers matters
        pixels.fill_(_whole(generator, 40, 220))
    heat = 1.0 if part == AXES else _one_of(generator, (0.5, 1.5, 2.0, 3.0))
    network = _network(_whole(generator, 2, 4), _whole(generator, 0, 99))
    network.train(part == TRAINING)
    statistics = [
        [low + 0.01 * _whole(generator, 0, 30) for _ in range(3)] for low in (0.3, 0.15)
    ]
    shown = f"predict_probabilities(network, pixels {(high, wide, 3)}, …, {heat:g})"
    return Case((network, pixels, *statistics, heat), shown, part)


def _draw_predict(generator: Generator) -> Case:
    return _predict_case(_one_of(generator, (AXES, HEAT, TRAINING)), generator)


predict_probabilities = Exercise(
    name="predict_probabilities",
    title="Two bugs in the predictor",
    minutes=8,
    difficulty="medium",
    trains="checking what you hand over against what you measured",
    hints=(
        "Both bugs are silent: the shape is right and the numbers sum to 1. Follow one "
        "pixel through the first lines, and the temperature through the last ones.",
        "reshape keeps the numbers in the order in which they lie in memory: red, "
        "green, blue, red, green, blue. And what divides all probabilities alike is "
        "taken out again by their sum.",
        "pixels.permute(2, 0, 1) moves the axes; (logits / temperature).softmax(dim=1) "
        "comes instead of the division afterwards.",
    ),
    reference=predict_probabilities_reference,
    given=_predict_given,
    cases=lambda: [
        _predict_case(part, seeded(seed))
        for seed, part in enumerate((AXES, AXES, HEAT, HEAT, TRAINING))
    ],
    mistakes=mistakes.PREDICT_PROBABILITIES,
    kind="find the bug",
    place="8 · Take it with you",
    draw=_draw_predict,
)

EXERCISES = (split, most_wrong, best_temperature, ship, predict_probabilities)
