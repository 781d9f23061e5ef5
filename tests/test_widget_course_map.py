"""The map of the course: the same everywhere at first, then what the file says."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from course import progress, syllabus, widgets
from course.exercises.outline import by_chapter

ROOT = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


def page(widget):
    return BeautifulSoup(widget.page.outputs[0]["data"]["text/html"], "html.parser")


def test_where_nothing_was_done_it_is_the_same_everywhere(place, monkeypatch):
    first = widgets.CourseMap()._repr_mimebundle_()
    monkeypatch.setenv("COURSE_PROGRESS", "")
    other = widgets.CourseMap()._repr_mimebundle_()
    for kind in ("text/plain", "text/html"):
        assert first[kind] == other[kind]
        assert str(place.parent) not in first[kind]
    assert "Nothing done yet." in first["text/plain"]


def test_the_still_lists_every_exercise_with_its_minutes():
    text = widgets.CourseMap()._repr_mimebundle_()["text/plain"]
    for chapter in syllabus.CHAPTERS:
        assert f"{chapter.number} {chapter.title}" in text
        for asked in by_chapter()[chapter.module]:
            assert f"○ {asked.title} ({asked.minutes} minutes)" in text


def test_the_table_names_its_columns_and_a_row_for_each_chapter():
    table = page(widgets.CourseMap()).table
    assert table.caption.text
    assert [th.text for th in table.select("th[scope=col]")] == ["chapter", "exercises"]
    rows = table.select("tbody tr")
    assert len(rows) == len(syllabus.CHAPTERS)
    assert all(len(row.select("th[scope=row]")) == 1 for row in rows)


def test_its_links_lead_to_the_chapters():
    links = [link["href"] for link in page(widgets.CourseMap()).select("table a")]
    assert links == [chapter.notebook for chapter in syllabus.CHAPTERS]
    assert all((ROOT / "notebooks" / link).is_file() for link in links)


def test_a_state_is_told_by_sign_and_word_and_not_by_colour(place):
    progress.checked("first_prediction", "top_k", "passed", 1.0)
    progress.checked("first_prediction", "normalise", "failed", 0.5)
    found = {
        sign["aria-label"]: sign.text
        for sign in page(widgets.CourseMap()).select("li b")
        if sign.get("aria-label")
    }
    assert found == {"passed": "✓", "failed": "✗", "not started": "○"}


def test_refresh_shows_what_another_chapter_has_written(place):
    widget = widgets.CourseMap()
    assert "Nothing done yet." in page(widget).text
    progress.checked("fine_tuning", "freeze", "failed", 0.25, "a mistake")
    progress.polled("choosing", "Is 1 < 2?", "<no>", False)
    assert "Nothing done yet." in page(widget).text
    widget.button.click()
    assert "1 failed the last check" in page(widget).text
    assert "Really frozen? (failed, 1 try, best 25%)" in page(widget).text
    again = [item.text for item in page(widget).select("ul")[0].select("li")]
    assert again == [
        "↻03 Really frozen? Failed the last check.",
        "↻07 Is 1 < 2? You predicted “<no>”, and it came out otherwise.",
    ]
    assert "&lt;no&gt;" in widget._repr_mimebundle_()["text/html"]
    assert "progress.json" in widget.message.value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not JSON"),
        (b'{"kind": "' + progress.KIND.encode() + b'", "version": 9}', "newer"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_and_left(place, content, reason, caplog):
    place.write_bytes(content)
    widget = widgets.CourseMap()
    assert 'role="alert"' in widget.message.value and reason in widget.message.value
    assert "Nothing done yet." in page(widget).text
    widget.button.click()
    assert "Tried 2 times" in widget.message.value
    assert place.read_bytes() == content


def test_it_says_where_progress_is_kept_or_that_it_is_not(place, monkeypatch):
    assert "sent nowhere" in widgets.CourseMap().message.value
    monkeypatch.setenv("COURSE_PROGRESS", "")
    assert "Nothing is kept" in widgets.CourseMap().message.value
