"""Widgets, driven without a browser: every control through its whole range."""

import base64
import logging
import threading

import ipywidgets
import numpy as np
import pytest

from course import plots, widgets
from course.errors import CourseError
from course.widgets.base import Explorer, Picture


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


EXAMPLES = {
    "CorpusExplorer": corpus,
    "FeatureMap": lambda: widgets.FeatureMap(figure, ["ring", "star", "ring"]),
    "FiltersForming": lambda: widgets.FiltersForming({0: figure(0), 50: figure(1)}),
    "LayerSlider": lambda: widgets.LayerSlider(
        {"layer1": figure(1), "layer2": figure(2)}, {"layer1": 0.4, "layer2": 0.9}
    ),
    "LearningRateDial": lambda: widgets.LearningRateDial(
        {1e-2: figure(1), 1e-3: figure(2)}, {1e-2: "Too high.", 1e-3: "Good."}
    ),
    "LossMonitor": lambda: widgets.LossMonitor(train),
    "Poll": lambda: widgets.Poll("Which is best?", ["probe", "scratch"]),
}


def walk(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def controls(widget):
    kinds = (ipywidgets.widget_description.DescriptionWidget, ipywidgets.Button)
    passive = (ipywidgets.HTML, ipywidgets.Image)
    active = [w for w in walk(widget) if isinstance(w, kinds)]
    return [w for w in active if not isinstance(w, passive)]


def every_value(control):
    """The whole range of a control, ending where it began."""
    if hasattr(control, "options"):
        values = control._options_values
    elif isinstance(control, ipywidgets.FloatSlider):
        values = np.linspace(control.min, control.max, 5).tolist()
    else:
        values = range(control.min, control.max + 1)
    return [v for v in values if v != control.value]


def looks(widget):
    """All that a reader can see: bytes and text."""
    texts = [w.value for w in walk(widget) if isinstance(w, ipywidgets.HTML)]
    images = [bytes(w.value) for w in walk(widget) if isinstance(w, ipywidgets.Image)]
    return texts, images


def failures(widget):
    return [text for text in looks(widget)[0] if 'role="alert"' in text]


def test_every_widget_of_the_package_is_tried_here():
    assert set(EXAMPLES) == set(widgets.__all__)


@pytest.mark.parametrize("name", widgets.__all__)
def test_every_control_changes_what_is_seen(name, capfd):
    widget = EXAMPLES[name]()
    moved = 0
    for control in controls(widget):
        before = looks(widget)
        if isinstance(control, ipywidgets.Button):
            control.click()
            assert looks(widget) != before
            moved += 1
            continue
        for value in every_value(control):
            control.value = value
            assert looks(widget) != before, (control.description, value)
            before, moved = looks(widget), moved + 1
    assert moved and not failures(widget)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", widgets.__all__)
def test_every_control_has_a_label_and_a_tooltip(name):
    for control in controls(EXAMPLES[name]()):
        assert control.description and control.tooltip


@pytest.mark.parametrize("name", widgets.__all__)
def test_a_page_without_a_kernel_shows_what_the_widget_shows(name):
    widget = EXAMPLES[name]()
    if isinstance(widget, widgets.LossMonitor):
        widget.run()
    bundle = widget._repr_mimebundle_()
    if isinstance(widget, widgets.Poll):
        assert "- probe" in bundle["text/markdown"]
        return
    data, metadata = bundle
    assert "application/vnd.jupyter.widget-view+json" in data
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
    widget = EXAMPLES["LayerSlider"]()
    assert "layer1: probe accuracy 0.40" in widget.picture.words.value
    widget.controls["value"].value = "layer2"
    assert "0.90" in widget.picture.words.value and "best" in widget.picture.words.value


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
