"""The zoo: what every pretrained classifier of torchvision costs, and what it earns.

The figures are torchvision's own, read from its registry; nothing is downloaded and
nothing is retyped. What they leave out is counted or timed here.
"""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from course import cost, models, sweep
from course.arguments import kinds_checked
from course.errors import CourseError, unknown
from course.pretrained import build, unknown_classifier

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

Row = Mapping[str, Any]
MB = 2**20  # bytes, as torchvision counts its files
ROOM_MB = 300  # that timing a network may take, beside what the kernel holds already
TRAINED_BATCH = 16  # images a step, for the memory that a training needs
BYTES_A_PARAMETER = 16  # a weight, its gradient and AdamW's two averages, 4 bytes each
COUNTED = ("counted_gmacs", "kept_mb", "widest_mb")
_TIMING = threading.Lock()  # two at once would time each other


def entries() -> list[dict[str, Any]]:
    """Return a row for all weights of all of torchvision's classifiers (chapter 07).

    Returns:
        Rows with "model", "weights", "source" ("torchvision"), "parameters", "gmacs"
        (giga multiply-adds for one image), "file_mb", "top1" and "top5" (ImageNet
        accuracy in per cent), "size" and "smallest" (side of the input in pixels: as
        it was tested, and at least), "licence" and "recipe" (addresses); and from the
        shipped table "zoo" "counted_gmacs", "kept_mb" and "widest_mb" (see `counted`).
        A value that nobody states is None.
    """
    return [dict(row) for row in _entries()]


@cache
def _entries() -> tuple[dict[str, Any], ...]:
    known = {(row["model"], row["size"]): row for row in sweep.load("zoo").rows}
    rows = []
    for row in stated():
        more = known.get((row["model"], row["size"]), {})
        rows.append({**row, **{field: more.get(field) for field in COUNTED}})
    return tuple(rows)


def stated() -> list[dict[str, Any]]:
    """Return the rows of `entries` without what the course has counted itself."""
    from torchvision import models as torchvision_models

    return [
        {"model": name, "source": "torchvision", **_stated(weights)}
        for name in torchvision_models.list_models(module=torchvision_models)
        for weights in torchvision_models.get_model_weights(name)
    ]


def _stated(weights: WeightsEnum) -> dict[str, Any]:
    """Return what torchvision states of some weights; what it does not is None.

    The only place that reads its keys with an underscore, which are private.
    """
    about = weights.meta
    accuracy = (about.get("_metrics") or {}).get("ImageNet-1K", {})
    smallest = about.get("min_size")
    crop = getattr(weights.transforms, "keywords", {}).get("crop_size")
    return {
        "weights": weights.name,
        "parameters": about.get("num_params"),
        "gmacs": _finite(about.get("_ops")),
        "file_mb": _finite(about.get("_file_size")),
        "top1": _finite(accuracy.get("acc@1")),
        "top5": _finite(accuracy.get("acc@5")),
        "size": crop,
        "smallest": smallest[0] if smallest else None,
        "licence": about.get("license"),
        "recipe": about.get("recipe"),
    }


def _finite(value: float | None) -> float | None:
    """Return a number, and None for what is missing or not a number."""
    return None if value is None or not math.isfinite(value) else float(value)


def own() -> list[dict[str, Any]]:
    """Return the course's own checkpoints as rows like those of `entries`.

    They were never trained on ImageNet, so their accuracy on it is None.
    """
    return [_own(name) for name in models.SHIPPED]


def _own(name: str) -> dict[str, Any]:
    model = models.load(name)
    file = models.WEIGHTS / f"{name}.safetensors"
    count = counted(lambda: models.resnet10(len(model.class_names)), models.IMAGE_SIZE)
    return {
        "model": name,
        "source": "this course",
        "weights": model.card["task"],
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "gmacs": count["counted_gmacs"],
        "file_mb": file.stat().st_size / MB,
        "top1": None,
        "top5": None,
        "size": models.IMAGE_SIZE,
        "smallest": None,
        "licence": model.card.get("licence"),
        "recipe": f"course pretrain {name}",
        **count,
    }


@kinds_checked
def find(rows: Sequence[Row], model: str, weights: str | None = None) -> Row:
    """Return the row of a model, by default that of its most accurate weights.

    Raises:
        CourseError: the model or the weights are unknown.
    """
    found = [row for row in rows if row["model"] == model]
    if not found:
        raise unknown_classifier(model, {row["model"] for row in rows})
    if weights is None:
        return max(found, key=_accuracy)
    for row in found:
        if row["weights"] == weights:
            return row
    raise unknown(f"weights of {model}", weights, [row["weights"] for row in found])


def _accuracy(row: Row) -> float:
    return -math.inf if row["top1"] is None else row["top1"]


@kinds_checked
def pareto_front(rows: Sequence[Row], cost: str, gain: str) -> list[Row]:
    """Return the rows that no other row dominates, the cheapest first (chapter 07).

    A row dominates another if it costs no more, gains no less, and is better in one of
    the two. Equal rows do not dominate each other. A row that lacks one of the two
    values can neither be on the front nor dominate.

    Args:
        rows: mappings.
        cost: the name of what should be small.
        gain: the name of what should be large.
    """
    known = [row for row in rows if None not in (row.get(cost), row.get(gain))]
    known.sort(key=lambda row: (row[cost], -row[gain]))
    front: list[Row] = []
    for row in known:
        last = front[-1] if front else None
        equal = last and (row[cost], row[gain]) == (last[cost], last[gain])
        if last is None or equal or row[gain] > last[gain]:
            front.append(row)
    return front


