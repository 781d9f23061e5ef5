"""Predict the winner: name the best strategy first, then watch all of them train."""

from __future__ import annotations

import html
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ipywidgets

from course import plots
from course.errors import CourseError, unknown
from course.widgets.background import WatchedTraining
from course.widgets.base import ROW, Words, button, control, guarded

SECONDS = 10.0  # for one run of all strategies, at most
ROUNDING = 1e-9  # 0.52 - 0.50 is a little more than 0.02
SETTINGS = {
    "target": ("Target", "What the strategies are to learn"),
    "labels": ("Labels a class", "How many labelled images of each class they get"),
    "steps": ("Steps", "How many training steps each of them may take"),
}


@dataclass
class Contest:
    """One run of all strategies: what was set, what was predicted, what came out.

    Args:
        settings: "target", "labels" and "steps".
        predicted: the strategy that the reader named.
        close: a lead up to this is too close to call.
        found: accuracy of each strategy that finished.
    """

    settings: dict[str, Any]
    predicted: str
    close: float
    found: dict[str, float] = field(default_factory=dict)

    @property
    def ranked(self) -> list[str]:
        """The strategies that finished, the best one first."""
        return sorted(self.found, key=self.found.__getitem__, reverse=True)

    @property
    def lead(self) -> float:
        """By how much the best one is ahead of the second."""
        first, second = self.ranked[:2]
        return self.found[first] - self.found[second]

    @property
    def verdict(self) -> str:
        """What became of the prediction: "called", "missed" or "close"."""
        if self.lead <= self.close + ROUNDING:
            return "close"
        return "called" if self.ranked[0] == self.predicted else "missed"


