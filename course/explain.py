"""Grad-CAM: where a network found the evidence for a class (chapter 04)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.arguments import kinds_checked
from course.errors import CourseError, unknown
from course.families import as_map, last_tokens
from course.frozen import evaluating
from course.models import IMAGE_SIZE, Model, as_batch

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 16  # images at once: gradients keep every map on the way to the logits
# Where torchvision's families keep their last map: the first of these that is there.
_LAST_MAPS = (
    "layer4",  # ResNet, ResNeXt, Wide ResNet, and our resnet10
    "conv5",  # ShuffleNet
    "trunk_output",  # RegNet
    "inception5b",  # GoogLeNet
    "Mixed_7c",  # Inception
    "permute",  # Swin: where its channels come first again
    "blocks",  # MaxViT
    "features",  # VGG, AlexNet, DenseNet, MobileNet, EfficientNet, ConvNeXt, SqueezeNet
    "layers",  # MNASNet
)
_POOLING = (nn.MaxPool2d, nn.AvgPool2d)


@kinds_checked
def target_layer(network: nn.Module) -> str:
    """Return the name of the last convolutional map of a classifier (chapter 04).

    ``"layer4"`` in a ResNet, ``"features"`` in most others; in VGG and AlexNet the
    ReLU before the last pooling, ``"features.29"``, whose map is finer. A vision
    transformer has tokens, which are as good as a map: see `families.last_tokens`.

    Raises:
        CourseError: the network belongs to no family that is known here.
    """
    tokens = last_tokens(network)
    if tokens is not None:
        return tokens
    parts = dict(network.named_children())
    for name in _LAST_MAPS:
        if name in parts:
            return _last_map_of(name, parts[name])
    kind = type(network).__name__
    raise CourseError(
        f"The last convolutional map of a {kind} is not known; name it: layer="
        f'"…", one of {", ".join(parts) or "its modules"}.'
    )


def _last_map_of(name: str, part: nn.Module) -> str:
    inner = list(part.children())
    if isinstance(part, nn.ModuleList):  # is never called itself
        return f"{name}.{len(inner) - 1}"
    if isinstance(part, nn.Sequential) and isinstance(inner[-1], _POOLING):
        return f"{name}.{len(inner) - 2}"
    return name


@kinds_checked
def grad_cam(
    model: Model,
    images: Image | Tensor,
    classes: int | Tensor | None = None,
    layer: str | None = None,
    relu: bool = True,
) -> Tensor:
    """Return a coarse map for each image of where the evidence for a class is.

    A channel's weight is the mean over the map of the class logit's gradient; the maps
    are summed with these weights, and what speaks against the class is cut off by a
    ReLU (Selvaraju et al. 2017, arXiv 1610.02391; chapter 04 writes it out). The
    network is in evaluation mode and left as it was, without a gradient anywhere.

    Args:
        model: has a head, which gives logits (N, classes).
        images: PIL image or uint8 (3, H, W) or (N, 3, H, W).
        classes: one for all images, or int64 (N,); None for the predicted ones.
        layer: a module's dotted name; None for `target_layer`.
        relu: keep only what speaks for the class.

    Returns:
        float32 (N, h, w), on the CPU, of the layer's size: see `enlarged`.

    Raises:
        CourseError: the layer is unknown, is not on the way to the logits or gives no
            (N, C, h, w); there is no head; a class or the images cannot be used.
    """
    batch = as_batch(images)
    layer = target_layer(model.network) if layer is None else layer
    wanted = _per_image(classes, len(batch))
    _check_weights(model.network)
    maps = []
    # Out of any inference mode, whose tensors have no gradients.
    with torch.inference_mode(False), evaluating(model.network):
        for few, theirs in zip(batch.split(BATCH), wanted, strict=True):
            ready = model.preprocess(few).to(model.device)
            found = _at_layer(model, layer, ready, theirs)
            activations, gradients = (
                as_map(model.network, layer, values) for values in found
            )
            weights = gradients.mean(dim=(2, 3), keepdim=True)
            cam = (weights * activations).sum(dim=1)
            maps.append((cam.relu() if relu else cam).float().cpu())
    return torch.cat(maps)


def _at_layer(
    model: Model, layer: str, batch: Tensor, classes: int | Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return a layer's maps and the gradients of the class logits at them."""
    module = module_named(model.network, layer)
    with recording(module) as kept, torch.no_grad():
        logits = model.network(batch)
        _check_logits(logits)
        _check_map(model.network, kept, layer)
        score = chosen(logits, classes).sum()
    gradients = None
    if score.requires_grad:  # not so where the network detaches its features
        (gradients,) = torch.autograd.grad(score, kept, allow_unused=True)
    if gradients is None:
        raise CourseError(
            f"The logits do not depend on the layer {layer!r}, so it explains nothing."
        )
    return kept[0].detach(), gradients


@contextmanager
def recording(module: nn.Module) -> Iterator[list[Tensor]]:
    """Keep a module's output, and record gradients from there to the logits.

    What follows gets a copy: an in-place ReLU would write into the output itself.
    """
    kept: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not isinstance(output, Tensor):
            return output
        torch.set_grad_enabled(True)  # until the no_grad around the network ends
        kept.append(output.detach().requires_grad_(True))
        return kept[-1].clone()

    handle = module.register_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()