# What is counted ----------------------------------------------------------------------


class _Meta(TorchFunctionMode):
    """Makes weights on the meta device, and computes with small tensors as ever.

    `torch.device("meta")` would do, but for RegNet, which computes its widths.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones):
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def counted(make: Callable[[], nn.Module], size: int) -> dict[str, float]:
    """Count the arithmetic and the memory of a network, without either (chapter 07).

    The network is built on torch's "meta" device, whose tensors have shapes and no
    values. Its arithmetic is counted as in chapter 06. What autograd keeps for the
    backward pass is seen through `torch.autograd.graph.saved_tensors_hooks`.

    Args:
        make: builds the network.
        size: side of the input in pixels.

    Returns:
        "counted_gmacs", giga multiply-adds for one image; "kept_mb", what a training
        keeps for each image in float32; "widest_mb", the largest input and output of
        one layer together, for each image. Attention is counted as it is written out,
        which keeps more than fused attention does.
    """
    batch = 2  # of one image BatchNorm could not take a spread
    with _Meta():
        network = make()
    network = network.to("meta").train()
    images = torch.empty(batch, 3, size, size, device="meta")
    kept, widest = _traced(network, images)
    return {
        "counted_gmacs": cost.multiply_adds(network.eval(), images[:1]) / 1e9,
        "kept_mb": kept / batch / MB,
        "widest_mb": widest / batch / MB,
    }


def _traced(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """Return the bytes that autograd keeps, and those around the widest layer."""
    kept: list[Tensor] = []
    around = [0]

    def watch(_: nn.Module, inputs: Any, output: Any) -> None:
        tensors = [one for one in (*inputs, output) if isinstance(one, Tensor)]
        around.append(sum(one.nbytes for one in tensors))

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    leaves = [m for m in network.modules() if not list(m.children())]
    hooks = [leaf.register_forward_hook(watch) for leaf in leaves]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(images)
    for hook in hooks:
        hook.remove()
    del output
    weights = {_storage(p)[0] for p in network.parameters()}
    sizes = dict(_storage(tensor) for tensor in kept)  # one that is kept twice is one
    return sum(n for key, n in sizes.items() if key not in weights), max(around)


def _storage(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    return storage._cdata, storage.nbytes()


def training_mb(row: Row, batch: int = TRAINED_BATCH) -> float | None:
    """Estimate the memory of a training of all weights in float32 with AdamW, in MB.

    16 bytes a parameter (weight, gradient and two averages), and for each image of a
    batch what autograd keeps. An estimate from below: a GPU's library and an input
    pipeline take their own.

    Args:
        row: from `entries` or `own`.
        batch: images a step.

    Returns:
        MB, or None where the row lacks something.
    """
    if row.get("parameters") is None or row.get("kept_mb") is None:
        return None
    return BYTES_A_PARAMETER * row["parameters"] / MB + batch * row["kept_mb"]


def frozen_mb(row: Row, batch: int = TRAINED_BATCH) -> float | None:
    """Estimate the memory of a linear probe on frozen features, in MB.

    The weights once, and the widest layer's input and output for a batch: without
    gradients nothing else is kept. Arguments and result are as in `training_mb`.
    """
    if row.get("parameters") is None or row.get("widest_mb") is None:
        return None
    return 4 * row["parameters"] / MB + batch * row["widest_mb"]


# What is timed ------------------------------------------------------------------------


def latency(
    row: Row, *, runs: int = 20, seconds: float = 2.0, room_mb: float = ROOM_MB
) -> float:
    """Time a model on this machine, one image at a time, in milliseconds (chapter 07).

    The weights are random: the arithmetic is the same. The network is built, timed in
    evaluation mode and freed again.

    Args:
        row: from `entries` or `own`.
        runs: the median of how many; three or more.
        seconds: that these may take; where they would take longer there are fewer.
        room_mb: memory that it may take.

    Raises:
        CourseError: it would not fit.
    """
    needed = frozen_mb(row, batch=1)
    if needed is None or needed > room_mb:
        size = "an unknown amount" if needed is None else f"about {needed:,.0f} MB"
        raise CourseError(
            f"{row['model']} was not timed: it takes {size} of memory, and "
            f"{room_mb:,.0f} MB are set aside for timing (room_mb)."
        )
    with _TIMING:
        median = _median(row, runs, seconds)
    gc.collect()
    return median


def _median(row: Row, runs: int, seconds: float) -> float:
    """Return the median of a few passes of one image, in milliseconds."""
    with models.seeded(0):
        network = _built(row).eval()
        image = torch.rand(1, 3, row["size"], row["size"])
    once = cost.latency(network, image, repeats=1, warmup=1).median
    runs = max(3, min(runs, int(1000 * seconds / once)))
    return cost.latency(network, image, repeats=runs, warmup=0).median


def _built(row: Row) -> nn.Module:
    if row["source"] == "torchvision":
        return build(row["model"], row["size"])
    return models.load(row["model"]).network
