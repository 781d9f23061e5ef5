"""The target dial: from a target near the source to one far from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from course.widgets.base import PictureSlider


class TargetDial(PictureSlider):
    """Turn from a near target to a far one and see what the source gains (chapter 06).

    Args:
        pictures: target, from near to far, to a picture of what it asks and what came
            out.
        outcome: target to the sentence below the picture.
        start: the target shown first.
    """

    def __init__(
        self,
        pictures: Mapping[str, Any],
        outcome: Mapping[str, str] | None = None,
        start: str | None = None,
    ) -> None:
        super().__init__(
            "Target dial",
            "Target",
            pictures,
            outcome,
            start=start,
            tooltip="Turn from the nearest target to the farthest",
        )
