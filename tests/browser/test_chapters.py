"""Each chapter in a real JupyterLab: it runs, and its widgets answer to a reader."""

from __future__ import annotations

import re
from collections import Counter

import nbformat
import pytest

from browser import axe, hands, lab
from course import widgets

pytestmark = pytest.mark.browser
MANY = 60  # moves of one widget; more would be a driver that runs in circles

# A training that ends by Stop alone, so that Stop can be pressed however fast the
# machine is. What it stands for in the chapter has ended when Run All has.
ENDLESS = """\
def endless(*_, after_step, stop):
    step = 0
    while not stop.wait(0.05):
        step += 1
        after_step({{"step": step, "loss": 1 / step}})
    return {{"accuracy": 0.5}}

{}
"""
INSTEAD = {
    "LossMonitor": ENDLESS.format(
        "widgets.LossMonitor(endless, 'Endless').run(background=True)"
    ),
    "PredictTheWinner": ENDLESS.format(
        "from course import plots\n"
        "widgets.PredictTheWinner(endless, ['probe', 'full'], ['digits', 'shapes'], "
        "[5, 20], [20, 40], lambda target, points: plots.curves({target: ([1, 2], "
        "[0.3, len(target) / 10])}, 'labels a class', 'accuracy'), seconds=600)"
    ),
    "StrategyLab": ENDLESS.format(
        "widgets.StrategyLab(endless, ['layer1', 'layer2'], [0.1, 1], [1, 5], "
        "seconds=600)"
    ),
}
# Pictures beside the chapters, which the image classifier is told the path of.
BESIDE = {"disc.png": "#DC1E1E", "moon.png": "#2040C0"}
# How often a button is pressed, where once is not all of it.
PRESSES = {"Next hint": 3}


