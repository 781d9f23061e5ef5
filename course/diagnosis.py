"""Error analysis: which classes are confused, and which images are most wrong.

Chapter 10 uses it on validation data, where looking is free: what you change after it
is a choice, and choices are made there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from scipy import stats
from torch import Tensor

from course.arguments import kinds_checked
from course.errors import CourseError

LEVEL = 0.9  # of the intervals, as in `evidence`


class Share(NamedTuple):
    """A share of `n` images, and the interval in which the true one may lie."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """As a sentence has it: 0.92 (0.86 to 0.96)."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class ClassScore:
    """How one class fares: how many of its images are right."""

    name: str
    right: int
    share: Share

    def row(self) -> dict[str, Any]:
        """Return a row of a table."""
        n = self.share.n
        # No-break spaces: an interval is one thing on a telephone too.
        ends = f"{self.share.low:.2f} to {self.share.high:.2f}".replace(" ", "\xa0")
        return {
            "class": self.name,
            "images": n,
            "right": self.right,
            "accuracy": f"{self.share.value:.2f}" if n else "–",
            f"{LEVEL:.0%} interval": ends if n else "–",
        }


@dataclass(frozen=True)
class Confused:
    """Images of one class that were taken for another.

    Args:
        true: the name of their class.
        predicted: the name of what they were taken for.
        count: how many.
        share: of all images of their class.
    """

    true: str
    predicted: str
    count: int
    share: float

    def row(self) -> dict[str, Any]:
        """Return a row of a table."""
        share = f"{self.share:.0%} of {self.true}"
        return {
            "true class": self.true,
            "taken for": self.predicted,
            "images": self.count,
            "share": share,
        }


@dataclass(frozen=True)
class Wrong:
    """An image that was taken for something else.

    Args:
        index: its place in the part.
        true: its label.
        predicted: the class it was given.
        probability: of the class it was given.
        of_true: the probability that its true class was left with.
    """

    index: int
    true: int
    predicted: int
    probability: float
    of_true: float


@kinds_checked
def share(right: int, n: int, level: float = LEVEL) -> Share:
    """Return the share of images that are right, with its Wilson interval.

    It stays within 0 and 1 and is not empty where all are right (Wilson 1927). The
    images must be independent: crops of one photograph are not.

    Args:
        right: how many.
        n: of how many; of none, nothing is known.
        level: how often such an interval holds the true share.

    Raises:
        CourseError: these are no counts.
    """
    if not 0 < level < 1:
        raise CourseError(
            f"A level of {level} was asked for; expected 0 to 1, such as .9."
        )
    if not 0 <= right <= n:
        raise CourseError(
            f"{right} right of {n} images were given; expected from 0 to {n} of them."
        )
    if not n:
        return Share(float("nan"), 0.0, 1.0, 0)
    ends = stats.binomtest(right, n).proportion_ci(level, method="wilson")
    return Share(right / n, float(ends.low), float(ends.high), n)


@kinds_checked
def confusion(labels: Tensor, predicted: Tensor, count: int) -> Tensor:
    """Return how many images of each class (row) were given each class (column).

    Args:
        labels: int64 (N,), the true classes.
        predicted: int64 (N,), such as `training.evaluate(…).predictions`.
        count: of classes.

    Returns:
        int64 (count, count).

    Raises:
        CourseError: lengths differ, or a class is not from 0 to count - 1.
    """
    true, given = (torch.as_tensor(v).cpu() for v in (labels, predicted))
    if true.ndim != 1 or true.shape != given.shape:
        raise CourseError(
            f"Labels came with shape {tuple(true.shape)} and predictions with "
            f"{tuple(given.shape)}; expected one of each an image, (N,)."
        )
    for name, values in (("labels", true), ("predictions", given)):
        _check_classes(name, values, count)
    cells = torch.bincount(true.long() * count + given.long(), minlength=count**2)
    return cells.reshape(count, count)


