"""What a network costs: bytes, multiply-adds, time and memory (chapter 06)."""

from __future__ import annotations

import copy
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from course.arguments import kinds_checked
from course.errors import CourseError

MB = 1_000_000  # bytes, as file sizes are given; not 2**20


class Latency(NamedTuple):
    """Milliseconds a call: the median of many, and the quartiles around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What one network costs on one machine (chapter 06).

    Args:
        parameters: how many numbers were learned.
        file_bytes: of its weights as a safetensors file on disk.
        memory_bytes: of its weights and buffers in memory.
        multiply_adds: of one image.
        peak_bytes: of the largest batch and what is computed from it, at the worst
            moment; without the weights.
        latency: batch size to `Latency`; of this machine, at this moment.
    """

    parameters: int
    file_bytes: int
    memory_bytes: int
    multiply_adds: int
    peak_bytes: int
    latency: Mapping[int, Latency]

    def row(self, name: str, **more: Any) -> dict[str, Any]:
        """Return a row of a table: sizes in MB, multiply-adds in millions, times in ms.

        Args:
            name: of the network.
            more: columns that come after the name, such as its accuracy.
        """
        times = {f"ms, batch {n}": t.median for n, t in self.latency.items()}
        return {
            "network": name,
            **more,
            "parameters": f"{self.parameters:,}",
            "file, MB": self.file_bytes / MB,
            "multiply-adds, M": self.multiply_adds / 1e6,
            **times,
            "peak memory, MB": self.peak_bytes / MB,
        }


