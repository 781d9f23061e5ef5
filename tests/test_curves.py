"""Curves: where two cross, where a level is reached, whether two tables agree."""

import math

import numpy as np
import pytest

from course.curves import Crossing, crossing, disagreement, reaches
from course.errors import CourseError

X = (1, 10, 100)


@pytest.mark.parametrize(
    ("y", "level", "place"),
    [
        ((0.2, 0.4, 0.8), 0.3, math.sqrt(10)),
        ((0.2, 0.4, 0.8), 0.6, 10 * math.sqrt(10)),
        ((0.2, 0.4, 0.8), 0.1, 1),
        ((0.2, 0.4, 0.8), 0.8, 100),
        ((0.2, 0.4, 0.8), 0.9, None),
        ((0.2, 0.8, 0.4), 0.8, 10),
    ],
)
def test_a_level_is_reached_on_a_straight_line_in_log_x(y, level, place):
    assert reaches(X, y, level) == (None if place is None else pytest.approx(place))


def shifted(curve, by):
    return [[value + shift for value in curve] for shift in by]


def test_a_crossing_lies_where_the_means_are_equal():
    found = crossing(X, [[0.8, 0.8, 0.8]] * 3, [[0.6, 0.7, 0.9]] * 3)
    assert found.at == pytest.approx(10 ** (1 + 0.5))
    assert found.low == found.high == pytest.approx(found.at)
    assert found.share == 1 and found.ahead == "second"


def test_its_interval_comes_from_the_seeds_and_holds_the_place():
    noise = (-0.06, -0.02, 0.0, 0.03, 0.05)
    second = shifted((0.5, 0.75, 0.95), noise)
    found = crossing(X, [[0.8] * 3] * 5, second)
    assert found.low < found.at < found.high
    wide = crossing(X, [[0.8] * 3] * 5, shifted((0.5, 0.75, 0.95), np.array(noise) * 2))
    assert wide.high - wide.low > found.high - found.low


def test_what_both_share_does_not_widen_it():
    luck = (-0.3, 0.0, 0.2)
    found = crossing(X, shifted((0.8,) * 3, luck), shifted((0.6, 0.7, 0.9), luck))
    assert found.high - found.low == pytest.approx(0, abs=1e-9)


def test_curves_that_stay_apart_do_not_cross_and_the_sentence_says_so():
    found = crossing(X, [[0.8, 0.9, 0.95]] * 3, [[0.1, 0.2, 0.5]] * 3)
    assert found.at is None and found.share == 0 and found.ahead == "first"
    said = found.sentence("full", "scratch", "labels", (1, 100))
    assert (
        said
        == "full and scratch do not cross between 1 and 100 labels: full stays ahead."
    )


def test_touching_is_no_crossing():
    assert crossing(X, [[0.5, 0.6, 0.9]], [[0.4, 0.6, 0.8]]).at is None


def test_a_crossing_that_few_resamples_find_is_called_uncertain():
    said = Crossing(12.0, None, None, 0.4, "second").sentence("a", "b", "labels", X)
    assert "b overtakes a at 12.0 labels, which is not certain: in 40%" in said


def test_rows_that_do_not_fit_are_refused():
    for x, rows in ((X, [[1.0, 2.0]]), ((10, 1, 100), [[1.0, 2.0, 3.0]])):
        with pytest.raises(CourseError, match="a row of 3 values"):
            crossing(x, rows, rows)


SHIPPED = {"a": [0.90, 0.92, 0.91, 0.93, 0.89], "b": [0.5, 0.55, 0.45, 0.52, 0.48]}


def test_draws_from_one_distribution_agree():
    assert disagreement({"a": [0.91, 0.90, 0.93]}, SHIPPED, 0.003) > 0.3


def test_one_broken_point_among_many_is_found():
    live = {"a": [0.91, 0.90, 0.93], "b": [0.11, 0.09, 0.10]}
    assert disagreement(live, SHIPPED, 0.003) < 1e-3


def test_equal_values_are_not_taken_for_certainty():
    live = {"c": [1.0, 1.0, 1.0]}
    shipped = {"c": [1.0, 1.0, 0.9967, 1.0, 1.0]}
    assert disagreement(live, shipped, 1 / 300) > 0.3
    assert disagreement(live, {"c": [1.0] * 5}, 1 / 300) == 1


def test_agreement_is_not_often_missed_by_chance():
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        shipped = {k: generator.normal(0.9, 0.02, 5).tolist() for k in range(20)}
        live = {k: generator.normal(0.9, 0.02, 3).tolist() for k in range(20)}
        alarms += disagreement(live, shipped, 0.003) < 0.01
    assert alarms <= 6


def test_a_point_that_the_table_lacks_is_named():
    with pytest.raises(CourseError, match="'z' has 2 live and 0 shipped"):
        disagreement({"z": [0.1, 0.2]}, SHIPPED, 0.003)
