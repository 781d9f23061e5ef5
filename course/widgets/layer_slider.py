"""The layer slider: what each layer sees or knows, and a map over the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from course.errors import CourseError, unknown
from course.widgets.base import Explorer, as_figure, control

TITLE = "Layer slider"


class LayerSlider(Explorer):
    """Slide over the layers of a network, from edges to objects (chapters 02 and 04).

    Args:
        pictures: layer name, from input to output, to its picture; or to a function
            from the overlay's strength (0 to 1), and the choice where there are
            choices, to a picture. It is called while the sliders move, so it may take
            as long as Grad-CAM of one image, and not much longer.
        accuracy: layer name to the accuracy of a probe on it, from 0 to 1.
        task: what the probe was asked, for the sentence below the picture.
        start: the layer shown first.
        notes: layer name to the sentence below the picture, in the place of the
            accuracy; or to a function of the same values as that in `pictures`.
        choices: names of the pictures between which a reader can choose.
        strength: of the overlay at first.
    """

    def __init__(
        self,
        pictures: Mapping[str, Any],
        accuracy: Mapping[str, float] | None = None,
        task: str = "the task",
        start: str | None = None,
        notes: Mapping[str, str | Callable[..., str]] | None = None,
        choices: Sequence[str] = (),
        strength: float = 0.5,
    ) -> None:
        _check(pictures, start, choices)
        layer = control(
            ipywidgets.SelectionSlider,
            "Layer",
            options=list(pictures),
            value=next(iter(pictures)) if start is None else start,
            tooltip="Move from the first layer to the last",
        )
        controls = {"value": layer}
        if _live(pictures):
            controls |= _overlay_controls(choices, strength)
        said = notes or _by_accuracy(accuracy or {}, task)
        super().__init__(
            TITLE,
            controls,
            lambda value, **state: _picture(pictures[value], value, state),
            (lambda value, **state: _note(said[value], state)) if said else None,
        )


def _live(pictures: Mapping[str, Any]) -> bool:
    """Say whether the pictures are drawn while the sliders move."""
    return all(callable(picture) for picture in pictures.values())


def _check(pictures: Mapping[str, Any], start: Any, choices: Sequence[str]) -> None:
    if not pictures:
        raise CourseError(f"{TITLE}: there is no picture to slide over.")
    drawn = [callable(picture) for picture in pictures.values()]
    if any(drawn) and not all(drawn):
        raise CourseError(
            f"{TITLE}: the pictures are either drawn or finished; pass a function for "
            "each layer, or a picture for each."
        )
    if choices and not any(drawn):
        raise CourseError(
            f"{TITLE}: finished pictures leave no choice; for choices, pass a function "
            "of the strength and the choice for each layer."
        )
    if start is not None and start not in pictures:
        raise unknown("layer", start, pictures)


def _overlay_controls(
    choices: Sequence[str], strength: float
) -> dict[str, ipywidgets.Widget]:
    slider = control(
        ipywidgets.FloatSlider,
        "Overlay",
        min=0.0,
        max=1.0,
        step=0.05,
        value=strength,
        tooltip="From the picture alone to the map alone",
    )
    if not choices:
        return {"strength": slider}
    menu = control(
        ipywidgets.Dropdown,
        "Picture",
        options=list(choices),
        tooltip="Choose another picture",
    )
    return {"strength": slider, "choice": menu}


def _picture(picture: Any, layer: str, state: Mapping[str, Any]) -> Any:
    drawn = picture(*state.values()) if callable(picture) else picture
    return as_figure(drawn, f"Layer {layer}.")


def _note(note: str | Callable[..., str], state: Mapping[str, Any]) -> str:
    return note(*state.values()) if callable(note) else note


def _by_accuracy(accuracy: Mapping[str, float], task: str) -> dict[str, str]:
    best = max(accuracy, key=lambda layer: accuracy[layer], default="")
    return {
        layer: f"{layer}: probe accuracy {accuracy[layer]:.2f} on {task}"
        + (", the best of these layers." if layer == best else ".")
        for layer in accuracy
    }
