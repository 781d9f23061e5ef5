"""The floor dial: what a step has to do, and how fast that could go at best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from course.errors import CourseError, unknown
from course.widgets.base import Explorer, control


class FloorDial(Explorer):
    """Choose network, batch and format, and see what bounds a step (chapter 12).

    Args:
        networks: names to choose from.
        batches: images a step, from few to many.
        kinds: formats of the numbers, such as ``"float32"`` and ``"bfloat16"``.
        draw: called with network, batch and kind by name; returns a `plots.Figure`.
        describe: from the same to the sentence below the picture; left out, the
            picture's own description stands there.
        start: network, batch or kind to its first value, where that is not the first
            of its list.

    Raises:
        CourseError: a list is empty, or `start` names what is in none.
    """

    def __init__(
        self,
        networks: Sequence[str],
        batches: Sequence[int],
        kinds: Sequence[str],
        draw: Callable[..., Any],
        describe: Callable[..., str] | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        menu, slider = ipywidgets.Dropdown, ipywidgets.SelectionSlider
        controls = {
            "network": _choice(menu, "Network", networks, "Choose what is trained"),
            "batch": _choice(
                slider, "Images a step", batches, "Turn from a small batch to a large"
            ),
            "kind": _choice(menu, "Numbers", kinds, "Choose the format of the numbers"),
        }
        for name, value in (start or {}).items():
            _set(controls, name, value)
        super().__init__("Floor dial", controls, draw, describe)


def _choice(
    kind: type[ipywidgets.Widget], label: str, values: Sequence[Any], tooltip: str
) -> Any:
    options = [(_said(value), value) for value in values]
    if not options:
        raise CourseError(
            f"Floor dial: there is nothing to choose from under {label!r}; expected "
            "one value or more."
        )
    first = options[0][1]
    return control(kind, label, options=options, value=first, tooltip=tooltip)


def _said(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _set(controls: Mapping[str, Any], name: str, value: Any) -> None:
    if name not in controls:
        raise unknown("control of the floor dial", name, controls)
    known = [value for _, value in controls[name].options]
    if value not in known:
        raise unknown(name, value, map(str, known))
    controls[name].value = value
