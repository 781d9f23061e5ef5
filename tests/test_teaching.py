"""The teacher's guide: its times are the measured ones, and it covers every chapter."""

import ast
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "notebooks"))
import section_times  # noqa: E402

DOCS = ROOT / "docs"
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
GUIDE = (DOCS / "teaching.md").read_text("utf-8")
HEADING = re.compile(r"^(## (?P<section>\d+)|### Exercise (?P<exercise>\d+)) · ", re.M)
TIMES = json.loads(section_times.TIMES.read_text("utf-8"))


def cells(path, kind):
    notebook = json.loads(path.read_text("utf-8"))
    found = [cell for cell in notebook["cells"] if cell["cell_type"] == kind]
    return ["".join(cell["source"]) for cell in found]


def polls(path):
    for source in cells(path, "code"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "widgets.Poll":
                yield tuple(ast.literal_eval(argument) for argument in node.args[:2])


def test_the_seconds_come_from_machines_as_the_guide_says():
    of = {(times["cores"], times["profile"]) for times in TIMES.values()}
    assert of == {(2, section_times.PROFILE)}


def test_the_seconds_of_the_guide_are_those_that_were_measured():
    assert len(section_times.MARK.findall(GUIDE)) >= 20
    message = "run python tests/notebooks/section_times.py"
    assert section_times.filled(GUIDE) == GUIDE, message


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_sections_that_were_measured_are_those_of_the_chapter(path):
    headings = [
        h for text in cells(path, "markdown") for h in section_times.titles(text)
    ]
    assert list(TIMES[path.stem]["sections"]) == [section_times.OPENING, *headings]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_has_its_questions_and_its_row(path):
    number = path.name[:2]
    assert f"\n**{number}.** *" in GUIDE and f"\n| {number} " in GUIDE
    assert f"<!--t {number}" in GUIDE


def test_every_poll_is_in_the_table_of_slips():
    rows = [row.split(" | ")[0].strip("| ") for row in GUIDE.splitlines() if "|" in row]
    asked = [question for path in CHAPTERS for question, _ in polls(path)]
    assert len(asked) >= 20
    for question in asked:
        assert [row for row in rows if row and question.startswith(row)], question


def test_a_slip_is_an_option_of_its_poll():
    slips = re.findall(r'^\| (.+?) \| "(.+?)" \| .+ \|$', GUIDE, re.M)
    asked = [poll for path in CHAPTERS for poll in polls(path)]
    assert len(slips) == len(asked)
    for (start, slip), (question, options) in zip(slips, asked, strict=True):
        assert question.startswith(start)
        assert [option for option in options if slip in option], slip


def test_an_exercise_of_the_plans_is_in_a_section_that_is_named():
    plans = re.findall(
        r"^\| \d:\d\d \| (\d\d), sections? (.+?) \| (.+?) \|", GUIDE, re.M
    )
    assert len(plans) >= 8
    for number, named, room in plans:
        path = next(p for p in CHAPTERS if p.name.startswith(number))
        place, here = {}, 0
        for heading in HEADING.finditer("\n".join(cells(path, "markdown"))):
            here = int(heading["section"] or here)
            if heading["exercise"]:
                place[int(heading["exercise"])] = here
        ends = [int(end) for end in re.findall(r"\d+", named)]
        for exercise in numbers(room):
            assert min(ends) <= place[exercise] <= max(ends), (number, exercise)


def numbers(room):
    """The exercises that a cell of a plan speaks of, such as `exercises 3 and 5`."""
    said = re.findall(r"exercises? (\d(?:(?:, | and | to |, and )\d)*)", room)
    return [int(one) for part in said for one in re.findall(r"\d", part)]


def test_no_letter_answers_half_of_the_questionnaire():
    text = (DOCS / "questionnaire.md").read_text("utf-8")
    asked = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.M)]
    key = dict(re.findall(r"^\| (\d+) \| ([abc]) \|", text, re.M))
    assert asked == [int(number) for number in key] == list(range(1, 11))
    assert max(list(key.values()).count(letter) for letter in "abc") < len(key) / 2


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_a_mark_that_names_nothing_is_an_error():
    with pytest.raises(LookupError, match="no section '99'"):
        section_times.filled("<!--t 00 · 99-->1 s<!--/t-->")
    with pytest.raises(LookupError, match="no chapter '99'"):
        section_times.filled("<!--t 99-->1 s<!--/t-->")


def test_the_minutes_of_an_exercise_count_for_the_section_above_its_heading():
    text = "## 1 · One\n\n### Below\n\n## 2 · Two"
    notebook = {"cells": [{"cell_type": "markdown", "source": [text]}]}
    below = SimpleNamespace(name="f", place="Below", minutes=3)
    beside = SimpleNamespace(name="g", place="1 · One", minutes=4)
    spent = section_times.exercise_minutes(notebook, [below, beside])
    assert spent == {"1 · One": 7}
    lost = SimpleNamespace(name="h", place="Nowhere", minutes=1)
    with pytest.raises(LookupError, match="h: no heading 'Nowhere'"):
        section_times.exercise_minutes(notebook, [lost])


def test_the_seconds_of_a_chapter_replace_its_own_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(section_times, "TIMES", tmp_path / "times.json")
    for chapter, seconds in (("01_b", 1.0), ("00_a", 2.0), ("01_b", 3.0)):
        section_times.keep(chapter, {"1 · One": seconds})
    kept = json.loads(section_times.TIMES.read_text("utf-8"))
    assert {c: times["seconds"] for c, times in kept.items()} == {
        "00_a": 2.0,
        "01_b": 3.0,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["times.json"]


def test_times_are_summed_from_the_top_of_a_chapter():
    sections = {"before the first section": 1.0, "1 · One": 2.0, "2 · Two": 4.0}
    assert section_times.until(sections, "1") == 3.0
    assert section_times.until(sections, None) == 7.0


def test_the_seconds_of_a_section_are_those_of_its_cells():
    def cell(kind, source, begun="00", ended="00"):
        start = f"2026-01-01T00:00:{begun}.000000Z"
        times = {
            "iopub.status.busy": start,
            "shell.execute_reply": start.replace(f":{begun}.", f":{ended}."),
        }
        return {"cell_type": kind, "source": source, "metadata": {"execution": times}}

    notebook = {
        "cells": [
            cell("code", "1", "00", "02"),
            cell("markdown", "## A\n\n### no section"),
            cell("code", "1", "02", "05"),
            cell("code", "1", "05", "06"),
        ]
    }
    expected = {"before the first section": 2.0, "A": 4.0}
    assert section_times.measured(notebook) == expected
