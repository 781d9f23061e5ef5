"""Real data: the fixed split of the digits, and the two photographs."""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image

from course.data import digits, photos
from course.data.tasks import TestPart, TrainPart, ValidationPart
from course.errors import CourseError


@pytest.fixture(scope="module")
def task():
    return digits.load()


def rows(part):
    return [image.numpy().tobytes() for image in part.images]


def test_parts_have_their_sizes_types_and_classes(task):
    assert [len(p) for p in (task.train, task.validation, task.test)] == [897, 300, 600]
    assert isinstance(task.train, TrainPart)
    assert isinstance(task.validation, ValidationPart)
    assert isinstance(task.test, TestPart)
    assert task.class_names == tuple("0123456789")
    assert task.train.images.shape[1:] == (3, 64, 64)


def test_every_scan_is_in_exactly_one_part_with_its_own_label():
    found = digits.load(size=8)  # at 8 pixels the scans come back as they are
    seen = {}
    for part in (found.train, found.validation, found.test):
        for row, label in zip(rows(part), part.labels.tolist(), strict=True):
            seen.setdefault(row, []).append(label)
    source = load_digits()
    expected = {}
    for scan, label in zip(source.images, source.target.tolist(), strict=True):
        grey = np.round(scan / 16 * 255).astype(np.uint8)
        expected.setdefault(np.stack([grey] * 3).tobytes(), []).append(label)
    assert {k: sorted(v) for k, v in seen.items()} == {
        k: sorted(v) for k, v in expected.items()
    }


def test_parts_are_stratified(task):
    whole = np.bincount(load_digits().target) / 1797
    for part in (task.train, task.validation, task.test):
        share = torch.bincount(part.labels).numpy() / len(part)
        assert np.abs(share - whole).max() < 0.01


def test_the_test_part_never_changes(task):
    labels = hashlib.sha256(task.test.labels.numpy().tobytes()).hexdigest()
    assert labels.startswith("1ff6a1003aefba9a"), "this is another split"
    assert digits.load().test.fingerprint() == task.test.fingerprint()


def test_enlarge_keeps_range_and_flat_paper():
    scan = torch.zeros(1, 8, 8)
    scan[0, 2:6, 3:5] = 1.0
    shown = digits.enlarge(scan, 64)
    assert shown.shape == (1, 64, 64)
    assert float(shown.min()) == 0.0
    assert float(shown.max()) == 1.0
    assert float(digits.enlarge(torch.full((1, 8, 8), 0.5), 64).std()) < 1e-6


def test_as_rgb_rounds_to_the_nearest_level():
    levels = digits.as_rgb(torch.tensor([[[0.0, 0.5, 1.0]]]))
    assert levels.dtype == torch.uint8
    assert levels[0, :, 0].tolist() == [[0, 128, 255]] * 3


@pytest.mark.parametrize("size", [0, -3])
def test_digits_refuse_an_impossible_size(size):
    with pytest.raises(CourseError, match="expected 1 pixel"):
        digits.load(size)


@pytest.mark.parametrize("name", photos.NAMES)
def test_a_photograph_is_scikit_learns(name):
    photo = photos.load(name)
    assert photo.mode == "RGB"
    assert photo.size == (640, 427)
    assert np.array_equal(np.asarray(photo), load_sample_image(f"{name}.jpg"))


@pytest.mark.parametrize("name", photos.NAMES)
def test_framed_shows_the_square_centre(name):
    framed = photos.framed(name, 61)
    assert framed.shape == (3, 61, 61)
    assert framed.dtype == torch.uint8
    # 61 pixels from 427: each is a block of 7, but for the softness of the resize.
    centre = load_sample_image(f"{name}.jpg")[:, 106:533].astype(float)
    blocks = centre.reshape(61, 7, 61, 7, 3).mean((1, 3)).transpose(2, 0, 1)
    error = np.abs(blocks - framed.numpy())
    assert error.mean() < 4, "the resize is not antialiased or not of the centre"


def test_photos_refuse_an_unknown_name_and_suggest_one():
    with pytest.raises(CourseError, match="Did you mean 'flower'"):
        photos.load("flowers")
    with pytest.raises(CourseError, match="expected 1 pixel"):
        photos.framed("china", 0)
