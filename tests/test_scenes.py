"""Scenes: their boxes and masks, their seeds, and what a reader may ask for."""

import hashlib

import pytest
import torch

from course import data
from course.data import scenes, shapes
from course.data.scenes import Placed, Scenes
from course.errors import CourseError

# Images, masks and boxes of `draw(6, seed=11, size=64)`.
DIGEST = "1e6e9a046edda7b5a363a01f2805f912eeee1403737fb2505b8aeb95dea293db"


@pytest.fixture(scope="module")
def drawn():
    return scenes.draw(60, seed=5)


def same(first, second):
    """Tell whether two parts are alike to the last byte."""
    columns = ("boxes", "labels", "masks", "visible")
    return torch.equal(first.images, second.images) and all(
        len(getattr(first, name)) == len(getattr(second, name))
        and all(map(torch.equal, getattr(first, name), getattr(second, name)))
        for name in columns
    )


def middle(mask):
    """Return x and y of the centre of a mask."""
    y, x = torch.nonzero(mask).float().add(0.5).mean(0).tolist()
    return x, y


def test_the_classes_are_shapes_that_pretraining_never_saw():
    assert len(scenes.SHAPES) == len(set(scenes.SHAPES)) == 6
    assert set(scenes.SHAPES) <= set(shapes.HELD_OUT_SHAPES)
    assert data.scenes is scenes


def test_draw_returns_the_shapes_and_types_it_promises(drawn):
    assert drawn.images.shape == (60, 3, 128, 128)
    assert drawn.images.dtype == torch.uint8
    assert len(drawn) == 60 and drawn.kind == "train"
    assert drawn.class_names == scenes.SHAPES
    columns = (drawn.boxes, drawn.labels, drawn.masks, drawn.visible)
    for boxes, labels, masks, visible in zip(*columns, strict=True):
        k = len(labels)
        assert boxes.shape == (k, 4) and boxes.dtype == torch.float32
        assert labels.shape == (k,) and labels.dtype == torch.int64
        assert masks.shape == (k, 128, 128) and masks.dtype == torch.bool
        assert visible.shape == (k,) and visible.dtype == torch.float32


def test_boxes_are_tight_around_what_is_seen(drawn):
    for boxes, masks in zip(drawn.boxes, drawn.masks, strict=True):
        assert torch.equal(boxes, shapes.boxes_of(masks))
        for box, mask in zip(boxes, masks, strict=True):
            left, top, right, bottom = box.int().tolist()
            assert mask[top:bottom, left:right].sum() == mask.sum() > 0


def test_no_pixel_belongs_to_two_objects(drawn):
    assert all(int(masks.sum(0).max()) == 1 for masks in drawn.masks)


def test_every_scene_has_as_many_objects_as_asked_for():
    crowded = scenes.draw(40, seed=2, size=96, objects=(3, 6))
    counts = [len(labels) for labels in crowded.labels]
    assert all(1 <= count <= 6 for count in counts)
    assert sum(count >= 3 for count in counts) >= 38
    assert {3, 6} <= set(counts)
    alone = scenes.draw(10, seed=2, objects=(1, 1))
    assert {len(labels) for labels in alone.labels} == {1}


def test_no_object_is_hidden_by_more_than_half(monkeypatch):
    crowd = {"seed": 4, "size": 64, "objects": (8, 12), "overlap": 0.5}
    visible = torch.cat(scenes.draw(60, **crowd).visible)
    assert 0.5 <= float(visible.min()) < 0.8
    assert float(visible.max()) == 1
    monkeypatch.setattr(scenes, "_LEAST_VISIBLE", 0.0)
    assert float(torch.cat(scenes.draw(60, **crowd).visible).min()) < 0.5


def test_objects_that_keep_apart_hide_nothing():
    apart = scenes.draw(40, seed=3, overlap=0)
    assert float(torch.cat(apart.visible).min()) == 1
    near = scenes.draw(40, seed=3, overlap=0.5)
    assert float((torch.cat(near.visible) < 1).float().mean()) > 0.1


def test_visible_is_the_share_of_the_object_alone_that_is_seen():
    behind = Placed("star6", 60, 64, 20)
    whole = scenes.compose([behind]).masks[0][0].sum()
    scene = scenes.compose([behind, Placed("crown", 76, 64, 18)])
    shares = scene.visible[0]
    assert shares[1] == 1
    assert shares[0] == pytest.approx(float(scene.masks[0][0].sum() / whole))
    assert 0.3 < shares[0] < 0.9


