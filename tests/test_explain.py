"""Grad-CAM: equal to captum's, on every family, and nothing of the network moves."""

import warnings

import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from PIL import Image
from torch import nn

from course import explain, models
from course.errors import CourseError
from course.exercises import looking_inside
from course.models import Model, Preprocess

NAMES = ("a", "b", "c", "d")
IMAGES = torch.randint(
    0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0)
).byte()
CLASSES = torch.tensor([2, 0, 3])


def zoo(name, **options):
    """A network of torchvision with random weights that let the signal through."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(
        name, weights=None, num_classes=len(NAMES), **options
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network.eval()


def model_of(network):
    return Model(network, models.normalising(), NAMES)


def small(seed=0):
    return models.fresh(NAMES, seed=seed, width=8)


NETWORKS = {
    "resnet10": lambda: models.fresh(NAMES, seed=0).network,
    "resnet18": lambda: zoo("resnet18"),
    "vgg16": lambda: zoo("vgg16", init_weights=False),
    "mobilenet_v3_small": lambda: zoo("mobilenet_v3_small"),
    "densenet121": lambda: zoo("densenet121"),
    "convnext_tiny": lambda: zoo("convnext_tiny"),
}


def captums(model, images, classes, layer, relu):
    """The same from captum, as (N, h, w)."""
    network = model.network.eval()
    method = LayerGradCam(network, network.get_submodule(layer))
    with warnings.catch_warnings(action="ignore"):
        found = method.attribute(
            model.preprocess(images), target=classes, relu_attributions=relu
        )
    return found.detach()[:, 0]


def close(found, expected, tolerance=1e-5):
    """Equal up to a share of the largest value, however small the gradients are."""
    assert found.shape == expected.shape
    return (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_is_captums_with_and_without_the_relu(name):
    model = model_of(NETWORKS[name]())
    layer = explain.target_layer(model.network)
    for relu in (False, True):
        found = explain.grad_cam(model, IMAGES, CLASSES, relu=relu)
        expected = captums(model, IMAGES, CLASSES, layer, relu)
        assert expected.any() and close(found, expected)
        assert found.dtype == torch.float32 and (found.min() >= 0 or not relu)


@pytest.mark.parametrize("layer", ["conv1", "layer2", "layer3.0.conv1", "layer4.0.bn2"])
def test_any_layer_with_a_map_can_be_asked(layer):
    model = small()
    expected = captums(model, IMAGES, CLASSES, layer, True)
    assert close(explain.grad_cam(model, IMAGES, CLASSES, layer), expected)


def by_hand(model, image, wanted):
    """Activations and gradients at layer2 of one image, without a hook."""
    network = model.network.eval()
    x = network.relu(network.bn1(network.conv1(model.preprocess(image))))
    maps = network.layer2(network.layer1(x))
    features = network.layer4(network.layer3(maps)).mean(dim=(2, 3))
    score = network.fc(features)[0, wanted]
    return maps[0].detach(), torch.autograd.grad(score, maps)[0][0]


def test_each_term_of_the_formula_is_needed():
    model = small()
    found = explain.grad_cam(model, IMAGES[:1], 1, "layer2")[0]
    maps, gradients = by_hand(model, IMAGES[0], 1)
    assert close(found, looking_inside.grad_cam_map_reference(maps, gradients))
    for mistake in looking_inside.grad_cam_map.mistakes:
        try:
            other = mistake.answer(maps, gradients)
        except (IndexError, RuntimeError):  # it does not even come to a map
            continue
        same = other.shape == found.shape
        assert not (same and close(found, other, 0.01)), mistake.cause


# What a network of each family calls its last map, and its size for 224 pixels.
FAMILIES = {
    "resnet18": ("layer4", 7),
    "alexnet": ("features.11", 13),
    "vgg11": ("features.19", 14),
    "vgg11_bn": ("features.27", 14),
    "squeezenet1_1": ("features", 13),
    "densenet121": ("features", 7),
    "googlenet": ("inception5b", 7),
    "inception_v3": ("Mixed_7c", 5),
    "mobilenet_v2": ("features", 7),
    "mobilenet_v3_small": ("features", 7),
    "mnasnet0_5": ("layers", 7),
    "shufflenet_v2_x0_5": ("conv5", 7),
    "efficientnet_b0": ("features", 7),
    "regnet_y_400mf": ("trunk_output", 7),
    "convnext_tiny": ("features", 7),
    "swin_t": ("permute", 7),
    "maxvit_t": ("blocks.3", 7),
}


def on_paper(name):
    """A network without weights, which only says what shapes it makes."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("regnet"):  # computes with tensors while it is built
        return torchvision.models.get_model(name, weights=None).to("meta").eval()
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, **options).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_map_of_each_family_is_known(name):
    network = on_paper(name)
    called = []
    for place, module in network.named_modules():
        module.register_forward_hook(
            lambda m, i, out, place=place: called.append((place, m, out))
        )
    network(torch.empty(1, 3, 224, 224, device="meta"))
    layer, side = FAMILIES[name]
    assert explain.target_layer(network) == layer
    place = [where for where, *_ in called].index(layer)
    assert called[place][2].ndim == 4 and called[place][2].shape[-1] == side
    head = models.head_of(network)[0]
    for where, module, _ in called[place + 1 :]:
        assert not isinstance(module, nn.Conv2d) or where == head


