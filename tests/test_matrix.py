"""Runs of many: side by side, within limits, stopped, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course import cli, execution, runner, yardstick
from course.cli_run import seeds
from course.errors import CourseError
from course.execution import Job, Limits

ROOT = Path(__file__).parents[1]
PARAMETERS = "PROFILE = 'smoke'\nSEED = 0"
WITH_BACKBONE = f"{PARAMETERS}\nBACKBONE = 'own'"
SHOW = "print(SEED, globals().get('BACKBONE'))"
RECORD = "from course import evidence\nevidence.record('a number', SEED)"
SMALL = runner.Cost(0, 100)
# Says that it runs, and waits for a file.
WAIT = """\
import time, pathlib
place = pathlib.Path({place!r})
(place / "{name}.runs").touch()
end = time.monotonic() + {patience}
while not (place / "{other}").exists() and time.monotonic() < end:
    time.sleep(0.02)
print((place / "{other}").exists())"""


def chapter(folder, name, *lines, parameters=PARAMETERS):
    cells = [
        new_markdown_cell(f"# {name}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, lines),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place}"
    book = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path = folder / f"{name}.ipynb"
    nbformat.write(book, path)
    return path


def waiting(place, name, other, patience=60):
    return WAIT.format(place=str(place), name=name, other=other, patience=patience)


def printed(path):
    """Return all that an executed notebook printed."""
    cells = nbformat.read(path, as_version=4)["cells"]
    return [
        output["text"].strip()
        for cell in cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    ]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No run of the reader's tells what a chapter takes."""
    monkeypatch.setattr(runner, "EARLIER", tmp_path / "none")


class Instant(runner._Kernels):
    """Kernels that execute nothing: what is asked for is what is looked at."""

    def _start(self, job):
        (self._out / job.folder / job.chapter.name).write_text("{}")
        self._running.append(job)

    def _ended(self):
        job = self._running.pop(0)
        status = "failed" if "bad" in job.chapter.stem else "ok"
        yield job, execution.Result(job.chapter.stem, status, 1.0, None)


@pytest.fixture
def instant(monkeypatch):
    monkeypatch.setattr(runner, "_Kernels", Instant)
    monkeypatch.setattr(
        runner, "room_for", lambda jobs, kernels=None: runner.Room(1, 1, 9999)
    )


@pytest.fixture
def roomy(monkeypatch):
    """Let two kernels run at once, however small this machine is."""
    monkeypatch.setattr(
        runner, "room_for", lambda jobs, kernels=None: runner.Room(2, 1, 9999)
    )


# The matrix ---------------------------------------------------------------------------


def test_one_run_lies_flat_and_several_have_folders(tmp_path):
    path = chapter(tmp_path, "00_a", SHOW)
    (job,) = runner.matrix([path], ["smoke"], [3])
    assert (job.folder, job.label) == (".", "00_a")
    jobs = runner.matrix([path], ["smoke", "quick"], [0, 2])
    folders = ["smoke-seed0", "smoke-seed2", "quick-seed0", "quick-seed2"]
    assert [job.folder for job in jobs] == folders


def test_only_chapters_with_the_parameter_are_run_for_each_backbone(tmp_path):
    own = chapter(tmp_path, "00_own", SHOW)
    any_ = chapter(tmp_path, "01_any", SHOW, parameters=WITH_BACKBONE)
    said = []
    jobs = runner.matrix([own, any_], ["smoke"], [0], ["a", "b"], said.append)
    assert [(job.chapter.stem, job.backbone) for job in jobs] == [
        ("00_own", None),
        ("01_any", "a"),
        ("01_any", "b"),
    ]
    assert len({(job.chapter, job.folder) for job in jobs}) == 3
    assert "00_own" in said[0] and "01_any" not in said[0]


def test_parameters_and_threads_reach_the_kernel(tmp_path, monkeypatch):
    room = runner.Room(1, 3, 9999)
    monkeypatch.setattr(runner, "room_for", lambda jobs, kernels=None: room)
    names = ", ".join(f"os.environ[{name!r}]" for name in execution.THREADS)
    threads = f"import os\nprint({names})"
    path = chapter(tmp_path, "00_a", SHOW, threads, parameters=WITH_BACKBONE)
    jobs = runner.matrix([path], ["smoke"], [0, 5], ["letters"])
    results = runner.run(jobs, tmp_path / "out", report=str)
    assert [result.environment["seed"] for result in results] == [0, 5]
    assert {result.environment["backbone"] for result in results} == {"letters"}
    for result, seed in zip(results, (0, 5), strict=True):
        path = tmp_path / "out" / result.folder / "00_a.ipynb"
        assert printed(path) == [f"{seed} letters", "3 3 3"]
        assert result.environment["threads"] == 3


