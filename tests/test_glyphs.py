"""The glyphs corpus: its letters, its seeds, and its likeness to scanned digits."""

import numpy as np
import pytest
import torch

from course.data import digits, glyphs
from course.errors import CourseError


def spectrum(images):
    """Return the share of an image's energy that lies above a quarter of Nyquist."""
    grey = images[:, 0].float()
    energy = torch.fft.rfft2(grey - grey.mean((1, 2), keepdim=True)).abs().square()
    down = torch.fft.fftfreq(grey.shape[1]).abs()[:, None]
    across = torch.fft.rfftfreq(grey.shape[2])[None]
    fine = torch.maximum(down, across.expand(len(down), -1)) > 0.125
    return (energy * fine).sum((1, 2)) / energy.sum((1, 2))


def test_letters_are_the_37_of_emnist_without_digits():
    assert len(glyphs.LETTERS) == len(set(glyphs.LETTERS)) == 37
    assert set(glyphs.LETTERS) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")


def test_draw_returns_grey_uint8_images_labels_and_fonts():
    drawn = glyphs.draw(50, seed=3, size=32)
    assert drawn.images.shape == (50, 3, 32, 32)
    assert drawn.images.dtype == torch.uint8
    assert torch.equal(drawn.images[:, 0], drawn.images[:, 2])
    assert drawn.labels.dtype == drawn.fonts.dtype == torch.int64
    assert 0 <= int(drawn.fonts.min()) <= int(drawn.fonts.max()) < len(glyphs.FONTS)


def test_letters_come_equally_often_and_in_mixed_order():
    labels = glyphs.draw(74, seed=0, size=8).labels
    assert torch.bincount(labels, minlength=37).tolist() == [2] * 37
    assert not torch.equal(labels, labels.sort().values)


def test_same_seed_gives_same_bytes_and_another_seed_others():
    first, again = glyphs.draw(300, seed=[4, 2]), glyphs.draw(300, seed=[4, 2])
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert torch.equal(first.fonts, again.fonts)
    other = glyphs.draw(300, seed=[4, 3])
    assert not torch.equal(first.images, other.images)


def test_bytes_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = glyphs.draw(64, seed=1).images
        torch.set_num_threads(2)
        together = glyphs.draw(64, seed=1).images
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, together)


def test_there_are_twenty_fonts_and_all_of_them_differ():
    assert len(set(glyphs.FONTS)) >= 20
    letters = glyphs.atlas()[glyphs.LETTERS.index("R")] > 0
    for first in range(len(glyphs.FONTS)):
        for second in range(first):
            assert not torch.equal(letters[first], letters[second])


def test_every_letter_is_centred_and_fills_its_cell():
    inside = (glyphs.atlas() > 0).numpy()
    for axis in (2, 3):
        seen = inside.any(axis=5 - axis)
        low = seen.argmax(-1)
        high = 95 - seen[..., ::-1].argmax(-1)
        assert np.abs(low + high - 95).max() <= 3, "a letter is off centre"
    longer = np.maximum(inside.any(2).sum(-1), inside.any(3).sum(-1))
    assert 0.6 * 96 <= longer.min() <= longer.max() <= 0.75 * 96


def test_letters_of_one_font_are_told_apart():
    cells = (glyphs.atlas()[:, 0] > 0).flatten(1).float()
    apart = torch.cdist(cells, cells, p=1) + 1e6 * torch.eye(len(cells))
    assert float(apart.min()) > 100, "two letters of DejaVu Sans look the same"


def test_every_image_shows_a_letter_on_black():
    grey = glyphs.draw(500, seed=5).images[:, 0].float() / 255
    ink = grey.mean((1, 2))
    assert float(ink.min()) > 0.02
    assert float(ink.max()) < 0.75
    # Not the mean of all: coarse scans of bold letters reach into the corners.
    corner = grey[:, :3, :3].mean((1, 2))
    assert float(corner.median()) < 0.05


def test_about_half_of_the_letters_are_as_coarse_as_a_scan_of_a_digit():
    scans = spectrum(digits.load().validation.images)
    coarse = spectrum(glyphs.draw(600, seed=6).images) <= scans.max()
    assert 0.3 <= float(coarse.float().mean()) <= 0.7


def test_the_ink_of_digits_lies_within_that_of_glyphs():
    scans = digits.load().validation.images.float().mean((1, 2, 3))
    ink = glyphs.draw(600, seed=7).images.float().mean((1, 2, 3))
    assert float(ink.quantile(0.02)) < float(scans.quantile(0.05))
    assert float(ink.quantile(0.98)) > float(scans.quantile(0.95))


@pytest.mark.parametrize(("n", "size"), [(0, 64), (5, 0), (-1, 64)])
def test_impossible_numbers_are_refused(n, size):
    with pytest.raises(CourseError, match="at least"):
        glyphs.draw(n, seed=0, size=size)