def test_a_transformers_tokens_are_explained_where_they_still_have_a_gradient():
    layer = explain.target_layer(on_paper("vit_b_16"))
    assert layer == "encoder.layers.encoder_layer_11.ln_1"


def test_a_network_of_no_family_has_to_name_its_layer():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(CourseError, match="not known; name it"):
        explain.target_layer(network)


def test_a_class_that_everything_speaks_against_gets_zeros():
    model = small()
    with torch.no_grad():
        model.network.fc.weight[1] = -model.network.fc.weight[1].abs()
    assert not explain.grad_cam(model, IMAGES, 1).any()
    assert (explain.grad_cam(model, IMAGES, 1, relu=False) < 0).any()


def plain_network(inplace):
    torch.manual_seed(1)
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(3, 6, 3, stride=4))
    network.add_module("relu", nn.ReLU(inplace=inplace))
    network.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    network.add_module("fc", nn.Linear(6, len(NAMES)))
    return network


def test_an_in_place_relu_does_not_write_into_the_map():
    one, other = (model_of(plain_network(inplace)) for inplace in (True, False))
    options = {"layer": "conv", "relu": False}
    found = explain.grad_cam(one, IMAGES, CLASSES, **options)
    assert torch.equal(found, explain.grad_cam(other, IMAGES, CLASSES, **options))
    assert close(found, captums(other, IMAGES, CLASSES, "conv", False))


def test_inference_mode_around_it_and_tensors_out_of_it_do_no_harm():
    model = small()
    expected = explain.grad_cam(model, IMAGES, CLASSES)
    with torch.inference_mode():
        made = IMAGES.clone()
        inside = explain.grad_cam(model, made, CLASSES.clone())
        assert torch.is_inference_mode_enabled()
    assert made.is_inference() and torch.equal(inside, expected)
    assert torch.equal(explain.grad_cam(model, made, CLASSES), expected)
    with torch.no_grad():
        assert torch.equal(explain.grad_cam(model, IMAGES, CLASSES), expected)
        assert not torch.is_grad_enabled()


def test_weights_out_of_inference_mode_are_refused_in_a_sentence():
    with torch.inference_mode():
        model = small()
    with pytest.raises(CourseError, match="weights were made under"):
        explain.grad_cam(model, IMAGES)


def test_a_head_that_was_swapped_is_the_one_that_is_explained():
    model = small()
    before = explain.grad_cam(model, IMAGES, 1)
    swapped = models.replace_head(model, NAMES, seed=5)
    assert torch.equal(explain.grad_cam(model, IMAGES, 1), before)
    after = explain.grad_cam(swapped, IMAGES, 1)
    assert close(after, captums(swapped, IMAGES, 1, "layer4", True))
    assert not close(after, before)
    model.network.fc = swapped.network.fc
    assert close(explain.grad_cam(model, IMAGES, 1), after)


def state_of(network):
    return {
        "modes": [module.training for module in network.modules()],
        "hooks": [len(module._forward_hooks) for module in network.modules()],
        "wanted": [parameter.requires_grad for parameter in network.parameters()],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "values": [value.sum().item() for value in network.state_dict().values()],
        "recording": torch.is_grad_enabled(),
    }


@pytest.mark.parametrize("layer", ["layer4", "fc", "relu"])
def test_the_network_is_left_as_it_was_even_after_an_error(layer):
    model = small()
    model.network.train()
    model.network.layer1.eval()
    model.network.layer2.requires_grad_(False)
    before = state_of(model.network)
    try:
        explain.grad_cam(model, IMAGES, CLASSES, layer)
        assert layer != "fc"
    except CourseError:
        assert layer == "fc"
    assert state_of(model.network) == before


def test_a_frozen_network_in_training_mode_gives_the_same_map():
    model = small()
    expected = explain.grad_cam(model, IMAGES, CLASSES)
    model.network.requires_grad_(False).train()
    assert torch.equal(explain.grad_cam(model, IMAGES, CLASSES), expected)


def test_classes_are_the_predicted_ones_or_one_for_all_or_one_each():
    model = small()
    predicted = model.logits(IMAGES).argmax(dim=1)
    cam = explain.grad_cam
    assert torch.equal(cam(model, IMAGES), cam(model, IMAGES, predicted))
    assert torch.equal(cam(model, IMAGES, 2), cam(model, IMAGES, torch.full((3,), 2)))
    assert torch.equal(
        cam(model, IMAGES, CLASSES.tolist()), cam(model, IMAGES, CLASSES)
    )
    assert torch.equal(cam(model, IMAGES, CLASSES[0]), cam(model, IMAGES, 2))
    each = torch.cat([cam(model, IMAGES[i], int(c)) for i, c in enumerate(CLASSES)])
    assert close(cam(model, IMAGES, CLASSES), each)


