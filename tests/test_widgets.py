"""Widgets, driven without a browser: every control through its whole range."""

import ast
import base64
import importlib
import io
import json
import logging
import pkgutil
import re
import sys
import tempfile
import threading
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from course import boxes, plots, progress, shortlist, widgets
from course.data import scenes
from course.errors import CourseError
from course.exercises import first_prediction
from course.search import Answer
from course.widgets.accessibility import Accessibility
from course.widgets.base import CONTROL, Explorer, Panel, Picture, guarded

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NARROW = 320  # pixels
GUARDED = ("draw_state",)  # made by `guarded` beforehand


def picture(*values):
    """A small image that is another one for other values."""
    seed = abs(hash(tuple(map(str, values)))) % 2**32
    return np.random.default_rng(seed).integers(0, 256, (3, 8, 8), np.uint8)


def figure(*values):
    return plots.plain(picture(*values), f"picture of {values}", side=8)


def corpus(draw=lambda **state: picture(*state.values())):
    return widgets.CorpusExplorer(
        draw,
        shapes=["ring", "star"],
        fills=["solid", "dots"],
        colours=["red", "blue"],
        backgrounds=["plain", "stripes"],
        clutter=2,
    )


def train(after_step, stop):
    for step in range(1, 6):
        if stop.is_set():
            return "stopped"
        after_step({"step": step, "loss": 1 / step, "accuracy": 0.5})
    return "trained"


def try_out(settings, after_step, stop):
    train(after_step, stop)
    return {"accuracy": settings["labels"] / 10}


def rival(strategy, settings, after_step, stop):
    """A strategy of a contest: the longer its name, the better."""
    train(after_step, stop)
    return len(strategy) / 10


def contest():
    draw = lambda target, points: figure(target, *points)  # noqa: E731
    menus = (["digits", "shapes"], [5, 20], [20, 40])
    return widgets.PredictTheWinner(rival, ["probe", "scratch"], *menus, draw)


def png(*values):
    """The bytes of a small picture file."""
    file = io.BytesIO()
    Image.fromarray(np.moveaxis(picture(*values), 0, 2)).save(file, "PNG")
    return file.getvalue()


def labeller():
    """A labeller of a new folder with more pictures than any test labels."""
    folder = Path(tempfile.mkdtemp())
    for number in range(60):
        (folder / f"{number}.png").write_bytes(png("label", number))
    return widgets.Labeller(folder, ["ring", "star"])


def classifier(classify=lambda image: figure(np.asarray(image).tobytes())):
    return widgets.ImageClassifier(classify, {"ring": picture(1), "star": picture(2)})


def layers_with_maps(draw=figure):
    """A layer slider whose pictures are drawn while it is moved."""
    pictures = {
        name: lambda strength, choice, name=name: draw(name, strength, choice)
        for name in ("layer1", "layer2")
    }
    notes = {"layer1": "Edges.", "layer2": lambda strength, choice: f"Parts: {choice}."}
    return widgets.LayerSlider(pictures, notes=notes, choices=["ring", "star"])


def model_chooser():
    """A model chooser over six made-up models, five of which are on its shortlist."""
    rows = [
        {
            "model": f"model{n}",
            "weights": "V1",
            "size": 224,
            "top1": 50.0 + n,
            **dict.fromkeys(("gmacs", "file_mb", "parameters"), 4.0**n / 100),
            **dict.fromkeys(("kept_mb", "widest_mb"), 2.0**n),
        }
        for n in range(6)
    ]
    return widgets.ModelChooser(
        rows,
        lambda needs, timed: shortlist.decide(rows, needs, timed),
        lambda row: 12.5,
        start=shortlist.Needs(),
    )


def seen_of(part):
    """What a detector might have found: the true boxes, ever less sure."""
    return [
        boxes.Found(true, torch.linspace(0.9, 0.1, len(true)), labels, part.class_names)
        for true, labels in zip(part.boxes, part.labels, strict=True)
    ]


def detector_dials():
    part = scenes.draw(3, 0)
    return widgets.DetectorDials(
        part,
        seen_of(part),
        keep=boxes.keep,
        precision_recall=boxes.precision_recall,
        curve=boxes.precision_recall_curve,
    )


