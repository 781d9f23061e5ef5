"""Models: heads of every family, predictions, checkpoints that are verified."""

import json
import os
import shutil

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models as zoo

from course import models
from course.errors import CourseError

NAMES = ("cat", "dog", "bird")
EXAMPLES = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "vgg11",
    "vit_b_16",
)


@pytest.fixture
def tiny():
    return models.fresh(NAMES, seed=0, width=4)


@pytest.fixture
def saved(tiny, tmp_path):
    path = tmp_path / "tiny.safetensors"
    models.save(tiny, path)
    return path


def test_resnet10_has_the_layers_and_sizes_that_the_chapters_name():
    network = models.resnet10(30).eval()
    stages = [n for n, _ in network.named_children()]
    assert [n for n in stages if n.startswith("layer")] == [
        f"layer{i}" for i in (1, 2, 3, 4)
    ]
    assert sum(p.numel() for p in network.parameters()) == 1_234_110
    images = torch.zeros(2, 3, 64, 64)
    assert network(images).shape == (2, 30)
    maps = network.layer2(
        network.layer1(network.relu(network.bn1(network.conv1(images))))
    )
    assert maps.shape == (2, 64, 16, 16)


def test_every_parameter_of_resnet10_receives_a_gradient():
    network = models.resnet10(3, width=4)
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters()
    )


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone():
    torch.manual_seed(5)
    first = models.fresh(NAMES, seed=3, width=4).network.conv1.weight
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(first, models.fresh(NAMES, seed=3, width=4).network.conv1.weight)
    other = models.fresh(NAMES, seed=4, width=4).network.conv1.weight
    assert not torch.equal(first, other)


def test_predict_names_the_likeliest_classes_first(tiny):
    with torch.no_grad():
        tiny.network.fc.weight.zero_()
        tiny.network.fc.bias.copy_(torch.tensor([0.0, 2.0, 1.0]))
    answer = tiny.predict(torch.zeros(3, 64, 64, dtype=torch.uint8), top=2)
    assert [p.name for p in answer] == ["dog", "bird"]
    expected = torch.tensor([0.0, 2.0, 1.0]).softmax(0)
    assert answer[0].probability == pytest.approx(expected[1].item())


def test_predict_leaves_buffers_and_mode_as_they_were(tiny):
    tiny.network.train()
    before = {k: v.clone() for k, v in tiny.network.state_dict().items()}
    tiny.predict(Image.new("RGB", (80, 70), "red"))
    assert tiny.network.training
    after = tiny.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_preprocessing_brings_any_image_to_size_and_range(tiny):
    for image in (
        Image.new("L", (200, 100), 255),
        Image.new("RGBA", (64, 64), "white"),
        torch.full((3, 90, 70), 255, dtype=torch.uint8),
    ):
        ready = tiny.preprocess(image)
        assert ready.shape == (1, 3, 64, 64)
        assert torch.allclose(ready, torch.full_like(ready, 2.0))


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, 64, 64),
        torch.zeros(64, 64, 3, dtype=torch.uint8),
        torch.zeros(3, 0, 64, dtype=torch.uint8),
        [[0, 1], [2, 3]],
        "photo.jpg",
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(tiny, image):
    with pytest.raises(CourseError, match="expected"):
        tiny.predict(image)


