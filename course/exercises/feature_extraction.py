"""Exercises of chapter 02: features, neighbours, an honest probe, a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises import feature_extraction_mistakes as mistakes
from course.exercises.base import Case, Exercise, seeded
from course.exercises.feature_extraction_mistakes import Part, Scores


def _whole(generator: torch.Generator, low: int, high: int) -> int:
    """Draw a whole number, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def average_pool_reference(maps: Tensor) -> Tensor:
    """Return one number for each channel: its mean over height and width.

    Args:
        maps: (N, C, H, W) features.

    Returns:
        (N, C).
    """
    return maps.mean(dim=(2, 3))


def _pool_case(sizes: Sequence[int], generator: torch.Generator) -> Case:
    count, channels, height, width = sizes
    part = "square maps" if height == width else "maps that are not square"
    if 1 in (count, channels):
        part = "a single picture or channel"
    maps = torch.randn(*sizes, generator=generator)
    return Case((maps,), f"average_pool(maps {tuple(sizes)})", part)


def _draw_maps(generator: torch.Generator) -> Case:
    sizes = [_whole(generator, 1, most) for most in (3, 4, 5, 5)]
    if _whole(generator, 0, 1):
        sizes[3] = sizes[2]
    return _pool_case(sizes, generator)


average_pool = Exercise(
    name="average_pool",
    title="From maps to features",
    minutes=4,
    difficulty="easy",
    trains="what the layer avgpool does",
    kind="write a function",
    place="1 · Load, extract",
    hints=(
        "A feature should not care where in the image something was seen.",
        "Average over height and width; images and channels stay.",
        "maps.mean(dim=(2, 3)) has shape (N, C).",
    ),
    reference=average_pool_reference,
    cases=lambda: [
        _pool_case(sizes, seeded(seed))
        for seed, sizes in enumerate([(2, 3, 4, 4), (2, 3, 2, 5), (1, 5, 7, 3)])
    ],
    draw=_draw_maps,
    mistakes=mistakes.AVERAGE_POOL,
)


