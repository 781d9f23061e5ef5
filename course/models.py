"""Backbones, heads, checkpoints: one `load` for our weights and torchvision's."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import v2

from course import shelf
from course.arguments import kinds_checked
from course.errors import CourseError
from course.families import auxiliary_heads, head_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from course.fetch import Remote

IMAGE_SIZE = 64
BATCH = 64  # images at once without gradients: more fill the memory, and are no faster
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = (
    "resnet10-colours",
    "resnet10-fills",
    "resnet10-glyphs",
    "resnet10-shapes",
    "resnet10-simclr",
)
_SEEDING = threading.RLock()  # torch has one generator for all threads


class Prediction(NamedTuple):
    """One answer of a classifier: a class name and its probability (chapter 00)."""

    name: str
    probability: float


class Preprocess(nn.Module):
    """What has to be done to an image before this network sees it (chapter 00).

    Args:
        transform: maps uint8 (N, 3, H, W) to normalised float32 (N, 3, S, S).
    """

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Image | Tensor) -> Tensor:
        """Return a float32 batch (N, 3, S, S) from one image or a batch of them.

        Args:
            image: a PIL image, or uint8 of shape (3, H, W) or (N, 3, H, W).

        Raises:
            CourseError: the image is of another type or shape.
        """
        return self.transform(as_batch(image))


def as_batch(image: Image | Tensor) -> Tensor:
    """Return uint8 (N, 3, H, W) from a PIL image or a uint8 tensor.

    Raises:
        CourseError: anything else, such as floats, whose scale nobody can know.
    """
    if hasattr(image, "convert"):
        image = v2.functional.pil_to_tensor(image.convert("RGB"))
    if not isinstance(image, Tensor):
        raise CourseError(
            f"An image of type {type(image).__name__} cannot be read; expected a PIL "
            "image or a uint8 tensor of shape (3, height, width)."
        )
    if image.dtype != torch.uint8 or image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise CourseError(
            f"An image of type {image.dtype} and shape {tuple(image.shape)} cannot be "
            "read; expected uint8 from 0 to 255 of shape (3, height, width) or "
            "(N, 3, height, width)."
        )
    if 0 in image.shape[-2:]:
        raise CourseError(
            f"An image of shape {tuple(image.shape)} has no pixels; expected a height "
            "and a width of at least 1."
        )
    return image if image.ndim == 4 else image[None]


@kinds_checked
def normalising(size: int = IMAGE_SIZE) -> Preprocess:
    """Return our backbones' preprocessing: shorter side to `size`, crop, normalise."""
    return Preprocess(
        nn.Sequential(
            v2.Resize(size, antialias=True),
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        )
    )


@dataclass(eq=False)
class Model:
    """A network with everything that is needed to use it (chapter 00).

    Args:
        network: maps a preprocessed batch to logits (N, classes).
        preprocess: maps images to such a batch.
        class_names: the name behind each logit; empty where the head was dropped.
        card: what is known of the weights (data, recipe, accuracy, licence …).
        build: makes such a network with random weights, where a library does it.
    """

    network: nn.Module
    preprocess: Preprocess
    class_names: tuple[str, ...]
    card: dict[str, Any] = field(default_factory=dict)
    build: Callable[[], nn.Module] | None = None

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.network.parameters()).device

    def logits(self, image: Image | Tensor) -> Tensor:
        """Return logits (N, classes) in evaluation mode, on the CPU."""
        training = self.network.training
        self.network.eval()
        # In portions: the maps of hundreds of images at once would fill the memory.
        with torch.no_grad():
            logits = [
                self.network(self.preprocess(few).to(self.device)).float().cpu()
                for few in as_batch(image).split(BATCH)
            ]
        self.network.train(training)
        return torch.cat(logits)

    @kinds_checked
    def predict(self, image: Image | Tensor, top: int = 3) -> list[Prediction]:
        """Return the `top` most likely classes of one image, the likeliest first.

        Raises:
            CourseError: the model has no head, or more than one image was given.
        """
        if not self.class_names:
            raise CourseError(
                "This model was trained without labels and has no classes to predict; "
                "give it a head first: models.replace_head(model, class_names)."
            )
        if top < 1:
            raise CourseError(
                f"The {top} likeliest classes were asked for; expected 1 up."
            )
        probabilities = self.logits(image).softmax(dim=1)
        if len(probabilities) != 1:
            raise CourseError(
                f"predict was given {len(probabilities)} images; expected one (use "
                "model.logits for a batch)."
            )
        values, indices = probabilities[0].topk(min(top, len(self.class_names)))
        return [
            Prediction(self.class_names[index], value)
            for index, value in zip(indices.tolist(), values.tolist(), strict=True)
        ]

    def copy(self) -> Model:
        """Return a model whose weights can be changed without touching this one's."""
        return replace(
            self, network=copy.deepcopy(self.network), card=copy.deepcopy(self.card)
        )


