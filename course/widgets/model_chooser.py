"""The model chooser: say what you have and what there is room for, get a shortlist."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import ipywidgets

from course import evidence, plots, shortlist
from course.errors import CourseError
from course.shortlist import Decision, Needs
from course.widgets.base import (
    CACHED,
    ROW,
    Panel,
    Picture,
    Words,
    button,
    control,
    guarded,
)
from course.widgets.results_table import STYLE

Row = Mapping[str, Any]
LABELS = (1, 2, 5, 10, 20, 50, 100, 500)
NO_LIMIT = math.inf  # a menu's value cannot be None
CLASSES = (2, 5, 10, 20, 50, 100, 1000)
# What each limit can be set to; the last choice is none. Label, tooltip, unit, values.
LIMITS: dict[str, tuple[str, str, str, tuple[float, ...]]] = {
    "file_mb": (
        "Largest file",
        "How large the file of the weights may be",
        "MB",
        (3, 5, 10, 20, 50, 100, 200, 500),
    ),
    "gmacs": (
        "Arithmetic",
        "Giga multiply-adds for one image, at most",
        "G",
        (0.03, 0.1, 0.3, 1, 2, 5, 10, 20),
    ),
    "ms": (
        "Time here",
        "Milliseconds for one image; only models that were timed can keep it",
        "ms",
        (5, 10, 20, 50, 100, 200),
    ),
    "training_mb": (
        "Memory",
        "What a training may take; estimated for batches of 16",
        "MB",
        (100, 250, 500, 1000, 2000, 4000, 8000, 16000),
    ),
}
NOTE = "Rings are the shortlist, the line is the front, crosses are outside the limits."
CHAPTERS = "Measured in chapters {}, on this course's own small tasks: a first try."


class ModelChooser(Panel):
    """Turn images and limits into a shortlist, a strategy and a card (chapter 07).

    It decides, times and draws nothing by itself but what it is given.

    Args:
        rows: all models that are drawn, from `zoo.entries`.
        choose: from needs, and the milliseconds of what was timed, to a decision; see
            `shortlist.decide`.
        measure: from a row to milliseconds; see `zoo.latency`.
        start: the needs at first; a limit that no slider has becomes none.
        folder: where cards go at first; empty for where the notebook runs.

    Raises:
        CourseError: no row has an accuracy.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        choose: Callable[[Needs, Mapping[str, float]], Decision],
        measure: Callable[[Row], float],
        *,
        start: Needs | None = None,
        folder: str = "",
    ) -> None:
        self.rows = [row for row in rows if row.get("top1") is not None]
        if not self.rows:
            raise CourseError("A model chooser needs models with an accuracy.")
        self._choose, self._measure = choose, measure
        self.timed: dict[str, float] = {}
        self.decision: Decision | None = None
        self._reported, self._asked = "", 0
        self._cache: dict[Any, plots.Figure] = {}
        self.controls = _controls(start or Needs(gmacs=5))
        self.summary, self.advice, self.timing, self.saved = (Words() for _ in range(4))
        self.page, self.picture = ipywidgets.HTML(), Picture()
        self.page.layout.width = "auto"
        self.ticks = [_tick(place) for place in range(shortlist.MOST)]
        self.go = button(
            "Time the ticked models", "Time them here, one image at a time"
        )
        self.folder = control(
            ipywidgets.Text,
            "Folder",
            value=folder,
            placeholder="beside this notebook",
            continuous_update=False,
            tooltip="Where the card goes; made if it is not there. Press Enter",
        )
        self.save = button(
            "Save the card", "Write Markdown and JSON; overwrite nothing"
        )
        super().__init__(self._arranged(), "Model chooser")
        self._connect()
        self.timing.say("Nothing has been timed yet.")
        self._say_folder()
        guarded(self.summary, self._decide)()

    @property
    def needs(self) -> Needs:
        """Images and limits as the controls say."""
        values = {name: one.value for name, one in self.controls.items()}
        return Needs(**{n: None if v == NO_LIMIT else v for n, v in values.items()})

    def still(self) -> plots.Figure | None:
        """Return the figure with the present shortlist."""
        return self.picture.figure

    def _arranged(self) -> list[ipywidgets.Widget]:
        names = list(self.controls)
        mine, limits = names[:3], names[3:]
        rows = [
            [self.controls[name] for name in mine],
            [self.controls[name] for name in limits],
            [*self.ticks, self.go],
            [self.folder, self.save],
        ]
        boxes = [ipywidgets.Box(row, layout=ipywidgets.Layout(**ROW)) for row in rows]
        return [
            _heading("My images"),
            boxes[0],
            _heading("My limits"),
            boxes[1],
            _heading("The shortlist"),
            self.summary,
            self.page,
            self.advice,
            self.picture,
            boxes[2],
            self.timing,
            boxes[3],
            self.saved,
        ]

    def _connect(self) -> None:
        for one in self.controls.values():
            one.observe(guarded(self.summary, lambda _: self._decide()), names="value")
        for tick in self.ticks:
            tick.observe(guarded(self.timing, lambda _: self._ticked()), names="value")
        self.go.on_click(guarded(self.timing, lambda _: self.time_ticked()))
        self.folder.observe(
            guarded(self.saved, lambda _: self._say_folder()), names="value"
        )
        self.save.on_click(guarded(self.saved, lambda _: self._save()))

    # Deciding -----------------------------------------------------------------------

    def _decide(self) -> None:
        before, needs = self.decision, self.needs
        decision = self._choose(needs, self.timed)
        self.decision = decision
        self.summary.say(
            f"{_in_words(needs)} {decision.summary} {_change(before, decision)}".strip()
        )
        self._advise(decision)
        self.page.value = _table(decision, self.timed)
        self._offer(decision)
        self.picture.show(self._figure(decision), NOTE)

    def _advise(self, decision: Decision) -> None:
        name, why, chapters, _ = decision.strategy
        markup = (
            f"<p><b>Try first: {html.escape(name)}.</b> {html.escape(why)} "
            f"<i>{CHAPTERS.format(', '.join(chapters))}</i></p>"
        )
        if markup not in self.advice.value:  # or it would be read out each time
            self.advice.show(markup)

    def _offer(self, decision: Decision) -> None:
        """Name the boxes after the shortlist, and take away those that are over."""
        for place, tick in enumerate(self.ticks):
            there = place < len(decision.picks)
            tick.layout.display = "" if there else "none"
            if there:
                name = f"time {decision.picks[place].row['model']}"
                if tick.description != name:
                    tick.value = False  # it was ticked for another model
                    tick.description = name

    def _figure(self, decision: Decision) -> plots.Figure:
        sets = (decision.fitting, decision.front, [p.row for p in decision.picks])
        shown = tuple(tuple(_name(row) for row in rows) for rows in sets)
        key = decision.needs.save_on, shown  # all that the picture depends on
        if key not in self._cache:
            if len(self._cache) >= CACHED:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = _drawn(self.rows, decision)
        return self._cache[key]

    # Timing -------------------------------------------------------------------------

    def _chosen(self) -> list[Row]:
        picks = self.decision.picks if self.decision else ()
        pairs = zip(self.ticks, picks, strict=False)
        return [pick.row for tick, pick in pairs if tick.value]

    def _ticked(self) -> None:
        names = [row["model"] for row in self._chosen()]
        self.timing.say(
            f"To be timed here: {', '.join(names)}." if names else "Nothing is ticked."
        )

    def time_ticked(self) -> None:
        """Time what is ticked and was not timed yet, and decide anew."""
        rows = self._chosen()
        if not rows:
            self._report("There is nothing to time: tick a model of the shortlist.")
            return
        said = []
        for row in rows:
            self.timing.say(f"Timing {row['model']} …")
            said.append(self._time(row))
        self._decide()
        self._report(" ".join(said))

    def _report(self, text: str) -> None:
        """Say what came of pressing the button, and count where that is the same."""
        self._asked = self._asked + 1 if text == self._reported else 1
        self._reported = text
        again = f" (Asked {self._asked} times.)" if self._asked > 1 else ""
        self.timing.say(text + again)

    def _time(self, row: Row) -> str:
        key = shortlist.key(row)
        try:
            if key not in self.timed:
                self.timed[key] = self._measure(row)
        except CourseError as error:  # it would not fit: the others are timed still
            return str(error)
        return f"{key}: {shortlist.amount(self.timed[key])} ms an image."

    # Saving -------------------------------------------------------------------------

    def _say_folder(self) -> None:
        self.saved.say(f"The card would go {_where(self.folder.value)}.")

    def _save(self) -> None:
        if self.decision is None:
            return
        paths = shortlist.save(self.decision, self.folder.value, self.timed)
        names = " and ".join(path.name for path in paths)
        again = paths[0].stem != shortlist.CARD
        why = " A card was there already; it is as it was." if again else ""
        self.saved.say(f"Saved as {names} {_where(self.folder.value)}.{why}")