def scene_builder():
    """A scene builder with a detector that sees a crown everywhere."""
    crown = seen_of(scenes.compose([scenes.Placed("crown", 64, 64, 20)]))
    return widgets.SceneBuilder(scenes.compose, lambda images: crown, boxes.matched)


def doc_search():
    def answers(kind):
        return lambda words: [Answer(f"{kind}.{words}", "What it does.", 0.5)]

    searches = {"counted words": answers("bag"), "word vectors": answers("vectors")}
    groups = {"files": [Answer("os.stat", "", 0.9)], "text": [Answer("str", "", 0.8)]}
    return widgets.DocSearch(searches, ["copy a folder", "wait"], groups)


def drawn_floor(network, batch, kind):
    return figure(network, batch, kind)


EXAMPLES = {
    "CorpusExplorer": corpus,
    "CourseMap": widgets.CourseMap,
    "DetectorDials": detector_dials,
    "DocSearch": doc_search,
    "ExercisePanel": lambda: widgets.ExercisePanel(first_prediction),
    "FeatureMap": lambda: widgets.FeatureMap(figure, ["ring", "star", "ring"]),
    "FiltersForming": lambda: widgets.FiltersForming({0: figure(0), 50: figure(1)}),
    "FloorDial": lambda: widgets.FloorDial(
        ["small", "large"], [32, 1024], ["float32", "bfloat16"], drawn_floor
    ),
    "ImageClassifier": classifier,
    "Labeller": labeller,
    "LayerSlider": lambda: layers_with_maps(),
    "LearningRateDial": lambda: widgets.LearningRateDial(
        {1e-2: figure(1), 1e-3: figure(2)}, {1e-2: "Too high.", 1e-3: "Good."}
    ),
    "LossMonitor": lambda: widgets.LossMonitor(train),
    "ModelChooser": model_chooser,
    "MixSlider": lambda: widgets.MixSlider(
        {0.0: figure(0), 0.5: figure(1), 1.0: figure(2)},
        {0: "Old.", 0.5: "", 1: "New."},
    ),
    "Poll": lambda: widgets.Poll("Which is best?", ["probe", "scratch"]),
    "PredictTheWinner": contest,
    "ResultsTable": lambda: widgets.ResultsTable(
        [{"run": 1, "accuracy": 0.4}, {"run": 2, "accuracy": 0.9}], "Two runs"
    ),
    "SceneBuilder": scene_builder,
    "StrategyLab": lambda: widgets.StrategyLab(
        try_out, ["stem", "layer1"], rates=(1e-3, 1e-2), labels=(1, 5)
    ),
    "TargetDial": lambda: widgets.TargetDial(
        {"unseen shapes": figure(1), "colour": figure(2)},
        {"unseen shapes": "A gain.", "colour": "A loss."},
    ),
}


def a_path(folder, number):
    path = folder / f"{number}.png"
    path.write_bytes(png("path", number))
    return str(path)


# What a reader may write in the text box of a widget, twice something else.
TEXTS = {
    "DocSearch": lambda folder, n: f"words {n}",
    "ImageClassifier": a_path,
    "ModelChooser": lambda folder, n: str(folder / f"cards {n}"),
    "ResultsTable": lambda folder, n: f"accuracy > {0.5 - 0.2 * n:.1f}",
    "StrategyLab": lambda folder, n: f"run > {9 - n}",
}


def texts_for(name, folder):
    return [TEXTS[name](folder, n) for n in range(2)] if name in TEXTS else []


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def controls(widget):
    kinds = (ipywidgets.widget_description.DescriptionWidget, ipywidgets.Button)
    passive = (ipywidgets.HTML, ipywidgets.Image)
    active = [w for w in walk(widget) if isinstance(w, kinds)]
    return [w for w in active if not isinstance(w, passive)]


def every_value(control, texts=()):
    """The whole range of a control, ending where it began."""
    if isinstance(control, ipywidgets.Text):
        return texts
    if isinstance(control, ipywidgets.Checkbox | ipywidgets.ToggleButton):
        return [not control.value, control.value]
    if hasattr(control, "options"):
        values = control._options_values
    elif isinstance(control, ipywidgets.FloatSlider):
        values = np.linspace(control.min, control.max, 5).tolist()
    else:
        values = range(control.min, control.max + 1)
    first = [] if control.value is None else [control.value]
    return [v for v in values if v != control.value] + first


