"""Search of the standard library: say what you look for, and browse what is alike."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from course import plots
from course.errors import CourseError
from course.plots.words import Found
from course.widgets.accessibility import Accessibility
from course.widgets.base import ROW, Panel, Words, control, guarded

Search = Callable[[str], Sequence[Found]]
PAUSE = 0.3  # seconds without a key, after which a query counts as written
ASK = "Write what you look for, such as: {}."
# JupyterLab's colours where there are some, the page's own otherwise.
STYLE = """<style>
.course-DocSearch .widget-html-content { min-width: 0; }
.course-found { margin: 4px 2px; padding: 0 0 0 2em; line-height: 1.4;
  color: var(--jp-content-font-color1, inherit); font-size: 13px; }
.course-found li { padding: 3px 0; overflow-wrap: anywhere; }
.course-found b { font-family: var(--jp-code-font-family, monospace); }
.course-found .course-score { display: flex; align-items: center; gap: 8px;
  font-variant-numeric: tabular-nums; }
.course-found .course-bar { height: 6px; border-radius: 3px;
  background: var(--jp-brand-color1, #0072B2); }
</style>"""


class DocSearch(Panel):
    """Find functions by what their docstrings mean, or browse them (chapter 09).

    Whichever was used last is shown: the words that are written, an example, or a
    group. It searches a moment after the last key, or at Enter.

    Args:
        searches: name of an encoder to its search, from words to the nearest entries,
            the best first; see `search.finder`. The first one is used at the start.
        examples: queries to choose from; the first one is shown at the start.
        groups: name of a group to its most typical entries; see `search.browse`.

    Raises:
        CourseError: there is no search or no example.
    """

    def __init__(
        self,
        searches: Mapping[str, Search],
        examples: Sequence[str],
        groups: Mapping[str, Sequence[Found]] | None = None,
    ) -> None:
        if not searches or not examples:
            raise CourseError("A search needs an encoder's search, and an example.")
        self._searches, self._groups = dict(searches), dict(groups or {})
        self._timer: asyncio.TimerHandle | None = None
        self._setting = False
        self.shown: list[Found] = []
        self.heading = ""
        self.message, self.page = Words(), ipywidgets.HTML()
        self.page.layout.width = "auto"
        self._make_controls(list(examples))
        rows = [
            ipywidgets.Box(row, layout=ipywidgets.Layout(**ROW))
            for row in ([self.query], self._menus())
        ]
        children = [*rows, self.message, self.page, Accessibility()]
        super().__init__(children, "Search of the standard library")
        self._connect()
        guarded(self.message, self._search)()

    def still(self) -> plots.Figure | None:
        """Return the present results as a picture."""
        if not self.shown:
            return None
        return plots.search_results(self.query.value, self.shown, self.heading)

    def _make_controls(self, examples: list[str]) -> None:
        self.query = control(
            ipywidgets.Text,
            "Look for",
            value=examples[0],
            placeholder="what it does, in your words",
            tooltip="Write what the function does; it is searched while you write",
        )
        self.encoder = control(
            ipywidgets.Dropdown,
            "Encoder",
            options=list(self._searches),
            tooltip="Choose what turns words into vectors",
        )
        self.example = control(
            ipywidgets.Dropdown,
            "Example",
            options=examples,
            tooltip="Choose a query that is ready",
        )
        self.group = control(
            ipywidgets.Dropdown,
            "Browse",
            options=list(self._groups),
            value=None,
            tooltip="Choose a group of functions whose docstrings are alike",
        )

    def _menus(self) -> list[ipywidgets.Widget]:
        """Return the menus that offer a choice."""
        menus = [self.encoder] if len(self._searches) > 1 else []
        return [*menus, self.example, *([self.group] if self._groups else [])]

    def _connect(self) -> None:
        self.query.observe(guarded(self.message, self._typed), names="value")
        self.query.on_msg(guarded(self.message, self._submitted))
        for menu, act in (
            (self.encoder, self._search),
            (self.example, self._exemplify),
            (self.group, self._browse),
        ):
            menu.observe(guarded(self.message, self._chosen(act)), names="value")

    def _chosen(self, act: Callable[[], None]) -> Callable[[Any], None]:
        """Return what a menu calls: nothing where a reader did not choose."""

        def chosen(change: Mapping[str, Any]) -> None:
            if not self._setting and change["new"] is not None:
                act()

        return chosen

    def _set(self, one: ipywidgets.Widget, value: Any) -> None:
        """Change a control, which is no choice of the reader's."""
        self._setting = True
        try:
            one.value = value
        finally:
            self._setting = False

    def _typed(self, _: Any) -> None:
        if self._setting:
            return
        self._set(self.example, None)
        self._wait(guarded(self.message, self._search))

    def _wait(self, act: Callable[[], None]) -> None:
        """Act after a pause; at once where nobody would wake us, as in a script."""
        self._stop_waiting()
        try:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, act)
        except RuntimeError:
            act()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _submitted(self, _: Any, content: Mapping[str, Any], __: Any) -> None:
        if content.get("event") == "submit":
            self._search()

    def _exemplify(self) -> None:
        self._set(self.query, self.example.value)
        self._search()

    def _search(self) -> None:
        self._stop_waiting()
        self._set(self.group, None)
        query, name = " ".join(self.query.value.split()), self.encoder.value
        if not query:
            self._show([], "", ASK.format(self.example.options[0]))
            return
        try:
            found = self._searches[name](query)
        except CourseError as error:  # while one writes, half a word is no mistake
            self._show([], "", str(error))
            return
        heading = f"Nearest to “{query}” by {name}"
        self._show(found, heading, _in_words(heading, found))

    def _browse(self) -> None:
        self._stop_waiting()
        name = self.group.value
        heading = f"Most typical of “{name}”"
        self._show(self._groups[name], heading, _in_words(heading, self._groups[name]))

    def _show(self, found: Sequence[Found], heading: str, words: str) -> None:
        self.shown, self.heading = list(found), heading
        self.message.say(words)
        self.page.value = _markup(found, heading)


def _in_words(heading: str, found: Sequence[Found]) -> str:
    if not found:
        return f"{heading}: nothing was found."
    best = found[0]
    return f"{heading}: {len(found)}, first {best.name} ({best.similarity:.2f})."


def _markup(found: Sequence[Found], heading: str) -> str:
    """Return the results as a list: name, first line, similarity and its bar."""
    if not found:
        return ""
    rows = "".join(map(_row, found))
    label = html.escape(heading, quote=True)
    return f'{STYLE}<ol class="course-found" aria-label="{label}">{rows}</ol>'


def _row(one: Found) -> str:
    share = max(0.0, min(1.0, one.similarity))
    bar = f'<span class="course-bar" aria-hidden="true" style="width:{share:.0%}">'
    score = f"{bar}</span><span>{one.similarity:.2f}</span>"
    return (
        f"<li><b>{html.escape(one.name)}</b> {html.escape(one.line)}"
        f'<span class="course-score">{score}</span></li>'
    )
