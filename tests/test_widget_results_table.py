"""The results table: its order, its filter, and the page without a kernel."""

import logging
import re

import pytest

from course import evidence, widgets
from course.errors import CourseError
from course.widgets.results_table import GIVEN, arranged

ROWS = [
    {"strategy": "probe", "accuracy": [0.80, 0.90], "numbers": "2,570"},
    {"strategy": "full", "accuracy": 0.95, "numbers": "1,227,338"},
    {"strategy": "Scratch", "accuracy": 0.4, "numbers": "1,227,338"},
    {"strategy": "<lora>", "accuracy": "", "numbers": "61,000"},
]
COLUMNS = ["strategy", "accuracy", "numbers"]


def table():
    return widgets.ResultsTable(ROWS, "Four strategies")


def names(rows):
    return [row["strategy"] for row in rows]


def shown(widget):
    return re.findall(r'<th scope="row"[^>]*>(.*?)</th>', widget.page.value)


@pytest.mark.parametrize(
    ("by", "descending", "expected"),
    [
        (GIVEN, False, ["probe", "full", "Scratch", "<lora>"]),
        (GIVEN, True, ["<lora>", "Scratch", "full", "probe"]),
        ("accuracy", False, ["Scratch", "probe", "full", "<lora>"]),
        ("accuracy", True, ["full", "probe", "Scratch", "<lora>"]),
        ("numbers", False, ["probe", "<lora>", "full", "Scratch"]),
        ("numbers", True, ["full", "Scratch", "<lora>", "probe"]),
        ("strategy", False, ["<lora>", "full", "probe", "Scratch"]),
    ],
)
def test_rows_are_ordered_by_number_or_letter_and_empty_cells_come_last(
    by, descending, expected
):
    assert names(arranged(ROWS, COLUMNS, by, descending)) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", ["probe", "full", "Scratch", "<lora>"]),
        ("scratch", ["Scratch"]),
        ("0.95", ["full"]),
        ("accuracy > 0.5", ["probe", "full"]),
        ("Accuracy<=.4", ["Scratch"]),
        ("numbers >= 61000", ["full", "Scratch", "<lora>"]),
        ("numbers = 1227338", ["full", "Scratch"]),
        ("accuracy = 0.950", ["full"]),
        ("strategy != full", ["probe", "Scratch", "<lora>"]),
        ("nothing like it", []),
    ],
)
def test_a_filter_is_a_word_or_a_condition(condition, expected):
    assert names(arranged(ROWS, COLUMNS, condition=condition)) == expected


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("acuracy > 0.5", "Did you mean 'accuracy'"),
        ("accuracy > high", "expected a number, such as accuracy > 0.9"),
    ],
)
def test_a_bad_filter_gets_one_sentence_and_the_table_stays(condition, says, capfd):
    widget = table()
    widget.filter.value = "accuracy > 0.5"
    before = widget.page.value
    widget.filter.value = condition
    assert 'role="alert"' in widget.message.value
    assert says in widget.message.value.replace("&#x27;", "'").replace("&gt;", ">")
    assert widget.page.value == before
    widget.filter.value = ""
    assert 'role="alert"' not in widget.message.value and len(shown(widget)) == 4
    assert capfd.readouterr().err == ""


def test_a_bad_filter_stands_in_the_log_in_full(caplog):
    with caplog.at_level(logging.INFO, "course.widgets"):
        table().filter.value = "acuracy > 1"
    assert caplog.records[0].exc_info[0] is CourseError


def test_controls_order_and_filter_what_is_shown_and_say_so():
    widget = table()
    widget.sort.value = "accuracy"
    widget.descending.value = True
    widget.filter.value = "numbers > 3000"
    assert shown(widget) == ["full", "Scratch", "&lt;lora&gt;"]
    words = "3 of 4 rows, sorted by accuracy, descending."
    assert words in widget.message.value


def test_a_screen_reader_learns_caption_headings_and_order():
    widget = table()
    widget.sort.value = "numbers"
    markup = widget.page.value
    assert "<caption>Four strategies</caption>" in markup
    assert markup.count('<th scope="col"') == 3 and markup.count('scope="row"') == 4
    assert re.findall(r'aria-sort="(\w+)"[^>]*>(\w+)', markup) == [
        ("ascending", "numbers")
    ]
    # What scrolls sideways on a narrow page must be reached with the keyboard.
    assert 'tabindex="0" role="region" aria-label="Four strategies"' in markup


def test_numbers_are_worded_as_every_table_words_them_and_stand_at_the_right():
    markup = table().page.value
    for row in ROWS:
        assert f">{evidence.cell(row['accuracy'])}</td>" in markup
    assert '<td style="text-align:right">1,227,338</td>' in markup
    assert '<th scope="row" style="text-align:left">probe</th>' in markup


def test_a_page_without_a_kernel_shows_the_table_as_it_stands():
    widget = table()
    widget.sort.value = "accuracy"
    bundle = widget._repr_mimebundle_()
    assert bundle["text/html"] in widget.page.value
    lines = bundle["text/plain"].splitlines()
    assert lines[0] == "Four strategies" and lines[2].startswith("Scratch")
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_more_rows_keep_the_readers_order_and_filter():
    widget = table()
    widget.sort.value, widget.filter.value = "accuracy", "accuracy > 0.5"
    more = {"strategy": "lp-ft", "accuracy": 0.9, "numbers": "1,227,338"}
    widget.show([*ROWS, more])
    assert shown(widget) == ["probe", "lp-ft", "full"]
    widget.show([{"run": 1}], ["run"])
    assert widget.sort.value == GIVEN and widget.columns == ["run"]


def test_a_table_needs_rows_or_columns():
    with pytest.raises(CourseError, match="at least one row"):
        widgets.ResultsTable([])
    assert "No row yet" in widgets.ResultsTable([], columns=["run"]).message.value


def test_the_callers_rows_are_left_alone():
    rows = list(ROWS)
    widget = widgets.ResultsTable(rows)
    widget.sort.value = "accuracy"
    assert rows == ROWS and widget.rows == ROWS
