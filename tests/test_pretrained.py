"""Other people's models: built as their libraries do, found where they lie."""

import json
import sys
import types
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models as zoo

from course import explain, fetch, models, pretrained
from course.errors import CourseError

ROOT = Path(__file__).parents[1]
IMAGES = ROOT.parent / "shared" / "real" / "images" / "imagenet-sample"
IMAGE = torch.randint(0, 256, (2, 3, 300, 260), dtype=torch.uint8)


def published(folder, name, weights="IMAGENET1K_V1"):
    """Put random weights under the name of the published ones."""
    with models.seeded(4):
        state = pretrained.build(name).state_dict()
    if name.startswith("densenet"):
        state = {old_name(k): v for k, v in state.items() if "num_batches" not in k}
    place = folder / models.remote(name, weights).file
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, place)
    return place


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return fetch.weights_folder()


def old_name(key):
    """As the published file of a DenseNet still calls its layers."""
    for part in ("norm1", "conv1", "norm2", "conv2"):
        key = key.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
    return key


@pytest.mark.parametrize("name", ["googlenet", "densenet121", "shufflenet_v2_x0_5"])
def test_a_model_answers_as_torchvisions_own_builder_does(name, cache):
    published(cache, name)
    model = models.load(name, weights="IMAGENET1K_V1")
    theirs = zoo.get_model(name, weights="IMAGENET1K_V1").eval()
    ready = zoo.get_model_weights(name)["IMAGENET1K_V1"].transforms()(IMAGE)
    with torch.no_grad():
        assert torch.equal(model.logits(IMAGE), theirs(ready))
    assert getattr(model.network, "transform_input", True)
    assert len(model.class_names) == 1000
    assert model.card["published_file"] is False


def test_the_registry_is_left_as_it_was(cache):
    published(cache, "shufflenet_v2_x0_5")
    models.load("shufflenet_v2_x0_5", weights="IMAGENET1K_V1")
    entry = pretrained.entry("shufflenet_v2_x0_5", "IMAGENET1K_V1")
    assert "get_state_dict" not in vars(entry)


def test_weights_are_found_in_a_folder_of_the_readers(cache, tmp_path):
    folder = tmp_path / "stick"
    published(folder, "squeezenet1_1")
    load = {"weights": "IMAGENET1K_V1", "folder": folder}
    assert models.load("squeezenet1_1", **load).logits(IMAGE).shape == (2, 1000)
    with pytest.raises(CourseError, match=r"alexnet-owt-\w+.pth\) are not in 'stick'"):
        models.load("alexnet", **load)


def test_what_is_not_here_is_said_with_command_size_and_a_way_on(cache):
    with pytest.raises(CourseError) as caught:
        models.load("vgg16", weights="IMAGENET1K_V1")
    sentence = str(caught.value)
    assert 'models.load("vgg16", weights="IMAGENET1K_V1", download=True)' in sentence
    assert "course prefetch --models vgg16:IMAGENET1K_V1" in sentence
    assert "528 MB" in sentence and "resnet10-shapes" in sentence
    assert "\n" not in sentence and not cache.exists()


def test_a_download_is_what_the_reader_asked_for(cache, monkeypatch):
    asked = []

    def download(remote, folder):
        asked.append((remote.what, folder))
        return published(folder, "squeezenet1_1")

    monkeypatch.setattr(fetch, "download", download)
    models.load("squeezenet1_1", weights="IMAGENET1K_V1", download=True)
    assert asked == [("squeezenet1_1 IMAGENET1K_V1", cache)]
    models.load("squeezenet1_1", weights="IMAGENET1K_V1", download=True)
    assert len(asked) == 1


def test_the_weights_of_another_model_are_refused(cache):
    place = published(cache, "squeezenet1_1")
    place.rename(cache / models.remote("squeezenet1_0", "IMAGENET1K_V1").file)
    with pytest.raises(CourseError, match="not those of squeezenet1_0"):
        models.load("squeezenet1_0", weights="IMAGENET1K_V1")


def test_every_entry_of_the_registry_has_an_address_a_digest_and_a_size():
    for name in zoo.list_models(module=zoo):
        for weights in zoo.get_model_weights(name):
            remote = models.remote(name, weights.name)
            kind, _, digits = remote.digest.partition(":")
            assert remote.url.startswith("https://") and remote.url.endswith(".pth")
            assert kind == "sha256" and int(digits, 16) >= 0 and len(digits) >= 8
            assert remote.megabytes > 1 and "/" not in remote.file


