"""What all widgets share: a picture that describes itself, and a panel around it."""

from __future__ import annotations

import base64
import html
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import ipywidgets
from traitlets import Unicode

from course import plots
from course.errors import CourseError
from course.widgets.accessibility import Accessibility

log = logging.getLogger("course.widgets")

CACHED = 256  # pictures that a panel remembers
ROW = {"display": "flex", "flex_flow": "row wrap", "width": "100%"}
# A control takes half a row where there is room and a whole one at 320 px.
CONTROL = {"flex": "1 1 260px", "width": "auto", "min_width": "200px"}
LABEL = {"description_width": "7em"}


class DescribedImage(ipywidgets.Image):
    """PNG bytes with an accessible name.

    ipywidgets gives its `<img>` no alt. Its `tooltip` becomes the title, but only for
    widgets whose description is empty; an image has none at all, so this one brings
    it. `Accessibility` makes the title an alt.
    """

    description = Unicode("").tag(sync=True)


class Words(ipywidgets.HTML):
    """A line or a page of text below a picture, which screen readers announce."""

    def __init__(self) -> None:
        super().__init__(layout=ipywidgets.Layout(width="auto", max_width="100%"))
        self.add_class("course-words")
        self._problem, self._times = "", 0

    def show(self, markup: str, role: str = "status") -> None:
        """Replace the text by HTML whose parts have been escaped."""
        self._problem, self._times = "", 0
        self.value = f'<div role="{role}" style="line-height:1.4">{markup}</div>'

    def clear(self) -> None:
        """Say nothing."""
        self._problem, self._times, self.value = "", 0, ""

    def say(self, text: str, role: str = "status") -> None:
        """Replace the text by a sentence."""
        self.show(f'<p style="line-height:1.4">{html.escape(text)}</p>', role)

    def fail(self, error: BaseException) -> None:
        """Show an error in one sentence and log it in full.

        The same error once more is counted: what stays as it was would look as if
        nothing had happened.
        """
        log.error("A widget could not do what it was asked.", exc_info=error)
        problem = sentence_of(error)
        times = self._times + 1 if problem == self._problem else 1
        self.say(f"{problem} (Tried {times} times.)" if times > 1 else problem, "alert")
        self._problem, self._times = problem, times


class Picture(ipywidgets.VBox):
    """A picture that changes in place, its description below it, live.

    The bytes are replaced inside one image element, so nothing flickers. An error is
    one sentence in the place of the description; the log holds all of it.
    """

    def __init__(self) -> None:
        # At its own size: stretched, a small picture would push its words off the page.
        size = {"max_width": "100%", "height": "auto", "width": "auto"}
        layout = ipywidgets.Layout(align_self="flex-start", **size)
        self.image = DescribedImage(format="png", layout=layout)
        self.words = Words()
        self.figure: plots.Figure | None = None
        super().__init__([self.image, self.words, Accessibility()])

    @property
    def alt(self) -> str:
        """What the picture shows, in words."""
        return self.figure.alt if self.figure else ""

    def show(self, figure: plots.Figure, note: str | None = None) -> None:
        """Replace the picture; `note` stands below it in the place of its alt."""
        self.figure = figure
        self.image.tooltip = figure.alt
        self.image.value = figure.png
        self.say(figure.alt if note is None else note)

    def say(self, text: str, role: str = "status") -> None:
        """Replace the line below the picture."""
        self.words.say(text, role)

    def fail(self, error: BaseException) -> None:
        """Show an error in one sentence and log it in full."""
        self.words.fail(error)


class Surface(Protocol):
    """Whatever can show an error: a `Picture` or `Words`."""

    def fail(self, error: BaseException) -> None:
        """Show an error in one sentence and log it in full."""


