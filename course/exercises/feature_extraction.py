"""Exercises of chapter 02: features, neighbours, and the choice of a layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises.base import Case, Exercise, Mistake, seeded


def average_pool_reference(maps: Tensor) -> Tensor:
    """Return one number for each channel: its mean over height and width.

    Args:
        maps: (N, C, H, W) features.

    Returns:
        (N, C).
    """
    return maps.mean(dim=(2, 3))


def _maximum(maps: Tensor) -> Tensor:
    return maps.amax(dim=(2, 3))


def _total(maps: Tensor) -> Tensor:
    return maps.sum(dim=(2, 3))


def _flattened(maps: Tensor) -> Tensor:
    return maps.flatten(1)


def _over_channels(maps: Tensor) -> Tensor:
    return maps.mean(dim=1).flatten(1)


def _dimensions_kept(maps: Tensor) -> Tensor:
    return maps.mean(dim=(2, 3), keepdim=True)


def _pool_cases() -> list[Case]:
    sizes = [(2, 3, 4, 4), (1, 5, 7, 3), (4, 8, 1, 1)]
    return [
        Case((torch.randn(size, generator=seeded(seed)),), f"average_pool(maps {size})")
        for seed, size in enumerate(sizes)
    ]


average_pool = Exercise(
    name="average_pool",
    title="From maps to features",
    minutes=4,
    difficulty="easy",
    trains="what the layer avgpool does",
    hints=(
        "A feature should not care where in the image something was seen.",
        "Average over height and width; images and channels stay.",
        "maps.mean(dim=(2, 3)) has shape (N, C).",
    ),
    reference=average_pool_reference,
    cases=_pool_cases,
    mistakes=(
        Mistake(_maximum, "That is the maximum: the mean is asked."),
        Mistake(_total, "That is the sum: divide by the number of places."),
        Mistake(_dimensions_kept, "Two dimensions of size 1 are left: drop them."),
        Mistake(_flattened, "Flattened, every place is its own feature: average them."),
        Mistake(_over_channels, "You averaged over the channels: average over places."),
    ),
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


def _dot_product(bank: Tensor, query: Tensor, k: int) -> Tensor:
    return (bank @ query).topk(k).indices


def _farthest(bank: Tensor, query: Tensor, k: int) -> Tensor:
    similarity = F.normalize(bank, dim=1) @ F.normalize(query, dim=0)
    return similarity.topk(k, largest=False).indices


def _euclidean(bank: Tensor, query: Tensor, k: int) -> Tensor:
    return (bank - query).norm(dim=1).topk(k, largest=False).indices


def _similarities(bank: Tensor, query: Tensor, k: int) -> Tensor:
    similarity = F.normalize(bank, dim=1) @ F.normalize(query, dim=0)
    return similarity.topk(k).values


def _nearest_cases() -> list[Case]:
    cases = []
    for seed, (count, size, k) in enumerate([(6, 3, 2), (20, 5, 5), (9, 2, 1)]):
        generator = seeded(seed)
        # Lengths differ on purpose: only the cosine ignores them.
        lengths = 10 * torch.rand(count, 1, generator=generator) + 0.1
        bank = torch.randn(count, size, generator=generator) * lengths
        query = torch.randn(size, generator=generator)
        cases.append(
            Case((bank, query, k), f"nearest(bank ({count}, {size}), query, {k})")
        )
    return cases


nearest = Exercise(
    name="nearest",
    title="Nearest neighbours by cosine",
    minutes=7,
    difficulty="medium",
    trains="similarity in feature space",
    hints=(
        "The cosine compares directions: bring every vector to length one.",
        "F.normalize(bank, dim=1) @ F.normalize(query, dim=0) is a similarity each.",
        "similarity.topk(k).indices are the most similar, best first.",
    ),
    reference=nearest_reference,
    cases=_nearest_cases,
    mistakes=(
        Mistake(_dot_product, "A dot product favours long vectors: normalise first."),
        Mistake(_farthest, "These are the least similar: the largest cosine wins."),
        Mistake(_euclidean, "That is the Euclidean distance: the cosine is asked."),
        Mistake(_similarities, "These are similarities: the indices are asked."),
    ),
)


def accuracy_reference(logits: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is that of their label.

    Args:
        logits: (N, classes).
        labels: (N,) class indices.
    """
    return (logits.argmax(dim=1) == labels).float().mean().item()


