"""Figures of the error analysis: shades, marks and words come from the same numbers."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from course import calibration, diagnosis, plots
from course.diagnosis import Wrong
from course.errors import CourseError

NAMES = ["ant", "bee", "wasp"]
MATRIX = torch.tensor([[8, 2, 0], [0, 9, 1], [4, 0, 6]])
ROWS = [Wrong(4, 0, 1, 0.97, 0.02), Wrong(1, 2, 0, 0.61, 0.3)]
IMAGES = torch.stack([torch.full((3, 32, 48), v, dtype=torch.uint8) for v in (90, 200)])
MAPS = torch.zeros(2, 4, 4)
MAPS[0, 0, 0] = MAPS[1, 3, 3] = 1


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figure.png)).convert("RGB")).astype(int)


def reliabilities():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(200, 3, generator=generator)
    labels = torch.multinomial((logits / 3).softmax(1), 1, generator=generator)[:, 0]
    return [
        calibration.reliability(calibration.calibrated(logits, t), labels)
        for t in (1.0, 3.0)
    ]


def bluish(image):
    return (image[..., 2] - image[..., 0] > 40).sum()


def orange(image):
    return (image[..., 0] - image[..., 2] > 25).sum()


def test_the_words_of_a_confusion_matrix_are_those_of_the_diagnosis():
    figure = plots.confusion(MATRIX, NAMES, "Insects.")
    assert figure.alt == (
        "Insects. Confusion matrix of 3 classes. " + diagnosis.in_words(MATRIX, NAMES)
    )
    assert "wasp for ant (4)" in figure.alt


def test_what_is_right_is_blue_and_what_is_wrong_is_orange():
    right = pixels(plots.confusion(torch.diag(MATRIX.diagonal()), NAMES))
    mixed = pixels(plots.confusion(MATRIX, NAMES))
    assert bluish(right) > 1000 and orange(right) < 50
    assert orange(mixed) > 1000
    worse = MATRIX.clone()
    worse[2] = torch.tensor([9, 1, 0])
    assert bluish(pixels(plots.confusion(worse, NAMES))) < bluish(mixed)


def test_a_shade_is_a_share_so_a_class_of_any_size_looks_the_same():
    small = torch.tensor([[80, 20], [20, 80]])
    large = small * torch.tensor([[1], [5]])
    one, two = (pixels(plots.confusion(m, NAMES[:2])) for m in (small, large))
    assert abs(bluish(one) - bluish(two)) < 0.02 * bluish(one)


@pytest.mark.parametrize("classes", [1, 2, 26, 60])
def test_any_number_of_classes_has_a_figure_of_bearable_size(classes):
    matrix = torch.ones(classes, classes, dtype=torch.int64)
    names = [f"a rather long name of class {n}" for n in range(classes)]
    figure = plots.confusion(matrix, names)
    wide, high = figure.size
    assert wide <= 720 and high <= 760 and len(figure.png) < 60_000
    assert len(figure.alt) < 500


def test_a_class_without_images_and_an_empty_matrix_are_drawn():
    for matrix in (torch.zeros(3, 3).long(), torch.diag(torch.tensor([3, 0, 0]))):
        assert plots.confusion(matrix, NAMES).size[0] > 100


def test_a_reliability_diagram_states_both_errors():
    before, after = reliabilities()
    figure = plots.reliability(before, after, title="Insects")
    for name, found in (("before", before), ("after", after)):
        error = plots.figure.number(found.error)
        assert f"{name}: calibration error {error} over 200 images" in figure.alt
        fullest = f"the fullest bin holds {int(found.counts.max())}"
        assert fullest in figure.alt
    assert before.error > after.error
    alone = plots.reliability(before, names=("now", "-"))
    assert "now: calibration" in alone.alt and "after" not in alone.alt


def test_a_single_full_bin_can_be_drawn():
    sure = torch.eye(2).repeat(4, 1)
    found = calibration.reliability(sure, torch.arange(2).repeat(4))
    assert "accuracy of 1" in plots.reliability(found).alt


def test_the_most_wrong_are_named_with_both_probabilities_and_where_was_looked():
    figure = plots.most_wrong(IMAGES, ROWS, MAPS, NAMES, "The worst.")
    assert figure.alt == (
        "The worst: 2 pictures taken for something else, each beside its heat map: "
        "given bee (0.97), true ant (0.02), hottest at the upper left; "
        "given ant (0.61), true wasp (0.30), hottest at the lower right."
    )
    assert len(figure.png) < 100_000


def test_without_maps_the_pictures_are_shown_alone_and_without_names_by_number():
    figure = plots.most_wrong(IMAGES, ROWS)
    assert "heat" not in figure.alt and "given class 1 (0.97)" in figure.alt
    assert orange(pixels(figure)) == 0


def test_a_picture_keeps_its_shape_beside_its_map():
    red = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
    red[:, 0] = 200
    image = pixels(plots.most_wrong(red, ROWS[1:]))
    seen = image[..., 0] - image[..., 1] > 150
    rows, columns = seen.any(axis=1).sum(), seen.any(axis=0).sum()
    assert columns / rows == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: plots.confusion(MATRIX, NAMES[:2]), r"counts \(2, 2\)"),
        (lambda: plots.confusion(MATRIX / 2, NAMES), "counts"),
        (lambda: plots.most_wrong(IMAGES, ROWS[:1]), "2 pictures, 1 rows"),
        (lambda: plots.most_wrong(IMAGES, ROWS, MAPS[:1]), "1 maps"),
        (lambda: plots.most_wrong(IMAGES[:0], []), "no picture"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(call, reason):
    with pytest.raises(CourseError, match=reason):
        call()
