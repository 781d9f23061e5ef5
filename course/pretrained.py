"""Models of other people: torchvision's zoo, timm and Hugging Face (chapter 10).

Everything that is known of them is read from their own registries. Weights come from
the cache, from a folder, or from a download that the reader asked for; a file that is
missing is never replaced by random weights, and no pickle is executed.
"""

from __future__ import annotations

import importlib.util
import json
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision import models as zoo
from torchvision.transforms import v2

from course import fetch
from course.errors import CourseError, unknown
from course.fetch import Remote
from course.models import SHIPPED, Model, Preprocess, seeded

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_BUILDING = threading.Lock()  # an entry of the registry is lent out to one at a time
_IMAGENET = 1000  # classes
# These two would spend seconds on random numbers of their own kind.
_SLOW_TO_BUILD = ("googlenet", "inception_v3")
MEANWHILE = 'meanwhile models.load("resnet10-shapes") needs no download'


# torchvision --------------------------------------------------------------------------


def entry(name: str, weights: str | None) -> WeightsEnum:
    """Return an entry of torchvision's registry: weights and all that is said of them.

    Args:
        name: of one of its classifiers or detectors.
        weights: such as ``"IMAGENET1K_V1"``.

    Raises:
        CourseError: the model or the weights are unknown.
    """
    known = [*zoo.list_models(module=zoo), *detectors()]
    if name not in known:
        raise unknown("model", name, [*SHIPPED, *known])
    choices = {one.name: one for one in zoo.get_model_weights(name)}
    if weights is None:
        first = next(iter(choices))
        raise CourseError(
            f"{name} has weights of several names and dates; say which: "
            f'weights="{first}" (known: {", ".join(choices)}).'
        )
    if weights not in choices:
        raise unknown(f"weights of {name}", weights, choices)
    return choices[weights]


def detectors() -> list[str]:
    """Return the names of torchvision's detectors, which `coco.load` loads."""
    return zoo.list_models(module=zoo.detection)


def unknown_classifier(name: str, known: Iterable[str]) -> CourseError:
    """Return what is said of a name that stands for no classifier."""
    if name in detectors():
        return CourseError(
            f"{name} is a detector: it answers with boxes, and not with one class; "
            f'coco.load("{name}", weights="COCO_V1") loads it.'
        )
    return unknown("model", name, known)


def remote_of(name: str, weights: WeightsEnum) -> Remote:
    """Return where weights of torchvision are to be had, and how they are verified."""
    file = Path(weights.url).name
    return Remote(
        url=weights.url,
        file=file,
        digest="sha256:" + Path(file).stem.rpartition("-")[2],
        megabytes=weights.meta.get("_file_size"),
        licence=weights.meta.get("license"),
        what=f"{name} {weights.name}",
    )


def from_torchvision(
    name: str,
    weights: str | None,
    download: bool = False,
    folder: str | Path | None = None,
) -> Model:
    """Load one of torchvision's classifiers, built as torchvision builds it.

    Its own builder knows what no state dictionary says: old names of layers, the size
    that a vision transformer was trained for, Inception's own scale of the input.

    Raises:
        CourseError: see `models.load`.
    """
    known = zoo.list_models(module=zoo)
    if name not in known:
        raise unknown_classifier(name, [*SHIPPED, *known])
    chosen = entry(name, weights)
    network, card = as_published(name, chosen, download, folder)
    names = tuple(chosen.meta.get("categories", ()))
    anew = partial(build, name, getattr(network, "image_size", None))
    return Model(network, Preprocess(chosen.transforms()), names, card, anew)


