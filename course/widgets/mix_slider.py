"""The mix slider: between the network before fine-tuning and the one after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from course.widgets.base import PictureSlider


class MixSlider(PictureSlider):
    """Mix the weights of before and after, and see what both tasks say (chapter 06).

    Args:
        pictures: share of the weights after fine-tuning, from 0 to 1, to a picture of
            what the mixed network can do.
        outcome: share to the sentence below the picture.
        start: the share shown first.
    """

    def __init__(
        self,
        pictures: Mapping[float, Any],
        outcome: Mapping[float, str] | None = None,
        start: float | None = None,
    ) -> None:
        super().__init__(
            "Mix slider",
            "Share of after",
            dict(sorted(pictures.items())),
            outcome,
            names=lambda share: f"{share:.0%}",
            start=start,
            tooltip="Mix more of the fine-tuned weights into the pretrained ones",
        )
