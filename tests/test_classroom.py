"""The class view: what a teacher learns, and what no file of a learner can do to it."""

import os
import re

import pytest
from bs4 import BeautifulSoup

from course import classroom, cli, progress, syllabus
from course.errors import CourseError
from course.exercises.outline import by_chapter
from course.progress import Done, Progress, Vote

EXERCISES = by_chapter()
TOP_K = ("first_prediction", "top_k")
FREEZE = ("fine_tuning", "freeze")
QUESTION = ("first_prediction", "How certain will it be?")
EVIL = "<img src=x onerror=alert(1)>\"'&<script>alert(1)</script>"


def recognised(chapter, exercise):
    """The wrong answers of an exercise that have a name, with their sentences."""
    (asked,) = [one for one in EXERCISES[chapter] if one.name == exercise]
    return {one.name: one.cause for one in (*asked.mistakes, *asked.rules) if one.name}


def passed(tries=1):
    return Done("passed", tries, tries, 1.0, "2026-01-02")


def failed(tries=1, **mistakes):
    return Done("failed", tries, 0, 0.5, mistakes=mistakes)


@pytest.fixture
def folder(tmp_path):
    """An empty folder, and how to put a learner's file into it."""
    place = tmp_path / "class"
    place.mkdir()

    def hand_over(name, exercises=(), polls=()):
        text = progress.to_json(Progress(dict(exercises), dict(polls)))
        (place / name).write_text(text, "utf-8")

    return place, hand_over


def page(place, names=False):
    text = classroom.page(classroom.read(place), EXERCISES, names)
    return BeautifulSoup(text, "html.parser")


def matrix(soup):
    """Return the rows of the matrix: learner to the texts of the cells."""
    rows = soup.select("table.matrix tbody tr")
    return {row.th.text: [cell.text for cell in row.find_all("td")] for row in rows}


def test_who_is_stuck_where_is_told_by_signs_and_numbers(folder):
    place, hand_over = folder
    hand_over("ada.json", {TOP_K: passed(2), FREEZE: failed(3)})
    hand_over("ben.json", {TOP_K: failed(1)})
    rows = matrix(page(place, names=True))
    count = sum(map(len, EXERCISES.values()))
    assert list(rows) == ["ada", "ben"]
    assert rows["ada"][:2] == ["1", "1"] and rows["ben"][:2] == ["0", "1"]
    assert sorted(rows["ada"][2:])[:2] == ["○", "○"] and len(rows["ada"]) == count + 2
    assert "✓2" in rows["ada"] and "✗3" in rows["ada"] and "✗1" in rows["ben"]


def test_each_exercise_says_how_many_passed_are_stuck_or_have_not_started(folder):
    place, hand_over = folder
    hand_over("a.json", {TOP_K: passed(1)})
    hand_over("b.json", {TOP_K: passed(4)})
    hand_over("c.json", {TOP_K: failed(2)})
    hand_over("d.json")
    row = page(place).find(id="first_prediction-top_k")
    assert [cell.text for cell in row.find_all("td")][:4] == ["2", "1", "1", "2"]
    assert "style" in row.find(class_="bar").attrs


def test_the_commonest_wrong_answers_come_first_with_their_sentences(folder):
    place, hand_over = folder
    (one, first), (other, second), *_ = recognised(*TOP_K).items()
    hand_over("a.json", {TOP_K: failed(3, **{one: 1, other: 1})})
    hand_over("b.json", {TOP_K: failed(3, **{other: 2})})
    hand_over("c.json", {TOP_K: failed(1, **{EVIL: 1})})
    items = page(place).find(id="first_prediction-top_k").find_all("li")
    assert [item.text for item in items] == [
        f"{other}: {second} (2 learners, 3 times)",
        f"{one}: {first} (1 learner, 1 time)",
        "others, which this copy of the workbook does not know (1 learner, 1 time)",
    ]


def test_what_most_are_stuck_at_is_named_first_and_links_to_its_row(folder):
    place, hand_over = folder
    hand_over("a.json", {TOP_K: failed(), FREEZE: failed()})
    hand_over("b.json", {FREEZE: failed()})
    soup = page(place)
    first, second = soup.find("ol").find_all("li")
    assert first.text.endswith("Really frozen?, 2 of 2")
    assert second.text.endswith(", 1 of 2")
    assert soup.find(id=first.a["href"].removeprefix("#")).th.text in first.text


