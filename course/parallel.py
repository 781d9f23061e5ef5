"""One training in several processes, as `torchrun` starts them.

Every process draws the same batch and sees its own slice of it, and what is summed over
the slices (the gradient, BatchNorm's statistics, the loss) is the same as if one
process had seen all. So a run does not depend on how many processes make it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from course.errors import CourseError
from course.training import Recipe, Trainer, autocast, device_of, out_of_memory, placed

PATIENCE = 5.0  # seconds that the process with the error has to print its sentence
_STARTS = itertools.count()  # a second group must not read the notes of the first


@dataclass(frozen=True)
class Team:
    """The processes that make one training, seen from one of them.

    Args:
        rank: which of them this is, from 0.
        size: how many they are.
        device: where this one computes.
    """

    rank: int = 0
    size: int = 1
    device: str = "auto"

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints and writes files."""
        return self.rank == 0

    def slice_of(self, count: int) -> slice:
        """Return which of `count` examples are this process's; all are somebody's."""
        edges = [count * rank // self.size for rank in (self.rank, self.rank + 1)]
        return slice(*edges)

    def summed(self, *values: float) -> list[float]:
        """Return sums of numbers over all processes; each waits here for the others."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()

    def gathered(self, rows: Tensor) -> Tensor:
        """Return the rows (N, D) of all processes in order, with their gradients."""
        if self.size == 1:
            return rows
        counts = self.summed(*(len(rows) * (r == self.rank) for r in range(self.size)))
        before = int(sum(counts[: self.rank]))
        after = int(sum(counts)) - before - len(rows)
        return Summed.apply(F.pad(rows, (0, 0, before, after)))

    def agree_on(self, done: int) -> None:
        """Raise a `CourseError` unless all processes have made equally many steps."""
        if self.summed(done)[0] != done * self.size:
            raise CourseError(
                "The processes found different unfinished work; on several machines "
                "--out has to be a folder that all of them share."
            )

    def must_be_one(self, name: str) -> None:
        """Raise a `CourseError` where several processes would make one thing each."""
        if self.size > 1:
            raise CourseError(
                f"{name} is made by one process, and torchrun started {self.size}; "
                f"start it as: course pretrain {name}."
            )


ALONE = Team()


def leads() -> bool:
    """Say whether this process is the only one or the first of those of `torchrun`."""
    return not _several() or os.environ["RANK"] == "0"


def _several() -> bool:
    started = "TORCHELASTIC_RUN_ID" in os.environ  # by torchrun
    return started and os.environ["WORLD_SIZE"] != "1"


@contextmanager
def joined(device: str = "auto") -> Iterator[Team]:
    """Join the other processes of `torchrun`; without it, work `ALONE`.

    Where something fails, one process says so and the others end silently.

    Args:
        device: as `training.device_of` takes it; with GPUs, one for each process.

    Raises:
        CourseError: there are too few GPUs, or another process ended.
        SystemExit: something failed, and another process has said so.
    """
    if not _several():
        yield Team(device=device)
        return
    store = dist.PrefixStore(f"course/{next(_STARTS)}", _store())
    try:
        yield _join(store, device)
    except BaseException as error:
        if not _first_to_fail(store):
            with suppress(KeyboardInterrupt):  # a second one comes from torchrun
                time.sleep(PATIENCE)  # it ends this process when the other has spoken
            raise SystemExit(2) from error
        if isinstance(error, RuntimeError) and "onnection" in str(error):
            raise CourseError(
                "Another process of this run has ended; what was saved before is "
                "whole, and --resume goes on with it."
            ) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join(store: dist.Store, device: str) -> Team:
    team = Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), _place(device))
    backend = dist.get_default_backend_for_device(team.device)
    dist.init_process_group(backend, store=store, rank=team.rank, world_size=team.size)
    return team


def _place(device: str) -> str:
    kind = device_of(device).type
    if kind in ("cpu", "mps"):
        return "cpu"  # MPS has one GPU, and no way to talk to other processes
    here, wanted = torch.accelerator.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
    if wanted > here:
        raise CourseError(
            f"{wanted} processes were started on a machine with {here} GPUs; each "
            f"needs its own: start torchrun with --nproc-per-node {here}."
        )
    local = int(os.environ["LOCAL_RANK"])
    torch.accelerator.set_device_index(local)
    return f"{kind}:{local}"


@cache
def _store() -> dist.Store:
    """Return where the processes of torchrun leave notes for each other."""
    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # by torchrun
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=not kept and os.environ["RANK"] == "0",
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(attempt, store)


def _first_to_fail(store: dist.Store) -> bool:
    try:
        return store.add("failed", 1) == 1
    except RuntimeError:
        return False  # the store has gone, and with it the process that kept it


class Summed(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is summed likewise."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Return the sum, the same bits in every process."""
        del ctx
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the sum of what all processes make of the sum."""
        del ctx
        return Summed.apply(gradient)


def share_batchnorm(network: nn.Module) -> nn.Module:
    """Let BatchNorm take its statistics from the slices of all processes.

    On a GPU that is torch's own SyncBatchNorm, which the CPU does not have; there, the
    modules stay what they are and compute otherwise. Names in the state do not change
    either way, nor does what is computed in evaluation mode.

    Args:
        network: changed in place; its BatchNorm has weights and running statistics.
    """
    if next(network.parameters()).device.type != "cpu":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_normalised, module)
    return network


def _normalised(norm: _BatchNorm, images: Tensor) -> Tensor:
    if not norm.training:
        return type(norm).forward(norm, images)
    return Normalised.apply(images, norm.weight, norm.bias, norm)


class Normalised(torch.autograd.Function):
    """BatchNorm of a slice with the statistics of all slices, and its gradient.

    Written out, and not left to autograd, since that took a whole step twice as long.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, norm: _BatchNorm
    ) -> Tensor:
        """Return the slice (N, C, ...) normalised; the running statistics move."""
        sums = _sums(images)
        dist.all_reduce(sums)
        count, mean = sums[0, 0].item(), sums[1] / sums[0]
        variance = (sums[2] / sums[0] - mean.square()).clamp(min=0)
        _track(norm, count, mean, variance)
        statistics = mean.to(weight), variance.to(weight)
        ctx.save_for_backward(images, weight, *statistics)
        ctx.count, ctx.eps = count, norm.eps
        return F.batch_norm(images, *statistics, weight, bias, eps=norm.eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; that of the slice knows that it moved the statistics.

        With x the normalised slice and w the weight over the deviation, it is
        w (g - mean(g) - x mean(g x)), the means being over the slices of all.
        """
        images, weight, *statistics = ctx.saved_tensors
        given = gradient, images, weight, *statistics, None, None, False, ctx.eps
        backward = torch.ops.aten.native_batch_norm_backward
        direct, times, plain = backward(*given, [True] * 3)
        means = torch.stack([times, plain])
        dist.all_reduce(means)
        means *= weight / ctx.count * (statistics[1] + ctx.eps).rsqrt()
        moved = F.batch_norm(images, *statistics, *means, eps=ctx.eps)
        return direct - moved, times, plain, None


def _sums(images: Tensor) -> Tensor:
    """Return count, sum and sum of squares of each channel, float64 (3, C)."""
    dims = [d for d in range(images.ndim) if d != 1]
    sums = torch.zeros(3, images.shape[1], dtype=torch.float64)
    sums[0] = images.numel() // images.shape[1]
    for few in images.split(4):  # what fits into the cache is faster, and more exact
        values = few.to(torch.promote_types(few.dtype, torch.float32))
        sums[1] += values.sum(dims)
        sums[2] += values.square().sum(dims)
    return sums


def _track(norm: _BatchNorm, count: float, mean: Tensor, variance: Tensor) -> None:
    norm.num_batches_tracked += 1
    momentum = norm.momentum
    if momentum is None:
        momentum = 1 / norm.num_batches_tracked.item()
    norm.running_mean.lerp_(mean.to(norm.running_mean), momentum)
    unbiased = variance * count / (count - 1)
    norm.running_var.lerp_(unbiased.to(norm.running_var), momentum)


class SharedTrainer(Trainer):
    """A trainer whose batches are seen by several processes, a slice by each.

    A batch that does not fit into memory is not seen in pieces: a process that did so
    alone would be out of step with the others.

    Args:
        network: see `Trainer`; the same in all processes.
        recipe: see `Trainer`.
        team: the processes.
        options: see `Trainer`.

    Raises:
        CourseError: there are fewer examples in a batch than processes.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, team: Team, **options: Any
    ) -> None:
        if recipe.batch < team.size:
            raise CourseError(
                f"{team.size} processes cannot share a batch of {recipe.batch}; start "
                f"at most {recipe.batch}."
            )
        super().__init__(network, recipe, device=team.device, **options)
        self.team, self.network = team, share_batchnorm(self.network)
        self.spread = DistributedDataParallel(self.network)

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        mine = self.team.slice_of(len(images))
        share = (mine.stop - mine.start) / len(images)
        seen, wanted = placed(images[mine], self.device), labels[mine].to(self.device)
        self.optimiser.zero_grad(set_to_none=True)
        try:
            with autocast(self.device):
                loss, right = self.objective(self.spread, seen, wanted)
            (loss * share * self.team.size).backward()  # the gradients are averaged
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise CourseError(
                f"{len(seen)} images, the slice of one process, do not fit into the "
                f"memory of this {self.device.type.upper()}; start more processes on "
                "more devices, or only one, which sees a batch in pieces."
            ) from error
        total = self.team.summed(share * loss.item(), share * right.item())
        return total[0], total[1]


def trainer(
    network: nn.Module, recipe: Recipe, team: Team = ALONE, **options: Any
) -> Trainer:
    """Return the trainer for a team: the plain one where it is one process.

    Args:
        network: see `Trainer`.
        recipe: see `Trainer`.
        team: the processes.
        options: see `Trainer`; its device is the team's.
    """
    if team.size == 1:
        return Trainer(network, recipe, device=team.device, **options)
    return SharedTrainer(network, recipe, team, **options)
