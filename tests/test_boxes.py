"""Boxes: what thresholds leave, what is right, and average precision by hand."""

import itertools
import math

import pytest
import torch
from torchvision.ops import box_iou

from course import boxes as rules
from course.boxes import Found
from course.data.scenes import Scenes
from course.errors import CourseError

NAMES = ("crown", "key")
LEFT, RIGHT = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]
BELOW = [0.0, 20.0, 10.0, 30.0]


def found(*rows):
    """Return boxes from rows of box, score, label."""
    boxes, scores, labels = zip(*rows, strict=True) if rows else ([], [], [])
    return Found(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.int64),
        NAMES,
    )


def scenes(*pictures):
    """Return scenes without pictures, from lists of box and label."""
    boxes = [torch.tensor([box for box, _ in p]).reshape(-1, 4) for p in pictures]
    labels = [torch.tensor([n for _, n in p], dtype=torch.int64) for p in pictures]
    masks = tuple(torch.zeros(len(p), 64, 64, dtype=torch.bool) for p in pictures)
    images = torch.zeros(len(pictures), 3, 64, 64, dtype=torch.uint8)
    return Scenes(images, tuple(boxes), tuple(labels), masks, NAMES, "test")


def moved(box, dx):
    return [box[0] + dx, box[1], box[2] + dx, box[3]]


# Thresholds ---------------------------------------------------------------------------


def test_a_second_box_on_the_same_object_goes_and_one_of_another_class_stays():
    near = moved(LEFT, 1)
    many = found((LEFT, 0.9, 0), (near, 0.8, 0), (near, 0.7, 1), (RIGHT, 0.6, 0))
    kept = rules.keep(many, score=0.1, nms=0.5)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert kept.names == ["crown", "key", "crown"]
    assert kept.class_names == NAMES


def test_each_threshold_lets_less_through_where_it_is_stricter():
    many = found(*((moved(LEFT, k), 0.9 - 0.1 * k, 0) for k in range(8)))
    by_score = [len(rules.keep(many, s, 1.0)) for s in (0.0, 0.35, 0.75, 1.0)]
    by_overlap = [len(rules.keep(many, 0.0, n)) for n in (1.0, 0.7, 0.5, 0.0)]
    assert by_score == [8, 6, 2, 0]
    assert by_overlap[0] == 8 and by_overlap == sorted(by_overlap, reverse=True)
    assert by_overlap[-1] == 1


def test_a_score_on_the_threshold_stays():
    assert len(rules.keep(found((LEFT, 0.5, 0)), score=0.5)) == 1


def test_nothing_found_stays_nothing():
    kept = rules.keep(found())
    assert len(kept) == 0 and kept.boxes.shape == (0, 4)


@pytest.mark.parametrize("bad", [{"score": -0.1}, {"nms": 1.5}, {"score": math.nan}])
def test_a_threshold_is_from_0_to_1(bad):
    (name,) = bad
    with pytest.raises(CourseError, match=f"threshold {name}"):
        rules.keep(found((LEFT, 0.5, 0)), **bad)


# Right or wrong -----------------------------------------------------------------------


def test_each_object_is_found_once_and_by_its_own_class():
    true = torch.tensor([LEFT, RIGHT])
    claims = found(
        (moved(LEFT, 1), 0.9, 0),
        (LEFT, 0.8, 0),  # fits better, and comes too late
        (RIGHT, 0.7, 1),  # another class
        (BELOW, 0.6, 0),  # nothing there
        (RIGHT, 0.5, 0),
    )
    right = rules.matched(claims, true, torch.tensor([0, 0]))
    assert right.tolist() == [True, False, False, False, True]


def test_a_box_takes_the_object_that_it_fits_best():
    near = moved(LEFT, 2)
    true = torch.tensor([near, LEFT])
    claims = found((LEFT, 0.9, 0), (near, 0.8, 0))
    assert rules.matched(claims, true, torch.tensor([0, 0])).all()