def resnet10(num_classes: int, width: int = 32) -> ResNet:
    """Build a ResNet of one block a stage, for images of 64 pixels (chapter 01).

    The layers are torchvision's and carry its names (He et al. 2016,
    arXiv 1512.03385), so what is said of them is true of resnet18 too. The stem is a
    3×3 convolution of stride 2 and no pooling: `layer4` is 4×4 for a 64×64 image.

    Args:
        num_classes: outputs; 0 for a backbone that has no classes yet.
        width: channels of the first stage; each stage doubles them.
    """
    if width < 1:
        raise CourseError(f"A resnet10 of width {width} was asked for; expected 1 up.")
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=1)
    network.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
    network.bn1 = nn.BatchNorm2d(width)
    network.maxpool = nn.Identity()
    network.layer1 = _stage(width, width, stride=1)
    for stage in (2, 3, 4):
        layer = _stage(width * 2 ** (stage - 2), width * 2 ** (stage - 1), stride=2)
        setattr(network, f"layer{stage}", layer)
    network.fc = _linear(8 * width, num_classes)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    shortcut = None
    if inputs != outputs:
        shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
            nn.BatchNorm2d(outputs),
        )
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    head = nn.Linear(inputs, max(outputs, 1))
    if not outputs:  # torch warns of a Linear that is built without outputs
        head.weight, head.bias = (
            nn.Parameter(t[:0].detach()) for t in head.parameters()
        )
        head.out_features = 0
    return head


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch's random numbers start from a seed for a block, then go on as before.

    One thread at a time: trainings run side by side in `sweep.run`.
    """
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@kinds_checked
def fresh(class_names: Sequence[str], seed: int, width: int = 32) -> Model:
    """Return a resnet10 with random weights: what "from scratch" means (chapter 02)."""
    with seeded(seed):
        network = resnet10(len(class_names), width)
    card = {"name": "resnet10 (random weights)", "seed": seed}
    return Model(network, normalising(), tuple(class_names), card)


@kinds_checked
def replace_head(model: Model, class_names: Sequence[str], seed: int = 0) -> Model:
    """Return a copy of a model with a new, random head for other classes (chapter 03).

    Args:
        model: where the backbone comes from; it is not changed.
        class_names: the classes of the target task.
        seed: of the new head's weights.
    """
    model = model.copy()
    heads = dict([head_of(model.network)]) | auxiliary_heads(model.network)
    with seeded(seed):
        for name, old in heads.items():
            new = _like(old, len(class_names)).to(old.weight.device)
            model.network.set_submodule(name, new)
    return replace(model, class_names=tuple(class_names))


def _like(old: nn.Module, outputs: int) -> nn.Module:
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, outputs, old.kernel_size, old.stride)
    return _linear(old.in_features, outputs)


@kinds_checked
def load(
    name: str | Path,
    weights: str | None = None,
    download: bool = False,
    folder: str | Path | None = None,
) -> Model:
    """Load a pretrained model by its name or its file (chapter 00).

    Args:
        name: one of `SHIPPED`; a path; a classifier of torchvision (``"vgg16"``), of
            timm (``"timm:resnet18.a1_in1k"``) or of Hugging Face
            (``"hf:microsoft/resnet-18"``).
        weights: for torchvision's, which weights: ``"IMAGENET1K_V1"``.
        download: fetch the weights if they are not on this machine yet; without it
            nothing touches the network.
        folder: where the weights lie, if not in their library's own cache.

    Raises:
        CourseError: the name is unknown, or the file is missing, damaged or foreign.
            Nothing is ever replaced by random weights.
    """
    if str(name) in SHIPPED:
        return _read(WEIGHTS / f"{name}.safetensors")
    from course import pretrained

    kind, _, rest = str(name).partition(":")
    if kind in pretrained.HUBS and rest:
        return pretrained.HUBS[kind](rest, download, folder)
    if isinstance(name, Path) or name.endswith(".safetensors") or "/" in name:
        return _read(Path(name))
    return pretrained.from_torchvision(name, weights, download, folder)


def remote(name: str, weights: str | None) -> Remote:
    """Return where torchvision's weights of a model come from, and how large they are.

    Args:
        name: of a classifier or a detector.
        weights: such as ``"IMAGENET1K_V1"``.

    Raises:
        CourseError: the model or the weights are unknown.
    """
    from course import pretrained

    return pretrained.remote_of(name, pretrained.entry(name, weights))


@kinds_checked
def save(model: Model, path: Path) -> str:
    """Write a resnet10 as half-precision safetensors with its card; return the hash.

    The file is whole or not there: it is written beside its place and moved. The card
    goes to the same name with the ending ``.json`` and holds the file's SHA-256.

    Args:
        model: a resnet10 of ours, whose card becomes the card of the file.
        path: ends in ``.safetensors``.
    """
    about = {
        "architecture": "resnet10",
        "width": str(model.network.conv1.out_channels),
        "class_names": json.dumps(model.class_names),
    }
    card = {**model.card, "class_names": list(model.class_names)}
    return write_weights(model.network, about, card, path)


def write_weights(
    network: nn.Module, about: dict[str, str], card: Mapping[str, Any], path: Path
) -> str:
    """Write a network's state in half precision, and its card; return the hash.

    Args:
        network: its floats are halved, anything else is kept.
        about: what has to be known to read the file again; it stands in its header.
        card: goes to the same name with the ending ``.json``, with the file's SHA-256.
        path: ends in ``.safetensors``.
    """
    tensors = {
        # safetensors wants plain memory order, and training leaves channels last.
        key: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    content = _in_order(to_safetensors(tensors, metadata=about))
    write_whole(path, lambda place: place.write_bytes(content))
    digest = hashlib.sha256(content).hexdigest()
    text = json.dumps({**card, "sha256": digest}, indent=2, ensure_ascii=False) + "\n"
    write_whole(
        path.with_suffix(".json"), lambda place: place.write_text(text, "utf-8")
    )
    return digest


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with the keys of its header sorted.

    The library writes them in an order that chance decides, so the same weights would
    not give the same bytes.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of eight
    return len(header).to_bytes(8, "little") + header + content[end:]


def write_whole(path: Path, write: Any) -> None:
    """Call ``write(temporary path)`` and move the result to `path` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with shelf.in_use(path.parent):
        handle, place = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            write(Path(place))
            os.chmod(place, 0o644)  # mkstemp's files are for their owner alone
            os.replace(place, path)
        finally:
            Path(place).unlink(missing_ok=True)


