"""Calibration: one number makes probabilities honest, and the errors are as defined."""

import math

import numpy as np
import pytest
import torch

from course import calibration, data
from course.errors import CourseError, HeldOutError


def drawn(n=2000, classes=4, hot=2.5, seed=0):
    """Logits that are `hot` times too large: labels follow softmax(logits / hot)."""
    generator = np.random.default_rng(seed)
    honest = generator.normal(0, 1.5, (n, classes))
    shares = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    labels = [generator.choice(classes, p=row) for row in shares]
    return torch.tensor(honest * hot).float(), torch.tensor(labels)


def slow_nll(logits, labels, t):
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        scaled = [value / t for value in row]
        top = max(scaled)
        total += top + math.log(sum(math.exp(v - top) for v in scaled)) - scaled[label]
    return total / len(labels)


def slow_ece(probabilities, labels, bins):
    """Bins one by one, each with its upper edge, as Guo et al. define it."""
    rows, labels = probabilities.double().numpy(), labels.numpy()
    sure, given = rows.max(1), rows.argmax(1)
    error, table = 0.0, []
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        inside = [i for i in range(len(sure)) if low < sure[i] <= high]
        table.append(len(inside))
        if inside:
            accuracy = np.mean([given[i] == labels[i] for i in inside])
            error += len(inside) / len(sure) * abs(accuracy - sure[inside].mean())
    return error, table


def part(kind, labels, classes=4):
    images = torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)
    return kind(images, labels, tuple("abcd"[:classes]))


@pytest.mark.parametrize("hot", [0.4, 1.0, 2.5, 12.0])
def test_the_temperature_with_which_logits_were_heated_is_found(hot):
    logits, labels = drawn(hot=hot)
    assert calibration.temperature(logits, labels) == pytest.approx(hot, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_on_a_fine_grid_has_a_lower_loss(seed):
    logits, labels = drawn(n=40, seed=seed)
    t = calibration.temperature(logits, labels)
    best = slow_nll(logits, labels, t)
    grid = np.geomspace(calibration.COLDEST, calibration.HOTTEST, 200)
    assert best <= min(slow_nll(logits, labels, one) for one in grid) + 1e-9
    probabilities = calibration.calibrated(logits, t)
    assert calibration.nll(probabilities, labels) == pytest.approx(best, abs=1e-6)


def test_a_temperature_changes_no_answer_and_makes_rows_that_add_up_to_one():
    logits, _ = drawn()
    for t in (0.05, 1.0, 7.0):
        probabilities = calibration.calibrated(logits, t)
        assert probabilities.dtype == torch.float32
        assert torch.equal(probabilities.argmax(1), logits.argmax(1))
        assert torch.allclose(probabilities.sum(1), torch.ones(len(logits)))
    assert torch.allclose(calibration.calibrated(logits, 1.0), logits.softmax(1))


def test_it_lowers_loss_and_error_on_images_that_it_was_not_chosen_on():
    t = calibration.temperature(*drawn(seed=1))
    logits, labels = drawn(seed=2)
    before, after = (calibration.calibrated(logits, one) for one in (1.0, t))
    for measure in (
        calibration.nll,
        calibration.brier,
        calibration.expected_calibration_error,
    ):
        assert measure(after, labels) < measure(before, labels)
    assert calibration.reliability(before, labels).too_sure > 0.1
    assert abs(calibration.reliability(after, labels).too_sure) < 0.03


def test_a_test_part_is_refused_and_a_validation_part_is_as_good_as_its_labels():
    logits, labels = drawn(n=60)
    with pytest.raises(HeldOutError, match="the choice of a temperature"):
        calibration.temperature(logits, part(data.TestPart, labels))
    validation = part(data.ValidationPart, labels)
    expected = calibration.temperature(logits, labels)
    assert calibration.temperature(logits, validation) == expected


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 50])
@pytest.mark.parametrize("n", [3, 200])
def test_the_calibration_error_is_that_of_a_loop(bins, n):
    logits, labels = drawn(n=n, seed=bins)
    probabilities = calibration.calibrated(logits, 1.0)
    expected, counts = slow_ece(probabilities, labels, bins)
    found = calibration.reliability(probabilities, labels, bins)
    assert found.counts.tolist() == counts
    assert found.error == pytest.approx(expected, abs=1e-9)
    error = calibration.expected_calibration_error(probabilities, labels, bins)
    assert error == found.error
    assert len(found.edges) == bins + 1
    empty = found.counts == 0
    assert bool(found.accuracy[empty].isnan().all())