def test_objects_are_whole_varied_and_of_every_class(drawn):
    boxes = torch.cat(drawn.boxes)
    assert boxes.min() >= 1 and boxes.max() <= 127
    sides = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    assert sides.min() < 24 and sides.max() > 48
    counts = torch.bincount(torch.cat(drawn.labels), minlength=6)
    assert counts.min() > 0.6 * counts.max()


def test_same_seed_gives_same_bytes_and_another_seed_others():
    first = scenes.draw(8, seed=[4, 2], size=64)
    assert same(first, scenes.draw(8, seed=[4, 2], size=64))
    other = scenes.draw(8, seed=[4, 3], size=64)
    assert not torch.equal(first.images, other.images)


def test_bytes_are_those_of_every_other_machine():
    part = scenes.draw(6, seed=11, size=64)
    digest = hashlib.sha256()
    for values in (part.images, *part.masks, *part.boxes, *part.labels):
        digest.update(values.contiguous().numpy().tobytes())
    assert digest.hexdigest() == DIGEST


def test_the_first_scenes_do_not_depend_on_how_many_follow():
    many = scenes.draw(70, seed=9, size=64)
    for count in (1, 33):
        few = scenes.draw(count, seed=9, size=64)
        assert same(few, many.take(range(count)))


@pytest.mark.parametrize("name", scenes.SHAPES)
def test_labels_name_the_shape_that_the_mask_shows(name):
    one = {"objects": (1, 1), "shapes": (name, "disc"), "style": "plain"}
    part = scenes.draw(8, seed=1, **one)
    for mask, box, label in zip(part.masks, part.boxes, part.labels, strict=True):
        left, top, right, bottom = box[0].int().tolist()
        filled = float(mask[0, top:bottom, left:right].float().mean())
        round_ = abs(filled - torch.pi / 4) < 0.03
        assert part.class_names[int(label[0])] == ("disc" if round_ else name)


def test_take_keeps_pictures_and_objects_together(drawn):
    part = drawn.take(torch.tensor([7, 3]))
    assert len(part) == 2 and part.kind == "train"
    assert torch.equal(part.images[0], drawn.images[7])
    assert torch.equal(part.masks[1], drawn.masks[3])
    assert torch.equal(part.boxes[1], drawn.boxes[3])
    assert torch.equal(part.visible[0], drawn.visible[7])
    assert len(drawn.take([])) == 0


# Asking for a scene


@pytest.mark.parametrize("name", ["star6", "crown", "mushroom", "key"])
@pytest.mark.parametrize(("x", "y", "size"), [(64, 64, 20), (30.5, 90, 12)])
def test_compose_puts_a_shape_where_it_was_asked_for(name, x, y, size):
    scene = scenes.compose([Placed(name, x, y, size)], seed=3)
    assert len(scene) == 1 and scene.labels[0].tolist() == [scenes.SHAPES.index(name)]
    left, top, right, bottom = scene.boxes[0][0].tolist()
    assert abs((left + right) / 2 - x) <= 0.3 * size
    assert max(right - left, bottom - top) == pytest.approx(2 * size, rel=0.2, abs=1)
    if name == "star6":
        at_x, at_y = middle(scene.masks[0][0])
        assert abs(at_x - x) <= 1 and abs(at_y - y) <= 1


def test_compose_paints_the_colour_asked_for():
    scene = scenes.compose([Placed("star6", 64, 64, 25, colour="blue")])
    inside = scene.images[0][:, scene.masks[0][0]].float().mean(1)
    expected = torch.tensor(shapes.COLOURS["blue"]).float()
    assert (inside - expected).abs().max() < 32
    assert (scene.images[0][:, 64, 64] - expected.to(torch.uint8)).abs().max() < 40


def test_compose_turns_clockwise_and_fills():
    upright = scenes.compose([Placed("pin", 64, 64, 20)])
    turned = scenes.compose([Placed("pin", 64, 64, 20, rotation=90)])
    quarter = torch.rot90(upright.masks[0][0], -1)
    shared = (quarter & turned.masks[0][0]).sum() / quarter.sum()
    assert shared > 0.9
    striped = scenes.compose([Placed("pin", 64, 64, 20, fill="stripes")])
    assert torch.equal(striped.masks[0], upright.masks[0])
    assert not torch.equal(striped.images, upright.images)


def test_compose_keeps_the_order_and_leaves_out_what_is_hidden_whole():
    small, large = Placed("key", 64, 64, 6), Placed("star6", 64, 64, 30)
    both = scenes.compose([large, small])
    assert both.labels[0].tolist() == [scenes.SHAPES.index(n) for n in ("star6", "key")]
    assert not (both.masks[0][0] & both.masks[0][1]).any()
    assert scenes.compose([small, large]).labels[0].tolist() == [4]