def test_without_a_choice_of_weights_the_choices_are_named():
    with pytest.raises(CourseError, match="say which: weights="):
        models.load("resnet50")
    with pytest.raises(CourseError, match="Known: IMAGENET1K_V1"):
        models.load("resnet50", weights="IMAGENET1K_V9")


@pytest.mark.parametrize("name", ["timm:resnet18.a1_in1k", "hf:microsoft/resnet-18"])
def test_an_extra_that_is_not_installed_is_one_sentence(name, monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CourseError, match=r"is not installed; pip install -e"):
        models.load(name)


class Tiny(nn.Module):
    """What a classifier of timm looks like from outside."""

    def __init__(self):
        super().__init__()
        self.pretrained_cfg = {}
        self.blocks = nn.Sequential(*[nn.Conv2d(3, 3, 3) for _ in range(4)])
        self.head = nn.Linear(3, 1000)

    def forward(self, x):
        return self.head(self.blocks(x).mean(dim=(2, 3)))


@pytest.fixture
def timm(monkeypatch, tmp_path):
    """A stand-in for timm with one model, whose weights lie in a folder."""
    from safetensors.torch import save_file

    config = types.SimpleNamespace(
        has_weights=True,
        hf_hub_id="timm/tiny",
        input_size=(3, 32, 32),
        crop_pct=0.8,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        interpolation="bicubic",
        num_classes=1000,
        license="apache-2.0",
    )
    module = types.SimpleNamespace(
        get_pretrained_cfg=lambda name: config if name == "tiny" else None,
        list_pretrained=lambda: ["tiny"],
        create_model=lambda name, pretrained: Tiny(),
    )
    monkeypatch.setitem(sys.modules, "timm", module)
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda _: True)
    network = Tiny()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return network, tmp_path


def test_a_model_of_timm_is_prepared_and_filled_as_its_config_says(timm):
    network, folder = timm
    model = models.load("timm:tiny", folder=folder)
    assert model.preprocess(IMAGE).shape == (2, 3, 32, 32)
    assert torch.equal(model.logits(IMAGE), network(model.preprocess(IMAGE)))
    assert model.card["license"] == "apache-2.0" and len(model.class_names) == 1000
    assert explain.grad_cam(models.replace_head(model, ["a", "b"]), IMAGE).ndim == 3
    with pytest.raises(CourseError, match="'tiny'"):
        models.load("timm:tinny", folder=folder)


def test_a_file_that_does_not_fit_timms_model_is_refused(timm):
    _, folder = timm
    (folder / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(CourseError, match="does not hold the weights of timm:tiny"):
        models.load("timm:tiny", folder=folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CourseError, match=r"There is no model\.safetensors"):
        models.load("timm:tiny", folder=folder)


@pytest.mark.parametrize(
    ("config", "size", "crop"),
    [
        ({"size": 224}, 224, 224),
        ({"size": {"height": 96, "width": 96}}, 96, None),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, 256, 224),
        (
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
            },
            256,
            224,
        ),
    ],
)
def test_hugging_faces_preprocessing_is_read_from_its_file(config, size, crop):
    steps = list(pretrained._as_said(config).transform)
    assert steps[0].size in ([size], [size, size])
    crops = [step.size[0] for step in steps if type(step).__name__ == "CenterCrop"]
    assert crops == ([] if crop is None else [crop])


@pytest.mark.skipif(not IMAGES.is_dir(), reason="the sample of ImageNet is not here")
def test_mobilenet_names_real_photographs_as_well_as_it_should():
    try:
        model = models.load("mobilenet_v2", weights="IMAGENET1K_V1")
    except CourseError as error:
        pytest.skip(str(error))
    files = sorted(IMAGES.glob("*.JPEG"))
    first, five = 0, 0
    for index, path in enumerate(files):
        with Image.open(path) as photo:
            answer = [p.name for p in model.predict(photo, top=5)]
        wanted = model.class_names[2 * index]  # every second class has a photograph
        first += answer[0] == wanted
        five += wanted in answer
    print(json.dumps({"top1": first / len(files), "top5": five / len(files)}))
    assert first >= 0.78 * len(files) and five >= 0.94 * len(files)
