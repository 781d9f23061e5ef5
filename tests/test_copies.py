"""Copies for a class: no answer is in a student's, every one in a teacher's."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course import cli, copies
from course.copies import deck, folder, grading, leaks, seal
from course.copies.chapters import read, tasks
from course.errors import CourseError
from course.exercises import choosing

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
FEW = [CHAPTERS[0], CHAPTERS[7]]


def quiet(_):
    pass


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    out = tmp_path_factory.mktemp("class") / "student"
    copies.student(FEW, out, report=quiet)
    return out


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    out = tmp_path_factory.mktemp("class") / "teacher"
    copies.teacher(FEW, out, report=quiet)
    return out


def in_copy(place, code):
    """Run Python with the package of a copy."""
    paths = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": paths, "COURSE_PROGRESS": ""},
    )


def test_a_student_copy_holds_what_one_needs_and_nothing_else(student):
    names = {path.name for path in student.iterdir()}
    assert names == {
        *("notebooks", "course", "README.md", "Makefile", "pyproject.toml"),
        *("constraints.txt", "environment.yml", "LICENSE", "LICENSE-CONTENT"),
        folder.MARK,
    }
    project = (student / "pyproject.toml").read_text("utf-8")
    assert "pytest" not in project and "dependencies" in project
    listed = [path.name for path in (student / "notebooks").iterdir()]
    assert sorted(listed) == [path.name for path in FEW]


def test_no_part_of_an_answer_is_in_any_file_of_it(student):
    known = leaks.answers()
    assert len(known) >= 37
    assert leaks.scan(student, known) == []


STATEMENT = "conditional = given[:, labels]"


@pytest.fixture
def secret():
    """An answer with one line, and a folder's way to hide it."""
    return [leaks.Answer("choosing.leep", frozenset({leaks._squeezed(STATEMENT)}))]


def planted(tmp_path, notebook):
    nbformat.write(notebook, tmp_path / "07_x.ipynb")
    return tmp_path


def test_an_answer_is_found_wherever_it_is_hidden(tmp_path, secret):
    encoded = base64.b64encode(STATEMENT.encode()).decode()
    cell = new_markdown_cell("![](attachment:x.png)")
    attached = {"attachments": {"x.png": {"text/plain": encoded}}}
    in_words = {"text/html": "<pre>conditional = given[<b>:</b>, labels]</pre>"}
    hidden = {
        "source": new_notebook(cells=[new_code_cell(f"x = 1\n{STATEMENT}")]),
        "metadata": new_notebook(metadata={"note": STATEMENT}),
        "cell metadata": new_notebook(
            cells=[new_code_cell("1", metadata={"answer": STATEMENT})]
        ),
        "output": new_notebook(
            cells=[new_code_cell("1", outputs=[new_output("display_data", in_words)])]
        ),
        "attachment": new_notebook(cells=[nbformat.from_dict({**cell, **attached})]),
    }
    for place, notebook in hidden.items():
        found = leaks.scan(planted(tmp_path, notebook), secret)
        assert found, place
    for name in ("a.py", "b.txt", "c.json", "d.html"):
        (tmp_path / "07_x.ipynb").unlink(missing_ok=True)
        other = tmp_path / name
        other.write_text(json.dumps([STATEMENT]) if name == "c.json" else STATEMENT)
        assert [leak.file for leak in leaks.scan(tmp_path, secret)] == [name]
        other.unlink()


def test_a_formatter_does_not_hide_an_answer(tmp_path, secret):
    (tmp_path / "a.py").write_text("conditional = (\n    given[\n  :, labels]\n)\n")
    assert leaks.scan(tmp_path, secret)
    with pytest.raises(CourseError, match=r"choosing\.leep stands in a\.py"):
        leaks.refuse(leaks.scan(tmp_path, secret))


def test_every_chance_is_still_met():
    """A statement that is let through stands where it is said to."""
    paths = {
        path.stem: path for path in (*CHAPTERS, *(ROOT / "course").glob("**/*.py"))
    }
    for chance in leaks.CHANCES:
        short = leaks._squeezed(chance.statement)
        for name in chance.files:
            text = "".join(leaks._texts(paths[name]))
            assert short in text, (name, chance.statement)