@kinds_checked
def measure(
    network: nn.Module,
    images: Tensor,
    *,
    batches: Sequence[int] = (1, 32),
    repeats: int = 20,
) -> Cost:
    """Measure everything about a network that costs something (chapter 06).

    Args:
        network: in evaluation mode; it is copied and not changed.
        images: preprocessed float32 (N, 3, H, W); for a larger batch they are repeated.
        batches: for which sizes the time of a call is measured; the memory is that of
            the largest.
        repeats: calls at batch 1; larger batches get fewer, at least five.

    Raises:
        CourseError: there is no image, or no batch size of at least 1.
    """
    _check_images(images)
    if len(images) < 1 or not len(batches) or min(batches) < 1:
        raise CourseError(
            f"A cost was asked of {len(images)} images in batches of {list(batches)}; "
            "expected at least one image and batch sizes from 1."
        )
    # Training leaves the weights channels last: all are timed in the same order.
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    network.requires_grad_(False).eval()
    stacks = {n: _batch(images, n) for n in batches}
    times = {
        n: latency(network, stack, max(5, repeats // n)) for n, stack in stacks.items()
    }
    return Cost(
        parameters=parameters(network),
        file_bytes=file_bytes(network),
        memory_bytes=memory_bytes(network),
        multiply_adds=multiply_adds(network, images[:1]),
        peak_bytes=peak_bytes(network, stacks[max(batches)]),
        latency=times,
    )


def _check_images(images: Tensor) -> None:
    if getattr(images, "ndim", 0) != 4:
        shape = tuple(getattr(images, "shape", ()))
        raise CourseError(
            f"Images of shape {shape} were given; expected preprocessed "
            "ones, (N, 3, height, width)."
        )


def _batch(images: Tensor, size: int) -> Tensor:
    return images[torch.arange(size) % len(images)]


@kinds_checked
def parameters(network: nn.Module) -> int:
    """Return how many learned numbers a network has, of whatever type."""
    return sum(parameter.numel() for parameter in network.parameters())


def memory_bytes(network: nn.Module) -> int:
    """Return the bytes of parameters and buffers in memory."""
    return sum(t.nbytes for t in network.state_dict().values())


@kinds_checked
def file_bytes(network: nn.Module) -> int:
    """Return the size of a network's weights on disk: a safetensors file is written."""
    tensors = {
        # safetensors wants plain memory order, and training leaves channels last
        name: value.cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(tensors, path)
        return path.stat().st_size


@kinds_checked
def multiply_adds(network: nn.Module, images: Tensor) -> int:
    """Return the multiply-adds of one forward pass, in convolutions and products.

    torch counts FLOPs, and a multiply-add is two of them. Additions, BatchNorm and
    ReLU are not in it; they are few.

    Args:
        network: in evaluation mode.
        images: float32 (N, 3, H, W); with one image the count is that of one.
    """
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_INT8) as count:
        network(images)
    return count.get_total_flops() // 2


def _int8_flops(*shapes: Any, out_shape: Sequence[int], **_: Any) -> int:
    weight = shapes[3]  # (out, in / groups, height, width)
    return 2 * int(np.prod(out_shape)) * int(np.prod(weight[1:]))


def _int8_formulas() -> dict[Any, Callable[..., int]]:
    """Tell torch's counter about the int8 convolution, where this torch has one."""
    kernel = getattr(torch.ops.onednn, "qconv2d_pointwise", None)
    return {} if kernel is None else {kernel: _int8_flops}


_INT8 = _int8_formulas()


@kinds_checked
def latency(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    repeats: int = 20,
    warmup: int = 3,
) -> Latency:
    """Time a forward pass: the median of many, and the quartiles (chapter 06).

    Args:
        network: in evaluation mode.
        images: the batch of every call, float32 (N, 3, H, W).
        repeats: timed calls.
        warmup: calls before them, which are slower: memory is fetched, kernels chosen.

    Raises:
        CourseError: fewer than one timed call was asked for.
    """
    if repeats < 1 or warmup < 0:
        raise CourseError(
            f"{repeats} timed calls after {warmup} others were asked for; expected at "
            "least 1, after 0 or more."
        )
    seconds = []
    with torch.no_grad():
        for call in range(warmup + repeats):
            start = time.perf_counter()
            # Reading a number waits for a GPU, which else returns before it is done.
            network(images).flatten()[0].item()
            if call >= warmup:
                seconds.append(time.perf_counter() - start)
    low, middle, high = np.percentile(seconds, [25, 50, 75]) * 1000
    return Latency(float(middle), float(low), float(high))


@kinds_checked
def peak_bytes(network: Callable[[Tensor], Tensor], images: Tensor) -> int:
    """Return the most bytes alive at once in a forward pass, besides the weights.

    On CUDA the allocator is asked. Elsewhere every tensor that an operation makes is
    followed until it is freed; what a kernel takes for itself and gives back before it
    returns is not seen. The batch itself counts.

    Args:
        network: in evaluation mode.
        images: float32 (N, 3, H, W).
    """
    with torch.no_grad():
        if images.device.type == "cuda":
            return _cuda_peak(network, images)
        with _Alive(images) as alive:
            network(images)
    return alive.peak


def _cuda_peak(network: Callable[[Tensor], Tensor], images: Tensor) -> int:
    torch.cuda.synchronize(images.device)
    torch.cuda.reset_peak_memory_stats(images.device)
    before = torch.cuda.memory_allocated(images.device)
    network(images)
    torch.cuda.synchronize(images.device)
    return torch.cuda.max_memory_allocated(images.device) - before + images.nbytes


class _Alive(TorchDispatchMode):
    """Sums the memory of all tensors made under it, as they come and go."""

    def __init__(self, batch: Tensor) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0
        self._follow(batch)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        known = {_place(value) for value in args if _has_place(value)}
        result = operation(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            # In place and as a view nothing new is made.
            if _has_place(value) and _place(value) not in known:
                self._follow(value)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage, place = tensor.untyped_storage(), _place(tensor)
        if not storage.nbytes() or place in self.sizes:
            return
        self.sizes[place] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, place).atexit = False

    def _free(self, place: int) -> None:
        self.now -= self.sizes.pop(place, 0)


def _has_place(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