def _count_right(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).sum())


def _percent(logits: Tensor, labels: Tensor) -> float:
    return 100 * accuracy_reference(logits, labels)


def _error_rate(logits: Tensor, labels: Tensor) -> float:
    return 1 - accuracy_reference(logits, labels)


def _over_images(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(dim=0)[labels] == labels).float().mean().item()


def _accuracy_cases() -> list[Case]:
    cases = []
    for seed, (count, classes) in enumerate([(8, 3), (30, 10), (7, 5)]):
        labels = torch.randint(0, classes, (count,), generator=seeded(seed))
        logits = torch.randn(count, classes, generator=seeded(seed + 10))
        logits[: count // 2] += 3 * F.one_hot(labels[: count // 2], classes)
        cases.append(
            Case((logits, labels), f"accuracy(logits ({count}, {classes}), labels)")
        )
    return cases


accuracy = Exercise(
    name="accuracy",
    title="Accuracy from logits",
    minutes=4,
    difficulty="easy",
    trains="the number that every table of this course reports",
    hints=(
        "The prediction is the class with the largest logit.",
        "logits.argmax(dim=1) == labels says for each image whether it is right.",
        "The mean of the booleans as floats is the share; .item() makes it a number.",
    ),
    reference=accuracy_reference,
    cases=_accuracy_cases,
    mistakes=(
        Mistake(_count_right, "That is how many are right: divide by all of them."),
        Mistake(_percent, "That is in percent: a share from 0 to 1 is asked."),
        Mistake(_error_rate, "That is the share of errors: count what is right."),
        Mistake(_over_images, "argmax ran over the images (dim=0): use dim=1."),
    ),
)


def best_layer_reference(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Return the layer to take features from.

    Args:
        scores: layer to its probe's accuracy on "train", "validation" and "test".
    """
    return max(scores, key=lambda layer: scores[layer]["validation"])


def _by_test(scores: Mapping[str, Mapping[str, float]]) -> str:
    return max(scores, key=lambda layer: scores[layer]["test"])


def _by_train(scores: Mapping[str, Mapping[str, float]]) -> str:
    return max(scores, key=lambda layer: scores[layer]["train"])


def _worst(scores: Mapping[str, Mapping[str, float]]) -> str:
    return min(scores, key=lambda layer: scores[layer]["validation"])


def _last(scores: Mapping[str, Mapping[str, float]]) -> str:
    return list(scores)[-1]


def _layer_cases() -> list[Case]:
    # Each part has another best layer; the last layer is neither best nor worst.
    rows = [
        ((0.3, 0.2, 0.2), (0.9, 0.6, 0.5), (0.8, 0.85, 0.7), (0.7, 0.8, 0.9)),
        ((0.7, 0.91, 0.8), (0.99, 0.7, 0.6), (0.6, 0.2, 0.3), (0.8, 0.9, 0.95)),
        ((0.6, 0.5, 0.4), (0.4, 0.3, 0.7), (0.5, 0.55, 0.4), (0.7, 0.4, 0.1)),
    ]
    last = (0.55, 0.45, 0.45)
    parts = ("train", "validation", "test")
    cases = []
    for row in rows:
        table = {
            f"layer{place}": dict(zip(parts, values, strict=True))
            for place, values in enumerate((*row, last), start=1)
        }
        cases.append(Case((table,), "best_layer(scores)"))
    return cases


best_layer = Exercise(
    name="best_layer",
    title="Which layer?",
    minutes=4,
    difficulty="easy",
    trains="choosing without looking at the test part",
    hints=(
        "Choosing a layer is choosing: which part of the task is for that?",
        "Look at the accuracy on the validation part only.",
        'max(scores, key=lambda layer: scores[layer]["validation"]).',
    ),
    reference=best_layer_reference,
    cases=_layer_cases,
    mistakes=(
        Mistake(
            _by_test,
            "It was chosen on the test part, whose number is then no longer honest.",
        ),
        Mistake(
            _by_train,
            "It was chosen on the train part, where the probe that memorises wins.",
        ),
        Mistake(_worst, "That is the worst layer on the validation part."),
        Mistake(_last, "The last layer is not always the best: compare the scores."),
    ),
)

EXERCISES = (average_pool, nearest, accuracy, best_layer)
