"""The report: one file that holds all it shows, escapes it, and is written whole."""

import base64
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from course import (
    calibration,
    cost,
    data,
    diagnosis,
    evidence,
    export,
    models,
    plots,
    report,
    training,
)
from course.data.found import Folder, Report
from course.data.listing import Row
from course.errors import CourseError
from course.export import Export

EVIL = "<script>alert('ä & \"b\"')</script>"
FIGURE = plots.bars(['a "quoted" <b>'], [0.5])
SIZES = {data.TrainPart: 6, data.ValidationPart: 4, data.TestPart: 5}


def task(names=("ant", EVIL)):
    parts = [
        kind(
            torch.zeros(n, 3, 8, 8, dtype=torch.uint8),
            torch.arange(n) % len(names),
            tuple(names),
        )
        for kind, n in SIZES.items()
    ]
    return data.Task("insects", *parts)


def folder(*rows, **more):
    found = task()
    counts = {
        part: dict.fromkeys(found.class_names, 3)
        for part in ("train", "validation", "test")
    }
    empty = {"twins": (), "repeated": {}, "skipped": 0, "notes": ("Dealt by seed 0.",)}
    told = Report("insects", counts, rows, **(empty | more))
    return Folder(found, told, {}, Path("insects"))


def exported(**more):
    sizes = {"model.safetensors": 2_500_000, "predict.py": 1_000, EVIL: 1}
    apart = {"model.safetensors": 2e-7, "model.onnx": 3e-6}
    return Export(Path("somewhere") / "insects", sizes, apart, **more)


def soup(sections, **options):
    return BeautifulSoup(report.page("A report", sections, **options), "html.parser")


def text(section):
    return " ".join(soup([section]).main.get_text(" ").split())


def every_section():
    """Make the whole report of chapter 10 out of made-up results."""
    names = task().class_names
    matrix = torch.tensor([[8, 2], [1, 9]])
    logits = torch.tensor([[3.0, 0], [2, 1], [0, 4]])
    labels = torch.tensor([0, 1, 1])
    t = calibration.temperature(logits, labels)
    found = [
        calibration.reliability(calibration.calibrated(logits, one), labels)
        for one in (1.0, t)
    ]
    rows = [{"loss": 1 / step, "seconds": step} for step in range(1, 101)]
    model = models.load("resnet10-shapes")
    return [
        report.the_data(folder(Row(EVIL, "left out", EVIL)), FIGURE),
        report.the_choice([{"model": EVIL, "accuracy": 0.9}], EVIL, EVIL, model),
        report.the_training(training.History(rows), training.Recipe(steps=100)),
        report.the_mistakes(matrix, names, FIGURE),
        report.the_calibration(t, *found),
        report.the_test(4, 5, EVIL),
        report.the_cost([{"network": EVIL, "MB": 2.5}], EVIL),
        report.the_limits(task(), [EVIL]),
        report.the_use(exported(notes=(EVIL,)), EVIL),
        report.what_was_measured(),
        report.made_with(3),
    ]


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(evidence, "_show", lambda bundle: None)
    evidence.begin("smoke")
    evidence.record(EVIL, [0.1, 0.2, 0.3])
    evidence.record("time", 12.5, "s")
    evidence.claim(EVIL, 0.5, at_least=0.4)
    evidence.claim("is perfect", [0.5, 0.6], at_least=1)


def test_the_page_is_one_file_that_fetches_nothing(tmp_path, measured):
    place = report.write(tmp_path / "report.html", "A report", every_section())
    page = BeautifulSoup(place.read_text("utf-8"), "html.parser")
    assert not page.find_all(["script", "link", "iframe", "object", "base"])
    for tag in page.find_all(True):
        for name in ("src", "href", "srcset", "action"):
            assert str(tag.get(name, "#")).startswith(("#", "data:image/png;base64,"))
    assert "url(" not in page.style.string and "@import" not in page.style.string
    policy = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy
    assert os.listdir(tmp_path) == ["report.html"]


def test_whatever_the_names_hold_stays_words(measured):
    options = {"lead": EVIL, "author": EVIL, "short": {EVIL: EVIL}}
    page = report.page(
        EVIL, [*every_section(), report.Section(EVIL, [EVIL])], **options
    )
    assert "<script" not in page.lower()
    parsed = BeautifulSoup(page, "html.parser")
    assert parsed.title.string == EVIL == parsed.h1.get_text()
    assert parsed.find_all("h2")[-1].get_text() == EVIL
    assert parsed.get_text().count("alert(") >= 20
    for region in parsed.select("[role=region]"):
        assert region["aria-label"]