def _where(folder: str) -> str:
    return f"into the folder {folder}" if folder.strip() else "beside this notebook"


def _controls(start: Needs) -> dict[str, ipywidgets.Widget]:
    """Return the controls, by the names of the needs: three for images, then limits."""
    given = asdict(start)
    sliders = {name: _slider(*about, given[name]) for name, about in LIMITS.items()}
    return {
        "labels": _numbers("Labels a class", "Labelled images", LABELS, start.labels),
        "classes": _numbers("Classes", "How many there are", CLASSES, start.classes),
        "likeness": control(
            ipywidgets.Dropdown,
            "They are",
            options=[(words, name) for name, words in shortlist.LIKENESS.items()],
            value=start.likeness,
            tooltip="How like ImageNet's photographs your images are",
        ),
        **sliders,
        "save_on": control(
            ipywidgets.Dropdown,
            "I save on",
            options=[(words, name) for name, words in shortlist.COSTS.items()],
            value=start.save_on,
            tooltip="What is weighed against accuracy",
        ),
        "licence_stated": ipywidgets.Checkbox(
            value=start.licence_stated,
            description="Licence of the weights must be stated",
            tooltip="Leave out weights for which torchvision states no licence",
            indent=False,
            layout=ipywidgets.Layout(width="auto", margin="2px 14px"),
        ),
    }


