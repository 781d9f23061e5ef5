"""How the families of image classifiers are built: heads, stages, last maps.

torchvision, timm and Hugging Face keep the same things under different names. Here is
the one place that knows them, so that everything else may say "the head".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.googlenet import InceptionAux as GoogLeNetAux
from torchvision.models.inception import InceptionAux

from course.errors import CourseError

_HEADS = ("fc", "classifier", "heads", "head")
_CORES = ("network", "backbone")  # around which others put a wrapper
_PROBE = 128  # pixels a side, to see where a stack of layers gets smaller
_DEPTHS = 4  # of a transformer's blocks: after a quarter, a half, three quarters, all
# Families whose stages carry names of their own.
_STAGES = (
    ("layer1", "layer2", "layer3", "layer4"),  # ResNet, ResNeXt, Wide ResNet
    ("stage2", "stage3", "stage4", "conv5"),  # ShuffleNet
    ("conv3", "inception3b", "inception4e", "inception5b"),  # GoogLeNet
    ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),  # Inception
)
# Families that are one stack, in which a stage ends before the map gets smaller.
_STACKS = ("features", "trunk_output", "layers")
_RELU_AFTER_HEAD = "classifier.2"  # in SqueezeNet
_POOLING = (nn.MaxPool2d, nn.AvgPool2d)
_FIRST_NORMS = ("ln_1", "norm1", "layernorm_before")  # of a transformer's block


def head_of(network: nn.Module) -> tuple[str, nn.Module]:
    """Return the dotted name and the module of a classifier's last layer (chapter 03).

    Works for torchvision's classification families: `fc` (ResNet, Inception),
    `classifier[-1]` (VGG, MobileNet, EfficientNet, DenseNet, SqueezeNet's convolution),
    `heads` (ViT) and `head` (Swin); and for those of timm and Hugging Face.

    Raises:
        CourseError: no such layer is found.
    """
    for name in (*_HEADS, *(f"{core}.{head}" for core in _CORES for head in _HEADS)):
        part = _part(network, name)
        if part is not None:
            layers = [
                (f"{name}.{inner}".rstrip("."), module)
                for inner, module in part.named_modules()
                if isinstance(module, nn.Linear | nn.Conv2d)
            ]
            if layers:
                return layers[-1]
    raise CourseError(
        f"No head was found in a {type(network).__name__}; expected its last layer "
        f"under one of {', '.join(_HEADS)}."
    )


def _part(network: nn.Module, name: str) -> nn.Module | None:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None


def set_head(network: nn.Module, head: nn.Linear) -> None:
    """Let a linear layer on the averaged features be the head, in place (chapter 02).

    SqueezeNet's head is a convolution, averaged after a ReLU. There the layer becomes
    such a convolution and the ReLU goes: it would cut off every logit below zero.
    """
    name, old = head_of(network)
    if isinstance(old, nn.Conv2d):
        new = nn.Conv2d(head.in_features, head.out_features, 1)
        weights = {"weight": head.weight[:, :, None, None], "bias": head.bias}
        new.load_state_dict(weights)
        network.set_submodule(name, new.to(old.weight.device))
        network.set_submodule(_RELU_AFTER_HEAD, nn.Identity())
    else:
        network.set_submodule(name, head.to(old.weight.device))


def auxiliary_heads(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the heads that help in training only, by name (chapter 10).

    GoogLeNet and Inception have them (Szegedy et al. 2015, arXiv 1409.4842): in
    training mode such a network returns the logits of each of its heads.
    """
    last = {GoogLeNetAux: "fc2", InceptionAux: "fc"}
    return {
        f"{name}.{last[type(module)]}": getattr(module, last[type(module)])
        for name, module in network.named_modules()
        if type(module) in last
    }


def feature_layers(network: nn.Module) -> tuple[str, ...]:
    """Return the layers at which a stage of a backbone ends, the earliest first.

    Each gives a map (N, C, h, w) or tokens (N, T, D): see `as_map`. In a ResNet
    ``("layer1", "layer2", "layer3", "layer4")``; in a VGG the last ReLU before each
    pooling; in a transformer the block after each quarter of its depth.

    Raises:
        CourseError: the network is no stack of layers that is known here.
    """
    for names in _STAGES:
        if all(_part(network, name) is not None for name in names):
            return names
    stack = next((name for name in _STACKS if _part(network, name) is not None), None)
    if stack is None or hasattr(network, "pretrained_cfg"):  # timm's stacks differ
        return _quarters(network)
    return _ends(network, stack, network.get_submodule(stack))


def _ends(network: nn.Module, name: str, stack: nn.Module) -> tuple[str, ...]:
    """Return the layers of a stack after which its map gets smaller, and the last."""
    seen: list[tuple[str, int, bool]] = []
    hooks = [
        module.register_forward_hook(
            lambda m, _, out, inner=inner: seen.append(
                (f"{name}.{inner}", _side(network, out), isinstance(m, _POOLING))
            )
        )
        for inner, module in stack.named_children()
    ]
    reference = next(network.parameters())
    image = reference.new_zeros(1, 3, _PROBE, _PROBE)
    modes = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad():
            network.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return tuple(_last_of_each(seen))


def _side(network: nn.Module, output: Tensor) -> int:
    return output.shape[1 if _ends_with_channels(network) else -1]


def _ends_with_channels(network: nn.Module) -> bool:
    swin = isinstance(network, SwinTransformer)
    return swin or getattr(network, "output_fmt", "") == "NHWC"  # as timm says it


def _last_of_each(seen: Sequence[tuple[str, int, bool]]) -> Iterator[str]:
    """Yield the last layer of each size, but for a pooling that ends the stack."""
    for (place, side, pooling), following in zip(seen, [*seen[1:], None], strict=True):
        if following is None:
            if not pooling:
                yield place
        elif following[1] < side and not pooling:
            yield place


def _quarters(network: nn.Module) -> tuple[str, ...]:
    """Return four blocks of the largest stack, a quarter of its depth apart."""
    stacks = {
        name: module
        for name, module in network.named_modules()
        if name
        and isinstance(module, nn.Sequential | nn.ModuleList)
        and len(module) > 1
    }
    if not stacks:
        raise CourseError(
            f"The stages of a {type(network).__name__} are not known here; name a "
            "layer yourself."
        )
    name = max(stacks, key=lambda key: _numbers(stacks[key]))
    blocks = [inner for inner, _ in stacks[name].named_children()]
    depths = [max(1, round(len(blocks) * n / _DEPTHS)) for n in range(1, _DEPTHS + 1)]
    return tuple(f"{name}.{blocks[depth - 1]}" for depth in sorted(set(depths)))


def _numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def as_map(network: nn.Module, layer: str, output: Tensor) -> Tensor:
    """Return a layer's output as maps (N, C, h, w), wherever it can be seen as that.

    Tokens (N, T, D) become a square map; what is in front of them (a class token) is
    left out. Swin's maps, whose channels come last, are turned. Anything else stays as
    it is.
    """
    inside = layer.startswith(("features", "layers"))
    if output.ndim == 4 and inside and _ends_with_channels(network):
        return output.permute(0, 3, 1, 2)
    if output.ndim != 3:
        return output
    side = math.isqrt(output.shape[1])
    tokens = output[:, output.shape[1] - side * side :]
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def last_tokens(network: nn.Module) -> str | None:
    """Return the layer whose tokens Grad-CAM can weigh, where a network has tokens.

    It is the norm at the start of a vision transformer's last block: what comes after
    its attention reaches the logits through the class token alone, and the others have
    no gradient there. Also the last stage of a network of timm or Hugging Face; None
    for anything else.
    """
    foreign = hasattr(network, "pretrained_cfg") or hasattr(network, "network")
    if not foreign and not isinstance(network, VisionTransformer):
        return None
    layer = feature_layers(network)[-1]
    block = network.get_submodule(layer)
    norms = [name for name in _FIRST_NORMS if hasattr(block, name)]
    return f"{layer}.{norms[0]}" if norms else layer


def stages(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters by stage, from the input to the head (chapter 03).

    In a ResNet: ``"stem"`` (first convolution and its BatchNorm), ``"layer1"`` to
    ``"layer4"``, ``"head"``. What stands between two layers of `feature_layers`
    belongs to the later one, and what comes after the last one to that.
    """
    head, _ = head_of(network)
    order = {name: place for place, (name, _) in enumerate(network.named_modules())}
    spans = [(layer, _span(order, layer)) for layer in _layers(network, head)]
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        stage = "head"
        if not name.startswith(f"{head}."):
            stage = _stage_at(order[name.rpartition(".")[0]], spans)
        found.setdefault(stage, []).append(parameter)
    found["head"] = found.pop("head")
    return found


def _layers(network: nn.Module, head: str) -> Sequence[str]:
    try:
        return feature_layers(network)
    except CourseError:  # of no family: what it is made of, but for the head
        parts = [name for name, part in network.named_children() if _is_stack(part)]
        return [name for name in parts if not f"{head}.".startswith(f"{name}.")]


def _is_stack(part: nn.Module) -> bool:
    return next(part.children(), None) is not None


def _span(order: dict[str, int], layer: str) -> tuple[int, int]:
    inside = [p for name, p in order.items() if f"{name}.".startswith(f"{layer}.")]
    return min(inside), max(inside)


def _stage_at(place: int, spans: Sequence[tuple[str, tuple[int, int]]]) -> str:
    if not spans or place < spans[0][1][0]:
        return "stem"
    ends = (layer for layer, (_, end) in spans if place <= end)
    return next(ends, spans[-1][0])
