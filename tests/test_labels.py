"""Labels for a folder: kept after each answer, and never lost or overwritten."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from course import data, labels
from course.errors import CourseError
from course.labels import Labelling

BEES = ["ant", "bee"]
NASTY = 'a, "b" <b>ü</b> 猫.png'


def put(folder, *names):
    for number, name in enumerate(names):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 20 * (number % 12), np.uint8)).save(place)
    return folder


def rows(file):
    with open(file, encoding="utf-8", newline="") as text:
        return list(csv.reader(text))


def test_each_answer_is_in_the_file_before_the_next_picture_is_asked(tmp_path):
    put(tmp_path, "img10.png", "img2.png", "in/img1.png")
    now = Labelling(tmp_path, BEES)
    assert not now.file.exists()
    assert now.current()[0] == "img2.png"  # 2 before 10
    assert now.label("bee") == "img2.png"
    assert rows(now.file) == [["file", "label"], ["img2.png", "bee"]]
    now.label("ant")
    now.label("bee")
    assert rows(now.file)[2:] == [["img10.png", "ant"], ["in/img1.png", "bee"]]
    assert now.current() is None and now.done == 3
    assert now.counts() == {"ant": 1, "bee": 2}
    with pytest.raises(CourseError, match="no picture left"):
        now.label("ant")
    with pytest.raises(CourseError, match="no picture left"):
        now.skip()


def test_the_picture_that_is_shown_is_the_one_that_is_labelled(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(5)))
    now = Labelling(tmp_path, BEES)
    for number in (0, 1, 2, 3, 4):
        name, picture = now.current()
        assert np.asarray(picture).max() == 20 * number
        assert now.label("ant") == name == f"{number}.png"


def test_answers_are_taken_back_one_by_one_labels_and_skips_alike(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    now = Labelling(tmp_path, BEES)
    now.label("bee")
    now.skip()
    now.label("ant")
    assert now.skipped == ["b.png"] and now.current() is None
    assert [now.undo() for _ in range(3)] == ["c.png", "b.png", "a.png"]
    assert rows(now.file) == [["file", "label"]] and now.skipped == []
    assert now.current()[0] == "a.png" and not now.can_undo
    with pytest.raises(CourseError, match="no answer to take back"):
        now.undo()


def test_what_was_skipped_can_be_asked_again(tmp_path):
    put(tmp_path, "a.png", "b.png")
    now = Labelling(tmp_path, BEES)
    now.skip()
    now.label("ant")
    assert now.current() is None and now.again() == 1
    assert now.label("bee") == "a.png" and now.done == 2
    assert now.undo() == "a.png"  # the skip itself is gone


def test_it_goes_on_where_it_was_and_takes_back_what_an_earlier_session_said(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    first = Labelling(tmp_path, BEES)
    first.label("bee")
    first.skip()
    again = Labelling(tmp_path, BEES)
    assert again.done == 1 and again.current()[0] == "b.png"
    assert again.undo() == "a.png"
    assert Labelling(tmp_path, BEES).done == 0


def test_any_name_that_a_table_can_hold_comes_back_as_it_was(tmp_path):
    names = [NASTY, "=1+1.png", "  spaces .png", "'quoted'.png", "#.png", "~x.png"]
    put(tmp_path, *names)
    now = Labelling(tmp_path, ["x, y", 'the "other"'])
    for label in ("x, y", 'the "other"') * 3:
        now.label(label)
    assert set(labels.read(now.file)) == set(names)
    assert {tuple(row[1:]) for row in rows(now.file)[1:]} == {
        ("x, y",),
        ('the "other"',),
    }
    assert Labelling(tmp_path, ["x, y", 'the "other"']).current() is None


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_a_name_that_no_table_can_hold_is_listed_and_not_asked(tmp_path):
    put(tmp_path, "a\nb.png", "c.png")
    odd = os.fsdecode(b"odd\xff.png")
    os.rename(tmp_path / "c.png", tmp_path / odd)
    now = Labelling(tmp_path, BEES)
    assert now.current() is None and now.names == []
    assert "line break" in now.unreadable["a\nb.png"]
    assert "rename" in now.unreadable[odd]


def test_what_cannot_be_read_is_listed_with_its_reason_and_passed(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.png")
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("bees")
    (tmp_path / ".hidden.png").write_bytes(b"no matter")
    now = Labelling(tmp_path, BEES)
    assert {"empty.jpg", "notes.txt"} <= set(now.unreadable)
    assert [now.label("ant"), now.label("bee")] == ["a.png", "c.png"]
    assert set(now.unreadable) == {"b.png", "empty.jpg", "notes.txt"}
    assert "damaged" in now.unreadable["b.png"] and now.done == len(now.names) == 2
    assert [name for name, _ in now.first(9)] == ["a.png", "c.png"]


def test_a_picture_that_goes_away_is_listed_and_not_lost_in_a_traceback(tmp_path):
    put(tmp_path, "a.png", "b.png")
    now = Labelling(tmp_path, BEES)
    (tmp_path / "a.png").unlink()
    assert now.current()[0] == "b.png" and "a.png" in now.unreadable


def test_labels_can_be_kept_in_a_folder_above_and_are_named_from_there(
    tmp_path,
):
    put(tmp_path / "my" / "photos", "in/a.png")
    place = tmp_path / "answers.csv"
    Labelling(tmp_path / "my" / "photos", BEES, place).label("bee")
    assert rows(place)[1] == ["my/photos/in/a.png", "bee"]
    assert not (tmp_path / "my" / "photos" / labels.FILE).exists()
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    with pytest.raises(CourseError, match="beside or below its table only"):
        Labelling(tmp_path / "my" / "photos", BEES, elsewhere / "labels.csv")


@pytest.mark.parametrize("file", [None, "answers.csv"])
def test_what_was_labelled_is_a_data_set(tmp_path, file):
    rng, photos = np.random.default_rng(0), tmp_path / "photos"
    put(photos, NASTY, *(f"{n}.png" for n in range(23)))
    for place in photos.rglob("*.png"):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(place)
    now = Labelling(photos, ["a, b", 'the "other"'], file and tmp_path / file)
    for number in range(24):
        now.label(now.classes[number % 2])
    task = data.folder(now.file, size=8).task
    assert sorted(task.class_names) == sorted(now.classes)
    parts = (task.train, task.validation, task.test)
    assert sum(len(part.labels) for part in parts) == 24


def test_labels_of_two_programs_at_once_are_all_kept(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png", "d.png")
    one, two = Labelling(tmp_path, BEES), Labelling(tmp_path, BEES)
    two.skip()
    two.label("bee")  # b, which `one` does not know of
    one.label("ant")  # a
    assert one.current()[0] == "c.png"
    assert labels.read(one.file) == {"b.png": "bee", "a.png": "ant"}
    two.label("bee")  # c, and learns of a
    assert two.skipped == [] and two.done == 3


def test_a_label_of_another_program_is_never_overwritten(tmp_path):
    put(tmp_path, "a.png", "b.png")
    one, two = Labelling(tmp_path, BEES), Labelling(tmp_path, BEES)
    two.label("bee")
    with pytest.raises(CourseError, match=r"Another program.*'bee' now.*not kept"):
        one.label("ant")
    assert labels.read(one.file) == {"a.png": "bee"}
    assert one.current()[0] == "b.png"
    one.label("ant")
    two.undo()
    two.label("ant")
    with pytest.raises(CourseError, match="Another program"):
        Labelling.undo(_said(one, "a.png", "bee"))
    assert labels.read(one.file)["a.png"] == "ant"
    assert one.undo() == "b.png" and not one.can_undo  # theirs is not taken back


def _said(labelling, name, label):
    """Let it believe that it gave a label which was changed since."""
    labelling.labels[name] = label
    labelling._said.append(("label", name))
    return labelling


def test_what_another_program_took_back_is_asked_again(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    one = Labelling(tmp_path, BEES)
    one.label("bee")
    Labelling(tmp_path, BEES).undo()
    assert one.label("ant") == "b.png" and one.done == 1
    assert one.label("ant") == "c.png" and one.current()[0] == "a.png"


def test_a_file_that_was_removed_meanwhile_is_written_anew_with_all_labels(tmp_path):
    put(tmp_path, "a.png", "b.png")
    now = Labelling(tmp_path, BEES)
    now.label("bee")
    now.file.unlink()
    now.label("ant")
    assert labels.read(now.file) == {"a.png": "bee", "b.png": "ant"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name,class,who\na.png,bee,me\n", "columns name, class, who; expected file"),
        ("file;label\na.png;bee\n", "expected file,label"),
        ("", "columns none"),
        ("file,label\na.png\n", "Row 2 .* 1 values"),
        ("file,label\na.png,bee\na.png,ant\n", "Row 3 .* 'ant'.* 'bee'"),
        ('file,label\n"a.png,bee\n', "cannot be read as a table"),
        (b"\xff\xfe\x00", "cannot be read as a table"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path, content, says):
    put(tmp_path, "a.png")
    content = content.encode() if isinstance(content, str) else content
    file = tmp_path / labels.FILE
    file.write_bytes(content)
    with pytest.raises(CourseError, match=says):
        Labelling(tmp_path, BEES)
    assert file.read_bytes() == content


def test_a_file_that_is_spoiled_while_it_is_open_is_not_overwritten(tmp_path):
    put(tmp_path, "a.png", "b.png")
    now = Labelling(tmp_path, BEES)
    now.label("bee")
    now.file.write_text("my own notes")
    with pytest.raises(CourseError, match="left as it is"):
        now.label("ant")
    assert now.file.read_text() == "my own notes" and now.current()[0] == "b.png"


def test_a_spreadsheets_mark_blank_rows_and_labels_of_no_class_are_kept(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    text = "\ufefffile,label\r\na.png,wasp\r\n\r\nb.png,\r\ngone.png,bee\r\n"
    (tmp_path / labels.FILE).write_text(text, encoding="utf-8", newline="")
    now = Labelling(tmp_path, BEES)
    assert now.current()[0] == "b.png" and now.done == 1
    assert now.counts() == {"ant": 0, "bee": 0, "wasp": 1}
    now.label("ant")
    assert labels.read(now.file) == {"a.png": "wasp", "gone.png": "bee", "b.png": "ant"}


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ([], "no class"),
        (["bee"], "1 class"),
        ("ant bee", "a list of names"),
        (["ant", " "], "class 2 is empty"),
        (["ant", "bee", " ant "], "'ant' is named twice"),
        (["ant", "b" * 99], "too long"),
        (["ant", "b\ne"], "line breaks"),
    ],
)
def test_class_names_that_cannot_be_used_are_one_sentence(tmp_path, classes, says):
    with pytest.raises(CourseError, match=says):
        Labelling(put(tmp_path, "a.png"), classes)


def test_numbers_may_be_class_names_and_no_other_label_is_taken(tmp_path):
    now = Labelling(put(tmp_path, "a.png"), range(10))
    with pytest.raises(CourseError, match="Unknown class '11'"):
        now.label("11")
    assert now.label("7") == "a.png"


def test_a_folder_without_a_picture_or_none_at_all_is_one_sentence(tmp_path):
    with pytest.raises(CourseError, match="no picture"):
        Labelling(tmp_path, BEES)
    with pytest.raises(CourseError, match="There is no folder"):
        Labelling(tmp_path / "nowhere", BEES)


def test_a_folder_that_is_too_large_is_refused_before_it_is_read_whole(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(labels, "MOST", 2)
    with pytest.raises(CourseError, match="more than 2 files"):
        Labelling(put(tmp_path, "a.png", "b.png", "c.png"), BEES)


def test_a_place_that_cannot_be_written_is_said_before_the_first_answer(
    tmp_path, monkeypatch
):
    put(tmp_path, "a.png")
    for file, says in (
        (tmp_path / "labels.txt", "name of a CSV"),
        (tmp_path / "photos" / "nowhere" / "labels.csv", "no such folder"),
        (tmp_path / "a.png" / "labels.csv", "no such folder"),
    ):
        with pytest.raises(CourseError, match=says):
            Labelling(tmp_path, BEES, file)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(CourseError, match="no write access"):
        Labelling(tmp_path, BEES)


def test_an_answer_that_could_not_be_kept_is_asked_again(tmp_path, monkeypatch):
    put(tmp_path, "a.png", "b.png")
    now = Labelling(tmp_path, BEES)
    now.label("bee")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(labels.os, "replace", full)
    with pytest.raises(CourseError, match=r"No space left.*those before it"):
        now.label("ant")
    with pytest.raises(CourseError, match="No space left"):
        now.undo()
    assert now.current()[0] == "b.png" and now.done == 1
    monkeypatch.undo()
    assert labels.read(now.file) == {"a.png": "bee"}
    assert now.label("ant") == "b.png" and now.undo() == "b.png"


def test_an_answer_waits_for_another_program_and_says_so_in_the_end(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(labels, "PATIENCE", 0.05)
    now = Labelling(put(tmp_path, "a.png"), BEES)
    with (
        FileLock(tmp_path / f".{labels.FILE}.lock"),
        pytest.raises(CourseError, match="another program is writing it"),
    ):
        now.label("bee")
    assert now.label("bee") == "a.png"


def test_what_was_labelled_and_is_spoiled_now_is_neither_asked_nor_taken_back(tmp_path):
    put(tmp_path, "a.png", "b.png")
    Labelling(tmp_path, BEES).label("bee")
    (tmp_path / "a.png").write_bytes(b"spoiled since")
    again = Labelling(tmp_path, BEES)
    assert not again.can_undo and again.done == 0 and again.names == ["b.png"]
    again.label("ant")
    assert labels.read(again.file) == {"a.png": "bee", "b.png": "ant"}


def test_a_link_stays_a_link_and_the_file_keeps_its_rights(tmp_path):
    put(tmp_path / "photos", "a.png")
    real = tmp_path / "real.csv"
    real.write_text("file,label\n")
    real.chmod(0o640)
    link = tmp_path / "photos" / labels.FILE
    link.symlink_to(real)
    Labelling(tmp_path / "photos", BEES).label("bee")
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o640
    assert labels.read(real) == {"a.png": "bee"}


ANSWERS = """
import sys
from course.labels import Labelling
now = Labelling(sys.argv[1], ["ant", "bee"])
while now.current():
    print(now.label("bee"), flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_no_label_is_lost_and_no_file_is_half_written_when_it_is_killed(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(150)))
    run = [sys.executable, "-c", ANSWERS, str(tmp_path)]
    said = []
    for lines in (3, 40):
        process = subprocess.Popen(
            run, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        said += [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += process.communicate()[0].split()
        kept = labels.read(tmp_path / labels.FILE)
        # One may be kept that there was no time to say.
        assert set(said) <= set(kept) and len(kept) <= len(said) + 1
        said = list(kept)
    assert Labelling(tmp_path, BEES).done == len(kept) >= 43
    Labelling(tmp_path, BEES).undo()  # what the last kill left does no harm
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]
