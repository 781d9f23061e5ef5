"""Exercises of chapter 00: from an image to named probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from course.exercises.base import Case, Exercise, Mistake, seeded

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# The vocabulary, by purpose; each is what a chapter of this course does.
PURPOSES = {
    "compute the gradient of the loss": "train",
    "fit the linear probe on frozen features": "train",
    "choose the learning rate": "validation",
    "choose the layer that features are taken from": "validation",
    "decide when to stop training": "validation",
    "report the accuracy once everything is chosen": "test",
    "compare two finished models in the final table": "test",
}


def top_k_reference(logits: Tensor, k: int) -> list[tuple[int, float]]:
    """Return the k most likely classes as (index, probability), best first.

    Args:
        logits: (classes,) scores of one image.
        k: how many to return.
    """
    probabilities = torch.softmax(logits, dim=0)
    values, indices = probabilities.topk(k)
    return list(zip(indices.tolist(), values.tolist(), strict=True))


def _pairs(values: Tensor, indices: Tensor) -> list[tuple[int, float]]:
    return list(zip(indices.tolist(), values.tolist(), strict=True))


def _logits_instead(logits: Tensor, k: int) -> list[tuple[int, float]]:
    return _pairs(*logits.topk(k))


def _ascending(logits: Tensor, k: int) -> list[tuple[int, float]]:
    return top_k_reference(logits, k)[::-1]


def _least_likely(logits: Tensor, k: int) -> list[tuple[int, float]]:
    return _pairs(*torch.softmax(logits, dim=0).topk(k, largest=False))


def _swapped(logits: Tensor, k: int) -> list[tuple[float, int]]:
    return [(value, index) for index, value in top_k_reference(logits, k)]


def _softmax_over_chosen(logits: Tensor, k: int) -> list[tuple[int, float]]:
    values, indices = logits.topk(k)
    return _pairs(torch.softmax(values, dim=0), indices)


def _top_k_cases() -> list[Case]:
    cases = []
    for seed, (classes, k) in enumerate([(5, 3), (10, 1), (10, 3), (37, 5)]):
        logits = 3 * torch.randn(classes, generator=seeded(seed))
        cases.append(Case((logits, k), f"top_k(logits of {classes} classes, k={k})"))
    large = torch.tensor([1000.0, 0.0, -1000.0])
    cases.append(Case((large, 2), "top_k(tensor([1000, 0, -1000]), k=2)"))
    return cases


top_k = Exercise(
    name="top_k",
    title="The k most likely classes",
    minutes=5,
    difficulty="easy",
    trains="the way from logits to probabilities",
    hints=(
        "Logits are not probabilities: which function makes them positive, with sum 1?",
        "torch.softmax(logits, dim=0) gives probabilities; Tensor.topk sorts them.",
        "values, indices = probabilities.topk(k); then pair indices.tolist() with "
        "values.tolist(), index first.",
    ),
    reference=top_k_reference,
    cases=_top_k_cases,
    mistakes=(
        Mistake(_logits_instead, "These are logits: take their softmax first."),
        Mistake(_ascending, "The order is upside down: most likely first."),
        Mistake(_least_likely, "These are the least likely classes: sort descending."),
        Mistake(_swapped, "Each pair is (index, probability), in this order."),
        Mistake(
            _softmax_over_chosen,
            "The softmax was taken over the chosen k only: take it over all classes, "
            "then choose.",
        ),
    ),
)


def normalise_reference(
    image: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Return an image as the network met images in training.

    Args:
        image: uint8 (3, H, W).
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.
    """
    values = image.float() / 255
    return (values - _column(mean)) / _column(std)


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values)[:, None, None]


def _forgot_255(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return (image.float() - _column(mean)) / _column(std)


def _reversed_channels(
    image: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    return normalise_reference(image, mean[::-1], std[::-1])


def _divided_first(
    image: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    return image.float() / 255 / _column(std) - _column(mean)


def _only_scaled(image: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    return image.float() / 255


def _normalise_cases() -> list[Case]:
    cases = []
    for seed, (high, wide) in enumerate([(4, 4), (8, 6), (1, 1)]):
        image = torch.randint(0, 256, (3, high, wide), generator=seeded(seed)).byte()
        shown = f"normalise(image {high} by {wide}, mean, std)"
        cases.append(Case((image, MEAN, STD), shown))
    white = torch.full((3, 2, 2), 255).byte()
    cases.append(Case((white, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), "normalise(white, …)"))
    return cases


normalise = Exercise(
    name="normalise",
    title="Preprocessing by hand",
    minutes=6,
    difficulty="easy",
    trains="what a network expects of its input",
    hints=(
        "The mean is near 0.5, but the pixels run from 0 to 255.",
        "Divide by 255, subtract the mean of each channel, divide by its deviation.",
        "torch.tensor(mean)[:, None, None] has shape (3, 1, 1) and fits (3, H, W).",
    ),
    reference=normalise_reference,
    cases=_normalise_cases,
    mistakes=(
        Mistake(_forgot_255, "The pixels still run from 0 to 255: divide by 255."),
        Mistake(
            _reversed_channels,
            "The channels' statistics are in the order BGR: keep them as RGB.",
        ),
        Mistake(_divided_first, "Subtract the mean before you divide by std."),
        Mistake(_only_scaled, "Scaled to 0..1, but mean and std were not used."),
    ),
)


def which_part_reference(purpose: str) -> str:
    """Return the part of a task that serves a purpose: train, validation or test."""
    if purpose.startswith(("choose", "decide")):
        return "validation"
    if purpose.startswith(("report", "compare")):
        return "test"
    return "train"


def _test_for_choosing(purpose: str) -> str:
    right = PURPOSES[purpose]
    return "test" if right == "validation" else right


def _train_for_choosing(purpose: str) -> str:
    right = PURPOSES[purpose]
    return "train" if right == "validation" else right


def _validation_for_reporting(purpose: str) -> str:
    right = PURPOSES[purpose]
    return "validation" if right == "test" else right


def _test_for_fitting(purpose: str) -> str:
    right = PURPOSES[purpose]
    return "test" if right == "train" else right


which_part = Exercise(
    name="which_part",
    title="Train, validation or test?",
    minutes=4,
    difficulty="easy",
    trains="held-out discipline",
    hints=(
        "Ask what would be spoilt if the same images were used twice.",
        "Whatever changes weights uses train; whatever chooses uses validation.",
        "The test part is looked at once, when nothing is left to choose: it starts "
        'with "report" or "compare" here.',
    ),
    reference=which_part_reference,
    cases=lambda: [Case((p,), f"which_part({p!r})") for p in PURPOSES],
    mistakes=(
        Mistake(
            _test_for_choosing,
            "A choice made on the test part flatters the number that it then reports.",
        ),
        Mistake(
            _train_for_choosing,
            "On the images that it learnt, the model that memorises best would win.",
        ),
        Mistake(
            _validation_for_reporting,
            "The validation part was used to choose, so it flatters what was chosen.",
        ),
        Mistake(_test_for_fitting, "Nothing may be learnt from the test part."),
    ),
)

EXERCISES = (top_k, normalise, which_part)
