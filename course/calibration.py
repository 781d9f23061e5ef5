"""Calibration: are a classifier's probabilities what they say (chapter 10)?

A network that says 0.9 should be right nine times in ten. One number, the temperature,
found on validation data, mends most of what fine-tuning does to that
(Guo et al. 2017, arXiv 1706.04599).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from course.arguments import kinds_checked
from course.data.tasks import Part, forbid_test
from course.errors import CourseError

COLDEST, HOTTEST = 0.01, 100.0  # temperatures between which the best one is looked for
TINY = torch.finfo(torch.float32).tiny  # what a probability of zero counts as in `nll`
LOOSE = 1e-3  # how far a row of probabilities may be from adding up to one


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often a classifier is right, by how sure it is: one entry a bin.

    Args:
        edges: float64 (bins + 1,), from 0 to 1; a bin holds its upper edge.
        counts: int64 (bins,), images.
        confidence: float64 (bins,), their mean largest probability; NaN without images.
        accuracy: float64 (bins,), the share that is right; NaN without images.
    """

    edges: Tensor
    counts: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap, weighted by images."""
        gaps = (self.confidence - self.accuracy).abs().nan_to_num(0.0)
        return float((gaps * self.counts).sum() / self.counts.sum())

    @property
    def too_sure(self) -> float:
        """Mean confidence less accuracy: above zero where it promises too much."""
        gaps = (self.confidence - self.accuracy).nan_to_num(0.0)
        return float((gaps * self.counts).sum() / self.counts.sum())


@kinds_checked
def temperature(logits: Tensor, labels: Part | Tensor) -> float:
    """Return the number that logits are divided by to make honest probabilities.

    It minimises the mean of ``-log softmax(logits / T)[label]``, which has a single
    minimum, and changes no answer: dividing keeps the largest logit the largest.

    Args:
        logits: (N, classes) of validation images, as `Model.logits` returns them.
        labels: the validation part that they belong to, which is checked not to be a
            test part, or its labels alone, int64 (N,).

    Returns:
        From `COLDEST` to `HOTTEST`; above 1 where the network was too sure. Exactly 1
        where no answer is wrong: nothing then says how much doubt would be right.

    Raises:
        HeldOutError: a test part was given.
        CourseError: there is no image, a logit is not finite, or shapes differ.
    """
    if isinstance(labels, Part):
        forbid_test(labels, "the choice of a temperature")
    z, y = _checked("logits", logits, labels)
    if bool((_own(z, y) >= z.amax(dim=1)).all()):
        return 1.0

    def loss(log_t: float) -> float:
        return F.cross_entropy(z / math.exp(log_t), y).item()

    ends = (math.log(COLDEST), math.log(HOTTEST))
    found = minimize_scalar(
        loss, bounds=ends, method="bounded", options={"xatol": 1e-6}
    )
    return math.exp(found.x)


@kinds_checked
def calibrated(logits: Tensor, temperature: float) -> Tensor:
    """Return probabilities, float32 (N, classes): softmax of ``logits / temperature``.

    Args:
        logits: (N, classes).
        temperature: above 0; 1 is the usual softmax.

    Raises:
        CourseError: the temperature or a logit cannot be used.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise CourseError(
            f"A temperature of {temperature} was given; expected a number above 0, "
            "such as calibration.temperature finds on validation data."
        )
    return (_matrix("logits", logits) / float(temperature)).softmax(dim=1).float()


@kinds_checked
def said(temperature: float) -> str:
    """Say in a sentence what a temperature means."""
    if temperature == 1:
        return "T = 1: the probabilities stay as they are."
    if temperature > 0.99 * HOTTEST:
        return (
            f"T = {temperature:.0f}, as far as was looked: on these images the network "
            "knows no more than chance, whatever it says."
        )
    how = "too sure of itself" if temperature > 1 else "too modest"
    flow = "towards one another" if temperature > 1 else "apart"
    return (
        f"T = {temperature:.2f}: the network was {how}, and its probabilities move "
        f"{flow}."
    )


