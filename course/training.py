"""The one training loop, and evaluation; chapter 01 writes both in plain PyTorch."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from course.arguments import check_fields, kinds_checked
from course.data.tasks import Part, forbid_test
from course.errors import CourseError, TrainingDiverged, unknown
from course.models import BATCH, Model

Batch = tuple[Tensor, Tensor]
Row = dict[str, float]
Objective = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
Groups = Callable[[nn.Module], list[dict[str, Any]]]
BatchNormPolicy = Literal["update", "freeze"]
AUGMENTATIONS = ("none", "shift", "flip", "shift+flip")
DEVICES = ("cpu", "cuda", "mps", "xpu")
AUXILIARY = 0.3  # of an auxiliary head's loss (Szegedy et al. 2015, arXiv 1409.4842)


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train: what has to be equal in a fair comparison.

    Args:
        steps: gradient steps.
        batch: images a step.
        rate: the highest learning rate, reached after the warm-up.
        weight_decay: AdamW's (Loshchilov & Hutter 2019, arXiv 1711.05101).
        warmup: share of the steps over which the rate rises; then it falls as a cosine.
        clip: largest norm of the gradient; None for no clipping.
        augment: one of ``"none"``, ``"shift"``, ``"flip"``, ``"shift+flip"``.
    """

    steps: int
    batch: int = 32
    rate: float = 3e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip: float | None = 1.0
    augment: str = "none"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.augment not in AUGMENTATIONS:
            raise unknown("augmentation", self.augment, AUGMENTATIONS)
        if self.steps < 1 or self.batch < 2 or not 0 < self.rate < math.inf:
            raise CourseError(
                f"A recipe with {self.steps} steps, batch {self.batch} and rate "
                f"{self.rate} cannot be trained; expected at least 1 step, batches of "
                "at least 2 images and a rate above 0."
            )
        clip = 1.0 if self.clip is None else self.clip
        if not (
            0 <= self.warmup <= 1 and 0 <= self.weight_decay < math.inf and clip > 0
        ):
            raise CourseError(
                f"A recipe with warm-up {self.warmup}, weight decay "
                f"{self.weight_decay} and clip {self.clip} cannot be trained; expected "
                "a share from 0 to 1, a number from 0, and a number above 0 or None."
            )

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, then a cosine to zero."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        progress = (step - rising) / max(1, self.steps - rising)
        return self.rate * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass
class History:
    """What happened in training, as plain data: one row a step.

    A row holds step, loss, accuracy (of the batch), rate, seconds (since the start).
    """

    rows: list[Row] = field(default_factory=list)
    stopped: bool = False

    @property
    def seconds(self) -> float:
        """How long the training took."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    def column(self, name: str) -> list[float]:
        """Return one quantity for every step."""
        return [row[name] for row in self.rows]


@dataclass(frozen=True, eq=False)
class Score:
    """How well a model does on a part: accuracy from 0 to 1, mean loss, predictions."""

    accuracy: float
    loss: float
    predictions: Tensor
    n: int


@kinds_checked
def device_of(name: str = "auto") -> torch.device:
    """Return the device of that name; ``"auto"`` takes the accelerator, else the CPU.

    What an accelerator is, torch says: CUDA, Apple's MPS, Intel's XPU.

    Raises:
        CourseError: the device is unknown, or this machine does not have it.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    present = "cpu" if found is None else found.type
    if name == "auto":
        return torch.device(present)
    kind = str(name).partition(":")[0]
    if kind not in DEVICES:
        raise unknown("device", name, ["auto", *DEVICES])
    if kind not in ("cpu", present):
        raise CourseError(
            f"The device {name!r} was asked for, and this machine has none; use "
            'DEVICE = "auto".'
        )
    return torch.device(name)


def pays_bf16(device: torch.device) -> bool:
    """Say whether bfloat16 is faster than float32 on this device.

    A rule and not a timing, so that two runs on one machine compute the same: on
    processors with bfloat16 instructions it nearly halves a step, on others it makes it
    longer (`benchmarks/precision.py` measures yours).
    """
    if device.type in ("cuda", "xpu"):
        return getattr(torch, device.type).is_bf16_supported()
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, bool)() for check in checks)
    return False


