"""What has to be written down of a model so that others can build it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torchvision import models as zoo
from torchvision import transforms
from torchvision.transforms import v2

from course import families, models
from course.errors import CourseError

TEXTS = Path(__file__).parent / "texts"
# The two make pixels that differ by one grey level here and there.
LIBRARIES = {"torchvision.transforms": transforms, "torchvision.transforms.v2": v2}
IMPORTS = {
    "resnet10": "from torch import nn\nfrom torchvision.models import resnet",
    "torchvision": "from torchvision.models import get_model",
}
BIAS = "    network.classifier[-1].bias = torch.nn.Parameter(torch.zeros(classes))\n"
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads that only training uses


def architecture(model: models.Model) -> dict[str, Any]:
    """Return the library, the name and the arguments that build a model's network.

    Raises:
        CourseError: it is neither a resnet10 of ours nor a classifier of torchvision.
    """
    network = model.network
    if isinstance(network, zoo.ResNet) and isinstance(network.maxpool, nn.Identity):
        width = {"width": network.bn1.num_features}
        return {"library": "course", "name": "resnet10", "arguments": width}
    said = model.card.get("architecture") or model.card.get("name") or ""
    name = _builder(network, str(said))
    more = _arguments(network)
    made = {"library": "torchvision", "name": name, "arguments": more}
    if isinstance(network, zoo.MaxVit):  # its own head has no bias, a new one has
        return {**made, "bias": families.head_of(network)[1].bias is not None}
    return made


def _builder(network: nn.Module, said: str) -> str:
    """Return torchvision's name for a network: what its card says, or what fits."""
    family = [
        name
        for name in zoo.list_models(module=zoo)
        if zoo.get_model_builder(name).__annotations__.get("return") is type(network)
    ]
    first = said.partition(" ")[0]
    fitting = [first] if first in family else family
    if len(fitting) > 1:
        fitting = [name for name in family if _trunk(network) in _trunks(name, network)]
    if len(fitting) != 1:
        raise CourseError(
            f"A {type(network).__name__} called {said!r} cannot be exported; expected "
            "a resnet10 of this course or a classifier of torchvision, without LoRA "
            "(lora.merge_lora) and not compressed; those of timm and Hugging Face are "
            "saved by their own libraries."
        )
    return fitting[0]


def _trunk(network: nn.Module) -> int:
    """Return the number of parameters without the head."""
    _, head = families.head_of(network)
    count = sum(parameter.numel() for parameter in network.parameters())
    return count - sum(parameter.numel() for parameter in head.parameters())


def _trunks(name: str, network: nn.Module) -> set[int]:
    """Return what `_trunk` would be for torchvision's weights of a name."""
    _, head = families.head_of(network)
    head_of_imagenet = 1000 * (head.weight[0].numel() + 1)
    entries = zoo.get_model_weights(name)
    return {entry.meta["num_params"] - head_of_imagenet for entry in entries}


def _arguments(network: nn.Module) -> dict[str, Any]:
    if isinstance(network, zoo.VisionTransformer):
        return {"image_size": network.image_size}
    if isinstance(network, zoo.GoogLeNet | zoo.Inception3):
        scaled = network.transform_input
        return {"transform_input": scaled, "aux_logits": False, "init_weights": False}
    return {}


def weights(network: nn.Module) -> bytes:
    """Return a safetensors file of a network's weights, as they are: nothing is halved.

    Heads that only training uses are left out, so `build` makes none.
    """
    tensors = {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in network.state_dict().items()
        if not key.startswith(_AUXILIARY)
    }
    return to_safetensors(tensors, metadata={"format": "pt"})


def untrained(made: Mapping[str, Any], classes: int) -> nn.Module:
    """Return a network that `architecture` describes, with random weights.

    Args:
        made: what `architecture` returned.
        classes: outputs.
    """
    more = made["arguments"]
    if made["library"] == "course":
        return models.resnet10(classes, more["width"])
    network = zoo.get_model(made["name"], weights=None, num_classes=classes, **more)
    if made.get("bias"):
        families.head_of(network)[1].bias = nn.Parameter(torch.zeros(classes))
    return network