def drive(control, texts=()):
    """Move a control through its range as the browser does, a step at a time."""
    for value in every_value(control, texts):
        control.value = value
        yield value


# What must be so that a button has something to do.
PREPARED = {
    "ImageClassifier": lambda widget: setattr(widget.example, "value", "ring"),
    "PredictTheWinner": lambda widget: widget.predict("probe"),
    "SceneBuilder": lambda widget: widget.load("Turned"),
}


def press(widget, button):
    """Press a button until there is no more to it; say how often it did something."""
    for times in range(10):
        before = looks(widget)
        button.click()
        getattr(widget, "wait", lambda seconds: True)(30)
        if looks(widget) == before:
            return times
        if button.disabled:
            return times + 1
    return 10


def looks(widget):
    """All that a reader can see: bytes and text."""
    texts = [w.value for w in walk(widget) if isinstance(w, ipywidgets.HTML)]
    images = [bytes(w.value) for w in walk(widget) if isinstance(w, ipywidgets.Image)]
    stages = [bytes(w.picture) for w in walk(widget) if w.has_trait("picture")]
    return texts, images + stages


def failures(widget):
    return [text for text in looks(widget)[0] if 'role="alert"' in text]


def test_every_widget_of_the_package_is_tried_here():
    assert set(EXAMPLES) == set(widgets.__all__)


def test_every_panel_that_a_module_defines_is_offered():
    for module in pkgutil.iter_modules(widgets.__path__, "course.widgets."):
        for name, value in vars(importlib.import_module(module.name)).items():
            here = getattr(value, "__module__", "") == module.name
            if here and isinstance(value, type) and issubclass(value, Panel):
                # What others are made of need not be offered itself.
                assert name in widgets.__all__ or value.__subclasses__()


@pytest.mark.parametrize("name", widgets.__all__)
def test_every_control_changes_what_is_seen(name, capfd, tmp_path):
    widget = EXAMPLES[name]()
    moved = set()
    for control in controls(widget):
        if isinstance(control, ipywidgets.Button):
            PREPARED.get(name, lambda widget: None)(widget)
            if press(widget, control):
                moved.add(control)
            continue
        before = looks(widget)
        for value in drive(control, texts_for(name, tmp_path)):
            assert looks(widget) != before, (control.description, value)
            before = looks(widget)
            moved.add(control)
    assert moved == set(controls(widget)) and moved
    assert not failures(widget) and capfd.readouterr().err == ""


EXPLORERS = [n for n in widgets.__all__ if issubclass(getattr(widgets, n), Explorer)]


@pytest.mark.parametrize("name", EXPLORERS)
def test_coming_back_to_a_state_brings_its_picture_back(name):
    widget = EXAMPLES[name]()
    for control in controls(widget):
        before = looks(widget)
        for _ in drive(control):
            pass
        assert looks(widget) == before, control.description


@pytest.mark.parametrize("name", widgets.__all__)
def test_a_second_widget_does_not_disturb_the_first(name, tmp_path):
    first, second = EXAMPLES[name](), EXAMPLES[name]()
    before = looks(first)
    for control in controls(second):
        if isinstance(control, ipywidgets.Button):
            press(second, control)
        else:
            for _ in drive(control, texts_for(name, tmp_path)):
                pass
    assert looks(first) == before


@pytest.mark.parametrize("name", widgets.__all__)
def test_nothing_is_wider_than_a_narrow_page(name):
    for part in walk(EXAMPLES[name]()):
        for size in (part.layout.width, part.layout.min_width):
            pixels = re.fullmatch(r"(\d+)px", size or "")
            assert not pixels or int(pixels[1]) <= NARROW, type(part).__name__
    basis = int(re.search(r"(\d+)px", CONTROL["flex"])[1])
    assert basis <= NARROW - 40  # a cell's own margins


@pytest.mark.parametrize("path", sorted((ROOT / "course/widgets").glob("*.py")))
def test_a_widget_leaves_its_colours_to_the_theme(path):
    # A colour of one's own would vanish on a light or on a dark page.
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    values = [n.value for n in nodes if isinstance(n, ast.Constant)]
    text = "\n".join(value for value in values if isinstance(value, str))
    own = r"(?:color|background)\s*:\s*(?:#|rgb|hsl|white|black|red|green|blue|gr[ae]y)"
    assert not re.findall(own, text)


