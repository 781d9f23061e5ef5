"""The teacher's guide: its times are the measured ones, and it covers every chapter."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "notebooks"))
import section_times  # noqa: E402

DOCS = ROOT / "docs"
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
GUIDE = (DOCS / "teaching.md").read_text("utf-8")
TIMES = json.loads(section_times.TIMES.read_text("utf-8"))


def cells(path, kind):
    notebook = json.loads(path.read_text("utf-8"))
    found = [cell for cell in notebook["cells"] if cell["cell_type"] == kind]
    return ["".join(cell["source"]) for cell in found]


def polls(path):
    for source in cells(path, "code"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "widgets.Poll":
                yield ast.literal_eval(node.args[0])


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
    asked = [question for path in CHAPTERS for question in polls(path)]
    assert len(asked) >= 20
    for question in asked:
        assert [row for row in rows if row and question.startswith(row)], question


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_a_mark_that_names_no_section_is_an_error():
    with pytest.raises(LookupError, match="no section '99'"):
        section_times.filled("<!--t 00 · 99-->1 s<!--/t-->")


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
