"""The strategy lab: freeze blocks, choose rates, train for seconds, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from course.errors import CourseError, unknown
from course.widgets.background import WatchedTraining
from course.widgets.base import ROW, Words, button, control, guarded
from course.widgets.results_table import ResultsTable

SECONDS = 10.0  # for one training, at most


class StrategyLab(WatchedTraining):
    """Put a fine-tuning strategy together, train it and compare it (chapter 03).

    The lab trains nothing itself. A training runs beside the page, until its last step,
    its time is up or Stop is pressed; its row then joins the others.

    Args:
        train: called as ``train(settings, after_step=..., stop=...)``. The settings are
            "frozen" (a tuple of names of blocks), "backbone_rate", "head_rate" and
            "labels". It reports steps as `LossMonitor` expects and returns what the
            row is to say, such as the accuracy on a validation part.
        blocks: what can be frozen, from the input on; the head always trains.
        rates: learning rates to choose from, for backbone and head.
        labels: numbers of labels a class to choose from.
        title: one line above the loss.
        caption: one line above the table: what was measured, and on which part.
        seconds: after which a training is asked to stop.
    """

    def __init__(
        self,
        train: Callable[..., Mapping[str, Any]],
        blocks: Sequence[str],
        rates: Sequence[float],
        labels: Sequence[int],
        *,
        title: str = "Your own strategy",
        caption: str = "Your runs",
        seconds: float = SECONDS,
    ) -> None:
        for name, values in {
            "blocks": blocks,
            "rates": rates,
            "labels": labels,
        }.items():
            if not len(values):
                raise CourseError(f"A strategy lab needs one or more {name}.")
        super().__init__(title, seconds)
        self._train, self.runs = train, []
        self.boxes = {name: _box(name) for name in blocks}
        self.sliders = {
            "backbone_rate": _slider("Backbone rate", map("{:g}".format, rates), rates),
            "head_rate": _slider("Head rate", map("{:g}".format, rates), rates),
            "labels": _slider("Labels a class", map(str, labels), labels),
        }
        self.go = button("Train", f"Train with these settings, {seconds:g} s at most")
        self.go.on_click(guarded(self.picture, lambda _: self.run(background=True)))
        self.summary = Words()
        self.table = ResultsTable([], caption, columns=["run"])
        self.table.layout.display = "none"  # until there is a row
        self.children = self._arranged()
        for one in (*self.boxes.values(), *self.sliders.values()):
            one.observe(guarded(self.summary, self._describe), names="value")
        self._describe(None)

    def _arranged(self) -> list[ipywidgets.Widget]:
        rows = [self.boxes.values(), self.sliders.values(), (self.go, self.button)]
        layout = ipywidgets.Layout(**ROW)
        boxes = [ipywidgets.Box(list(row), layout=layout) for row in rows]
        return [*boxes[:2], self.summary, boxes[2], self.picture, self.table]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as the controls say, as `train` gets them."""
        frozen = tuple(name for name, box in self.boxes.items() if box.value)
        return {"frozen": frozen} | {n: s.value for n, s in self.sliders.items()}

    def try_out(self, **settings: Any) -> dict[str, Any]:
        """Set the controls, train, wait, and return the new row of the table.

        Args:
            settings: those of `settings` that are to change.

        Raises:
            CourseError: a setting, block or value is unknown, or a training is already
                running; and whatever the training raised.
        """
        for name, value in settings.items():
            if name == "frozen":
                self._freeze(value)
            elif name not in self.sliders:
                raise unknown("setting", name, ["frozen", *self.sliders])
            else:
                _choose(self.sliders[name], value)
        return self.run()

    def run(self, background: bool = False) -> dict[str, Any] | None:
        """Train with the present settings.

        Args:
            background: return None at once and train in a thread; otherwise wait, as a
                run without a reader must, and return the new row of the table.

        Raises:
            CourseError: where a training is already running; and, when it waits,
                whatever the training raised.
        """
        self._prepare()
        self.go.disabled = True
        settings = self.settings  # as they are now, whatever is moved meanwhile

        def train(**hooks: Any) -> Mapping[str, Any]:
            return self._join(settings, self._train(settings, **hooks))

        if background:
            self._start(train)
            return None
        self._work(train)
        if self.error is not None:
            raise self.error
        return self.result

    def _join(self, settings: Mapping[str, Any], result: Mapping[str, Any]) -> Any:
        ended = "time was up" if self.out_of_time else "stopped"
        row = {
            "run": len(self.runs) + 1,
            **in_cells(settings, tuple(self.boxes)),
            **result,
            "steps": len(self.rows),
            "ended": ended if self.stopped else "at the last step",
        }
        self.runs = [*self.runs, row]
        self.table.show(self.runs, list(row))
        self.table.layout.display = ""
        return row

    def _ended(self) -> None:
        self.go.disabled = False

    def _freeze(self, names: str | Sequence[str]) -> None:
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            if name not in self.boxes:
                raise unknown("block", name, self.boxes)
        for name, box in self.boxes.items():
            box.value = name in names

    def _describe(self, _: Any) -> None:
        self.summary.say(in_words(self.settings, tuple(self.boxes)))


def _box(name: str) -> ipywidgets.Checkbox:
    return ipywidgets.Checkbox(
        description=f"Freeze {name}",
        tooltip=f"Whether {name} stays as it was pretrained",
        indent=False,
        layout=ipywidgets.Layout(width="auto", margin="2px 14px 2px 2px"),
    )


def _slider(label: str, names: Any, values: Sequence[Any]) -> Any:
    slider = control(
        ipywidgets.SelectionSlider,
        label,
        options=list(zip(names, values, strict=True)),
        value=values[len(values) // 2],
        tooltip=f"Choose: {label.lower()}",
    )
    slider.style.description_width = "8.5em"  # room for the longest of the three
    return slider


def _choose(slider: Any, value: Any) -> None:
    values = [known for _, known in slider.options]
    if value not in values:
        raise unknown(slider.description.lower(), value, map(str, values))
    slider.value = value


def in_cells(settings: Mapping[str, Any], blocks: Sequence[str]) -> dict[str, Any]:
    """Return settings as the first cells of a row.

    Args:
        settings: as `StrategyLab.settings`.
        blocks: all that can be frozen.
    """
    frozen = settings["frozen"]
    everything = len(frozen) == len(blocks)
    rate = "" if everything else f"{settings['backbone_rate']:g}"
    return {
        "frozen": "all but the head" if everything else ", ".join(frozen) or "nothing",
        "backbone rate": rate,
        "head rate": f"{settings['head_rate']:g}",
        "labels": settings["labels"],
    }


def in_words(settings: Mapping[str, Any], blocks: Sequence[str]) -> str:
    """Return settings as a sentence, which is read out as they are changed."""
    cells = in_cells(settings, blocks)
    rates = f"the head learns at {cells['head rate']}"
    if cells["backbone rate"]:
        who = "rest of the backbone" if settings["frozen"] else "backbone"
        rates = f"the {who} learns at {cells['backbone rate']}, {rates}"
    return f"Frozen: {cells['frozen']}; {rates}; labels a class: {cells['labels']}."
