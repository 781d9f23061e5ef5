"""The image classifier: hand a model your own picture and see what it says."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from course import plots
from course.data.pictures import decoded, from_path, short
from course.errors import CourseError
from course.widgets.base import ROW, Panel, Picture, Words, button, control, guarded

LIMIT_MB = 8  # a message of more than 10 MiB never reaches the kernel, without a word


class ImageClassifier(Panel):
    """Upload a picture, name its path or choose an example, and see it classified.

    The control that was used last decides. Nothing is written to disk.

    Args:
        classify: from a PIL image in RGB, or an example as it was given, to the
            figure of the answer, such as `plots.predictions` draws (chapter 00).
        examples: name to picture; the first one is shown at once.

    Raises:
        CourseError: there is no example.
    """

    def __init__(
        self, classify: Callable[[Any], plots.Figure], examples: Mapping[str, Any]
    ) -> None:
        if not examples:
            raise CourseError("The image classifier needs at least one example.")
        self._classify, self._examples = classify, dict(examples)
        self.picture = Picture()
        self.example = control(
            ipywidgets.Dropdown,
            "Example",
            options=list(self._examples),
            tooltip="Choose one of the pictures that are at hand",
        )
        self.upload = ipywidgets.FileUpload(
            description="Upload a picture",
            accept="image/*",
            tooltip=f"Choose a file of this computer, at most {LIMIT_MB} MB",
            layout=ipywidgets.Layout(width="auto", max_width="100%"),
        )
        self.path = control(
            ipywidgets.Text,
            "Or its path",
            placeholder="path of a file where the notebook runs",
            continuous_update=False,  # typed fast, a submit overtakes the last letters
            tooltip="Write the path of a picture, then press Enter",
        )
        self.button = button("Open", "Classify the picture at this path")
        self.hint = Words()
        self.hint.say(
            f"Uploads of more than {LIMIT_MB} MB are lost without a message: write the "
            "file's path instead. Nothing is stored."
        )
        layout = ipywidgets.Layout(**ROW)
        row = [self.example, self.upload, self.path, self.button]
        super().__init__(
            [ipywidgets.Box(row, layout=layout), self.hint, self.picture],
            "Image classifier",
        )
        self._connect()
        guarded(self.picture, self._choose)()

    def still(self) -> plots.Figure | None:
        """Return the answer that is shown."""
        return self.picture.figure

    def _connect(self) -> None:
        self.example.observe(
            guarded(self.picture, lambda _: self._choose()), names="value"
        )
        self.upload.observe(guarded(self.picture, self._uploaded), names="value")
        self.button.on_click(guarded(self.picture, lambda _: self._open_path()))
        self.path.observe(guarded(self.picture, self._written), names="value")

    def _choose(self) -> None:
        name = self.example.value
        if name is not None:
            self._answer(self._examples[name], name)

    def _uploaded(self, change: dict[str, Any]) -> None:
        if not change["new"]:
            return
        file = change["new"][0]
        # Emptied, or the same file once more would be no change and look ignored.
        self.upload.value = ()
        name = short(file["name"])
        self._answer(decoded(io.BytesIO(bytes(file["content"])), name), name)
        self.example.value = None

    def _written(self, change: dict[str, Any]) -> None:
        if change["new"].strip():  # a box that was emptied asks for nothing
            self._open_path()

    def _open_path(self) -> None:
        self._answer(from_path(self.path.value), short(self.path.value))
        self.example.value = None

    def _answer(self, image: Any, name: str) -> None:
        figure = self._classify(image)
        self.picture.show(plots.Figure(figure.png, f"{name}: {figure.alt}"))