@kinds_checked
def reliability(
    probabilities: Tensor, labels: Part | Tensor, bins: int = 15
) -> Reliability:
    """Sort images by how sure the network is, and count who is right in each bin.

    Args:
        probabilities: (N, classes).
        labels: a part, or its labels, int64 (N,).
        bins: of equal width, from 0 to 1.

    Raises:
        CourseError: there is no image or no bin, or these are no probabilities.
    """
    p, y = _probabilities(probabilities, labels)
    if bins < 1:
        raise CourseError(f"{bins} bins were asked for; expected 1 or more.")
    sure, given = p.max(dim=1)
    right = (given == y).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = (torch.bucketize(sure, edges) - 1).clamp(0, bins - 1)
    counts = torch.bincount(place, minlength=bins)
    sums = (torch.bincount(place, what, minlength=bins) for what in (sure, right))
    confidence, accuracy = (total / counts for total in sums)  # 0 / 0 is NaN
    return Reliability(edges, counts, confidence, accuracy)


@kinds_checked
def expected_calibration_error(
    probabilities: Tensor, labels: Part | Tensor, bins: int = 15
) -> float:
    """Return the mean gap between confidence and accuracy, from 0 to 1.

    Sum over the bins of ``count / N * |accuracy - confidence|``. With few images a
    bin it is above zero even for perfect probabilities.

    Args:
        probabilities: (N, classes).
        labels: a part, or its labels, int64 (N,).
        bins: of equal width.
    """
    return reliability(probabilities, labels, bins).error


@kinds_checked
def nll(probabilities: Tensor, labels: Part | Tensor) -> float:
    """Return the mean of ``-log`` of the probability of the true class, in nats.

    A probability of zero counts as the smallest normal number of float32.

    Args:
        probabilities: (N, classes).
        labels: a part, or its labels, int64 (N,).
    """
    p, y = _probabilities(probabilities, labels)
    return float(-_own(p, y).clamp(min=TINY).log().mean())


@kinds_checked
def brier(probabilities: Tensor, labels: Part | Tensor) -> float:
    """Return the mean squared distance to the truth, summed over classes: 0 to 2.

    Args:
        probabilities: (N, classes).
        labels: a part, or its labels, int64 (N,).
    """
    p, y = _probabilities(probabilities, labels)
    return float((p - F.one_hot(y, p.shape[1])).square().sum(dim=1).mean())


def _own(values: Tensor, labels: Tensor) -> Tensor:
    """Return each row's entry at its label, (N,)."""
    return values.gather(1, labels[:, None])[:, 0]


def _matrix(what: str, values: Any) -> Tensor:
    """Return float64 (N, classes) on the CPU, N and classes at least 1, all finite."""
    matrix = torch.as_tensor(values).detach().cpu().double()
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise CourseError(
            f"The {what} came with shape {tuple(matrix.shape)}; expected (images, "
            "classes), with at least one image and one class."
        )
    bad = int((~matrix.isfinite()).any(dim=1).sum())
    if bad:
        raise CourseError(
            f"{bad} of {len(matrix)} images have {what} that are not finite numbers; "
            "the network's weights may have been lost in training: train it again with "
            "a smaller learning rate."
        )
    return matrix


def _checked(what: str, values: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """Return values as `_matrix` does and labels as int64 (N,), if they fit."""
    matrix = _matrix(what, values)
    y = torch.as_tensor(labels.labels if isinstance(labels, Part) else labels).cpu()
    if y.shape != matrix.shape[:1] or y.is_floating_point():
        raise CourseError(
            f"There are {what} of {len(matrix)} images and labels as {y.dtype} of "
            f"shape {tuple(y.shape)}; expected one whole number an image."
        )
    if y.min() < 0 or y.max() >= matrix.shape[1]:
        raise CourseError(
            f"Labels run from {int(y.min())} to {int(y.max())}, but there are {what} "
            f"of {matrix.shape[1]} classes; expected labels from 0 to "
            f"{matrix.shape[1] - 1}."
        )
    return matrix, y.long()


def _probabilities(values: Any, labels: Part | Tensor) -> tuple[Tensor, Tensor]:
    p, y = _checked("probabilities", values, labels)
    if p.min() < 0 or ((p.sum(dim=1) - 1).abs() > LOOSE).any():
        raise CourseError(
            "Probabilities are expected from 0 to 1, each image's adding up to 1, and "
            "these do not; of logits, take calibration.calibrated(logits, 1.0)."
        )
    return p, y
