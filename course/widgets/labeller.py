"""The labeller: one picture at a time, one key a class, each answer kept at once."""

from __future__ import annotations

import html
import string
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from course import plots
from course.data.pictures import short
from course.errors import CourseError
from course.labels import Labelling
from course.widgets.accessibility import Accessibility
from course.widgets.base import ROW, Panel, Surface, Words, button, guarded

# Z takes an answer back, so it names no class.
KEYS = "123456789" + string.ascii_lowercase.replace("z", "") + "0"
UNDO, SKIP = ("z", "Backspace"), (" ",)
STILL, SMALL = 12, 240  # pictures on a page without a kernel, and their pixels
LOOKS = """
.course-stage { display: flex; align-items: center; justify-content: center;
  box-sizing: border-box; height: 300px; max-width: 100%; padding: 6px;
  border: 1px solid var(--jp-border-color1, #bdbdbd); border-radius: 3px;
  background: var(--jp-layout-color2, #eee); }
.course-stage:focus, .course-panel .course-stage:focus-visible { outline-offset: -3px;
  outline: 3px solid var(--jp-brand-color1, #0072b2); }
.course-stage img { max-width: 100%; max-height: 100%; object-fit: contain; }
.course-stage p { margin: 0; color: var(--jp-ui-font-color1, #222); }
.course-stage [hidden] { display: none; }
.course-stage-name { overflow-wrap: anywhere; padding: 3px 1px; min-height: 1.4em;
  line-height: 1.4; color: var(--jp-ui-font-color1, #222); }
.course-stage-bar { display: block; width: 100%; height: 8px;
  accent-color: var(--jp-brand-color1, #0072b2); }
.course-Labeller button.jupyter-button { height: auto; min-height: 30px;
  line-height: 1.3; padding: 4px 10px; white-space: normal; overflow-wrap: anywhere; }
"""


class LabelStage(anywidget.AnyWidget):
    """The picture of a labeller and the keys that are pressed on it.

    Args:
        keys: those that mean something, as the browser calls them.
        surface: where an error of `pressed` is shown.
        pressed: called with a key.
    """

    _esm = Path(__file__).with_name("labeller.js").read_text("utf-8")
    _css = LOOKS

    picture = traitlets.Bytes(b"").tag(sync=True)
    name = traitlets.Unicode("").tag(sync=True)
    closing = traitlets.Unicode("").tag(sync=True)  # in the place of a picture
    label = traitlets.Unicode("").tag(sync=True)
    wanted = traitlets.List(traitlets.Unicode()).tag(sync=True)
    done = traitlets.Int(0).tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    turn = traitlets.Int(0).tag(sync=True)  # grows with each answer

    def __init__(
        self, keys: Sequence[str], surface: Surface, pressed: Callable[[str], None]
    ) -> None:
        super().__init__(wanted=list(keys))
        self._pressed = pressed
        self.on_msg(guarded(surface, self._received))

    def _received(self, _: Any, content: Any, buffers: Any) -> None:
        """Take a key, unless it was meant for a picture that has gone."""
        if isinstance(content, dict) and content.get("turn") == self.turn:
            self._pressed(str(content.get("key")))


