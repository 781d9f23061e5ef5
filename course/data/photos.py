"""The two photographs that come with scikit-learn, for a first prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from course.arguments import kinds_checked
from course.errors import CourseError, unknown

if TYPE_CHECKING:
    from PIL import Image

NAMES = ("china", "flower")


@kinds_checked
def load(name: str) -> Image.Image:
    """Return a photograph at its own size, 640 x 427, in RGB (chapter 00).

    Args:
        name: ``"china"``, a temple; or ``"flower"``, a dahlia.

    Raises:
        CourseError: there is no photograph of that name.
    """
    if name not in NAMES:
        raise unknown("photograph", name, NAMES)
    from PIL import Image
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image(f"{name}.jpg")).convert("RGB")


@kinds_checked
def framed(name: str, size: int = 64) -> Tensor:
    """Return the square centre of a photograph, uint8 (3, size, size).

    Args:
        name: one of `NAMES`.
        size: pixels a side; the resize is antialiased (Lanczos).

    Raises:
        CourseError: the name is unknown, or `size` is below 1.
    """
    if size < 1:
        raise CourseError(
            f"A photograph was asked for at size {size}; expected 1 pixel a side or "
            "more, such as 64, the size of the course's models."
        )
    from PIL import Image

    photo = load(name)
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    small = photo.resize(
        (size, size), Image.Resampling.LANCZOS, (left, top, left + side, top + side)
    )
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous()