class PredictTheWinner(WatchedTraining):
    """Predict which strategy wins, let them all run, and keep the score (chapter 05).

    The panel trains nothing itself. Run is enabled by a prediction, which counts the
    first time that its settings are run to the end. The run goes on beside the page
    until its last strategy, its time is up or Stop is pressed.

    Args:
        train: called as ``train(strategy, settings, after_step=..., stop=...)`` for one
            strategy after the other. The settings are "target", "labels" (a class) and
            "steps". It reports steps as `LossMonitor` expects, ends early once `stop`
            is set, and returns the accuracy on validation images, from 0 to 1.
        strategies: names, in the order of the radio buttons.
        targets: names.
        labels: numbers of labels a class to choose from.
        steps: numbers of training steps to choose from.
        draw: called as ``draw(target, points)`` for the figure; each point of the
            reader's runs on this target has "strategy", "labels", "steps" and
            "accuracy".
        close: differences up to this are what chance makes: too close to call.
        seconds: after which a run of all strategies is asked to stop.
        title: one line above everything.

    Attributes:
        runs: a row a run, for a table.
        score: how many predictions were "called" and "missed", and how many runs were
            too "close".

    Raises:
        CourseError: there are fewer than two strategies, nothing to choose from, or
            two of one name.
    """

    def __init__(
        self,
        train: Callable[..., float],
        strategies: Sequence[str],
        targets: Sequence[str],
        labels: Sequence[int],
        steps: Sequence[int],
        draw: Callable[[str, list[dict[str, Any]]], plots.Figure],
        *,
        close: float = 0.02,
        seconds: float = SECONDS,
        title: str = "Predict the winner, then run it",
    ) -> None:
        _check(strategies, targets, labels, steps)
        super().__init__(title, seconds)
        self._train, self._draw_target, self._close = train, draw, close
        self.strategies = tuple(strategies)
        self.runs: list[dict[str, Any]] = []
        self.score = {"called": 0, "missed": 0, "close": 0}
        self._points: dict[str, list[dict[str, Any]]] = {name: [] for name in targets}
        self._scored: set[tuple[Any, ...]] = set()
        self._contest: Contest | None = None
        self.menus = {
            name: _menu(name, values)
            for name, values in zip(SETTINGS, (targets, labels, steps), strict=True)
        }
        self.choices = _radio(self.strategies)
        self.go = button("Run", f"Train all strategies, {seconds:g} s at most")
        self.question, self.tally = Words(), Words()
        self.children = self._arranged()
        self._connect()
        self._ended()
        guarded(self.picture, self._show_target)()
        self._tell_score()

    def _arranged(self) -> list[ipywidgets.Widget]:
        heading = ipywidgets.HTML(f"<b>{html.escape(self.title)}</b>")
        rows = [
            ipywidgets.Box(list(row), layout=ipywidgets.Layout(**ROW))
            for row in (self.menus.values(), (self.go, self.button))
        ]
        # Beside the buttons, and not a picture's height away from them.
        words = self.picture.words
        rest = [one for one in self.picture.children if one is not words]
        self.picture.children = rest
        ask = [self.question, self.choices]
        return [heading, rows[0], *ask, rows[1], words, self.tally, self.picture]

    def _connect(self) -> None:
        self.go.on_click(guarded(self.picture, lambda _: self.run(background=True)))
        self.menus["target"].observe(
            guarded(self.picture, lambda _: self._show_target()), names="value"
        )
        for one in (*self.menus.values(), self.choices):
            one.observe(guarded(self.question, lambda _: self._ask()), names="value")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as the controls say, as `train` gets them."""
        return {name: menu.value for name, menu in self.menus.items()}

    @property
    def prediction(self) -> str | None:
        """The strategy that is predicted to win; None where none was chosen."""
        return self.choices.value

    def choose(self, **settings: Any) -> None:
        """Set the controls.

        Args:
            settings: those of "target", "labels" and "steps" that are to change.

        Raises:
            CourseError: a setting or value is unknown, or a run is under way.
        """
        self._forbid_while_running()
        for name, value in settings.items():
            if name not in self.menus:
                raise unknown("setting", name, self.menus)
            if value not in self.menus[name].options:
                known = map(str, self.menus[name].options)
                raise unknown(SETTINGS[name][0].lower(), value, known)
        for name, value in settings.items():
            self.menus[name].value = value

    def predict(self, strategy: str) -> None:
        """Predict the winner of the next run.

        Raises:
            CourseError: the strategy is unknown, or a run is under way.
        """
        self._forbid_while_running()
        if strategy not in self.strategies:
            raise unknown("strategy", strategy, self.strategies)
        self.choices.value = strategy

    def run(self, background: bool = False) -> dict[str, Any] | None:
        """Train all strategies with the present settings, and score the prediction.

        Args:
            background: return None at once and train in a thread; otherwise wait, as a
                run without a reader must, and return the new row of `runs`.

        Raises:
            CourseError: nothing was predicted, or a run is under way; and, when it
                waits, whatever a training raised.
        """
        if self.prediction is None:
            raise CourseError("Predict the winner first: choose a strategy, then run.")
        self._prepare()
        # As they are now, whatever is moved meanwhile.
        self._contest = Contest(self.settings, self.prediction, self._close)
        self._lock(True)
        self._ask()
        if background:
            self._start(self._race)
            return None
        self._work(self._race)
        if self.error is not None:
            raise self.error
        return self.runs[-1]

    def _race(self, after_step: Callable[..., None], stop: threading.Event) -> None:
        contest = self._contest
        for strategy in self.strategies:
            self._keep_time()
            if stop.is_set():
                return
            self.picture.say(under_way(strategy, contest.found, self.strategies))
            accuracy = self._train(
                strategy, dict(contest.settings), after_step=after_step, stop=stop
            )
            if stop.is_set():  # it may have ended early
                return
            contest.found[strategy] = _accuracy(strategy, accuracy)

    def _draw(self, start: str) -> None:
        """Leave the picture: it shows results, and the words say which one trains."""

    def _finish(self) -> None:
        contest = self._contest
        note = self._outcome(contest, self._join(contest)["verdict"])
        guarded(self.picture, lambda: self._show(contest.settings["target"], note))()
        self._tell_score()
        if self.error is not None:
            self.picture.fail(self.error)
            failed = self.strategies[len(contest.found)]
            self._tell_score(f"{failed} failed, so nothing is scored. ")

    def _join(self, contest: Contest) -> dict[str, Any]:
        """Keep what was found and score it; return the row of the run."""
        settings, whole = contest.settings, len(contest.found) == len(self.strategies)
        points = self._points[settings["target"]]
        budget = {"labels": settings["labels"], "steps": settings["steps"]}
        for strategy, accuracy in contest.found.items():
            points.append({"strategy": strategy, **budget, "accuracy": accuracy})
        row = {
            "run": len(self.runs) + 1,
            **settings,
            "predicted": contest.predicted,
            "winner": contest.ranked[0] if whole else "",
            "ahead": round(contest.lead, 4) if whole else "",
            "verdict": self._scored_as(contest) if whole else self._why_not(),
        }
        self.runs = [*self.runs, row]
        return row

    def _scored_as(self, contest: Contest) -> str:
        key = tuple(contest.settings.values())
        if key in self._scored:  # known beforehand, it is no prediction
            return "seen before"
        self._scored.add(key)
        self.score[contest.verdict] += 1
        return contest.verdict

    def _why_not(self) -> str:
        if self.error is not None:
            return "failed"
        return "time was up" if self.out_of_time else "stopped"

    def _outcome(self, contest: Contest, verdict: str) -> str:
        if contest.found and len(contest.found) == len(self.strategies):
            again = " You have run these settings before: not scored."
            return result(contest) + again * (verdict == "seen before")
        return cut_short(contest.found, self.strategies, self.out_of_time)

    def _tell_score(self, first: str = "") -> None:
        rule = f"A lead of up to {self._close:g} is too close to call."
        self.tally.say(f"{first}{in_words(self.score)} {rule}")

    def _ended(self) -> None:
        self.choices.value = None
        self._lock(False)
        self._ask()

    def _lock(self, locked: bool) -> None:
        for one in (*self.menus.values(), self.choices):
            one.disabled = locked

    def _ask(self) -> None:
        self.go.disabled = self.running or self.prediction is None
        self.question.say(question(self.settings, self.prediction, self.running))

    def _show_target(self) -> None:
        target = self.settings["target"]
        self._show(target, shown(target, len(self._points[target])))

    def _show(self, target: str, note: str) -> None:
        points = [dict(point) for point in self._points[target]]
        self.picture.show(self._draw_target(target, points), note)
        self.picture.image.layout.display = ""

    def _forbid_while_running(self) -> None:
        if self.running:
            raise CourseError("A run is under way: wait for its end or stop it first.")


def question(settings: Mapping[str, Any], predicted: str | None, running: bool) -> str:
    """Return what is asked, and what became of it so far."""
    budget = f"{_counted(settings['labels'], 'label')} a class"
    steps = _counted(settings["steps"], "step")
    ask = f"Which one wins on {settings['target']}, with {budget} and {steps}?"
    if running:
        return f"{ask} Locked in: {predicted}."
    if predicted is None:
        return f"{ask} Predict first; that enables Run."
    return f"{ask} You predict {predicted}: press Run, or change your mind."


def under_way(
    strategy: str, found: Mapping[str, float], strategies: Sequence[str]
) -> str:
    """Return which strategy trains now, and what the others reached."""
    now = f"Training {strategy}, {len(found) + 1} of {len(strategies)}."
    return f"{now} So far: {_listed(found)}." if found else now


def result(contest: Contest) -> str:
    """Return who won a run that finished, by how much, and what was predicted."""
    found, ranked = contest.found, contest.ranked
    best = found[ranked[0]]
    level = [n for n in ranked if best - found[n] <= contest.close + ROUNDING]
    if contest.verdict == "close":
        start = f"Too close to call: {_listed({n: found[n] for n in level})}."
        said = f"You predicted {contest.predicted}; no point is won or lost."
    else:
        start = (
            f"{ranked[0]} wins with {best:.3f} on validation images, {contest.lead:.3f}"
            f" ahead of {ranked[1]}."
        )
        called = contest.verdict == "called"
        said = "You called it." if called else f"You predicted {contest.predicted}."
    left = level if contest.verdict == "close" else ranked[:1]
    others = {name: found[name] for name in ranked if name not in left}
    rest = f" The others: {_listed(others)}." if others else ""
    return f"{start} {said}{rest}"


def cut_short(
    found: Mapping[str, float], strategies: Sequence[str], out_of_time: bool
) -> str:
    """Return how far a run came that did not finish."""
    early = "Time is up" if out_of_time else "Stopped"
    done = f"after {len(found)} of {len(strategies)} strategies: nothing is scored."
    reached = f" Finished: {_listed(found)}." if found else ""
    advice = " Fewer steps take less time." if out_of_time else ""
    return f"{early} {done}{reached}{advice}"


def shown(target: str, points: int) -> str:
    """Return what the figure of a target holds of the reader's."""
    if not points:
        return f"The curves of {target}, without a run of yours so far."
    return f"The curves of {target}, with {_counted(points, 'point')} of yours."


