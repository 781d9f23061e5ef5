"""A round trip through nbgrader, in an environment of its own.

Where it cannot be installed (no network), the tests are skipped with the reason.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from course import copies
from course.copies.chapters import read, tasks
from course.copies.grading import STUB, points

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".nbgrader-env"  # kept from one run of the tests to the next
CHAPTER = ROOT / "notebooks" / "00_first_prediction.ipynb"
NAME = CHAPTER.stem
VERSION = "nbgrader==0.9.6"

HALF_NAME_IT = """
def name_it(network, image, mean, std, names):
    network.eval()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    batch = ((image.float() / 255 - mean) / std)[None]
    with torch.no_grad():
        probabilities = network(batch).softmax(dim=1)[0]
    best = probabilities.argmax()
    return names[best], probabilities[best].item()
"""
LATE_PART = """
def which_part(purpose):
    if purpose.startswith(("report", "compare")):
        return "test"
    return "train"
"""
TOP_K = """
def top_k(logits, k):
    p = logits.softmax(0).tolist()
    best = sorted(range(len(p)), key=lambda i: -p[i])[:k]
    print("a print is no error")
    return [(i, p[i]) for i in best]
"""
WRONG_TOP_K = """
def top_k(logits, k):
    raise ValueError("I gave up")
"""
# What each learner writes, by exercise; what is not named stays a stub.
PARTIAL = {
    "ada": {"top_k": TOP_K},
    "bob": {"name_it": HALF_NAME_IT, "which_part": LATE_PART},
    "cem": {"top_k": WRONG_TOP_K, "name_it": HALF_NAME_IT},
}
# name_it has two parts and is worth 2, which_part has three and is worth 1.
MARKS = {"ada": 1.0, "bob": 1.0 + 0.67, "cem": 1.0, "stub": 0.0}


def outside(*command, cwd=None):
    """Run a command that may reach the network, unlike the tests themselves."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    tools = str(ENVIRONMENT / "bin")  # nbgrader calls alembic by its name
    variables["PATH"] = os.pathsep.join([tools, os.environ["PATH"]])
    return subprocess.run(
        command, cwd=cwd, env=variables, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def nbgrader():
    """The command, beside the packages of this environment."""
    command = ENVIRONMENT / "bin" / "nbgrader"
    if not command.exists():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        made = outside(sys.executable, "-m", "venv", str(ENVIRONMENT))
        if made.returncode == 0:
            made = install()
        if made.returncode:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            lines = made.stderr.strip().splitlines() or ["no reason given"]
            pytest.skip(f"nbgrader cannot be installed: {lines[-1]}")
    return command


def install():
    """Install nbgrader where torch and the like are seen, and not installed again."""
    (site,) = (ENVIRONMENT / "lib").glob("python*/site-packages")
    here = sysconfig.get_paths()["purelib"]
    (site / "outer.pth").write_text(f"{here}\n{ROOT}\n")
    python = str(ENVIRONMENT / "bin" / "python")
    return outside(python, "-m", "pip", "install", "--quiet", VERSION)


@pytest.fixture(scope="module")
def graded(nbgrader, tmp_path_factory):
    """Marks out of the gradebook, and the released assignment."""
    place = tmp_path_factory.mktemp("course") / "course"
    copies.nbgrader([CHAPTER], place, report=lambda line: None)
    run(nbgrader, place, "generate_assignment", NAME)
    released = place / "release" / NAME / CHAPTER.name
    submit(place, "stub", read(released))
    submit(place, "full", read(place / "source" / NAME / CHAPTER.name))
    for learner, answers in PARTIAL.items():
        submit(place, learner, answered(read(released), answers))
    run(nbgrader, place, "autograde", NAME)
    return marks(place), released


def run(nbgrader, place, *arguments):
    done = outside(str(nbgrader), *arguments, cwd=place)
    assert done.returncode == 0, done.stderr[-2000:]


def submit(place, learner, notebook):
    target = place / "submitted" / learner / NAME
    target.mkdir(parents=True)
    (target / CHAPTER.name).write_text(json.dumps(notebook), encoding="utf-8")


def answered(notebook, answers):
    for task in tasks(notebook, CHAPTER.name):
        if task.name in answers:
            notebook["cells"][task.answer]["source"] = answers[task.name]
    return notebook


def marks(place):
    """Read the gradebook with nbgrader's own interface."""
    code = (
        "import json; from nbgrader.api import Gradebook\n"
        "with Gradebook('sqlite:///gradebook.db') as book:\n"
        f"    subs = book.assignment_submissions({NAME!r})\n"
        "    print(json.dumps({s.student.id: [s.score, s.max_score] for s in subs}))\n"
    )
    done = outside(str(ENVIRONMENT / "bin" / "python"), "-c", code, cwd=place)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def most():
    return sum(points(task) for task in tasks(read(CHAPTER), CHAPTER.name))


def test_reference_answers_get_full_marks(graded):
    assert graded[0]["full"] == [most(), most()]


@pytest.mark.parametrize("learner", MARKS)
def test_stubs_get_nothing_and_partial_answers_their_part(graded, learner):
    score, full = graded[0][learner]
    assert full == most()
    assert score == pytest.approx(MARKS[learner], abs=0.01)


def test_what_is_released_holds_stubs_and_no_marks_of_a_solution(graded):
    notebook = read(graded[1])
    text = json.dumps(notebook)
    assert STUB in text and "BEGIN SOLUTION" not in text
    found = tasks(notebook, CHAPTER.name)
    assert len(found) >= 3
    for task in found:
        check = notebook["cells"][task.check]
        assert check["metadata"]["nbgrader"]["points"] == points(task)
        assert not check["outputs"]
