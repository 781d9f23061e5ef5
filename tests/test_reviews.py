"""Sentiment from a folder or an archive; whatever is wrong is said in one sentence."""

import zipfile
from pathlib import Path

import pytest

from course import fetch
from course.data import reviews
from course.errors import CourseError

REAL = Path(__file__).parents[2] / "shared" / "real" / "text" / "sst2"


def folder(place, **files):
    lines = {"train": "good\t1\nbad\t0\n", "dev": "fine\t1\n", "test": "dull\t0\n"}
    for name, text in (lines | files).items():
        (place / f"{name}.tsv").write_bytes(
            text if isinstance(text, bytes) else text.encode()
        )
    return place


def archive(place, sentences=40):
    rows = [f"phrase {i} \t{i % 2}" for i in range(sentences)]
    with zipfile.ZipFile(place / "SST-2.zip", "w") as file:
        for name, lines in (("train", rows), ("dev", ["a film \t1", "no film \t0"])):
            file.writestr(f"SST-2/{name}.tsv", "\n".join(["sentence\tlabel", *lines]))
    return place


def test_three_files_become_three_parts(tmp_path):
    task = reviews.sst2(folder(tmp_path, train="good\t1\r\n\nbad\x85one\t0\r\n"))
    assert task.class_names == ("negative", "positive")
    assert task.train.texts == ("good", "bad\x85one")
    assert task.train.labels.tolist() == [1, 0]
    assert task.validation.texts == ("fine",) and task.test.texts == ("dull",)


def test_glue_tests_on_dev_and_sets_validation_aside(tmp_path):
    task = reviews.sst2(archive(tmp_path))
    assert task.test.texts == ("a film", "no film")
    assert len(task.train) == 30 and len(task.validation) == 10
    both = task.train.texts + task.validation.texts
    assert sorted(both) == sorted(f"phrase {i}" for i in range(40))
    for text, label in zip(task.train.texts, task.train.labels.tolist(), strict=True):
        assert int(text.split()[1]) % 2 == label
    assert reviews.sst2(tmp_path).validation.texts == task.validation.texts


def test_the_place_of_the_environment_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    (tmp_path / "sst2").mkdir()
    folder(tmp_path / "sst2")
    assert len(reviews.sst2().train) == 2


def test_nothing_is_fetched_unless_asked(tmp_path, monkeypatch):
    asked = []

    def download(remote, place):
        asked.append(remote.url)
        place.mkdir()
        archive(place)

    monkeypatch.setattr(fetch, "download", download)
    with pytest.raises(CourseError, match=r"Put train\.tsv, dev\.tsv and") as caught:
        reviews.sst2(tmp_path / "none")
    assert "\n" not in str(caught.value) and "download=True" in str(caught.value)
    assert asked == []
    assert len(reviews.sst2(tmp_path / "none", download=True).test) == 2
    reviews.sst2(tmp_path / "none", download=True)
    assert asked == [reviews.GLUE.url]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no tab here\n", "Line 1 of train.tsv"),
        ("good\t1\nso so\t2\n", "Line 2 of train.tsv"),
        ("\t1\n", "expected a sentence, a tab"),
        ("x" * 1_000_000, "Line 1 of train.tsv"),
        ("", "holds no sentence"),
        (b"caf\xe9\t1\n", r"not UTF-8 text \(byte 3\)"),
        ("sentence\tlabel\n", "holds no sentence"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path, content, message):
    with pytest.raises(CourseError, match=message) as caught:
        reviews.sst2(folder(tmp_path, train=content))
    assert len(str(caught.value)) < 400


def test_a_missing_file_and_a_broken_archive_are_named(tmp_path):
    folder(tmp_path)
    (tmp_path / "dev.tsv").unlink()
    with pytest.raises(CourseError, match=r"dev\.tsv is missing"):
        reviews.sst2(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "SST-2.zip").write_bytes(b"no archive")
    with pytest.raises(CourseError, match="cannot be read"):
        reviews.sst2(other)
    with zipfile.ZipFile(other / "SST-2.zip", "w") as file:
        file.writestr("else.txt", "x")
    with pytest.raises(CourseError, match="cannot be read"):
        reviews.sst2(other)


def test_other_scripts_are_sentences_too(tmp_path):
    task = reviews.sst2(folder(tmp_path, train="很好的电影\t1\nплохо 👎\t0\n"))
    assert task.train.texts == ("很好的电影", "плохо 👎")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real SST-2 files are not here")
def test_the_real_files_are_read_whole():
    task = reviews.sst2(REAL)
    sizes = [len(part) for part in (task.train, task.validation, task.test)]
    assert sizes == [6920, 872, 1821]
    assert 0.45 < task.test.labels.double().mean() < 0.55