def test_the_copy_runs_its_own_sealed_package(student):
    code = (
        "import course, inspect\n"
        "from course.exercises import choosing\n"
        "print(course.__file__)\n"
        "print(len(choosing.kendall.source), len(choosing.kendall.hints))\n"
        "print(choosing.kendall.judge(choosing.kendall.mistakes[0].answer).message)\n"
    )
    done = in_copy(student, code)
    assert done.returncode == 0, done.stderr
    where, lengths, message = done.stdout.splitlines()[:3]
    assert Path(where).parent == student / "course"
    assert lengths == "0 3"
    assert choosing.kendall.mistakes[0].cause in message


def test_a_copy_of_some_chapters_finds_them_without_the_first(tmp_path):
    copies.student(CHAPTERS[5:6], tmp_path / "some", report=quiet)
    code = (
        "from course import runner\n"
        "print(runner.find_chapters([], runner.notebooks_folder())[0].name)\n"
    )
    done = in_copy(tmp_path / "some", code)
    assert done.stdout.split() == [CHAPTERS[5].name], done.stderr


def test_neither_check_nor_panel_offers_an_answer_in_it(student):
    code = (
        "from course import widgets\n"
        "from course.exercises import choosing\n"
        "panel = widgets.ExercisePanel(choosing)\n"
        "for _ in range(3):\n    panel.hint.click()\n"
        "print(panel.answer.disabled)\n"
        "choosing.leep.check(3)\n"
    )
    done = in_copy(student, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True\n") and "Reference" not in done.stdout


def test_a_sealed_module_that_was_changed_says_so(student, tmp_path):
    text = (student / "course/exercises/choosing.py").read_text("utf-8")
    broken = tmp_path / "choosing.py"
    broken.write_text(text.replace('TEXT = """\n', 'TEXT = """\nX'))
    done = in_copy(student, f"import runpy; runpy.run_path({str(broken)!r})")
    assert "was changed or is damaged" in done.stderr


def test_what_is_sealed_comes_out_as_it_went_in():
    source = '"""A title."""\n\nANSWER = "ü" * 3\n'
    space = {}
    exec(seal.sealed(source, "a.b"), space)
    assert space["ANSWER"] == "üüü" and space["opened"]() == source


def test_no_copies_can_be_made_of_a_student_copy(student):
    code = "from course.cli import main; main(['student', '--out', 'x'])"
    done = in_copy(student, code)
    assert "This is a student copy" in done.stderr
    assert "Traceback" not in done.stderr


def test_stubs_stay_and_other_outputs_too(student):
    for path in FEW:
        before, after = read(path), read(student / "notebooks" / path.name)
        found = tasks(after, path.name)
        empty = {index for task in found for index in (task.answer, task.check)}
        for index, (one, other) in enumerate(
            zip(before["cells"], after["cells"], strict=True)
        ):
            assert one["source"] == other["source"]
            if other["cell_type"] == "code":
                kept = [] if index in empty else one["outputs"]
                assert other["outputs"] == kept


def test_a_teacher_copy_holds_answers_and_notes(teacher):
    for path in FEW:
        notebook = read(teacher / "notebooks" / path.name)
        text = "\n\n".join(cell["source"] for cell in notebook["cells"])
        for task in tasks(notebook, path.name):
            answer = notebook["cells"][task.answer]["source"]
            note = notebook["cells"][task.answer - 1]
            assert note["metadata"]["tags"] == ["teacher"]
            last = task.exercise.source.strip().splitlines()[-1].strip()
            assert last in answer and f"def {task.name}(" in answer
            assert task.exercise.kind in note["source"].lower()
            for mistake in task.exercise.mistakes:
                assert mistake.name in note["source"].replace("\\|", "|")
        assert "For the teacher · the question." in text
        assert "In the stored run: " in text


def test_a_teacher_copy_names_seconds_of_a_run_and_no_others(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    notebook = read(CHAPTERS[0])
    for cell in notebook["cells"]:
        cell["metadata"]["papermill"] = {"duration": 0.5}
    nbformat.write(notebook, run / CHAPTERS[0].name)
    row = {
        "chapter": CHAPTERS[0].stem,
        "status": "ok",
        "seconds": 31.0,
        "environment": {"profile": "quick", "cores": 2},
    }
    (run / "records.json").write_text(json.dumps([row]))
    out = tmp_path / "teacher"
    copies.teacher(CHAPTERS[:1], out, timing=run / "records.json", report=quiet)
    note = read(out / "notebooks" / CHAPTERS[0].name)["cells"][1]["source"]
    assert "quick profile, 2 cores, 31 s in all" in note
    seconds = re.findall(r"\| ([\d.]+) \|$", note, re.M)
    assert len(seconds) >= 5 and float(seconds[0]) % 0.5 == 0
    with pytest.raises(CourseError, match="holds no run that can be read"):
        copies.teacher(CHAPTERS[:1], out, timing=run, force=True, report=quiet)


def test_a_deck_is_one_page_that_asks_for_nothing_but_equations(tmp_path):
    copies.slides([CHAPTERS[5]], tmp_path / "slides", report=quiet)
    (page,) = (tmp_path / "slides").glob("*.html")
    text = page.read_text("utf-8")
    wanted = re.findall(r"""(?:src|href)=["'](https?:[^"']+)""", text)
    assert all("mathjax" in address.lower() for address in wanted)
    assert text.count("<section") >= 20 and "Reference answer" not in text
    kinds = {
        cell["metadata"]["slideshow"]["slide_type"]
        for cell in read(page.with_suffix(".ipynb"))["cells"]
    }
    assert kinds == {"slide", "subslide", "skip", "-"}


def test_what_the_notebook_folds_is_on_no_slide(tmp_path):
    poll = new_code_cell("widgets.Poll('?', {'yes': 'zebra'})")
    poll["metadata"]["jupyter"] = {"source_hidden": True}
    poll["outputs"] = [new_output("display_data", {"text/plain": "the question"})]
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), poll])
    deck.cut(notebook)
    page = deck.page(notebook, "x")
    assert "the question" in page and "zebra" not in page


