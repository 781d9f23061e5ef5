"""The poll: the reader predicts before the cell that answers is run."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from course import evidence, progress, syllabus
from course.errors import CourseError, unknown
from course.widgets.accessibility import Accessibility
from course.widgets.base import Panel, Words, button, guarded


@dataclass(frozen=True)
class Verdict:
    """What became of a prediction, as a notebook shows it."""

    text: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return {"text/markdown": self.text, "text/plain": self.text}


class Poll(Panel):
    """A question with options, answered before the experiment is run.

    Args:
        question: one sentence that ends with a question mark.
        options: two or more answers; as a mapping, each with its explanation: why one
            would think so, and what is true in it. `reveal` shows those of the answer
            and of the reader's own choice.
        explanations: the same mapping, where `options` is none.
        chapter: whose progress a prediction belongs to, such as "fine_tuning"; left
            out, that of the notebook in which the poll stands.

    Raises:
        CourseError: fewer than two options, two alike, or one without its explanation.
    """

    def __init__(
        self,
        question: str,
        options: Sequence[str] | Mapping[str, str],
        explanations: Mapping[str, str] | None = None,
        chapter: str = "",
    ) -> None:
        self.question, self.options = question, [str(option) for option in options]
        if len(set(self.options)) != len(self.options) or len(self.options) < 2:
            raise CourseError("A poll needs two or more options, all different.")
        told = options if isinstance(options, Mapping) else explanations
        self.explanations = _explained(self.options, told)
        self.chapter = chapter or syllabus.here()
        self.choices = ipywidgets.RadioButtons(
            options=self.options,
            value=None,
            description="Prediction",
            style={"description_width": "0px"},
            tooltip=question,
            layout=ipywidgets.Layout(width="100%", max_width="100%"),
        )
        self.button = button(
            "Lock in my prediction",
            "Keep this answer until the experiment has been run",
        )
        self.button.layout.align_self = "flex-start"
        self.message = Words()
        self.button.on_click(guarded(self.message, lambda _: self.lock()))
        self.choices.observe(guarded(self.message, self._chosen), names="value")
        heading = ipywidgets.HTML(f"<b>{html.escape(question)}</b>")
        children = [heading, self.choices, self.button, self.message, Accessibility()]
        super().__init__(children, question)
        self._say("Choose one, then lock it in.")

    @property
    def prediction(self) -> str | None:
        """The chosen option, locked or not; None where nothing was chosen."""
        return self.choices.value

    @property
    def locked(self) -> bool:
        """Whether the prediction can no longer be changed."""
        return bool(self.choices.disabled)

    def lock(self) -> None:
        """Keep the chosen option; with none chosen, ask for one."""
        if self.prediction is None:
            self._say("Choose an option first.")
            return
        self.choices.disabled = self.button.disabled = True
        self._say(f"Your prediction: {self.prediction}. Now run the next cell.")

    def reveal(self, correct_option: str, because: str = "") -> Verdict:
        """Say whether the prediction came out, here and in the cell that asks.

        A prediction is kept in the reader's progress file.

        Args:
            correct_option: what the experiment answered, one of the options.
            because: a sentence made from the results.

        Raises:
            CourseError: where `correct_option` is not one of the options.
        """
        if correct_option not in self.options:
            raise unknown("option", correct_option, self.options)
        self.choices.disabled = self.button.disabled = True
        text = f"{self._outcome(correct_option)} {because}".strip()
        lines = [text, *self._why(correct_option)]
        self.message.show("".join(f"<p>{html.escape(line)}</p>" for line in lines))
        if self.prediction is not None:
            right = self.prediction == correct_option
            progress.polled(self.chapter, self.question, self.prediction, right)
        return Verdict("\n\n".join(lines))

    def _why(self, correct: str) -> list[str]:
        """Explain the answer, and before it the reader's choice where it is another."""
        chosen = [] if self.prediction in (None, correct) else [self.prediction]
        return [
            f"“{option}”: {self.explanations[option]}"
            for option in [*chosen, correct]
            if option in self.explanations
        ]

    def _outcome(self, correct: str) -> str:
        if self.prediction is None:
            return f"You made no prediction. The answer: {correct}."
        if self.prediction == correct:
            return f"Your prediction came out: {correct}."
        return f"You predicted: {self.prediction}. It came out otherwise: {correct}."

    def _chosen(self, change: dict[str, Any]) -> None:
        if change["new"] is not None and not self.locked:
            self._say(f"Chosen: {change['new']}. Lock it in, or change your mind.")

    def _say(self, text: str) -> None:
        self.message.say(text)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data = super()._repr_mimebundle_(**kwargs)
        options = "\n".join(f"- {option}" for option in self.options)
        data["text/plain"] = f"{self.question}\n{options}"
        marked = "\n".join(f"- {evidence.literal(one)}" for one in self.options)
        data["text/markdown"] = f"**{evidence.literal(self.question)}**\n\n{marked}"
        return data


def _explained(
    options: Sequence[str], told: Mapping[str, str] | None
) -> dict[str, str]:
    """Return the explanation of each option, or none of all of them."""
    if told is None:
        return {}
    explanations = {str(option): str(text).strip() for option, text in told.items()}
    for option in explanations:
        if option not in options:
            raise unknown("option", option, options)
    for option in options:
        if not explanations.get(option):
            raise CourseError(
                f"The option {option!r} has no explanation; expected why one would "
                "think so, and what is true in it."
            )
    return explanations
