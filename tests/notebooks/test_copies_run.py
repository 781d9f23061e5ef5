"""The copies at work: in teacher copies, each answer passes its check."""

import os
from pathlib import Path

import nbclient
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course import copies
from course.copies.chapters import read, tasks

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
WHERE = "import course, sys; print(course.__file__); print(*sys.path)"


@pytest.fixture(scope="module")
def open_copies(tmp_path_factory):
    """A folder of teacher copies of every chapter."""
    out = tmp_path_factory.mktemp("copies") / "teacher"
    copies.teacher(CHAPTERS, out, report=lambda line: None)
    return out


def environment(folder):
    """Return an environment in which a folder's own package comes first."""
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def imports_alone(cell):
    lines = cell["source"].strip().splitlines()
    return bool(lines) and lines[0].startswith(("import ", "from "))


@pytest.fixture(scope="module")
def checked(open_copies):
    """The exercise cells of all teacher copies, executed in one kernel.

    A whole chapter adds nothing here: an answer stands on its imports alone.
    """
    cells, names = [new_code_cell(WHERE)], []
    for path in sorted((open_copies / "notebooks").glob("*.ipynb")):
        notebook = read(path)
        code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
        cells += [new_code_cell(c["source"]) for c in code if imports_alone(c)]
        for task in tasks(notebook, path.name):
            for place in (task.answer, task.check):
                cells.append(new_code_cell(notebook["cells"][place]["source"]))
            names.append((f"{task.module}.{task.name}", len(cells) - 1))
    book = new_notebook(cells=cells)
    client = nbclient.NotebookClient(book, timeout=120, allow_errors=True)
    client.execute(cwd=str(open_copies), env=environment(open_copies))
    return open_copies, book["cells"], names


def test_teacher_copies_use_the_package_beside_them(checked):
    folder, cells, _ = checked
    assert cells[0]["outputs"][0]["text"].startswith(f"{folder}{os.sep}course")


def test_with_the_reference_answers_every_check_passes(checked):
    _, cells, names = checked
    said = {}
    for name, place in names:
        outputs = cells[place]["outputs"]
        said[name] = [o.get("data", {}).get("text/plain", str(o)) for o in outputs]
    assert len(said) >= 3 * len(CHAPTERS)
    wrong = {name: out for name, out in said.items() if not is_pass(out)}
    assert not wrong


def is_pass(outputs):
    return len(outputs) == 1 and outputs[0].startswith("✓")
