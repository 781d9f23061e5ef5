"""Feature extraction: what a frozen network says of images, computed once."""

from __future__ import annotations

import difflib
import hashlib
import re
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models.feature_extraction import (
    create_feature_extractor,
    get_graph_node_names,
)

from course import shelf
from course.arguments import kinds_checked
from course.data.tasks import Part
from course.errors import CourseError, HeldOutError, unknown
from course.families import as_map
from course.frozen import evaluating, fingerprint
from course.models import BATCH, Model, as_batch, head_of, write_whole
from course.training import device_of

LIMIT = 2 * 10**9  # bytes of a folder in which features are kept
KEPT = re.compile(r"[0-9a-f]{64}\.safetensors$")


@dataclass(frozen=True, eq=False)
class Features:
    """What a layer says of each image of a part (chapter 02).

    Args:
        values: float32 (N, D), on the CPU.
        labels: int64 (N,); None where only images were given.
        class_names: the name of each label.
        kind: ``"train"``, ``"validation"``, ``"test"``; ``"images"`` without a part.
        layer: where they were read.
    """

    values: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]
    kind: str
    layer: str

    def __len__(self) -> int:
        return len(self.values)

    def take(self, indices: Tensor) -> Features:
        """Return the features of the images at `indices` (int64), of the same kind."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, values=self.values[indices], labels=labels)


def forbid_test_features(features: Features, action: str) -> None:
    """Raise HeldOutError if these are features of a test part.

    Args:
        features: what somebody wants to learn or choose from.
        action: what for, as the subject of the sentence: ``"a probe"``.
    """
    if features.kind == "test":
        raise HeldOutError(
            f"The features of a test part were given to {action}, which would spoil "
            "every figure reported on it. Use those of task.train to learn and those "
            "of task.validation to choose; a test part is for reporting alone."
        )


@kinds_checked
def features(
    model: Model,
    part: Part | Tensor,
    layer: str = "avgpool",
    cache: str | Path | None = None,
    device: str = "auto",
) -> Features:
    """Return what a layer of a model says of images; maps are averaged over space.

    Chapter 02 writes this out. The network is in evaluation mode, so nothing of it
    moves. The same images, weights and layer are computed once and then remembered.

    Args:
        model: any model of the course or of torchvision.
        part: a part of a task, or images as uint8 (N, 3, H, W).
        layer: any module or node: ``"layer1"``, ``"layer3.0.conv2"``, ``"avgpool"``.
        cache: a folder in which to keep them too; None for memory alone. It holds
            2 GB at most: those that were not used for the longest time go.
        device: see `training.device_of`.

    Raises:
        CourseError: the layer is unknown, or the images cannot be read.
    """
    images = part.images if isinstance(part, Part) else as_batch(part)
    _forbid_in_sweep()
    with evaluating(model.network):
        extractor = _extractor(model.network, layer)
        key = _key(extractor, model, part, layer)
        file = None if cache is None else Path(cache) / f"{key}.safetensors"
        values = _MEMORY.get(key)
        values = _read(file, len(images)) if values is None else values
        if values is None:
            model.network.to(device_of(device))
            values = _computed(extractor, model, images, layer)
    _MEMORY.put(key, values)
    _write(file, values)
    return _labelled(values, part, layer)


@kinds_checked
def before_head(model: Model, part: Part | Tensor, device: str = "auto") -> Features:
    """Return what the head of a network is given for images (chapter 02).

    The same as `features` of the layer before the head, and remembered like those. It
    listens at the head and traces nothing, so it may be used in `sweep.run`.

    Args:
        model: any model of the course or of torchvision.
        part: as in `features`.
        device: see `training.device_of`.
    """
    images = part.images if isinstance(part, Part) else as_batch(part)
    network, name = model.network, head_of(model.network)[0]
    key = _key(network, model, part, "before the head", besides=name)
    values = _MEMORY.get(key)
    if values is None:
        network.to(device_of(device))
        with evaluating(network):
            values = _computed(_Listening(network), model, images)
    _MEMORY.put(key, values)
    return _labelled(values, part, f"before {name}")


class _Listening(nn.Module):
    """A network that says what its head was given, or what one of its layers gave."""

    def __init__(self, network: nn.Module, layer: str | None = None) -> None:
        super().__init__()
        self.network, self.layer = network, layer

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        heard: list[Tensor] = []
        here = threading.get_ident()

        def hear(_: nn.Module, given: tuple[Tensor, ...], *output: Any) -> None:
            if threading.get_ident() == here:  # others may use the network meanwhile
                heard.append(_first(output[0]) if output else given[0])

        if self.layer is None:
            hook = head_of(self.network)[1].register_forward_pre_hook(hear)
        else:
            place = self.network.get_submodule(self.layer)
            hook = place.register_forward_hook(hear)
        try:
            self.network(images)
        finally:
            hook.remove()
        return {"features": heard[0]}


def _first(output: Any) -> Tensor:
    """Return a layer's output; of several, as Hugging Face returns, the first."""
    return output if isinstance(output, Tensor) else output[0]


def _labelled(values: Tensor, part: Part | Tensor, layer: str) -> Features:
    if isinstance(part, Part):
        return Features(values.clone(), part.labels, part.class_names, part.kind, layer)
    return Features(values.clone(), None, (), "images", layer)


_THREAD = threading.local()


