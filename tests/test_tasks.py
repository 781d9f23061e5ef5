"""Tasks: parts that cannot be mistaken, few-shot splits, and tasks by name."""

import subprocess
import sys

import pytest
import torch

from course import data
from course.data import shapes
from course.data.tasks import (
    Part,
    Task,
    TestPart,
    TrainPart,
    ValidationPart,
    forbid_test,
)
from course.errors import CourseError, HeldOutError

NAMES = ("dark", "light", "grey")
SMALL = {"train": 60, "validation": 30, "test": 30, "size": 16}
ON_SHAPES = (
    "shapes",
    "unseen-shapes",
    "fills",
    "colours",
    "orientation",
    "position",
)


def a_part(kind=Part, count=12, names=NAMES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 8, 8), generator=generator)
    labels = torch.arange(count) % len(names)
    where = {"place": torch.arange(count)}
    return kind(images.byte(), labels, names, where)


def a_task():
    return Task("toy", a_part(TrainPart), a_part(ValidationPart), a_part(TestPart))


def parts_of(task):
    return task.train, task.validation, task.test


def rows(part):
    return {image.numpy().tobytes() for image in part.images}


# Parts


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(4, 3, 8, 8),
        torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
    ],
)
def test_a_part_refuses_images_of_another_type_or_shape(images):
    with pytest.raises(CourseError, match="expected uint8"):
        TrainPart(images, torch.zeros(4, dtype=torch.int64), NAMES)


def test_a_part_refuses_labels_that_do_not_match():
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(CourseError, match="one label an image"):
        TrainPart(images, torch.zeros(5, dtype=torch.int64), NAMES)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_part_refuses_labels_without_a_name(label):
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(CourseError, match="from 0 to 2"):
        TrainPart(images, torch.tensor([0, label]), NAMES)


def test_take_keeps_the_kind_and_takes_everything_along():
    part = data.task("shapes", **SMALL).test
    chosen = torch.tensor([5, 2])
    taken = part.take(chosen)
    assert isinstance(taken, TestPart)
    assert torch.equal(taken.images, part.images[chosen])
    assert torch.equal(taken.masks, part.masks[chosen])
    assert torch.equal(taken.boxes, part.boxes[chosen])
    assert torch.equal(taken.factors["x"], part.factors["x"][chosen])


def test_fingerprint_tells_kinds_images_and_labels_apart():
    part = a_part(TrainPart)
    assert part.fingerprint() == a_part(TrainPart).fingerprint()
    others = [
        a_part(ValidationPart),
        a_part(TrainPart, seed=1),
        TrainPart(part.images, part.labels.roll(1), NAMES),
    ]
    assert part.fingerprint() not in {other.fingerprint() for other in others}


# Tasks


@pytest.mark.parametrize(
    "kinds",
    [
        (TestPart, ValidationPart, TestPart),
        (TrainPart, TrainPart, TestPart),
        (TrainPart, ValidationPart, ValidationPart),
        (Part, ValidationPart, TestPart),
    ],
)
def test_a_task_refuses_a_part_in_the_wrong_place(kinds):
    with pytest.raises(CourseError, match="expected a"):
        Task("toy", *(a_part(kind) for kind in kinds))


def test_a_task_refuses_parts_with_other_classes():
    other = a_part(TestPart, names=("dark", "light", "blue"))
    with pytest.raises(CourseError, match="test part of task 'toy' names other"):
        Task("toy", a_part(TrainPart), a_part(ValidationPart), other)


def test_forbid_test_refuses_the_test_part_alone():
    task = a_task()
    forbid_test(task.train, "fit")
    forbid_test(task.validation, "fit")
    with pytest.raises(HeldOutError, match="given to fit"):
        forbid_test(task.test, "fit")


@pytest.mark.parametrize("per_class", [1, 3, 4])
def test_few_shot_is_balanced_and_drawn_from_the_train_part(per_class):
    task = a_task()
    few = task.few_shot(per_class, seed=0)
    assert torch.bincount(few.train.labels).tolist() == [per_class] * 3
    places = few.train.factors["place"]
    assert len(places.unique()) == len(places)
    assert torch.equal(few.train.images, task.train.images[places])
    assert few.validation is task.validation
    assert few.test is task.test


def test_few_shot_subsets_come_by_seed():
    task = data.task("digits", size=8)
    first = task.few_shot(2, seed=0).train
    assert torch.equal(first.images, task.few_shot(2, seed=0).train.images)
    assert not torch.equal(first.images, task.few_shot(2, seed=1).train.images)


@pytest.mark.parametrize("per_class", [0, 5])
def test_few_shot_refuses_more_than_there_are_and_none(per_class):
    with pytest.raises(CourseError, match="expected 1 to 4"):
        a_task().few_shot(per_class, seed=0)


# Tasks by name


@pytest.mark.parametrize("name", data.TASKS)
def test_a_task_by_name_has_parts_of_the_sizes_asked_for(name):
    task = data.task(name, **SMALL)
    assert task.name == name
    assert [len(part) for part in parts_of(task)] == [60, 30, 30]
    for part in parts_of(task):
        assert part.images.shape[1:] == (3, 16, 16)
        assert part.images.is_contiguous()


