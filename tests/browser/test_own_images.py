"""The reader's own images: pictures dropped on a widget, and a folder labelled."""

from __future__ import annotations

import base64

import nbformat
import pytest

from browser import axe, hands, lab
from browser.test_chapters import NARROW, drive
from course import labels

pytestmark = pytest.mark.browser
COUNT = 40
CELLS = [
    f"""from pathlib import Path
from course import data, models, plots, widgets
folder = Path("own")
folder.mkdir(exist_ok=True)
for number in range({COUNT}):
    drawn = data.shapes.draw(1, seed=number).images[0]
    (folder / f"{{number}}.png").write_bytes(plots.plain(drawn, "").png)
(folder / "notes.txt").write_text("no picture")
widgets.Labeller(folder, ["round", "a name too long for one line of a telephone"])""",
    """gear = data.shapes.draw(1, seed=0, shape="gear").images[0]
examples = {"gear": gear, "china": data.photos.load("china")}
widgets.ImageClassifier(models.load("resnet10-shapes"), examples)""",
]
# What a browser does when files are dropped; `large` is a file of so many bytes.
DROP = """(zone, files) => {
  const data = new DataTransfer();
  for (const {name, text, large} of files) {
    const bytes = text ? Uint8Array.from(atob(text), c => c.charCodeAt(0))
      : new Uint8Array(large);
    data.items.add(new File([bytes], name));
  }
  for (const kind of ['dragenter', 'dragover', 'drop'])
    zone.dispatchEvent(new DragEvent(
      kind, {bubbles: true, cancelable: true, dataTransfer: data}));
}"""
# Two keys of a hasty reader, before the page can answer the first.
TWICE = """stage => { for (const _ of [1, 2]) stage.dispatchEvent(
  new KeyboardEvent('keydown', {key: '1', bubbles: true})); }"""


@pytest.fixture(scope="module")
def own(browser, server):
    """A notebook of one labeller and one image classifier after Run All."""
    for name, shade in {"disc.png": "#DC1E1E", "moon.png": "#2040C0"}.items():
        (server.root / "notebooks" / name).write_bytes(hands.png(shade))
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, server.root / "notebooks" / "own.ipynb")
    opened = lab.Chapter(browser, server, "own.ipynb")
    opened.run_all()
    assert opened.outputs("error") == opened.outputs("stream") == []
    yield opened
    opened.close()


@pytest.fixture
def labeller(own):
    """The labeller, begun anew."""
    (own.path.parent / "own" / labels.FILE).unlink(missing_ok=True)
    own.run_cell(0)
    return widget(own, "Labeller")


@pytest.fixture
def classifier(own):
    return widget(own, "ImageClassifier")


def widget(own, name):
    (row,) = [row for row in own.widgets() if row["name"] == name]
    root = own.root(row)
    root.wait_for(state="attached")
    hands.bring(root)
    return root


def kept(own):
    return labels.read(own.path.parent / "own" / labels.FILE)


def says(root, text):
    root.get_by_text(text).first.wait_for()


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_every_control_answers_to_a_reader(own, labeller, classifier, how):
    count = len(own.cells())
    drive(labeller, "Labeller", how)
    drive(classifier, "ImageClassifier", how)
    assert own.errors == [] and len(own.cells()) == count


def test_keys_label_take_back_and_skip_and_the_file_follows(own, labeller):
    stage = labeller.locator(".course-stage")
    stage.click()
    for key, done in (
        ("1", "0.png: round; 1 of 40."),
        ("2", "1.png: a name"),
        ("z", "1.png: taken back; 1 of 40."),
        ("Space", "1.png: skipped"),
        ("b", None),  # means nothing here, and would insert a cell
        ("1", "2.png: round; 2 of 40."),
        ("Backspace", "2.png: taken back"),
        ("2", "2.png: a name"),
    ):
        own.page.keyboard.press(key)
        if done:
            says(labeller, done)
    assert kept(own) == {"0.png": "round", "2.png": CELLS[0].split('"')[-2]}
    assert len(own.cells()) == len(CELLS)


def test_after_a_click_on_a_button_the_keys_go_on(own, labeller):
    labeller.get_by_role("button", name="1 round").click()
    says(labeller, "0.png: round; 1 of 40.")
    own.page.keyboard.press("Space")  # skips, and does not press the button again
    says(labeller, "1.png: skipped; 1 of 40.")
    skip = labeller.get_by_role("button", name="Skip")
    skip.focus()
    own.page.keyboard.press("Space")  # on a button it presses it
    says(labeller, "2.png: skipped; 1 of 40.")
    assert skip.evaluate(hands.HAS_FOCUS)


def test_no_picture_is_labelled_before_it_was_shown(own, labeller):
    stage = labeller.locator(".course-stage")
    stage.evaluate(TWICE)
    says(labeller, "0.png: round; 1 of 40.")
    labeller.get_by_role("button", name="2 a name").dblclick()
    says(labeller, "1.png: a name")
    stage.click()
    own.page.keyboard.press("1")
    says(labeller, "2.png: round; 3 of 40.")
    assert list(kept(own)) == ["0.png", "1.png", "2.png"]


def test_files_are_dropped_together_and_one_by_one(own, classifier):
    disc, text = png("#DC1E1E"), base64.b64encode(b"no picture").decode()
    zone = classifier.locator(".course-drop")
    zone.evaluate(
        DROP,
        [
            {"name": "first.png", "text": disc},
            {"name": "<i>notes.txt", "text": text},
            {"name": "huge.png", "large": 8_000_001},
            {"name": "second.png", "text": png("#1E8C32")},
        ],
    )
    says(classifier, "second.png: Most likely")
    says(classifier, "huge.png' has more than 8 MB")
    says(classifier, "<i>notes.txt' is no picture")
    menu = classifier.get_by_label("Dropped")
    menu.select_option(label="1: first.png")
    says(classifier, "first.png: Most likely")
    # Anywhere on the widget will do, or the browser would open the file itself.
    classifier.locator("img").evaluate(DROP, [{"name": "alone.png", "text": disc}])
    says(classifier, "alone.png: Most likely")
    menu.wait_for(state="detached")
    zone.evaluate(DROP, [{"name": "huge.png", "large": 8_000_001}])
    says(classifier, "huge.png' has more than 8 MB")
    assert hands.alerts(classifier) and own.errors == []


def png(shade):
    return base64.b64encode(hands.png(shade)).decode()


def test_they_fit_a_telephone_and_everybody_can_use_them(
    own, labeller, classifier, artifacts
):
    for root in (labeller, classifier):
        assert root.evaluate(NARROW) <= 2
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        own.theme(theme)
        for name in ("Labeller", "ImageClassifier"):
            path = artifacts / "own" / f"{name}_{theme.split()[1].lower()}.png"
            hands.keep_picture(widget(own, name), path)
        found = axe.findings(own.page, [".course-Labeller", ".course-ImageClassifier"])
        assert found == []