def test_a_figure_is_inside_with_its_alt_and_its_size():
    image = soup([report.Section("One", [FIGURE])]).find("img")
    assert image["alt"] == FIGURE.alt and "<b>" in image["alt"]
    assert base64.b64decode(image["src"].partition(",")[2]) == FIGURE.png
    assert (int(image["width"]), int(image["height"])) == FIGURE.size


def test_every_section_can_be_reached_and_has_one_heading(measured):
    page = soup(every_section())
    links = [link["href"][1:] for link in page.nav.find_all("a")]
    assert links == [heading["id"] for heading in page.find_all("h2")]
    assert len(links) == 11 and len(page.find_all("h1")) == 1
    assert page.html["lang"] == "en"


def test_a_text_is_paragraphs_and_no_markup():
    section = report.Section("One", ["First *one*.\n\nSecond.\n \n", ""])
    paragraphs = [p.get_text() for p in soup([section]).main.find_all("p")]
    assert paragraphs == ["First *one*.", "Second."]


def test_tables_hold_their_rows_and_empty_ones_are_left_out():
    rows = [{"name": "a", "MB": 2.5}, {"name": "b", "MB": 11}]
    empty = [report.Table([]), report.Facts({}), report.Points([]), report.Claims([])]
    page = soup([report.Section("One", [report.Table(rows, caption="Sizes"), *empty])])
    cells = [[c.get_text() for c in row(["td", "th"])] for row in page.table("tr")]
    assert cells == [["name", "MB"], ["a", "2.500"], ["b", "11"]]
    assert page.table.caption.string == "Sizes"
    assert not page.main.find_all(["dl", "ul"])


def test_what_could_not_be_shown_or_written_is_replaced(tmp_path):
    names = ["bad\udcff.png", "turn\u202egnp.exe", "ring\x07\x1b[31m", "ok\u200dok"]
    section = report.Section("Names", [report.Points(names)])
    place = report.write(tmp_path / "r.html", "T", [section])
    items = [li.get_text() for li in soup([section]).main.find_all("li")]
    assert items == ["bad�.png", "turn�gnp.exe", "ring��[31m", "ok\u200dok"]
    assert "�gnp" in place.read_text("utf-8")


def test_the_data_are_counted_by_class_and_part():
    shown = text(report.the_data(task()))
    assert "15 images of 2 classes. 6 to learn from, 4 to choose with, and 5" in shown
    assert "ant 3 2 3" in shown and "left out" not in shown


def test_a_folder_tells_what_became_of_its_files():
    found = folder(Row("x.jpg", "left out", "is empty"))
    page = soup([report.the_data(found)])
    assert [li.get_text() for li in page.main.find_all("li")] == [
        "Dealt by seed 0.",
        "Left out, since it is empty: x.jpg.",
    ]
    assert len(page.find_all("table")) == 1  # the line names them all


def test_of_very_many_files_left_out_the_rest_is_counted():
    many = [Row(f"{n}.png", "left out", "is empty") for n in range(1234)]
    page = soup([report.the_data(folder(*many))])
    rows = page.find_all("table")[1].tbody.find_all("tr")
    assert len(rows) == report.MOST_LISTED
    assert rows[-1].get_text(" ") == "49.png left out is empty"
    assert "And 1,184 more files." in page.main.get_text()


def test_what_was_exported_is_listed_with_what_to_type():
    shown = text(report.the_use(exported(notes=("Ask for a licence.",)), "Be kind."))
    assert "model.safetensors 2.50 its weights" in shown
    assert "cd insects pip install -r requirements.txt python predict.py" in shown
    assert "at most 3e-06 from" in shown
    assert shown.endswith("Be kind. Ask for a licence.")


def test_every_file_of_an_export_is_explained():
    assert set(export.folder.FILES) == set(report.MEANT)


def test_the_choice_says_where_the_weights_come_from():
    shown = text(
        report.the_choice(
            [{"model": "a"}], "a", "It is small.", models.load("resnet10-shapes")
        )
    )
    assert "a was taken. It is small." in shown
    assert "Its weights: resnet10-shapes." in shown and "Licence: MIT." in shown
    model = models.load("resnet10-shapes")
    model.card = {"name": "vgg", "source": "https://example.org/vgg"}
    assert "Licence: not stated." in text(report.the_choice([], "vgg", "", model))
    model.card = {}
    assert "is not known" in text(report.the_choice([], "vgg", "", model))


