"""One picture, what a model takes it for, and where it found the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from course import explain
from course.errors import CourseError
from course.models import Model

if TYPE_CHECKING:
    from PIL.Image import Image


class Likely(NamedTuple):
    """One of the likeliest classes: its place among the logits, name, probability."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True)
class Evidence:
    """Where the evidence for a class is, or why that cannot be told.

    Args:
        heat: float32 (h, w), as `explain.grad_cam` gives it; None without a map.
        why: a sentence where there is no map, else "".
    """

    heat: Tensor | None
    why: str = ""


def likeliest(model: Model, image: Image | Tensor, top: int = 5) -> list[Likely]:
    """Return the likeliest classes of one picture with their places (chapter 00).

    Two classes of ImageNet share a name, so a name alone does not say which.

    Raises:
        CourseError: the model has no head, or the picture cannot be read.
    """
    logits = model.logits(image)
    if not model.class_names or len(logits) != 1:
        model.predict(image)  # says what is wrong
    values, indices = logits.softmax(dim=1)[0].topk(min(top, logits.shape[1]))
    return [
        Likely(index, model.class_names[index], value)
        for index, value in zip(indices.tolist(), values.tolist(), strict=True)
    ]


def evidence(model: Model, image: Image | Tensor, index: int) -> Evidence:
    """Return where the evidence for a class is in what a model sees of a picture.

    It is Grad-CAM at the last convolutional map (chapter 04). A model without such a
    map, as a vision transformer, is no error: the answer says so.

    Args:
        model: has a head.
        image: PIL image, or uint8 (3, H, W).
        index: of the class among the logits.
    """
    try:
        return Evidence(explain.grad_cam(model, image, index)[0])
    except CourseError as error:
        return Evidence(None, str(error))
