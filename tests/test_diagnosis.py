"""Error analysis: what is counted agrees with a loop, and the worst comes first."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from course import diagnosis
from course.errors import CourseError

NAMES = ("ant", "bee", "wasp")


def drawn(n=60, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    return torch.randn(n, classes, generator=generator).softmax(1), labels


def slow_wilson(right, n, z=1.6448536269514722):
    """Wilson's formula as textbooks have it; z for 90 %."""
    share = right / n
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


@pytest.mark.parametrize("classes", [1, 3, 12])
def test_a_confusion_matrix_counts_as_scikit_learn_does(classes):
    probabilities, labels = drawn(classes=classes, n=100)
    predicted = probabilities.argmax(1)
    found = diagnosis.confusion(labels, predicted, classes)
    assert found.dtype == torch.int64
    expected = confusion_matrix(labels, predicted, labels=range(classes))
    assert np.array_equal(found.numpy(), expected)


def test_classes_without_an_image_have_their_row_and_column():
    found = diagnosis.confusion(torch.tensor([0]), torch.tensor([2]), 4)
    assert found.shape == (4, 4) and found.sum() == 1 and found[0, 2] == 1
    none = torch.zeros(0, dtype=torch.int64)
    assert diagnosis.confusion(none, none, 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (1, 1), (37, 60), (590, 600)])
def test_an_interval_is_wilsons(right, n):
    found = diagnosis.share(right, n)
    assert found.value == right / n and found.n == n
    low, high = slow_wilson(right, n)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_of_no_image_nothing_is_known():
    found = diagnosis.share(0, 0)
    assert math.isnan(found.value) and (found.low, found.high) == (0, 1)


def test_each_class_has_its_accuracy_in_the_order_of_the_names():
    matrix = torch.tensor([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
    scores = diagnosis.per_class(matrix, NAMES)
    assert [score.name for score in scores] == list(NAMES)
    assert [score.right for score in scores] == [8, 3, 0]
    assert [score.share.n for score in scores] == [10, 4, 0]
    assert scores[0].share == diagnosis.share(8, 10)
    assert scores[0].row()["accuracy"] == "0.80"
    assert scores[0].row()["90% interval"] == "0.54\xa0to\xa00.93"
    assert scores[2].row()["accuracy"] == "–"


def test_the_commonest_confusion_comes_first_and_the_diagonal_is_none():
    matrix = torch.tensor([[90, 3, 0], [4, 9, 0], [4, 0, 4]])
    pairs = diagnosis.most_confused(matrix, NAMES)
    assert [(p.true, p.predicted, p.count) for p in pairs] == [
        ("wasp", "ant", 4),  # as often as the next, of fewer
        ("bee", "ant", 4),
        ("ant", "bee", 3),
    ]
    assert pairs[0].share == 0.5 and pairs[0].row()["share"] == "50% of wasp"
    assert diagnosis.most_confused(matrix, NAMES, most=1) == pairs[:1]
    assert diagnosis.most_confused(torch.eye(3, dtype=torch.int64), NAMES) == []


@pytest.mark.parametrize("most", [1, 6, 100])
def test_the_most_wrong_are_those_of_a_loop(most):
    probabilities, labels = drawn(n=50)
    expected = []
    for index in range(50):
        row, label = probabilities[index].tolist(), int(labels[index])
        given = max(range(3), key=row.__getitem__)
        if given != label:
            expected.append((row[given], index, label, given, row[label]))
    expected.sort(key=lambda one: -one[0])
    found = diagnosis.most_wrong(probabilities, labels, most)
    assert [
        (one.probability, one.index, one.true, one.predicted, one.of_true)
        for one in found
    ] == [tuple(one) for one in expected[:most]]


def test_where_all_is_right_nothing_is_most_wrong():
    assert diagnosis.most_wrong(torch.eye(3), torch.arange(3)) == []
    assert diagnosis.most_wrong(torch.zeros(0, 3), torch.zeros(0).long()) == []


def test_a_matrix_is_put_into_words():
    matrix = torch.tensor([[8, 2], [0, 10]])
    assert diagnosis.in_words(matrix, ["ant", "bee"]) == (
        "18 of 20 images are right: 0.90 (0.74 to 0.97). Most often taken for another: "
        "ant for bee (2)."
    )
    right = torch.tensor([[8, 0], [0, 10]])
    assert diagnosis.in_words(right, ["ant", "bee"]).endswith("1.00 (0.87 to 1.00).")
    assert "no images" in diagnosis.in_words(right * 0, ["ant", "bee"])


LONG = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: diagnosis.confusion(LONG, LONG[:1], 2), "one of each"),
        (lambda: diagnosis.confusion(LONG + 2, LONG, 2), "labels run from 2 to 2"),
        (lambda: diagnosis.confusion(LONG, LONG - 1, 2), "predictions run from -1"),
        (lambda: diagnosis.confusion(LONG, LONG.float(), 2), "whole numbers"),
        (lambda: diagnosis.share(3, 2), "3 right of 2"),
        (lambda: diagnosis.per_class(torch.eye(2).long(), NAMES), r"\(3, 3\)"),
        (lambda: diagnosis.per_class(torch.eye(3), NAMES), "counts"),
        (lambda: diagnosis.most_wrong(torch.eye(3), LONG), r"\(N, classes\)"),
        (lambda: diagnosis.most_wrong(torch.eye(2) * math.nan, LONG), "not a number"),
        (lambda: diagnosis.most_wrong(torch.eye(2), LONG + 5), "from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(call, reason):
    with pytest.raises(CourseError, match=reason):
        call()