@pytest.mark.parametrize("steps", [1, 39, 1000])
def test_the_training_curve_shows_means_of_stretches_of_steps(steps):
    losses = np.linspace(2, 1, steps)
    rows = [{"loss": loss, "seconds": 0.1} for loss in losses]
    recipe = training.Recipe(steps=1000, batch=16, rate=1e-3)
    words, curve = report.the_training(training.History(rows), recipe).blocks
    assert f"{steps:,} " in words and "of 16 images" in words
    assert ("of 1,000 steps" in words) == (steps < 1000)
    first = losses[: max(1, steps // report.POINTS)].mean()
    assert f"from {plots.figure.number(first)} at" in curve.alt
    assert f"at {plots.figure.number(steps)}" in curve.alt


def test_a_training_without_a_step_has_no_curve():
    recipe = training.Recipe(steps=10)
    assert len(report.the_training(training.History(), recipe).blocks) == 1


def test_the_test_is_one_share_with_its_interval():
    shown = text(report.the_test(145, 153))
    share = diagnosis.share(145, 153)
    assert "145 of 153 test images are right: 0.948." in shown
    assert f"between {share.low:.3f} and {share.high:.3f} (90% interval" in shown


def test_limits_follow_from_the_data_and_the_reader_adds_to_them():
    shown = text(report.the_limits(task(), ["Only one camera."]))
    assert "knows 2 classes" in shown and "Only one camera." in shown
    assert "Fewer than 30 test images show ant" in shown
    part = task().test.take(torch.zeros(90, dtype=torch.int64))
    large = data.Task("large", task().train, task().validation, part)
    assert "show ant" not in text(report.the_limits(large))


def test_what_was_measured_is_what_the_chapter_recorded(measured):
    shown = text(report.what_was_measured())
    assert "0.200 [0.031, 0.369]" in shown and "time 12.5 s" in shown
    assert f"✓ holds {EVIL} (0.500, expected at least 0.4)" in shown
    assert "✗ does not hold is perfect" in shown


def test_a_record_that_is_no_number_is_worded_too(monkeypatch):
    monkeypatch.setattr(evidence, "_show", lambda bundle: None)
    evidence.begin("smoke")
    evidence.record("lost", math.nan)
    assert "lost nan" in text(report.what_was_measured())
    evidence.begin("smoke")
    assert text(report.what_was_measured()) == "Everything that was measured"


def test_the_cost_of_a_network_has_its_row():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    found = cost.measure(network, torch.zeros(1, 3, 2, 2), batches=(1,), repeats=1)
    assert "linear 26" in text(report.the_cost([found.row("linear")]))


def test_versions_are_named_and_no_place_of_the_machine():
    shown = text(report.made_with(7))
    assert torch.__version__.partition("+")[0] in shown and "seed 7" in shown
    assert not re.search(r"/(home|root|tmp|Users|work)/", shown)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda p: report.write(p / "r.txt", "T", [report.made_with()]), r"\.html"),
        (lambda p: report.write(p / "r.html", "  ", [report.made_with()]), "a title"),
        (lambda p: report.write(p / "r.html", "T", []), "at least one section"),
        (
            lambda p: report.write(p / "r.html", "T", [report.Section("S", [3.5])]),
            "A float cannot be shown",
        ),
        (
            lambda p: report.write(p / "folder.html", "T", [report.made_with()]),
            "could not be written",
        ),
        (
            lambda p: report.write(p / "file" / "r.html", "T", [report.made_with()]),
            "could not be written",
        ),
    ],
)
def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, call, reason):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(CourseError, match=reason):
        call(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.html"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_disk_that_fills_up_leaves_the_report_of_before(tmp_path, monkeypatch):
    place = report.write(tmp_path / "r.html", "Before", [report.made_with()])

    def full(self, text, encoding):
        self.write_bytes(text.encode(encoding)[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CourseError, match="No space left on device"):
        report.write(place, "After", [report.made_with()])
    assert "<h1>Before</h1>" in place.read_text("utf-8")
    assert os.listdir(tmp_path) == ["r.html"]


def test_folders_on_the_way_are_made(tmp_path):
    place = report.write(tmp_path / "a" / "b.html", "T", [report.made_with()])
    assert place.is_file()