def in_words(score: Mapping[str, int]) -> str:
    """Return the score as a sentence."""
    called, close = score["called"], score["close"]
    decided = called + score["missed"]
    if not decided + close:
        return "No prediction has been scored yet."
    if not decided:
        return f"No run was decided so far; {close} too close."
    start = f"You have called {called} of {decided}"
    return f"{start}; {close} too close." if close else f"{start}."


def _listed(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in found.items())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _accuracy(strategy: str, value: Any) -> float:
    accuracy = float(value)
    if not math.isfinite(accuracy):
        raise CourseError(
            f"{strategy} gave the accuracy {accuracy}; expected a number from 0 to 1."
        )
    return accuracy


def _check(strategies: Sequence[str], *choices: Sequence[Any]) -> None:
    if len(strategies) < 2:
        raise CourseError("A prediction needs two or more strategies.")
    names = ("strategies", "targets", "labels", "steps")
    for name, values in zip(names, (strategies, *choices), strict=True):
        if not len(values):
            raise CourseError(f"A prediction needs one or more {name}.")
        if len(set(values)) != len(values):
            raise CourseError(f"The {name} of a prediction must all be different.")


def _menu(name: str, values: Sequence[Any]) -> Any:
    label, tooltip = SETTINGS[name]
    menu = control(ipywidgets.Dropdown, label, options=list(values), tooltip=tooltip)
    menu.layout.flex = "1 1 200px"  # three in a row where there is room
    return menu


def _radio(strategies: Sequence[str]) -> ipywidgets.RadioButtons:
    return ipywidgets.RadioButtons(
        options=list(strategies),
        value=None,
        description="Prediction",
        style={"description_width": "0px"},
        tooltip="The strategy that you predict to win",
        layout=ipywidgets.Layout(width="100%", max_width="100%"),
    )
