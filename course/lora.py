"""LoRA: a trained update of low rank beside frozen weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course import models
from course.arguments import kinds_checked
from course.errors import CourseError


class LoRAConv2d(nn.Module):
    """A frozen convolution W and an update B A of low rank: W + scale · B A.

    B starts at zero, so the first forward pass is the old one (Hu et al. 2021,
    arXiv 2106.09685; chapter 03). W of shape (out, in, 3, 3) is taken as a matrix
    (out, 9·in), and A is (rank, 9·in), B (out, rank).

    Args:
        conv: the convolution; it becomes part of this module and is frozen.
        rank: of the update.
        scale: how strongly the update counts.
    """

    def __init__(self, conv: nn.Conv2d, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self.conv = conv.requires_grad_(False)
        self.scale = scale
        inputs, device = conv.weight[0].numel(), conv.weight.device
        self.A = nn.Parameter(torch.randn(rank, inputs).to(device) / inputs**0.5)
        self.B = nn.Parameter(torch.zeros(conv.out_channels, rank, device=device))

    def weight(self) -> Tensor:
        """Return W + scale · B A, of the shape of W."""
        update = (self.B @ self.A).view_as(self.conv.weight)
        return self.conv.weight + self.scale * update

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x (N, in, H, W) with the updated weights."""
        conv = self.conv
        where = (conv.stride, conv.padding, conv.dilation, conv.groups)
        return F.conv2d(x, self.weight(), conv.bias, *where)

    def merged(self) -> nn.Conv2d:
        """Return a plain convolution that computes the same."""
        conv = copy.deepcopy(self.conv)
        conv.weight = nn.Parameter(self.weight().detach().clone())
        return conv.requires_grad_(True)


class LoRALinear(nn.Module):
    """A frozen linear layer W and an update B A of low rank: W + scale · B A.

    What `LoRAConv2d` is for a convolution. Attention reads the weights of its layers
    without calling them, so `weight` and `bias` have the names of a linear layer's.

    Args:
        linear: the layer; it becomes part of this module and is frozen.
        rank: of the update.
        scale: how strongly the update counts.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.scale = scale
        outputs, inputs = linear.weight.shape
        device = linear.weight.device
        self.A = nn.Parameter(torch.randn(rank, inputs).to(device) / inputs**0.5)
        self.B = nn.Parameter(torch.zeros(outputs, rank, device=device))

    @property
    def weight(self) -> Tensor:
        """W + scale · B A, (out, in)."""
        return self.linear.weight + self.scale * (self.B @ self.A)

    @property
    def bias(self) -> Tensor | None:
        """The layer's own bias, (out,)."""
        return self.linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer of x (…, in) with the updated weights, (…, out)."""
        return F.linear(x, self.weight, self.bias)

    def merged(self) -> nn.Linear:
        """Return a plain linear layer that computes the same."""
        linear = copy.deepcopy(self.linear)
        linear.weight = nn.Parameter(self.weight.detach().clone())
        return linear.requires_grad_(True)


_KINDS = (LoRAConv2d, LoRALinear)


@kinds_checked
def add_lora(
    network: nn.Module, rank: int = 4, scale: float = 1.0, seed: int = 0
) -> nn.Module:
    """Freeze a network and put LoRA on each of its 3×3 convolutions, in place.

    A network that has none, such as a vision transformer, gets it on its linear layers,
    but for the last one, its head.

    Args:
        network: every parameter it has is frozen; only the updates require a gradient.
        rank: of the updates, at least 1.
        scale: see `LoRAConv2d`.
        seed: of the random matrices A.

    Returns:
        The same network.

    Raises:
        CourseError: the rank is below 1, or there is nothing to put it on.
    """
    if rank < 1:
        raise CourseError(f"LoRA of rank {rank} has no parameters; expected 1 or more.")
    places = _places(network)
    if not places or any(isinstance(m, _KINDS) for m in network.modules()):
        raise CourseError(
            "LoRA needs a network with 3×3 convolutions, or with linear layers beside "
            f"its head, and without LoRA; this {type(network).__name__} has none left. "
            "Start from a plain network, such as a resnet10."
        )
    network.requires_grad_(False)
    with models.seeded(seed):
        for name in places:
            old = network.get_submodule(name)
            kind = LoRAConv2d if isinstance(old, nn.Conv2d) else LoRALinear
            network.set_submodule(name, kind(old, rank, scale))
    return network


def _places(network: nn.Module) -> list[str]:
    modules = dict(network.named_modules())
    convolutions = [name for name, module in modules.items() if _fits(module)]
    linear = [name for name, m in modules.items() if isinstance(m, nn.Linear)]
    return convolutions or linear[:-1] or _pointwise(modules)


def _pointwise(modules: Mapping[str, nn.Module]) -> list[str]:
    """Return the 1×1 convolutions, which some networks have for linear layers."""
    return [
        name
        for name, module in modules.items()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    ]


def _fits(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.padding_mode == "zeros"
    )


@kinds_checked
def merge_lora(network: nn.Module) -> nn.Module:
    """Return a plain copy of a network with LoRA that computes the same (chapter 03).

    Without LoRA the copy is equal to the network. Every parameter may be trained again.
    """
    plain = copy.deepcopy(network)
    names = [n for n, m in plain.named_modules() if isinstance(m, _KINDS)]
    for name in names:
        plain.set_submodule(name, plain.get_submodule(name).merged())
    return plain.requires_grad_(True)