def _read(path: Path) -> Model:
    card = verified_card(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        class_names = texts_of(about["class_names"])
        with seeded(0):  # or the weights that are replaced would use up random numbers
            network = resnet10(len(class_names), int(about["width"]))
        network.load_state_dict(fitting(tensors, network))
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CourseError(
            f"{path.name} does not hold a resnet10 of this course; expected a file "
            "written by `course pretrain`."
        ) from error
    network.eval()
    return Model(network, normalising(), class_names, card)


def texts_of(listed: str) -> tuple[str, ...]:
    """Return the texts that a list in JSON holds.

    Raises:
        ValueError: it is no such list.
    """
    texts = json.loads(listed)
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise ValueError("no list of texts")
    return tuple(texts)


def fitting(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return weights of a file in single precision, if they are such as a network has.

    Raises:
        ValueError: a number is none, or of another kind.
    """
    for key, own in network.state_dict().items():
        if key in tensors:
            value = tensors[key]
            alike = value.is_floating_point() == own.is_floating_point()
            if not alike or not value.isfinite().all():
                raise ValueError(f"{key} holds no such numbers")
    return {
        key: value.float() if value.is_floating_point() else value
        for key, value in tensors.items()
    }


def verified_card(path: Path, known: Sequence[str] = SHIPPED) -> dict[str, Any]:
    """Return the card of a checkpoint, once the file is what its card describes.

    Args:
        path: of the weights.
        known: the names that would have worked, should there be no such file.

    Raises:
        CourseError: the file or its card is missing or damaged.
    """
    if not path.is_file():
        raise CourseError(
            f"There is no file {path.name} in {path.parent}; expected a checkpoint "
            "written by `course pretrain`, or one of: " + ", ".join(known) + "."
        )
    try:
        card = json.loads(path.with_suffix(".json").read_text("utf-8"))
        expected = card["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CourseError(
            f"The card {path.with_suffix('.json').name} beside {path.name} is missing "
            "or damaged, so the weights cannot be verified; make both anew with "
            f"`course pretrain {path.stem}`."
        ) from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise CourseError(
            f"{path.name} is not the file that its card describes: it was truncated or "
            f"altered. Fetch it again, or make it with `course pretrain {path.stem}`."
        )
    return card