@pytest.mark.parametrize("name", data.TASKS)
def test_the_parts_of_a_task_share_no_image(name):
    task = data.task(name, **{**SMALL, "train": 120, "size": 24})
    train, validation, test = map(rows, parts_of(task))
    assert len(train) == len(task.train), "an image comes twice"
    assert not train & validation
    assert not train & test
    assert not validation & test


@pytest.mark.parametrize("name", data.TASKS)
def test_the_seed_changes_the_train_part_alone(name):
    first, second = (data.task(name, seed=seed, **SMALL) for seed in (0, 1))
    assert not torch.equal(first.train.images, second.train.images)
    assert first.validation.fingerprint() == second.validation.fingerprint()
    assert first.test.fingerprint() == second.test.fingerprint()
    again = data.task(name, seed=1, **SMALL)
    assert second.train.fingerprint() == again.train.fingerprint()


@pytest.mark.parametrize("name", data.TASKS)
@pytest.mark.parametrize("style", ["plain", "full"])
def test_classes_are_balanced_in_every_style(name, style):
    sizes = {"train": 370, "validation": 1, "test": 1, "size": 8}
    task = data.task(name, **sizes, style=style)
    counts = torch.bincount(task.train.labels, minlength=len(task.class_names))
    slack = 5 if name == "digits" else 1  # real scans are not dealt out evenly
    assert int(counts.max() - counts.min()) <= slack


@pytest.mark.parametrize("name", ON_SHAPES)
def test_shape_tasks_carry_factors_masks_and_boxes(name):
    part = data.task(name, **SMALL).validation
    assert part.masks.shape == (30, 16, 16)
    assert part.boxes.shape == (30, 4)
    assert {"shape", "fill", "colour", "x", "y", "rotation"} <= set(part.factors)


def test_the_label_is_the_factor_asked_for():
    fills, colours = (data.task(name, **SMALL).train for name in ("fills", "colours"))
    assert torch.equal(fills.labels, fills.factors["fill"])
    assert torch.equal(colours.labels, colours.factors["colour"])
    assert fills.class_names == tuple(shapes.FILLS)
    assert colours.class_names == tuple(shapes.COLOURS)


def test_source_and_unseen_shapes_have_no_class_in_common():
    source, unseen = (data.task(name, **SMALL) for name in ("shapes", "unseen-shapes"))
    assert len(source.class_names) >= 30
    assert len(unseen.class_names) >= 10
    assert not set(source.class_names) & set(unseen.class_names)


def test_objects_of_the_position_task_are_whole_and_where_the_label_says():
    part = data.task("position", **{**SMALL, "size": 48}).train
    centre = (part.boxes[:, :2] + part.boxes[:, 2:]) / 2 / 48
    for label, (x, y) in zip(part.labels.tolist(), centre.tolist(), strict=True):
        row, column = part.class_names[label].split()
        assert {"left": x < 0.5, "right": x > 0.5}.get(column, 0.3 < x < 0.7)
        assert {"top": y < 0.5, "bottom": y > 0.5}.get(row, 0.3 < y < 0.7)


def test_orientation_draws_only_shapes_that_show_one():
    part = data.task("orientation", **SMALL).train
    turn = part.factors["rotation"]
    assert len(part.class_names) == 8
    assert float(turn.abs().max()) <= 180
    off = (turn - 45 * part.labels + 180) % 360 - 180
    assert float(off.abs().max()) <= 18.01
    assert int(part.factors["shape"].max()) < len(shapes.ORIENTED_SHAPES)


def test_a_style_is_handed_on():
    plain = data.task("shapes", **SMALL, style="plain").train
    assert int(plain.factors["clutter"].max()) == 0
    assert len(plain.factors["fill"].unique()) == 1


def test_digits_give_no_more_than_there_are_and_a_seed_chooses():
    whole = data.task("digits", size=8)
    assert [len(part) for part in parts_of(whole)] == [897, 300, 600]
    fewer = data.task("digits", train=100, size=8, seed=3)
    assert len(fewer.train) == 100
    assert rows(fewer.train) <= rows(whole.train)
    assert int(torch.bincount(fewer.train.labels).min()) >= 8


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(CourseError, match="Did you mean 'colours'"):
        data.task("colors")


def test_an_unknown_style_is_refused_with_the_nearest_name():
    with pytest.raises(CourseError, match="Did you mean 'plain'"):
        data.task("position", style="plane")


@pytest.mark.parametrize("name", ["train", "validation", "test", "size"])
@pytest.mark.parametrize("value", [0, -4])
def test_sizes_below_one_are_refused(name, value):
    with pytest.raises(CourseError, match=f"{name}={value}"):
        data.task("shapes", **{name: value})


def test_a_negative_seed_is_refused():
    with pytest.raises(CourseError, match="seed=-1; expected 0 or more"):
        data.task("glyphs", seed=-1)


def test_importing_the_data_loads_no_heavy_library():
    code = (
        "import sys, course.data;"
        "heavy = {'sklearn', 'scipy', 'matplotlib', 'PIL'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
