"""LoRA on convolutions: a trained update of low rank beside frozen weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course import models
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


def add_lora(
    network: nn.Module, rank: int = 4, scale: float = 1.0, seed: int = 0
) -> nn.Module:
    """Freeze a network and put LoRA on each of its 3×3 convolutions, in place.

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
    places = [name for name, module in network.named_modules() if _fits(module)]
    if not places or any(isinstance(m, LoRAConv2d) for m in network.modules()):
        raise CourseError(
            f"LoRA needs a network with 3×3 convolutions and without LoRA; this "
            f"{type(network).__name__} has none left. Start from a plain network, such "
            "as a resnet10."
        )
    network.requires_grad_(False)
    with models.seeded(seed):
        for name in places:
            new = LoRAConv2d(network.get_submodule(name), rank, scale)
            network.set_submodule(name, new)
    return network


def _fits(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (3, 3)
        and module.padding_mode == "zeros"
    )


def merge_lora(network: nn.Module) -> nn.Module:
    """Return a plain copy of a network with LoRA that computes the same (chapter 03).

    Without LoRA the copy is equal to the network. Every parameter may be trained again.
    """
    plain = copy.deepcopy(network)
    names = [n for n, m in plain.named_modules() if isinstance(m, LoRAConv2d)]
    for name in names:
        plain.set_submodule(name, plain.get_submodule(name).merged())
    return plain.requires_grad_(True)