def test_a_probability_on_an_edge_belongs_to_the_bin_below_it():
    p = torch.tensor([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    found = calibration.reliability(p, torch.tensor([0, 0, 0]), bins=4)
    assert found.counts.tolist() == [0, 1, 1, 1]


def test_loss_and_brier_score_are_those_of_a_loop():
    logits, labels = drawn(n=50)
    p = calibration.calibrated(logits, 1.0)
    truth = np.eye(4)[labels.numpy()]
    squares = [((row - one) ** 2).sum() for row, one in zip(p.numpy(), truth)]  # noqa: B905
    assert calibration.brier(p, labels) == pytest.approx(np.mean(squares), rel=1e-6)
    slow = slow_nll(logits, labels, 1.0)
    assert calibration.nll(p, labels) == pytest.approx(slow, rel=1e-5)


def test_known_answers_of_the_measures():
    sure = torch.eye(3)
    assert calibration.nll(sure, torch.arange(3)) == 0
    assert calibration.brier(sure, torch.arange(3)) == 0
    wrong = torch.tensor([1, 2, 0])
    assert calibration.brier(sure, wrong) == 2
    assert calibration.expected_calibration_error(sure, wrong) == 1
    assert math.isfinite(calibration.nll(sure, wrong))
    assert calibration.nll(torch.full((2, 4), 0.25), torch.tensor([0, 3])) == (
        pytest.approx(math.log(4))
    )


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (torch.eye(3) * 9, torch.arange(3)),  # all right
        (torch.zeros(5, 3), torch.tensor([0, 1, 2, 0, 1])),  # it says nothing at all
        (torch.randn(5, 1), torch.zeros(5, dtype=torch.int64)),  # one class
        (torch.tensor([[2.0, 1.0]]), torch.tensor([0])),  # one image
    ],
)
def test_where_nothing_tells_how_much_doubt_is_right_all_stays_as_it_is(logits, labels):
    assert calibration.temperature(logits, labels) == 1.0
    assert "stay as they are" in calibration.said(1.0)


def test_a_network_that_knows_less_than_chance_gets_the_hottest_temperature():
    logits, labels = torch.eye(3) * 9, torch.tensor([1, 2, 0])
    t = calibration.temperature(logits, labels)
    assert t == pytest.approx(calibration.HOTTEST, rel=1e-3)
    assert "no more than chance" in calibration.said(t)


def test_one_wrong_answer_among_a_few_images_is_enough():
    logits = torch.tensor([[5.0, 0.0]] * 3)
    t = calibration.temperature(logits, torch.tensor([0, 0, 1]))
    assert calibration.calibrated(logits, t)[0, 0].item() == pytest.approx(2 / 3, 1e-4)


def test_a_temperature_is_put_into_words():
    assert "T = 2.50" in calibration.said(2.5) and "too sure" in calibration.said(2.5)
    assert "too modest" in calibration.said(0.4)


def test_half_precision_lists_and_arrays_are_taken():
    logits, labels = drawn(n=50)
    expected = calibration.temperature(logits, labels)
    half = calibration.temperature(logits.bfloat16(), labels)
    assert half == pytest.approx(expected, rel=0.05)
    assert calibration.temperature(logits.numpy(), labels.numpy()) == expected
    assert calibration.temperature(logits.requires_grad_(), labels.tolist()) == expected


NAN = torch.tensor([[0.0, 1.0], [math.nan, 0.0]])
TWO = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: calibration.temperature(NAN, TWO), "1 of 2 images have logits"),
        (lambda: calibration.temperature(torch.zeros(0, 2), TWO[:0]), "at least one"),
        (lambda: calibration.temperature(torch.zeros(2, 0), TWO), "at least one"),
        (lambda: calibration.temperature(torch.zeros(3, 2), TWO), "one whole number"),
        (lambda: calibration.temperature(torch.zeros(2, 2), TWO / 2), "whole number"),
        (lambda: calibration.temperature(torch.zeros(2, 2), TWO + 1), "from 1 to 2"),
        (lambda: calibration.temperature(torch.zeros(2, 2), TWO - 1), "from -1 to 0"),
        (lambda: calibration.calibrated(torch.zeros(2, 2), 0.0), "above 0"),
        (lambda: calibration.calibrated(torch.zeros(2, 2), math.nan), "above 0"),
        (lambda: calibration.calibrated(NAN, 1.0), "not finite"),
        (lambda: calibration.nll(torch.ones(2, 2), TWO), "of logits, take"),
        (lambda: calibration.brier(torch.tensor([[2.0, -1]] * 2), TWO), "from 0 to 1"),
        (lambda: calibration.reliability(torch.eye(2), TWO, 0), "0 bins"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(call, reason):
    with pytest.raises(CourseError, match=reason):
        call()
