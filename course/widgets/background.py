"""A training that is watched: in the background with a Stop, or in its cell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from course import plots
from course.errors import CourseError
from course.widgets.base import Panel, Picture, button, guarded

EVERY = 0.3  # seconds between two pictures, at least
SHARE = 10  # a picture may cost a tenth of the time, not more


class WatchedTraining(Panel):
    """A panel with a training, its growing curve and a Stop button.

    A thread and not the kernel's own loop does the work in the background, so that the
    page's controls are heard meanwhile; it writes to traits only, never to an output.

    Args:
        title: one line above the curve.
        seconds: after which a training is asked to stop; None for no limit.
    """

    def __init__(self, title: str, seconds: float | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self.running = False
        self.out_of_time = False
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._began = self._next = 0.0
        self.picture = Picture()
        self.picture.image.layout.display = "none"  # until there is one
        self.button = button("Stop", "Stop after this step; the model stays usable")
        self.button.disabled = True
        self.button.on_click(guarded(self.picture, lambda _: self.stop()))
        super().__init__([], title)
        self.picture.say("Not started.")

    @property
    def stopped(self) -> bool:
        """Whether the training was asked to stop before its last step."""
        return self._stop.is_set()

    def still(self) -> plots.Figure | None:
        """Return the latest curve."""
        return self.picture.figure

    def stop(self) -> None:
        """Ask the training to end after its present step."""
        if not self.running:
            self.picture.say("There is no training to stop.")
            return
        self._stop.set()
        self.button.disabled = True
        self.picture.say("Stopping after this step.")

    def close(self) -> None:
        """Close the panel; a training in the background ends after its present step."""
        if "_stop" in vars(self):  # also what was never finished is closed
            self._stop.set()
        super().close()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a training in the background; False where it is still running."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.running

    def _prepare(self) -> None:
        """Forget the last training, or raise CourseError where it still runs."""
        if self.running:
            raise CourseError("This training is still running: stop it first.")
        self.rows, self.result, self.error = [], None, None
        self._began, self._next, self.out_of_time = time.monotonic(), 0.0, False
        self._stop.clear()
        self.running = True
        self.picture.say("Starting.")

    def _start(self, train: Callable[..., Any]) -> None:
        """Train in a thread."""
        self.button.disabled = False
        self._thread = threading.Thread(target=self._work, args=(train,), daemon=True)
        self._thread.start()

    def _work(self, train: Callable[..., Any]) -> None:
        """Train here; what it raises is shown, logged and kept in `error`."""
        try:
            self.result = train(after_step=self._after_step, stop=self._stop)
        except KeyboardInterrupt:
            self._stop.set()
        except Exception as error:
            self.error = error
        try:
            self._finish()
        finally:
            self.button.disabled, self.running = True, False
            self._ended()

    def _ended(self) -> None:
        """Do what is due once a training is over; for panels with more controls."""

    def _after_step(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        self._keep_time()
        now = time.monotonic()
        if now >= self._next:
            self._draw("Training: ")
            spent = time.monotonic() - now
            self._next = now + max(EVERY, SHARE * spent)

    def _keep_time(self) -> None:
        """Ask the training to stop where its time is up."""
        spent = time.monotonic() - self._began
        if self._seconds is not None and spent > self._seconds and not self.stopped:
            self.out_of_time = True
            self._stop.set()

    def _draw(self, start: str) -> None:
        last = self.rows[-1]
        note = f"{start}step {last['step']}, loss {last['loss']:.3f}."
        self.picture.show(self._curve(), note)
        self.picture.image.layout.display = ""

    def _curve(self) -> plots.Figure:
        steps = [row["step"] for row in self.rows]
        losses = [row["loss"] for row in self.rows]
        return plots.curves({"loss": (steps, losses)}, "step", "loss", title=self.title)

    def _finish(self) -> None:
        if self.rows:
            early = "Time is up at " if self.out_of_time else "Stopped at "
            self._draw(early if self.stopped else "Finished: ")
        if self.error is not None:
            self.picture.fail(self.error)
        elif not self.rows:
            self.picture.say("The training ended without a step.")
