"""The corpus explorer: turn each factor of an image and see what changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from course.errors import CourseError, unknown
from course.widgets.base import Explorer, control

KNOBS = {
    "x": ("Left to right", "Where the object stands across"),
    "y": ("Up and down", "Where the object stands in height"),
    "scale": ("Size", "The object's radius as a part of half the canvas"),
    "rotation": ("Rotation", "Degrees, clockwise"),
}


class CorpusExplorer(Explorer):
    """Menus and sliders for every factor of the shapes corpus (chapter 00).

    Args:
        draw: called with the factors by name (shape, fill, colour, background,
            clutter, x, y, scale, rotation); returns a uint8 image or a figure.
        shapes: names to choose from.
        fills: names to choose from.
        colours: names to choose from.
        backgrounds: names to choose from.
        clutter: most distractors.
        shift: lowest and highest x and y, 0 being the middle.
        scale: smallest and largest object.
        start: factor to its first value, where it is not the first or the middle one.
    """

    def __init__(
        self,
        draw: Callable[..., Any],
        *,
        shapes: Sequence[str],
        fills: Sequence[str],
        colours: Sequence[str],
        backgrounds: Sequence[str],
        clutter: int = 3,
        shift: tuple[float, float] = (-0.5, 0.5),
        scale: tuple[float, float] = (0.3, 0.8),
        start: dict[str, Any] | None = None,
    ) -> None:
        menus = {
            "shape": _menu("Shape", shapes),
            "fill": _menu("Fill", fills),
            "colour": _menu("Colour", colours),
            "background": _menu("Background", backgrounds),
        }
        spans = {"x": shift, "y": shift, "scale": scale, "rotation": (-180.0, 180.0)}
        sliders = {name: _slider(name, *span) for name, span in spans.items()}
        number = control(
            ipywidgets.IntSlider,
            "Clutter",
            min=0,
            max=clutter,
            tooltip="How many other small things are in the picture",
        )
        controls = {**menus, "clutter": number, **sliders}
        for name, value in (start or {}).items():
            if name not in controls:
                raise unknown("factor", name, controls)
            controls[name].value = value
        super().__init__("Corpus explorer", controls, draw)


def _menu(label: str, names: Sequence[str]) -> ipywidgets.Dropdown:
    if not names:
        raise CourseError(f"{label}: there is no name to choose from.")
    tip = f"Choose the {label.lower()}"
    return control(ipywidgets.Dropdown, label, options=list(names), tooltip=tip)


def _slider(name: str, low: float, high: float) -> ipywidgets.FloatSlider:
    label, tip = KNOBS[name]
    step = 5.0 if name == "rotation" else (high - low) / 20
    return control(
        ipywidgets.FloatSlider,
        label,
        min=low,
        max=high,
        step=step,
        value=(low + high) / 2,
        readout_format=".0f" if name == "rotation" else ".2f",
        tooltip=tip,
    )
