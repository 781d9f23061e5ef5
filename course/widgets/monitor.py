"""The loss monitor: a training that is watched, and stopped when it should be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
from IPython.display import display

from course import plots
from course.errors import CourseError
from course.widgets.base import ROW, Panel, Picture, log, sentence_of

EVERY = 0.3  # seconds between two pictures, at least
SHARE = 10  # a picture may cost a tenth of the time, not more


class LossMonitor(Panel):
    """Watch a training as it runs and stop it (chapter 01).

    Args:
        train: called as ``train(after_step=..., stop=...)``, which `training.fit`
            takes; it reports a row with "step" and "loss" after each step and ends
            early once the event `stop` is set.
        title: one line above the curve.
    """

    def __init__(self, train: Callable[..., Any], title: str = "Training") -> None:
        self._train = train
        self.rows: list[dict[str, Any]] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._next = 0.0
        self.button = ipywidgets.Button(
            description="Stop",
            tooltip="Stop after this step; the model stays usable",
            disabled=True,
            layout=ipywidgets.Layout(width="auto"),
        )
        self.button.on_click(lambda _: self.stop())
        self.picture = Picture()
        row = ipywidgets.Box([self.button], layout=ipywidgets.Layout(**ROW))
        super().__init__([row, self.picture], title)
        self.picture.say("Not started.")

    @property
    def running(self) -> bool:
        """Whether a training is under way in the background."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """Whether the training was asked to stop before its last step."""
        return self._stop.is_set()

    def still(self) -> plots.Figure | None:
        """Return the latest curve."""
        return self.picture.figure

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
        if self.running:
            raise CourseError("This training is still running: stop it first.")
        self.rows, self.result, self.error, self._next = [], None, None, 0.0
        self._stop.clear()
        self.picture.say("Starting.")
        if background:
            return self._start()
        return self._wait_here()

    def _start(self) -> LossMonitor:
        self.button.disabled = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def _wait_here(self) -> plots.Figure:
        # The still would be of an empty plot: show the live view alone, and return the
        # finished curve, which then takes the live picture's place.
        self.picture.image.layout.display = ""
        display(self._view(), raw=True)
        self._work()
        self.picture.image.layout.display = "none"
        if self.error is not None:
            raise self.error
        return self.picture.figure or self._curve()

    def _view(self) -> dict[str, Any]:
        data = ipywidgets.VBox._repr_mimebundle_(self)
        return {**data, "text/plain": self.title}

    def _work(self) -> None:
        try:
            self.result = self._train(after_step=self._after_step, stop=self._stop)
        except KeyboardInterrupt:
            self._stop.set()
        except Exception as error:  # shown here and raised by a waiting `run`
            self.error = error
        finally:
            self.button.disabled = True
        self._finish()

    def _after_step(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        now = time.monotonic()
        if now >= self._next:
            self._draw("Training: ")
            spent = time.monotonic() - now
            self._next = now + max(EVERY, SHARE * spent)

    def _draw(self, start: str) -> None:
        last = self.rows[-1]
        note = f"{start}step {last['step']}, loss {last['loss']:.3f}."
        self.picture.show(self._curve(), note)

    def _curve(self) -> plots.Figure:
        steps = [row["step"] for row in self.rows]
        losses = [row["loss"] for row in self.rows]
        return plots.curves({"loss": (steps, losses)}, "step", "loss", title=self.title)

    def _finish(self) -> None:
        if self.rows:
            self._draw("Stopped at " if self.stopped else "Finished: ")
        if self.error is not None:
            log.error("The training in a monitor failed.", exc_info=self.error)
            self.picture.say(sentence_of(self.error), "alert")
        elif not self.rows:
            self.picture.say("The training ended without a step.")

    def stop(self) -> None:
        """Ask the training to end after its present step."""
        self._stop.set()
        self.button.disabled = True
        self.picture.say("Stopping after this step.")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a training in the background; False where it is still running."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.running