def test_some_chapters_of_the_workbook_take_a_backbone():
    taking = [
        path.stem[:2]
        for path in runner.find_chapters([], ROOT / "notebooks")
        if "BACKBONE" in execution.parameters_of(path)
    ]
    assert taking == ["02", "12"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", [0]), ("0,1,2", [0, 1, 2]), ("3-5", [3, 4, 5]), ("0-1, 7", [0, 1, 7])],
)
def test_seeds_are_lists_and_spans(text, expected):
    assert seeds(text) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "a"], "such as 0,1,2 or 0-4"),
        (["--seeds", ""], "expected 1 to 100"),
        (["--seeds", "5-2"], "expected 1 to 100"),
        (["--seeds", "0-999999999"], "expected 1 to 100"),
        (["--seeds", "1.5"], "such as 0,1,2 or 0-4"),
        (["--seeds", "1,1"], "The seed 1 was named twice"),
        (["--seeds", "-1"], "seed was -1"),
        (["--profiles", "smoke,smoke"], "The profile smoke was named twice"),
        (["--kernels", "0"], "0 kernels were asked for"),
        (["--cell-limit", "-3"], "--cell-limit was -3"),
        (["--chapter-limit", "nan"], "--chapter-limit was nan"),
    ],
)
def test_a_bad_request_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    (tmp_path / "notebooks").mkdir()
    chapter(tmp_path / "notebooks", "00_a", SHOW)
    monkeypatch.setattr(runner, "notebooks_folder", lambda: tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", *arguments]) == 2
    told = capsys.readouterr()
    assert words in told.err and told.err.startswith("course: ")
    assert not (tmp_path / "runs").exists()


# Side by side -------------------------------------------------------------------------


def test_two_chapters_run_at_once_and_a_third_waits(tmp_path, roomy):
    place = tmp_path / "signs"
    place.mkdir()
    paths = [
        chapter(tmp_path, "00_a", waiting(place, "a", "b.runs")),
        chapter(tmp_path, "01_b", waiting(place, "b", "a.runs")),
        chapter(tmp_path, "02_c", f"import os; print(os.listdir({str(place)!r}))"),
    ]
    lines = []
    results = runner.run(
        runner.matrix(paths, ["smoke"]), tmp_path / "out", report=lines.append
    )
    assert [result.status for result in results] == ["ok"] * 3
    for name in ("00_a", "01_b"):
        assert printed(tmp_path / "out" / f"{name}.ipynb") == ["True"]
    begun = [line.split()[0] for line in lines if line.endswith("…")]
    assert begun == ["00_a", "01_b", "02_c"]
    assert any(": ok" in line for line in lines[: lines.index("02_c …")])


def test_what_does_not_fit_into_memory_waits(tmp_path, monkeypatch):
    """Each sees whether the other runs; the second never sees the first."""
    room = runner.Room(2, 1, 1000)
    monkeypatch.setattr(runner, "room_for", lambda jobs, kernels=None: room)
    costs = lambda out, jobs: {job: runner.Cost(0, 600) for job in jobs}  # noqa: E731
    monkeypatch.setattr(runner, "_costs", costs)
    place = tmp_path / "signs"
    place.mkdir()
    paths = [
        chapter(tmp_path, f"0{k}_{name}", waiting(place, name, f"{other}.runs", 2))
        for k, (name, other) in enumerate(("ab", "ba"))
    ]
    runner.run(runner.matrix(paths, ["smoke"]), tmp_path / "out", report=str)
    assert printed(tmp_path / "out" / "00_a.ipynb") == ["False"]


def test_the_longest_is_begun_first(tmp_path, instant):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "docs").mkdir()
    paths = [chapter(tmp_path / "notebooks", f"0{k}_x", SHOW) for k in range(3)]
    seconds = {"00_x": {"seconds": 5}, "01_x": {"seconds": 50}, "02_x": {"seconds": 9}}
    (tmp_path / "docs" / "section-times.json").write_text(json.dumps(seconds))
    lines = []
    results = runner.run(
        runner.matrix(paths, ["smoke"]),
        tmp_path / "out",
        kernels=1,
        report=lines.append,
    )
    assert [line[:4] for line in lines if line.endswith("…")] == [
        "01_x",
        "02_x",
        "00_x",
    ]
    assert [result.chapter for result in results] == ["00_x", "01_x", "02_x"]


@pytest.mark.parametrize(
    ("cores", "memory_gb", "jobs", "kernels", "threads"),
    [(8, 100, 13, 8, 1), (8, 4, 13, 2, 4), (8, 100, 1, 1, 8), (2, 1, 13, 1, 2)],
)
def test_never_more_threads_than_cores(
    monkeypatch, cores, memory_gb, jobs, kernels, threads
):
    from course.doctor import hardware

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(hardware, "visible_cores", lambda: cores)
    monkeypatch.setattr(hardware, "cpu_quota", lambda: float("inf"))
    monkeypatch.setattr(hardware, "memory_bytes", lambda: (0, 0, memory_gb * 1e9))
    room = runner.room_for(jobs)
    assert (room.kernels, room.threads) == (kernels, threads)
    assert room.kernels * room.threads <= cores


