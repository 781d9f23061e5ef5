"""Grad-CAM for one box: the right place is asked, and the heat lies on the object."""

import pytest
import torch
from torch import nn

from course import coco, detection, located, models
from course.boxes import Found
from course.data import scenes
from course.errors import CourseError
from course.faithfulness import energy_inside
from course.training import Recipe

NONE = Found(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), ())


@pytest.fixture(scope="module")
def task():
    return scenes.task(60, 1, 24)


@pytest.fixture(scope="module")
def trained(task):
    """A detector that has learned a little, in a few seconds."""
    backbone = models.load("resnet10-shapes")
    detector = detection.detector(backbone, task.class_names, frozen=True)
    recipe = Recipe(50, batch=6, rate=4e-3, clip=5.0, augment="flip")
    detection.fit(detector, task.train, recipe, device="cpu", progress=False)
    return detector


@pytest.fixture(scope="module")
def found(trained, task):
    return detection.detect(trained, task.test.images, score=0.3)


@pytest.fixture(scope="module")
def untrained(task):
    return detection.detector(models.fresh(task.class_names, 5), task.class_names)


def test_the_heat_is_gradient_times_activation_at_the_place(trained, found, task):
    image, network = task.test.images[0], trained.network
    place = located.places(trained, image, found[0])[0]
    kept = []
    hook = network.backbone.body.layer4.register_forward_hook(
        lambda module, inputs, output: kept.append(output.requires_grad_())
    )
    ready, _ = network.transform([image.float() / 255])
    logits = network.head(list(network.backbone(ready.tensors).values()))["cls_logits"]
    hook.remove()
    (slope,) = torch.autograd.grad(logits[0, place, found[0].labels[0]], kept[0])
    for elementwise, weights in (
        (True, slope),
        (False, slope.mean(dim=(2, 3), keepdim=True)),
    ):
        coarse = (weights * kept[0]).sum(dim=1, keepdim=True).relu()
        wide = nn.functional.interpolate(coarse.detach(), (128, 128), mode="bilinear")
        heat = located.heat(trained, image, found[0], 0, elementwise=elementwise)
        expected = wide[0, 0] / wide.max().clamp(min=1e-12)
        assert torch.allclose(heat, expected, atol=1e-4)


def test_the_place_is_one_that_says_this_box_with_this_score(trained, found, task):
    network = trained.network
    for image, each in zip(task.test.images[:6], found[:6], strict=True):
        rows = located.places(trained, image, each)
        ready, _ = network.transform([image.float() / 255])
        with torch.no_grad():
            said = network.head(list(network.backbone(ready.tensors).values()))
        logits = said["cls_logits"][0, rows, each.labels]
        centre = said["bbox_ctrness"][0, rows, 0]
        scores = (logits.sigmoid() * centre.sigmoid()).sqrt()
        assert torch.allclose(scores, each.scores, atol=0.03)


def test_a_heat_is_of_the_pictures_size_and_from_0_to_1(trained, found, task):
    maps = located.heats(trained, task.test.images[0], found[0])
    assert maps.shape == (len(found[0]), 128, 128) and maps.dtype == torch.float32
    assert maps.min() >= 0 and torch.allclose(maps.amax(dim=(1, 2)), torch.ones(1))
    one = located.heat(trained, task.test.images[0], found[0], 1)
    assert torch.allclose(one, maps[1], atol=1e-5)


def test_the_heat_lies_on_its_object_and_the_mean_gradient_forgets_which(
    trained, found, task, untrained
):
    mine = located.inside(trained, task.test, found)
    plain = located.inside(trained, task.test, found, elementwise=False)
    control = located.inside(trained, task.test, found, instead=untrained)
    assert len(mine.own) > 25
    assert mine.own.mean() > 0.3 > 5 * mine.share.mean()
    assert mine.own.mean() > mine.shuffled.mean() + 0.2
    assert mine.others.mean() < 0.1
    assert mine.own.mean() > plain.own.mean() + 0.15
    assert plain.others.mean() > 2 * mine.others.mean()
    assert mine.own.mean() > control.own.mean() + 0.05


