"""The shapes corpus: its seeds, its factors, and what its masks and pictures show."""

import hashlib
from dataclasses import replace

import pytest
import torch

from course.data import shapes
from course.errors import CourseError

# Masks, boxes and images of `draw(16, seed=11, shapes=SHAPES, size=32)`.
DIGEST = "8d882d0e2ad231f26e8942ca9b6baaed51b0bbcab9203f0e806aa8848e8b9648"


def same(first, second):
    """Tell whether two draws are alike to the last byte."""
    return (
        torch.equal(first.images, second.images)
        and torch.equal(first.masks, second.masks)
        and torch.equal(first.boxes, second.boxes)
        and all(torch.equal(first.factors[k], second.factors[k]) for k in first.factors)
    )


def posed(names, rotations):
    """Return masks of centred shapes, (shapes, rotations, pixels) as floats."""
    n = len(names) * len(rotations)
    factors = shapes.sample(n, 0, shapes=names, style="plain", x=0, y=0, scale=0.7)
    factors = replace(
        factors,
        shape=torch.arange(len(names)).repeat_interleave(len(rotations)),
        rotation=torch.tensor(rotations).float().repeat(len(names)),
    )
    return shapes.render(factors, 48).masks.view(len(names), len(rotations), 48, 48)


def overlap(first, second):
    """Return intersection over union of every mask with every other one."""
    first, second = first.flatten(1).float(), second.flatten(1).float()
    shared = first @ second.T
    return shared / (first.sum(1)[:, None] + second.sum(1)[None] - shared)


def test_the_corpus_is_as_large_as_promised():
    assert len(set(shapes.SOURCE_SHAPES)) >= 30
    assert len(set(shapes.HELD_OUT_SHAPES)) >= 10
    assert not set(shapes.SOURCE_SHAPES) & set(shapes.HELD_OUT_SHAPES)
    assert len(shapes.FILLS) >= 10
    assert len(shapes.COLOURS) >= 8
    assert len(shapes.BACKGROUNDS) >= 6
    assert set(shapes.ORIENTED_SHAPES) <= set(shapes.SOURCE_SHAPES)


def test_draw_returns_the_shapes_and_types_it_promises():
    drawn = shapes.draw(5, seed=0, size=40)
    assert drawn.images.shape == (5, 3, 40, 40) and drawn.images.dtype == torch.uint8
    assert drawn.masks.shape == (5, 40, 40) and drawn.masks.dtype == torch.bool
    assert drawn.boxes.shape == (5, 4) and drawn.boxes.dtype == torch.float32
    kinds = {name: value.dtype for name, value in drawn.factors.items()}
    whole = ("shape", "fill", "colour", "background", "clutter")
    broken = ("x", "y", "scale", "rotation")
    assert kinds == dict.fromkeys(whole, torch.int64) | dict.fromkeys(
        broken, torch.float32
    )


def test_same_seed_gives_same_bytes_and_another_seed_others():
    first = shapes.draw(40, seed=[4, 2], size=24)
    assert same(first, shapes.draw(40, seed=[4, 2], size=24))
    other = shapes.draw(40, seed=[4, 3], size=24)
    assert not torch.equal(first.images, other.images)


def test_bytes_are_those_of_every_other_machine():
    drawn = shapes.draw(16, seed=11, shapes=shapes.SHAPES, size=32)
    digest = hashlib.sha256()
    for part in (drawn.masks, drawn.boxes, drawn.images):
        digest.update(part.numpy().tobytes())
    assert digest.hexdigest() == DIGEST


def test_bytes_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = shapes.draw(32, seed=1)
        torch.set_num_threads(2)
        together = shapes.draw(32, seed=1)
    finally:
        torch.set_num_threads(before)
    assert same(alone, together)


def test_first_images_do_not_depend_on_how_many_follow():
    few, many = shapes.draw(33, seed=3, size=24), shapes.draw(100, seed=3, size=24)
    assert torch.equal(few.images, many.images[:33])
    assert torch.equal(few.masks, many.masks[:33])
    for name, values in few.factors.items():
        assert torch.equal(values, many.factors[name][:33]), name


def test_boxes_are_the_tightest_around_the_masks():
    drawn = shapes.draw(60, seed=5, size=48)
    for mask, box in zip(drawn.masks, drawn.boxes.long().tolist(), strict=True):
        left, top, right, bottom = box
        inside = mask[top:bottom, left:right]
        assert inside.sum() == mask.sum() > 0
        assert inside[0].any() and inside[-1].any()
        assert inside[:, 0].any() and inside[:, -1].any()


def test_box_of_a_known_mask_is_half_open_and_of_an_empty_one_zero():
    masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    assert shapes.boxes_of(masks).tolist() == [[3, 2, 9, 5], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("factor", "name", "known"),
    [
        ("shape", "star5", shapes.SOURCE_SHAPES),
        ("fill", "dots", tuple(shapes.FILLS)),
        ("colour", "blue", tuple(shapes.COLOURS)),
        ("background", "tiles", tuple(shapes.BACKGROUNDS)),
    ],
)
def test_a_factor_fixed_by_name_or_number_is_honoured(factor, name, known):
    place = known.index(name)
    by_name = shapes.draw(12, seed=1, size=24, **{factor: name})
    assert (by_name.factors[factor] == place).all()
    assert same(by_name, shapes.draw(12, seed=1, size=24, **{factor: place}))


