"""The progress file: what it keeps, what it survives, and what it never does."""

import ast
import csv
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from course import cli, progress, runner, syllabus
from course.errors import CourseError
from course.exercises import base, first_prediction
from course.exercises.outline import by_chapter

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
FREEZE = ("fine_tuning", "freeze")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The path of a progress file that is not there yet."""
    path = tmp_path / "mine" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    monkeypatch.setattr(progress, "_said", set())
    return path


def written(**changes):
    """A small file as bytes, changed at its top level."""
    data = json.loads(progress.to_json(progress.Progress()))
    return json.dumps({**data, **changes}).encode()


def test_a_check_is_kept_with_its_tries_its_best_score_and_its_mistakes(place):
    progress.checked(*FREEZE, "failed", 0.5, "eval mode forgotten")
    progress.checked(*FREEZE, "failed", 0.25, "eval mode forgotten")
    progress.checked(*FREEZE, "passed", 1.0)
    done = progress.load().of(*FREEZE)
    assert (done.status, done.tries, done.needed, done.best) == ("passed", 3, 3, 1.0)
    assert dict(done.mistakes) == {"eval mode forgotten": 2}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", done.passed)


def test_running_the_page_again_is_no_further_try(place):
    for _ in range(5):
        progress.checked(*FREEZE, "passed", 1.0)
    assert progress.load().of(*FREEZE).tries == 1
    progress.checked(*FREEZE, "failed", 0.5)
    done = progress.load().of(*FREEZE)
    assert (done.status, done.tries, done.needed, done.best) == ("failed", 2, 1, 1.0)
    assert done.passed


@pytest.mark.parametrize("status", ["not started", "", "great"])
def test_an_untouched_stub_is_not_kept(place, status):
    progress.checked(*FREEZE, status, 0.0)
    assert not place.exists()


@pytest.mark.parametrize(
    ("score", "kept"), [(float("nan"), 0), (-1, 0), (7, 1), (float("inf"), 0)]
)
def test_a_score_is_brought_between_0_and_1(place, score, kept):
    progress.checked(*FREEZE, "failed", score)
    assert progress.load().of(*FREEZE).best == kept


def test_hints_and_a_shown_answer_are_kept_and_the_answer_only_before_a_pass(place):
    progress.hinted(*FREEZE, 2)
    progress.hinted(*FREEZE, 1)
    progress.checked(*FREEZE, "passed", 1.0)
    progress.answered(*FREEZE)
    done = progress.load().of(*FREEZE)
    assert done.hints == 2 and not done.answered
    progress.answered("fine_tuning", "groups")
    assert progress.load().of("fine_tuning", "groups").answered


def test_the_first_and_the_last_prediction_are_kept(place):
    progress.polled("fine_tuning", "Which?", "probe", False)
    progress.polled("fine_tuning", "Which?", "full", True)
    (vote,) = progress.load().polls.values()
    assert vote == progress.Vote("probe", "full", True)


def test_what_was_read_cannot_be_changed(place):
    progress.checked(*FREEZE, "failed", 0.5, "a mistake")
    now = progress.load()
    with pytest.raises(TypeError):
        now.exercises[FREEZE] = None
    with pytest.raises(TypeError):
        now.of(*FREEZE).mistakes["a mistake"] = 9
    with pytest.raises(AttributeError):
        now.of(*FREEZE).tries = 9


def test_a_check_of_the_course_keeps_nothing_of_what_the_reader_wrote(
    place, monkeypatch
):
    monkeypatch.setattr(base, "_verdicts", {})
    monkeypatch.setattr(base, "display", lambda data, raw: None)

    def top_k(logits, k):
        secret_of_mine = 4711
        return [secret_of_mine]

    first_prediction.top_k.check(top_k)
    assert progress.load().of("first_prediction", "top_k").status == "failed"
    text = place.read_text("utf-8")
    assert "secret" not in text and "4711" not in text and "logits, k" not in text


def test_the_file_is_for_its_owner_alone_and_its_folder_too(place):
    progress.checked(*FREEZE, "passed", 1.0)
    if os.name == "posix":
        assert place.stat().st_mode & 0o077 == 0
        assert place.parent.stat().st_mode & 0o077 == 0


def test_a_link_stays_a_link(place, tmp_path):
    place.parent.mkdir()
    elsewhere = tmp_path / "elsewhere.json"
    place.symlink_to(elsewhere)
    progress.checked(*FREEZE, "passed", 1.0)
    assert place.is_symlink() and elsewhere.is_file()


def test_an_empty_variable_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", " ")
    monkeypatch.setenv("HOME", str(tmp_path))
    progress.checked(*FREEZE, "passed", 1.0)
    assert progress.path() is None and progress.load() == progress.Progress()
    assert list(tmp_path.iterdir()) == []


def test_without_a_variable_it_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.setenv("HOME", str(tmp_path))
    progress.checked(*FREEZE, "passed", 1.0)
    assert (tmp_path / ".pretrained-workbook" / "progress.json").is_file()
    assert progress.shown(progress.path()) == "~/.pretrained-workbook/progress.json"


MANY = [
    {"chapter": "c", "question": str(n), "first": "", "last": "", "right": True}
    for n in range(progress.MOST_ENTRIES + 1)
]
GOOD = {
    "chapter": "fine_tuning",
    "exercise": "freeze",
    "status": "failed",
    "tries": 1,
    "needed": 0,
    "best": 0.5,
    "passed": "",
    "hints": 0,
    "answered": False,
    "mistakes": {},
}


def entry(**changes):
    return written(exercises=[{**GOOD, **changes}])


DAMAGED = {
    "nothing": (b"", "not JSON"),
    "half": (written()[:-9], "not JSON"),
    "no text": (b"\xff\xfe\x00", "not JSON"),
    "deep": (b"[" * 100_000, "not JSON"),
    "a list": (b"[]", "no progress file"),
    "another file": (b'{"version": 1}', "no progress file"),
    "no version": (written(version=None), "no version"),
    "version true": (written(version=True), "no version"),
    "no list": (written(exercises={}), "no list of exercises"),
    "too large": (b" " * (progress.MOST_BYTES + 1), "larger than"),
    "too many": (written(polls=MANY), "more than"),
    "row is a number": (written(exercises=[7]), "'chapter'"),
    "no name": (entry(exercise=None), "'exercise'"),
    "status": (entry(status="great"), "'status'"),
    "status is a list": (entry(status=[]), "'status'"),
    "tries below 0": (entry(tries=-1), "'tries'"),
    "tries without end": (entry(tries=10**30), "'tries'"),
    "tries true": (entry(tries=True), "'tries'"),
    "best is no number": (entry(best=float("nan")), "'best'"),
    "best above 1": (entry(best=2), "'best'"),
    "no day": (entry(passed="yesterday"), "'passed'"),
    "answered": (entry(answered=1), "'answered'"),
    "mistakes": (entry(mistakes=["a"]), "'mistakes'"),
    "half a character": (entry(exercise="\ud800"), "'exercise'"),
    "a long name": (entry(exercise="x" * 10_000), "'exercise'"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_put_aside_whole_and_said_in_one_sentence(
    place, capsys, name
):
    content, reason = DAMAGED[name]
    place.parent.mkdir()
    place.write_bytes(content)
    with pytest.raises(CourseError, match=re.escape(reason)):
        progress.load()
    assert place.read_bytes() == content
    progress.checked(*FREEZE, "passed", 1.0)
    progress.checked(*FREEZE, "passed", 1.0)
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and reason in said.out and said.err == ""
    assert "progress.json.damaged-1" in said.out
    assert place.with_name("progress.json.damaged-1").read_bytes() == content
    assert progress.load().of(*FREEZE).status == "passed"


def test_a_second_damaged_file_does_not_replace_the_first(place):
    place.parent.mkdir()
    for content in (b"one", b"two"):
        place.write_bytes(content)
        progress.checked(*FREEZE, "passed", 1.0)
    aside = sorted(place.parent.glob("*.damaged-*"))
    assert [path.read_bytes() for path in aside] == [b"one", b"two"]


def test_a_file_of_a_newer_workbook_is_left_as_it_is(place, capsys):
    place.parent.mkdir()
    content = written(version=2, exercises="whatever it may be")
    place.write_bytes(content)
    progress.checked(*FREEZE, "passed", 1.0)
    progress.polled("fine_tuning", "Which?", "probe", True)
    assert place.read_bytes() == content
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "newer workbook" in said and "update" in said
    with pytest.raises(progress.NewerFile, match="version 2"):
        progress.load()
    assert not list(place.parent.glob("*.damaged-*"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("kind", ["a folder", "below a file", "no room", "a pipe"])
def test_a_place_that_cannot_be_written_is_said_once_and_stops_nothing(
    place, tmp_path, monkeypatch, capsys, kind
):
    if kind == "a folder":
        place.mkdir(parents=True)
    elif kind == "below a file":
        place.parent.write_text("")
    elif kind == "a pipe":  # as root, a device would be replaced as well
        place.parent.mkdir()
        os.mkfifo(place)
    else:

        def full(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
    for _ in range(3):
        progress.checked(*FREEZE, "passed", 1.0)
        progress.hinted(*FREEZE, 1)
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and "COURSE_PROGRESS" in said.out
    assert said.err == ""
    assert kind != "a pipe" or place.is_fifo()


def test_no_room_leaves_the_file_as_it_was(place, monkeypatch):
    progress.checked(*FREEZE, "failed", 0.5)
    before = place.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    progress.checked(*FREEZE, "passed", 1.0)
    assert place.read_bytes() == before
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_PROGRESS", str(place))
    progress.checked(*FREEZE, "passed", 1.0)
    assert progress.load().of(*FREEZE).status == "passed"


def test_a_full_file_takes_no_more_and_says_so(place, monkeypatch, capsys):
    monkeypatch.setattr(progress, "MOST_ENTRIES", 2)
    for number in range(4):
        progress.polled("fine_tuning", f"Question {number}?", "probe", True)
    assert len(progress.load().polls) == 2
    assert "--forget" in capsys.readouterr().out


def test_long_texts_are_cut_so_that_the_file_can_be_read_again(place):
    progress.polled("fine_tuning", "x" * 10_000, "\ud800" + "y" * 10_000, True)
    progress.checked(*FREEZE, "failed", 0.5, "z" * 10_000)
    assert len(progress.load().polls) == 1
    assert [len(name) for name in progress.load().of(*FREEZE).mistakes] == [500]


# Forked from one small Python: it loads no torch, and a round takes milliseconds.
KILLED = """
import os, random, signal, time
from course import progress