def named(path):
    """Return the widgets that a chapter's code makes."""
    cells = nbformat.read(path, as_version=4)["cells"]
    code = "\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    return set(re.findall(r"\bwidgets\.([A-Z]\w+)\(", code))


def test_every_widget_of_the_package_is_in_a_chapter():
    assert set.union(*map(named, lab.CHAPTERS)) == set(widgets.__all__)


@pytest.fixture(scope="module", params=lab.CHAPTERS, ids=lambda path: path.stem)
def chapter(request, browser, server):
    """A chapter in JupyterLab after Run All."""
    for name, shade in BESIDE.items():
        (server.root / "notebooks" / name).write_bytes(hands.png(shade))
    opened = lab.Chapter(browser, server, request.param.name)
    opened.run_all()
    yield opened
    opened.close()


def test_run_all_ends_without_an_error(chapter):
    assert [cell["source"] for cell in chapter.cells() if not ran(cell)] == []
    assert [output["evalue"] for output in chapter.outputs("error")] == []
    streams = chapter.outputs("stream")
    assert [output for output in streams if output["name"] == "stderr"] == []
    assert chapter.errors == []


def ran(cell):
    return cell["execution_count"] is not None or not cell["source"]


def test_every_widget_that_the_chapter_makes_is_on_the_page(chapter):
    found = {row["name"] for row in chapter.widgets()}
    inside = {name for row in chapter.widgets() for name in row["inside"]}
    assert found | inside >= named(chapter.path)
    assert found | inside <= set(widgets.__all__)


def test_later_cells_have_closed_the_polls_and_given_the_answer(chapter):
    polls = [row for row in chapter.widgets() if row["name"] == "Poll"]
    assert polls
    for row in polls:
        root = chapter.root(row)
        assert "You made no prediction. The answer: " in root.text_content()
        assert hands.controls(root) == []


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_every_control_changes_the_picture_or_the_words(chapter, how, artifacts):
    count = len(chapter.cells())
    for row in [row for row in chapter.widgets() if row["name"] not in INSTEAD]:
        root = chapter.root(row)
        if not hands.controls(root):  # a poll is closed once its answer is out
            chapter.run_cell(row["cell"])
            root.wait_for(state="attached")
        drive(root, row["name"], how)
        hands.keep_picture(root, shot(artifacts, chapter, row, how))
    assert chapter.errors == []
    assert len(chapter.cells()) == count, "the notebook took a key for a shortcut"


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_a_training_in_the_background_can_be_stopped(chapter, how, artifacts):
    rows = [row for row in chapter.widgets() if row["name"] in INSTEAD]
    if not rows:
        pytest.skip("this chapter trains nothing beside the page")
    for row in rows:
        new = chapter.insert(row["cell"], INSTEAD[row["name"]])
        root = chapter.root({**row, "cell": new, "place": 0})
        root.wait_for(state="attached")
        drive(root, row["name"], how)
        root.get_by_text(re.compile(r"\b[Ss]topped\b")).first.wait_for()
        hands.keep_picture(root, shot(artifacts, chapter, row, how))
        chapter.delete(new)
    assert chapter.errors == []


def shot(artifacts, chapter, row, how):
    name = f"{row['cell']:03}_{row['name']}_{how}.png"
    return artifacts / chapter.path.stem / name


def drive(root, name, how):
    """Move every control of a widget that is there, or appears on the way."""
    done = Counter()
    seen = hands.at_rest(root)
    for _ in range(MANY):
        there = hands.controls(root)
        assert len(set(map(str, there))) == len(there), f"{name}: two of one name"
        left = [control for control in there if done[str(control)] < presses(control)]
        if not left:
            break
        control = left[0]
        done[str(control)] += 1
        if prepare(root, name, control):
            seen = hands.at_rest(root)
        hands.move(control, how, typed(root, name, control))
        seen = hands.becomes_other(root, seen)
        assert seen, f"{name}, {control}: neither picture nor words changed"
        assert hands.alerts(root) == [], f"{name}, {control}"
    assert done, f"{name} has no control"


def presses(control):
    return PRESSES.get(control.label, 1)


def prepare(root, name, control):
    """Bring about a state in which the next move must show; say whether that acted."""
    if (name, control.label) == ("ImageClassifier", "Open"):
        # Its path was opened when it was typed: show something else meanwhile.
        root.locator("select").first.select_option(index=1)
        return True
    if (name, control.label) == ("StrategyLab", "Backbone rate"):
        boxes = root.locator("input[type=checkbox]:checked").all()
        for box in boxes[:1]:  # with all of it frozen, its rate means nothing
            box.uncheck()
        return bool(boxes)
    return False


def typed(root, name, control):
    """Return what is typed into a text field: something that it understands."""
    if control.kind != "text":
        return ""
    old = control.where.input_value()
    if name == "ImageClassifier":
        return other(old)
    if name == "DocSearch":  # with no words it would find nothing by any encoder
        return "sort a list" if old == "read a file" else "read a file"
    if old:
        return ""
    rows = root.locator("tbody tr")  # of a table, which is filtered by a word
    return rows.first.inner_text().split()[0] if rows.count() > 1 else "no such row"


def other(picture):
    return next(name for name in BESIDE if name != picture)


NARROW = """root => {
  const before = root.style.width;
  root.style.width = '320px';
  const over = root.scrollWidth - root.clientWidth;
  root.style.width = before;
  return over;
}"""


def test_its_widgets_fit_a_page_of_320_pixels(chapter):
    """A table scrolls in its own box; no widget is cut off or pushes the page."""
    over = {
        row["name"]: chapter.root(row).evaluate(NARROW) for row in chapter.widgets()
    }
    assert {name: much for name, much in over.items() if much > 2} == {}


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_its_widgets_are_accessible_in_both_themes(chapter, theme, artifacts):
    chapter.theme(theme)
    rows = chapter.widgets()
    for row in rows:
        path = shot(artifacts, chapter, row, theme.split()[1].lower())
        hands.keep_picture(chapter.root(row), path)
    names = sorted({row["name"] for row in rows})
    assert axe.findings(chapter.page, [f".course-{name}" for name in names]) == []
