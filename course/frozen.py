"""Is it really frozen? Hashes of parameters and buffers (chapter 03)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from course.errors import CourseError


def tensor_hash(tensor: Tensor) -> str:
    """Return a hash of a tensor's type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(str((plain.dtype, tuple(plain.shape))).encode())
    digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fingerprint(module: nn.Module) -> dict[str, str]:
    """Return the hash of every parameter and every buffer by name (chapter 03).

    Buffers are what is easily forgotten: BatchNorm's moving mean and variance are no
    parameters, no optimiser touches them, and they move in every training step.
    """
    tensors = chain(module.named_parameters(), module.named_buffers())
    return {name: tensor_hash(tensor) for name, tensor in tensors}


@contextmanager
def assert_frozen(module: nn.Module, besides: Sequence[str] = ()) -> Iterator[None]:
    """Check that nothing of a module moves while the block runs (chapter 03).

    Args:
        module: a network or a part of one.
        besides: names of the parts that may move, such as ``("fc",)``.

    Raises:
        CourseError: something moved or vanished; the message names it.
    """
    before = fingerprint(module)
    yield
    after = fingerprint(module)
    moved = [
        name
        for name, value in before.items()
        if after.get(name) != value and not _within(name, besides)
    ]
    if moved:
        raise CourseError(_what_moved(moved))


def _within(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _what_moved(moved: list[str]) -> str:
    shown = ", ".join(moved[:4]) + (", …" if len(moved) > 4 else "")
    if all(name.rpartition(".")[2] in _STATISTICS for name in moved):
        way_out = (
            "these are BatchNorm's statistics, which move in training mode whatever "
            'requires_grad says: train with batchnorm="freeze"'
        )
    else:
        way_out = "set requires_grad_(False) on what has to stay, before training"
    return (
        f"This was to stay frozen and did not: {shown} ({len(moved)} in all); "
        f"{way_out}."
    )


_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a block; give each module its mode back.

    In this mode BatchNorm uses its stored statistics and does not move them.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