class Labeller(Panel):
    """Label a small folder of pictures, with one key or one button for each class.

    Every answer is in the CSV file before the next picture is shown, so a label is
    never lost; running the cell again goes on where it was. `data.folder` reads the
    file as a data set.

    Args:
        folder: of pictures, also inside further folders.
        classes: names of the classes; the first has the key 1.
        file: where the labels are kept, beside the pictures or in a folder above
            them; None for ``labels.csv`` beside them.

    Raises:
        CourseError: the folder, a class name or the file cannot be used, or there are
            more classes than keys.
    """

    def __init__(
        self,
        folder: str | Path,
        classes: Sequence[str],
        file: str | Path | None = None,
    ) -> None:
        self.labelling = Labelling(folder, classes, file)
        names = self.labelling.classes
        if len(names) > len(KEYS):
            raise CourseError(
                f"There are {len(names)} classes, and the labeller has keys for "
                f"{len(KEYS)}; label coarser classes first, then each of them finer."
            )
        self.by_key = dict(zip(KEYS, names, strict=False))
        self.words, self.unreadable = Words(), Words()
        every = [*self.by_key, *UNDO, *SKIP]
        self.stage = LabelStage(every, self.words, self._key)
        self.buttons = [
            _button(f"{key}  {name}", f"Label this picture {name} (key {key})")
            for key, name in self.by_key.items()
        ]
        self.undo_button = _button("Undo", "Take the last answer back (Z or Backspace)")
        self.skip_button = _button("Skip", "Show the next picture (Space)")
        more = [self.undo_button, self.skip_button]
        rows = [
            ipywidgets.Box(row, layout=ipywidgets.Layout(**ROW))
            for row in (self.buttons, more)
        ]
        super().__init__(
            [self.stage, *rows, self.words, self.unreadable, Accessibility()],
            "Labeller",
        )
        self._connect()
        self._show()
        self.words.say(self._greeting())

    def label(self, name: str) -> None:
        """Give the picture that is shown a label, as its key does.

        Args:
            name: one of the classes.

        Raises:
            CourseError: there is no such class or no picture left, or the label could
                not be kept.
        """
        file = self._answered(lambda: self.labelling.label(name))
        self.words.say(f"{short(file)}: {name}; {self._progress()}.{self._end()}")

    def skip(self) -> None:
        """Pass the picture over, or go through those that were skipped once more.

        Raises:
            CourseError: there is no picture left.
        """
        if self.labelling.current() is None and self.labelling.skipped:
            count = self._answered(self.labelling.again)
            self.words.say(f"The skipped pictures once more: {count}.")
            return
        file = self._answered(self.labelling.skip)
        self.words.say(f"{short(file)}: skipped; {self._progress()}.{self._end()}")

    def undo(self) -> None:
        """Take the last answer back and show its picture again.

        Raises:
            CourseError: there is none, or the file cannot be written.
        """
        file = self._answered(self.labelling.undo)
        self.words.say(f"{short(file)}: taken back; {self._progress()}.")

    def still(self) -> plots.Figure | None:
        """Return the first pictures with their labels so far."""
        rows = self.labelling.first(STILL)
        if not rows:
            return None
        labels = [self.labelling.labels.get(name, "no label yet") for name, _ in rows]
        for _, picture in rows:
            picture.thumbnail((SMALL, SMALL))
        caption = f"{self._progress()} labelled"
        with warnings.catch_warnings(action="ignore"):  # a letter that no font has
            return plots.image_grid([p for _, p in rows], labels, 6, caption)

    def _connect(self) -> None:
        for key, one in zip(self.by_key, self.buttons, strict=True):
            one.on_click(guarded(self.words, lambda _, key=key: self._key(key)))
        self.undo_button.on_click(guarded(self.words, lambda _: self.undo()))
        self.skip_button.on_click(guarded(self.words, lambda _: self.skip()))

    def _key(self, key: str) -> None:
        if key in UNDO:
            self.undo()
        elif key in SKIP:
            self.skip()
        elif key in self.by_key:
            self.label(self.by_key[key])

    def _answered(self, act: Callable[[], Any]) -> Any:
        """Do what was asked, or not, and show what comes next."""
        try:
            return act()
        finally:
            self._show()

    def _show(self) -> None:
        now = self.labelling.current()
        stage, done, total = self.stage, self.labelling.done, len(self.labelling.names)
        with stage.hold_sync():
            stage.picture = b"" if now is None else plots.plain(now[1], "").png
            stage.name = "" if now is None else now[0]
            stage.done, stage.total = done, total
            stage.closing = "" if now else self._closing()
            stage.label = self._instructions()
            stage.turn += 1
        for one in self.buttons:
            one.disabled = now is None
        again = now is None and bool(self.labelling.skipped)
        self.skip_button.description = "The skipped once more" if again else "Skip"
        self.skip_button.disabled = now is None and not again
        self.undo_button.disabled = not self.labelling.can_undo
        self._list_unreadable()

    def _list_unreadable(self) -> None:
        rows = [
            f"<li>{html.escape(short(name))}: {html.escape(reason)}</li>"
            for name, reason in self.labelling.unreadable.items()
        ]
        noun = "file" if len(rows) == 1 else "files"
        markup = (
            f"<details><summary>{len(rows)} {noun} cannot be read and "
            f"{'is' if len(rows) == 1 else 'are'} left out</summary>"
            f"<ul>{''.join(rows)}</ul></details>"
        )
        if not rows:
            self.unreadable.clear()
        elif markup not in self.unreadable.value:  # or an open list would close
            self.unreadable.show(markup)

    def _progress(self) -> str:
        return f"{self.labelling.done} of {len(self.labelling.names)}"

    def _instructions(self) -> str:
        keys = ", ".join(f"{key} {name}" for key, name in self.by_key.items())
        return f"Labelling, by key: {keys}, Space to skip, Z to take back."

    def _greeting(self) -> str:
        done = f" {self._progress()} are labelled." if self.labelling.done else ""
        foreign = [
            f"{name} ({count})"
            for name, count in self.labelling.counts().items()
            if name not in self.labelling.classes
        ]
        kept = f" Labels of no class here are kept: {', '.join(foreign)}."
        return (
            "Click the picture, then press the key of its class; Space skips, Z takes "
            f"back.{done}{kept if foreign else ''}{self._end()}"
        )

    def _end(self) -> str:
        return "" if self.labelling.current() else f" {self._closing()}"

    def _closing(self) -> str:
        if self.labelling.skipped:
            return f"The end; {len(self.labelling.skipped)} skipped."
        if not self.labelling.names:
            return "None of the files can be read as a picture."
        counts = self.labelling.counts().items()
        found = ", ".join(f"{name} {count}" for name, count in counts)
        return f"All are labelled: {found}. They are in {self.labelling.file.name}."


def _button(label: str, tooltip: str) -> ipywidgets.Button:
    made = button(label, tooltip)
    made.layout.min_width = "44px"  # for a finger
    return made
