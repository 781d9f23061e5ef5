"""Filters forming: the first layer's weights at steps of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from course.widgets.base import PictureSlider


class FiltersForming(PictureSlider):
    """Slide over the steps of a training and see its filters form (chapter 01).

    Args:
        pictures: step to its picture, such as `plots.filters` draws.
        start: the step shown first.
    """

    def __init__(self, pictures: Mapping[int, Any], start: int | None = None) -> None:
        super().__init__(
            "Filters forming",
            "Step",
            pictures,
            start=start,
            tooltip="Move from the first step to the last",
        )
