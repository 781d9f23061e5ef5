"""The exercise panel: what a chapter asks, how far one is, and help in steps."""

from __future__ import annotations

import html
from types import ModuleType
from typing import Any

import ipywidgets

from course import progress
from course.errors import CourseError
from course.exercises.base import Exercise, on_check
from course.syllabus import SIGNS
from course.widgets.accessibility import Accessibility
from course.widgets.base import ROW, Panel, Words, button, control, guarded

# A long line is scrolled, by keyboard too, and does not widen a narrow page.
PRE = '<pre tabindex="0" style="overflow-x:auto;white-space:pre">'


class ExercisePanel(Panel):
    """Choose an exercise of the chapter, see its state, and take hints one by one.

    The state is the verdict of the last check in this kernel and follows each new one.
    The reference answer can be shown once every hint has been read.

    Args:
        module: exercises of a chapter, such as `course.exercises.first_prediction`.

    Raises:
        CourseError: the module holds no exercises.
    """

    def __init__(self, module: ModuleType) -> None:
        self.exercises = tuple(getattr(module, "EXERCISES", ()))
        if not self.exercises:
            name = getattr(module, "__name__", module)
            raise CourseError(
                f"{name} holds no exercises; expected a module of course.exercises, "
                "such as first_prediction."
            )
        self._read = dict.fromkeys(self.exercises, 0)  # hints
        self._answered: set[Exercise] = set()
        self.menu = control(
            ipywidgets.Dropdown,
            "Exercise",
            options=self._options(),
            tooltip="Choose an exercise of this chapter",
        )
        self.hint = button("Next hint", "Show one more hint for this exercise")
        self.answer = button(
            "Show the reference answer", "Show an answer; first read every hint"
        )
        self.page, self.message = Words(), Words()
        row = ipywidgets.Box(
            [self.menu, self.hint, self.answer], layout=ipywidgets.Layout(**ROW)
        )
        super().__init__(
            [row, self.page, self.message, Accessibility()], "Exercises of this chapter"
        )
        self.menu.observe(guarded(self.message, self._changed), names="value")
        self.hint.on_click(guarded(self.message, self._next_hint))
        self.answer.on_click(guarded(self.message, self._show_answer))
        on_check(self.refresh)
        self.refresh()

    @property
    def exercise(self) -> Exercise:
        """The exercise that is shown."""
        return self.exercises[self.menu.value]

    @property
    def passed(self) -> int:
        """How many exercises of the chapter passed their last check."""
        return sum(e.verdict.status == "passed" for e in self.exercises)

    def refresh(self) -> None:
        """Show the state that the exercises have now."""
        guarded(self.message, self._show)()

    def _show(self) -> None:
        exercise = self.exercise
        read, answered = self._read[exercise], exercise in self._answered
        left = read < len(exercise.hints)
        self.hint.disabled = not left
        # A copy for students holds no reference answer to show.
        self.answer.disabled = left or answered or not exercise.source
        done = f"{self.passed} of {len(self.exercises)} exercises passed."
        self.page.show(page_of(exercise, read, answered, done))
        self.message.clear()

    def _options(self) -> list[tuple[str, int]]:
        return [(f"{i + 1} · {e.title}", i) for i, e in enumerate(self.exercises)]

    def _changed(self, _: Any) -> None:
        self._show()

    def _next_hint(self, _: Any) -> None:
        exercise, last = self.exercise, len(self.exercise.hints)
        self._read[exercise] = min(self._read[exercise] + 1, last)
        progress.hinted(exercise.chapter, exercise.name, self._read[exercise])
        self._show()

    def _show_answer(self, _: Any) -> None:
        if self._read[self.exercise] < len(self.exercise.hints):
            raise CourseError("Read every hint first: press Next hint.")
        self._answered.add(self.exercise)
        progress.answered(self.exercise.chapter, self.exercise.name)
        self._show()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data = super()._repr_mimebundle_(**kwargs)
        lines = "\n".join(f"- {line_of(exercise)}" for exercise in self.exercises)
        data["text/plain"] = f"{self.title}\n{lines}"
        data["text/markdown"] = f"**{self.title}**\n\n{lines}"
        return data


def line_of(exercise: Exercise) -> str:
    """Return one line on an exercise: its state, title, effort and aim."""
    status = exercise.verdict.status
    return f"{SIGNS[status]} {exercise.title} ({status}): {exercise.about}"


def page_of(exercise: Exercise, hints: int, answered: bool, done: str) -> str:
    """Return what the panel shows of an exercise, as HTML.

    Args:
        exercise: the one that was chosen.
        hints: how many of its hints have been read.
        answered: whether its reference answer is shown.
        done: how far one is with the whole chapter.
    """
    verdict = exercise.verdict
    state = f"{SIGNS[verdict.status]} {verdict.status.capitalize()}"
    parts = [
        f"<p><b>{html.escape(exercise.title)}</b> ({html.escape(exercise.about)})</p>",
        f"<p><b>{state}.</b> {html.escape(verdict.message)} {html.escape(done)}</p>",
    ]
    given = "".join(f"<li>{html.escape(hint)}</li>" for hint in exercise.hints[:hints])
    if given:
        parts.append(f"<p>Hints, {hints} of {len(exercise.hints)}:</p><ol>{given}</ol>")
    if answered:
        source = html.escape(exercise.source)
        parts.append(f"<p>Reference answer:</p>{PRE}<code>{source}</code></pre>")
    return "".join(parts)
