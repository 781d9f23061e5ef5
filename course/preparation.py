"""What happens to a photograph before a network sees it, and five ways to get it wrong.

Each way is a function from an RGB photograph and a model of the zoo to the batch that
the network is given (chapter 10). No error appears with any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from course.models import Model

if TYPE_CHECKING:
    from PIL.Image import Image

Prepare = Callable[["Image", Model], Tensor]
TABLE = Path(__file__).parent / "tables" / "preprocessing.json"
"""What each slip cost on photographs of ImageNet, recorded once."""


def as_trained(photo: Image, model: Model) -> Tensor:
    """Return the batch (1, 3, S, S) that the model was trained on."""
    return model.preprocess(photo)


def scale_of(model: Model) -> tuple[Tensor, Tensor]:
    """Return mean and std (3, 1, 1) that a model's preprocessing takes out."""
    step = next(m for m in model.preprocess.modules() if hasattr(m, "std"))
    return torch.tensor(step.mean)[:, None, None], torch.tensor(step.std)[:, None, None]


def not_normalised(photo: Image, model: Model) -> Tensor:
    """Leave the numbers as they are between 0 and 1."""
    mean, std = scale_of(model)
    return model.preprocess(photo) * std + mean


def blue_for_red(photo: Image, model: Model) -> Tensor:
    """Hand over the channels as OpenCV reads them: blue, green, red."""
    mean, std = scale_of(model)
    plain = model.preprocess(photo) * std + mean
    return (plain.flip(1) - mean) / std


def up_to_255(photo: Image, model: Model) -> Tensor:
    """Forget to divide by 255, and normalise all the same."""
    mean, std = scale_of(model)
    plain = model.preprocess(photo) * std + mean
    return (plain * 255 - mean) / std


def squeezed(photo: Image, model: Model) -> Tensor:
    """Resize both sides to the size at once, so that all is squeezed, nothing cut."""
    side = model.preprocess(photo).shape[-1]
    return model.preprocess(functional.resize(photo, [side, side]))


def half_the_size(photo: Image, model: Model) -> Tensor:
    """Halve both sides of the batch: a convolutional network takes it all the same."""
    ready = model.preprocess(photo)
    return functional.resize(ready, [ready.shape[-1] // 2] * 2, antialias=True)


SLIPS: dict[str, Prepare] = {
    "as trained": as_trained,
    "not normalised": not_normalised,
    "blue for red": blue_for_red,
    "0 to 255": up_to_255,
    "squeezed, not cropped": squeezed,
    "half the size": half_the_size,
}