@pytest.mark.parametrize("name", widgets.__all__)
def test_each_panel_brings_what_completes_its_names_in_a_browser(name):
    parts = list(walk(EXAMPLES[name]()))
    assert [part for part in parts if isinstance(part, Accessibility)]
    assert "course-panel" in parts[0]._dom_classes


@pytest.mark.parametrize("name", widgets.__all__)
def test_every_control_has_a_label_and_a_tooltip(name):
    for control in controls(EXAMPLES[name]()):
        assert control.description and control.tooltip


@pytest.mark.parametrize("name", widgets.__all__)
def test_a_page_without_a_kernel_shows_what_the_widget_shows(name):
    widget = EXAMPLES[name]()
    if isinstance(widget, widgets.LossMonitor | widgets.StrategyLab):
        widget.run()
    bundle = widget._repr_mimebundle_()
    if isinstance(widget, widgets.ResultsTable):
        assert bundle["text/html"] in widget.page.value
        assert "Two runs" in bundle["text/plain"]
        return
    if isinstance(widget, widgets.CourseMap):
        (output,) = widget.page.outputs
        assert bundle["text/html"] == output["data"]["text/html"]
        return
    if isinstance(widget, widgets.Poll | widgets.ExercisePanel):
        assert "\n- " in bundle["text/markdown"] and "\n- " in bundle["text/plain"]
        return
    data, metadata = bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    if isinstance(widget, widgets.Labeller):  # one picture at a time; the first as one
        assert "0 of 60 labelled" in metadata["image/png"]["alt"]
        return
    own = widgets.DetectorDials | widgets.DocSearch | widgets.SceneBuilder
    if isinstance(widget, own):
        # Besides the picture their still has a curve, or says what was found; the
        # search shows a list, and its still is a picture of it.
        assert base64.b64decode(data["image/png"]) == widget.still().png
        assert metadata["image/png"]["alt"] == data["text/plain"] == widget.still().alt
        return
    image = next(w for w in walk(widget) if isinstance(w, ipywidgets.Image))
    assert base64.b64decode(data["image/png"]) == bytes(image.value)
    assert metadata["image/png"]["alt"] == data["text/plain"] == image.tooltip


def test_a_picture_and_its_description_change_together():
    shown = Picture()
    shown.show(figure("first"))
    assert "first" in shown.image.tooltip and "first" in shown.words.value
    shown.show(figure("second"), "A <note>.")
    assert "second" in shown.image.tooltip and "A &lt;note&gt;." in shown.words.value


def test_an_error_is_a_sentence_in_the_widget_and_whole_in_the_log(caplog):
    def draw(**state):
        if state["shape"] == "star":
            raise ZeroDivisionError("no <star> today")
        return picture(state["shape"])

    with caplog.at_level(logging.ERROR, "course.widgets"):
        widget = corpus(draw)
        widget.controls["shape"].value = "star"
    assert "no &lt;star&gt; today" in failures(widget)[0]
    assert caplog.records[0].exc_info[0] is ZeroDivisionError
    widget.controls["shape"].value = "ring"
    assert not failures(widget)


def test_the_same_error_once_more_does_not_look_like_nothing():
    shown = Picture()
    error, other = CourseError("No such file."), CourseError("Another one.")
    seen = []
    for problem in (error, error, other, error):
        guarded(shown, lambda problem=problem: fail(problem))()
        seen.append(shown.words.value)
    assert len(set(seen[:3])) == 3 and seen[3] == seen[0]


def fail(problem):
    raise problem


def test_every_callback_of_a_widget_is_guarded():
    loose, seen = [], 0
    for path in sorted((ROOT / "course/widgets").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = getattr(getattr(node, "func", None), "attr", "")
            if called in ("observe", "on_click", "on_msg", "on_trait_change"):
                seen += 1
                text = ast.unparse(node.args[0])
                if not text.startswith("guarded(") and text not in GUARDED:
                    loose.append(f"{path.name}: {text}")
    assert seen >= 5 and not loose


def rebound(cells):
    """Names that the cells bind at their top level, imports aside."""
    names = set()
    for tree in cells:
        for node in top_level(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
    return names


def top_level(node):
    """Every node that runs in the notebook's own namespace."""
    inner = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*inner, ast.FunctionDef, ast.ClassDef)):
            yield from top_level(child)


