"""Scores of heat maps against hand-made cases and slow references."""

import pytest
import torch
from scipy.stats import spearmanr

from course import explain, faithfulness, models
from course.errors import CourseError
from course.exercises import looking_inside

NAMES = ("a", "b", "c", "d")


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def small(seed=0):
    return models.fresh(NAMES, seed=seed, width=8)


IMAGES = (random(5, 3, 64, 64) * 255).byte()
MAPS = random(5, 8, 8, seed=1)
CLASSES = torch.tensor([0, 3, 1, 2, 2])


def squares(*corners, size=8, side=2):
    masks = torch.zeros(len(corners), size, size, dtype=torch.bool)
    for mask, (row, column) in zip(masks, corners, strict=True):
        mask[row : row + side, column : column + side] = True
    return masks


def test_energy_is_the_share_inside_and_what_is_negative_does_not_count():
    masks = squares((0, 0), (0, 0), (6, 6))
    maps = torch.zeros(3, 8, 8)
    maps[:, 0, 0], maps[:, 5, 5] = 3, 1
    maps[1, 1, 1] = -8
    assert faithfulness.energy_inside(maps, masks).tolist() == [0.75, 0.75, 0]


def test_energy_does_not_depend_on_the_scale_of_a_map():
    masks = squares(*[(i, i) for i in range(5)])
    one, other = (faithfulness.energy_inside(MAPS * s, masks) for s in (1, 1e4))
    assert torch.allclose(one, other)


def test_a_map_of_zeros_gets_what_an_even_map_gets():
    masks = squares((0, 0), (3, 3))
    for value in (0.0, 1.0, -1.0):
        found = faithfulness.energy_inside(torch.full((2, 4, 4), value), masks)
        assert found.tolist() == [4 / 64, 4 / 64]


def test_coarse_maps_are_enlarged_and_one_map_may_serve_all():
    masks = squares((0, 0), (4, 4), size=16, side=8)
    maps = random(2, 4, 4)
    large = explain.enlarged(maps, 16)
    found = faithfulness.energy_inside(maps, masks)
    for one, heat, mask in zip(found, large, masks, strict=True):
        expected = looking_inside.energy_inside_reference(heat, mask)
        assert one.item() == pytest.approx(expected, abs=1e-6)
    alone = faithfulness.energy_inside(maps[:1], masks)
    assert torch.equal(alone, faithfulness.energy_inside(maps[[0, 0]], masks))


def test_a_mask_without_an_object_gets_nothing():
    empty = torch.zeros(1, 8, 8, dtype=torch.bool)
    assert faithfulness.energy_inside(torch.zeros(1, 4, 4), empty).tolist() == [0]
    assert faithfulness.hits(MAPS[:1], empty).tolist() == [False]


def test_a_hit_has_its_peak_on_the_object():
    masks = squares((2, 4), (2, 4), (2, 4), (2, 4))
    maps = torch.zeros(4, 8, 8)
    maps[0, 3, 5] = maps[1, 5, 3] = maps[2, 2, 4] = 1
    assert faithfulness.hits(maps, masks).tolist() == [True, False, True, False]


def test_a_flat_map_points_nowhere():
    everywhere = torch.ones(2, 8, 8, dtype=torch.bool)
    maps = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    assert faithfulness.hits(maps, everywhere).tolist() == [False, False]


def test_hits_agree_with_one_image_at_a_time():
    masks = squares(*[(i, 6 - i) for i in range(5)], side=4)
    expected = [
        looking_inside.points_inside_reference(heat, mask)
        for heat, mask in zip(MAPS, masks, strict=True)
    ]
    assert faithfulness.hits(MAPS, masks).tolist() == expected
    assert len(set(expected)) == 2


def test_a_peak_at_the_border_is_not_drawn_into_the_corner():
    # The first of the equal pixels of the enlarged map would be (0, 0): a miss.
    masks = squares((6, 6), size=64, side=4)
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0] = 1
    assert explain.enlarged(maps, 64)[0].argmax() == 0
    assert faithfulness.hits(maps, masks).tolist() == [True]


@pytest.mark.parametrize("count", [2, 3, 20])
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_masks_are_all_there_and_none_is_at_its_place(count, seed):
    places = torch.arange(count)
    changed = faithfulness.shuffled(places, seed)
    assert (changed != places).all() and changed.sort().values.equal(places)
    assert torch.equal(changed, faithfulness.shuffled(places, seed))


