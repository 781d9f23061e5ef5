"""Chapters as papermill runs them, with a seed that they were not written with.

What runs are student copies, with the sealed package beside them: the lessons must hold
there too, and nothing that a run leaves may show an answer.
"""

import html
import os
import shutil
from pathlib import Path

import pytest
from browser import lab

from course import copies, runner
from course.copies.chapters import read, tasks

FOLDER = Path(__file__).parents[2] / "notebooks"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.ipynb"))
LARGEST = 1500  # MB, the budget of a chapter
SEED = 1
# Under nbval every chapter runs in the quick profile, with seed 0. Here another seed is
# for the quickest; `make seeds` takes all, and five seeds. Of the others every fifth
# copy is run (with HARD=1 all of them), and all are opened for leaks: what makes a copy
# is the same for all.
AGAIN = CHAPTERS[:1]
OTHERS = CHAPTERS[1:] if os.environ.get("HARD") else CHAPTERS[3::5]
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(shutil.which, lab.COMMANDS), None)


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """A folder of student copies, as a class gets it."""
    out = tmp_path_factory.mktemp("handed out") / "student"
    copies.student(CHAPTERS, out, report=lambda line: None)
    return out


@pytest.fixture
def run_copy(handed_out, tmp_path, monkeypatch):
    """Run a student copy with the package that lies beside it."""

    def run(path, profile):
        paths = [str(handed_out), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
        chapter = handed_out / "notebooks" / path.name
        (result,) = runner.run_chapters([chapter], tmp_path, profile=profile, seed=SEED)
        return result

    return run


@pytest.mark.parametrize("path", AGAIN, ids=lambda path: path.stem)
def test_its_lessons_hold_with_another_seed(path, run_copy, tmp_path):
    result = run_copy(path, "quick")
    assert result.status == "ok", result.error
    assert result.environment["seed"] == SEED
    assert len(result.records) >= 2
    assert len(result.claims) >= 2
    assert all(claim["holds"] for claim in result.claims)
    assert result.peak_mb is None or result.peak_mb <= LARGEST
    assert_nothing_is_shown(tmp_path, path.name)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_a_student_copy_runs_from_top_to_bottom(path, run_copy, tmp_path):
    result = run_copy(path, "smoke")
    assert result.status == "ok", result.error
    assert_nothing_is_shown(tmp_path, path.name)


def assert_nothing_is_shown(folder, name):
    """The checks ran with the sealed package: they offer hints, and no answer."""
    executed = read(folder / name)
    found = tasks(executed, name)
    assert len(found) >= 3
    for task in found:
        (output,) = executed["cells"][task.check]["outputs"]
        page, text = output["data"]["text/html"], output["data"]["text/plain"]
        assert "not started" in text
        assert "Hint 3" in page and "Reference answer" not in page
        assert html.escape(task.exercise.source.strip()) not in page


@pytest.mark.skipif(CHROMIUM is not None, reason="the browser tests run it, and more")
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_smoke_profile_runs_through(path, tmp_path):
    (result,) = runner.run_chapters([path], tmp_path, profile="smoke")
    assert result.status == "ok", result.error
    assert result.claims
