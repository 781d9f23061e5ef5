"""The learning-rate dial: the same training at rates that were run beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from course.widgets.base import PictureSlider


class LearningRateDial(PictureSlider):
    """Turn the learning rate and see the curves that it gave (chapter 03).

    Args:
        pictures: rate to the picture of its training, such as `plots.curves` draws.
        outcome: rate to the sentence below the picture.
        start: the rate shown first.
    """

    def __init__(
        self,
        pictures: Mapping[float, Any],
        outcome: Mapping[float, str] | None = None,
        start: float | None = None,
    ) -> None:
        super().__init__(
            "Learning-rate dial",
            "Learning rate",
            dict(sorted(pictures.items())),
            outcome,
            names=lambda rate: f"{rate:.3g}",
            start=start,
            tooltip="Turn the learning rate up or down",
        )