def _check_classes(name: str, values: Tensor, count: int) -> None:
    if values.is_floating_point():
        raise CourseError(
            f"The {name} came as {values.dtype}; expected whole numbers, the classes."
        )
    if len(values) and not 0 <= int(values.min()) <= int(values.max()) < count:
        raise CourseError(
            f"The {name} run from {int(values.min())} to {int(values.max())}; expected "
            f"classes from 0 to {count - 1}."
        )


@kinds_checked
def per_class(matrix: Tensor, names: Sequence[str]) -> list[ClassScore]:
    """Return how each class fares, in the order of the names.

    Args:
        matrix: from `confusion`.
        names: of the classes.
    """
    counts = _square(matrix, names)
    right, n = counts.diagonal().tolist(), counts.sum(dim=1).tolist()
    return [
        ClassScore(name, good, share(good, total))
        for name, good, total in zip(names, right, n, strict=True)
    ]


@kinds_checked
def most_confused(
    matrix: Tensor, names: Sequence[str], most: int = 5
) -> list[Confused]:
    """Return the pairs of classes that are confused most, the commonest first.

    Args:
        matrix: from `confusion`.
        names: of the classes.
        most: pairs at most; a pair that never occurs is none.
    """
    counts = _square(matrix, names)
    totals = counts.sum(dim=1).tolist()
    pairs = [
        Confused(names[i], names[j], int(counts[i, j]), int(counts[i, j]) / totals[i])
        for i, j in counts.nonzero().tolist()
        if i != j
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:most]


def _square(matrix: Any, names: Sequence[str]) -> Tensor:
    counts = torch.as_tensor(matrix)
    if counts.shape != (len(names), len(names)) or counts.is_floating_point():
        raise CourseError(
            f"A confusion matrix came as {counts.dtype} of shape "
            f"{tuple(counts.shape)}; expected counts ({len(names)}, {len(names)}), a "
            "row and a column for each class."
        )
    return counts


@kinds_checked
def most_wrong(probabilities: Tensor, labels: Tensor, most: int = 6) -> list[Wrong]:
    """Return the images of which the network was surest and wrong, the worst first.

    Args:
        probabilities: (N, classes).
        labels: int64 (N,), the true classes.
        most: images at most.

    Raises:
        CourseError: lengths differ, a label has no probability, or one is NaN.
    """
    p, true = torch.as_tensor(probabilities).cpu(), torch.as_tensor(labels).cpu()
    if p.ndim != 2 or true.shape != p.shape[:1]:
        raise CourseError(
            f"Probabilities came with shape {tuple(p.shape)} and labels with "
            f"{tuple(true.shape)}; expected (N, classes) and (N,)."
        )
    _check_classes("labels", true, p.shape[1])
    if not len(p):
        return []
    if p.isnan().any():
        raise CourseError("A probability is not a number; the network is broken.")
    sure, given = p.max(dim=1)
    wrong = (given != true).nonzero().flatten()
    # A stable order: of two that are equally sure, the first one stays first.
    order = wrong[sure[wrong].argsort(descending=True, stable=True)][:most]
    return [
        Wrong(i, int(true[i]), int(given[i]), float(sure[i]), float(p[i, true[i]]))
        for i in order.tolist()
    ]


@kinds_checked
def in_words(matrix: Tensor, names: Sequence[str], most: int = 3) -> str:
    """Say in a sentence or two how many are right, and what is confused most.

    Args:
        matrix: from `confusion`.
        names: of the classes.
        most: pairs that are named.
    """
    counts = _square(matrix, names)
    n, right = int(counts.sum()), int(counts.diagonal().sum())
    if not n:
        return "There are no images."
    start = f"{right} of {n} images are right: {share(right, n)}."
    pairs = most_confused(counts, names, most)
    if not pairs:
        return start
    said = ", ".join(f"{p.true} for {p.predicted} ({p.count})" for p in pairs)
    return f"{start} Most often taken for another: {said}."
