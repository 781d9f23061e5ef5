"""The loss monitor: a training that is watched, and stopped when it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets
from IPython.display import display

from course import plots
from course.widgets.background import WatchedTraining
from course.widgets.base import ROW


class LossMonitor(WatchedTraining):
    """Watch a training as it runs and stop it (chapter 01).

    Args:
        train: called as ``train(after_step=..., stop=...)``, which `training.fit`
            takes; it reports a row with "step" and "loss" after each step and ends
            early once the event `stop` is set.
        title: one line above the curve.
    """

    def __init__(self, train: Callable[..., Any], title: str = "Training") -> None:
        super().__init__(title)
        self._train = train
        row = ipywidgets.Box([self.button], layout=ipywidgets.Layout(**ROW))
        self.children = [row, self.picture]

    def run(self, background: bool = False) -> plots.Figure | LossMonitor:
        """Train, and show the curve as it grows.

        Args:
            background: return at once and train in a thread, so that the Stop button
                works; cells run meanwhile must leave the model alone. Otherwise wait,
                as a run without a reader must; the kernel's own stop button ends the
                training then.

        Returns:
            The monitor itself in the background, the final curve otherwise.

        Raises:
            CourseError: where a training is already running; and, when it waits,
                whatever the training raised.
        """
        self._prepare()
        if background:
            self._start(self._train)
            return self
        return self._wait_here()

    def _wait_here(self) -> plots.Figure:
        # The still would be of an empty plot: show the live view alone, and return the
        # finished curve, which then takes the live picture's place.
        display(self._view(), raw=True)
        self._work(self._train)
        self.picture.image.layout.display = "none"
        if self.error is not None:
            raise self.error
        return self.picture.figure or self._curve()

    def _view(self) -> dict[str, Any]:
        data = ipywidgets.VBox._repr_mimebundle_(self)
        return {**data, "text/plain": self.title}