# Limits -------------------------------------------------------------------------------


def test_a_cell_beyond_its_limit_is_named_and_what_was_measured_is_kept(tmp_path):
    path = chapter(tmp_path, "00_a", RECORD, "import time\ntime.sleep(600)")
    (result,) = runner.run(
        runner.matrix([path], ["smoke"]),
        tmp_path / "out",
        limits=Limits(cell=20),
        report=str,
    )
    assert result.status == "failed"
    assert result.error.startswith("cell 4, In [4]: the cell took longer than")
    assert "20 seconds" in result.error and "--cell-limit" in result.error
    assert result.cell == "cell-3"
    assert [record["name"] for record in result.records] == ["a number"]


def test_a_chapter_beyond_its_limit_is_ended_with_its_kernel(tmp_path, monkeypatch):
    place, begun = tmp_path / "kernel", tmp_path / "begun"
    line = f"import os, time; open({str(place)!r}, 'w').write(str(os.getpid()))"
    endless = f"open({str(begun)!r}, 'w')\nwhile True: time.sleep(1)"
    path = chapter(tmp_path, "00_a", line, endless)
    other = chapter(tmp_path, "01_b", SHOW)
    # Its time is over when its last cell has begun, however busy the machine is.
    over = lambda one: 9.0 if one.job.chapter == path and begun.exists() else 0.0  # noqa: E731
    monkeypatch.setattr(runner._Running, "seconds", over)
    results = runner.run(
        runner.matrix([path, other], ["smoke"]),
        tmp_path / "out",
        kernels=1,
        limits=Limits(chapter=3),
        report=str,
    )
    assert [result.status for result in results] == ["failed", "ok"]
    assert results[0].error.startswith("cell 4 (open(")
    assert "the chapter took longer than its limit of 3 seconds" in results[0].error
    assert "--chapter-limit" in results[0].error
    assert not psutil.pid_exists(int(place.read_text()))
    assert (tmp_path / "out" / "00_a.html").is_file()
    assert_nothing_half_written(tmp_path / "out")


def test_a_killed_process_is_told_and_the_others_go_on(tmp_path):
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    paths = [chapter(tmp_path, "00_a", kill), chapter(tmp_path, "01_b", SHOW)]
    results = runner.run(
        runner.matrix(paths, ["smoke"]), tmp_path / "out", kernels=1, report=str
    )
    assert [result.status for result in results] == ["failed", "ok"]
    assert "ended with -9" in results[0].error
    assert_nothing_half_written(tmp_path / "out")


def test_limits_are_those_of_the_profile_where_none_is_given():
    assert Limits().of("smoke") == execution.LIMITS["smoke"]
    assert Limits(cell=3).of("quick") == (3, execution.LIMITS["quick"].chapter)
    assert Limits().of("full") == execution.PATIENT


def assert_nothing_half_written(folder):
    assert not list(folder.rglob(".*"))


# Stopped, and gone on with ------------------------------------------------------------

