"""Paired differences, the plane of what is kept, and tables, as pictures."""

import numpy as np
import pytest

from course import evidence, plots
from course.errors import CourseError


def test_the_interval_is_the_one_of_the_claims():
    values = [0.1, 0.25, 0.3]
    _, low, high, _ = evidence.interval(values)
    alt = plots.differences({"full": {"fill": values}}).alt
    assert f"fill 0.217 ({low:.3g} to {high:.3g})" in alt


def test_rows_stand_in_their_order_also_where_a_series_lacks_one():
    series = {"full": {"near": [1, 2], "far": [0, 1]}, "probe": {"far": [2, 2]}}
    alt = plots.differences(series, title="Gain").alt
    assert alt.startswith("Gain. Difference, this run: full: near 1.5")
    assert alt.endswith("probe: far 2 (2 to 2).")


def test_earlier_runs_are_drawn_beside_and_named():
    now = {"full": {"fill": [0.1, 0.2]}}
    alone = plots.differences(now)
    both = plots.differences(now, now)
    assert alone.png != both.png
    assert "Shipped table: full: fill" in both.alt and "Shipped" not in alone.alt


def test_a_row_that_only_earlier_runs_have_is_drawn_too():
    before = {"full": {"near": [1, 1], "middle": [0, 0], "far": [1, 0]}}
    few = plots.differences({"full": {"near": [1]}}, {"full": {"near": [1, 1]}})
    more = plots.differences({"full": {"near": [1]}}, before)
    assert more.size[1] > few.size[1]
    assert "middle 0 (0 to 0)" in more.alt


@pytest.mark.parametrize("series", [{}, {"full": {}}, {"full": {"fill": []}}])
def test_nothing_to_draw_is_said(series):
    with pytest.raises(CourseError, match="expected one"):
        plots.differences(series)


def test_one_seed_has_no_width_and_a_missing_number_stops_nothing():
    assert "fill 0.1 (0.1 to 0.1)" in plots.differences({"a": {"fill": [0.1]}}).alt
    plots.differences({"a": {"fill": [float("nan"), 0.1]}})


def test_both_measures_of_each_point_are_in_the_words():
    points = {"full": (0.1, 0.3, 0.5)}
    alt = plots.kept(points, "gain", "accuracy", references={"before": 0.9}).alt
    assert "Accuracy against gain: full at 0.1: 0.3 with the old head, 0.5" in alt
    with pytest.raises(CourseError, match="one or more points"):
        plots.kept({}, "gain", "accuracy")


def test_a_table_of_another_shape_is_refused():
    with pytest.raises(CourseError, match=r"shape \(2, 1\); expected 1 rows and 2"):
        plots.matrix({"a": np.zeros((2, 1))}, ["fill"], ["stem", "end"])