known = 0
for round in range(30):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        while True:
            progress.checked("fine_tuning", "freeze", "failed", 0.5, "a mistake")
            os.write(writer, b".")
    known += len(os.read(reader, 1))
    time.sleep(random.random() / 50)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    while said := os.read(reader, 100):
        known += len(said)
    os.close(reader)
    done = progress.load().of("fine_tuning", "freeze")
    assert known <= done.tries <= known + 1, (known, done.tries)
    assert done.mistakes["a mistake"] == done.tries
    known = done.tries
print("kept", known)
"""
# Killed at the n-th thing that the system is asked for, for every n until all is done.
STEPS = """
import os, signal, sys
from course import progress

step = 0
while True:
    step += 1
    progress.checked("fine_tuning", "freeze", "failed", 0.5)
    before = progress.load().of("fine_tuning", "freeze").tries
    child = os.fork()
    if child == 0:
        left = step

        def count(event, arguments):
            global left
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        progress.checked("fine_tuning", "freeze", "failed", 0.5)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    after = progress.load().of("fine_tuning", "freeze").tries
    assert after in (before, before + 1), (step, before, after)
    if status == 0:
        assert after == before + 1
        break
print("steps", step)
"""
SIDE_BY_SIDE = """
import os
from course import progress

children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        for _ in range(25):
            progress.checked("fine_tuning", "freeze", "failed", 0.5, str(number))
            progress.hinted(str(number), "own", 1)
        os._exit(0)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