def test_a_cell_of_prose_is_cut_before_its_headings():
    text = "words\n\n## One\n\nmore\n\n### Two\n\nlast"
    notebook = new_notebook(cells=[new_markdown_cell(text)])
    deck.cut(notebook)
    sources = [cell["source"] for cell in notebook["cells"]]
    assert sources == ["words", "## One\n\nmore", "### Two\n\nlast"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_exercise_cells_carry_nbgraders_metadata(path):
    notebook = read(path)
    before = json.dumps(notebook, sort_keys=True)
    found = tasks(notebook, path.name)
    grading.stamp(notebook, found)
    message = "run python tests/notebooks/stamp.py"
    assert json.dumps(notebook, sort_keys=True) == before, message
    assert len(found) >= 3


def test_a_check_without_its_stub_is_one_sentence(tmp_path):
    cells = [
        new_code_cell("from course.exercises import choosing"),
        new_code_cell("leep = choosing.leep.check(leep)"),
    ]
    with pytest.raises(CourseError, match=r"checks `leep`, and the code cell before"):
        tasks(new_notebook(cells=cells), "07_x.ipynb")
    cells[0] = new_code_cell("from course.exercises import choosing\ndef leap(): ...")
    cells[1] = new_code_cell("leap = choosing.leap.check(leap)")
    with pytest.raises(CourseError, match="Did you mean 'leep'"):
        tasks(new_notebook(cells=cells), "07_x.ipynb")


def test_a_folder_of_somebodys_work_is_never_replaced(tmp_path):
    work = tmp_path / "thesis"
    work.mkdir()
    (work / "chapter.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(CourseError, match="holds other files"):
            copies.student(FEW[:1], work, force=force, report=quiet)
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.tex"]


def test_an_earlier_copy_is_replaced_only_when_asked(tmp_path):
    out = tmp_path / "slides"
    copies.slides(FEW[:1], out, report=quiet)
    (out / "mine.txt").write_text("notes")
    with pytest.raises(CourseError, match="give --force"):
        copies.slides(FEW[:1], out, report=quiet)
    assert (out / "mine.txt").exists()
    copies.slides(FEW[:1], out, force=True, report=quiet)
    assert not (out / "mine.txt").exists()


def test_an_interruption_leaves_nothing_behind(tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copies.student(FEW, tmp_path / "out", report=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--nbgrader", "x", "--teacher"], "--nbgrader makes a folder of its own"),
        (["--out", "x", "--timing", "y"], "--timing belongs to --teacher"),
        (["--out", "x", "77"], "77"),
    ],
)
def test_options_that_do_not_go_together_are_one_sentence(
    line, says, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["student", *line]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