def accuracy_reference(logits: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is that of their label.

    Args:
        logits: (N, classes).
        labels: (N,) class indices.
    """
    right = 0
    for row, label in zip(logits, labels, strict=True):
        right += int(row.argmax() == label)
    return right / len(labels)


SOME, EVEN, ENDS = "some of them right", "as many pictures as classes", "all or none"


def _logits_case(part: str, generator: torch.Generator) -> Case:
    """Draw logits and labels; the first picture is right and the last is not."""
    classes = _whole(generator, 3, 5)
    count = classes if part == EVEN else _whole(generator, 6, 9)
    labels = torch.randint(0, classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator)
    right = torch.rand(count, generator=generator) < 0.5
    right[0], right[-1] = True, False
    if part == ENDS:
        right[:] = _whole(generator, 0, 1) == 1
    places = torch.arange(count)
    logits[places, labels] = float("-inf")
    ahead = (2 * right - 1) * (torch.rand(count, generator=generator) + 0.1)
    logits[places, labels] = logits.amax(dim=1) + ahead
    logits += _whole(generator, -9, 9)
    shown = f"accuracy(logits ({count}, {classes}), labels)"
    return Case((logits, labels), shown, part)


def _draw_logits(generator: torch.Generator) -> Case:
    return _logits_case((SOME, EVEN, ENDS)[_whole(generator, 0, 2)], generator)


accuracy = Exercise(
    name="accuracy",
    title="Accuracy from logits",
    minutes=4,
    difficulty="easy",
    trains="the number that every table of this course reports",
    kind="write a function",
    place="2 · Predict: a linear probe",
    hints=(
        "The prediction is the class with the largest logit.",
        "logits.argmax(dim=1) == labels says for each image whether it is right.",
        "The mean of the booleans as floats is the share; .item() makes it a number.",
    ),
    reference=accuracy_reference,
    cases=lambda: [
        _logits_case(part, seeded(seed)) for seed, part in enumerate((SOME, EVEN, ENDS))
    ],
    draw=_draw_logits,
    mistakes=mistakes.ACCURACY,
)


def nearest_reference(bank: Tensor, query: Tensor, k: int) -> Tensor:
    """Return the indices of the k features most similar to a query by cosine.

    Args:
        bank: (N, D) features.
        query: (D,) features of one image.
        k: how many.

    Returns:
        (k,) indices, the most similar first.
    """
    similarity = F.normalize(bank, dim=1) @ F.normalize(query, dim=0)
    return similarity.topk(k).indices


ONE, SAME, OTHER = "a single neighbour", "features of one length", "of many lengths"


def _bank_case(part: str, generator: torch.Generator) -> Case:
    count, size = _whole(generator, 4, 8), _whole(generator, 2, 3)
    k = 1 if part == ONE else _whole(generator, 2, count - 1)
    bank = F.normalize(torch.randn(count, size, generator=generator), dim=1)
    if part != SAME:  # only the cosine ignores the lengths
        bank = bank * (10 * torch.rand(count, 1, generator=generator) + 0.1)
    query = 2 * torch.randn(size, generator=generator)
    shown = f"nearest(bank ({count}, {size}), query, {k})"
    return Case((bank, query, k), shown, part)


def _draw_bank(generator: torch.Generator) -> Case:
    return _bank_case((ONE, SAME, OTHER)[_whole(generator, 0, 2)], generator)


nearest = Exercise(
    name="nearest",
    title="Nearest neighbours by cosine",
    minutes=7,
    difficulty="medium",
    trains="similarity in feature space",
    kind="write a function",
    place="3 · With few labels: probe, neighbour, or from scratch?",
    hints=(
        "The cosine compares directions: bring every vector to length one.",
        "F.normalize(bank, dim=1) @ F.normalize(query, dim=0) is a similarity each.",
        "similarity.topk(k).indices are the most similar, best first.",
    ),
    reference=nearest_reference,
    cases=lambda: [
        _bank_case(part, seeded(seed)) for seed, part in enumerate((OTHER, SAME, ONE))
    ],
    draw=_draw_bank,
    mistakes=mistakes.NEAREST,
)


def probe_accuracy_reference(train: Part, validation: Part, test: Part) -> float:
    """Return the accuracy of a probe that keeps the mean of each class.

    Features are brought to one scale first: a mean of 0 and a spread of 1 each.

    Args:
        train: features (N, D) and labels (N,); all that may be learned from.
        validation: for choosing; nothing is chosen here.
        test: what the accuracy is of.
    """
    mean, spread = train[0].mean(dim=0), train[0].std(dim=0)
    spread[spread == 0] = 1.0  # a feature that never changes

    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    asked, wanted = (test[0] - mean) / spread, test[1]
    found = torch.cdist(asked, means).argmin(dim=1)
    return (found == wanted).float().mean().item()


def _probe_as_handed_out(train: Part, validation: Part, test: Part) -> float:
    everything = torch.cat([train[0], validation[0], test[0]])
    mean, spread = everything.mean(dim=0), everything.std(dim=0)
    spread[spread == 0] = 1.0  # a feature that never changes

    values, labels = (train[0] - mean) / spread, train[1]
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    found = torch.cdist(values, means).argmin(dim=1)
    return (found == labels).float().mean().item()


REPORTED, SPREADS = "which part is reported", "where the spread comes from"
CONSTANT = "a feature that never changes"


def _even_rows(count: int) -> Part:
    """Return two classes: the first feature tells them, the second hardly does."""
    labels = torch.arange(2 * count) % 2
    noise = torch.linspace(-1, 1, count).repeat_interleave(2)
    return torch.stack([2.0 * labels - 1, noise + 0.5 * labels], dim=1), labels


def _reported_case(generator: torch.Generator) -> tuple[Part, Part, Part]:
    """Return parts of the same features, so that only the labels tell them apart."""
    values, labels = _even_rows(_whole(generator, 5, 7))
    noisy = (torch.rand(2, len(labels), generator=generator) < 0.3).long()
    noisy[0, :2], noisy[1, :3] = 1, 1  # never as right as the training part
    return (values, labels), (values, labels ^ noisy[0]), (values, labels ^ noisy[1])


def _spreads_case(generator: torch.Generator) -> tuple[Part, Part, Part]:
    """Return parts of which validation lies far out where the classes differ."""
    values, labels = _even_rows(_whole(generator, 5, 7))
    far = values * torch.tensor([50.0, 1.0])
    asked, wanted = values[labels == 1].clone(), labels[labels == 1].clone()
    asked[:, 1] = 2 * torch.rand(len(asked), generator=generator) - 0.5
    asked[:2, 1] = torch.tensor([0.9, -0.4])  # the second feature alone misleads
    asked[0, 0], wanted[0] = -1.0, 0  # few of this class, so test has another mean
    return (values, labels), (far, labels), (asked, wanted)


def _constant_case(generator: torch.Generator) -> tuple[Part, Part, Part]:
    """Return parts that overlap, on scales of their own, with a feature of zeros."""
    classes = _whole(generator, 2, 3)
    parts = []
    for count, wide in ((8, 1.0), (9, 4.0), (11, 2.0)):
        labels = torch.randint(0, classes, (count,), generator=generator)
        labels[:classes] = torch.arange(classes)
        values = torch.randn(count, 3, generator=generator)
        values += F.one_hot(labels, 3)
        values *= torch.tensor([1.0, wide, 0.0])
        parts.append((values + torch.tensor([0.0, wide - 1, 0.0]), labels))
    return parts[0], parts[1], parts[2]


MADE_BY = {REPORTED: _reported_case, SPREADS: _spreads_case, CONSTANT: _constant_case}


def _parts_case(part: str, generator: torch.Generator) -> Case:
    parts = MADE_BY[part](generator)
    scales = 10.0 ** torch.randint(-2, 3, (parts[0][0].shape[1],), generator=generator)
    parts = tuple((values * scales, labels) for values, labels in parts)
    sizes = ", ".join(str(tuple(values.shape)) for values, _ in parts)
    return Case(parts, f"probe_accuracy(parts of {sizes})", part)


def _draw_parts(generator: torch.Generator) -> Case:
    return _parts_case(list(MADE_BY)[_whole(generator, 0, 8) // 3], generator)


probe_accuracy = Exercise(
    name="probe_accuracy",
    title="A probe too good to be true",
    minutes=8,
    difficulty="medium",
    trains="keeping the test part out of what is learned",
    kind="find the bug",
    place="2 · Predict: a linear probe",
    hints=(
        "Follow each of the three parts through the function: where does it go in?",
        "Mean and spread are learned, too. And whose answers are compared at the end?",
        "Take mean and spread from train[0] alone; then scale test[0] with them, ask "
        "cdist for its distances to the means, and compare with test[1].",
    ),
    reference=probe_accuracy_reference,
    given=_probe_as_handed_out,
    cases=lambda: [
        _parts_case(part, seeded(seed)) for seed, part in enumerate(MADE_BY)
    ],
    draw=_draw_parts,
    mistakes=mistakes.PROBE_ACCURACY,
)


def best_layer_reference(scores: Scores) -> str:
    """Return the layer to take features from.

    Args:
        scores: layer to its probe's accuracy on "train", "validation" and "test".
    """
    best, highest = "", -1.0
    for layer, parts in scores.items():
        if parts["validation"] > highest:
            best, highest = layer, parts["validation"]
    return best


NAMES = ("stem", "low", "middle", "upper", "high", "top")
PEAK, PEAKS, END = "one peak", "two peaks", "the best at an end"


def _arranged(part: str, values: Sequence[float], generator: torch.Generator) -> list:
    """Put validation scores, given in rising order, into the order of a part."""
    if part == END:
        return [list(values), list(values)[::-1]][_whole(generator, 0, 1)]
    if part == PEAK:
        split = _whole(generator, 1, len(values) - 2)
        return [*values[:split], values[-1], *reversed(values[split:-1])]
    return [values[1], values[0], *values[2:-2], values[-1], values[-2]]


def _distinct(count: int, generator: torch.Generator) -> list[float]:
    """Draw different scores with two digits, in rising order."""
    return sorted((torch.randperm(90, generator=generator)[:count] + 5).tolist())


def _with_best_at(place: int, count: int, generator: torch.Generator) -> list[float]:
    *values, best = _distinct(count, generator)
    order = torch.randperm(count - 1, generator=generator).tolist()
    mixed = [values[k] for k in order]
    return [*mixed[:place], best, *mixed[place:]]


def _scores_case(part: str, generator: torch.Generator) -> Case:
    """Draw scores of which each part calls another layer the best."""
    count = _whole(generator, 4, len(NAMES))
    validation = _arranged(part, _distinct(count, generator), generator)
    best = validation.index(max(validation))
    order = torch.randperm(count, generator=generator).tolist()
    train, test = [
        _with_best_at(place, count, generator)
        for place in [place for place in order if place != best][:2]
    ]
    rows = zip(NAMES, train, validation, test, strict=False)
    table = {
        name: {"train": a / 100, "validation": b / 100, "test": c / 100}
        for name, a, b, c in rows
    }
    return Case((table,), f"best_layer(scores of {count} layers)", part)


def _draw_scores(generator: torch.Generator) -> Case:
    return _scores_case((PEAK, PEAKS, END)[_whole(generator, 0, 2)], generator)


best_layer = Exercise(
    name="best_layer",
    title="Which layer?",
    minutes=4,
    difficulty="easy",
    trains="choosing without looking at the test part",
    kind="write a function",
    place="4 · Which layer?",
    hints=(
        "Choosing a layer is choosing: which part of the task is for that?",
        "Look at the accuracy on the validation part only.",
        'max(scores, key=lambda layer: scores[layer]["validation"]).',
    ),
    reference=best_layer_reference,
    cases=lambda: [
        _scores_case(part, seeded(seed)) for seed, part in enumerate((PEAK, PEAKS, END))
    ],
    draw=_draw_scores,
    mistakes=mistakes.BEST_LAYER,
)

EXERCISES = (average_pool, accuracy, nearest, probe_accuracy, best_layer)
