"""Figures of words and texts: every name stands free, and the alt says what is seen."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text

from course import plots
from course.errors import CourseError
from course.search import Answer

WORDS = ["read", "write", "socket", "day", "month", "hour"]
POINTS = np.array([[0, 0], [0.1, 0], [3, 1], [5, 5], [5.2, 5], [4, 4.5]])
GROUPS = ["files", "files", "net", "time", "time", "time"]


@pytest.fixture
def drawn(monkeypatch):
    """The canvases that are drawn."""
    seen, draw = [], FigureCanvasAgg.draw

    def watched(canvas):
        draw(canvas)
        seen.append(canvas)

    monkeypatch.setattr(FigureCanvasAgg, "draw", watched)
    return seen


def labels(drawn):
    return drawn[-1].figure.axes[0].findobj(Annotation)


def test_no_word_covers_another_or_leaves_the_map(drawn):
    places = np.random.default_rng(0).normal(size=(60, 2))
    plots.word_map([f"word {n}" for n in range(60)], places)
    axis = drawn[-1].figure.axes[0]
    boxes = [Text.get_window_extent(label) for label in labels(drawn)]
    assert len(boxes) > 40
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    pixels = axis.transData.transform(places)
    for box in boxes:
        assert axis.get_window_extent().fully_containsx(box.x0)
        assert not any(box.contains(*point) for point in pixels)


def test_a_word_without_room_loses_its_name_and_the_alt_counts_the_rest(drawn):
    figure = plots.word_map([f"a long name {n}" for n in range(80)], np.zeros((80, 2)))
    assert 0 < len(labels(drawn)) < 80
    assert f"80 words, {len(labels(drawn))} of them with room for a name" in figure.alt


def test_the_map_names_groups_and_the_nearest_pairs():
    figure = plots.word_map(WORDS, POINTS, GROUPS, "Six words.")
    assert figure.alt == (
        "Six words. A map of 6 words of 3 groups (files, net, time). Nearest to each "
        "other: read and write, day and month, socket and hour."
    )
    assert plots.word_map(["one"], [[0, 0]]).alt == "A map of 1 words."


def test_similarities_name_the_most_and_the_least_alike():
    grid = np.array([[1, 0.5, -0.25], [0.5, 1, 0], [-0.25, 0, 1]])
    figure = plots.similarities(grid, ["one", "two", "three"], "Three")
    assert figure.alt == (
        "Three. Similarity of 3 to one another, on average 0.0833. Most alike: one and "
        "two (0.5); least: one and three (-0.25)."
    )


def test_results_are_named_with_their_similarity(drawn):
    answers = [
        Answer("shutil.copytree", "Recursively copy a tree.", 0.81),
        Answer("os.rename", "x" * 200, -0.2),
    ]
    figure = plots.search_results("copy a folder", answers)
    assert figure.alt == (
        "Nearest to “copy a folder”: shutil.copytree (0.81), os.rename (-0.2)."
    )
    axis = drawn[-1].figure.axes[0]
    said = [text.get_text() for text in axis.texts]
    assert "shutil.copytree" in said and " 0.81" in said
    right = axis.get_window_extent().x1
    assert all(text.get_window_extent().x1 <= right + 1 for text in axis.texts)
    assert plots.search_results("q", answers, "Typical").alt.startswith("Typical: shu")


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: plots.word_map([], np.zeros((0, 2))), "at least one word"),
        (lambda: plots.word_map(WORDS, POINTS[:3]), r"6 words and points of shape"),
        (lambda: plots.word_map(WORDS, POINTS, ["a"]), "6 words and 1 groups"),
        (lambda: plots.similarities([[1.0]], ["one"]), "at least two"),
        (lambda: plots.similarities(np.eye(2), ["a", "b", "c"]), r"\(2, 2\) for 3"),
        (lambda: plots.search_results("zz", []), "Nothing was found for 'zz'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(draw, says):
    with pytest.raises(CourseError, match=says):
        draw()