def test_another_seed_shuffles_otherwise():
    places = torch.arange(20)
    orders = {tuple(faithfulness.shuffled(places, s).tolist()) for s in range(5)}
    assert len(orders) == 5


def test_one_mask_cannot_change_places():
    with pytest.raises(CourseError, match="at least 2"):
        faithfulness.shuffled(torch.zeros(1, 8, 8), 0)


def test_the_centred_map_is_a_control_that_wins_on_centred_objects():
    masks = squares((24, 24), (0, 0), size=64, side=16)
    assert faithfulness.hits(faithfulness.centred(), masks).tolist() == [True, False]
    heat = faithfulness.centred(32)[0]
    assert heat.shape == (32, 32)
    assert torch.allclose(heat, heat.flip(0)) and torch.allclose(heat, heat.T)


def test_edges_are_where_the_brightness_changes():
    images = torch.full((2, 3, 16, 16), 90, dtype=torch.uint8)
    images[1, :, :, 8:] = 240
    flat, step = faithfulness.edges(images)
    assert not flat.any()
    assert step[:, 7:9].min() > 1 and not step[:, :7].any() and not step[:, 9:].any()
    turned = faithfulness.edges(images.transpose(2, 3))
    assert torch.allclose(turned, faithfulness.edges(images).transpose(1, 2))


def changed(one, other):
    """The stages in which two networks differ."""
    pairs = zip(one.network.named_parameters(), other.network.parameters(), strict=True)
    found = {n.partition(".")[0] for (n, p), q in pairs if not torch.equal(p, q)}
    return {"stem" if name in ("conv1", "bn1") else name for name in found}


def trained():
    """A model all of whose parameters and buffers are unlike a fresh one's."""
    model = small()
    with torch.no_grad():
        for value in model.network.state_dict().values():
            if value.is_floating_point():
                value += 0.1
    return model


def test_layers_become_random_one_by_one_from_the_head_down():
    model = trained()
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    expected, stages = set(), []
    for stage, copy in faithfulness.randomised(model, seed=3):
        expected.add("fc" if stage == "head" else stage)
        stages.append(stage)
        assert changed(model, copy) == expected
    assert stages == ["head", "layer4", "layer3", "layer2", "layer1", "stem"]
    buffers = zip(copy.network.named_buffers(), model.network.buffers(), strict=True)
    assert not any(torch.equal(a, b) for (n, a), b in buffers if "num_b" not in n)
    pairs = zip(copy.network.parameters(), model.network.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs)
    after = model.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_each_random_copy_stays_what_it_was_when_the_next_is_made():
    copies = [copy for _, copy in faithfulness.randomised(trained(), seed=3)]
    assert [len(changed(trained(), copy)) for copy in copies] == [1, 2, 3, 4, 5, 6]


def test_a_seed_gives_the_same_random_layers():
    first, again, other = (
        list(faithfulness.randomised(small(), seed))[-1][1] for seed in (3, 3, 4)
    )
    assert not changed(first, again) and changed(first, other)


def test_similarity_is_spearmans_also_with_ties():
    others = (MAPS + random(5, 8, 8, seed=2)).round(decimals=1).relu()
    found = faithfulness.similarity(MAPS.round(decimals=1), others)
    for value, one, other in zip(found, MAPS.round(decimals=1), others, strict=True):
        expected = spearmanr(one.flatten(), other.flatten()).statistic
        assert value.item() == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(faithfulness.similarity(MAPS, MAPS**3), torch.ones(5))
    assert torch.allclose(faithfulness.similarity(MAPS, -MAPS), -torch.ones(5))


def test_a_flat_map_agrees_with_nothing():
    flat = torch.zeros(5, 8, 8)
    assert not faithfulness.similarity(MAPS, flat).any()
    assert not faithfulness.similarity(flat, flat).any()


def slowly(model, image, heat, wanted, steps, insertion, empty):
    """One image's curve, a pixel at a time."""
    pixels = sorted(range(heat.numel()), key=lambda i: -heat.flatten()[i].item())
    shown = (empty if insertion else image).clone().flatten(1)
    source = (image if insertion else empty).flatten(1)
    curve, done = [], 0
    for step in range(steps + 1):
        upto = round(step * len(pixels) / steps)
        for place in pixels[done:upto]:
            shown[:, place] = source[:, place]
        done = upto
        logits = model.logits(shown.view_as(image))
        curve.append(logits.softmax(dim=1)[0, wanted].item())
    return curve