def slowly_matched(claims, boxes, labels, least):
    """The rule in words: for every box in turn, look at every object."""
    taken, right = set(), []
    for box, label in zip(claims.boxes, claims.labels.tolist(), strict=True):
        fits = [
            (box_iou(box[None], boxes[n][None]).item(), -n)
            for n in range(len(boxes))
            if n not in taken and labels[n] == label
        ]
        best = max(fits, default=(0.0, 0))
        right.append(bool(fits) and best[0] >= least)
        if right[-1]:
            taken.add(-best[1])
    return right


@pytest.mark.parametrize("seed", range(8))
def test_matched_agrees_with_the_rule_in_words(seed):
    generator = torch.Generator().manual_seed(seed)

    def drawn(count):
        corner = torch.rand(count, 2, generator=generator) * 20
        extent = 8 + torch.rand(count, 2, generator=generator) * 8
        labels = torch.randint(0, 2, (count,), generator=generator)
        return torch.cat([corner, corner + extent], dim=1), labels

    (boxes, labels), (claimed, names) = drawn(6), drawn(14)
    scores = torch.linspace(0.9, 0.1, 14)
    claims = Found(claimed, scores, names, NAMES)
    for least in (0.2, 0.5):
        right = rules.matched(claims, boxes, labels, least).tolist()
        assert right == slowly_matched(claims, boxes, labels.tolist(), least)


def test_nothing_is_right_where_nothing_is_and_nothing_was_found():
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert rules.matched(found((LEFT, 0.9, 0)), *none).tolist() == [False]
    assert rules.matched(found(), torch.tensor([LEFT]), torch.tensor([0])).shape == (0,)
    assert rules.matched(found(), *none).shape == (0,)


# Precision and recall -----------------------------------------------------------------

TRUE = scenes([(LEFT, 0), (RIGHT, 1)], [(LEFT, 0)], [])
CLAIMS = [
    found((LEFT, 0.9, 0), (BELOW, 0.6, 0)),
    found((LEFT, 0.7, 0)),
    found((RIGHT, 0.8, 1)),
]


@pytest.mark.parametrize(
    ("score", "precision", "recall"),
    [(0.85, 1, 1 / 3), (0.75, 1 / 2, 1 / 3), (0.65, 2 / 3, 2 / 3), (0, 2 / 4, 2 / 3)],
)
def test_precision_and_recall_by_hand(score, precision, recall):
    values = rules.precision_recall(CLAIMS, TRUE, score)
    assert values == pytest.approx((precision, recall))


def test_who_says_nothing_says_nothing_wrong():
    assert rules.precision_recall(CLAIMS, TRUE, 1.0) == (1.0, 0.0)
    assert rules.precision_recall([found()], scenes([]), 0.5) == (1.0, 1.0)


def test_the_curve_goes_through_the_points():
    recalls, precisions, scores = rules.precision_recall_curve(CLAIMS, TRUE)
    assert scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    for recall, precision, score in zip(recalls, precisions, scores, strict=True):
        point = rules.precision_recall(CLAIMS, TRUE, score.item())
        assert point == pytest.approx((precision.item(), recall.item()))


def test_the_curve_of_nothing_is_empty():
    recalls, precisions, scores = rules.precision_recall_curve([found()], scenes([]))
    assert len(recalls) == len(precisions) == len(scores) == 0


# Average precision --------------------------------------------------------------------


def by_hand(right, there):
    """Average precision from the definition: 101 recalls, best precision from there."""
    points = []
    for count in range(1, len(right) + 1):
        true = sum(right[:count])
        points.append((true / there, true / count))
    levels = [k / 100 for k in range(101)]
    best = [max((p for r, p in points if r >= k - 1e-9), default=0.0) for k in levels]
    return sum(best) / 101


def test_average_precision_by_hand():
    values = rules.mean_average_precision(CLAIMS, TRUE)
    crown = by_hand([True, True, False], there=2)  # 0.9, 0.7, 0.6
    key = by_hand([False], there=1)
    assert values["map50 crown"] == pytest.approx(crown) == pytest.approx(1)
    assert values["map50 key"] == pytest.approx(key) == pytest.approx(0)
    assert values["map50"] == pytest.approx((crown + key) / 2)


