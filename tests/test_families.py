"""Every family of torchvision: head, stages, features, strategies and Grad-CAM."""

import copy
import functools
import warnings

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import (
    DenseNet,
    GoogLeNet,
    Inception3,
    MaxVit,
    ShuffleNetV2,
    SwinTransformer,
    VisionTransformer,
    convnext,
    efficientnet,
    list_models,
    mnasnet,
    mobilenetv2,
    mobilenetv3,
    regnet,
    resnet,
    squeezenet,
    swin_transformer,
    vgg,
)
from torchvision.models import alexnet as alexnet_module

from course import explain, extraction, families, models, transfer, zoo
from course.data import Task, TestPart, TrainPart, ValidationPart
from course.errors import CourseError
from course.training import Recipe

NAMES = ("ant", "bee", "cat")


def small_vgg(batch_norm=False):
    layers = vgg.make_layers(
        [8, "M", 8, "M", 16, 16, "M", 16, "M", 16, "M"], batch_norm
    )
    network = vgg.VGG(layers, num_classes=10)
    network.classifier[0] = nn.Linear(16 * 49, 32)
    network.classifier[3] = nn.Linear(32, 32)
    network.classifier[6] = nn.Linear(32, 10)
    return network


def small_alexnet():
    network = alexnet_module(num_classes=10)
    network.classifier[1] = nn.Linear(256 * 36, 32)
    network.classifier[4] = nn.Linear(32, 32)
    network.classifier[6] = nn.Linear(32, 10)
    return network


def small_swin(version):
    kinds = {
        1: {},
        2: {
            "block": swin_transformer.SwinTransformerBlockV2,
            "downsample_layer": swin_transformer.PatchMergingV2,
        },
    }
    return SwinTransformer(
        [4, 4], 16, [1, 1, 1, 1], [1, 1, 2, 2], [2, 2], num_classes=10, **kinds[version]
    )


def small_vit():
    return VisionTransformer(32, 8, 4, 2, 16, 32, num_classes=10)


def small_maxvit():
    return MaxVit((64, 64), 8, 2, [8] * 4, [1] * 4, 8, 0.0, num_classes=10)


def small_convnext():
    setting = convnext.CNBlockConfig
    return convnext.ConvNeXt(
        [
            setting(8, 16, 1),
            setting(16, 16, 1),
            setting(16, 24, 1),
            setting(24, None, 1),
        ],
        num_classes=10,
    )


def small_densenet():
    return DenseNet(4, (1, 1, 1, 1), 8, num_classes=10)


# A small network of each family, made by the family's own class.
SMALL = {
    "alexnet": small_alexnet,
    "convnext": small_convnext,
    "densenet": small_densenet,
    "efficientnet": lambda: efficientnet.efficientnet_b0(num_classes=10),
    "googlenet": lambda: GoogLeNet(10, init_weights=False),
    "inception": lambda: Inception3(10, init_weights=False),
    "maxvit": small_maxvit,
    "mnasnet": lambda: mnasnet.MNASNet(0.35, num_classes=10),
    "mobilenet_v2": lambda: mobilenetv2.MobileNetV2(10, width_mult=0.35),
    "mobilenet_v3": lambda: mobilenetv3.mobilenet_v3_small(num_classes=10),
    # Smaller ones crash torch 2.14 in float32 with two threads.
    "regnet": lambda: regnet.regnet_y_400mf(num_classes=10),
    "resnet": lambda: resnet.ResNet(resnet.BasicBlock, [1] * 4, num_classes=10),
    "resnext": lambda: resnet.ResNet(
        resnet.Bottleneck, [1] * 4, 10, groups=4, width_per_group=4
    ),
    "shufflenet": lambda: ShuffleNetV2([1, 1, 1], [8, 16, 32, 64, 64], 10),
    "squeezenet": lambda: squeezenet.SqueezeNet("1_1", 10),
    "swin": lambda: small_swin(1),
    "swin_v2": lambda: small_swin(2),
    "vgg": small_vgg,
    "vgg_bn": lambda: small_vgg(True),
    "vit": small_vit,
}
SIDE = {"alexnet": 64, "inception": 299, "maxvit": 64, "vit": 32}


@functools.cache
def built(family):
    with models.seeded(1):
        return SMALL[family]()


def model_of(family):
    side = SIDE.get(family, 48)
    network = copy.deepcopy(built(family))
    build = SMALL[family]
    names = tuple(f"class {index}" for index in range(10))
    return models.Model(network.eval(), models.normalising(side), names, build=build)


def images(count=3):
    torch.manual_seed(0)
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8)


@pytest.fixture(params=SMALL)
def family(request):
    with warnings.catch_warnings(action="ignore"):
        yield request.param


def test_every_builder_of_torchvision_belongs_to_a_family_that_is_tried():
    known = tuple(name.replace("_v2", "").replace("_v3", "") for name in SMALL)
    also = ("wide_resnet",)
    for name in list_models(module=torchvision.models):
        assert name.startswith((*known, *also)), name


