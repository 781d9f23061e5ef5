"""The layer slider: what each layer's features look like and how well they serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from course.widgets.base import PictureSlider


class LayerSlider(PictureSlider):
    """Slide over the layers of a network, from edges to objects (chapter 02).

    Args:
        pictures: layer name to its picture, from input to output.
        accuracy: layer name to the accuracy of a probe on it, from 0 to 1.
        task: what the probe was asked, for the sentence below the picture.
        start: the layer shown first.
    """

    def __init__(
        self,
        pictures: Mapping[str, Any],
        accuracy: Mapping[str, float],
        task: str = "the task",
        start: str | None = None,
    ) -> None:
        best = max(accuracy, key=lambda layer: accuracy[layer], default="")
        notes = {
            layer: f"{layer}: probe accuracy {accuracy[layer]:.2f} on {task}"
            + (", the best of these layers." if layer == best else ".")
            for layer in pictures
        }
        super().__init__(
            "Layer slider",
            "Layer",
            pictures,
            notes,
            start=start,
            tooltip="Move from the first layer to the last",
        )