def as_published(
    name: str,
    weights: WeightsEnum,
    download: bool = False,
    folder: str | Path | None = None,
    *,
    loader: str = "models.load",
    meanwhile: str = MEANWHILE,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return one of torchvision's networks with published weights, and its card.

    Args:
        name: of a classifier or a detector.
        weights: see `entry`.
        download: see `models.load`.
        folder: see `models.load`.
        loader: the function that the reader called, for a message.
        meanwhile: what can be done without the file, for a message.

    Raises:
        CourseError: the file is missing, damaged or another one.
    """
    remote = remote_of(name, weights)
    path = _found(remote, download, folder, loader, meanwhile)
    state = _state(path)
    try:
        with _lent(weights, state), seeded(0):
            network = zoo.get_model(name, weights=weights, progress=False)
    except RuntimeError as error:
        raise CourseError(
            f"{path.name} holds weights, but not those of {name}; remove it and fetch "
            "it again."
        ) from error
    card = {
        "name": remote.what,
        "architecture": name,
        "source": weights.url,
        "published_file": fetch.matches(path, remote.digest),
        **{key: value for key, value in weights.meta.items() if key != "categories"},
    }
    return network.eval(), card


def build(name: str, size: int | None = None) -> nn.Module:
    """Return one of torchvision's classifiers with random weights.

    Args:
        name: of the classifier.
        size: side of the input in pixels, which a vision transformer is built for;
            None for its usual one.
    """
    options: dict[str, Any] = {}
    if name in _SLOW_TO_BUILD:
        options["init_weights"] = False
    if name.startswith("vit_") and size is not None:
        options["image_size"] = size
    return zoo.get_model(name, weights=None, **options)


@contextmanager
def _lent(chosen: WeightsEnum, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Let torchvision's builder be handed weights that have been read already.

    It would read them by itself with a loader that executes what is pickled in them.
    """
    with _BUILDING:
        chosen.get_state_dict = lambda *_, **__: state
        try:
            yield
        finally:
            del chosen.get_state_dict


def _found(
    remote: Remote,
    download: bool,
    folder: str | Path | None,
    loader: str,
    meanwhile: str,
) -> Path:
    place = fetch.weights_folder() if folder is None else Path(folder).expanduser()
    path = place / remote.file
    if path.is_file():
        return path
    if download:
        return fetch.download(remote, place)
    name, weights = remote.what.split()
    where = f"in {place.name!r}" if folder is not None else "on this machine"
    size = f"{remote.megabytes:.0f} MB" if remote.megabytes else "of unknown size"
    raise CourseError(
        f"The weights {weights} of {name} ({remote.file}) are not {where}; "
        f'{loader}("{name}", weights="{weights}", download=True) or, in a terminal, '
        f"course prefetch --models {name}:{weights} fetches them once ({size}); "
        f"{meanwhile}."
    )


def _state(path: Path) -> dict[str, Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise CourseError(
            f"{path.name} in the weights cache is damaged or holds more than weights, "
            "and was not read; remove it and fetch it again."
        ) from error


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes, in the order of the logits."""
    weights = zoo.get_model_weights("resnet18")
    return tuple(next(iter(weights)).meta["categories"])


# timm and Hugging Face ----------------------------------------------------------------

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WAYS = {
    "bilinear": v2.InterpolationMode.BILINEAR,
    "bicubic": v2.InterpolationMode.BICUBIC,
    "nearest": v2.InterpolationMode.NEAREST,
}
_PILLOW = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as HF writes


def prepared(
    resize: int | tuple[int, int],
    crop: int | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    way: str = "bilinear",
) -> Preprocess:
    """Return a preprocessing: resize, crop, scale to 0 … 1, normalise.

    Args:
        resize: pixels of the shorter side, or (height, width).
        crop: pixels a side of the centre that is kept; None for all.
        mean: of each channel, for values from 0 to 1.
        std: of each channel.
        way: of interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``.
    """
    size = [resize] if isinstance(resize, int) else list(resize)
    interpolation = _WAYS.get(way, v2.InterpolationMode.BICUBIC)
    steps: list[nn.Module] = [v2.Resize(size, interpolation, antialias=True)]
    if crop is not None:
        steps.append(v2.CenterCrop(crop))
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    return Preprocess(nn.Sequential(*steps))


def from_timm(
    name: str, download: bool = False, folder: str | Path | None = None
) -> Model:
    """Load one of timm's classifiers from its safetensors file.

    Args:
        name: with its tag, as on the hub: ``"resnet18.a1_in1k"``.
        download: see `models.load`.
        folder: holds ``model.safetensors``, if not huggingface_hub's cache.

    Raises:
        CourseError: timm is not installed, or see `models.load`.
    """
    _need("timm", "timm")
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise unknown("model of timm", name, timm.list_pretrained())
    anew = partial(timm.create_model, name, pretrained=False)
    path = _safetensors(f"timm:{name}", config.hf_hub_id, download, folder)
    with seeded(0):
        network = anew().eval()
    _fill(network, path, f"timm:{name}")
    side = config.input_size[-1]
    ready = prepared(
        round(side / config.crop_pct),
        side,
        config.mean,
        config.std,
        config.interpolation,
    )
    card = {
        "name": f"timm:{name}",
        "architecture": name,
        "license": config.license,
        "source": config.hf_hub_id,
    }
    names = imagenet_classes() if config.num_classes == _IMAGENET else ()
    return Model(network, ready, names, card, anew)


class Logits(nn.Module):
    """A classifier of Hugging Face that returns its logits (N, classes) alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of normalised images (N, 3, S, S)."""
        return self.network(pixel_values=images).logits


def from_hugging_face(
    name: str, download: bool = False, folder: str | Path | None = None
) -> Model:
    """Load one of Hugging Face's image classifiers from its safetensors file.

    Args:
        name: as on the hub: ``"microsoft/resnet-18"``.
        download: see `models.load`.
        folder: holds ``config.json``, ``preprocessor_config.json`` and
            ``model.safetensors``, if not huggingface_hub's cache.

    Raises:
        CourseError: transformers is not installed, or see `models.load`.
    """
    _need("transformers", "hf")
    from transformers import AutoConfig, AutoModelForImageClassification

    label = f"hf:{name}"
    files = ("config.json", "preprocessor_config.json")
    places = [_hub_file(label, name, file, download, folder) for file in files]
    place = _safetensors(label, name, download, folder).parent
    kind = AutoModelForImageClassification
    config = AutoConfig.from_pretrained(places[0].parent, local_files_only=True)
    with seeded(0):
        network = kind.from_pretrained(
            place, config=config, use_safetensors=True, local_files_only=True
        ).eval()
    names = tuple(config.id2label[index] for index in sorted(config.id2label))
    ready = _as_said(json.loads(places[1].read_text("utf-8")))
    card = {"name": label, "architecture": config.model_type, "source": name}
    return Model(
        Logits(network), ready, names, card, lambda: Logits(kind.from_config(config))
    )


def _as_said(config: Mapping[str, Any]) -> Preprocess:
    """Return the preprocessing that a ``preprocessor_config.json`` describes."""
    size, crop = config.get("size", 224), config.get("crop_size")
    if isinstance(size, Mapping):
        sides = size.get("height"), size.get("width")
        size = size.get("shortest_edge") or sides
    if isinstance(crop, Mapping):
        crop = crop.get("height")
    if not config.get("do_center_crop"):
        crop = None
    if isinstance(size, int) and crop is None:
        crop = size  # resized by the shorter side, a photograph would stay oblong
        size = round(size / config.get("crop_pct", 1.0))
    mean, std = (config.get(f"image_{key}") for key in ("mean", "std"))
    way = _PILLOW.get(config.get("resample", 2), "bilinear")
    return prepared(size, crop, tuple(mean or _MEAN), tuple(std or _STD), way)


def _need(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise CourseError(
            f"{package} is not installed; pip install -e '.[{extra}]' in the folder of "
            f"the workbook brings it, and {MEANWHILE}."
        )


def _safetensors(
    label: str, name: str, download: bool, folder: str | Path | None
) -> Path:
    return _hub_file(label, name, "model.safetensors", download, folder)


def _hub_file(
    label: str, name: str, file: str, download: bool, folder: str | Path | None
) -> Path:
    """Return one file of a model: from a folder, the hub's cache, or the hub."""
    if folder is not None:
        path = Path(folder).expanduser() / file
        if path.is_file():
            return path
        raise CourseError(
            f"There is no {file} of {label} in {path.parent.name!r}; expected the "
            "files of the model's page in that folder."
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, file, local_files_only=not download))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        how = "could not be fetched" if download else "is not on this machine"
        raise CourseError(
            f'{file} of {label} {how}; models.load("{label}", download=True) fetches '
            f"it once, where there is a network; {MEANWHILE}."
        ) from error


def _fill(network: nn.Module, path: Path, label: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise CourseError(
            f"{path.name} does not hold the weights of {label}; remove it and fetch it "
            "again."
        ) from error


HUBS: dict[str, Callable[[str, bool, str | Path | None], Model]] = {
    "timm": from_timm,
    "hf": from_hugging_face,
}
