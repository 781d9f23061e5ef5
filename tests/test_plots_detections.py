"""Boxes on pictures, and precision over recall: what is drawn and what is said."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from course import plots
from course.boxes import Found
from course.data import scenes
from course.data.scenes import Placed
from course.errors import CourseError
from course.plots import detections

THINGS = [
    Placed("crown", 30, 30, 14),
    Placed("key", 94, 34, 14),
    Placed("pin", 60, 95, 16),
]
NAMES = scenes.SHAPES


@pytest.fixture(scope="module")
def three():
    return scenes.compose(THINGS, seed=2)


@pytest.fixture(scope="module")
def found(three):
    """Return one right box, one of the wrong class; nothing on the pin."""
    boxes = three.boxes[0][:2] + torch.tensor([1.0, 0, 1, 0])
    return Found(boxes, torch.tensor([0.91, 0.4]), torch.tensor([0, 2]), NAMES)


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figure.png)).convert("RGB")).astype(int)


def near(figure, shade, tolerance=40):
    """Count the pixels that are close to a shade."""
    target = [int(shade[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels(figure) - target).max(-1) < tolerance).sum())


def along(figure, shade, y, left, right):
    """Tell at which pixels of a row near `y` the shade stands."""
    target = [int(shade[i : i + 2], 16) for i in (1, 3, 5)]
    rows = pixels(figure)[y - 2 : y + 3, left:right]
    return (np.abs(rows - target).max(-1) < 60).any(0)


def truth_of(part, place=0):
    return part.boxes[place], part.labels[place]


def test_a_scene_has_no_margin_and_whole_pixels(three, found):
    figure = plots.scene(three.images[0], found)
    assert figure.size == (512, 512)
    corner = pixels(figure)[500:508, 500:508].reshape(-1, 3)
    assert np.abs(corner - three.images[0][:, 126, 126].numpy()).max() < 24
    assert plots.scene(three.images[0], found, side=200).size == (256, 256)


def test_a_large_photograph_is_made_smaller(found):
    image = Image.new("RGB", (1200, 900), "#888888")
    assert plots.scene(image, found).size == (683, 512)


def test_the_words_of_a_scene_come_from_its_data(three, found):
    figure = plots.scene(three.images[0], found, truth=truth_of(three))
    assert figure.alt == (
        "A picture with 2 boxes: 1 right (crown 0.91), 1 wrong (mushroom 0.40), "
        "2 missed (key, pin)."
    )
    alone = plots.scene(three.images[0], found)
    assert alone.alt == "A picture with 2 boxes: crown 0.91, mushroom 0.40."
    nothing = found.take(torch.zeros(2, dtype=torch.bool))
    assert plots.scene(three.images[0], nothing).alt == "A picture with no box."


def test_right_and_wrong_differ_in_line_and_sign_too(three, found):
    figure = plots.scene(three.images[0], found, truth=truth_of(three))
    left, top, right, _ = (found.boxes[0] * 4).int().tolist()
    assert along(figure, detections.RIGHT, top, left + 6, right - 6).mean() > 0.95
    left, _, right, bottom = (found.boxes[1] * 4).int().tolist()
    dashes = along(figure, detections.WRONG, bottom, left + 6, right - 6)
    assert 0.4 < dashes.mean() < 0.9
    assert np.abs(np.diff(dashes.astype(int))).sum() >= 6
    signs = {
        mark.kind: mark.plate(False)
        for mark in detections._judged(found, truth_of(three), 0.5)
    }
    assert signs == {
        "right": "✓ crown 0.91",
        "wrong": "✗ mushroom 0.40",
        "missed": "missed pin",
    }


def test_without_the_truth_nothing_is_called_wrong(three, found):
    plain = plots.scene(three.images[0], found)
    judged = plots.scene(three.images[0], found, truth=truth_of(three))
    assert near(judged, detections.WRONG) > near(plain, detections.WRONG) + 200


def test_plates_stay_on_the_picture_and_apart(monkeypatch):
    taken = []
    real = detections.ImageDraw.ImageDraw.rectangle
    monkeypatch.setattr(
        detections.ImageDraw.ImageDraw,
        "rectangle",
        lambda self, box, **how: (taken.append(box), real(self, box, **how)),
    )
    part = scenes.draw(1, 3, objects=(5, 5))
    k = len(part.labels[0])
    found = Found(part.boxes[0], torch.linspace(1, 0.5, k), part.labels[0], NAMES)
    plots.scene(part.images[0], found, truth=truth_of(part))
    assert len(taken) == k >= 4
    corners = np.array(taken)
    assert corners.min() >= 0 and corners.max() <= 512
    shared = [
        detections._shared(one, other)
        for place, one in enumerate(taken)
        for other in taken[:place]
    ]
    assert max(shared) == 0


def test_boxes_at_and_over_the_edge_are_drawn(three):
    edges = torch.tensor(
        [[-20.0, -20, 150, 150], [0, 0, 128, 128], [120, 120, 128, 128]]
    )
    found = Found(edges, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 2]), NAMES)
    assert plots.scene(three.images[0], found).size == (512, 512)


def test_a_grid_shows_every_picture_with_its_boxes():
    part = scenes.draw(5, 1, size=64)
    figure = plots.boxes(
        part.images, part.boxes, part.labels, NAMES, columns=3, caption="Five scenes."
    )
    assert figure.size[0] <= 700
    assert figure.alt.startswith("Five scenes: Picture 1 has ")
    assert figure.alt.count("Picture ") == 5
    for name in {NAMES[label] for labels in part.labels for label in labels}:
        assert name in figure.alt
    bare = plots.boxes(part.images, part.boxes, part.labels, NAMES, columns=3)
    assert bare.size[1] < figure.size[1]


def test_a_grid_with_the_truth_says_what_its_lines_mean(three, found):
    arguments = ([three.images[0]], [found.boxes], [found.labels], NAMES)
    judged = plots.boxes(*arguments, scores=[found.scores], truth=[truth_of(three)])
    plain = plots.boxes(*arguments, scores=[found.scores])
    assert judged.size[1] > plain.size[1]
    assert "1 right (crown 0.91), 1 wrong (mushroom 0.40)" in judged.alt
    assert "2 missed (key, pin)" in judged.alt
    assert "0." not in plots.boxes(*arguments).alt


def test_the_surest_box_is_the_right_one_in_whatever_order(three):
    twice = three.boxes[0][[0, 0]]
    figure = plots.boxes(
        [three.images[0]],
        [twice],
        [torch.tensor([0, 0])],
        NAMES,
        scores=[torch.tensor([0.3, 0.8])],
        truth=[truth_of(three)],
    )
    assert "1 right (crown 0.80), 1 wrong (crown 0.30)" in figure.alt


def test_small_pictures_say_little():
    def plates(kind, score):
        mark = detections._Mark((0, 0, 9, 9), "key", score, kind)
        return mark.plate(small=True)

    assert plates("right", 0.914) == "✓ .91"
    assert plates("wrong", 0.5) == "✗ key"
    assert plates("missed", None) == "missed"
    assert plates("plain", 0.9) == "key"


@pytest.mark.parametrize("name", ["boxes", "labels", "scores", "truth"])
def test_a_grid_that_does_not_fit_together_is_refused(three, name):
    rows = {"boxes": three.boxes, "labels": three.labels, name: []}
    with pytest.raises(CourseError, match=f"0 sets of {name} for 1 pictures"):
        plots.boxes(three.images, class_names=NAMES, **rows)


def test_pictures_must_be_as_they_were_before_preprocessing(found):
    with pytest.raises(CourseError, match="uint8"):
        plots.scene(torch.rand(3, 64, 64), found)


# Precision over recall


def test_precision_over_recall_says_its_numbers():
    recalls = torch.linspace(0, 0.8, 81)
    figure = plots.precision_recall(
        {"pretrained": (recalls, 1 - recalls / 2), "random": ([0.0, 0.1], [0.5, 0.25])},
        points={"pretrained": (0.4, 0.8)},
        title="After 100 steps",
    )
    assert figure.size[0] == 700
    assert figure.alt == (
        "After 100 steps. pretrained: precision 0.75 at recall 0.5; the curve ends at "
        "recall 0.8 with precision 0.6. random: precision 0.25 at recall 0.1; the "
        "curve ends at recall 0.1 with precision 0.25. Marked for pretrained: "
        "recall 0.4, precision 0.8."
    )


def test_a_point_needs_no_curve():
    figure = plots.precision_recall({}, points={"ours": (0.5, 0.9)})
    assert figure.alt == (
        "Precision over recall. Marked for ours: recall 0.5, precision 0.9."
    )


@pytest.mark.parametrize("curve", [([], []), ([0.1, 0.2], [0.5]), (0.5, 0.5)])
def test_a_curve_without_points_or_with_too_few_is_refused(curve):
    with pytest.raises(CourseError, match="as many of both"):
        plots.precision_recall({"broken": curve})
