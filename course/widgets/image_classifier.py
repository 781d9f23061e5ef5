"""The image classifier: hand a model your own picture and see what it says."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from course import explain, explained, plots
from course.data.pictures import decoded, from_path, short
from course.errors import CourseError
from course.models import Model
from course.widgets.base import (
    ROW,
    Panel,
    Picture,
    Surface,
    Words,
    button,
    control,
    guarded,
)
from course.widgets.file_drop import LIMIT_MB, Dropped, FileDrop


class ImageClassifier(Panel):
    """Drop pictures, name a path or choose an example, and see them classified.

    The control that was used last decides. Several pictures that were dropped at once
    are classified in turn, and a menu goes back to each. Nothing is written to disk.

    Args:
        classify: a model, whose likeliest classes are shown with the map of the
            evidence for one of them (Grad-CAM); or a function from a PIL image in
            RGB, or an example as it was given, to the figure of the answer, such as
            `plots.predictions` draws (chapter 00).
        examples: name to picture; the first one is shown at once.
        top: how many classes of a model are shown.

    Raises:
        CourseError: there is no example.
    """

    def __init__(
        self,
        classify: Model | Callable[[Any], plots.Figure],
        examples: Mapping[str, Any],
        top: int = 5,
    ) -> None:
        if not examples:
            raise CourseError("The image classifier needs at least one example.")
        self._examples = dict(examples)
        self._view = _Explained(classify, top) if isinstance(classify, Model) else None
        self._classify = self._view.answer if self._view else classify
        self._name = ""
        self._batch: list[tuple[Any, str]] = []
        self._refused: list[str] = []
        self.picture, self.problems = Picture(), Words()
        self._make_controls()
        layout = ipywidgets.Layout(**ROW)
        self.row = ipywidgets.Box([self.example, self.path, self.button], layout=layout)
        more = [ipywidgets.Box([self._view.menu], layout=layout)] if self._view else []
        children = [self.drop, self.row, *more, self.problems, self.picture]
        super().__init__(children, "Image classifier")
        self._connect()
        guarded(self.picture, self._choose)()

    def still(self) -> plots.Figure | None:
        """Return the answer that is shown."""
        return self.picture.figure

    def _make_controls(self) -> None:
        self.drop = FileDrop(
            "Choose pictures",
            f"Choose files of this computer, at most {LIMIT_MB} MB each",
            self.picture,
            self._arrived,
        )
        self.example = control(
            ipywidgets.Dropdown,
            "Example",
            options=list(self._examples),
            tooltip="Choose one of the pictures that are at hand",
        )
        self.dropped = control(
            _Menu, "Dropped", tooltip="Go back to one of these pictures"
        )
        self.path = control(
            ipywidgets.Text,
            "Or its path",
            placeholder="path of a file where the notebook runs",
            continuous_update=False,  # typed fast, a submit overtakes the last letters
            tooltip="Write the path of a picture, then press Enter",
        )
        self.button = button("Open", "Classify the picture at this path")

    def _connect(self) -> None:
        self.example.observe(
            guarded(self.picture, lambda _: self._choose()), names="value"
        )
        self.dropped.on_choice(self.picture, self._go_back)
        self.button.on_click(guarded(self.picture, lambda _: self._open_path()))
        self.path.observe(guarded(self.picture, self._written), names="value")
        if view := self._view:
            view.menu.on_choice(self.picture, lambda: self._show(view.figure()))

    def _choose(self) -> None:
        name = self.example.value
        if name is not None:
            self._answer(self._examples[name], name)
            self.dropped.value = None

    def _written(self, change: dict[str, Any]) -> None:
        if change["new"].strip():  # a box that was emptied asks for nothing
            self._open_path()

    def _open_path(self) -> None:
        self._answer(from_path(self.path.value), short(self.path.value))
        self.example.value = self.dropped.value = None

    def _arrived(self, file: Dropped) -> None:
        """Classify a file that was dropped, or say what is wrong with it."""
        if file.place == 0:
            self._batch, self._refused = [], []
            self.problems.clear()
            self._offer()
        try:
            image = decoded(io.BytesIO(file.read()), file.name)
        except CourseError as error:
            self._refuse(file, error)
            return
        self._batch.append((image, file.name))
        self._answer(image, file.name)
        self.example.value = None
        self._offer()

    def _refuse(self, file: Dropped, error: CourseError) -> None:
        """Keep what is wrong with one of several: the next answer would replace it."""
        if file.count < 2:
            raise error
        if str(error) not in self._refused:
            self._refused.append(str(error))
        self.problems.say(" ".join(self._refused), "alert")

    def _offer(self) -> None:
        """Show the menu of what was dropped while there is something to choose."""
        names = [f"{place}: {name}" for place, (_, name) in enumerate(self._batch, 1)]
        options = [(name, place) for place, name in enumerate(names)]
        last = len(options) - 1 if options else None
        self.dropped.fill(options, last)
        menus = [self.example, *([self.dropped] if len(names) > 1 else [])]
        self.row.children = [*menus, self.path, self.button]

    def _go_back(self) -> None:
        if self.dropped.value is not None:
            self._answer(*self._batch[self.dropped.value])
            self.example.value = None

    def _answer(self, image: Any, name: str) -> None:
        figure = self._classify(image)
        self._name = name
        self._show(figure)

    def _show(self, figure: plots.Figure) -> None:
        self.picture.show(plots.Figure(figure.png, f"{self._name}: {figure.alt}"))


class _Menu(ipywidgets.Dropdown):
    """A menu whose options change with what is shown."""

    _filling = False

    def fill(self, options: list[tuple[str, int]], value: int | None) -> None:
        """Replace the options and the value, which is no choice of the reader's."""
        self._filling = True
        try:
            with self.hold_sync():
                self.options, self.value = options, value
        finally:
            self._filling = False

    def on_choice(self, surface: Surface, act: Callable[[], None]) -> None:
        """Call `act` when the reader chooses; its errors show on `surface`."""
        self.observe(
            guarded(surface, lambda _: None if self._filling else act()), names="value"
        )


class _Explained:
    """A model's answer with the map of one of its likeliest classes, and their menu."""

    def __init__(self, model: Model, top: int) -> None:
        self.menu = control(
            _Menu,
            "Explain",
            tooltip="Choose the class whose evidence the map shows",
        )
        self._model, self._top = model, top
        self._image: Any = None
        self._likely: list[explained.Likely] = []

    def answer(self, image: Any) -> plots.Figure:
        """Return the figure of a picture, its likeliest class explained."""
        likely = explained.likeliest(self._model, image, self._top)
        self._image, self._likely = image, likely
        options = [
            (f"{n}: {one.name}" + " (predicted)" * (n == 1), n - 1)
            for n, one in enumerate(likely, start=1)
        ]
        self.menu.fill(options, 0)
        return self.figure()

    def figure(self) -> plots.Figure:
        """Return the figure of the present picture and the class that is chosen."""
        place = self.menu.value
        found = explained.evidence(self._model, self._image, self._likely[place].index)
        self.menu.disabled = found.heat is None
        figure = plots.explained(
            self._image,
            [(one.name, one.probability) for one in self._likely],
            explain.as_seen(self._model, self._image)[0],
            found.heat,
            place,
        )
        return plots.Figure(figure.png, f"{figure.alt} {found.why}".strip())