now = progress.load()
assert dict(now.of("fine_tuning", "freeze").mistakes) == {str(n): 25 for n in range(4)}
assert all(now.of(str(n), "own").hints == 1 for n in range(4))
print("tries", now.of("fine_tuning", "freeze").tries)
"""


def run(script, place):
    """Run a script in a Python of its own that keeps its progress at a place."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "COURSE_PROGRESS": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
    )


FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@FORKS
@pytest.mark.parametrize("script", [KILLED, STEPS], ids=["at random", "at each step"])
def test_a_kill_loses_no_check_that_was_through_and_leaves_the_file_whole(
    place, script
):
    done = run(script, place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[1]) >= 4
    left = {path.name for path in place.parent.iterdir()}
    allowed = {"progress.json", "progress.json.lock", ".progress.json.part"}
    assert left <= allowed


@FORKS
def test_kernels_that_write_at_once_lose_nothing(place):
    done = run(SIDE_BY_SIDE, place)
    assert (done.stdout, done.stderr) == ("tries 100\n", "")


def test_the_file_loads_neither_torch_nor_numpy():
    code = "import sys; from course import progress, syllabus; print(*sys.modules)"
    loaded = run(code, "").stdout.split()
    assert "course.syllabus" in loaded
    assert not {"torch", "numpy", "ipywidgets", "course.exercises"} & set(loaded)


