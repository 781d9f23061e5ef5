"""The results table: sort it by a column and show only some of its rows."""

from __future__ import annotations

import html
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from course import evidence
from course.errors import CourseError, unknown
from course.widgets.accessibility import Accessibility
from course.widgets.base import ROW, Panel, Words, control, guarded, log, sentence_of

Row = Mapping[str, Any]
GIVEN = "the order given"
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
CONDITION = re.compile(r"\s*(.+?)\s*(>=|<=|!=|>|<|=)\s*(.+?)\s*")
# JupyterLab's colours where there are some, the page's own otherwise.
STYLE = """<style>
.course-ResultsTable .widget-html-content { min-width: 0; }
.course-results { overflow-x: auto; color: var(--jp-content-font-color1, inherit); }
.course-results table { border-collapse: collapse; font-size: 13px;
  font-variant-numeric: tabular-nums; }
.course-results caption { text-align: left; padding: 4px 0; font-weight: bold;
  color: inherit; }
.course-results th, .course-results td { padding: 3px 8px; line-height: 1.4;
  border-bottom: 1px solid var(--jp-border-color1, #bdbdbd); }
.course-results thead th { vertical-align: bottom; text-align: left; }
.course-results th[aria-sort] { text-decoration: underline; }
.course-results tbody th { font-weight: normal; }
.course-results td[style*="right"] { white-space: nowrap; }
</style>"""


