"""The strategy lab: its settings, its runs, its stop, and the page without a kernel."""

import base64
import io
import threading
import time

import matplotlib
import pytest
from PIL import Image

from course import data, models, plots, training, transfer, widgets
from course.errors import CourseError
from course.widgets.strategy_lab import in_cells, in_words

BLOCKS = ("stem", "layer1", "layer2")
SETTINGS = {"frozen": ("stem",), "backbone_rate": 1e-3, "head_rate": 1e-2, "labels": 5}


def quick(settings, after_step, stop):
    for step in range(1, 6):
        if stop.is_set():
            break
        after_step({"step": step, "loss": 1 / step})
    return {"accuracy": settings["labels"] / 10, "seconds": 0.1}


def lab(train=quick, **options):
    return widgets.StrategyLab(train, BLOCKS, (1e-3, 1e-2), (1, 5), **options)


class Endless:
    """A training that only ends when it is told to."""

    def __init__(self):
        self.began, self.steps = threading.Event(), 0

    def __call__(self, settings, after_step, stop):
        while not stop.wait(0.001):
            self.steps += 1
            after_step({"step": self.steps, "loss": 1.0})
            self.began.set()
        return {"accuracy": 0.5}


def test_the_controls_are_the_settings():
    widget = lab()
    widget.boxes["layer1"].value = True
    widget.sliders["backbone_rate"].value = 1e-3
    widget.sliders["labels"].value = 1
    assert widget.settings == {
        "frozen": ("layer1",),
        "backbone_rate": 1e-3,
        "head_rate": 1e-2,
        "labels": 1,
    }
    assert "Frozen: layer1" in widget.summary.value


def test_settings_are_worded_for_the_row_and_for_the_reader():
    assert in_words(SETTINGS, BLOCKS) == (
        "Frozen: stem; the rest of the backbone learns at 0.001, the head learns at "
        "0.01; labels a class: 5."
    )
    nothing = {**SETTINGS, "frozen": ()}
    assert in_cells(nothing, BLOCKS)["frozen"] == "nothing"
    assert "the backbone learns at 0.001" in in_words(nothing, BLOCKS)
    everything = {**SETTINGS, "frozen": BLOCKS}
    assert in_cells(everything, BLOCKS)["frozen"] == "all but the head"
    assert "0.001" not in in_words(everything, BLOCKS)  # there is nothing to learn


def test_a_run_that_waits_gives_a_row_and_leaves_the_curve():
    widget = lab()
    row = widget.try_out(frozen=["stem", "layer1"], head_rate=1e-3, labels=1)
    assert row["frozen"] == "stem, layer1" and row["head rate"] == "0.001"
    assert (row["accuracy"], row["steps"]) == (0.1, 5)
    assert row["ended"] == "at the last step"
    assert widget.runs == [row] and widget.table.shown == [row]
    data, metadata = widget._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == bytes(widget.picture.image.value)
    assert "loss goes from 1 at 1 to 0.2 at 5" in metadata["image/png"]["alt"]


def test_every_run_joins_the_table_in_its_order():
    widget = lab()
    assert widget.table.layout.display == "none"
    for labels in (5, 1, 5):
        widget.try_out(labels=labels)
    assert [row["run"] for row in widget.table.rows] == [1, 2, 3]
    widget.table.sort.value = "accuracy"
    assert [row["run"] for row in widget.table.shown] == [2, 1, 3]
    assert widget.table.layout.display == ""


def test_stop_ends_a_run_beside_the_page_and_its_row_is_kept():
    training_ = Endless()
    widget = lab(training_)
    widget.go.click()
    assert training_.began.wait(30) and widget.running
    assert widget.go.disabled and not widget.button.disabled
    with pytest.raises(CourseError, match="still running"):
        widget.run()
    widget.boxes["stem"].value = True  # for the next run, not for this one
    widget.button.click()
    assert widget.wait(30) and not widget.go.disabled and widget.button.disabled
    (row,) = widget.runs
    assert row["ended"] == "stopped" and row["frozen"] == "nothing"
    assert row["steps"] == training_.steps
    assert "Stopped at step" in widget.picture.words.value
    assert not widget.running


def test_a_run_ends_when_its_time_is_up():
    widget = lab(Endless(), seconds=0.05)
    row = widget.run()
    assert row["ended"] == "time was up"
    assert "Time is up at step" in widget.picture.words.value
    assert not widget.running