def test_a_layer_has_a_short_and_a_whole_name(trained, found, task):
    image = task.test.images[0]
    heat = located.heat(trained, image, found[0], 0, layer="layer3")
    whole = located.heat(trained, image, found[0], 0, layer="backbone.body.layer3")
    assert torch.equal(heat, whole)
    pyramid = "backbone.fpn.layer_blocks.0"
    fine = located.heat(trained, image, found[0], 0, layer=pyramid)
    assert not torch.equal(heat, fine)


def test_a_layer_that_the_place_does_not_read_says_nothing(trained, found, task):
    image = task.test.images[0]
    first = located.places(trained, image, found[0]).clamp(max=0)
    coarsest = located.heats(
        trained, image, found[0], "backbone.fpn.layer_blocks.2", at=first
    )
    assert not coarsest.any()
    mask = task.test.masks[0][:1].expand(len(coarsest), -1, -1)
    even = mask.float().mean(dim=(1, 2))
    assert torch.allclose(energy_inside(coarsest, mask), even, atol=1e-6)


def test_the_detector_is_left_as_it_was(trained, found, task):
    trained.network.train()
    trained.network.zero_grad()
    before = {key: value.clone() for key, value in trained.network.state_dict().items()}
    frozen = [parameter.requires_grad for parameter in trained.network.parameters()]
    try:
        located.heat(trained, task.test.images[0], found[0], 0)
        assert trained.network.training
    finally:
        trained.network.eval()
    after = trained.network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert frozen == [p.requires_grad for p in trained.network.parameters()]
    assert all(p.grad is None for p in trained.network.parameters())
    assert not trained.network.backbone.body.layer4._forward_hooks


def test_inside_inference_mode_there_are_gradients_too(trained, found, task):
    image = task.test.images[0]
    with torch.inference_mode():
        inner = located.heat(trained, image, found[0], 0)
    assert torch.allclose(inner, located.heat(trained, image, found[0], 0))


def test_a_picture_of_another_size_keeps_its_pixels(trained, task):
    """The detector resizes and pads it; boxes and heat are in the picture's pixels."""
    image = task.test.images[0][:, :96].repeat_interleave(2, 1).repeat_interleave(2, 2)
    (each,) = detection.detect(trained, image, score=0.05)
    rows = located.places(trained, image, each)
    assert len(rows) == len(each)
    assert located.heats(trained, image, each.take(torch.arange(2))).shape[1:] == (
        192,
        256,
    )


def test_nothing_found_is_no_heat(trained, task):
    assert located.heats(trained, task.test.images[0], NONE).shape == (0, 128, 128)
    with pytest.raises(CourseError, match="0 of the boxes are right"):
        located.inside(trained, task.test, [NONE] * len(task.test))


@pytest.mark.parametrize("index", [-1, 99])
def test_a_box_that_is_not_there_is_one_sentence(trained, found, task, index):
    with pytest.raises(CourseError, match=f"no box {index} to explain"):
        located.heat(trained, task.test.images[0], found[0], index)


def test_a_box_of_another_picture_is_refused(trained, found, task):
    with pytest.raises(CourseError, match="was not found by this detector in this"):
        located.heats(trained, task.test.images[0], found[1])


def test_what_cannot_be_explained_is_one_sentence(trained, found, task):
    image = task.test.images[0]
    with pytest.raises(CourseError, match=r"Unknown layer 'layer9'.*backbone"):
        located.heat(trained, image, found[0], 0, layer="layer9")
    with pytest.raises(CourseError, match="gives no map"):
        located.heat(trained, image, found[0], 0, layer="head")
    with pytest.raises(CourseError, match="2 pictures were given"):
        located.heat(trained, task.test.images[:2], found[0], 0)
    with pytest.raises(CourseError, match="expected uint8"):
        located.heat(trained, image.float(), found[0], 0)
    other = detection.Detector(nn.Linear(1, 1), (), {})
    with pytest.raises(CourseError, match=r"this is a Linear; use detection\.detector"):
        located.heat(other, image, found[0], 0)
    assert "fcos_resnet50_fpn" in coco.names()