def autocast(device: torch.device) -> torch.autocast:
    """Return the precision in which this device computes: bfloat16 where it pays."""
    enabled = pays_bf16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def classification(
    network: nn.Module, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and accuracy of a preprocessed batch (chapter 01).

    A network with auxiliary heads is trained on the logits of all of them.
    """
    output = network(images)
    logits, *others = output if isinstance(output, tuple) else (output,)
    logits = logits.float()
    accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
    loss = F.cross_entropy(logits, labels)
    for other in others:
        loss = loss + AUXILIARY * F.cross_entropy(other.float(), labels)
    return loss, accuracy


class Trainer:
    """A network, its optimiser and how many steps they have made together.

    Args:
        network: trained in place; only parameters that require a gradient move.
        recipe: see `Recipe`.
        groups: maps the network to parameter groups, each with ``"params"`` and
            ``"scale"``, a factor on the recipe's rate; None for one group.
        batchnorm: ``"update"`` lets BatchNorm's statistics move, ``"freeze"`` does not.
        objective: maps network, images, labels to loss and accuracy.
        divisible: whether a batch that does not fit into memory may be seen in pieces,
            whose gradients add up; not where its examples are compared with each other.
        device: where to compute.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        groups: Groups | None = None,
        batchnorm: BatchNormPolicy = "update",
        objective: Objective = classification,
        divisible: bool = True,
        device: str = "auto",
    ) -> None:
        if batchnorm not in ("update", "freeze"):
            raise unknown("BatchNorm policy", batchnorm, ["update", "freeze"])
        self.device = device_of(device)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.recipe, self.batchnorm, self.objective = recipe, batchnorm, objective
        chosen = groups(network) if groups else [{"params": list(network.parameters())}]
        self.optimiser = torch.optim.AdamW(
            [_trainable({"scale": 1.0, **group}) for group in chosen],
            lr=recipe.rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.done, self.pieces, self.divisible = 0, 1, divisible

    def step(self, images: Tensor, labels: Tensor) -> Row:
        """Make one step on a preprocessed batch and return its row of the history.

        A batch that does not fit into memory is seen in two pieces, then in four, from
        then on; one sentence says so.

        Raises:
            TrainingDiverged: the loss is not a finite number.
            CourseError: not even two images fit into memory.
        """
        self.set_modes()
        rate = self.recipe.rate_at(self.done)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        loss, accuracy = self._backward(images, labels)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"The loss became {loss} at step {self.done} with learning rate "
                f"{rate:.2g}. Try a rate ten times smaller."
            )
        self._descend()
        self.done += 1
        row = {"step": self.done, "loss": loss, "accuracy": accuracy}
        return {**row, "rate": rate}

    def set_modes(self) -> None:
        """Put the network into training mode, BatchNorm as its policy says."""
        self.network.train()
        if self.batchnorm == "freeze":
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        while True:
            try:
                return self._accumulated(images, labels)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            # Out here, since the error holds on to all that had been computed.
            self._halve(len(images))

    def _accumulated(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Add up the gradients of all pieces; return mean loss and accuracy."""
        loss = accuracy = 0.0
        split = images.tensor_split(self.pieces), labels.tensor_split(self.pieces)
        for number, (seen, wanted) in enumerate(zip(*split, strict=True)):
            share = len(seen) / len(images)
            seen, wanted = placed(seen, self.device), placed(wanted, self.device)
            with autocast(self.device):
                part, right = self.objective(self.network, seen, wanted)
            if not number:  # now: freed before, their memory has to be fetched again
                self.optimiser.zero_grad(set_to_none=True)
            (part * share).backward()
            loss += share * part.item()
            accuracy += share * right.item()
        return loss, accuracy

    def _halve(self, count: int) -> None:
        held = f"A batch of {count} does not fit into the memory of this "
        held += f"{self.device.type.upper()}"
        self.pieces *= 2
        if not self.divisible or count < 2 * self.pieces:
            raise CourseError(
                f"{held}, and cannot be seen in smaller pieces; take a smaller batch, "
                "smaller images, or shut down other kernels."
            )
        if self.device.type != "cpu":
            torch.accelerator.empty_cache()
        print(
            f"{held}: from now on it is seen in {self.pieces} pieces, whose gradients "
            "add up to one step (BatchNorm takes its statistics from each piece alone)."
        )

    def _descend(self) -> None:
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()


def out_of_memory(error: RuntimeError) -> bool:
    """Say whether an error is about memory; not every device has a class for it."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(
        one in str(error) for one in words
    )


