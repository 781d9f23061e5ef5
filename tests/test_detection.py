"""Detectors: built on any ResNet, trained with boxes, frozen where they are to be."""

import threading

import pytest
import torch
from torch import nn

from course import detection, models, sweep
from course.data import scenes
from course.data.scenes import Scenes
from course.errors import CourseError, HeldOutError
from course.frozen import assert_frozen, fingerprint
from course.training import Recipe

SHAPES = scenes.SHAPES[:2]
RECIPE = Recipe(3, batch=2, rate=2e-3, clip=5.0, augment="flip")


@pytest.fixture(scope="module")
def drawn():
    return scenes.draw(6, seed=3, shapes=SHAPES, size=64, objects=(1, 2))


def backbone(width=8, seed=0):
    return models.fresh(("a", "b"), seed, width)


def small(frozen=False, seed=0):
    return detection.detector(backbone(), SHAPES, frozen=frozen, seed=seed, size=64)


def trained(detector, part, recipe=RECIPE, **options):
    options = {"device": "cpu", "progress": False, **options}
    return detection.fit(detector, part, recipe, **options)


def state(detector):
    return fingerprint(detector.network)


# Building -----------------------------------------------------------------------------


def test_a_detector_looks_through_a_copy_of_its_backbone():
    source = backbone()
    made = detection.detector(source, SHAPES, size=64)
    body = made.network.backbone.body
    assert torch.equal(body.conv1.weight, source.network.conv1.weight)
    with torch.no_grad():
        body.conv1.weight.zero_()
    assert source.network.conv1.weight.abs().sum() > 0
    assert made.class_names == SHAPES
    assert made.card["backbone"] == source.card["name"] and made.card["size"] == 64


def test_three_levels_with_one_anchor_each_of_twice_their_stride():
    made = small()
    assert made.network.anchor_generator.sizes == ((8,), (16,), (32,))
    maps = made.network.backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps.values()] == [
        (detection.CHANNELS, side, side) for side in (16, 8, 4)
    ]


def test_boxes_cannot_be_dead_at_the_start(drawn):
    made = small()
    bias = made.network.head.regression_head.bbox_reg.bias
    assert torch.equal(bias, torch.ones_like(bias))
    with torch.no_grad():
        found = detection.candidates(made, drawn.images)
        maps = made.network.backbone(drawn.images.float() / 255)
        distances = made.network.head(list(maps.values()))["bbox_regression"]
    assert (distances > 0).float().mean() > 0.99
    assert len(found) == len(drawn)