STOPPED = """
import sys
from pathlib import Path
from course import cli, runner
if __name__ == "__main__":
    runner.notebooks_folder = lambda: Path(sys.argv[1])
    sys.exit(cli.main(["run", *sys.argv[2:]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_it_keeps_what_is_done_and_goes_on_there(tmp_path, sent):
    folder, out, signs = (tmp_path / name for name in ("n", "out", "signs"))
    folder.mkdir()
    signs.mkdir()
    chapter(folder, "00_done", SHOW)
    chapter(folder, "01_waits", waiting(signs, "b", "go"))
    process = course_run(tmp_path, folder, "--out", str(out))
    until(lambda: (signs / "b.runs").exists() and done(out) == ["00_done"])
    family = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, sent)
    told = process.communicate(timeout=60)[1]
    psutil.wait_procs(family, timeout=15)
    assert [one for one in family if one.is_running()] == []
    assert done(out) == ["00_done"]
    if sent != signal.SIGKILL:
        assert process.returncode == 130
        assert "what was finished is kept" in told and "Traceback" not in told
        assert_nothing_half_written(out)
    before = (out / "00_done.ipynb").stat().st_mtime_ns
    (signs / "go").touch()
    again = course_run(tmp_path, folder, "--out", str(out), "--resume")
    lines = again.communicate(timeout=60)[0]
    assert again.returncode == 0
    assert "1 of 2 are as they were; 1 to run." in lines
    assert (out / "00_done.ipynb").stat().st_mtime_ns == before
    assert done(out) == ["00_done", "01_waits"]
    assert_nothing_half_written(out)


def course_run(place, folder, *arguments):
    script = place / "stopped.py"
    script.write_text(STOPPED)
    fixed = ["--profile", "smoke", "--kernels", "1"]
    return subprocess.Popen(
        [sys.executable, script, folder, *fixed, *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def done(out):
    try:
        return [result.chapter for result in runner.read_results(out)]
    except CourseError:
        return []


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


@pytest.fixture
def finished(tmp_path, instant):
    """Two chapters that ran well, one that failed, and how to run them again."""
    paths = [
        chapter(tmp_path, "00_a", SHOW),
        chapter(tmp_path, "01_b", SHOW, "print('b')"),
        chapter(tmp_path, "02_bad", "raise KeyError(SEED)"),
    ]
    out = tmp_path / "out"

    def again(seed=0, **options):
        lines = []
        jobs = runner.matrix(paths, ["smoke"], [seed])
        runner.run(jobs, out, report=lines.append, **options)
        return [line.split()[0] for line in lines if line.endswith("…")]

    again()
    return tmp_path, again


def test_resumed_only_what_failed_is_run(finished):
    assert finished[1](resume=True) == ["02_bad"]


def test_resumed_a_changed_cell_is_run_and_a_changed_word_is_not(finished):
    folder, again = finished
    for name, kind in (("00_a", "code"), ("01_b", "markdown")):
        book = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        cell = [cell for cell in book.cells if cell.cell_type == kind][-1]
        cell.source += "\n# more"
        nbformat.write(book, folder / f"{name}.ipynb")
    assert again(resume=True) == ["00_a", "02_bad"]


def test_resumed_with_another_seed_everything_is_run(finished):
    assert finished[1](seed=1, resume=True) == ["00_a", "01_b", "02_bad"]


@pytest.mark.parametrize("name", ["_package_digest", "environment"])
def test_resumed_with_another_package_or_environment_everything_is_run(
    finished, monkeypatch, name
):
    before = getattr(execution, name)
    now = (lambda: "other") if name == "_package_digest" else None
    monkeypatch.setattr(
        execution, name, now or (lambda job: {**before(job), "python": "4.0"})
    )
    assert finished[1](resume=True) == ["00_a", "01_b", "02_bad"]


def test_resumed_a_lost_notebook_is_made_again(finished):
    folder, again = finished
    (folder / "out" / "01_b.ipynb").unlink()
    assert again(resume=True) == ["01_b", "02_bad"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"chapter": "00_a"}]', "[[]]"])
def test_resumed_after_damage_everything_is_run(finished, text):
    folder, again = finished
    (folder / "out" / "records.json").write_text(text)
    assert again(resume=True) == ["00_a", "01_b", "02_bad"]


def test_a_file_of_the_package_changes_the_digest(tmp_path, monkeypatch):
    (tmp_path / "tables").mkdir()
    place = tmp_path / "tables" / "a.csv"
    place.write_text("1")
    monkeypatch.setattr(execution, "__file__", str(tmp_path / "execution.py"))
    digest = execution._package_digest.__wrapped__
    first = digest()
    place.write_text("2")
    second = digest()
    place.rename(place.with_name("b.csv"))
    assert len({first, second, digest()}) == 3


# The yardstick ------------------------------------------------------------------------


def test_the_yardstick_changes_no_number_of_a_chapter(monkeypatch):
    import torch

    monkeypatch.setattr(yardstick, "ROUNDS", 1)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    assert yardstick.work() > 0
    assert torch.equal(torch.rand(3), expected)


def test_a_quick_run_has_the_yardstick_before_and_after(tmp_path):
    path = chapter(tmp_path, "00_a", RECORD, parameters="PROFILE = 'quick'\nSEED = 0")
    (result,) = runner.run(runner.matrix([path]), tmp_path / "out", report=str)
    assert result.reference["seconds"] > 0
    assert 50 < result.reference["mb"] <= result.peak_mb
    book = nbformat.read(tmp_path / "out" / "00_a.ipynb", as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    marked = [yardstick.TAG in cell.metadata.get("tags", []) for cell in code]
    assert (marked[0], marked[-1], sum(marked)) == (True, True, 2)


def test_the_yardstick_of_both_cells_is_averaged():
    def cell(seconds, mb):
        row = {"seconds": seconds, "mb": mb, "threads": 1}
        return {"outputs": [{"data": {yardstick.MIME: row}}]}

    book = {"cells": [{"outputs": []}, cell(1.0, 300.0), {}, cell(2.0, 900.0)]}
    assert yardstick.read(book) == {"seconds": 1.5, "mb": 300.0}
    assert yardstick.read({"cells": [{}]}) is None


def test_a_job_without_a_backbone_leaves_the_parameter_alone():
    assert Job(Path("a.ipynb")).parameters == {"PROFILE": "quick", "SEED": 0}
