"""The data file of tools, problems and papers: well formed, dated, honest, offline."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from course import references
from course.errors import CourseError
from course.syllabus import CHAPTERS

ROOT = Path(__file__).parents[1]
DATA = json.loads(references.PLACE.read_text("utf-8"))
THEMES = ("choosing well", "tuning well", "efficiency", "generality")
GROUPS = ("models", "look inside", "adapt", "shrink", "store", "run elsewhere")
SPDX = {"Apache-2.0", "BSD-3-Clause", "MIT"}
NAMED = (
    "torchvision",
    "timm",
    "Hugging Face Hub",
    "Keras Applications",
    "ONNX Model Zoo",
    "Kaggle Models",
    "PyTorch Hub",
    "TensorFlow Hub",
    "peft",
    "captum",
    "torchao",
    "ONNX Runtime",
    "safetensors",
    "sentence-transformers",
)


@pytest.mark.parametrize("address", references.links())
def test_an_address_is_well_formed(address):
    parts = urlsplit(address)
    assert parts.scheme == "https" and "." in parts.netloc
    assert not parts.query and not parts.username and parts.port is None
    assert re.fullmatch(r"[\w./:~-]+", address), address


def test_no_address_stands_twice_and_all_of_the_file_are_listed():
    text = references.PLACE.read_text("utf-8")
    written = re.findall(r'"link": "(.+?)"', text)
    assert len(written) == len(set(written)) == len(references.tools())
    assert set(written) <= set(references.links())
    found = set(re.findall(r"https://[^\s\"\\]+", text))
    lines = {a for tool in references.tools() for a in tool.line.split('"')}
    assert found - lines <= set(references.links())


def test_the_file_says_when_it_was_read_and_that_it_may_be_out_of_date():
    assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", references.as_of())
    assert "change" in references.caution() and "advice" in references.caution()


def test_every_tool_that_the_course_promises_is_there_and_says_what_it_is():
    names = [tool.name for tool in references.tools()]
    assert set(NAMED) <= set(names) and len(names) == len(set(names))
    for tool in references.tools():
        assert tool.group in GROUPS and tool.code in SPDX, tool.name
        assert len(tool.use) > 20 and tool.weights and tool.line
        compile(tool.line, tool.name, "eval")  # it is a line of Python


@pytest.mark.parametrize("tool", references.tools(), ids=lambda tool: tool.name)
def test_the_licence_of_a_library_that_is_here_is_what_the_library_says(tool):
    if not tool.installed:
        pytest.skip("not installed")
    said = metadata.metadata(tool.package)
    words = " ".join(
        [
            said.get("License") or "",
            said.get("License-Expression") or "",
            *(said.get_all("Classifier") or []),
        ]
    )
    assert tool.code.partition("-")[0] in words, words


def test_every_paper_has_an_arxiv_number_and_is_read_somewhere():
    numbers = [paper.arxiv for paper in references.papers().values()]
    assert len(set(numbers)) == len(numbers) >= 30
    read = {paper.arxiv for one in references.problems() for paper in one.papers}
    assert read == set(numbers)
    for key, paper in references.papers().items():
        assert re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv)
        year, month = int(paper.arxiv[:2]), int(paper.arxiv[2:4])
        assert year >= 7 and 1 <= month <= 12
        stated = int(re.search(r"(\d{4})$", paper.who)[1])
        assert 0 <= stated - (2000 + year) <= 2, key
        assert key.endswith(str(stated)) and len(paper.title) > 5


def test_every_theme_has_problems_and_every_problem_a_chapter_that_exists():
    assert tuple(dict.fromkeys(p.theme for p in references.problems())) == THEMES
    numbers = {chapter.number for chapter in CHAPTERS}
    for problem in references.problems():
        assert problem.name.endswith("?") and problem.tries and problem.papers
        assert problem.chapters and set(problem.chapters) <= numbers, problem.name
        assert list(problem.chapters) == sorted(problem.chapters)


def test_the_map_leads_to_chapters_and_papers():
    page = references.problem_map()
    notebooks = re.findall(r"\]\(([^):]+\.ipynb)\)", page)
    assert notebooks and set(notebooks) <= {c.notebook for c in CHAPTERS}
    assert len(re.findall(r"\]\(https://arxiv\.org/abs/", page)) >= 30
    rows = page.splitlines()
    assert {row.replace("\\|", "").count("|") for row in rows} == {5}


def test_every_tool_is_linked_once():
    links = re.findall(r"\]\((\S+?)\)", references.addresses())
    assert links == [tool.link for tool in references.tools()]


def test_the_licence_behind_an_address_is_known_or_none():
    (address,) = DATA["licences_read"]
    assert references.licence(address) == "CC-BY-NC-4.0"
    assert references.licence("https://example.org") is None
    assert references.licence(None) is None


def test_every_address_that_torchvision_states_was_read():
    from course import zoo

    stated = {row["licence"] for row in zoo.stated()} - {None}
    assert {references.licence(address) for address in stated} == {"CC-BY-NC-4.0"}


def absent(monkeypatch):
    monkeypatch.setattr(references, "find_spec", lambda name: None)


def test_a_tool_that_is_missing_gets_its_line_and_how_to_install_it(monkeypatch):
    absent(monkeypatch)
    said = references.tried("timm", lambda: pytest.fail("it was run"))
    assert said.startswith("timm is not installed here; pip install timm\n")
    assert references.tool("timm").line in said


def test_a_tool_that_is_here_is_run_and_says_its_version():
    said = references.tried("captum", lambda: "a map")
    assert said == f"captum · version {metadata.version('captum')}\n  a map"


def test_a_line_that_would_download_is_shown_and_not_run():
    said = references.tried("torchvision")
    assert "would download" in said and references.tool("torchvision").line in said


def test_a_version_that_differs_is_reported_and_stops_nothing(capfd):
    def broken():
        print("noise", file=sys.stderr)
        raise AttributeError("module has no attribute\n'new'")

    said = references.tried("captum", broken)
    assert "did not run here (AttributeError: module has no attribute 'new')" in said
    assert capfd.readouterr().err == ""


def test_a_tool_that_nobody_knows_is_one_sentence():
    with pytest.raises(CourseError, match=r"Unknown tool 'tim'\. Did you mean 'timm'"):
        references.tried("tim")


def test_the_tools_are_read_without_torch_and_without_importing_any_of_them():
    code = (
        "import sys; from course import references; references.problem_map();"
        "[tool.here for tool in references.tools()];"
        "print(sorted({'torch', 'captum', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", done.stderr
