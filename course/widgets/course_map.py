"""The map of the course: what is done, what comes next, and what to repeat."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets

from course import progress, syllabus
from course.exercises.outline import by_chapter
from course.widgets.accessibility import Accessibility
from course.widgets.base import Panel, Words, button, guarded

# JupyterLab's colours where there are some, the page's own otherwise. Named twice, the
# class comes before JupyterLab's own rules for tables and lists.
STYLE = """<style>
.course-map { color: var(--jp-content-font-color1, inherit); line-height: 1.4; }
.course-map.course-map table { border-collapse: collapse; width: 100%;
  table-layout: fixed; font-size: 13px; margin: 0; }
.course-map.course-map caption { text-align: left; padding: 4px 0; font-weight: bold;
  color: inherit; }
.course-map.course-map :is(th, td) { padding: 6px 8px 6px 4px; text-align: left;
  vertical-align: top; border-bottom: 1px solid var(--jp-border-color1, #bdbdbd);
  overflow-wrap: anywhere; white-space: normal; line-height: 1.4; }
.course-map.course-map thead th:first-child { width: 36%; }
.course-map.course-map tbody th { font-weight: normal; }
.course-map.course-map ul { margin: 0; padding: 0; list-style: none; }
.course-map.course-map li { margin: 0; padding: 1px 0 1px 1.5em; text-indent: -1.5em;
  list-style: none; }
.course-map li b { display: inline-block; width: 1.5em; text-indent: 0; }
.course-map.course-map a { text-decoration: underline; }
</style>"""
TITLE = "The course, and how far you are"


class CourseMap(Panel):
    """The chapters with their exercises, as the reader's progress file has them.

    The table is the same with and without a kernel. The button reads the file again,
    which checks in other chapters have written to.
    """

    def __init__(self) -> None:
        self.exercises = by_chapter()
        self.times = 0
        self.button = button("Refresh", "Read again what other chapters have added")
        # JupyterLab opens the links of an output, but not those of an HTML widget.
        self.page, self.message = ipywidgets.Output(), Words()
        self.button.layout.align_self = "flex-start"
        children = [self.page, self.button, self.message, Accessibility()]
        super().__init__(children, TITLE)
        self.button.on_click(guarded(self.message, lambda _: self.refresh()))
        self._show(progress.Progress())
        guarded(self.message, self._read)()

    def refresh(self) -> None:
        """Read the file again and show what it holds now."""
        self._read()
        self.times += 1
        again = f"Read again, {self.times} time{'s' * (self.times > 1)}. "
        self.message.say(again + kept_where())

    def _read(self) -> None:
        self._show(progress.load())
        self.message.say(kept_where())

    def _show(self, now: progress.Progress) -> None:
        self.progress = now
        data = {"text/html": self.markup, "text/plain": self.title}
        output = {"output_type": "display_data", "data": data, "metadata": {}}
        self.page.outputs = (output,)

    @property
    def markup(self) -> str:
        """The map as HTML."""
        return STYLE + as_page(self.progress, self.exercises)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data = super()._repr_mimebundle_(**kwargs)
        text = syllabus.as_text(self.progress, self.exercises)
        data["text/plain"] = f"{self.title}\n{text}"
        data["text/html"] = self.markup
        return data


def kept_where() -> str:
    """Say where the progress is kept, or that it is not."""
    place = progress.path()
    if place is None:
        return f"Nothing is kept: {progress.VARIABLE} is empty."
    return f"Kept where this notebook runs, in {progress.shown(place)}; sent nowhere."


def as_page(now: progress.Progress, asked: Mapping[str, Sequence[Any]]) -> str:
    """Return the map as HTML: in a sentence, what to repeat, and all in a table."""
    parts = [f"<p>{html.escape(syllabus.summary(now, asked))}</p>"]
    again = syllabus.repeats(now, asked)
    if again:
        items = "".join(f"<li>{_repeat(found)}</li>" for found in again)
        parts.append(f"<p><b>Worth repeating</b></p><ul>{items}</ul>")
    every = syllabus.rows(now, asked)
    body = "".join(_chapter(chapter, every) for chapter in syllabus.CHAPTERS)
    return (
        f'<div class="course-map">{"".join(parts)}<table><caption>{TITLE}</caption>'
        '<thead><tr><th scope="col">chapter</th><th scope="col">exercises</th></tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def _repeat(found: syllabus.Repeat) -> str:
    link = _link(found.chapter, found.chapter.number)
    return f"<b>↻</b>{link} {html.escape(found.text)}"


def _chapter(chapter: syllabus.Chapter, every: Sequence[syllabus.Row]) -> str:
    own = [row for row in every if row.chapter is chapter]
    items = "".join(f"<li>{_exercise(row)}</li>" for row in own)
    minutes = sum(row.asked.minutes for row in own)
    passed = sum(row.done.status == "passed" for row in own)
    name = _link(chapter, f"{chapter.number} {chapter.title}")
    about = f"exercises: {passed} of {len(own)} passed, {minutes} minutes"
    return f'<tr><th scope="row">{name}<br>{about}</th><td><ul>{items}</ul></td></tr>'


def _exercise(row: syllabus.Row) -> str:
    sign, status = syllabus.SIGNS[row.done.status], row.done.status
    text = html.escape(f"{row.asked.title} ({syllabus.state(row)})")
    return f'<b role="img" aria-label="{status}">{sign}</b>{text}'


def _link(chapter: syllabus.Chapter, text: str) -> str:
    return (
        f'<a href="{html.escape(chapter.notebook)}" target="_blank" rel="noopener">'
        f"{html.escape(text)}</a>"
    )
