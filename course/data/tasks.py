"""Tasks: labelled images in three parts that cannot be mistaken for one another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from course.arguments import kinds_checked
from course.errors import CourseError, HeldOutError


@dataclass(frozen=True, eq=False)
class Part:
    """Labelled images: the train, validation or test part of a task (chapter 00).

    Args:
        images: uint8, shape (N, 3, H, W).
        labels: int64, shape (N,), indices into `class_names`.
        class_names: the name of each class.
        factors: what else is known of each image, name to a tensor of N values.
        masks: bool (N, H, W), the pixels of the object, where known.
        boxes: float32 (N, 4), left, top, right, bottom in pixels, where known.

    Raises:
        CourseError: shapes, types or labels do not fit together.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Tensor | None = None
    boxes: Tensor | None = None

    kind = "part"

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise CourseError(
                f"A {self.kind} part got images of type {images.dtype} and shape "
                f"{tuple(images.shape)}; expected uint8 (N, 3, height, width)."
            )
        if labels.shape != images.shape[:1]:
            raise CourseError(
                f"A {self.kind} part got {len(images)} images but labels of shape "
                f"{tuple(labels.shape)}; expected one label an image."
            )
        known = len(self.class_names)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < known:
            raise CourseError(
                f"Labels run from {int(labels.min())} to {int(labels.max())}, but "
                f"there are {known} class names; expected labels from 0 to "
                f"{known - 1}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Self:
        """Return the same kind of part with only the images at `indices` (int64)."""
        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            factors={name: values[indices] for name, values in self.factors.items()},
            masks=None if self.masks is None else self.masks[indices],
            boxes=None if self.boxes is None else self.boxes[indices],
        )

    def fingerprint(self) -> str:
        """Return a hash of kind, images and labels: the key of cached features."""
        digest = hashlib.sha256()
        digest.update(str((self.kind, tuple(self.images.shape))).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


class TrainPart(Part):
    """Images to learn from."""

    kind = "train"


class ValidationPart(Part):
    """Images to choose with: learning rates, layers, strategies."""

    kind = "validation"


class TestPart(Part):
    """Images to report on, once everything has been chosen."""

    kind = "test"
    __test__ = False  # not a test class, whatever pytest makes of the name


def forbid_test(part: Part, action: str) -> None:
    """Raise HeldOutError if `part` is a test part.

    Args:
        part: the images that somebody wants to use.
        action: what for, as the subject of the sentence: ``"fit"``, ``"a probe"``.
    """
    if isinstance(part, TestPart):
        raise HeldOutError(
            f"The test part was given to {action}, which would spoil every figure "
            "reported on it. Use task.train to learn and task.validation to choose; "
            "task.test is for evaluate alone."
        )


@dataclass(frozen=True, eq=False)
class Task:
    """One labelling problem: a name and its three parts (chapter 00).

    Raises:
        CourseError: a part stands in the wrong place or names other classes.
    """

    name: str
    train: TrainPart
    validation: ValidationPart
    test: TestPart

    def __post_init__(self) -> None:
        expected = {"train": TrainPart, "validation": ValidationPart, "test": TestPart}
        for place, kind in expected.items():
            part = getattr(self, place)
            if not isinstance(part, kind):
                raise CourseError(
                    f"Task {self.name!r} was given a {type(part).__name__} as its "
                    f"{place} part; expected a {kind.__name__}."
                )
            if part.class_names != self.train.class_names:
                raise CourseError(
                    f"The {place} part of task {self.name!r} names other classes than "
                    "its train part; expected the same names in the same order."
                )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the labels."""
        return self.train.class_names

    @kinds_checked
    def few_shot(self, per_class: int, seed: int) -> Task:
        """Return the task with a balanced few-shot split to train on (chapter 02).

        Args:
            per_class: labelled images a class.
            seed: which subset; the same seed gives the same images.

        Raises:
            CourseError: a class has fewer images than asked for.
        """
        of = f"training images of task {self.name!r}"
        places = few_shot_places(self.train, per_class, seed, of)
        return replace(self, train=self.train.take(places))


class Labelled(Protocol):
    """Examples with labels, of images or of texts."""

    @property
    def labels(self) -> Tensor:
        """int64, shape (N,), indices into `class_names`."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class."""


def few_shot_places(part: Labelled, per_class: int, seed: int, of: str) -> Tensor:
    """Return which examples a balanced few-shot split has, int64 (N,) (chapter 02).

    Args:
        part: where they are drawn from.
        per_class: examples a class.
        seed: which subset; the same seed gives the same examples.
        of: what the examples are, for the message.

    Raises:
        CourseError: a class has fewer examples than asked for.
    """
    generator = np.random.default_rng([max(per_class, 0), seed])
    chosen = []
    for label, name in enumerate(part.class_names):
        places = torch.nonzero(part.labels == label).flatten()
        if not 1 <= per_class <= len(places):
            raise CourseError(
                f"A few-shot split of {per_class} a class was asked for, and there are "
                f"{len(places)} {of} in class {name!r}; expected 1 to {len(places)}."
            )
        order = torch.from_numpy(generator.permutation(len(places)))
        chosen.append(places[order[:per_class]])
    return torch.cat(chosen)