def test_the_polls_say_what_was_chosen_first_and_how_it_came_out(folder):
    place, hand_over = folder
    hand_over("a.json", polls={QUESTION: Vote("very", "unsure", False)})
    hand_over("b.json", polls={QUESTION: Vote("very", "very", True)})
    hand_over("c.json", polls={QUESTION: Vote("unsure", "very", True)})
    soup = page(place)
    heading = soup.find("h3")
    assert heading.text == f"00 {QUESTION[1]}"
    table = heading.find_next("table")
    cells = [[c.text for c in row.children] for row in table.select("tbody tr")]
    assert cells == [["very", "2"], ["unsure", "1"]]
    assert table.find_next("p").text.startswith("2 of 3 came out")


def test_without_names_the_page_does_not_depend_on_what_the_files_are_called(folder):
    place, hand_over = folder
    names = ["Zoe", "Ada", "Max"]
    works = [{TOP_K: passed()}, {TOP_K: failed(2)}, {FREEZE: failed(), TOP_K: passed()}]
    pages = []
    for turn in range(3):
        for name, work in zip(names[turn:] + names[:turn], works, strict=True):
            hand_over(f"{name}.json", work)
        (place / f"{names[turn]} is no file.txt").write_text("")
        pages.append(str(page(place)))
        (place / f"{names[turn]} is no file.txt").unlink()
    assert pages[0] == pages[1] == pages[2]
    assert not any(name in pages[0] for name in names)
    assert list(matrix(page(place))) == ["learner 1", "learner 2", "learner 3"]


def test_names_and_texts_of_files_are_escaped(folder):
    place, hand_over = folder
    vote = {("first_prediction", EVIL): Vote(EVIL, EVIL, True)}
    name = EVIL.replace("/", "")
    hand_over(
        f"{name}.json", {TOP_K: failed(1, **{EVIL: 1}), (EVIL, EVIL): passed()}, vote
    )
    (place / f"{name}.txt").write_text("")
    for names in (True, False):
        soup = page(place, names)
        assert not soup.find_all(["script", "img", "link", "iframe", "object"])
        every = [attribute for tag in soup.find_all(True) for attribute in tag.attrs]
        assert not [attribute for attribute in every if attribute.startswith("on")]
        assert soup.find("h3").text == f"00 {EVIL}"
    assert name in matrix(page(place, names=True))


def test_the_page_holds_all_that_it_shows_and_lets_nothing_be_fetched(folder):
    place, hand_over = folder
    hand_over("a.json", {TOP_K: passed()})
    text = classroom.page(classroom.read(place), EXERCISES)
    assert not re.findall(r"src=|url\(|@import|https?:", text)
    assert "default-src 'none'" in text
    assert {link["href"][0] for link in page(place).find_all("a")} == {"#"}


def entries(count, text="x"):
    return {("first_prediction", f"{text}{n}"): passed() for n in range(count)}


REFUSED = {
    "empty.json": (b"", "not JSON"),
    "half.json": (b'{"kind": "prog', "not JSON"),
    "picture.json": (b"\x89PNG\r\n\x1a\n" * 99, "not JSON"),
    "deep.json": (b'{"a":' * 90_000, "not JSON"),
    "foreign.json": (b'{"cells": [], "nbformat": 4}', "no progress file"),
    "huge.json": (b" " * 3_000_000, "larger than"),
    "many.json": (progress.to_json(Progress(entries(3_000))).encode(), "more than"),
    "ten thousand.json": (
        progress.to_json(Progress(entries(10_000))).encode(),
        "larger than",
    ),
    "newer.json": (
        progress.to_json(Progress()).replace('"version": 1', '"version": 7').encode(),
        "newer workbook",
    ),
    "long.json": (
        progress.to_json(Progress(entries(1, "y" * 9_999))).encode(),
        "'exercise'",
    ),
    "notes.txt": (b"hello", "no .json file"),
}


