"""Real handwriting: the 1,797 scans of digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from course.arguments import kinds_checked
from course.data.tasks import Task, TestPart, TrainPart, ValidationPart
from course.errors import CourseError

CLASSES = tuple("0123456789")
SIZES = {"train": 897, "validation": 300, "test": 600}
LEVELS = 16  # a scan counts the ink in blocks of 4 x 4: from 0 to 16

_SPLIT_SEED = 1797  # of the one split there is: the test part never changes


def enlarge(grey: Tensor, size: int) -> Tensor:
    """Enlarge grey images by bicubic interpolation: how a small scan is shown.

    Args:
        grey: float32 (N, h, w), from 0 (paper) to 1 (ink).
        size: pixels a side of the result.

    Returns:
        float32 (N, size, size); what bicubic interpolation overshoots is cut to 0..1.
    """
    shown = interpolate(
        grey[:, None], size=(size, size), mode="bicubic", align_corners=False
    )
    return shown[:, 0].clamp(0.0, 1.0)


def as_rgb(grey: Tensor) -> Tensor:
    """Turn float (N, S, S) from 0 to 1 into uint8 (N, 3, S, S), channels alike."""
    levels = (grey * 255.0).round().to(torch.uint8)
    return levels[:, None].repeat(1, 3, 1, 1)


@kinds_checked
def load(size: int = 64) -> Task:
    """Return the handwritten digits as a task, ten classes (chapter 00).

    The split is stratified and fixed: 897 scans to train on, 300 for validation, 600
    for the test. The scans are E. Alpaydin and C. Kaynak's "Optical Recognition of
    Handwritten Digits" (UCI, 1998), 8 x 8 pixels of 17 levels, enlarged to `size`.

    Args:
        size: pixels a side, 1 or more.

    Raises:
        CourseError: `size` is below 1.
    """
    if size < 1:
        raise CourseError(
            f"Digits were asked for at size {size}; expected 1 pixel a side or more, "
            "such as 64, the size of the course's models."
        )
    scans, labels = _scans()
    images = as_rgb(enlarge(scans, size))
    parts = {
        place: (images[chosen], labels[chosen], CLASSES)
        for place, chosen in _split(labels).items()
    }
    return Task(
        "digits",
        TrainPart(*parts["train"]),
        ValidationPart(*parts["validation"]),
        TestPart(*parts["test"]),
    )


def _scans() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.from_numpy(digits.images.astype(np.float32)) / LEVELS
    return grey, torch.from_numpy(digits.target.astype(np.int64))


def _split(labels: Tensor) -> dict[str, Tensor]:
    """Deal the scans out so that every stretch of the deal holds all classes alike."""
    generator = np.random.default_rng(_SPLIT_SEED)
    rank = np.empty(len(labels))
    for label in range(len(CLASSES)):
        places = np.flatnonzero(labels.numpy() == label)
        steps = (np.arange(len(places)) + generator.uniform()) / len(places)
        rank[generator.permutation(places)] = steps
    # Sorted by how far through its own class a scan is, any prefix is stratified.
    order = torch.from_numpy(np.argsort(rank, kind="stable"))
    return dict(zip(SIZES, order.split(list(SIZES.values())), strict=True))
