"""Labelled texts in three parts that cannot be mistaken for one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from course.data.tasks import few_shot_places
from course.errors import CourseError, HeldOutError

KINDS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class TextPart:
    """Labelled texts: the train, validation or test part of a task (chapter 09).

    Args:
        texts: N strings.
        labels: int64, shape (N,), indices into `class_names`.
        class_names: the name of each class.
        kind: ``"train"``, ``"validation"`` or ``"test"``.
        names: where each text is from, N strings; or none at all.

    Raises:
        CourseError: the numbers, labels or the kind do not fit together.
    """

    texts: tuple[str, ...]
    labels: Tensor
    class_names: tuple[str, ...]
    kind: str
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise CourseError(
                f"A part of texts was to be {self.kind!r}; expected one of "
                f"{', '.join(KINDS)}."
            )
        counts = (len(self.texts), *self.labels.shape)
        if len(counts) != 2 or counts[0] != counts[1]:
            raise CourseError(
                f"A {self.kind} part got {len(self.texts)} texts but labels of shape "
                f"{tuple(self.labels.shape)}; expected one label a text."
            )
        if self.names and len(self.names) != len(self.texts):
            raise CourseError(
                f"A {self.kind} part got {len(self.texts)} texts but "
                f"{len(self.names)} names; expected one name a text, or none."
            )
        known = len(self.class_names)
        if len(self) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < (
            known
        ):
            raise CourseError(
                f"Labels run from {int(self.labels.min())} to "
                f"{int(self.labels.max())}, but there are {known} class names; "
                f"expected labels from 0 to {known - 1}."
            )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Tensor | Sequence[int]) -> TextPart:
        """Return the same kind of part with only the texts at `indices`, in order."""
        places = torch.as_tensor(indices, dtype=torch.int64)
        chosen = places.tolist()
        return replace(
            self,
            texts=tuple(self.texts[at] for at in chosen),
            labels=self.labels[places],
            names=tuple(self.names[at] for at in chosen) if self.names else (),
        )


def forbid_test(part: TextPart, action: str) -> None:
    """Raise HeldOutError if `part` is a test part.

    Args:
        part: the texts that somebody wants to use.
        action: what for, as the subject of the sentence: ``"fit"``, ``"a probe"``.
    """
    if part.kind == "test":
        raise HeldOutError(
            f"The test part was given to {action}, which would spoil every figure "
            "reported on it. Use task.train to learn and task.validation to choose; "
            "task.test is for the last figure alone."
        )


@dataclass(frozen=True, eq=False)
class TextTask:
    """One labelling problem of texts: a name and its three parts (chapter 09).

    Raises:
        CourseError: a part stands in the wrong place or names other classes.
    """

    name: str
    train: TextPart
    validation: TextPart
    test: TextPart

    def __post_init__(self) -> None:
        for place in KINDS:
            part = getattr(self, place)
            if part.kind != place:
                raise CourseError(
                    f"Task {self.name!r} was given a {part.kind} part as its {place} "
                    f"part; expected a part of kind {place!r}."
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

    def few_shot(self, per_class: int, seed: int) -> TextTask:
        """Return the task with a balanced few-shot split to train on (chapter 09).

        Args:
            per_class: labelled texts a class.
            seed: which subset; the same seed gives the same texts.

        Raises:
            CourseError: a class has fewer texts than asked for.
        """
        of = f"training texts of task {self.name!r}"
        places = few_shot_places(self.train, per_class, seed, of)
        return replace(self, train=self.train.take(places))
