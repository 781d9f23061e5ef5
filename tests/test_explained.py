"""A picture beside its likeliest classes and the map of one: all of one model."""

import numpy as np
import pytest
import torch

from course import data, explain, explained, models, plots
from course.errors import CourseError


@pytest.fixture(scope="module")
def model():
    return models.load("resnet10-shapes")


@pytest.fixture(scope="module")
def gear():
    return data.shapes.draw(1, seed=0, shape="gear").images[0]


def test_the_likeliest_are_those_of_predict_with_their_places(model, gear):
    found = explained.likeliest(model, gear, 4)
    assert [one[1:] for one in found] == [tuple(p) for p in model.predict(gear, 4)]
    assert [model.class_names[one.index] for one in found] == [
        one.name for one in found
    ]


def test_classes_of_one_name_are_told_apart(model, gear):
    twins = models.Model(
        model.network, model.preprocess, ("crane",) * len(model.class_names)
    )
    first, second = explained.likeliest(twins, gear, 2)
    assert first.index != second.index and first.name == second.name
    maps = [explained.evidence(twins, gear, one.index).heat for one in (first, second)]
    assert not torch.equal(*maps)


def test_the_evidence_is_grad_cam_of_that_class(model, gear):
    for index in (0, 3):
        found = explained.evidence(model, gear, index)
        assert torch.equal(found.heat, explain.grad_cam(model, gear, index)[0])
        assert found.why == ""


def test_where_there_is_no_map_the_reason_is_given(gear):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 2))
    flat = models.Model(net, models.normalising(), ("a", "b"))
    found = explained.evidence(flat, gear, 0)
    assert found.heat is None and found.why.endswith(".")
    assert explained.likeliest(flat, gear)[0].name in "ab"


ROWS = [("gear", 0.9), ("star $x^{", 0.06), ("ring", 0.04)]


def test_the_figure_says_what_it_shows(gear):
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 1
    figure = plots.explained(gear, ROWS, gear, heat, 1)
    assert figure.alt == (
        "Most likely gear 0.90, star $x^{ 0.06, ring 0.04. Evidence for star $x^{: "
        "hottest at the upper right."
    )
    without = plots.explained(gear, ROWS)
    assert without.alt == "Most likely gear 0.90, star $x^{ 0.06, ring 0.04."
    assert (
        len({figure.png, without.png, plots.explained(gear, ROWS, gear, heat).png}) == 3
    )


def test_a_place_beyond_the_list_is_refused(gear):
    for rows, place in ((ROWS, 3), (ROWS, -1), ([], 0)):
        with pytest.raises(CourseError, match="expected a place"):
            plots.explained(gear, rows, chosen=place)


def test_a_wide_photograph_keeps_its_shape_beside_the_square_that_was_seen(model):
    china = data.photos.load("china")
    found = explained.evidence(model, china, 0)
    seen = explain.as_seen(model, china)[0]
    figure = plots.explained(china, ROWS, seen, found.heat)
    assert figure.size[0] == 700 and china.size == (640, 427)  # not made smaller itself