@pytest.mark.parametrize(
    ("factor", "value"),
    [("clutter", 2), ("x", 0.25), ("y", -0.5), ("scale", 0.5), ("rotation", 30.0)],
)
def test_a_number_fixed_is_honoured_and_leaves_the_other_factors(factor, value):
    free, fixed = (shapes.sample(12, 1, **kw) for kw in ({}, {factor: value}))
    assert (getattr(fixed, factor) == value).all()
    for other in {"shape", "fill", "x", "y", "scale", "rotation"} - {factor}:
        assert torch.equal(getattr(free, other), getattr(fixed, other)), other


def test_place_and_scale_show_in_the_box():
    drawn = shapes.draw(6, seed=2, shape="disc", x=0.25, y=-0.125, scale=0.5)
    left, top, right, bottom = drawn.boxes.T
    assert ((left + right) / 2 - 40).abs().max() <= 1
    assert ((top + bottom) / 2 - 28).abs().max() <= 1
    double = shapes.draw(6, seed=2, shape="disc", x=0, y=0, scale=1.0)
    ratio = double.masks.sum((1, 2)) / drawn.masks.sum((1, 2))
    assert (ratio - 4).abs().max() < 0.3


def test_rotation_turns_clockwise():
    fixed = {"shape": "arrow", "style": "plain", "x": 0, "y": 0, "scale": 0.7}
    up = shapes.draw(1, seed=0, rotation=0, **fixed)
    right = shapes.draw(1, seed=0, rotation=90, **fixed)
    turned = torch.rot90(up.masks, -1, (1, 2))
    assert float(overlap(right.masks, turned)[0, 0]) > 0.97
    assert float(overlap(right.masks, up.masks)[0, 0]) < 0.8


def test_solid_objects_have_the_colour_of_the_palette():
    palette = torch.tensor(list(shapes.COLOURS.values())).float()
    for number, name in enumerate(shapes.COLOURS):
        drawn = shapes.draw(
            8, seed=3, shape="disc", fill="solid", colour=name, x=0, y=0, scale=0.6
        )
        middle = drawn.images[:, :, 24:40, 24:40].float().mean((2, 3))
        assert (middle - palette[number]).abs().max() < 30, name
        assert (torch.cdist(middle, palette).argmin(1) == number).all(), name


def test_no_two_colours_are_alike():
    palette = torch.tensor(list(shapes.COLOURS.values())).float()
    apart = torch.cdist(palette, palette) + 1e3 * torch.eye(len(palette))
    assert apart.min() > 60


def test_every_fill_looks_different_on_a_small_object():
    fixed = {
        "shape": "disc",
        "style": "plain",
        "x": 0,
        "y": 0,
        "scale": 11 / 32,
        "rotation": 20,
    }
    pictures = torch.cat(
        [shapes.draw(1, seed=4, fill=f, **fixed).images.float() for f in shapes.FILLS]
    )
    mask = shapes.draw(1, seed=4, **fixed).masks[0]
    pixels = pictures[:, :, mask].flatten(1)
    apart = (pixels[:, None] - pixels[None]).abs().mean(2)
    assert (apart + 1e3 * torch.eye(len(pixels))).min() > 8


def test_every_background_looks_different():
    fixed = {"shape": "disc", "style": "plain", "scale": 0.3}
    pictures = torch.cat(
        [shapes.draw(1, 4, background=b, **fixed).images for b in shapes.BACKGROUNDS]
    ).flatten(1)
    assert len(pictures.unique(dim=0)) == len(shapes.BACKGROUNDS)


def test_clutter_lies_under_the_object_and_changes_no_mask():
    kw = {
        "seed": 6,
        "fill": "solid",
        "background": "plain",
        "shape": "square",
        "scale": 0.8,
    }
    bare, full = shapes.draw(20, clutter=0, **kw), shapes.draw(20, clutter=3, **kw)
    assert torch.equal(bare.masks, full.masks)
    differs = (bare.images != full.images).any(1)
    assert differs.flatten(1).any(1).float().mean() > 0.8
    erased = torch.nn.functional.max_pool2d((~bare.masks).float()[:, None], 3, 1, 1)
    assert not (differs & (erased[:, 0] == 0)).any()


def test_an_image_does_not_depend_on_its_neighbours():
    factors = shapes.sample(40, seed=6)
    together = shapes.render(factors, 32).images
    for place in range(0, 40, 5):
        alone = shapes.render(factors.take(slice(place, place + 1)), 32).images
        assert torch.equal(alone[0], together[place]), place


