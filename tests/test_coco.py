"""Other people's detectors: torchvision's, found, verified and built as it builds them.

There are no published weights here: random ones stand under the published names.
"""

import socket
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models as zoo

from course import coco, fetch, models, prefetch, pretrained
from course.detection import Detector
from course.errors import CourseError
from course.zoo import entries, find

SMALL = ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn")
PICTURE = torch.randint(
    0, 256, (3, 90, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
)


def network(name):
    """One of torchvision's detectors with random weights, and no backbone fetched."""
    classes = len(next(iter(zoo.get_model_weights(name))).meta["categories"])
    return zoo.get_model(
        name, weights=None, weights_backbone=None, num_classes=classes
    ).eval()


def lively(name):
    """A detector that is sure of something: else nothing random is above a score."""
    detector = network(name)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # or in its eighteenth layer all would be nearly zero
    with torch.no_grad():
        maps = list(detector.train().backbone(torch.rand(2, 3, 320, 320)).values())
        if hasattr(detector, "head"):
            detector.head(maps)
        for key, value in detector.named_parameters():
            if "cls_score" in key or "classification_head" in key:
                value += 0.05 * torch.randn_like(value)
    return detector


def published(folder, name, weights="COCO_V1"):
    """Put random weights under the published name."""
    with models.seeded(5):
        state = lively(name).state_dict()
    place = folder / models.remote(name, weights).file
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, place)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where files of two detectors lie."""
    folder = tmp_path_factory.mktemp("detectors")
    for name in SMALL:
        published(folder, name)
    return folder


@pytest.fixture(scope="module", params=SMALL)
def loaded(request, folder):
    return coco.load(request.param, "COCO_V1", folder=folder)


@pytest.fixture(scope="module")
def light(folder):
    return coco.load(SMALL[0], weights="COCO_V1", folder=folder)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return fetch.weights_folder()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(fetch, "download", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


# Loading ------------------------------------------------------------------------------


def test_a_detector_answers_as_torchvisions_own_builder_does(loaded, folder):
    name = loaded.card["architecture"]
    weights = zoo.get_model_weights(name)["COCO_V1"]
    state = torch.load(folder / models.remote(name, "COCO_V1").file, weights_only=True)
    with pretrained._lent(weights, state):
        theirs = zoo.get_model(name, weights=weights).eval()
    with torch.no_grad():
        (answer,) = theirs([weights.transforms()(PICTURE)])
    found = coco.detect(loaded, PICTURE, score=0)
    assert len(found.boxes) > 10
    assert torch.equal(found.boxes, answer["boxes"])
    assert torch.equal(found.scores, answer["scores"])
    assert torch.equal(found.labels, answer["labels"])
    assert found.class_names == tuple(weights.meta["categories"])


def test_the_card_and_the_names_are_those_of_the_registry(loaded):
    assert loaded.card["name"] == loaded.card["architecture"] + " COCO_V1"
    assert loaded.card["source"].startswith("https://")
    assert loaded.card["published_file"] is False
    assert loaded.card["_metrics"]["COCO-val2017"]["box_map"] > 20
    assert loaded.class_names[:2] == ("__background__", "person")
    assert len(loaded.class_names) == 91
    assert not loaded.network.training


ALL = [(name, one.name) for name in coco.names() for one in zoo.get_model_weights(name)]


@pytest.mark.parametrize(("name", "weights"), ALL)
def test_every_detector_is_built_and_filled_without_a_network(
    name, weights, no_network, cache, monkeypatch
):
    """Without storage, and so without the 2 GB that all of them would take."""
    with torch.device("meta"):
        state = network(name).state_dict()
        place = cache / models.remote(name, weights).file
        place.parent.mkdir(parents=True)
        place.touch()
        monkeypatch.setattr(pretrained, "_state", lambda path: state)
        detector = coco.load(name, weights=weights)
    shapes = {key: value.shape for key, value in detector.network.state_dict().items()}
    assert shapes.items() <= {key: value.shape for key, value in state.items()}.items()
    assert len(detector.class_names) == (2 if "keypoint" in name else 91)
    assert not any("mask" in key or "keypoint" in key for key in shapes)
    assert ("maskrcnn" in name) == any("mask" in key for key in state)


def test_what_is_not_here_is_said_with_command_size_and_a_way_on(cache, no_network):
    with pytest.raises(CourseError) as caught:
        coco.load(SMALL[0], weights="COCO_V1")
    sentence = str(caught.value)
    assert f'coco.load("{SMALL[0]}", weights="COCO_V1", download=True)' in sentence
    assert f"course prefetch --models {SMALL[0]}:COCO_V1" in sentence
    assert "(13 MB)" in sentence and "chapter 08 trains" in sentence
    assert "models.load" not in sentence and "\n" not in sentence
    assert not cache.exists()


def test_a_download_is_what_the_reader_asked_for(cache, monkeypatch):
    asked = []

    def download(remote, folder):
        asked.append((remote.what, folder))
        return published(folder, SMALL[0])

    monkeypatch.setattr(fetch, "download", download)
    for _ in range(2):
        coco.load(SMALL[0], weights="COCO_V1", download=True)
    assert asked == [(f"{SMALL[0]} COCO_V1", cache)]


@pytest.fixture
def published_at(monkeypatch, cache):
    """Let the published file lie elsewhere, without pauses between attempts."""
    real = pretrained.remote_of

    def at(url):
        monkeypatch.setattr(
            pretrained, "remote_of", lambda *given: replace(real(*given), url=url)
        )

    monkeypatch.setattr(fetch, "PAUSE", 0)
    return at


def test_without_a_network_a_download_is_one_sentence(cache, published_at):
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        published_at(f"http://127.0.0.1:{closed.getsockname()[1]}/weights.pth")
        with pytest.raises(CourseError) as caught:
            coco.load(SMALL[0], weights="COCO_V1", download=True)
    assert SMALL[0] in str(caught.value) and "\n" not in str(caught.value)
    assert not list(cache.glob("*.pth"))


def test_a_download_of_another_digest_is_refused(cache, published_at, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "weights.pth").write_bytes(b"other weights")
    handler = partial(Quiet, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        published_at(f"http://127.0.0.1:{server.server_port}/weights.pth")
        with pytest.raises(CourseError, match="digest") as caught:
            coco.load(SMALL[0], weights="COCO_V1", download=True)
        server.shutdown()
    assert "\n" not in str(caught.value)
    assert not list(cache.glob("*.pth"))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 and no more", b"\x80\x02}q\x00."]
)
def test_a_damaged_file_is_named_and_nothing_is_random(content, tmp_path):
    place = tmp_path / models.remote(SMALL[0], "COCO_V1").file
    place.write_bytes(content)
    with pytest.raises(CourseError, match=rf"^{place.name} .*fetch it again"):
        coco.load(SMALL[0], weights="COCO_V1", folder=tmp_path)


def test_a_pickle_is_not_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "fired"), "w"))

    place = tmp_path / models.remote(SMALL[0], "COCO_V1").file
    torch.save({"weights": Bomb()}, place)
    with pytest.raises(CourseError, match="holds more than weights"):
        coco.load(SMALL[0], weights="COCO_V1", folder=tmp_path)
    assert not (tmp_path / "fired").exists()


def test_the_weights_of_another_detector_are_refused(folder, tmp_path):
    place = tmp_path / models.remote(SMALL[1], "COCO_V1").file
    place.write_bytes((folder / models.remote(SMALL[0], "COCO_V1").file).read_bytes())
    with pytest.raises(CourseError, match=f"not those of {SMALL[1]}"):
        coco.load(SMALL[1], weights="COCO_V1", folder=tmp_path)


# Names --------------------------------------------------------------------------------


def test_a_name_that_nobody_knows_is_answered_with_those_that_are():
    with pytest.raises(CourseError, match=r"Unknown detector.*Did you mean 'fcos_res"):
        coco.load("fcos_resnet50")
    with pytest.raises(CourseError, match="say which: weights="):
        coco.load(SMALL[0])
    with pytest.raises(CourseError, match="Known: COCO_V1"):
        coco.load(SMALL[0], weights="COCO_V7")


@pytest.mark.parametrize("name", ["resnet18", "resnet10-shapes"])
def test_a_classifiers_name_belongs_to_models_load(name):
    with pytest.raises(CourseError, match=rf"{name} is a classifier.*models\.load"):
        coco.load(name, weights="IMAGENET1K_V1")


@pytest.mark.parametrize("name", coco.names())
def test_a_detectors_name_belongs_to_coco_load(name):
    said = rf'{name} is a detector.*coco\.load\("{name}", weights="COCO_V1"\)'
    with pytest.raises(CourseError, match=said):
        models.load(name, weights="COCO_V1")
    with pytest.raises(CourseError, match=said):
        find(entries(), name)
    assert "COCO_V1" in zoo.get_model_weights(name).__members__


def test_prefetch_knows_every_detector_and_its_usual_weights():
    for name in coco.names():
        item = prefetch.wanted([name], [])[0]
        assert item.name == f"{name}:COCO_V1"
        assert item.remote == models.remote(name, "COCO_V1")
        assert item.remote.megabytes > 10 and item.cache == fetch.weights_folder()


# Detecting ----------------------------------------------------------------------------


def test_only_boxes_of_the_score_are_returned_and_the_best_come_first(light):
    every = coco.detect(light, PICTURE, score=0)
    middle = every.scores.median().item()
    some = coco.detect(light, PICTURE, score=middle)
    assert 0 < len(some.scores) < len(every.scores)
    assert (some.scores >= middle).all() and (some.scores.diff() <= 0).all()
    none = coco.detect(light, PICTURE, score=1.0)
    assert none.boxes.shape == ((every.scores >= 1).sum(), 4)


def test_a_picture_may_be_of_any_kind_that_can_be_read(light):
    expected = coco.detect(light, PICTURE, score=0)
    photo = Image.fromarray(PICTURE.permute(1, 2, 0).numpy())
    for image in (PICTURE[None], photo, photo.convert("RGBA")):
        assert torch.equal(coco.detect(light, image, score=0).boxes, expected.boxes)
    grey = photo.convert("L")
    thrice = torch.from_numpy(np.asarray(grey).copy()).expand(3, -1, -1)
    boxes = coco.detect(light, grey, score=0).boxes
    assert torch.equal(boxes, coco.detect(light, thrice, score=0).boxes)


@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (100, 1), (7, 3)])
def test_a_tiny_picture_is_searched(loaded, shape):
    found = coco.detect(loaded, PICTURE[:, :1, :1].expand(3, *shape), score=0)
    assert found.boxes.shape == (len(found.scores), 4)
    right, bottom = shape[1], shape[0]
    limit = torch.tensor([right, bottom, right, bottom]) * 1.001
    assert (found.boxes >= 0).all() and (found.boxes <= limit).all()


def test_a_huge_picture_is_shrunk_and_its_boxes_are_in_its_own_pixels(light):
    image = PICTURE.repeat_interleave(40, dim=1).repeat_interleave(40, dim=2)
    assert max(coco._shrunk(image).shape) == coco.LONGEST
    found = coco.detect(light, image, score=0)
    assert 2500 < found.boxes[:, 2].max() <= 4800
    assert 2000 < found.boxes[:, 3].max() <= 3600


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (PICTURE.float(), "expected uint8"),
        (PICTURE[:1], "expected uint8"),
        (PICTURE[0], "expected uint8"),
        (PICTURE[:, :0], "no pixels"),
        ("cat.jpg", "of type str"),
        (None, "of type NoneType"),
        (torch.stack([PICTURE] * 2), "was given 2 pictures"),
        (PICTURE[:, :1, :1].expand(3, 2, 900), "900 × 2 pixels is too narrow"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_is_one_sentence(light, image, said):
    with pytest.raises(CourseError, match=said) as caught:
        coco.detect(light, image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_that_is_none_is_refused(light, score):
    with pytest.raises(CourseError, match="expected one from 0 to 1"):
        coco.detect(light, PICTURE, score=score)


def test_the_network_is_left_as_it_was(light):
    detector = Detector(light.network, light.class_names, {})
    detector.network.train()
    try:
        coco.detect(detector, PICTURE)
        assert detector.network.training
        assert all(p.grad is None for p in detector.network.parameters())
    finally:
        detector.network.eval()
