"""Heat maps over pictures: the colours mean heat, and the words say where it is."""

import io

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from course import explain, faithfulness, plots
from course.errors import CourseError
from course.plots.heat import MAP

GREY = np.full((3, 64, 64), 128, np.uint8)
RED = np.stack([np.full((64, 64), v, np.uint8) for v in (214, 62, 58)])


def peak(row, column, size=8):
    heat = np.zeros((size, size), np.float32)
    heat[row, column] = 1
    return heat


def square(size=64, low=16, high=48):
    mask = np.zeros((size, size), bool)
    mask[low:high, low:high] = True
    return mask


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(figure.png)).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0, 0, "hottest at the upper left"),
        (0, 4, "hottest at the upper centre"),
        (4, 7, "hottest at the middle right"),
        (4, 4, "hottest at the centre"),
        (7, 0, "hottest at the lower left"),
    ],
)
def test_the_words_say_where_the_peak_is_and_the_picture_is_brightest_there(
    row, column, words
):
    figure = plots.overlay(GREY, peak(row, column))
    assert words in figure.alt
    bright = pixels(figure).sum(axis=2)
    y, x = np.argwhere(bright == bright.max()).mean(axis=0) / bright.shape
    assert abs(y - (row + 0.5) / 8) < 0.1 and abs(x - (column + 0.5) / 8) < 0.1


def test_the_words_hold_the_share_that_the_chapter_computes():
    heat = np.random.default_rng(0).random((2, 4, 4), np.float32)
    masks = np.stack([square(), square(low=0, high=20)])
    figure = plots.heatmaps([GREY, RED], heat, ["one", "two"], masks=masks)
    shares = faithfulness.energy_inside(torch.tensor(heat), torch.tensor(masks))
    for name, share in zip(("one", "two"), shares.tolist(), strict=True):
        stated = figure.alt.partition(f"{name}, ")[2].partition(" of the heat")[0]
        assert float(stated.rpartition(" ")[2]) == pytest.approx(share, abs=1e-3)


def test_a_coarse_map_lies_over_the_picture_as_the_course_enlarges_it():
    heat = np.random.default_rng(1).random((4, 4), np.float32)
    shown = pixels(plots.overlay(GREY, heat, strength=1.0))
    large = explain.enlarged(torch.tensor(heat)[None], 256)[0] / float(heat.max())
    expected = matplotlib.colormaps[MAP](large.numpy())[..., :3] * 255
    assert np.abs(shown - expected).mean() < 4  # a palette of 256 colours


def test_strength_goes_from_the_picture_alone_to_the_map_alone():
    none, half, all_ = (
        pixels(plots.overlay(RED, peak(1, 1), strength)) for strength in (0, 0.5, 1)
    )
    assert (none == np.moveaxis(RED, 0, 2)[0, 0]).all()
    assert np.ptp(half[200, 200]) < 12  # where it is cold, the picture has gone grey
    assert all_[200, 200].max() < 12
    assert np.array_equal(all_, pixels(plots.overlay(GREY, peak(1, 1), 1)))


def test_an_outline_is_white_and_black_and_leaves_the_object_itself_alone():
    plain, outlined = (
        pixels(plots.overlay(GREY, peak(1, 1), mask=mask)) for mask in (None, square())
    )
    new = np.abs(outlined - plain).max(axis=2) > 60
    inside = np.zeros_like(new)
    inside[66:190, 66:190] = True
    assert new.any() and not new[inside].any()
    rows = outlined[128, 40:66].sum(axis=1)  # across the left edge
    assert rows.max() > 740 and rows.min() < 60
    border = np.argwhere(new)
    assert border.min() >= 58 and border.max() <= 198


def test_a_map_without_heat_says_so_and_darkens_evenly():
    figure = plots.overlay(GREY, np.zeros((4, 4)), mask=square())
    assert "no heat" in figure.alt and "of the heat" not in figure.alt
    negative = plots.overlay(GREY, -np.ones((4, 4)), mask=square())
    assert negative.png == figure.png


def test_only_the_shape_of_a_map_counts_and_not_its_scale():
    heat = np.random.default_rng(0).random((4, 4), np.float32)
    assert plots.overlay(GREY, heat).png == plots.overlay(GREY, heat * 1000).png


def test_tensors_and_other_shapes_are_taken_too():
    image = torch.zeros(3, 30, 60, dtype=torch.uint8)
    figure = plots.overlay(image, torch.rand(4, 4), mask=image[0] == 0)
    assert figure.size == (512, 256)
    large = torch.zeros(3, 480, 320, dtype=torch.uint8)
    assert plots.overlay(large, torch.rand(7, 7)).size == (171, 256)


def test_titles_and_a_caption_are_in_the_words():
    figure = plots.heatmaps(
        [GREY, RED], [peak(0, 0), peak(7, 7)], ["a ring", "a star"], caption="By layer."
    )
    assert figure.alt == (
        "By layer: 2 pictures under heat maps: a ring, hottest at the upper left; "
        "a star, hottest at the lower right."
    )


def test_one_picture_alone_is_not_plural():
    figure = plots.heatmaps([GREY], [peak(0, 0)])
    assert figure.alt == "1 picture under heat maps: hottest at the upper left."


def test_many_pictures_are_described_in_a_bearable_length():
    count = 40
    figure = plots.heatmaps([GREY] * count, [peak(0, 0)] * count, columns=10)
    assert "28 more" in figure.alt and len(figure.alt) < 600


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maps": [peak(0, 0)]}, "1 maps for 2 pictures"),
        ({"masks": [square()]}, "1 masks for 2 pictures"),
        ({"titles": ["one"]}, "1 titles for 2 pictures"),
        ({"maps": np.zeros((2, 1, 4, 4))}, r"came as \(1, 4, 4\)"),
        ({"maps": np.full((2, 4, 4), np.nan)}, "not finite"),
        ({"images": [GREY / 255.0] * 2}, "uint8 values from 0 to 255"),
        ({"images": []}, "empty"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(options, message):
    given = {"images": [GREY, RED], "maps": [peak(0, 0)] * 2, **options}
    with pytest.raises(CourseError, match=message):
        plots.heatmaps(**given)


def test_a_mask_of_another_shape_than_its_picture_is_refused():
    with pytest.raises(CourseError, match="mask"):
        plots.overlay(GREY, peak(0, 0), mask=np.ones((32, 64), bool))


def test_a_cell_lies_where_its_middle_is():
    """Row 1 of 4 ends above the half of the picture and belongs to its middle third."""
    heat = torch.zeros(4, 4)
    heat[1, 3] = 1.0
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    assert "middle right" in plots.overlay(image, heat).alt