def test_a_run_after_a_stopped_one_is_a_whole_one():
    trainings = [Endless(), quick]
    widget = lab(lambda *settings, **hooks: trainings.pop(0)(*settings, **hooks))
    widget.run(background=True)
    while not widget.rows:
        time.sleep(0.01)
    widget.button.click()
    assert widget.wait(30)
    widget.run()
    assert [row["ended"] for row in widget.runs] == ["stopped", "at the last step"]


def test_there_is_nothing_to_stop_before_a_run():
    widget = lab()
    widget.button.click()
    assert "no training to stop" in widget.picture.words.value and not widget.stopped


def failing(settings, after_step, stop):
    after_step({"step": 1, "loss": 2.0})
    raise CourseError("The loss became <nan> at step 1.")


def test_a_training_that_fails_is_shown_logged_and_does_not_join(caplog):
    widget = lab(failing)
    widget.go.click()
    assert widget.wait(30)
    assert 'role="alert"' in widget.picture.words.value
    assert "&lt;nan&gt;" in widget.picture.words.value
    assert caplog.records[-1].exc_info[0] is CourseError
    assert not widget.runs and not widget.go.disabled
    with pytest.raises(CourseError, match="at step 1"):
        widget.run()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"frozen": ["layer9"]}, "Unknown block 'layer9'"),
        ({"frozen": "layer9"}, "Unknown block 'layer9'"),
        ({"head_rate": 0.5}, "Unknown head rate 0.5"),
        ({"rate": 0.01}, "Unknown setting 'rate'"),
    ],
)
def test_a_setting_that_does_not_exist_is_named(settings, says):
    with pytest.raises(CourseError, match=says):
        lab().try_out(**settings)


@pytest.mark.parametrize("missing", range(3))
def test_there_must_be_something_to_choose_from(missing):
    given = [BLOCKS, (1e-3,), (1,)]
    given[missing] = ()
    with pytest.raises(CourseError, match="one or more"):
        widgets.StrategyLab(quick, *given)


def test_every_value_of_every_control_can_be_tried_out():
    widget = lab()
    for box in widget.boxes.values():
        for value in (True, False):
            box.value = value
            widget.run()
    for slider in widget.sliders.values():
        for _, value in slider.options:
            slider.value = value
            widget.run()
    assert len(widget.runs) == 6 + 6
    assert "alert" not in widget.picture.words.value


def small_training(kept):
    source = models.load("resnet10-glyphs")
    digits = data.task("digits", validation=40, test=10)

    def train(settings, after_step, stop):
        model = models.replace_head(source, digits.class_names, 0)
        for name, parameters in transfer.stages(model.network).items():
            for parameter in parameters:
                parameter.requires_grad_(name not in settings["frozen"])
        before = transfer.fingerprint(model.network)
        kept.append((model, before))
        part = digits.few_shot(settings["labels"], 0).train
        recipe = training.Recipe(500, batch=10, rate=settings["head_rate"])
        hooks = {"after_step": after_step, "stop": stop, "progress": False}
        training.fit(model, part, recipe, batchnorm="freeze", **hooks)
        return {"accuracy": training.evaluate(model, digits.validation).accuracy}

    return train


def test_a_stopped_training_leaves_a_model_that_works_and_what_was_frozen_stands():
    kept = []
    widget = widgets.StrategyLab(small_training(kept), BLOCKS, (3e-3,), (2,))
    widget._freeze(("stem", "layer1"))
    widget.run(background=True)
    while not widget.rows:
        assert widget.running
        time.sleep(0.01)
    widget.button.click()
    assert widget.wait(60)
    (row,), ((model, before),) = widget.runs, kept
    after = transfer.fingerprint(model.network)
    moved = {name.partition(".")[0] for name in after if after[name] != before[name]}
    assert row["ended"] == "stopped" and 1 <= row["steps"] < 500
    assert moved == {"layer2", "layer3", "layer4", "fc"}
    assert not model.network.training and 0 <= row["accuracy"] <= 1


def test_a_monitor_draws_while_the_page_draws_and_styles_stay_apart():
    before = dict(matplotlib.rcParams)
    alone = plots.curves({"a": ([1, 2], [2, 1])}, "x", "y").png
    training_, pictures = Endless(), []
    monitor = widgets.LossMonitor(lambda **hooks: training_({}, **hooks))
    monitor.run(background=True)
    assert training_.began.wait(30)
    threads = [
        threading.Thread(
            target=lambda: pictures.append(
                plots.curves({"a": ([1, 2], [2, 1])}, "x", "y").png
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monitor.stop()
    assert monitor.wait(30)
    assert {bytes(png) for png in pictures} == {alone}
    assert Image.open(io.BytesIO(alone)).size[0] == 700
    assert dict(matplotlib.rcParams) == before
