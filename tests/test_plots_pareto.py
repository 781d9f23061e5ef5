"""The Pareto figure: every name of the front is there and covers nothing."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

from course import plots, zoo
from course.errors import CourseError

ROWS = [row for row in zoo.entries() if row["top1"] is not None]


@pytest.fixture
def drawn(monkeypatch):
    """The canvases that are drawn."""
    seen, draw = [], FigureCanvasAgg.draw

    def watched(canvas):
        draw(canvas)
        seen.append(canvas)

    monkeypatch.setattr(FigureCanvasAgg, "draw", watched)
    return seen


def of_the_zoo(cost, **options):
    front = zoo.pareto_front(ROWS, cost, "top1")
    return front, plots.pareto(
        [row["model"] for row in ROWS],
        [row[cost] for row in ROWS],
        [row["top1"] for row in ROWS],
        [ROWS.index(row) for row in front],
        **options,
    )


@pytest.mark.parametrize("cost", ["gmacs", "file_mb", "parameters"])
def test_the_names_of_the_front_and_no_others_stand_free(cost, drawn):
    front, _ = of_the_zoo(cost)
    axis = drawn[-1].figure.axes[0]
    labels = axis.findobj(Annotation)
    assert {label.get_text() for label in labels} == {row["model"] for row in front}
    boxes = [Text.get_window_extent(label) for label in labels]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    points = np.array([[row[cost], row["top1"]] for row in ROWS])
    pixels = axis.transData.transform(points)
    for box in boxes:
        assert axis.get_window_extent().fully_containsx(box.x0)
        assert not any(box.contains(*point) for point in pixels)


def test_a_name_for_which_there_is_no_room_is_left_out(drawn):
    steps = np.arange(1, 120)
    names = [f"a rather long name {n}" for n in steps]
    plots.pareto(names, 1 + steps / 1000, steps, range(len(steps)))
    labels = drawn[-1].figure.axes[0].findobj(Annotation)
    assert 0 < len(labels) < len(names)


def test_the_words_name_front_shortlist_and_what_is_outside():
    _, figure = of_the_zoo("gmacs", marked=[0, 1], faded=[2, 3, 4], title="A title.")
    assert figure.alt.startswith(f"A title. {len(ROWS)} models by cost from 0.04 to")
    assert "On the front: shufflenet_v2_x0_5 (0.04, 60.6), " in figure.alt
    shortlist = f"On the shortlist: {ROWS[0]['model']}, {ROWS[1]['model']}."
    assert shortlist in figure.alt and "3 are outside the limits." in figure.alt


def test_an_empty_front_and_a_single_model_can_be_drawn():
    assert "The front is empty." in plots.pareto(["a", "b"], [1, 2], [3, 4], []).alt
    assert "a (1, 3)" in plots.pareto(["a"], [1], [3], [0]).alt


@pytest.mark.parametrize(
    ("names", "cost", "gain", "says"),
    [
        (["a"], [1, 2], [1, 2], "1 names, 2 costs and 2 gains"),
        (["a", "b"], [1, 2], [1], "2 costs and 1 gains"),
        ([], [], [], "at least one"),
        (["a"], [0], [1], "not above 0"),
        (["a"], [float("nan")], [1], "not above 0"),
    ],
)
def test_data_that_do_not_fit_are_refused_in_one_sentence(names, cost, gain, says):
    with pytest.raises(CourseError, match=says):
        plots.pareto(names, cost, gain, [])