def _numbers(label: str, tip: str, values: Sequence[int], start: int) -> Any:
    options = sorted({*values, start})
    names = [(f"{value:,}", value) for value in options]
    return control(
        ipywidgets.SelectionSlider, label, options=names, value=start, tooltip=tip
    )


def _slider(
    label: str, tip: str, unit: str, values: Sequence[float], start: float | None
) -> Any:
    options = [(f"{value:,g} {unit}", value) for value in values]
    return control(
        ipywidgets.SelectionSlider,
        label,
        options=[*options, ("no limit", NO_LIMIT)],
        value=start if start in values else NO_LIMIT,
        tooltip=tip,
    )


def _tick(place: int) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(
        description=f"time number {place + 1}",
        tooltip="Whether this model of the shortlist is to be timed here",
        indent=False,
        layout=ipywidgets.Layout(width="auto", margin="2px 14px 2px 2px"),
    )


def _heading(text: str) -> ipywidgets.HTML:
    return ipywidgets.HTML(f"<b>{text}</b>")


def _in_words(needs: Needs) -> str:
    """Return the state of the controls as a sentence, which is read out."""
    return (
        f"Labelled images: {shortlist.images(needs):,} ({needs.labels:,} a class), "
        f"{shortlist.LIKENESS[needs.likeness]}. Limits: "
        f"{shortlist.limits_in_words(needs)}."
    )


def _change(before: Decision | None, now: Decision) -> str:
    """Say which models came onto the shortlist and which left it."""
    if before is None:
        return ""
    old, new = ([_name(pick.row) for pick in one.picks] for one in (before, now))
    came = [name for name, weights in new if (name, weights) not in old]
    left = [name for name, weights in old if (name, weights) not in new]
    parts = [f"New: {', '.join(came)}."] if came else []
    parts += [f"Gone: {', '.join(left)}."] if left else []
    return " ".join(parts) or ("The shortlist stays as it was." if new else "")


def _table(decision: Decision, timed: Mapping[str, float]) -> str:
    rows = shortlist.table(decision, timed)
    if not rows:
        return ""
    caption = "The most accurate first"
    markup = evidence.table_bundle(rows, caption=caption, right=True)["text/html"]
    region = '<div class="course-results" tabindex="0" role="region"'
    return f'{STYLE}{region} aria-label="{caption}">{markup}</div>'


def _drawn(rows: Sequence[Row], decision: Decision) -> plots.Figure:
    cost = decision.needs.save_on
    shown = [row for row in rows if row.get(cost)]
    places = {_name(row): place for place, row in enumerate(shown)}
    inside = {_name(row) for row in decision.fitting}
    size = 1e6 if cost == "parameters" else 1
    return plots.pareto(
        [row["model"] for row in shown],
        [row[cost] / size for row in shown],
        [row["top1"] for row in shown],
        [places[_name(row)] for row in decision.front],
        [places[_name(pick.row)] for pick in decision.picks],
        [place for name, place in places.items() if name not in inside],
        ("million " if size > 1 else "") + shortlist.COSTS[cost],
        "ImageNet top-1 accuracy, %",
        "What fits, what is on the front, and the shortlist",
    )


def _name(row: Row) -> tuple[str, str]:
    return row["model"], row["weights"]
