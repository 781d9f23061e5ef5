"""Cost against gain: who is not beaten, and names that cover nothing."""

import importlib

import matplotlib
import numpy as np
import pytest

from course import plots
from course.errors import CourseError

module = importlib.import_module("course.plots.tradeoff")  # the function hides it
POINTS = {
    "whole": (5.0, [0.90, 0.94]),
    "half": (2.5, [0.91, 0.93]),
    "slim": (2.6, [0.90, 0.92]),
    "student": (1.2, [0.70, 0.80]),
}


def test_the_front_holds_whoever_is_not_both_dearer_and_worse():
    alt = plots.tradeoff(POINTS, "MB", "accuracy").alt
    assert alt.endswith("Not beaten in both: student, half.")
    assert "slim 0.91 (0.9 to 0.92) at 2.6" in alt
    cheaper = plots.tradeoff({**POINTS, "slim": (2.0, [0.95, 0.97])}).alt
    assert cheaper.endswith("Not beaten in both: student, slim.")


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the next figure, still there after it was finished."""
    kept = []

    def finish(figure, alt, **options):
        figure.canvas.draw()
        kept.append(figure.axes[0])
        return original(figure, alt)

    original = module.finish
    monkeypatch.setattr(module, "finish", finish)
    return kept


@pytest.mark.parametrize("seed", range(6))
def test_every_name_is_there_once_and_none_covers_another(drawn, seed):
    generator = np.random.default_rng(seed)
    points = {
        f"network number {n}": (cost, [gain, gain + 0.01])
        for n, (cost, gain) in enumerate(generator.uniform([1, 0.8], [6, 1], (7, 2)))
    }
    plots.tradeoff(points, "MB", "accuracy")
    texts = drawn[0].texts
    assert sorted(text.get_text() for text in texts) == sorted(points)
    boxes = [text.get_window_extent() for text in texts]
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            shared = matplotlib.transforms.Bbox.intersection(one, other)
            size = 0 if shared is None else shared.width * shared.height
            assert size < 0.15 * one.width * one.height


def test_nothing_to_draw_is_said_in_one_sentence():
    with pytest.raises(CourseError, match="at least one point"):
        plots.tradeoff({})
    with pytest.raises(CourseError, match="'whole' has no value"):
        plots.tradeoff({"whole": (1.0, [])})
    assert plots.tradeoff({"alone": (1.0, [0.5])}).size[0] <= 720