def filled():
    """Keep something of every kind."""
    progress.checked(*FREEZE, "failed", 0.5, "a <mistake>, “quoted”")
    progress.checked(*FREEZE, "passed", 1.0)
    progress.answered("fine_tuning", "groups")
    progress.polled("fine_tuning", 'Which, "exactly"?\nThis?', "probe; full", False)


def test_an_export_as_json_can_be_read_back(place):
    filled()
    assert progress.parse(progress.export("json").encode()) == progress.load()
    assert progress.export("json") == place.read_text("utf-8")


def test_an_export_as_csv_has_a_row_for_everything(place):
    filled()
    rows = list(csv.DictReader(io.StringIO(progress.export("csv"))))
    assert [row["what"] for row in rows] == ["exercise", "exercise", "poll"]
    first, second, poll = rows
    assert (first["chapter"], first["name"]) == FREEZE
    assert (first["status"], first["tries"], first["best"]) == ("passed", "2", "1.0")
    assert first["mistakes"] == "1 × a <mistake>, “quoted”"
    assert second["answered"] == "True" and second["passed"] == ""
    assert poll["name"] == 'Which, "exactly"?\nThis?' and poll["right"] == "False"


def test_another_kind_of_export_is_refused(place):
    with pytest.raises(CourseError, match="Known: csv, json"):
        progress.export("xml")


def test_the_table_of_chapters_is_that_of_the_notebooks():
    assert [c.notebook for c in syllabus.CHAPTERS] == [path.name for path in CHAPTERS]
    for chapter, path in zip(syllabus.CHAPTERS, CHAPTERS, strict=True):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        heading = "".join(cells[0]["source"]).splitlines()[0]
        assert heading.startswith(f"# {chapter.number} · {chapter.title}")
        code = "\n".join(
            "".join(c["source"]) for c in cells if c["cell_type"] == "code"
        )
        imported = [
            alias.name
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.ImportFrom) and node.module == "course.exercises"
            for alias in node.names
        ]
        assert imported == [chapter.module]


def test_a_notebook_knows_its_chapter_by_the_exercises_that_it_imported(monkeypatch):
    notebook = sys.modules["__main__"]
    assert syllabus.here() == ""
    monkeypatch.setattr(notebook, "fine_tuning", "something else", raising=False)
    assert syllabus.here() == ""
    monkeypatch.setattr(notebook, "first_prediction", first_prediction, raising=False)
    assert syllabus.here() == "first_prediction"


