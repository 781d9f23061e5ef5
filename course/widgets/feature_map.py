"""The feature map: choose a point and see its image among its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from course.errors import CourseError
from course.widgets.base import Explorer, control

ALL = "all classes"


class FeatureMap(Explorer):
    """Step through the points of a map of features (chapter 02).

    Args:
        draw: from the point's index to its picture: its place on the map, its image,
            its neighbours.
        names: the class of each point; the menu chooses among them.
        describe: from the index to the sentence below the picture.
    """

    def __init__(
        self,
        draw: Callable[[int], Any],
        names: Sequence[str],
        describe: Callable[[int], str] | None = None,
    ) -> None:
        if not len(names):
            raise CourseError("A feature map needs at least one point.")
        self.names = [str(name) for name in names]
        classes = [ALL, *sorted(set(self.names))]
        tip = "Show the points of this class only"
        menu = control(ipywidgets.Dropdown, "Class", options=classes, tooltip=tip)
        slider = control(
            ipywidgets.IntSlider,
            "Point",
            min=1,
            max=len(self.names),
            tooltip="Step through the points",
        )
        menu.observe(self._choose_class, names="value")
        self._more = describe
        super().__init__(
            "Feature map",
            {"shown": menu, "point": slider},
            lambda shown, point: draw(self.index(shown, point)),
            self._words,
        )

    def index(self, shown: str, point: int) -> int:
        """Return the index among all points of the point at a place in a class."""
        return self._members(shown)[point - 1]

    def _words(self, shown: str, point: int) -> str:
        index = self.index(shown, point)
        count = len(self._members(shown))
        more = f" {self._more(index)}" if self._more else ""
        return f"Point {point} of {count} ({shown}), class {self.names[index]}.{more}"

    def _members(self, shown: str) -> list[int]:
        return [i for i, name in enumerate(self.names) if shown in (ALL, name)]

    def _choose_class(self, change: dict[str, Any]) -> None:
        # Runs before the picture is drawn, so the slider's value is always a member.
        slider = self.controls["point"]
        with slider.hold_trait_notifications():
            slider.max = len(self._members(change["new"]))
            slider.value = 1