def read_by(node, functions, seen=()):
    """Global names that a function reads when it is called, through others too."""
    own = {a.arg for a in ast.walk(node) if isinstance(a, ast.arg)}
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} - own
    if isinstance(node, ast.FunctionDef):
        names -= rebound([node])
    for name in names & set(functions) - set(seen):
        names |= read_by(functions[name], functions, (*seen, name))
    return names


def drawn_with(call, functions):
    """Global names that the functions handed to a widget read when it is moved."""
    names = set()
    for argument in [*call.args, *[keyword.value for keyword in call.keywords]]:
        for node in ast.walk(argument):
            if isinstance(node, ast.Lambda):
                names |= read_by(node, functions)
            elif isinstance(node, ast.Name) and node.id in functions:
                names |= {node.id} | read_by(functions[node.id], functions)
    return names


def trees(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return [ast.parse(text) for text in code]


def calls_of_widgets(tree):
    for node in ast.walk(tree):
        function = getattr(node, "func", None)
        if getattr(getattr(function, "value", None), "id", "") == "widgets":
            yield node


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_later_cells_do_not_change_what_a_widget_draws_with(path):
    cells, functions = trees(path), {}
    for place, tree in enumerate(cells):
        functions |= {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
        for call in calls_of_widgets(tree):
            spoiled = drawn_with(call, functions) & rebound(cells[place + 1 :])
            assert not spoiled, f"{ast.unparse(call.func)} reads {spoiled}"


def test_every_widget_of_the_package_is_used_in_a_chapter():
    used = {
        call.func.attr
        for path in CHAPTERS
        for tree in trees(path)
        for call in calls_of_widgets(tree)
    }
    assert used >= set(widgets.__all__)


def test_the_drawing_gets_the_state_and_is_asked_once_for_each():
    asked = []
    slider = ipywidgets.IntSlider(value=1, min=0, max=2, description="n")
    widget = Explorer("numbers", {"n": slider}, lambda n: asked.append(n) or figure(n))
    for value in (2, 1, 2):
        slider.value = value
    assert asked == [1, 2] and widget.state == {"n": 2}


def test_two_widgets_keep_their_own_state():
    one, two = corpus(), corpus()
    one.controls["shape"].value = "star"
    assert two.state["shape"] == "ring"
    assert one.picture.alt != two.picture.alt


def test_the_corpus_explorer_starts_where_it_is_told_and_names_unknown_factors():
    options = {"shapes": ["a"], "fills": ["b"], "colours": ["c"], "backgrounds": ["d"]}
    draw = lambda **state: picture(*state.values())  # noqa: E731
    start = widgets.CorpusExplorer(draw, start={"x": 0.3}, **options)
    assert start.state["x"] == 0.3
    with pytest.raises(CourseError, match="clutter"):
        widgets.CorpusExplorer(draw, start={"cluter": 1}, **options)


def test_the_layer_slider_says_the_accuracy_and_which_layer_is_best():
    widget = widgets.LayerSlider(
        {"layer1": figure(1), "layer2": figure(2)}, {"layer1": 0.4, "layer2": 0.9}
    )
    assert set(widget.controls) == {"value"} and widget.picture.alt == figure(1).alt
    assert "layer1: probe accuracy 0.40" in widget.picture.words.value
    widget.controls["value"].value = "layer2"
    assert "0.90" in widget.picture.words.value and "best" in widget.picture.words.value


def test_a_layer_slider_over_maps_asks_for_strength_and_choice_once_each():
    asked = []
    widget = layers_with_maps(lambda *state: asked.append(state) or figure(*state))
    widget.controls["strength"].value = 0.8
    widget.controls["choice"].value = "star"
    widget.controls["value"].value = "layer2"
    widget.controls["value"].value = "layer1"
    assert asked == [
        ("layer1", 0.5, "ring"),
        ("layer1", 0.8, "ring"),
        ("layer1", 0.8, "star"),
        ("layer2", 0.8, "star"),
    ]
    assert widget.picture.alt == figure("layer1", 0.8, "star").alt


def test_the_sentence_below_a_map_may_depend_on_the_choice():
    widget = layers_with_maps()
    assert "Edges." in widget.picture.words.value
    widget.controls["value"].value = "layer2"
    widget.controls["choice"].value = "star"
    assert "Parts: star." in widget.picture.words.value


def test_a_layer_slider_without_choices_has_an_overlay_and_no_menu():
    widget = widgets.LayerSlider({"layer1": figure, "layer2": figure}, strength=0.25)
    assert set(widget.controls) == {"value", "strength"}
    assert widget.picture.alt == figure(0.25).alt


@pytest.mark.parametrize(
    ("pictures", "options", "message"),
    [
        ({"layer1": figure(1)}, {"choices": ["ring"]}, "leave no choice"),
        ({"layer1": figure(1)}, {"start": "layer2"}, "Did you mean 'layer1'"),
        ({"layer1": figure(1), "layer2": figure}, {}, "drawn or finished"),
        ({}, {}, "no picture"),
    ],
)
def test_a_layer_slider_says_what_it_cannot_do(pictures, options, message):
    with pytest.raises(CourseError, match=message):
        widgets.LayerSlider(pictures, {"layer1": 0.4}, **options)


def test_the_dial_turns_from_low_to_high():
    widget = EXAMPLES["LearningRateDial"]()
    labels = [label for label, _ in widget.controls["value"].options]
    assert labels == ["0.001", "0.01"]


def test_the_feature_map_steps_through_one_class():
    widget = widgets.FeatureMap(figure, ["ring", "star", "ring"])
    widget.controls["point"].value = 3
    widget.controls["shown"].value = "star"
    assert widget.state == {"shown": "star", "point": 1}
    assert widget.picture.alt == figure(1).alt
    widget.controls["shown"].value = "ring"
    widget.controls["point"].value = 2
    assert widget.picture.alt == figure(2).alt and not failures(widget)


@pytest.mark.parametrize(
    "make",
    [
        lambda: widgets.FiltersForming({}),
        lambda: widgets.FeatureMap(figure, []),
        lambda: widgets.Poll("Which?", ["one"]),
        lambda: widgets.CorpusExplorer(
            picture, shapes=[], fills=["b"], colours=["c"], backgrounds=["d"]
        ),
    ],
)
def test_nothing_to_show_is_refused(make):
    with pytest.raises(CourseError):
        make()


def a_poll():
    return widgets.Poll("Which is best?", ["probe", "scratch"])


def test_a_poll_without_an_answer_says_so():
    poll = a_poll()
    poll.button.click()
    assert not poll.locked and "first" in poll.message.value
    text = poll.reveal("probe", "It reached 0.9.").text
    assert text == "You made no prediction. The answer: probe. It reached 0.9."


@pytest.mark.parametrize(
    ("guess", "start"),
    [("probe", "Your prediction came out"), ("scratch", "You predicted: scratch.")],
)
def test_a_poll_says_whether_the_prediction_came_out(guess, start):
    poll = a_poll()
    poll.choices.value = guess
    poll.button.click()
    assert poll.locked and poll.prediction == guess
    verdict = poll.reveal("probe")
    assert verdict.text.startswith(start) and start in poll.message.value
    assert verdict._repr_mimebundle_()["text/plain"] == verdict.text


def test_a_poll_refuses_an_answer_that_it_never_offered():
    with pytest.raises(CourseError, match="Did you mean 'probe'"):
        a_poll().reveal("prob")


EXPLAINED = {
    "probe": "It is quick, and <few> labels are enough for it.",
    "scratch": "Nothing is inherited; but then nothing helps either.",
    "full": "It may change everything, the good with the bad.",
}


def test_an_explained_poll_looks_as_one_without_explanations():
    plain = widgets.Poll("Which is best?", list(EXPLAINED))._repr_mimebundle_()
    data = widgets.Poll("Which is best?", EXPLAINED)._repr_mimebundle_()
    for kind in ("text/plain", "text/markdown"):
        assert data[kind] == plain[kind]
    assert not any(text in data["text/plain"] for text in EXPLAINED.values())


@pytest.mark.parametrize(
    ("guess", "told"),
    [(None, ["probe"]), ("probe", ["probe"]), ("scratch", ["scratch", "probe"])],
)
def test_a_poll_explains_the_readers_choice_and_the_answer(guess, told):
    poll = widgets.Poll("Which is best?", EXPLAINED)
    poll.choices.value = guess
    text = poll.reveal("probe", "It reached 0.9.").text
    first, *rest = text.split("\n\n")
    assert first.endswith("probe. It reached 0.9.")
    assert rest == [f"“{option}”: {EXPLAINED[option]}" for option in told]
    assert "&lt;few&gt;" in poll.message.value and "<few>" not in poll.message.value


def test_explanations_may_be_given_beside_the_options():
    options = list(EXPLAINED)
    poll = widgets.Poll("Which is best?", options, explanations=EXPLAINED)
    assert poll.options == options and poll.explanations == EXPLAINED


@pytest.mark.parametrize(
    ("options", "explanations", "message"),
    [
        ({"probe": "Why.", "full": " "}, None, "'full' has no explanation"),
        (["probe", "full"], {"probe": "Why."}, "'full' has no explanation"),
        (["probe", "full"], {**EXPLAINED, "prob": "?"}, "Unknown option"),
        ({"probe": "Why."}, None, "two or more"),
    ],
)
def test_a_poll_wants_an_explanation_of_each_option_or_of_none(
    options, explanations, message
):
    with pytest.raises(CourseError, match=message):
        widgets.Poll("Which is best?", options, explanations)


def test_a_prediction_is_kept_and_no_prediction_is_not(tmp_path, monkeypatch):
    place = tmp_path / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(place))
    a_poll().reveal("probe")
    assert not place.exists()
    notebook = sys.modules["__main__"]
    monkeypatch.setattr(notebook, "first_prediction", first_prediction, raising=False)
    for poll in (a_poll(), widgets.Poll("Why?", ["a", "b"], chapter="choosing")):
        poll.choices.value = poll.options[1]
        poll.reveal(poll.options[0])
    assert dict(progress.load().polls) == {
        ("first_prediction", "Which is best?"): progress.Vote(
            "scratch", "scratch", False
        ),
        ("choosing", "Why?"): progress.Vote("b", "b", False),
    }


def test_a_monitor_waits_by_default_and_returns_the_curve():
    monitor = widgets.LossMonitor(train)
    curve = monitor.run()
    assert monitor.result == "trained" and len(monitor.rows) == 5
    assert "from 1 at 1 to 0.2 at 5" in curve.alt
    assert not monitor.running and not monitor.stopped


def test_stop_ends_a_training_in_the_background_with_a_usable_result():
    started, seen = threading.Event(), []

    def endless(after_step, stop):
        while not stop.wait(0.001):
            seen.append(len(seen))
            after_step({"step": len(seen), "loss": 1.0})
            started.set()
        return "usable"

    monitor = widgets.LossMonitor(endless)
    assert monitor.run(background=True) is monitor
    assert started.wait(30) and monitor.running and not monitor.button.disabled
    with pytest.raises(CourseError, match="still running"):
        monitor.run()
    monitor.button.click()
    assert monitor.wait(30)
    assert monitor.result == "usable" and monitor.stopped
    assert "Stopped at step" in monitor.picture.words.value


def test_a_training_that_fails_is_shown_logged_and_raised(caplog):
    def diverging(after_step, stop):
        after_step({"step": 1, "loss": 2.0})
        raise CourseError("The loss was not a number at step 2.")

    monitor = widgets.LossMonitor(diverging)
    with pytest.raises(CourseError, match="step 2"):
        monitor.run()
    assert "step 2" in failures(monitor)[0] and caplog.records


def test_a_monitor_can_be_run_again():
    monitor = widgets.LossMonitor(train)
    monitor.stop()
    monitor.run()
    assert monitor.result == "trained" and len(monitor.rows) == 5


def test_the_kernels_own_stop_button_ends_a_waiting_training():
    def interrupted(after_step, stop):
        after_step({"step": 1, "loss": 2.0})
        raise KeyboardInterrupt

    monitor = widgets.LossMonitor(interrupted)
    assert "2 at 1" in monitor.run().alt and monitor.stopped