@pytest.mark.parametrize(
    ("done", "reason"),
    [
        (progress.Done("failed", 1), "failed the last check"),
        (progress.Done("failed", 4, 2, passed="2026-01-02"), "passed on 2026-01-02"),
        (progress.Done("passed", 3, 3, passed="2026-01-02"), "passed after 3 tries"),
        (
            progress.Done("passed", 1, 1, passed="2026-01-02", answered=True),
            "after the reference answer",
        ),
    ],
)
def test_what_is_worth_repeating_says_why(done, reason):
    assert reason in syllabus.why(done)


@pytest.mark.parametrize(
    "done",
    [progress.Done(), progress.Done("passed", 2, 2), progress.Done(answered=True)],
)
def test_what_went_well_or_was_not_done_is_not_worth_repeating(done):
    assert syllabus.why(done) == ""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, and no variable."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COURSE_PROGRESS")
    return tmp_path


def test_course_progress_on_an_empty_home_lists_everything_and_writes_nothing(
    home, capsys
):
    assert cli.main(["progress"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Nothing done yet.")
    for chapter in syllabus.CHAPTERS:
        assert f"\n{chapter.number} {chapter.title}\n" in said
    for asked in itertools.chain(*by_chapter().values()):
        assert f"  ○ {asked.title} ({asked.minutes} minutes)" in said
    assert "~/.pretrained-workbook/progress.json" in said
    assert "Worth repeating" not in said
    assert list(home.iterdir()) == []


def test_course_progress_shows_the_map_and_what_to_repeat(place, capsys):
    progress.checked("first_prediction", "normalise", "passed", 1.0)
    progress.checked(*FREEZE, "failed", 0.5)
    progress.polled("choosing", "Which score?", "LEEP", False)
    assert cli.main(["progress"]) == 0
    said = capsys.readouterr().out
    assert "✓ Preprocessing by hand (passed, 1 try)" in said
    assert "✗ Really frozen? (failed, 1 try, best 50%)" in said
    again = said.partition("Worth repeating\n")[2].splitlines()
    assert again[0] == "  03 Really frozen? Failed the last check."
    assert again[1].startswith("  07 Which score? You predicted “LEEP”")


def test_course_progress_exports_to_the_terminal_or_to_a_file(place, tmp_path, capsys):
    filled()
    assert cli.main(["progress", "--export", "csv"]) == 0
    assert capsys.readouterr().out == progress.export("csv")
    out = tmp_path / "out.json"
    assert cli.main(["progress", "--export", "json", "--out", str(out)]) == 0
    assert progress.parse(out.read_bytes()) == progress.load()


@pytest.mark.parametrize(
    ("answer", "left"), [("y", False), ("YES", False), ("", True), ("n", True)]
)
def test_course_progress_forgets_only_when_told_so(
    place, monkeypatch, capsys, answer, left
):
    filled()
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert cli.main(["progress", "--forget"]) == 0
    assert place.exists() is left
    assert ("Nothing was deleted" in capsys.readouterr().out) is left


def test_course_progress_forgets_nothing_where_nobody_answers(place, monkeypatch):
    filled()

    def nobody(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert cli.main(["progress", "--forget"]) == 0 and place.exists()


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (b"{", [], "not JSON"),
        (written(version=9), [], "newer workbook"),
        (b"{", ["--export", "json"], "not JSON"),
        (b"", ["--out", "x"], "--export"),
    ],
)
def test_course_progress_refuses_in_one_sentence(
    place, capsys, content, arguments, words
):
    place.parent.mkdir()
    place.write_bytes(content)
    assert cli.main(["progress", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("course: ") and words in said and "Traceback" not in said
    assert place.read_bytes() == content


def test_a_headless_run_leaves_the_readers_progress_alone(place, tmp_path, monkeypatch):
    given = new_code_cell(
        "PROFILE = 'quick'\nSEED = 0", metadata={"tags": ["parameters"]}
    )
    line = "import os\nassert os.environ['COURSE_PROGRESS'] == ''"
    book = new_notebook(cells=[given, new_code_cell(line)])
    book.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    chapter = tmp_path / "00_first_prediction.ipynb"
    nbformat.write(book, chapter)
    (result,) = runner.run_chapters([chapter], tmp_path / "out", report=str)
    assert result.error == "" and os.environ["COURSE_PROGRESS"] == str(place)