def test_a_new_head_answers_with_the_new_classes_in_all_its_heads(family):
    new = models.replace_head(model_of(family), NAMES, seed=3)
    assert new.logits(images()).shape == (3, 3)
    for head in families.auxiliary_heads(new.network).values():
        assert head.out_features == 3
    assert (len(families.auxiliary_heads(new.network)) > 0) == (
        family in ("googlenet", "inception")
    )


def test_the_stages_hold_every_parameter_once_and_end_with_the_head(family):
    network = model_of(family).network
    stages = families.stages(network)
    assert list(stages)[-1] == "head" and 4 <= len(stages) <= 7
    held = [id(parameter) for stage in stages.values() for parameter in stage]
    assert sorted(held) == sorted(map(id, network.parameters()))


def test_features_of_every_stage_and_before_the_head_have_a_width(family):
    model = model_of(family)
    width = {}
    layers = families.feature_layers(model.network)
    for layer in (layers[0], layers[-2], layers[-1]):
        found = extraction.features(model, images(), layer).values
        assert found.shape[0] == 3 and found.isfinite().all()
        width[layer] = found.shape[1]
    head = families.head_of(model.network)[1]
    before = extraction.before_head(model, images()).values
    inputs = head.in_channels if isinstance(head, nn.Conv2d) else head.in_features
    assert before.shape == (3, inputs)
    assert all(4 <= number <= 2048 for number in width.values())


def test_grad_cam_gives_each_image_a_map_of_its_own(family):
    model = models.replace_head(model_of(family), NAMES)
    maps = explain.grad_cam(model, images(), relu=False)
    assert maps.ndim == 3 and len(maps) == 3 and maps.isfinite().all()
    assert maps.shape[1] == maps.shape[2]
    assert maps.flatten(1).abs().amax(1).gt(0).all()
    assert not torch.equal(maps[0], maps[1])


@pytest.mark.parametrize("strategy", transfer.STRATEGIES)
def test_every_strategy_makes_a_step(family, strategy):
    model = model_of(family)
    part = TrainPart(images(3), torch.arange(3), NAMES)
    others = [
        kind(images(3), torch.arange(3), NAMES) for kind in (ValidationPart, TestPart)
    ]
    task = Task("t", part, *others)
    recipe = Recipe(steps=1, batch=3, rate=1e-3)
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    result = transfer.run(strategy, model, task, recipe, seed=0, progress=False)
    assert result.model.logits(part.images).shape == (3, 3)
    assert result.model.logits(part.images).isfinite().all()
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    if strategy != "probe":
        assert result.trained_parameters > 0
    if strategy == "lora":
        plain = models.replace_head(model, NAMES).network.state_dict()
        assert list(result.model.network.state_dict()) == list(plain)


def test_a_probe_as_the_head_says_what_the_probe_says(family):
    model = models.replace_head(model_of(family), NAMES)
    features = extraction.before_head(model, images())
    with models.seeded(2):
        linear = nn.Linear(features.values.shape[1], 3)
    families.set_head(model.network, linear)
    with torch.no_grad():
        expected = linear(features.values)
    assert torch.allclose(model.logits(images()), expected, atol=1e-4)


def test_from_scratch_nothing_pretrained_stays(family):
    model = model_of(family)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.fill_(0.123)
    start = transfer.Start(TrainPart(images(3), torch.arange(3), NAMES), seed=1)
    anew = transfer.begin(transfer.strategy_of("scratch"), model, start)
    for name, parameter in anew.network.named_parameters():
        assert not (parameter == 0.123).any(), name


def test_a_network_without_a_head_or_without_stages_is_refused():
    with pytest.raises(CourseError, match="No head"):
        families.head_of(nn.Sequential(nn.ReLU()))
    with pytest.raises(CourseError, match="name a layer yourself"):
        families.feature_layers(nn.Sequential(nn.ReLU()))


def test_swins_maps_are_turned_so_that_channels_come_first():
    model = model_of("swin")
    layer = families.feature_layers(model.network)[0]
    width = model.network.features[0][0].out_channels
    assert extraction.features(model, images(), layer).values.shape == (3, width)


def test_a_class_token_is_no_part_of_the_map():
    tokens = torch.arange(2 * 10 * 3.0).view(2, 10, 3)
    found = families.as_map(nn.Identity(), "x", tokens)
    assert found.shape == (2, 3, 3, 3)
    assert torch.equal(found.flatten(2).transpose(1, 2), tokens[:, 1:])


def test_the_head_of_the_full_size_transformers_is_found_on_paper():
    with zoo._Meta():
        network = zoo.build("vit_b_16", 224)
    assert explain.target_layer(network) == "encoder.layers.encoder_layer_11.ln_1"