def in_sweep() -> None:
    """Say that this thread runs beside others, where no network may be traced."""
    _THREAD.in_sweep = True


def _forbid_in_sweep() -> None:
    # Tracing exchanges nn.Module.__call__ for all threads while it lasts.
    if getattr(_THREAD, "in_sweep", False):
        raise CourseError(
            "features was called by the work of a sweep, where other trainings go on "
            "at the same time; use before_head there, or compute features beforehand."
        )


def _extractor(network: nn.Module, layer: str) -> nn.Module:
    try:
        return create_feature_extractor(network, {layer: "features"})
    except ValueError as error:  # there is no such node, or no way to trace any
        if layer in dict(network.named_modules()):
            return _Listening(network, layer)
        nodes = get_graph_node_names(network)[1]
        close = difflib.get_close_matches(layer, nodes, n=1, cutoff=0.5)
        tops = [name for name, _ in network.named_children()]
        raise unknown("layer", layer, {*close, *tops}) from error


def _computed(
    extractor: nn.Module, model: Model, images: Tensor, layer: str = ""
) -> Tensor:
    device = model.device
    outputs = []
    with torch.no_grad():
        for batch in images.split(BATCH):
            output = extractor(model.preprocess(batch).to(device))["features"]
            if output.ndim == 4:  # Swin's channels come last
                output = as_map(model.network, layer, output)
            outputs.append(_averaged(output))
    return torch.cat(outputs).float().cpu().contiguous()


def _averaged(output: Tensor) -> Tensor:
    if output.ndim == 4:
        return output.mean(dim=(2, 3))
    return output.mean(dim=1) if output.ndim == 3 else output


# What was computed already --------------------------------------------------------


class Memory:
    """Features by key, the least recently used forgotten beyond a number of bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.kept: OrderedDict[str, Tensor] = OrderedDict()

    def get(self, key: str) -> Tensor | None:
        """Return what is kept under a key, or None."""
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)

    def put(self, key: str, values: Tensor) -> None:
        """Keep values, and forget the oldest others if there are too many bytes."""
        self.kept[key] = values
        self.kept.move_to_end(key)
        while sum(kept.nbytes for kept in self.kept.values()) > self.limit:
            self.kept.popitem(last=False)


_MEMORY = Memory(limit=256 * 2**20)


def forget() -> None:
    """Empty the cache of features that is kept in memory."""
    _MEMORY.kept.clear()


def _key(
    network: nn.Module,
    model: Model,
    part: Part | Tensor,
    layer: str,
    besides: str | None = None,
) -> str:
    # An extractor holds only what the layer depends on, and `besides` names the head
    # of a whole network: another head is no news.
    data = part.fingerprint() if isinstance(part, Part) else _images_hash(part)
    weights = {
        name: value
        for name, value in fingerprint(network).items()
        if besides is None or not name.startswith(f"{besides}.")
    }
    modules = [repr(m) for n, m in network.named_modules() if n and n != besides]
    shape = repr(network) if besides is None else modules
    what = (data, sorted(weights.items()), shape, repr(model.preprocess), layer)
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _images_hash(images: Tensor) -> str:
    plain = as_batch(images).cpu().contiguous()
    digest = hashlib.sha256(str(tuple(plain.shape)).encode())
    digest.update(plain.numpy().tobytes())
    return digest.hexdigest()


def _read(file: Path | None, count: int) -> Tensor | None:
    """Return the values in a file, or None where it is missing or damaged."""
    if file is None:
        return None
    try:
        values = load_file(file)["values"]
    except (OSError, RuntimeError, SafetensorError, KeyError):  # or gone meanwhile
        return None
    whole = values.ndim == 2 and len(values) == count and values.dtype == torch.float32
    shelf.touch(file)
    return values if whole and values.isfinite().all() else None


def _write(file: Path | None, values: Tensor) -> None:
    """Keep values in a file, whole or not at all; a full disk is only worth a word."""
    if file is None or _read(file, len(values)) is not None:
        return
    try:
        with shelf.in_use(file.parent):
            write_whole(file, lambda place: save_file({"values": values}, place))
            _keep_below(LIMIT, file)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        warnings.warn(
            f"Features could not be kept in {file.parent} ({reason}); going on without "
            "this cache: free some space or name another folder.",
            stacklevel=3,
        )


def kept_in(folder: Path) -> list[shelf.Entry]:
    """Return the features that `features` has kept in a folder."""
    found = (shelf.entry(path) for path in folder.iterdir() if KEPT.match(path.name))
    return [one for one in found if one is not None]


def _keep_below(limit: int, new: Path) -> None:
    """Remove what was not used for the longest time, but not what was just written."""
    kept = kept_in(new.parent)
    others = [one for one in kept if one.path != new]
    room = limit - sum(one.size for one in kept if one.path == new)
    for one in shelf.beyond(others, room):
        shelf.remove(one.path)


def checked(features: Features, layer: str, width: int) -> Tensor:
    """Return the values of features if they have the width that is expected.

    Raises:
        CourseError: they come from another layer or network.
    """
    if features.values.shape[1] != width:
        raise CourseError(
            f"Features of {features.layer!r} have {features.values.shape[1]} values an "
            f"image, and {width} of {layer!r} were expected; extract both from the "
            "same layer of the same model."
        )
    return features.values
