"""The detector dials: what is left, what it is worth, and where on the curve it is."""

import re

import pytest
import torch
from bs4 import BeautifulSoup

from course import boxes, plots, widgets
from course.data import scenes
from course.errors import CourseError
from course.widgets.detector_dials import (
    OVERLAPS,
    SCORES,
    chart,
    in_words,
    thinned,
)

PART = scenes.draw(3, 7, kind="validation")


def candidates(part=PART, copies=3):
    """Each true box some times, moved by more and more, less and less sure."""
    every = []
    for true, labels in zip(part.boxes, part.labels, strict=True):
        moves = [torch.tensor([step, 0, step, 0]) * 4.0 for step in range(copies)]
        sure = torch.linspace(0.92, 0.12, copies * len(labels))
        every.append(
            boxes.Found(
                torch.cat([true + move for move in moves]),
                sure,
                labels.repeat(copies),
                part.class_names,
            )
        )
    return every


def draw(image, found, truth):
    return plots.plain(image, f"{len(found)} boxes on {len(truth[1])} objects", side=1)


def dials(part=PART, found=None, **options):
    given = {
        "keep": boxes.keep,
        "precision_recall": boxes.precision_recall,
        "curve": boxes.precision_recall_curve,
        "draw": draw,
        **options,
    }
    return widgets.DetectorDials(
        part, candidates(part) if found is None else found, **given
    )


def one(widget):
    return widget.picture.words.value


def point(widget):
    """Recall and precision where the chart's point is."""
    svg = BeautifulSoup(widget.chart.value, "html.parser").svg
    circle = svg.circle
    return (float(circle["cx"]) - 46) / 236, 1 - (float(circle["cy"]) - 10) / 236


@pytest.mark.parametrize("score", [SCORES[0], 0.3, 0.6, SCORES[-1]])
@pytest.mark.parametrize("nms", [OVERLAPS[0], 0.5, OVERLAPS[-1]])
def test_words_and_chart_say_what_the_functions_say(score, nms):
    widget = dials()
    widget.controls["score"].value = score
    widget.controls["nms"].value = nms
    for scene in range(1, len(PART) + 1):
        widget.controls["scene"].value = scene
        left = boxes.keep(widget.candidates[scene - 1], score, nms)
        assert widget.left(**widget.state).boxes.equal(left.boxes)
        alone = PART.take([scene - 1])
        precision, recall = boxes.precision_recall([left], alone, score)
        there = len(PART.labels[scene - 1])
        assert in_words(len(left), there, precision, recall) in one(widget)
        assert f"{len(left)} boxes on {there} objects" == widget.picture.alt
    left = [boxes.keep(found, score, nms) for found in widget.candidates]
    precision, recall = boxes.precision_recall(left, PART, score)
    total = in_words(sum(map(len, left)), sum(map(len, PART.labels)), precision, recall)
    assert f"All 3 scenes: {total}" in widget.total.value
    assert point(widget) == pytest.approx((recall, precision), abs=1e-3)


def test_right_wrong_and_missed_add_up():
    assert in_words(5, 4, 0.6, 0.75) == (
        "5 boxes, 3 right and 2 wrong; 1 of 4 objects missed. Precision 0.60, recall "
        "0.75."
    )
    assert in_words(1, 1, 1.0, 1.0).startswith("1 box, 1 right and 0 wrong; 0 of 1 obj")
    none = in_words(0, 2, 1.0, 0.0)
    assert none == "no box is left, 2 of 2 objects missed. Recall 0.00; no precision."


def test_matching_is_done_beforehand_and_once_for_each_state():
    calls = {"curve": 0, "measure": 0}

    def counted(name, function):
        def call(*arguments):
            calls[name] += 1
            return function(*arguments)

        return call

    widget = dials(
        curve=counted("curve", boxes.precision_recall_curve),
        precision_recall=counted("measure", boxes.precision_recall),
    )
    assert calls == {"curve": len(OVERLAPS), "measure": 2}
    for scene in (2, 3, 1):
        widget.controls["scene"].value = scene
    assert calls == {"curve": len(OVERLAPS), "measure": 5}  # all scenes: no more
    widget.controls["nms"].value = 0.9
    widget.controls["score"].value = 0.9
    assert calls["curve"] == len(OVERLAPS)


def test_a_box_that_is_moved_a_little_falls_to_suppression_and_not_to_the_score():
    widget = dials(score=SCORES[0], nms=OVERLAPS[-1])
    many = len(widget.left(**widget.state))
    widget.controls["nms"].value = 0.3
    few = len(widget.left(**widget.state))
    assert few == len(PART.labels[0]) < many


def test_a_detector_that_found_nothing_is_shown_too():
    none = torch.zeros(0)
    nothing = boxes.Found(
        none.reshape(0, 4), none, none.to(torch.int64), PART.class_names
    )
    widget = dials(found=[nothing] * 3)
    before = one(widget)
    assert "no box is left" in before and "alert" not in before
    assert "All 3 scenes: no box is left" in widget.total.value
    assert widget.still().png == widget.picture.figure.png  # there is no curve
    for control in widget.controls.values():
        control.value = control.max if hasattr(control, "max") else SCORES[-2]
        if control is widget.controls["nms"]:
            control.value = OVERLAPS[0]
        assert one(widget) != before
        before = one(widget)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"found": []}, "3 scenes and the candidates of 0"),
        ({"part": PART.take([]), "found": []}, "0 scenes"),
        ({"score": 0.33}, "Unknown score from 0.33"),
        ({"nms": 0.55}, "Unknown nms overlap 0.55"),
    ],
)
def test_what_does_not_fit_is_one_sentence(options, says):
    with pytest.raises(CourseError, match=says):
        dials(**options)


def test_what_fails_while_a_slider_moves_is_said(caplog):
    widget = dials()
    widget._draw_boxes = lambda *a, **k: 1 / 0
    widget.controls["scene"].value = 2
    assert 'role="alert"' in one(widget) and caplog.records


def test_the_chart_names_itself_and_leaves_its_colours_to_the_theme():
    svg = BeautifulSoup(dials().chart.value, "html.parser").svg
    assert svg["role"] == "img" and "Precision over recall" in svg["aria-label"]
    assert re.search(r"recall \d\.\d\d, precision \d\.\d\d", svg["aria-label"])
    shades = re.findall(r'(?:stroke|fill)="([^"]+)"', str(svg))
    assert {shade for shade in shades if "currentColor" not in shade} == {"none"}
    assert 'aria-label="a&quot;&lt;b"' in chart([(0, 1)], (0, 1), 'a"<b')


def test_a_long_curve_is_thinned_to_what_can_be_seen_and_keeps_its_ends():
    recalls = torch.linspace(0, 1, 5000).tolist()
    precisions = torch.linspace(1, 0.2, 5000).tolist()
    points = thinned(recalls, precisions)
    assert len(points) < 500
    assert points[0] == (recalls[0], precisions[0])
    assert points[-1] == (recalls[-1], precisions[-1])
    assert thinned([], []) == [] and thinned([0.5], [1.0]) == [(0.5, 1.0)]


def test_a_page_without_a_kernel_shows_the_boxes_and_the_curve():
    widget = dials()
    data, metadata = widget._repr_mimebundle_()
    alt = metadata["image/png"]["alt"]
    assert data["text/plain"] == alt == widget.still().alt
    assert alt.startswith(widget.picture.alt)
    assert widget.still().size[1] > widget.picture.figure.size[1]