def placed(values: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, images in the order that convolutions like best.

    What is no batch of images, such as the words of a text, keeps its order.
    """
    if values.ndim == 4:
        return values.to(device, memory_format=torch.channels_last)
    return values.to(device)


def _trainable(group: dict[str, Any]) -> dict[str, Any]:
    params = [p for p in group["params"] if p.requires_grad]
    return {**group, "params": params}


def train_on(
    trainer: Trainer,
    batch_at: Callable[[int], Batch],
    *,
    progress: bool = True,
    stop: threading.Event | None = None,
    before_step: Callable[[int, nn.Module], None] | None = None,
    after_step: Callable[[Row], None] | None = None,
    history: History | None = None,
) -> History:
    """Train until the recipe's last step or until `stop` is set: the one loop.

    Args:
        trainer: what is trained; it goes on from the steps it has made already.
        batch_at: maps a step to its preprocessed images and labels, always the same.
        progress: show a bar.
        stop: set it from anywhere and the loop ends after the step it is in.
        before_step: called with the step and the network, to unfreeze layers, say.
        after_step: called with each new row, to draw or save.
        history: an earlier one to go on with.

    Returns:
        The history; the network is left in evaluation mode, usable whenever it ended.
    """
    history = History() if history is None else history
    elapsed, start = history.seconds, time.perf_counter()
    steps = range(trainer.done, trainer.recipe.steps)
    try:
        for step in tqdm(steps, desc="training", leave=False, disable=not progress):
            if stop is not None and stop.is_set():
                history.stopped = True
                break
            if before_step:
                before_step(step, trainer.network)
            row = trainer.step(*batch_at(step))
            row["seconds"] = elapsed + time.perf_counter() - start
            history.rows.append(row)
            if after_step:
                after_step(row)
    finally:
        trainer.network.eval()
    return history


@kinds_checked
def fit(
    model: Model,
    part: Part,
    recipe: Recipe,
    *,
    groups: Groups | None = None,
    batchnorm: BatchNormPolicy = "update",
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    stop: threading.Event | None = None,
    before_step: Callable[[int, nn.Module], None] | None = None,
    after_step: Callable[[Row], None] | None = None,
) -> History:
    """Train a model in place on the images of a part (chapter 01).

    Args:
        model: what is trained; its head must have the part's classes.
        part: a train part; a test part is refused.
        recipe: steps, batch, rate, augmentation.
        groups: see `Trainer`.
        batchnorm: see `Trainer`.
        seed: of the order of the images and of the augmentation.
        device: see `device_of`.
        progress: see `train_on`.
        stop: see `train_on`.
        before_step: see `train_on`.
        after_step: see `train_on`.

    Raises:
        HeldOutError: `part` is a test part.
        TrainingDiverged: the loss stopped being a finite number.
        CourseError: the part is empty or has other classes than the model.
    """
    forbid_test(part, "fit")
    _check_classes(model, part)
    trainer = Trainer(
        model.network, recipe, groups=groups, batchnorm=batchnorm, device=device
    )
    order = Shuffled(part, recipe, seed)
    return train_on(
        trainer,
        lambda step: _prepared(model, order.batch(step)),
        progress=progress,
        stop=stop,
        before_step=before_step,
        after_step=after_step,
    )


def _prepared(model: Model, batch: Batch) -> Batch:
    images, labels = batch
    return model.preprocess(images), labels


def _check_classes(model: Model, part: Part) -> None:
    if not len(part):
        raise CourseError(
            f"The {part.kind} part is empty; expected at least one labelled image."
        )
    if model.class_names != part.class_names:
        raise CourseError(
            f"The model's head has {len(model.class_names)} classes and the "
            f"{part.kind} part {len(part.class_names)} (or others); give it a head for "
            "them first: models.replace_head(model, part.class_names)."
        )


@dataclass(frozen=True, eq=False)
class Shuffled:
    """The batches of a part: a new order every epoch, each batch known from its step.

    Nothing is remembered between batches, so training can be resumed anywhere.

    Args:
        part: the images, uint8.
        recipe: gives batch size and augmentation.
        seed: of order and augmentation.
    """

    part: Part
    recipe: Recipe
    seed: int

    def places(self, step: int) -> Tensor:
        """Return which images of the part a step sees, int64 (batch,)."""
        size, count = self.recipe.batch, len(self.part)
        places = np.arange(step * size, (step + 1) * size)
        orders = {
            epoch: np.random.default_rng([self.seed, int(epoch)]).permutation(count)
            for epoch in np.unique(places // count)
        }
        return torch.tensor([int(orders[p // count][p % count]) for p in places])

    def batch(self, step: int) -> Batch:
        """Return the uint8 images and the labels of a step."""
        chosen = self.places(step)
        generator = np.random.default_rng([self.seed, step, 1])
        images = augmented(self.part.images[chosen], self.recipe.augment, generator)
        return images, self.part.labels[chosen]


def augmented(images: Tensor, how: str, generator: np.random.Generator) -> Tensor:
    """Return uint8 images (N, 3, H, W) moved by up to a sixteenth, mirrored, or both.

    Args:
        images: uint8 (N, 3, H, W).
        how: one of `AUGMENTATIONS`.
        generator: where the chance comes from.
    """
    if "shift" in how:
        images = _shifted(images, generator)
    if "flip" in how:
        flip = torch.from_numpy(generator.integers(0, 2, len(images)).astype(bool))
        images = torch.where(flip[:, None, None, None], images.flip(-1), images)
    return images


def _shifted(images: Tensor, generator: np.random.Generator) -> Tensor:
    count, _, height, width = images.shape
    margin = max(1, height // 16)
    padded = F.pad(images.float(), [margin] * 4, mode="reflect").to(torch.uint8)
    offsets = torch.from_numpy(generator.integers(0, 2 * margin + 1, (2, count)))
    rows = (offsets[0, :, None] + torch.arange(height))[:, :, None]
    columns = (offsets[1, :, None] + torch.arange(width))[:, None, :]
    image = torch.arange(count)[:, None, None]
    picked = padded.permute(0, 2, 3, 1)[image, rows, columns]
    return picked.permute(0, 3, 1, 2)


@kinds_checked
def evaluate(
    model: Model, part: Part, device: str = "auto", batch: int = BATCH
) -> Score:
    """Return accuracy and loss of a model on a part, in evaluation mode (chapter 01).

    Raises:
        CourseError: the part is empty or has other classes than the model.
    """
    _check_classes(model, part)
    if batch < 1:
        raise CourseError(f"Batches of {batch} images were asked for; expected 1 up.")
    batches = part.images.split(batch)
    logits = torch.cat(list(_logits(model, batches, device_of(device))))
    predictions = logits.argmax(dim=1)
    return Score(
        accuracy=(predictions == part.labels).float().mean().item(),
        loss=F.cross_entropy(logits, part.labels).item(),
        predictions=predictions,
        n=len(part),
    )


def _logits(
    model: Model, batches: Iterable[Tensor], device: torch.device
) -> Iterable[Tensor]:
    network = model.network.to(device, memory_format=torch.channels_last).eval()
    with torch.no_grad(), autocast(device):
        for images in batches:
            ready = model.preprocess(images)
            ready = ready.to(device, memory_format=torch.channels_last)
            yield network(ready).float().cpu()
