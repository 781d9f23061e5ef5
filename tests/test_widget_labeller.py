"""The labeller: keys and buttons do the same, and each says what was done."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from test_labels import BEES, NASTY, put

from course import labels, widgets
from course.errors import CourseError
from course.widgets.labeller import KEYS, LabelStage

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "course" / "widgets" / "labeller.js"


def labeller(folder, count=4, classes=BEES, **options):
    put(folder, *(f"{n}.png" for n in range(count)))
    return widgets.Labeller(folder, classes, **options)


def press(widget, key, turn=None):
    """Press a key as the page does."""
    turn = widget.stage.turn if turn is None else turn
    widget.stage._handle_custom_msg({"key": key, "turn": turn}, [])


def words(widget):
    return re.sub("<.*?>", "", widget.words.value)


def kept(widget):
    return labels.read(widget.labelling.file)


def test_keys_and_buttons_do_the_same(tmp_path):
    by_key, by_button = (labeller(tmp_path / name) for name in ("keys", "buttons"))
    for key, button in (
        ("2", by_button.buttons[1]),
        (" ", by_button.skip_button),
        ("1", by_button.buttons[0]),
        ("z", by_button.undo_button),
        ("Backspace", by_button.undo_button),
        ("2", by_button.buttons[1]),
    ):
        press(by_key, key)
        button.click()
        assert words(by_key) == words(by_button)
        assert kept(by_key) == kept(by_button)
    assert kept(by_key) == {"0.png": "bee", "1.png": "bee"}


def test_what_was_done_and_how_far_it_is_stands_in_words(tmp_path):
    widget = labeller(tmp_path)
    assert widget.stage.name == "0.png" and "press the key" in words(widget)
    press(widget, "2")
    assert words(widget) == "0.png: bee; 1 of 4."
    assert (widget.stage.done, widget.stage.total) == (1, 4)
    press(widget, " ")
    assert words(widget) == "1.png: skipped; 1 of 4."
    press(widget, "z")
    assert words(widget) == "1.png: taken back; 1 of 4."
    for key in "111":
        press(widget, key)
    assert "3.png: ant; 4 of 4. All are labelled: ant 3, bee 1." in words(widget)
    assert "labels.csv" in words(widget)


def test_the_picture_changes_with_each_answer_and_back(tmp_path):
    widget = labeller(tmp_path)
    seen = [widget.stage.picture]
    for _ in range(3):
        press(widget, "1")
        seen.append(widget.stage.picture)
    assert len(set(seen)) == 4 and all(p.startswith(b"\x89PNG") for p in seen)
    press(widget, "Backspace")
    assert widget.stage.picture == seen[2] and widget.stage.name == "2.png"
    press(widget, "1")
    press(widget, "1")
    assert widget.stage.picture == b"" and "All are labelled" in widget.stage.closing


def test_a_key_that_was_meant_for_the_picture_before_answers_for_none(tmp_path):
    widget = labeller(tmp_path)
    turn = widget.stage.turn
    press(widget, "1", turn)
    press(widget, "1", turn)
    assert kept(widget) == {"0.png": "ant"}
    press(widget, "x")
    press(widget, "9")
    widget.stage._handle_custom_msg("nonsense", [])
    assert kept(widget) == {"0.png": "ant"}


def test_a_turn_ends_also_where_the_answer_could_not_be_kept(tmp_path, monkeypatch):
    widget = labeller(tmp_path)
    turn = widget.stage.turn

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(labels, "write", full)
    press(widget, "1")
    assert 'role="alert"' in widget.words.value and "No space left" in words(widget)
    assert widget.stage.turn > turn and widget.stage.name == "0.png"
    monkeypatch.undo()
    press(widget, "1")
    assert words(widget) == "0.png: ant; 1 of 4."


def test_buttons_are_off_where_they_could_do_nothing(tmp_path):
    widget = labeller(tmp_path, 2)
    off = lambda: [b.disabled for b in (*widget.buttons, widget.skip_button)]  # noqa: E731
    assert not any(off()) and widget.undo_button.disabled
    press(widget, " ")
    press(widget, "1")
    assert off() == [True, True, False]
    assert widget.skip_button.description == "The skipped once more"
    widget.skip_button.click()
    assert "once more: 1" in words(widget) and widget.stage.name == "0.png"
    assert widget.skip_button.description == "Skip"
    press(widget, "2")
    assert off() == [True] * 3 and not widget.undo_button.disabled


def test_it_goes_on_where_it_was(tmp_path):
    labeller(tmp_path).label("bee")
    again = widgets.Labeller(tmp_path, BEES)
    assert again.stage.name == "1.png" and "1 of 4 are labelled" in words(again)
    press(again, "z")
    assert kept(again) == {}
    (tmp_path / labels.FILE).write_text("file,label\n0.png,<i>wasp\n")
    again = widgets.Labeller(tmp_path, BEES)
    assert "&lt;i&gt;wasp (1)" in again.words.value


def test_names_are_never_markup(tmp_path):
    put(tmp_path, NASTY)
    (tmp_path / "<b>no.txt").write_text("no picture")
    widget = widgets.Labeller(tmp_path, ["<i>ant</i>", "bee"])
    assert "&lt;b&gt;no.txt" in widget.unreadable.value
    assert "is no picture" in widget.unreadable.value
    press(widget, "1")
    for text in (widget.words.value, widget.unreadable.value):
        assert "<b>" not in text and "<i>" not in text
    assert kept(widget) == {NASTY: "<i>ant</i>"}


def test_a_list_that_was_opened_stays_open_and_grows_when_it_must(tmp_path):
    widget = labeller(tmp_path)
    assert widget.unreadable.value == ""
    (tmp_path / "1.png").write_bytes(b"spoiled since")
    press(widget, "1")
    listed = widget.unreadable.value
    assert "1 file cannot be read" in listed and widget.stage.name == "2.png"
    assert widget.stage.total == 3
    changes = []
    widget.unreadable.observe(changes.append, names="value")
    press(widget, "1")
    assert changes == []


def test_every_class_has_a_key_and_none_too_many(tmp_path):
    put(tmp_path, "a.png")
    many = [f"class {n}" for n in range(len(KEYS))]
    widget = widgets.Labeller(tmp_path, many)
    assert len(set(widget.by_key)) == len(many) and list(widget.by_key)[9] == "a"
    assert not {"z", "Backspace", " "} & set(widget.by_key)
    press(widget, "0")
    assert kept(widget) == {"a.png": many[-1]}
    with pytest.raises(CourseError, match=r"36 classes.*keys for 35"):
        widgets.Labeller(tmp_path, [*many, "one more"])


def test_what_cannot_be_labelled_is_one_sentence(tmp_path):
    with pytest.raises(CourseError, match="no picture"):
        widgets.Labeller(tmp_path, BEES)
    (tmp_path / "a.txt").write_text("no picture")
    widget = widgets.Labeller(tmp_path, BEES)
    assert "None of the files" in words(widget) and widget.still() is None
    assert widget._repr_mimebundle_()["text/plain"] == "Labeller"
    with pytest.raises(CourseError, match="named twice"):
        widgets.Labeller(tmp_path, ["bee", "bee"])


def test_a_page_without_a_kernel_shows_the_first_pictures_with_their_labels(tmp_path):
    widget = labeller(tmp_path, 20)
    before = widget.still()
    for key in "212":
        press(widget, key)
    data, metadata = widget._repr_mimebundle_()
    alt = metadata["image/png"]["alt"]
    assert alt.startswith("3 of 20 labelled: 12 pictures in 2 rows: bee (2 times), ant")
    assert data["text/plain"] == alt and widget.still().png != before.png
    assert widget.stage.name == "3.png"  # looking on changes nothing


def test_a_class_that_no_font_can_write_or_with_a_dollar_makes_no_noise(
    tmp_path, capfd
):
    widget = labeller(tmp_path, classes=["蜂", "$x^{", "🐝"])
    for key in "123":
        press(widget, key)
    assert "蜂, $x^{, 🐝, no label yet" in widget.still().alt
    assert capfd.readouterr().err == ""


def test_the_stage_says_its_keys(tmp_path):
    stage = labeller(tmp_path).stage
    assert "1 ant, 2 bee, Space to skip, Z to take back" in stage.label
    assert {"1", "2", "z", "Backspace", " "} == set(stage.wanted)


def test_the_script_travels_with_the_package_and_fetches_nothing(tmp_path):
    text = SCRIPT.read_text("utf-8")
    assert labeller(tmp_path).stage._esm == text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["course"]
    assert any(SCRIPT.match(pattern) for pattern in patterns)
    assert not re.search(r"https?:|\bimport\b|\bfetch\(|XMLHttpRequest", text)


def test_the_script_uses_only_traits_that_exist(tmp_path):
    used = set(re.findall(r'model\.get\("(\w+)"', SCRIPT.read_text("utf-8")))
    assert used and used <= set(LabelStage.class_traits(sync=True))
    assert "model.set(" not in SCRIPT.read_text("utf-8")
    state = labeller(tmp_path).stage.get_state()
    json.dumps({k: v for k, v in state.items() if k != "picture"})


@pytest.mark.skipif(not shutil.which("node"), reason="no node to parse the scripts")
@pytest.mark.parametrize("name", ["labeller.js", "file_drop.js"])
def test_the_scripts_are_modules_that_parse(name):
    command = ["node", "--input-type=module", "--check"]
    text = (SCRIPT.parent / name).read_text("utf-8")
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