def guarded(surface: Surface, callback: Callable[..., Any]) -> Callable[..., None]:
    """Return a callback whose errors show in the widget and not in a hidden log.

    Args:
        surface: where an error is shown.
        callback: what a control calls.
    """

    def safe(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # whatever it is, the reader must see it
            surface.fail(error)

    return safe


def sentence_of(error: BaseException) -> str:
    """Return one sentence for a reader: ours as it is, others with their type."""
    if isinstance(error, CourseError):
        return str(error)
    first = str(error).strip().splitlines()
    reason = f": {first[0]}" if first else ""
    return f"This could not be shown ({type(error).__name__}{reason})."


def parts(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """Yield the children, layouts and styles that a widget is made of."""
    for name in widget.keys:
        value = getattr(widget, name)
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ipywidgets.Widget):
                yield from parts(part)
                yield part


class Panel(ipywidgets.VBox):
    """A widget with a picture, which a page without a kernel shows as a still.

    Args:
        children: widgets from top to bottom.
        title: what it is, for a page that shows neither widget nor picture.
    """

    def __init__(self, children: Sequence[ipywidgets.Widget], title: str) -> None:
        self.title = title
        layout = ipywidgets.Layout(width="100%", max_width="760px")
        super().__init__(list(children), layout=layout)
        self.add_class("course-panel")
        self.add_class(f"course-{type(self).__name__}")  # how a page can find it

    def still(self) -> plots.Figure | None:
        """Return the picture that stays when there is no kernel."""
        return None

    def close(self) -> None:
        """Close the panel and what it is made of, which ipywidgets would keep."""
        held = [v for v in vars(self).values() if isinstance(v, ipywidgets.Widget)]
        for one in [self, *held]:  # held, and perhaps not shown at present
            for part in list(parts(one)):
                part.close()
            if one is not self:
                one.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data = dict(super()._repr_mimebundle_(**kwargs) or {})
        figure = self.still()
        data["text/plain"] = self.title if figure is None else figure.alt
        if figure is None:
            return data
        data["image/png"] = base64.b64encode(figure.png).decode()
        return data, {"image/png": {"alt": figure.alt}}


class Explorer(Panel):
    """Controls above a picture that is a function of their values.

    Args:
        title: one line on what is explored.
        controls: name to widget; the names are the keywords that `draw` gets.
        draw: from the controls' values to a `plots.Figure` or a uint8 image.
        describe: from the same values to the sentence below the picture; left out,
            the picture's own description stands there.
    """

    def __init__(
        self,
        title: str,
        controls: Mapping[str, ipywidgets.Widget],
        draw: Callable[..., Any],
        describe: Callable[..., str] | None = None,
    ) -> None:
        self.controls = dict(controls)
        self.picture = Picture()
        self._draw, self._describe = draw, describe
        self._cache: dict[Hashable, plots.Figure] = {}
        row = ipywidgets.Box(list(controls.values()), layout=ipywidgets.Layout(**ROW))
        super().__init__([row, self.picture], title)
        draw_state = guarded(self.picture, lambda _: self._draw_state())
        for control in self.controls.values():
            control.observe(draw_state, names="value")
        self.refresh()

    @property
    def state(self) -> dict[str, Any]:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def still(self) -> plots.Figure | None:
        """Return the picture of the present state."""
        return self.picture.figure

    def refresh(self) -> None:
        """Draw the picture of the present state, or say why that failed."""
        guarded(self.picture, self._draw_state)()

    def _draw_state(self) -> None:
        state = self.state
        figure = self._figure(state)
        self.picture.show(figure, self._describe(**state) if self._describe else None)

    def _figure(self, state: dict[str, Any]) -> plots.Figure:
        key = tuple(state.items())
        if key not in self._cache:
            if len(self._cache) >= CACHED:
                self._cache.pop(next(iter(self._cache)))
            self._cache[key] = as_figure(self._draw(**state), in_words(state))
        return self._cache[key]


def as_figure(picture: Any, alt: str) -> plots.Figure:
    """Return a figure as it is, and an image as a figure described by `alt`."""
    return picture if isinstance(picture, plots.Figure) else plots.plain(picture, alt)


def in_words(state: Mapping[str, Any]) -> str:
    """Describe a state: its names and values."""
    parts = [
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in state.items()
    ]
    return ", ".join(parts) + "."


def control(kind: type[ipywidgets.Widget], label: str, **options: Any) -> Any:
    """Make a labelled control that a keyboard reaches and a narrow page wraps."""
    layout = ipywidgets.Layout(**CONTROL)
    return kind(description=label, layout=layout, style=LABEL, **options)


def button(label: str, tooltip: str) -> ipywidgets.Button:
    """Make a button as wide as its label."""
    layout = ipywidgets.Layout(width="auto", max_width="100%")
    return ipywidgets.Button(description=label, tooltip=tooltip, layout=layout)


class PictureSlider(Explorer):
    """A slider over finished pictures.

    Args:
        title: one line on what is explored.
        label: what the slider is called.
        pictures: value to picture, in the slider's order.
        notes: value to the sentence below the picture.
        names: value to what the slider shows for it.
        start: the first value shown.
        tooltip: what moving it does.
    """

    def __init__(
        self,
        title: str,
        label: str,
        pictures: Mapping[Any, Any],
        notes: Mapping[Any, str] | None = None,
        names: Callable[[Any], str] = str,
        start: Any = None,
        tooltip: str = "",
    ) -> None:
        if not pictures:
            raise CourseError(f"{title}: there is no picture to slide over.")
        finished = {
            value: as_figure(picture, f"{label} {names(value)}.")
            for value, picture in pictures.items()
        }
        slider = control(
            ipywidgets.SelectionSlider,
            label,
            options=[(names(value), value) for value in finished],
            value=next(iter(finished)) if start is None else start,
            tooltip=tooltip,
        )
        describe = (lambda value: notes[value]) if notes else None
        super().__init__(
            title, {"value": slider}, lambda value: finished[value], describe
        )