def module_named(network: nn.Module, layer: str) -> nn.Module:
    """Return a module by its dotted name, or raise CourseError with those at hand."""
    modules = dict(network.named_modules())
    if not layer or layer not in modules:
        tops = [name for name, _ in network.named_children()]
        close = difflib.get_close_matches(str(layer), modules, n=1, cutoff=0.5)
        raise unknown("layer", layer, {*close, *tops})
    return modules[layer]


def _check_weights(network: nn.Module) -> None:
    tensors = chain(network.parameters(), network.buffers())
    if any(tensor.is_inference() for tensor in tensors):
        raise CourseError(
            "This network's weights were made under torch.inference_mode, and nothing "
            "can be differentiated with them; build or load it outside of that block."
        )


def _check_logits(logits: Any) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.shape[1]:
        raise CourseError(
            "This model has no head, so there is no class to explain; give it one "
            "first, with models.replace_head(model, class_names), and train it."
        )


def _check_map(network: nn.Module, kept: list[Tensor], layer: str) -> None:
    if len(kept) != 1:
        raise CourseError(
            f"The layer {layer!r} gave {len(kept)} tensors in one pass, and Grad-CAM "
            "needs one; name a module that is called once and returns its map."
        )
    if as_map(network, layer, kept[0]).ndim != 4:
        raise CourseError(
            f"The layer {layer!r} gives shape {tuple(kept[0].shape)}, and Grad-CAM "
            "needs maps (N, channels, h, w) or tokens; name a layer before the pooling."
        )


def _per_image(
    classes: int | Tensor | None, count: int
) -> Sequence[int | Tensor | None]:
    """Return what is asked of each portion of the images."""
    if classes is None or torch.as_tensor(classes).ndim == 0:
        return [classes] * -(-count // BATCH)
    each = torch.as_tensor(classes)
    if each.dtype != torch.int64 or each.shape != (count,):
        raise CourseError(
            f"The classes came as {each.dtype} of shape {tuple(each.shape)}; expected "
            f"one int, or int64 of shape ({count},), one for each image."
        )
    return each.split(BATCH)


def chosen(logits: Tensor, classes: int | Tensor | None) -> Tensor:
    """Return each image's logit (or probability) of its class, (N,).

    Args:
        logits: (N, classes).
        classes: one for all, or int64 (N,); None for the largest one.

    Raises:
        CourseError: the model has no such class.
    """
    if classes is None:
        return logits.max(dim=1).values
    index = torch.as_tensor(classes).to(logits.device)
    if index.is_floating_point() or index.shape not in ((), (1,), (len(logits),)):
        raise CourseError(
            f"Classes came as {index.dtype} of shape {tuple(index.shape)}; expected a "
            f"whole number, or one for each of {len(logits)} images."
        )
    index = index.expand(len(logits)).clone()
    if index.min() < 0 or index.max() >= logits.shape[1]:
        raise CourseError(
            f"There is no class {int(min(index.min(), 0) or index.max())} to explain: "
            f"this model has the classes 0 to {logits.shape[1] - 1}."
        )
    return logits.gather(1, index[:, None])[:, 0]


def as_seen(model: Model, images: Image | Tensor) -> Tensor:
    """Return what is left of images after a model's resizing and cropping.

    A map of `grad_cam` belongs over this picture and not over a whole photograph.

    Returns:
        uint8 (N, 3, S, S).
    """
    ready = model.preprocess(images)
    for step in model.preprocess.modules():
        if hasattr(step, "mean") and hasattr(step, "std"):
            mean, std = (torch.tensor(v)[:, None, None] for v in (step.mean, step.std))
            ready = ready * std + mean
    return (ready * 255).round().clamp(0, 255).to(torch.uint8)


@kinds_checked
def enlarged(maps: Tensor, size: int | tuple[int, int] = IMAGE_SIZE) -> Tensor:
    """Return maps (N, h, w) as (N, size, size), bilinear (chapter 04).

    Args:
        maps: coarse maps, as `grad_cam` returns them.
        size: of the images: one side, or (height, width).
    """
    side = (size, size) if isinstance(size, int) else tuple(size)
    planes = as_maps(maps)[:, None]
    return F.interpolate(planes, side, mode="bilinear", align_corners=False)[:, 0]


@kinds_checked
def peaks(maps: Tensor, size: int = IMAGE_SIZE) -> Tensor:
    """Return where each map is largest: int64 (N, 2), row and column in the image.

    It is the middle of the largest cell. The largest pixel of an enlarged map would
    not do: at the border a whole strip of pixels is as large, and the first one would
    win, which is the outermost one above and the innermost one below.

    Args:
        maps: (N, h, w), coarse or of the images' size.
        size: height and width of the images.
    """
    values = as_maps(maps)
    _, high, wide = values.shape
    best = values.flatten(1).argmax(dim=1)
    row, column = best // wide, best % wide
    middle = [(2 * row + 1) * size // (2 * high), (2 * column + 1) * size // (2 * wide)]
    return torch.stack(middle, dim=1)


def as_maps(maps: Tensor) -> Tensor:
    """Return maps as float32 (N, h, w) on the CPU, or raise CourseError."""
    if not isinstance(maps, Tensor) or maps.ndim != 3 or not maps.numel():
        shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise CourseError(
            f"Maps came as {shape}; expected a tensor (N, h, w), one for each image."
        )
    return maps.detach().float().cpu()
