"""The canvas of the feature map: it draws points and says which one was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from course.errors import CourseError
from course.plots.figure import colour, listed, marker, to_array

STYLE = """
.course-map { color: var(--jp-content-font-color1, #222); width: 100%;
  --paper: var(--jp-layout-color0, white); }
.course-map canvas:first-child { display: block; width: 100%; box-sizing: border-box;
  touch-action: manipulation; }
.course-map > canvas { border: 1px solid var(--jp-border-color1, #bdbdbd); }
.course-map > canvas:focus-visible { outline: 3px solid var(--jp-brand-color1, #0072b2);
  outline-offset: -3px; }
.course-map-legend { display: flex; flex-wrap: wrap; gap: 2px 14px; padding: 4px 2px;
  font-size: 13px; }
.course-map-legend span { display: inline-flex; align-items: center; gap: 4px; }
.course-map-legend canvas { flex: none; }
"""
HOW = "Arrow keys step to the nearest point in their direction."


class FeatureCanvas(anywidget.AnyWidget):
    """Points in two dimensions, a colour and a marker for each class (chapter 02).

    Everything that it draws is a trait; `chosen` is the only one that the page sets.

    Args:
        points: (N, 2) places, in any unit.
        names: the class of each point.
        classes: every class, in the order of the colours.

    Raises:
        CourseError: a point is missing or no number, or a name is not among `classes`.
    """

    _esm = Path(__file__).with_name("feature_map.js").read_text("utf-8")
    _css = STYLE

    points = traitlets.List(traitlets.Float()).tag(sync=True)
    kinds = traitlets.List(traitlets.Int()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode()).tag(sync=True)
    markers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shown = traitlets.Int(-1).tag(sync=True)  # a class, or -1 for all
    chosen = traitlets.Int(0).tag(sync=True)
    linked = traitlets.List(traitlets.Int()).tag(sync=True)  # its neighbours
    label = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self, points: Any, names: Sequence[str], classes: Sequence[str]
    ) -> None:
        missing = sorted(set(names) - set(classes))
        if missing:
            raise CourseError(
                f"The classes of a feature map do not name {listed(missing)}; expected "
                "the class of every point among them."
            )
        places = range(len(classes))
        super().__init__(
            points=in_unit_square(points, len(names)).round(4).ravel().tolist(),
            kinds=[list(classes).index(name) for name in names],
            classes=[str(name) for name in classes],
            colours=[colour(place) for place in places],
            markers=[marker(place) for place in places],
        )

    def show(self, chosen: int, linked: Sequence[int], shown: str | None) -> None:
        """Ring a point and its neighbours, and say so.

        Args:
            chosen: the index of the point.
            linked: the indices of its neighbours.
            shown: the only class that can be chosen, or None for all.
        """
        with self.hold_sync():
            self.chosen, self.linked = int(chosen), [int(i) for i in linked]
            self.shown = -1 if shown is None else self.classes.index(shown)
            self.label = self._sentence(shown)

    def _sentence(self, shown: str | None) -> str:
        name = self._name(self.chosen)
        near = listed([self._name(i) for i in self.linked])
        return (
            f"Map of {len(self.kinds)} points of {len(self.classes)} classes"
            + (f", {shown} alone in full colour" if shown else "")
            + f". Chosen: point {self.chosen + 1}, {name}"
            + (f", with lines to its neighbours: {near}. " if near else ". ")
            + HOW
        )

    def _name(self, index: int) -> str:
        return self.classes[self.kinds[index]]


def in_unit_square(points: Any, count: int) -> np.ndarray:
    """Return points (count, 2) moved and scaled so that each direction fills 0 to 1.

    Raises:
        CourseError: another shape, or values that are not finite numbers.
    """
    values = to_array(points).astype(float)
    if values.shape != (count, 2) or not np.isfinite(values).all():
        raise CourseError(
            f"The points of a feature map have shape {values.shape}; expected "
            f"({count}, 2), finite numbers, a point for each name."
        )
    low, span = values.min(axis=0), np.ptp(values, axis=0)
    return (values - low) / np.where(span > 0, span, 1.0)