def test_every_shape_differs_from_every_other_turned_and_mirrored():
    masks = posed(shapes.SHAPES, list(range(0, 360, 15)))
    upright, turned = masks[:, 0], masks.flatten(0, 1)
    n = len(shapes.SHAPES)
    alike = torch.maximum(
        overlap(upright, turned), overlap(upright, turned.flip(2))
    ).view(n, n, 24)
    worst = alike.amax(2).fill_diagonal_(0)
    assert worst.max() < 0.94, divmod(int(worst.argmax()), n)


def test_oriented_shapes_look_different_in_each_of_the_eight_directions():
    masks = posed(shapes.ORIENTED_SHAPES, list(range(0, 360, 45)))
    for name, own in zip(shapes.ORIENTED_SHAPES, masks, strict=True):
        assert (overlap(own, own) - torch.eye(8)).max() < 0.85, name


def test_factors_come_equally_often():
    factors = shapes.sample(720, 8)
    names = ("shape", "fill", "colour", "background", "clutter")
    for name in names:
        counts = torch.bincount(getattr(factors, name))
        assert counts.max() - counts.min() <= 1, name
    pairs = torch.bincount(factors.shape * 12 + factors.fill, minlength=360)
    assert (pairs > 0).float().mean() > 0.7  # 0.86 if the two are independent


@pytest.mark.parametrize("style", shapes.STYLES)
def test_samples_stay_within_their_style(style):
    found, factors = shapes.STYLES[style], shapes.sample(400, 9, style=style)
    low, high = found.scale
    assert low <= factors.scale.min() and factors.scale.max() <= high + 1e-6
    assert factors.rotation.abs().max() <= found.rotation
    assert factors.rotation.abs().max() > 0.9 * found.rotation
    assert factors.clutter.max() == found.clutter
    fills = {list(shapes.FILLS)[i] for i in factors.fill.unique()}
    papers = {list(shapes.BACKGROUNDS)[i] for i in factors.background.unique()}
    assert fills == set(found.fills) and papers == set(found.backgrounds)
    room = found.shift * (1 - factors.scale) + 1e-6
    assert (factors.x.abs() <= room).all() and (factors.y.abs() <= room).all()


def test_a_style_of_ones_own_is_drawn():
    own = shapes.Style(("rings",), ("glow",), 0, (0.6, 0.6), 0, 0, ("teal", "red"))
    drawn = shapes.draw(10, seed=0, style=own, size=16)
    assert {list(shapes.COLOURS)[i] for i in drawn.factors["colour"]} == {"teal", "red"}
    assert (drawn.factors["rotation"] == 0).all() and (drawn.factors["x"] == 0).all()


def test_shape_labels_count_from_zero_in_the_shapes_drawn():
    drawn = shapes.draw(6, seed=0, shapes=("key", "disc", "crown"), size=16)
    labels, names = shapes.label_of(drawn, "shape")
    assert names == ("key", "disc", "crown")
    assert labels.dtype == torch.int64
    assert torch.bincount(labels).tolist() == [2, 2, 2]


@pytest.mark.parametrize("factor", shapes.FACTORS)
def test_every_label_has_a_name(factor):
    labels, names = shapes.label_of(shapes.draw(200, seed=1, size=8), factor)
    assert labels.dtype == torch.int64 and labels.shape == (200,)
    assert labels.min() >= 0 and labels.max() < len(names) == len(set(names))


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [(-0.6, -0.6, "top left"), (0, 0, "middle centre"), (0.6, 0, "middle right")],
)
def test_position_names_the_cell_of_the_centre(x, y, name):
    labels, names = shapes.label_of(shapes.draw(1, 0, size=8, x=x, y=y), "position")
    assert names[labels[0]] == name


@pytest.mark.parametrize(("turn", "name"), [(0, "0°"), (-90, "270°"), (180, "180°")])
def test_orientation_names_the_nearest_of_eight_directions(turn, name):
    drawn = shapes.draw(1, 0, size=8, rotation=turn)
    labels, names = shapes.label_of(drawn, "orientation")
    assert names[labels[0]] == name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fill": "dot"}, "'dots'"),
        ({"colour": 99}, "Unknown colour 99"),
        ({"shapes": ("disk",)}, "'disc'"),
        ({"shape": "key"}, "Unknown shape 'key'"),
        ({"style": "ful"}, "'full'"),
        ({"color": "red"}, "Did you mean 'colour'"),
        ({"scale": 3.0}, "0.05 to 1"),
        ({"x": float("nan")}, "-1 to 1"),
        ({"rotation": "left"}, "expected a number"),
        ({"size": 4}, "8 or more"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(wrong, message):
    with pytest.raises(CourseError, match=message):
        shapes.draw(2, 0, **wrong)


def test_no_images_an_impossible_style_and_an_unknown_label_are_refused():
    with pytest.raises(CourseError, match="whole number from 1"):
        shapes.draw(0, seed=0)
    with pytest.raises(CourseError, match="0 to 3 marks"):
        replace(shapes.STYLES["full"], clutter=4)
    with pytest.raises(CourseError, match="Unknown fill"):
        replace(shapes.STYLES["full"], fills=("plaid",))
    with pytest.raises(CourseError, match="Unknown factor"):
        shapes.label_of(shapes.draw(1, 0, size=8), "size")