def test_compose_cuts_an_object_off_at_the_edge():
    scene = scenes.compose([Placed("star6", 1, 127, 20)])
    left, top, right, bottom = scene.boxes[0][0].tolist()
    assert left == 0 and bottom == 128 and right < 30 and top > 95


def test_an_empty_scene_is_its_background_alone():
    empty = scenes.compose([], seed=8, size=96)
    assert len(empty) == 1 and empty.boxes[0].shape == (0, 4)
    assert empty.masks[0].shape == (0, 96, 96) and len(empty.labels[0]) == 0
    scene = scenes.compose([Placed("crown", 48, 48, 10)], seed=8, size=96)
    differs = (scene.images != empty.images)[0].any(0)
    assert differs.any() and not differs[:24].any() and not differs[72:].any()


# The task


def test_a_task_has_three_parts_that_share_no_scene():
    task = data.scenes.task(6, 4, 5, size=64)
    parts = (task.train, task.validation, task.test)
    assert [part.kind for part in parts] == ["train", "validation", "test"]
    assert [len(part) for part in parts] == [6, 4, 5]
    pictures = [image.numpy().tobytes() for part in parts for image in part.images]
    assert len(set(pictures)) == 15
    assert task.class_names == scenes.SHAPES


def test_test_and_validation_depend_on_neither_size_nor_seed_of_train():
    first = scenes.task(3, 4, 5, size=64)
    second = scenes.task(6, 4, 5, size=64, seed=1)
    assert same(first.validation, second.validation)
    assert same(first.test, second.test)
    assert not same(first.train, second.train.take(range(3)))
    more = scenes.task(6, 4, 5, size=64)
    assert same(first.train, more.train.take(range(3)))


# Bad input


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"n": 0}, "0 images were asked for"),
        ({"n": 2.5}, "2.5 images"),
        ({"size": 63}, "63 pixels a side"),
        ({"size": 100.5}, "whole number from 64"),
        ({"seed": -1}, "seed was -1"),
        ({"shapes": ("crown", "crwn")}, "Did you mean 'crown'"),
        ({"shapes": ()}, "one or more"),
        ({"objects": (0, 3)}, "0, 3"),
        ({"objects": (4, 3)}, "fewest and the most"),
        ({"objects": 3}, "such as"),
        ({"objects": (1, 13)}, "1 to 12"),
        ({"overlap": 0.6}, "overlap was 0.6"),
        ({"style": "fancy"}, "Unknown style"),
        ({"kind": "exam"}, "Unknown kind of scenes"),
    ],
)
def test_draw_says_in_a_sentence_what_it_cannot_do(request_, sentence):
    arguments = {"n": 2, "seed": 0, **request_}
    with pytest.raises(CourseError, match=sentence):
        scenes.draw(**arguments)


@pytest.mark.parametrize(
    ("thing", "sentence"),
    [
        (Placed("crwn", 64, 64, 10), "Did you mean 'crown'"),
        (Placed("disc", 64, 64, 10), "Unknown shape"),
        (Placed("crown", 64, 64, 10, fill="tartan"), "Unknown fill"),
        (Placed("crown", 64, 64, 10, colour="mauve"), "Unknown colour"),
        (Placed("crown", 129, 64, 10), "outside of the canvas"),
        (Placed("crown", 64, -1, 10), "outside of the canvas"),
        (Placed("crown", float("nan"), 64, 10), "outside of the canvas"),
        (Placed("crown", 64, 64, 3), "radius from 4 to 64"),
        (Placed("crown", 64, 64, 70), "radius from 4 to 64"),
        (Placed("crown", 64, 64, 10, rotation=float("inf")), "rotation"),
    ],
)
def test_compose_says_in_a_sentence_what_it_cannot_do(thing, sentence):
    with pytest.raises(CourseError, match=sentence):
        scenes.compose([thing])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"images": torch.zeros(1, 3, 64, 64)}, "expected uint8"),
        ({"boxes": ()}, "0 sets of boxes"),
        ({"boxes": (torch.zeros(1, 4),)}, "for k objects"),
        ({"labels": (torch.tensor([0, 6]),)}, "expected 0 to 5"),
        ({"kind": "part"}, "Unknown kind"),
    ],
)
def test_scenes_that_do_not_fit_together_are_refused(changed, sentence):
    things = [Placed("crown", 20, 20, 8), Placed("key", 44, 44, 8)]
    scene = scenes.compose(things, size=64)
    columns = {
        "images": scene.images,
        "boxes": scene.boxes,
        "labels": scene.labels,
        "masks": scene.masks,
        "class_names": scene.class_names,
        "kind": "test",
    }
    assert len(Scenes(**columns)) == 1
    with pytest.raises(CourseError, match=sentence):
        Scenes(**{**columns, **changed})
