"""Headless runs, on chapters of a few lines made here."""

import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course import execution, runner
from course.errors import CourseError

PARAMETERS = "import os\nPROFILE = 'quick'\nSEED = 0\nDEVICE = 'auto'"
BEGIN = "from course import evidence\nprofile = evidence.begin(PROFILE, seed=SEED)"
GOOD = (
    "evidence.record('seed and profile', SEED, unit=PROFILE)",
    "evidence.record('time', [1.0, 2.0, 3.0], unit='s')",
    "evidence.claim('it holds', 0.9, at_least=0.5)",
    "from course import plots\n"
    "from PIL import Image\n"
    "import io\n"
    "file = io.BytesIO()\n"
    "Image.new('RGB', (4, 4)).save(file, 'PNG')\n"
    "plots.Figure(file.getvalue(), 'a <black> square')",
    "import ipywidgets\nipywidgets.IntSlider()",
)
BAD = ("evidence.record('before', 1.0)", "def f():\n    raise KeyError('lost')", "f()")
CLAIM = ("evidence.claim('it is so', 0.1, at_least=0.5)",)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
DEAD = ("import os", "os._exit(3)")
HUNGRY = ("ballast = bytearray(900_000_000)", "print(os.environ['MALLOC_ARENA_MAX'])")


def chapter(folder, name, lines, parameters=PARAMETERS):
    cells = [
        new_markdown_cell(f"# {name}"),
        new_code_cell("import sys"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell(BEGIN),
        *(new_code_cell(line) for line in lines),
    ]
    book = new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(book, folder / f"{name}.ipynb")


@pytest.fixture(scope="module")
def chapters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    chapter(folder, "00_first_prediction", GOOD)
    chapter(folder, "01_bad", BAD)
    chapter(folder, "02_no_seed", GOOD, parameters="PROFILE = 'quick'")
    chapter(folder, "03_claim", CLAIM)
    chapter(folder, "04_hungry", HUNGRY)
    return folder


@pytest.fixture(scope="module")
def ran(chapters, tmp_path_factory):
    """All of them, run once: the folder, the results and the lines of progress."""
    out, lines = tmp_path_factory.mktemp("out") / "deep" / "er", []
    paths = runner.find_chapters([], chapters)
    results = runner.run_chapters(
        paths, out, profile="quick", seed=7, report=lines.append
    )
    return out, results, lines


def test_one_failing_chapter_does_not_stop_the_others(ran):
    statuses = [result.status for result in ran[1]]
    assert statuses == ["ok", "failed", "failed", "failed", "ok"]


def test_the_folder_holds_what_was_promised_and_nothing_half_written(ran):
    names = {path.name for path in ran[0].iterdir()}
    executed = {"00_first_prediction", "01_bad", "03_claim", "04_hungry"}
    expected = {f"{name}.{end}" for name in executed for end in ("ipynb", "html")}
    assert names == expected | {
        "index.html",
        "records.json",
    }


def test_records_json_holds_one_object_for_each_chapter(ran, chapters):
    rows = json.loads((ran[0] / "records.json").read_text("utf-8"))
    assert [row["chapter"] for row in rows] == sorted(
        p.stem for p in chapters.iterdir()
    )
    for row in rows:
        assert {"chapter", "status", "seconds", "peak_mb", "records", "claims"} <= set(
            row
        )
        assert row["environment"]["profile"] == "quick"
        assert row["environment"]["seed"] == 7
        assert row["environment"]["packages"]["torch"]
        assert row["seconds"] >= 0


def test_records_and_claims_are_read_from_the_executed_notebook(ran):
    row = json.loads((ran[0] / "records.json").read_text("utf-8"))[0]
    one, several = row["records"]
    assert (one["name"], one["value"], one["unit"]) == (
        "seed and profile",
        7.0,
        "quick",
    )
    assert (several["name"], several["value"], several["unit"]) == ("time", 2.0, "s")
    assert (several["n"], one["n"]) == (3, 1)
    assert several["low"] < 2.0 < several["high"]
    (claim,) = row["claims"]
    assert (claim["text"], claim["value"]) == ("it holds", 0.9)
    assert (claim["bound"], claim["holds"], claim["margin"]) == (
        "at least 0.5",
        True,
        0.4,
    )


def test_what_a_failing_chapter_measured_before_is_kept(ran):
    (record,) = ran[1][1].records
    assert (record["name"], record["value"], record["unit"]) == ("before", 1.0, "")


def test_the_message_names_chapter_cell_and_last_line(ran):
    line = next(line for line in ran[2] if line.startswith("01_bad: failed"))
    book = nbformat.read(ran[0] / "01_bad.ipynb", as_version=4)
    (cell,) = [
        cell
        for cell in book.cells
        if any(o.output_type == "error" for o in cell.get("outputs", []))
    ]
    # the count that the page shows beside the cell
    assert f"In [{cell.execution_count}]: KeyError: 'lost'" in line
    assert "01_bad, cell" in line


def test_a_claim_that_does_not_hold_fails_the_chapter(ran):
    result = ran[1][3]
    assert result.status == "failed"
    assert result.claims[0]["holds"] is False
    assert "ClaimError" in result.error
    assert "does not hold" in result.error


def test_a_chapter_without_a_parameter_is_named_and_not_run(ran):
    assert "SEED" in ran[1][2].error
    assert ran[1][2].records == []


def test_peak_memory_is_that_of_each_kernel(ran):
    small, large = ran[1][1].peak_mb, ran[1][4].peak_mb
    assert 20 < small < 2_000
    assert large > small + 400  # the ballast


def test_a_kernel_keeps_two_heaps_for_all_its_threads(ran):
    book = nbformat.read(ran[0] / "04_hungry.ipynb", as_version=4)
    (output,) = book.cells[-2].outputs  # the last is the yardstick
    assert output.text == execution.KERNEL["MALLOC_ARENA_MAX"] + "\n"


class Page(HTMLParser):
    """What a browser would fetch for a page, and the texts for pictures."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.alts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        address = named.get("src") or (named.get("href") if tag == "link" else None)
        if address and not address.startswith("data:"):
            self.fetched.append(address)
        if tag == "img":
            self.alts.append(named.get("alt"))


def test_pages_hold_their_pictures_with_words(ran):
    page = Page((ran[0] / "00_first_prediction.html").read_text("utf-8"))
    assert page.alts == ["a <black> square"]


def test_pages_fetch_nothing_but_the_typesetting_of_equations(ran):
    for path in ran[0].glob("*.html"):
        text = path.read_text("utf-8")
        fetched = Page(text).fetched
        assert all("mathjax" in address.lower() for address in fetched), fetched


def test_index_links_every_page_and_says_what_failed(ran):
    text = (ran[0] / "index.html").read_text("utf-8")
    for path in ran[0].glob("0*.html"):
        assert f'href="./{path.name}"' in text
    assert "lost" in text
    assert "KeyError" in text


def test_index_has_no_dead_links(ran):
    class Links(HTMLParser):
        found = []  # noqa: RUF012

        def handle_starttag(self, tag, attributes):
            self.found += [dict(attributes)["href"]] if tag == "a" else []

    Links().feed((ran[0] / "index.html").read_text("utf-8"))
    dead = [link for link in Links.found if not (ran[0] / link).is_file()]
    assert dead == []


def test_executed_notebooks_keep_no_state_of_widgets(ran):
    book = nbformat.read(ran[0] / "00_first_prediction.ipynb", as_version=4)
    assert "widgets" not in book.metadata


def test_there_is_a_line_for_each_chapter(ran):
    for result in ran[1]:
        assert any(line.startswith(f"{result.chapter}: ") for line in ran[2])


def test_a_dead_kernel_and_a_broken_file_do_not_stop_the_others(tmp_path):
    chapter(tmp_path, "00_dead", DEAD)
    (tmp_path / "01_broken.ipynb").write_text("{")
    paths, out = runner.find_chapters([], tmp_path), tmp_path / "out"
    results = runner.run_chapters(paths, out, report=str)
    assert [result.status for result in results] == ["failed", "failed"]
    assert "DeadKernelError" in results[0].error
    assert results[1].error
    assert len(json.loads((out / "records.json").read_text("utf-8"))) == 2


def test_smoke_shows_a_failing_claim_and_goes_on(chapters, tmp_path):
    paths = runner.find_chapters(["03"], chapters)
    (result,) = runner.run_chapters(paths, tmp_path, profile="smoke", report=str)
    assert result.status == "ok"
    assert result.claims[0]["holds"] is False


@pytest.mark.parametrize(
    "name",
    [
        "0",
        "00",
        "00_first_prediction",
        "00_first_prediction.ipynb",
        "some/00_first_prediction.ipynb",
    ],
)
def test_a_chapter_is_found_by_number_name_or_file(chapters, name):
    (path,) = runner.find_chapters([name], chapters)
    assert path == chapters / "00_first_prediction.ipynb"


def test_an_unknown_chapter_is_answered_with_the_nearest(chapters):
    with pytest.raises(CourseError, match="Did you mean '00_first_prediction'"):
        runner.find_chapters(["00_frist_prediction"], chapters)


def test_an_empty_name_is_no_chapter(chapters):
    with pytest.raises(CourseError, match="Unknown chapter ''"):
        runner.find_chapters([""], chapters)


def test_chapters_come_in_reading_order(chapters):
    names = [path.stem[:2] for path in runner.find_chapters([], chapters)]
    assert names == ["00", "01", "02", "03", "04"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CourseError, match="--out"):
        runner.run_chapters([], tmp_path / "file" / "out")


ENDLESS = """
import sys
from pathlib import Path
from course import execution, runner
if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    runner.run_chapters(runner.find_chapters([], folder), out, report=str)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_ends_the_kernel_and_leaves_no_half_file(tmp_path):
    folder, out, script = tmp_path / "n", tmp_path / "out", tmp_path / "run.py"
    folder.mkdir()
    started = tmp_path / "started"
    line = (
        f"import time, pathlib; pathlib.Path({str(started)!r}).touch(); time.sleep(99)"
    )
    chapter(folder, "00_endless", [line])
    script.write_text(ENDLESS)
    process = subprocess.Popen(
        [sys.executable, script, folder, out],
        cwd=Path(__file__).parents[1],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _until(started.exists)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(60)
        assert process.returncode != 0
        psutil.wait_procs(family, timeout=10)
        assert [p for p in family if p.is_running()] == []
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
    finally:
        process.kill()


def _until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