class ResultsTable(Panel):
    """Sort results by any column, and filter them (chapter 03).

    A page without a kernel shows the table as it stands, without the controls.

    Args:
        rows: mappings from column to value, worded as `evidence.table` does.
        caption: one line above the table.
        columns: which columns, in order; None for those of the first row.

    Raises:
        CourseError: there are neither rows nor columns.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        caption: str = "",
        columns: Sequence[str] | None = None,
    ) -> None:
        self.caption, self.shown = caption, list(rows)
        self._fixed = list(columns) if columns is not None else None
        if not len(rows) and not self._fixed:
            raise CourseError("A results table needs at least one row, or its columns.")
        self.rows: list[Row] = []
        self.sort = control(
            ipywidgets.Dropdown,
            "Sort by",
            options=[GIVEN],
            tooltip="Choose the column whose values order the rows",
        )
        self.descending = ipywidgets.Checkbox(
            description="Descending",
            tooltip="Put the largest first",
            indent=False,
            layout=ipywidgets.Layout(width="auto", margin="2px 14px"),
        )
        self.filter = control(
            ipywidgets.Text,
            "Show only",
            placeholder="a word, or a column > a number",
            continuous_update=False,
            tooltip="Rows with this word, or for example: accuracy > 0.9. Press Enter",
        )
        self.page, self.message = ipywidgets.HTML(), Words()
        self.page.layout.width = "auto"  # as wide as the panel, margins included
        row = ipywidgets.Box(
            [self.sort, self.descending, self.filter], layout=ipywidgets.Layout(**ROW)
        )
        children = [row, self.message, self.page, Accessibility()]
        super().__init__(children, caption or "Results")
        for one in (self.sort, self.descending, self.filter):
            one.observe(guarded(self.message, self._changed), names="value")
        self.show(rows)

    @property
    def columns(self) -> list[str]:
        """The columns, in order."""
        return self._fixed or list(self.rows[0] if self.rows else ())

    @property
    def order(self) -> tuple[str, bool] | None:
        """The column that orders the rows and whether it descends, or None."""
        by = self.sort.value
        return None if by == GIVEN else (by, self.descending.value)

    def show(self, rows: Sequence[Row], columns: Sequence[str] | None = None) -> None:
        """Replace the rows; order and filter stay as the reader has set them.

        Args:
            rows: as at the start.
            columns: which columns, in order; None for those that were there.
        """
        self.rows = list(rows)
        self._fixed = self._fixed if columns is None else list(columns)
        if list(self.sort.options) != [GIVEN, *self.columns]:
            kept = self.sort.value
            self.sort.options = [GIVEN, *self.columns]
            self.sort.value = kept if kept in self.sort.options else GIVEN
        self._changed(None)

    def _changed(self, _: Any) -> None:
        try:
            self.shown = arranged(
                self.rows,
                self.columns,
                self.sort.value,
                self.descending.value,
                self.filter.value,
            )
        except CourseError as error:  # a filter that was mistyped: the table stays
            log.info("A results table was given a bad filter.", exc_info=error)
            self.message.say(sentence_of(error), "alert")
            return
        self.message.say(self._sentence())
        self.page.value = self._markup()

    def _sentence(self) -> str:
        if not self.rows:
            return "No row yet."
        by, down = self.sort.value, self.descending.value
        if by == GIVEN:
            how = f"in {by}" + (", turned round" if down else "")
        else:
            how = f"sorted by {by}, {'descending' if down else 'ascending'}"
        return f"{len(self.shown)} of {len(self.rows)} rows, {how}."

    def bundle(self) -> dict[str, str]:
        """Return the table as it is shown, as HTML and as plain text."""
        return evidence.table_bundle(
            self.shown, self.columns, self.caption, order=self.order, right=True
        )

    def _markup(self) -> str:
        # A table that is wider than the page is scrolled, and so must take the focus.
        label = html.escape(self.caption or "Results", quote=True)
        region = '<div class="course-results" tabindex="0" role="region" aria-label='
        return f'{STYLE}{region}"{label}">{self.bundle()["text/html"]}</div>'

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return {**super()._repr_mimebundle_(**kwargs), **self.bundle()}


def arranged(
    rows: Sequence[Row],
    columns: Sequence[str],
    by: str = GIVEN,
    descending: bool = False,
    condition: str = "",
) -> list[Row]:
    """Return the rows that a filter lets through, in order.

    Args:
        rows: mappings from column to value.
        columns: those that are shown.
        by: the column to sort by, or `GIVEN`; of equal rows the earlier comes first.
        descending: the largest first; numbers come before words, and empty cells last,
            either way.
        condition: a word that a cell must hold, or a condition such as
            ``"accuracy > 0.9"``; empty for all rows.

    Raises:
        CourseError: the condition names no column, or compares with no number.
    """
    passes = _condition(condition, columns)
    kept = [row for row in rows if passes(row)]
    if by == GIVEN:
        return kept[::-1] if descending else kept
    numbers = [row for row in kept if evidence.as_number(row.get(by)) is not None]
    others = [row for row in kept if evidence.as_number(row.get(by)) is None]
    numbers.sort(key=lambda row: evidence.as_number(row.get(by)), reverse=descending)
    others.sort(key=lambda row: _text(row, by).casefold(), reverse=descending)
    empty = [row for row in others if not _text(row, by)]
    return numbers + [row for row in others if _text(row, by)] + empty


def _text(row: Row, column: str) -> str:
    return evidence.cell(row.get(column, ""))


def _condition(text: str, columns: Sequence[str]) -> Callable[[Row], bool]:
    found = CONDITION.fullmatch(text)
    if found is None:
        word = text.strip().casefold()
        return lambda row: any(word in _text(row, c).casefold() for c in columns)
    name, sign, wanted = found.groups()
    column = next((c for c in columns if c.casefold() == name.casefold()), None)
    if column is None:
        raise unknown("column", name, columns)
    if sign in ("=", "!="):
        return lambda row: _equals(row, column, wanted) == (sign == "=")
    number = evidence.as_number(wanted)
    if number is None:
        raise CourseError(
            f"The filter compares {column} with {wanted!r}; expected a number, such as "
            f"{column} {sign} 0.9."
        )
    return lambda row: _compares(row, column, sign, number)


def _equals(row: Row, column: str, wanted: str) -> bool:
    """Say whether a cell reads like that, or is the same number."""
    if _text(row, column).casefold() == wanted.casefold():
        return True
    value = evidence.as_number(row.get(column))
    return value is not None and value == evidence.as_number(wanted)


def _compares(row: Row, column: str, sign: str, number: float) -> bool:
    value = evidence.as_number(row.get(column))
    return value is not None and RELATIONS[sign](value, number)