def test_predict_asks_for_one_image_and_for_a_head(tiny):
    with pytest.raises(CourseError, match="2 images"):
        tiny.predict(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    headless = models.fresh((), seed=0, width=4)
    with pytest.raises(CourseError, match="replace_head"):
        headless.predict(torch.zeros(3, 64, 64, dtype=torch.uint8))


def test_replace_head_changes_the_head_and_nothing_else(tiny):
    new = models.replace_head(tiny, ("a", "b"), seed=1)
    assert new.class_names == ("a", "b") and tiny.class_names == NAMES
    assert new.network.fc.out_features == 2 and tiny.network.fc.out_features == 3
    for key, value in tiny.network.state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(value, new.network.state_dict()[key])
    with torch.no_grad():
        new.network.conv1.weight.zero_()
    assert tiny.network.conv1.weight.abs().sum() > 0


def test_a_backbone_without_classes_can_be_given_a_head():
    headless = models.fresh((), seed=0, width=4)
    assert models.replace_head(headless, NAMES).network.fc.weight.shape == (3, 32)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_head_of_every_family_is_found_and_replaced(name):
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        network = zoo.get_model(name, weights=None, **extra)
        model = models.Model(network, models.normalising(), ("x",) * 1000)
        new = models.replace_head(model, NAMES).network
    where, head = models.head_of(new)
    outputs = head.out_channels if isinstance(head, nn.Conv2d) else head.out_features
    assert outputs == 3
    assert list(new.state_dict()) == list(network.state_dict())
    assert models.head_of(network)[0] == where


def test_a_network_without_a_head_is_refused():
    with pytest.raises(CourseError, match="No head"):
        models.head_of(nn.Sequential(nn.ReLU()))


def test_what_is_saved_is_loaded_again_with_its_card(tiny, saved):
    again = models.load(saved)
    assert again.class_names == NAMES
    assert again.card["sha256"]
    for key, value in tiny.network.state_dict().items():
        assert torch.allclose(value, again.network.state_dict()[key], atol=1e-3)
    assert not again.network.training
    assert sorted(p.name for p in saved.parent.iterdir()) == [
        "tiny.json",
        "tiny.safetensors",
    ]


def test_the_same_weights_give_the_same_bytes_each_time(tiny, tmp_path):
    # six times: chance would write the header's three keys alike now and then
    hashes = {models.save(tiny, tmp_path / f"{i}.safetensors") for i in range(6)}
    assert len(hashes) == 1


def test_a_truncated_or_altered_file_is_refused(saved):
    whole = saved.read_bytes()
    for damaged in (whole[:-100], whole[:5], b"", whole[:-1] + b"\x01"):
        saved.write_bytes(damaged)
        with pytest.raises(CourseError, match="truncated or altered"):
            models.load(saved)


def test_a_foreign_file_is_refused_even_with_a_matching_card(saved, tmp_path):
    import hashlib

    from safetensors.torch import save_file

    foreign = tmp_path / "foreign.safetensors"
    for content in ({"x": torch.zeros(3)}, None):
        if content is None:
            foreign.write_bytes(b"not safetensors at all")
        else:
            save_file(content, foreign)
        digest = hashlib.sha256(foreign.read_bytes()).hexdigest()
        foreign.with_suffix(".json").write_text(json.dumps({"sha256": digest}))
        with pytest.raises(CourseError, match="does not hold a resnet10"):
            models.load(foreign)


def test_missing_files_and_cards_say_how_to_make_them(saved, tmp_path):
    with pytest.raises(CourseError, match="course pretrain"):
        models.load(tmp_path / "nothing.safetensors")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CourseError, match="There is no file empty"):
        models.load(empty)
    saved.with_suffix(".json").write_text("{half")
    with pytest.raises(CourseError, match=r"tiny\.json"):
        models.load(saved)
    saved.with_suffix(".json").unlink()
    with pytest.raises(CourseError, match=r"tiny\.json"):
        models.load(saved)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    def full(place):
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    target = tmp_path / "file"
    with pytest.raises(OSError, match="No space"):
        models.write_whole(target, full)
    assert list(tmp_path.iterdir()) == []


def test_no_pickle_is_executed(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = zoo.SqueezeNet1_1_Weights.IMAGENET1K_V1
    place = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    place.parent.mkdir(parents=True)

    class Planted:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    torch.save({"features.0.weight": Planted()}, place)
    with pytest.raises(CourseError, match="more than weights"):
        models.load("squeezenet1_1", weights="IMAGENET1K_V1")
    assert not (tmp_path / "executed").exists()


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(CourseError, match="'resnet10-shapes'"):
        models.load("resnet10-shape")
    with pytest.raises(CourseError, match="'vgg16'"):
        models.load("vgg_16", weights="IMAGENET1K_V1")
    with pytest.raises(CourseError, match="IMAGENET1K_V1"):
        models.load("vgg16")


def test_weights_that_are_not_cached_are_not_fetched_unasked(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CourseError, match=r"download=True.*528 MB"):
        models.load("vgg16", weights="IMAGENET1K_V1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", models.SHIPPED)
def test_shipped_weights_are_small_verified_and_described(name):
    model = models.load(name)
    path = models.WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size <= 3_000_000
    wanted = {"data", "recipe", "seed", "steps", "seconds", "sha256", "licence"}
    assert wanted <= set(model.card)
    assert "accuracy" in model.card or not model.class_names
    assert model.logits(torch.zeros(3, 64, 64, dtype=torch.uint8)).isfinite().all()


def test_an_altered_copy_of_shipped_weights_is_refused(tmp_path):
    for suffix in (".safetensors", ".json"):
        source = models.WEIGHTS / f"resnet10-shapes{suffix}"
        shutil.copy(source, tmp_path / source.name)
    copy = tmp_path / "resnet10-shapes.safetensors"
    content = bytearray(copy.read_bytes())
    content[-7] ^= 1
    copy.write_bytes(bytes(content))
    with pytest.raises(CourseError, match="altered"):
        models.load(copy)


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_real_imagenet_weights_recognise_a_photograph(name):
    from course.data import photos

    try:
        model = models.load(name, weights="IMAGENET1K_V1")
    except CourseError as error:
        pytest.skip(f"no ImageNet weights in the cache: {error}")
    answer = model.predict(photos.load("flower"), top=5)
    assert len(answer) == 5 and answer[0].probability > answer[4].probability
    assert len(model.class_names) == 1000
    china = {p.name for p in model.predict(photos.load("china"), top=5)}
    assert china & {"palace", "monastery", "stupa", "bell cote", "mosque"}
