"""Exercises of chapter 01: the losses and labels that a backbone is pretrained with."""

from __future__ import annotations

import torch
from torch import Tensor

from course.exercises.base import Case, Exercise, Mistake, seeded


def cross_entropy_reference(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the batch of -log p(label).

    Args:
        logits: (N, classes).
        labels: (N,) class indices.
    """
    log_probabilities = logits - torch.logsumexp(logits, dim=1, keepdim=True)
    chosen = log_probabilities[torch.arange(len(labels)), labels]
    return -chosen.mean()


def _summed(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy_reference(logits, labels) * len(labels)


def _sign_lost(logits: Tensor, labels: Tensor) -> Tensor:
    return -cross_entropy_reference(logits, labels)


def _no_log(logits: Tensor, labels: Tensor) -> Tensor:
    probabilities = torch.softmax(logits, dim=1)
    return -probabilities[torch.arange(len(labels)), labels].mean()


def _over_the_batch(logits: Tensor, labels: Tensor) -> Tensor:
    wrong = torch.log_softmax(logits, dim=0)
    return -wrong[torch.arange(len(labels)), labels].mean()


def _overflowing(logits: Tensor, labels: Tensor) -> Tensor:
    exponentials = logits.exp()
    probabilities = exponentials / exponentials.sum(dim=1, keepdim=True)
    return -probabilities[torch.arange(len(labels)), labels].log().mean()


def _cross_entropy_cases() -> list[Case]:
    cases = []
    for seed, (count, classes) in enumerate([(4, 3), (6, 10), (3, 30)]):
        logits = 2 * torch.randn(count, classes, generator=seeded(seed))
        labels = torch.randint(0, classes, (count,), generator=seeded(seed))
        shown = f"cross_entropy(logits ({count}, {classes}), labels)"
        cases.append(Case((logits, labels), shown))
    large = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    cases.append(
        Case((large, torch.tensor([0, 1])), "cross_entropy(logits of 1000, labels)")
    )
    return cases


cross_entropy = Exercise(
    name="cross_entropy",
    title="Cross-entropy by hand",
    minutes=8,
    difficulty="medium",
    trains="the loss of supervised pretraining",
    hints=(
        "It is the mean of -log p, where p is the probability of the true class.",
        "log p = logit of the class minus log of the sum of all exponentials.",
        "torch.logsumexp(logits, dim=1, keepdim=True) never overflows; "
        "log_p[torch.arange(len(labels)), labels] picks the true classes.",
    ),
    reference=cross_entropy_reference,
    cases=_cross_entropy_cases,
    mistakes=(
        Mistake(_summed, "That is the sum over the batch: take the mean."),
        Mistake(_sign_lost, "The sign is lost: a loss is minus the log probability."),
        Mistake(_no_log, "The logarithm is missing."),
        Mistake(_over_the_batch, "Normalise over the classes (dim=1), not the images."),
        Mistake(_overflowing, "exp(1000) is infinite: use logsumexp or log_softmax."),
    ),
)


def rotate_batch_reference(images: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each image by 0, 90, 180 and 270 degrees; the turn is the label.

    Args:
        images: (N, C, S, S), square.

    Returns:
        (4N, C, S, S) images, all unturned ones first, and (4N,) labels 0 to 3.
    """
    turned = [torch.rot90(images, turns, dims=(2, 3)) for turns in range(4)]
    labels = torch.arange(4).repeat_interleave(len(images))
    return torch.cat(turned), labels


def _interleaved(images: Tensor) -> tuple[Tensor, Tensor]:
    return rotate_batch_reference(images)[0], torch.arange(4).repeat(len(images))


def _turned_channels(images: Tensor) -> tuple[Tensor, Tensor]:
    turned = [torch.rot90(images, turns, dims=(1, 2)) for turns in (0, 2)]
    both = [turned[0], turned[0], turned[1], turned[1]]
    return torch.cat(both), rotate_batch_reference(images)[1]


def _other_way(images: Tensor) -> tuple[Tensor, Tensor]:
    turned = [torch.rot90(images, -turns, dims=(2, 3)) for turns in range(4)]
    return torch.cat(turned), rotate_batch_reference(images)[1]


def _degrees(images: Tensor) -> tuple[Tensor, Tensor]:
    turned, labels = rotate_batch_reference(images)
    return turned, labels * 90


def _not_turned(images: Tensor) -> tuple[Tensor, Tensor]:
    return images.repeat(4, 1, 1, 1), rotate_batch_reference(images)[1]


def _rotate_cases() -> list[Case]:
    cases = []
    for seed, (count, size) in enumerate([(1, 2), (3, 4), (2, 5)]):
        images = torch.rand(count, 3, size, size, generator=seeded(seed))
        cases.append(
            Case((images,), f"rotate_batch({count} images of {size} by {size})")
        )
    return cases


rotate_batch = Exercise(
    name="rotate_batch",
    title="Labels for free: rotations",
    minutes=8,
    difficulty="medium",
    trains="how self-supervised tasks make their own labels",
    hints=(
        "Each image appears four times; nobody has to label anything.",
        "torch.rot90(images, turns, dims=(2, 3)) turns height into width.",
        "torch.cat four turned batches; torch.arange(4).repeat_interleave(len(images)) "
        "gives 0, 0, …, 1, 1, …",
    ),
    reference=rotate_batch_reference,
    cases=_rotate_cases,
    mistakes=(
        Mistake(
            _interleaved,
            "The labels are 0, 1, 2, 3, 0, …, but the images come turn by turn: "
            "use repeat_interleave.",
        ),
        Mistake(_other_way, "They turn clockwise: rot90 with positive turns is asked."),
        Mistake(_degrees, "A label is a class from 0 to 3, not an angle."),
        Mistake(_not_turned, "The images were repeated but not turned."),
        Mistake(_turned_channels, "Turn height and width, dims (2, 3)."),
    ),
)


def positive_pairs_reference(n: int) -> Tensor:
    """Return for each of 2n views the index of the other view of its image.

    The batch holds the first views of n images, then their second views in the same
    order, as in NT-Xent (Chen and others 2020, arXiv 2002.05709).
    """
    return torch.arange(2 * n).roll(n)


def _itself(n: int) -> Tensor:
    return torch.arange(2 * n)


def _beside(n: int) -> Tensor:
    index = torch.arange(2 * n)
    return index + 1 - 2 * (index % 2)


def _one_half(n: int) -> Tensor:
    return torch.arange(n, 2 * n)


def _out_of_range(n: int) -> Tensor:
    return torch.arange(2 * n) + n


def _mirrored(n: int) -> Tensor:
    return torch.arange(2 * n).flip(0)


positive_pairs = Exercise(
    name="positive_pairs",
    title="Who belongs together in a contrastive batch?",
    minutes=5,
    difficulty="medium",
    trains="the index at the heart of the contrastive loss",
    hints=(
        "View 0 and view n show the same image.",
        "The first half points n places forward, the second half n places back.",
        "(index + n) modulo 2n does both; torch.roll does it without a modulo.",
    ),
    reference=positive_pairs_reference,
    cases=lambda: [Case((n,), f"positive_pairs({n})") for n in (2, 3, 8)],
    mistakes=(
        Mistake(_itself, "Each view points to itself, which teaches nothing."),
        Mistake(
            _beside,
            "That is the order view, view of one image; here all first views come "
            "first.",
        ),
        Mistake(_one_half, "The second views need their partner too: 2n indices."),
        Mistake(_out_of_range, "The second half points beyond the batch: modulo 2n."),
        Mistake(_mirrored, "The second views are in the same order, not mirrored."),
    ),
)

EXERCISES = (cross_entropy, rotate_batch, positive_pairs)
