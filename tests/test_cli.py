"""The command line: what it answers, what it refuses, and one start of JupyterLab."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course import cli, runner, sweep
from course.errors import CourseError

ROOT = Path(__file__).parents[1]
FIRST = "notebooks/00_first_prediction.ipynb"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
PARAMETERS = {"tags": ["parameters"]}


@pytest.fixture
def chapters(tmp_path, monkeypatch):
    """Two tiny chapters in the place of the workbook's; the second one fails."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name, line in (
        ("00_first_prediction", "print(PROFILE, SEED)"),
        ("01_pretraining", "assert SEED < 0, 'too bad'"),
    ):
        given = new_code_cell("PROFILE = 'quick'\nSEED = 0", metadata=PARAMETERS)
        book = new_notebook(cells=[given, new_code_cell(line)])
        book.metadata["kernelspec"] = KERNEL
        nbformat.write(book, folder / f"{name}.ipynb")
    monkeypatch.setattr(runner, "notebooks_folder", lambda: folder)
    return folder


def course(*arguments, cwd=None):
    """Run the command as a reader does, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": _path()}
    return subprocess.run(
        [sys.executable, "-m", "course.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=120,
    )


def _path():
    return os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


def test_help_names_the_commands_and_loads_nothing_heavy():
    done = course("--help")
    assert done.returncode == 0
    for command in ("lab", "run", "progress", "class", "pretrain", "sweep"):
        assert command in done.stdout
    code = "import sys, course.cli; course.cli.parser(); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    ).stdout.split()
    assert not {"torch", "papermill", "matplotlib", "jupyterlab"} & set(loaded)


def test_run_says_by_its_status_that_a_chapter_failed(chapters, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        cli.main(["run", "--out", str(out), "--profile", "smoke", "--seed", "5"]) == 1
    )
    printed = capsys.readouterr().out
    assert "01_pretraining, cell" in printed
    assert "AssertionError: too bad" in printed
    assert "1 of 2 chapters" in printed
    rows = json.loads((out / "records.json").read_text("utf-8"))
    assert [row["status"] for row in rows] == ["ok", "failed"]
    book = nbformat.read(out / "00_first_prediction.ipynb", as_version=4)
    assert book.cells[-1].outputs[0].text == "smoke 5\n"


def test_run_of_one_chapter_that_is_well_ends_with_0(chapters, tmp_path):
    out = tmp_path / "out"
    assert cli.main(["run", "0", "--out", str(out)]) == 0
    assert not (out / "01_pretraining.ipynb").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "00_frist_prediction"], "Did you mean '00_first_prediction'"),
        (["run", "99"], "Unknown chapter '99'"),
        (["run", "--seed", "-1"], "seed was -1"),
        (["lab", "--port", "70000"], "expected 1 to 65535"),
        (["pretrain", "resnet10-shape"], "Did you mean 'resnet10-shapes'"),
        (["sweep", "few-label"], "Did you mean 'few-labels'"),
    ],
)
def test_a_bad_request_is_one_sentence_and_status_2(
    chapters, tmp_path, capsys, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)  # what a command left would be left here
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.startswith("course: ")
    assert "Traceback" not in printed.err


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert cli.main(["pretrain", "resnet10-shapes", "--out", str(file / "out")]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("course: A file could not be")
    assert "--out" in printed and "Traceback" not in printed


def test_a_sweep_writes_its_table_and_says_where(tmp_path, monkeypatch, capsys):
    mine = sweep.Plan(
        "few-labels",
        "squares",
        lambda profile: sweep.grid(seed=range(2), profile=[profile]),
        lambda seed, profile: {"value": seed**2},
    )
    monkeypatch.setattr(sweep, "plan", lambda name: mine)
    out = ["--profile", "smoke", "--out", str(tmp_path)]
    assert cli.main(["sweep", "few-labels", *out]) == 0
    assert "few-labels.csv" in capsys.readouterr().out
    table = sweep.load(tmp_path / "few-labels.csv")
    assert [row["value"] for row in table.rows] == [0, 1]
    assert table.rows[0]["profile"] == "smoke"


def test_a_wrong_profile_is_refused(chapters, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "--profile", "quik"])
    assert stop.value.code == 2
    monkeypatch.setenv("COURSE_PROFILE", "quik")
    assert cli.main(["run"]) == 2
    assert "COURSE_PROFILE is 'quik'" in capsys.readouterr().err


def test_the_profile_comes_from_the_environment(chapters, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "full")
    out = tmp_path / "out"
    assert cli.main(["run", "00", "--out", str(out)]) == 0
    book = nbformat.read(out / "00_first_prediction.ipynb", as_version=4)
    assert book.cells[-2].outputs[0].text == "full 0\n"


def test_a_package_without_its_notebooks_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "__file__", str(tmp_path / "course" / "runner.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CourseError, match="clone the repository"):
        runner.notebooks_folder()


def test_a_busy_port_gives_the_next_free_one():
    with socket.create_server((cli.HOST, 0)) as busy:
        taken = busy.getsockname()[1]
        assert taken < cli.free_port(taken) <= taken + 20
        with pytest.raises(CourseError, match="--port"):
            cli.free_port(taken, tries=1)


@pytest.fixture
def laboratory(tmp_path):
    """`course lab`, started elsewhere than in the repository, and its output."""
    if not (ROOT / FIRST).is_file():
        pytest.skip("the first chapter is not there")
    with socket.create_server((cli.HOST, 0)) as probe:
        port = probe.getsockname()[1]
    private = {
        name: str(tmp_path / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "course.cli", "lab", "--no-browser", f"--port={port}"],
        cwd=tmp_path,
        env={**os.environ, **private, "PYTHONPATH": _path()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines = []
    # a full pipe would stop JupyterLab
    threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
    yield process, lines
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="process groups differ")
def test_lab_answers_over_http_with_the_first_chapter(laboratory):
    process, lines = laboratory
    address = _until(lambda: re.search(r"http://\S+token=\w+", "".join(lines)))[0]
    assert f"/lab/tree/{FIRST}?token=" in address
    page = _until(lambda: _fetch(address, process))
    assert b"JupyterLab" in page
    file = address.replace("/lab/tree/", "/api/contents/")
    assert json.loads(_fetch(file, process))["type"] == "notebook"
    said = "".join(lines)
    if os.geteuid() == 0:
        assert "--allow-root" in said
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


def _fetch(address, process):
    assert process.poll() is None, "JupyterLab ended"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.read()
    except ConnectionRefusedError:
        return None
    except OSError as error:
        if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
            return None
        raise


def _until(attempt, seconds=90):
    end = time.monotonic() + seconds
    while not (found := attempt()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)
    return found
