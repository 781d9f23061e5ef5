"""Where runs go: the same results everywhere, one sentence for a slip, no orphans."""

import operator
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from course import engines
from course.errors import CourseError

NAMES = ("threads", "processes", "dask")
ELSEWHERE = NAMES[1:]
SCRIPT = """
import os, pathlib, sys, time
from course import engines
from tqdm import tqdm

def nap(folder):
    tqdm(disable=True, total=1).update()
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    try:
        with engines.open(sys.argv[1], 2) as engine:
            for future in [engine.submit(nap, sys.argv[2]) for _ in range(4)]:
                future.result()
    except KeyboardInterrupt:
        sys.exit(130)
"""
NOTEBOOK = """
import sys
from course import engines

def twice(x):
    return 2 * x

if __name__ == "__main__":
    with engines.open(sys.argv[1], 1) as engine:
        print(engine.submit(twice, 21).result())
"""


def started(workers, tries=3):
    distributed = pytest.importorskip("distributed")
    where = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    where["threads_per_worker"] = 1
    try:
        return distributed.LocalCluster(n_workers=workers, **where)
    except AssertionError:  # its thread had ten seconds to begin, on a crowded machine
        if tries == 1:
            raise
        return started(workers, tries - 1)


@pytest.fixture(scope="module")
def cluster():
    with started(2) as mine:
        yield mine


def results(backend, function, *lists, workers=2):
    with engines.open(backend, workers) as engine:
        futures = [engine.submit(function, *row) for row in zip(*lists, strict=True)]
        return [future.result(60) for future in futures]


@pytest.mark.parametrize("backend", NAMES)
def test_an_engine_returns_what_the_functions_return(backend):
    assert results(backend, operator.mul, range(5), range(5)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("backend", ELSEWHERE)
def test_a_process_beside_this_one_computes_with_one_core(backend, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with engines.open(backend, 1) as engine:
        assert engine.submit(os.getpid).result(60) != os.getpid()
        assert engine.submit(os.getenv, "OMP_NUM_THREADS").result(60) == "1"
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_a_scheduler_elsewhere_is_used_and_left_running(cluster):
    address = f"dask:{cluster.scheduler_address}"
    for _ in range(2):  # it is still there for the next one
        with engines.open(address, 1) as engine:
            assert engine.room() == 3  # what the cluster has, and one that waits
            assert engine.submit(os.getpid).result(60) != os.getpid()


@pytest.mark.parametrize("backend", NAMES)
def test_an_error_comes_back_as_it_was_raised(backend):
    with engines.open(backend, 1) as engine:
        with pytest.raises(ZeroDivisionError):
            engine.submit(operator.truediv, 1, 0).result(60)
        assert engine.submit(operator.truediv, 1, 2).result(60) == 0.5


# Slips --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "workers", "words"),
    [
        ("daks", 2, "Did you mean 'dask'"),
        ("processes:4", 2, "Did you mean 'processes'"),
        ("threads", 0, "expected 1 or more"),
    ],
)
def test_an_unknown_backend_is_one_sentence(backend, workers, words):
    with pytest.raises(CourseError, match=words):
        engines.open(backend, workers)


def test_a_package_that_is_missing_is_named_with_the_way_to_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CourseError, match=r"pip install -e '\.\[cluster\]'"):
        engines.open("dask", 2)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", ""])
def test_a_scheduler_that_does_not_answer_is_one_sentence(address, monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE", 0.3)
    with pytest.raises(CourseError, match=f"No dask scheduler answers at '{address}'"):
        engines.open(f"dask:{address}", 2)


def test_a_scheduler_without_a_worker_is_one_sentence(monkeypatch):
    monkeypatch.setattr(engines, "PATIENCE", 1.5)
    with (
        started(0) as empty,
        pytest.raises(CourseError, match="has no worker; start one"),
    ):
        engines.open(f"dask:{empty.scheduler_address}", 2)


def test_a_worker_without_the_workbook_is_one_sentence(cluster, monkeypatch):
    monkeypatch.setattr(engines, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(CourseError, match="does not have this workbook; install it"):
        engines.open(f"dask:{cluster.scheduler_address}", 2)


def local(x):
    return x


@pytest.mark.parametrize(
    "arguments",
    [(lambda: 1,), (local, lambda: 1), (local, sys)],
    ids=["a lambda", "an argument", "a module"],
)
def test_what_cannot_be_sent_is_said_before_a_process_starts(arguments):
    before = psutil.Process().children()
    with (
        engines.open("processes", 2) as engine,
        pytest.raises(CourseError, match=r"in a module, such as a \.py file"),
    ):
        engine.submit(*arguments)
    assert psutil.Process().children() == before


def test_what_cannot_be_sent_to_dask_either_is_said(cluster):
    lock = threading.Lock()
    with (
        engines.open(f"dask:{cluster.scheduler_address}", 1) as engine,
        pytest.raises(CourseError, match=r"sent to another process \(cannot pickle"),
    ):
        engine.submit(lambda: lock)


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_a_function_of_a_notebook_goes_to_dask_and_not_to_processes():
    def printed(backend):
        return python("-c", NOTEBOOK, backend)

    assert printed("threads").stdout == printed("dask").stdout == "42\n"
    assert "twice at" in (refused := printed("processes").stderr)
    assert "is defined in a notebook); expected a function" in refused


def test_a_function_of_a_script_goes_to_processes(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(NOTEBOOK)
    assert python(str(file), "processes").stdout == "42\n"


@pytest.mark.parametrize("backend", ELSEWHERE)
def test_a_script_that_starts_itself_again_is_told_of_the_guard(backend, tmp_path):
    file = tmp_path / "script.py"
    file.write_text(NOTEBOOK.replace('if __name__ == "__main__":', "if True:"))
    assert "`if __name__ == '__main__':`" in python(str(file), backend).stderr


# Ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ELSEWHERE)
def test_a_worker_that_is_killed_is_one_sentence(backend):
    with (
        pytest.raises(CourseError, match=r"ended before (its|their) work did"),
        engines.open(backend, 1) as engine,
    ):
        engine.submit(os._exit, 3).result(60)


@pytest.mark.parametrize("backend", ELSEWHERE)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_no_worker_outlives_the_one_that_started_it(backend, how, tmp_path):
    file, began = tmp_path / "script.py", tmp_path / "began"
    file.write_text(SCRIPT)
    began.mkdir()
    run = subprocess.Popen(
        [sys.executable, str(file), backend, str(began)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: len(list(began.iterdir())) == 2)
    workers = [psutil.Process(int(path.name)) for path in began.iterdir()]
    assert all(map(alive, workers))
    if how == signal.SIGINT:  # a terminal sends it to all of them
        os.killpg(run.pid, how)
    else:
        run.kill()
    _, said = run.communicate(timeout=60)
    until(lambda: not any(map(alive, workers)))
    if how == signal.SIGINT:
        assert (run.returncode, said) == (130, "")


def alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_that_are_gone_with_their_scheduler_are_one_sentence():
    mine = started(1)
    with (
        pytest.raises(CourseError, match="or their scheduler is gone"),
        engines.open(f"dask:{mine.scheduler_address}", 1) as engine,
    ):
        napping = engine.submit(time.sleep, 60)
        mine.close()
        napping.result(60)
