"""An installation and a home folder in which nothing can be written.

For root, whom no mode of a folder stops, the processes run without the capability that
lets it pass.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OFFLINE = ROOT / "tests" / "offline"
HARD = bool(os.environ.get("HARD"))
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
ROOTS = hasattr(os, "geteuid") and os.geteuid() == 0
PREFIX = BOUND if ROOTS else []
COURSE = [*PREFIX, sys.executable, "-m", "course.cli"]


def stops(folder):
    """Say whether a folder without write access stops a process of these tests."""
    closed = folder / "closed"
    closed.mkdir(mode=0o555)
    if PREFIX and not shutil.which(PREFIX[0]):
        return False
    program = f"open({str(closed / 'x')!r}, 'w')"
    command = [*PREFIX, sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True).returncode != 0


def everything(folder):
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A copy of package and chapters, with modes that let nobody write."""
    folder = tmp_path_factory.mktemp("read-only")
    if not stops(folder):
        pytest.skip("nothing stops this user from writing")
    place = folder / "installed"
    traces = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".*")
    for name in ("course", "notebooks"):
        shutil.copytree(ROOT / name, place / name, ignore=traces)
    paths = [place, *place.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = everything(place)
    yield place
    assert everything(place) == before
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)


# With HARD=1, each test in both homes; else it is one of them for each.
ONE = {
    "read-only": "test_what_cannot_be_kept_is_said_and_everything_else_works",
    "missing": "test_a_chapter_runs_there",
}


@pytest.fixture(params=ONE)
def home(request, tmp_path):
    if not HARD and request.node.originalname != ONE[request.param]:
        pytest.skip("with HARD=1")
    place = tmp_path / "home"
    place.mkdir(mode=0o555)
    yield place / "nobody" if request.param == "missing" else place
    assert not list(place.iterdir())
    place.chmod(0o755)


def surroundings(installed, home):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "IPYTHON", "XDG", "COURSE", "MPL", "TORCH"))
    }
    return {
        **kept,
        "HOME": str(home),
        "PYTHONPATH": f"{installed}{os.pathsep}{OFFLINE}",
        "OMP_NUM_THREADS": "1",
    }


def run(command, installed, home, work):
    work.mkdir(exist_ok=True)
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=surroundings(installed, home),
        cwd=work,
        stdin=subprocess.DEVNULL,
    )


PROGRAM = r"""
import contextlib, io, json, sys, warnings
from pathlib import Path
import torch
import course
from course import cli, evidence, models, plots, sweep, transfer
from course.errors import CourseError
home, work, told = Path.home(), Path.cwd(), {"course": course.__file__}

def listened(name, do):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = do()
            except CourseError as error:
                result = f"CourseError: {error}"
    said = [str(one.message) for one in caught if one.category is UserWarning]
    told[name] = {"result": result, "out": out.getvalue(), "err": err.getvalue(),
                  "warned": said}

from course import progress
def note():
    for answer in ("one", "other"):
        progress.polled("00", "Which?", answer, True)
listened("note", note)
model = models.load("resnet10-shapes")
pictures = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
count = lambda place: len(transfer.features(model, pictures, cache=place))
listened("features", lambda: count(home / "features"))
listened("kept features", lambda: count(work / "features"))
square = lambda seed: {"value": seed ** 2}
swept = lambda place: len(sweep.run(square, sweep.grid(seed=[1, 2]), folder=place,
                                    progress=False))
listened("sweep", lambda: swept(home / "cells"))
listened("kept sweep", lambda: swept(work / "cells"))
listened("progress", lambda: cli.main(["progress"]))
listened("doctor", lambda: cli.main(["doctor"]))
listened("prefetch", lambda: cli.main(["prefetch", "--models", "vgg16"]))
listened("cache", lambda: cli.main(["cache"]))
listened("prune", lambda: cli.main(["cache", "prune", "--older", "1d"]))
listened("pretrain", lambda: cli.main(
    ["pretrain", "resnet10-colours", "--profile", "smoke", "--out", str(home / "w")]))
listened("figure", lambda: plots.plain(pictures[0], "Nothing but black.").alt)
print("\n" + json.dumps(told))
"""


def test_what_cannot_be_kept_is_said_and_everything_else_works(
    installed, home, tmp_path
):
    program = [*PREFIX, sys.executable, "-c", PROGRAM]
    done = run(program, installed, home, tmp_path / "work")
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.pop("course").startswith(str(installed))
    assert "Traceback" not in done.stderr + str(told)
    result = {name: one["result"] for name, one in told.items()}
    assert told["note"]["out"].count("Your progress is not kept") == 1
    assert result["features"] == result["kept features"] == 2
    (warned,) = told["features"]["warned"]
    assert "could not be kept in" in warned and not told["kept features"]["warned"]
    assert result["sweep"].startswith("CourseError: A finished run could not be kept")
    assert result["kept sweep"] == 2
    assert result["progress"] == result["cache"] == result["prune"] == 0
    assert re.search(r"home folder.*cannot be written", told["doctor"]["out"])
    assert result["prefetch"] == 0 and "Nothing was fetched" in told["prefetch"]["out"]
    assert result["pretrain"] == 2
    assert len(told["pretrain"]["err"].strip().splitlines()) == 1
    assert result["figure"] == "Nothing but black."


def test_a_chapter_runs_there(installed, home, tmp_path):
    out = tmp_path / "work" / "run"
    command = [*COURSE, "run", "00", "--profile", "smoke", "--out", str(out)]
    done = run(command, installed, home, tmp_path / "work")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    (row,) = json.loads((out / "records.json").read_text())
    assert row["status"] == "ok" and row["claims"]


@pytest.mark.skipif(not HARD, reason="with HARD=1")
def test_jupyterlab_opens_there_with_a_kernel(installed, home, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    process = subprocess.Popen(
        [*COURSE, "lab", "--no-browser", "--port", "8951"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=surroundings(installed, home),
        cwd=work,
        start_new_session=True,
    )
    try:
        told = [process.stdout.readline() for _ in range(3 + ROOTS)]
        address = re.search(r"(http://\S+?)/lab/\S+token=(\w+)", "".join(told))
        assert "settings and layout are not kept" in told[-1]
        kernel = answered(f"{address[1]}/api/kernels?token={address[2]}")
        assert kernel["name"] == "python3"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def answered(address):
    """Ask for a kernel until the server is there."""
    for _ in range(300):
        try:
            request = urllib.request.Request(address, b'{"name": "python3"}')
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.2)
        except OSError:
            time.sleep(0.2)
    raise AssertionError("JupyterLab did not start")