@pytest.mark.parametrize("insertion", [False, True])
@pytest.mark.parametrize("fill", faithfulness.FILLS)
def test_deletion_and_insertion_agree_with_a_slow_reference(insertion, fill):
    model, steps = small(), 7
    heat = random(5, 64, 64, seed=4)
    options = {"steps": steps, "insertion": insertion, "fill": fill}
    found = faithfulness.deletion(model, IMAGES, heat, CLASSES, **options)
    empty = faithfulness.filled(IMAGES, fill)
    assert found.shape == (5, steps + 1)
    for i in (0, 3):
        wanted = CLASSES[i].item()
        expected = slowly(model, IMAGES[i], heat[i], wanted, steps, insertion, empty[i])
        assert torch.allclose(found[i], torch.tensor(expected), atol=1e-5)


def test_all_pixels_are_there_at_one_end_and_none_at_the_other():
    model = small()
    whole = model.logits(IMAGES).softmax(dim=1)[:, 2]
    mean = IMAGES.float().mean(dim=(2, 3), keepdim=True).round().byte()
    gone = model.logits(mean.expand_as(IMAGES)).softmax(dim=1)[:, 2]
    out, back = (
        faithfulness.deletion(model, IMAGES, MAPS, 2, steps=3, insertion=i)
        for i in (False, True)
    )
    assert torch.allclose(out[:, [0, -1]], torch.stack([whole, gone], dim=1))
    assert torch.allclose(back[:, [0, -1]], torch.stack([gone, whole], dim=1))


class Counting(torch.nn.Module):
    """Class 1 is as likely as the upper left quarter is bright."""

    def forward(self, images):
        bright = images[:, :, :32, :32].mean(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(bright), 2 * bright], dim=1)


def test_a_map_of_what_the_network_uses_falls_first_and_rises_first():
    model = models.Model(Counting(), models.normalising(), ("dark", "bright"))
    model.network.unused = torch.nn.Linear(1, 1)
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    images[:, :, :32, :32] = 255
    right = torch.zeros(1, 4, 4)
    right[:, :2, :2] = 1
    for insertion in (False, True):
        good, bad = (
            faithfulness.area(
                faithfulness.deletion(model, images, maps, 1, insertion=insertion)
            )
            for maps in (right, 1 - right)
        )
        assert ((good > bad + 0.1) if insertion else (good < bad - 0.1)).all()


def test_what_is_blurred_has_lost_its_object_and_not_its_colours():
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    images[:, 0, 28:36, 28:36] = 255
    empty = faithfulness.filled(images, "blur")
    assert 0 < empty[:, 0].max() < 48 and not empty[:, 1:].any()


def test_areas_of_known_curves():
    curves = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 0.5, 1]])
    assert faithfulness.area(curves).tolist() == [1.0, 0.25, 0.5]


def call(name, *arguments, **options):
    return lambda: getattr(faithfulness, name)(*arguments, **options)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (call("energy_inside", MAPS, MAPS), "Masks came as torch.float32"),
        (call("hits", MAPS, [[True]]), "Masks came as list"),
        (call("hits", MAPS, squares((0, 0), (1, 1))), "5 maps for 2 images"),
        (call("energy_inside", MAPS[0], squares((0, 0))), "one for each image"),
        (call("similarity", MAPS, MAPS[:, :4]), "cannot be compared"),
        (
            call("deletion", small(), IMAGES, MAPS, 0, fill="grey"),
            "Unknown fill 'grey'",
        ),
        (call("deletion", small(), IMAGES, MAPS, 0, steps=0), "at least 1 step"),
        (call("deletion", small(), IMAGES, MAPS[:2], 0), "2 maps for 5 images"),
        (call("deletion", small(), IMAGES, MAPS, 9), "no class 9"),
        (call("deletion", small(), IMAGES.float(), MAPS, 0), "expected uint8"),
        (call("area", torch.ones(3, 1)), "at least two"),
    ],
)
def test_what_cannot_be_scored_is_said_in_a_sentence(ask, message):
    with pytest.raises(CourseError, match=message):
        ask()