def test_the_new_layers_follow_the_seed_and_torchs_chance_is_left_alone():
    before = torch.get_rng_state()
    one, same, other = (small(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert state(one) == state(same) != state(other)


def test_the_backbones_own_normalisation_is_used():
    model = backbone()
    model.preprocess.transform[-1].mean = [0.1, 0.2, 0.3]
    made = detection.detector(model, SHAPES, size=64)
    assert made.network.transform.image_mean == [0.1, 0.2, 0.3]
    assert made.network.transform.image_std == list(models.STD)


def test_a_resnet18_is_a_backbone_too():
    from torchvision.models import resnet18

    with models.seeded(0):
        network = resnet18(num_classes=2)
    made = detection.detector(
        models.Model(network, models.normalising(64), ("a", "b")), SHAPES, size=64
    )
    assert made.network.anchor_generator.sizes == ((16,), (32,), (64,))
    assert made.card["backbone"] == "ResNet"


def test_a_detector_needs_classes_and_stages():
    with pytest.raises(CourseError, match="at least one class"):
        detection.detector(backbone(), ())
    plain = models.Model(nn.Linear(3, 3), models.normalising(), ("a",))
    with pytest.raises(CourseError, match="has no layer2; use a ResNet"):
        detection.detector(plain, SHAPES)


def test_a_copy_can_be_trained_without_touching_the_first(drawn):
    made = small()
    before, other = state(made), made.copy()
    trained(other, drawn)
    assert state(made) == before != state(other)


# Training -----------------------------------------------------------------------------


def test_frozen_means_frozen_in_weights_and_statistics(drawn):
    made = small(frozen=True)
    before = state(made)
    with assert_frozen(made.network.backbone.body):
        trained(made, drawn)
    after = state(made)
    moved = {name for name in before if before[name] != after[name]}
    assert "head.classification_head.cls_logits.weight" in moved
    assert all(name.startswith(("head.", "backbone.fpn.")) for name in moved)


def test_what_is_not_frozen_moves_in_weights_and_statistics(drawn):
    made = small()
    before = state(made)
    trained(made, drawn)
    after = state(made)
    for name in ("conv1.weight", "bn1.running_mean", "layer4.0.conv2.weight"):
        name = f"backbone.body.{name}"
        assert before[name] != after[name], name


def test_a_detector_learns_to_find_two_scenes_by_heart(drawn):
    few = drawn.take([0, 1])
    made = small()
    recipe = Recipe(60, batch=2, rate=8e-3, clip=5.0)
    history = trained(made, few, recipe)
    losses = history.column("loss")
    assert losses[-1] < 0.6 * losses[0]
    assert history.column("accuracy")[-1] > 0.6  # how well the boxes fit
    found = detection.detect(made, few.images, score=0.2)
    assert detection.mean_average_precision(found, few)["map50"] > 0.9


def test_training_follows_its_seed(drawn):
    runs = []
    for seed in (0, 0, 1):
        made = small()
        history = trained(made, drawn, seed=seed)
        runs.append((state(made), history.column("loss")))
    assert runs[0] == runs[1]
    assert runs[0][1] != runs[2][1]


def test_trainings_side_by_side_do_not_disturb_one_another(drawn):
    def work(seed):
        made = small(seed=seed)
        trained(made, drawn, seed=seed)
        return {"state": str(sorted(state(made).items()))}

    cells = sweep.grid(seed=range(4))
    alone = sweep.run(work, cells, workers=1, progress=False)
    beside = sweep.run(work, cells, workers=3, progress=False)
    assert alone == beside


def test_training_leaves_torchs_chance_alone(drawn):
    made, before = small(), torch.get_rng_state()
    trained(made, drawn)
    detection.detect(made, drawn.images)
    assert torch.equal(before, torch.get_rng_state())


def test_mirroring_takes_the_boxes_along(drawn):
    targets = detection._padded(drawn)
    images = drawn.images.float()
    for seed in range(4):
        flipped, moved = detection._mirrored(images, targets, [seed])
        for n, boxes in enumerate(drawn.boxes):
            rows = detection._unpadded(moved[n])
            assert torch.equal(rows["labels"], drawn.labels[n])
            expected = boxes
            if not torch.equal(flipped[n], images[n]):
                assert torch.equal(flipped[n], images[n].flip(-1))
                masks = drawn.masks[n].flip(-1)
                expected = scenes.boxes_of(masks)
            assert torch.equal(rows["boxes"], expected)


def test_about_half_of_the_scenes_are_mirrored():
    ramp = torch.arange(8.0).expand(200, 3, 8, 8)
    flipped, _ = detection._mirrored(ramp, torch.zeros(200, 1, 5), [0])
    assert 70 < (flipped[:, 0, 0, 0] > 0).sum() < 130


def test_scenes_without_an_object_teach_that_nothing_is_there(drawn):
    empty = scenes.compose([], size=64, shapes=SHAPES)
    part = Scenes(
        torch.cat([empty.images, drawn.images[:1]]),
        (*empty.boxes, drawn.boxes[0]),
        (*empty.labels, drawn.labels[0]),
        (*empty.masks, drawn.masks[0]),
        SHAPES,
        "train",
    )
    for scenes_of in (part, part.take([0, 0])):
        losses = trained(small(), scenes_of).column("loss")
        assert all(0 < loss < 10 for loss in losses)


def test_test_scenes_are_refused():
    held = scenes.draw(2, seed=3, shapes=SHAPES, size=64, kind="test")
    made = small()
    before = state(made)
    with pytest.raises(HeldOutError, match="test scenes were given to fit"):
        trained(made, held)
    assert state(made) == before


def test_what_does_not_fit_is_refused_in_one_sentence(drawn):
    with pytest.raises(CourseError, match="no scene to learn from"):
        trained(small(), drawn.take([]))
    other = detection.detector(backbone(), scenes.SHAPES[:3], size=64)
    with pytest.raises(CourseError, match="finds 3 classes and the scenes show 2"):
        trained(other, drawn)
    with pytest.raises(CourseError, match="augmentation of scenes 'shift'"):
        trained(small(), drawn, Recipe(1, batch=2, augment="shift"))


def test_stop_ends_the_training_and_the_detector_can_be_used(drawn):
    made, stop, rows = small(), threading.Event(), []

    def after(row):
        rows.append(row)
        stop.set()

    history = trained(made, drawn, stop=stop, after_step=after)
    assert history.stopped and len(rows) == len(history.rows) == 1
    assert not made.network.training
    assert len(detection.detect(made, drawn.images[0])) == 1


def test_the_losses_are_added_up(drawn):
    made = small()
    targets = [
        {"boxes": b, "labels": n}
        for b, n in zip(drawn.boxes, drawn.labels, strict=True)
    ]
    made.network.train()
    images = drawn.images.float() / 255
    parts = detection.losses(made.network, images, targets)
    total, fit = detection._objective(made.network, images, detection._padded(drawn))
    assert set(parts) == {"classification", "bbox_regression", "bbox_ctrness"}
    assert total.item() == pytest.approx(sum(parts.values()).item(), rel=0.1)
    assert fit.item() == pytest.approx(1 - parts["bbox_regression"].item(), abs=0.1)


# Finding ------------------------------------------------------------------------------


def test_candidates_are_many_sorted_and_inside_the_picture(drawn):
    found = detection.candidates(small(), drawn.images)
    assert len(found) == len(drawn)
    for each in found:
        assert each.boxes.dtype == each.scores.dtype == torch.float32
        assert each.labels.dtype == torch.int64
        assert len(each) <= detection.CANDIDATES
        assert each.scores.tolist() == sorted(each.scores.tolist(), reverse=True)
        assert (each.scores >= detection.LOWEST).all()
        assert (each.boxes >= 0).all() and (each.boxes <= 64).all()


def test_nothing_is_suppressed_before_the_reader_says_so(drawn):
    made = small()
    with torch.no_grad():  # sure of everything, everywhere
        made.network.head.classification_head.cls_logits.bias.fill_(4.0)
    (many,) = detection.candidates(made, drawn.images[0])
    assert len(many) == detection.CANDIDATES
    kept = detection.keep(many, 0.2, 0.5)
    (detected,) = detection.detect(made, drawn.images[0], score=0.2, nms=0.5)
    assert 0 < len(kept) < len(many)
    assert torch.equal(detected.boxes, kept.boxes)


def test_a_picture_is_judged_alike_alone_and_among_others(drawn):
    made = small()
    trained(made, drawn)
    together = detection.candidates(made, drawn.images)
    for image, found in zip(drawn.images, together, strict=True):
        (alone,) = detection.candidates(made, image)
        assert len(alone) == len(found)
        assert torch.allclose(alone.scores, found.scores, atol=0.02)


def test_no_picture_no_detection():
    images = torch.zeros(0, 3, 64, 64, dtype=torch.uint8)
    assert detection.detect(small(), images) == []


def test_a_detector_that_knows_nothing_finds_nothing_sure(drawn):
    for found in detection.detect(small(), drawn.images, score=0.9):
        assert len(found) == 0


def test_pictures_of_another_kind_are_refused():
    with pytest.raises(CourseError, match="expected uint8"):
        detection.candidates(small(), torch.zeros(1, 3, 64, 64))