def test_many_images_are_computed_in_portions(monkeypatch):
    model = small()
    whole = explain.grad_cam(model, IMAGES, CLASSES)
    monkeypatch.setattr(explain, "BATCH", 2)
    assert close(explain.grad_cam(model, IMAGES, CLASSES), whole)
    assert close(explain.grad_cam(model, IMAGES, 1), captums(
        model, IMAGES, 1, "layer4", True
    ))  # fmt: skip


def test_a_photograph_goes_through_the_preprocessing():
    photograph = Image.fromarray(IMAGES[0].permute(1, 2, 0).numpy()).resize((90, 70))
    assert explain.grad_cam(small(), photograph).shape == (1, 4, 4)


def headless():
    return Model(models.resnet10(0, width=8), models.normalising(), ())


def with_a_part_that_is_never_called():
    model = small()
    model.network.spare = nn.Conv2d(3, 3, 1)
    return model


def with_a_wall(module, hook=lambda module, inputs, output: output.detach()):
    """A model through which no gradient comes back beyond a module."""
    model = small()
    model.network.get_submodule(module).register_forward_hook(hook)
    return model


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (small, {"layer": "layer5"}, "Unknown layer 'layer5'. Did you mean 'layer"),
        (small, {"layer": ""}, "Unknown layer ''"),
        (small, {"layer": "fc"}, r"gives shape \(3, 4\)"),
        (small, {"layer": "layer1.0.relu"}, "gave 2 tensors in one pass"),
        (with_a_part_that_is_never_called, {"layer": "spare"}, "gave 0 tensors"),
        (lambda: with_a_wall("avgpool"), {}, "do not depend on the layer 'layer4'"),
        (lambda: with_a_wall("fc"), {}, "do not depend on the layer 'layer4'"),
        (headless, {}, "has no head"),
        (small, {"classes": 4}, "no class 4 to explain"),
        (small, {"classes": -1}, "no class -1 to explain"),
        (small, {"classes": torch.tensor([0, 1])}, r"expected one int, or int64"),
        (small, {"classes": torch.tensor([0.0, 1, 2])}, "torch.float32"),
        (small, {"images": IMAGES.float()}, "expected uint8"),
        (small, {"images": "ring.png"}, "type str cannot be read"),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_sentence(make, options, message):
    with pytest.raises(CourseError, match=message):
        explain.grad_cam(make(), **{"images": IMAGES, **options})


def test_maps_are_enlarged_as_pictures_are():
    maps = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0))
    found = explain.enlarged(maps, (20, 32))
    for one, large in zip(maps, found, strict=True):
        picture = Image.fromarray(one.numpy()).resize(
            (32, 20), Image.Resampling.BILINEAR
        )
        expected = torch.tensor(picture.getdata()).view(20, 32)
        assert torch.allclose(large, expected, atol=1e-5)
    assert explain.enlarged(maps).shape == (2, 64, 64)


def test_a_peak_is_the_middle_of_the_largest_cell():
    maps = torch.zeros(3, 4, 4)
    maps[0, 0, 0] = maps[1, 3, 1] = maps[2, 1, 2] = 1
    expected = [[8, 8], [56, 24], [24, 40]]
    assert explain.peaks(maps, 64).tolist() == expected
    fine = torch.zeros(1, 64, 64)
    fine[0, 5, 63] = 1
    assert explain.peaks(fine, 64).tolist() == [[5, 63]]


@pytest.mark.parametrize("maps", [torch.zeros(4, 4), torch.zeros(0, 4, 4), [[1.0]]])
def test_what_is_no_stack_of_maps_is_refused(maps):
    for function in (explain.enlarged, explain.peaks):
        with pytest.raises(CourseError, match="one for each image"):
            function(maps)


def test_what_a_network_sees_is_the_crop_in_its_own_colours():
    assert torch.equal(explain.as_seen(small(), IMAGES), IMAGES)
    wide = torch.zeros(3, 64, 128, dtype=torch.uint8)
    wide[1, :, 32:96] = 200
    seen = explain.as_seen(small(), wide)
    assert seen.shape == (1, 3, 64, 64) and (seen[:, 1] == 200).all()
    entry = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    theirs = Model(nn.Identity(), Preprocess(entry.transforms()), ())
    grey = torch.full((3, 300, 300), 77, dtype=torch.uint8)
    assert (explain.as_seen(theirs, grey) == 77).all()
    assert explain.as_seen(theirs, grey).shape == (1, 3, 224, 224)