def test_a_file_that_is_none_is_listed_with_its_reason_and_harms_no_other(
    folder, capsys
):
    place, hand_over = folder
    hand_over("fine.json", {TOP_K: passed()})
    for name, (content, _) in REFUSED.items():
        (place / name).write_bytes(content)
    (place / "a folder.json").mkdir()
    (place / ".DS_Store").write_bytes(b"\0")
    (place / "fine.json.lock").write_bytes(b"")
    if hasattr(os, "mkfifo"):
        os.mkfifo(place / "pipe.json")  # reading it would never end
    out = place.parent / "class.html"
    assert cli.main(["class", str(place), "--out", str(out), "--names"]) == 0
    said = capsys.readouterr()
    assert said.out == f"1 learner: {out}\n" and "Traceback" not in said.err
    soup = BeautifulSoup(out.read_text("utf-8"), "html.parser")
    assert list(matrix(soup)) == ["fine"]
    listed = [item.text for item in soup.find_all("ul")[-1].find_all("li")]
    for name, (_, reason) in REFUSED.items():
        assert [line for line in listed if line.startswith(name) and reason in line]
        assert [line for line in said.err.splitlines() if name in line]
    assert [line for line in listed if line == "a folder.json is no file"]
    assert not [line for line in listed if "DS_Store" in line or ".lock" in line]


@pytest.mark.skipif(os.name != "posix", reason="such names cannot be made elsewhere")
def test_a_name_that_is_no_text_is_shown_all_the_same(folder):
    place, hand_over = folder
    hand_over("a.json", {TOP_K: passed()})
    os.rename(place / "a.json", os.fsencode(place) + b"/\xff\x1b[31m\n.json")
    out = place.parent / "class.html"
    classroom.write_page(classroom.read(place), out, names=True)
    (name,) = matrix(BeautifulSoup(out.read_text("utf-8"), "html.parser"))
    assert "�" in name and name.isprintable()


def test_more_polls_than_a_course_asks_do_not_make_an_endless_page(folder):
    place, hand_over = folder
    polls = {("choosing", f"Question {n}?"): Vote("a", "a", True) for n in range(900)}
    hand_over("a.json", polls=polls)
    hand_over("b.json", polls={("no chapter", "Foreign?"): Vote("a", "a", True)})
    soup = page(place)
    assert len(soup.find_all("h3")) == classroom.MOST_POLLS
    assert "700 more questions" in soup.text and "Foreign?" not in soup.text


def test_exercises_that_the_course_does_not_have_are_counted_and_not_shown(folder):
    place, hand_over = folder
    hand_over("a.json", {("first_prediction", "of mine"): passed(), TOP_K: passed()})
    soup = page(place)
    assert "1 entry of exercises that this copy does not have" in soup.text
    assert "of mine" not in soup.text


def test_every_exercise_has_its_column_and_its_row(folder):
    place, hand_over = folder
    hand_over("a.json")
    soup = page(place)
    anchors = [
        f"#{chapter.module}-{asked.name}"
        for chapter in syllabus.CHAPTERS
        for asked in EXERCISES[chapter.module]
    ]
    links = soup.select("table.matrix thead a")
    assert [link["href"] for link in links] == anchors
    assert all(soup.find(id=anchor[1:]) for anchor in anchors)
    assert all(link["aria-label"] for link in links)
    assert len(set(anchors)) == len(anchors)
    assert all(th.get("scope") for th in soup.find_all("th"))


@pytest.mark.parametrize("kind", ["missing", "a file", "empty"])
def test_a_folder_without_files_is_refused_in_one_sentence(tmp_path, capsys, kind):
    place = tmp_path / "class"
    if kind == "a file":
        place.write_text("")
    elif kind == "empty":
        place.mkdir()
    with pytest.raises(CourseError, match="of each learner"):
        classroom.read(place)
    assert cli.main(["class", str(place), "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("course: ") and said.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_one_sentence(folder, capsys):
    place, hand_over = folder
    hand_over("a.json")
    assert (
        cli.main(["class", str(place), "--out", str(place / "no" / "page.html")]) == 2
    )
    said = capsys.readouterr().err
    assert said.startswith("course: A file could not be") and "--out" in said