def test_wrong_boxes_cost_most_where_they_are_surest():
    true = scenes([(LEFT, 0)], [(LEFT, 0)])
    costs = {}
    for order in itertools.permutations([True, True, False]):
        rows = [
            (LEFT if right else BELOW, 0.9 - 0.1 * n, 0)
            for n, right in enumerate(order)
        ]
        first = [row for n, row in enumerate(rows) if n == order.index(True)]
        second = [row for row in rows if row not in first]
        values = rules.mean_average_precision([found(*first), found(*second)], true)
        assert values["map50"] == pytest.approx(by_hand(order, there=2))
        costs[order] = values["map50"]
    assert (
        costs[True, True, False] > costs[True, False, True] > costs[False, True, True]
    )


def test_map_asks_for_tighter_boxes_than_map50():
    true = scenes([(LEFT, 0)])
    loose = [found((moved(LEFT, 2.5), 0.9, 0))]  # IoU 0.6: right at 0.5, 0.55 and 0.6
    values = rules.mean_average_precision(loose, true)
    assert values["map50"] == pytest.approx(1)
    assert values["map"] == pytest.approx(0.3)


def test_a_class_without_an_object_does_not_count():
    values = rules.mean_average_precision([found((LEFT, 0.9, 0))], scenes([(LEFT, 0)]))
    assert values["map50"] == pytest.approx(1)
    assert set(values) == {"map50", "map", "map50 crown"}


def test_no_detection_at_all_is_zero_and_no_object_at_all_is_unknown(capfd):
    assert rules.mean_average_precision([found()], scenes([(LEFT, 0)]))["map50"] == 0
    values = rules.mean_average_precision([found((LEFT, 0.9, 0))], scenes([]))
    assert set(values) == {"map50", "map"}
    assert all(map(math.isnan, values.values()))
    assert capfd.readouterr() == ("", "")


def test_only_the_surest_of_a_picture_count():
    wrong = [(moved(BELOW, 0.01 * n), 0.9, 0) for n in range(rules.MOST)]
    right = (LEFT, 0.1, 0)
    true = scenes([(LEFT, 0)])
    late = rules.mean_average_precision([found(*wrong, right)], true)
    last = rules.mean_average_precision([found(*wrong[1:], right)], true)
    assert late["map50"] == 0 < last["map50"]


def test_average_precision_is_that_of_torchmetrics():
    detection = pytest.importorskip("torchmetrics.detection")
    metric = detection.MeanAveragePrecision(backend="faster_coco_eval")
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(40, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 15], dim=1)
    labels = torch.randint(0, 2, (40,), generator=generator)
    shaken = boxes + torch.randn(40, 4, generator=generator) * 1.5
    scores = torch.rand(40, generator=generator).sort(descending=True).values
    parts = [slice(0, 25), slice(25, 40)]
    claims = [Found(shaken[p], scores[p], labels[p], NAMES) for p in parts]
    rows = [*zip(boxes.tolist(), labels.tolist(), strict=True)]
    true = scenes(*(rows[p] for p in parts))
    metric.update(
        [{"boxes": c.boxes, "scores": c.scores, "labels": c.labels} for c in claims],
        [{"boxes": boxes[p], "labels": labels[p]} for p in parts],
    )
    expected, values = metric.compute(), rules.mean_average_precision(claims, true)
    assert 0.1 < values["map"] < values["map50"] < 1
    # It keeps the 101 recalls in single precision: a recall on one of them may fall on
    # either side of it.
    assert values["map"] == pytest.approx(expected["map"].item(), abs=4e-3)
    assert values["map50"] == pytest.approx(expected["map_50"].item(), abs=4e-3)


@pytest.mark.parametrize(
    "measure",
    [
        rules.mean_average_precision,
        rules.precision_recall_curve,
        lambda claims, true: rules.precision_recall(claims, true, 0.5),
    ],
)
def test_what_does_not_belong_together_is_refused(measure):
    with pytest.raises(CourseError, match="one for each scene"):
        measure(CLAIMS[:2], TRUE)
    with pytest.raises(CourseError, match="at least one scene"):
        measure([], scenes())
    other = Found(*(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()), ("a",))
    with pytest.raises(CourseError, match="the same names"):
        measure([other], scenes([]))
