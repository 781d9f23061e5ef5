"""The feature map: choose a point and see its image among its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from course import plots
from course.errors import CourseError
from course.plots.figure import to_array
from course.widgets.base import Explorer, control, guarded
from course.widgets.feature_canvas import FeatureCanvas

ALL = "all classes"


class FeatureMap(Explorer):
    """Choose a point of a map of features, see its image and neighbours (chapter 02).

    With `points` the map itself is live: a point is chosen by a click, by resting on it
    or with the arrow keys. Menu and slider do the same everywhere. A page without a
    kernel shows map and picture as a still.

    Args:
        draw: from the point's index to its picture: its image, its neighbours; without
            `points` also its place on the map.
        names: the class of each point; the menu chooses among them.
        describe: from the index to the sentence below the picture.
        points: (N, 2) places on the map, or None for no live map.
        classes: the classes in the order of their colours, as `plots.scatter2d` has
            them; None for the order of the alphabet.
        neighbours: (N, k) indices of the nearest others of each point, the nearest
            first; they are marked on the map and named.
        title: what the map is, such as ``"t-SNE"``.

    Raises:
        CourseError: there is no point, or one list has not the length of another.
    """

    def __init__(
        self,
        draw: Callable[[int], Any],
        names: Sequence[str],
        describe: Callable[[int], str] | None = None,
        *,
        points: Any = None,
        classes: Sequence[str] | None = None,
        neighbours: Any = None,
        title: str = "Feature map",
    ) -> None:
        if not len(names):
            raise CourseError("A feature map needs at least one point.")
        self.names = [str(name) for name in names]
        self.classes = list(map(str, classes or sorted(set(self.names))))
        self.neighbours = _rows(neighbours, len(self.names))
        self.points = points
        self.canvas = None
        if points is not None:
            self.canvas = FeatureCanvas(points, self.names, self.classes)
        self._more, self._class = describe, ALL
        super().__init__(
            title,
            _controls(self.names, self.classes),
            lambda shown, point: draw(self.index(shown, point)),
            self._words,
        )
        if self.canvas is not None:
            self.canvas.observe(guarded(self.picture, self._clicked), names="chosen")
            _in_its_own_size(self.picture.image.layout)
            controls, picture = self.children
            self.children = [controls, self.canvas, picture]

    def index(self, shown: str, point: int) -> int:
        """Return the index among all points of the point at a place in a class."""
        return self._members(shown)[point - 1]

    def choose(self, index: int) -> None:
        """Go to a point by its index; where the class hides it, show all classes.

        Raises:
            CourseError: there is no such point.
        """
        if not 0 <= index < len(self.names):
            raise CourseError(
                f"There is no point {index}; expected one from 0 to "
                f"{len(self.names) - 1}."
            )
        if index not in self._members(self.state["shown"]):
            self.controls["shown"].value = ALL
        place = self._members(self.state["shown"]).index(index)
        self.controls["point"].value = place + 1

    def still(self) -> plots.Figure | None:
        """Return the picture of the chosen point, below the map where there is one."""
        figure = super().still()
        if self.canvas is None or figure is None:
            return figure
        labels = [self.classes.index(name) for name in self.names]
        chosen = self.index(**self.state)
        panels = {self.title: self.points}
        on_map = plots.scatter2d(panels, labels, self.classes, highlight=chosen)
        return plots.stacked(on_map, figure)

    def _draw_state(self) -> None:
        if self.state["shown"] != self._class:
            self._enter(self.state["shown"])
        if self.canvas is not None:
            index = self.index(**self.state)
            only = None if self._class == ALL else self._class
            self.canvas.show(index, self.neighbours[index], only)
        super()._draw_state()

    def _enter(self, shown: str) -> None:
        """Let the slider step through this class, from its first point on."""
        self._class, slider = shown, self.controls["point"]
        with slider.hold_trait_notifications():
            slider.max, slider.value = len(self._members(shown)), 1

    def _clicked(self, change: dict[str, Any]) -> None:
        self.choose(change["new"])

    def _words(self, shown: str, point: int) -> str:
        index = self.index(shown, point)
        count = len(self._members(shown))
        near = ", ".join(self.names[i] for i in self.neighbours[index])
        return (
            f"Point {point} of {count} ({shown}), class {self.names[index]}."
            + (f" Its nearest others, the nearest first: {near}." if near else "")
            + (f" {self._more(index)}" if self._more else "")
        )

    def _members(self, shown: str) -> list[int]:
        return [i for i, name in enumerate(self.names) if shown in (ALL, name)]


def _controls(
    names: Sequence[str], classes: Sequence[str]
) -> dict[str, ipywidgets.Widget]:
    menu = control(
        ipywidgets.Dropdown,
        "Class",
        options=[ALL, *(name for name in classes if name in names)],
        tooltip="Show the points of this class only",
    )
    slider = control(
        ipywidgets.IntSlider,
        "Point",
        min=1,
        max=len(names),
        tooltip="Step through the points",
    )
    return {"shown": menu, "point": slider}


def _in_its_own_size(layout: ipywidgets.Layout) -> None:
    # Below a wide map a small picture would be stretched until it blurs.
    layout.align_self, layout.max_width = "flex-start", "calc(100% - 4px)"


def _rows(neighbours: Any, count: int) -> list[list[int]]:
    if neighbours is None:
        return [[] for _ in range(count)]
    rows = to_array(neighbours)
    if rows.ndim != 2 or len(rows) != count or not ((rows >= 0) & (rows < count)).all():
        raise CourseError(
            f"The neighbours of a feature map have shape {rows.shape}; expected "
            f"({count}, k), indices of points, a row for each."
        )
    return rows.tolist()