def build(
    made: Mapping[str, Any], tensors: Mapping[str, Tensor], classes: int
) -> nn.Module:
    """Return the network that `architecture` describes, with weights.

    Args:
        made: what `architecture` returned.
        tensors: its weights by name.
        classes: outputs.

    Raises:
        CourseError: the weights do not fit.
    """
    with models.seeded(0):  # the weights that are replaced use up no random numbers
        network = untrained(made, classes)
    state = network.state_dict()  # holds the versions that some families ask for
    try:
        state.update({key: tensors[key] for key in {*state, *tensors}})
        network.load_state_dict(state)
    except (RuntimeError, KeyError) as error:
        raise CourseError(
            f"The weights do not fit {made['name']}, so nobody could build this "
            "network again; export a plain network, without LoRA (lora.merge_lora) "
            "and not compressed."
        ) from error
    return network.eval()


def preprocessing(preprocess: models.Preprocess) -> dict[str, Any]:
    """Return the constants of a preprocessing: sizes in pixels, mean, std, library.

    Raises:
        CourseError: it does something else than resize, crop and normalise.
    """
    transform = preprocess.transform
    if hasattr(transform, "resize_size"):  # the presets of torchvision's weights
        resize = crop = norm = transform
        sizes, library = (transform.resize_size, transform.crop_size), transforms
    else:
        resize, crop, norm = _steps(transform)
        sizes = (resize.size, crop.size)
        library = v2 if isinstance(resize, v2.Resize) else transforms
    return {
        "library": library.__name__,
        "resize": _one(sizes[0]),
        "crop": _one(set(sizes[1]) if isinstance(sizes[1], tuple) else sizes[1]),
        "interpolation": transforms.InterpolationMode(resize.interpolation).value,
        "antialias": bool(resize.antialias),
        "mean": [float(value) for value in norm.mean],
        "std": [float(value) for value in norm.std],
    }


def _steps(transform: nn.Module) -> tuple[Any, Any, Any]:
    """Return the three steps with constants of a chain like `models.normalising`."""
    chain = list(transform) if isinstance(transform, nn.Sequential) else []
    for library in LIBRARIES.values():
        wanted = (library.Resize, library.CenterCrop, nn.Module, library.Normalize)
        if len(chain) == 4 and all(map(isinstance, chain, wanted)):
            return chain[0], chain[1], chain[3]
    raise CourseError(
        "The preprocessing of this model cannot be written down; expected that of "
        "models.normalising or of torchvision's weights: resize, centre crop, "
        "normalise."
    )


def _one(size: Any) -> int:
    """Return the only number of a size, which torchvision keeps in several forms."""
    sides = [size] if isinstance(size, int) else list(size)
    if len(sides) != 1:
        raise CourseError(
            f"A preprocessing to {tuple(sides)} pixels cannot be written down; "
            "expected one number: a shorter side, or the side of a square."
        )
    return sides[0]


def prepare(constants: Mapping[str, Any]) -> models.Preprocess:
    """Return the preprocessing that `preprocessing` described."""
    library = LIBRARIES[constants["library"]]
    mode = transforms.InterpolationMode(constants["interpolation"])
    return models.Preprocess(
        nn.Sequential(
            library.Resize(constants["resize"], mode, antialias=constants["antialias"]),
            library.CenterCrop(constants["crop"]),
            library.ConvertImageDtype(torch.float32),
            library.Normalize(constants["mean"], constants["std"]),
        )
    )


def program(made: Mapping[str, Any], constants: Mapping[str, Any]) -> str:
    """Return network.py: the same network and preprocessing without the workbook."""
    name = "resnet10" if made["library"] == "course" else "torchvision"
    more = {**made, **made["arguments"], "bias": BIAS if made.get("bias") else ""}
    package, _, module = constants["library"].rpartition(".")
    values = {
        **constants,
        "library": package,
        "module": module if module == "transforms" else f"{module} as transforms",
        "imports": IMPORTS[name],
        "build": _text(name).substitute(more).rstrip(),
    }
    return _text("network").substitute(values)


def _text(name: str) -> Template:
    return Template((TEXTS / f"{name}.txt").read_text("utf-8"))
