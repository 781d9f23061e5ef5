"""How fast a training step is, how fast it could be, and what each change brings.

Chapter 12 writes the loop and its rungs out; this is the same for `course gpu-table`,
which measures them on a GPU.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from course import data, models
from course.data.tasks import Part, Task, forbid_test
from course.errors import CourseError
from course.models import Model
from course.sweep import TABLES, Table, load, save
from course.training import Batch, device_of, evaluate

TABLE = "gpu-ladder"
SOURCE, TARGET = "resnet10-shapes", "digits"
RATE = 2e-3  # of AdamW at BATCH images, and with the root of the batch beyond
BATCH = 16
GPU_BATCH = 1024  # the larger one, where it takes that many to keep a device busy
Row = dict[str, Any]
Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Setup:
    """How a network is trained; a rung changes one line of it (chapter 12).

    Args:
        precision: ``"fp32"``, ``"tf32"``, or ``"half"``: see `half`.
        channels_last: whether the channels of a pixel lie side by side in memory.
        batch: images a step.
        compiled: torch.compile's mode, such as ``"default"``; empty for none.
        reads: whether every step's loss is read back, which waits for it.
        feed: ``"plain"`` prepares each batch when its turn comes, ``"ahead"`` in a
            thread while the one before it is trained on, ``"resident"`` all of them
            beforehand, on the device.
    """

    precision: str = "fp32"
    channels_last: bool = False
    batch: int = BATCH
    compiled: str = ""
    reads: bool = True
    feed: str = "plain"


@dataclass(frozen=True)
class Rung:
    """One change on the way to a faster step.

    Args:
        name: of the change.
        change: of the `Setup`, by name.
        devices: the types of device that it is for; none for all of them.
        elsewhere: on others, one sentence that says why not.
    """

    name: str
    change: Mapping[str, Any] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    elsewhere: str = ""

    def applies(self, device: torch.device) -> bool:
        """Say whether there is anything to measure on a device."""
        return not self.devices or device.type in self.devices


RUNGS = (
    Rung("fp32"),
    Rung(
        "TF32",
        {"precision": "tf32"},
        ("cuda",),
        "TF32 is a format of NVIDIA's matrix units; here float32 stays what it is.",
    ),
    Rung("half precision", {"precision": "half"}),
    Rung("channels_last", {"channels_last": True}),
    Rung("fewer syncs", {"reads": False}),
    Rung("larger batch", {"batch": 4 * BATCH}),
    Rung("torch.compile", {"compiled": "default"}),
    Rung(
        "CUDA graphs",
        {"compiled": "reduce-overhead"},
        ("cuda",),
        "A CUDA graph replays the kernels of a step at one call of the driver; a CPU "
        "calls its kernels itself, and nothing is in between that could be saved.",
    ),
    Rung("fed ahead", {"feed": "ahead"}),
    Rung("data on the device", {"feed": "resident"}),
)


def half(device: torch.device) -> torch.dtype:
    """Return the format of 16 bits that a device computes in: bfloat16 or float16.

    float16 has few exponents: small gradients would be lost, so the loss is scaled up.
    """
    if device.type == "cuda":
        # Without emulation: older cards have float16 alone.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.float16 if device.type == "mps" else torch.bfloat16


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


@contextlib.contextmanager
def float32_as(precision: str) -> Iterator[None]:
    """Let products of float32 on CUDA be rounded to TF32, or not at all, for a while.

    Convolutions are, unless somebody forbids it.

    Args:
        precision: ``"tf32"``; anything else forbids it.
    """
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


# One rung, ready to run ---------------------------------------------------------------


class Loop:
    """A network that is trained as a `Setup` says, from the same start each time.

    Args:
        model: the start, with the classes of the part; it is copied.
        part: a train part, whose images are drawn with replacement.
        setup: what the rungs change.
        device: where to compute.
        step: makes a step instead of `Loop.step`; gets network, optimiser, images,
            labels, and returns the loss.
    """

    def __init__(
        self,
        model: Model,
        part: Part,
        setup: Setup,
        device: torch.device,
        step: Step | None = None,
    ) -> None:
        forbid_test(part, "a training loop")
        self._own = step
        self.setup, self.device, self.part = setup, device, part
        self.model = model.copy()
        layout = torch.channels_last if setup.channels_last else torch.contiguous_format
        network = self.model.network.to(device, memory_format=layout).train()
        self._start = {k: v.clone() for k, v in network.state_dict().items()}
        self._layout = layout
        self._network = compiled(network, setup.compiled)
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=RATE * (setup.batch / BATCH) ** 0.5, fused=True
        )
        self.kind = half(device) if setup.precision == "half" else torch.float32
        scaled = self.kind is torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self._resident = self._prepared() if setup.feed == "resident" else None

    def reset(self) -> None:
        """Go back to the start; what was compiled stays."""
        self.model.network.load_state_dict(self._start)
        self.model.network.train()
        self.optimiser.state.clear()

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Make one training step and return its loss, which may not be known yet."""
        if self._own:
            return self._own(self._network, self.optimiser, images, labels)
        lower = self.kind is not torch.float32
        with torch.autocast(self.device.type, self.kind, enabled=lower):
            loss = F.cross_entropy(self._network(images).float(), labels)
        self.optimiser.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.step(self.optimiser)
        self._scaler.update()
        return loss.detach()

    def train(self, steps: int, seed: int = 0) -> float:
        """Make some steps and return their mean loss."""
        losses = []
        cuda = self.device.type == "cuda"
        with float32_as(self.setup.precision) if cuda else contextlib.nullcontext():
            for batch in self.batches(steps, seed):
                loss = self.step(*batch)
                losses.append(loss.item() if self.setup.reads else loss)
        return float(sum(losses)) / steps

    def seconds(self, steps: int) -> float:
        """Return how long some steps take, until the device is done with them."""
        synchronise(self.device)
        start = time.perf_counter()
        self.train(steps)
        synchronise(self.device)
        return time.perf_counter() - start

    def peak_mb(self) -> float:
        """Return the MB that a step needs besides weights and their moments."""
        batch = next(self.batches(1, seed=0))
        self.step(*batch)
        self.optimiser.zero_grad(set_to_none=True)
        return peak_mb(lambda: self.step(*batch), self.device)

    def batches(self, steps: int, seed: int) -> Iterator[Batch]:
        """Yield the batches of a seed, as the setup feeds them."""
        size = (steps, self.setup.batch)
        drawn = np.random.default_rng([seed, 12]).integers(0, len(self.part), size)
        places = torch.from_numpy(drawn)
        if self._resident is not None:
            images, labels = self._resident
            for chosen in places.to(self.device):
                yield self._ordered(images[chosen]), labels[chosen]
        elif self.setup.feed == "ahead":
            yield from ahead(self._load, places)
        else:
            yield from map(self._load, places)

    def _load(self, chosen: Tensor) -> Batch:
        images = self.model.preprocess(self.part.images[chosen])
        batch = images, self.part.labels[chosen]
        ahead = self.setup.feed == "ahead" and self.device.type == "cuda"
        if ahead:  # out of memory that stays in its place the copy runs by itself
            batch = tuple(values.pin_memory() for values in batch)
        images, labels = (v.to(self.device, non_blocking=ahead) for v in batch)
        return self._ordered(images), labels

    def _prepared(self) -> Batch:
        images = self.model.preprocess(self.part.images)
        return images.to(self.device), self.part.labels.to(self.device)

    def _ordered(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self._layout)


def compiled(network: nn.Module, mode: str) -> nn.Module:
    """Return a network that torch.compile will translate when it is first called.

    Args:
        network: stays as it is, and shares its weights.
        mode: of torch.compile; empty for the network itself.
    """
    if not mode:
        return network
    # It warns wherever CUDA's compiler is installed without a card.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    return torch.compile(network, mode=mode)


def ahead(load: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Yield what `load` makes of each item; a thread makes the next one meanwhile."""
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(load, items[0])
        for item in items[1:]:
            ready, coming = coming, pool.submit(load, item)
            yield ready.result()
        yield coming.result()


def peak_mb(run: Callable[[], Any], device: torch.device) -> float:
    """Return the most MB alive at once in a call, besides what was there before.

    An accelerator's allocator is asked; on a CPU the profiler follows what is taken and
    given back. Where neither is to be had (MPS), the answer is not a number.

    Args:
        run: what is called once; it should not free what it did not make.
        device: where it computes.
    """
    if device.type == "cpu":
        return _traced_peak(run) / 1e6
    if device.type == "mps":
        return float("nan")
    synchronise(device)
    torch.accelerator.reset_peak_memory_stats()
    before = torch.accelerator.memory_allocated()
    run()
    synchronise(device)
    return (torch.accelerator.max_memory_allocated() - before) / 1e6


def _traced_peak(step: Callable[[], Any]) -> int:
    now = peak = 0
    for event in traced(step, memory=True):
        if event.get("name") == "[memory]":
            now += event["args"]["Bytes"]
            peak = max(peak, now)
    return peak


def traced(run: Callable[[], Any], *, memory: bool = False) -> list[dict[str, Any]]:
    """Return what the profiler saw of a call: the events of a Chrome trace, in order.

    Args:
        run: what is called once.
        memory: also follow what is allocated and freed.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would talk about itself
    watched = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        watched.append(ProfilerActivity.CUDA)
    with profile(activities=watched, profile_memory=memory) as seen:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf-8"))["traceEvents"]
    return sorted(events, key=lambda event: event.get("ts", 0.0))


# The floor ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """What a device does at best (chapter 12).

    Args:
        flops: additions and multiplications a second, by format.
        bytes: read and written a second, in a long copy.
    """

    flops: Mapping[torch.dtype, float]
    bytes: float


def rates(device: torch.device, tries: int = 8) -> Rates:
    """Measure how fast a device multiplies and copies; the best of some tries.

    Args:
        device: what is measured.
        tries: of each kind.
    """
    flops = {
        kind: max(_product(device, kind, tries), _convolution(device, kind, tries))
        for kind in (torch.float32, half(device))
    }
    size = 2**25 if device.type == "cpu" else 2**30
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Rates(flops, 2 * size / _best(lambda: target.copy_(source), device, tries))


def _product(device: torch.device, kind: torch.dtype, tries: int) -> float:
    side = 1024 if device.type == "cpu" else 8192
    a = torch.ones(side, side, dtype=kind, device=device)
    return 2 * side**3 / _best(lambda: a @ a, device, tries)


def _convolution(device: torch.device, kind: torch.dtype, tries: int) -> float:
    """Return the rate of a convolution: a CPU has two libraries, of unequal speed."""
    count = 32 if device.type == "cpu" else 1024
    images = torch.ones(count, 128, 16, 16, dtype=kind, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    weight = torch.ones(128, 128, 3, 3, dtype=kind, device=device)
    weight = weight.contiguous(memory_format=torch.channels_last)
    work = 2 * images.numel() * 128 * 9
    return work / _best(lambda: F.conv2d(images, weight, padding=1), device, tries)


def _best(run: Callable[[], Any], device: torch.device, tries: int) -> float:
    seconds = []
    with torch.no_grad():
        for _ in range(tries + 1):  # the first one chooses kernels
            start = time.perf_counter()
            run()
            synchronise(device)
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


@dataclass(frozen=True)
class Work:
    """What one training step has to do, however it is programmed (chapter 12).

    Args:
        flops: additions and multiplications, forwards and backwards.
        bytes: what is kept for the way back, written and read once, and what AdamW
            reads and writes: weight, gradient and two moments.
        images: in the step.
    """

    flops: int
    bytes: int
    images: int

    def floor(self, device_rates: Rates, kind: torch.dtype) -> float:
        """Return the seconds below which a step cannot come: the slower of the two."""
        computing = self.flops / device_rates.flops[kind]
        return max(computing, self.bytes / device_rates.bytes)


def work(network: nn.Module, images: Tensor, labels: Tensor, kind: torch.dtype) -> Work:
    """Count what a training step does, in a step that is made.

    Args:
        network: in training mode; its gradients are added to.
        images: preprocessed float32 (N, 3, H, W).
        labels: int64 (N,).
        kind: the format that is computed in.
    """
    kept: dict[int, int] = {}

    def keep(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return values

    lower = kind is not torch.float32
    with (
        FlopCounterMode(display=False) as count,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values),
        torch.autocast(images.device.type, kind, enabled=lower),
    ):
        loss = F.cross_entropy(network(images).float(), labels)
        loss.backward()
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    moved = 2 * sum(kept.values()) + 7 * 4 * learned
    return Work(count.get_total_flops(), moved, len(images))


# The ladder ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Extent:
    """How much is measured on each rung.

    Args:
        seeds: of the order of the images; each gives an accuracy.
        images: that every seed trains on, whatever the batch.
        pairs: in which a rung and the first one are timed in turns.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3)
    images: int = 480
    pairs: int = 3


EXTENTS = {
    "smoke": Extent((0,), 256, 1),
    "quick": Extent(),
    "full": Extent(tuple(range(5)), 32_000, 9),
}


class Ladder:
    """Rungs that are climbed one after another, each with all the changes before it.

    Args:
        task: its train part is learned, its validation part asked.
        start: the network before training, with the classes of the task.
        device: where to compute.
        extent: how much is measured.
        best: what the device does at best; None to measure it.
        batch: images a step of the first rung.
        say: gets one sentence for each rung that is not possible.
    """

    def __init__(
        self,
        task: Task,
        start: Model,
        device: torch.device,
        extent: Extent,
        *,
        best: Rates | None = None,
        batch: int = BATCH,
        say: Callable[[str], None] = print,
    ) -> None:
        self.task, self.start, self.device = task, start, device
        self.extent, self.say = extent, say
        self.best = best or rates(device)
        self.setup = Setup(batch=batch)
        self.first = Loop(start, task.train, self.setup, device)
        self.rows: list[Row] = []

    def climb(self, name: str, step: Step | None = None, **change: Any) -> list[Row]:
        """Change a line, measure, and return the rows of all rungs so far.

        A rung that is not for this device, or fails on it, is said and left out.

        Args:
            name: of the rung; one of `RUNGS` brings its own change.
            step: of the reader's, instead of `Loop.step`.
            change: of the `Setup`, by name.
        """
        rung = next((one for one in RUNGS if one.name == name), Rung(name))
        if not rung.applies(self.device):
            self.say(f"{name}: {rung.elsewhere}")
            return self.rows
        setup = replace(self.setup, **{**rung.change, **change})
        try:
            loop = Loop(self.start, self.task.train, setup, self.device, step)
            waited = loop.seconds(1)
        except RuntimeError as error:
            self.say(f"{name}: {_refused(error)}")
            return self.rows
        self.setup = setup
        self.rows = [*self.rows, *self._rows(name, loop, waited)]
        return self.rows

    def _rows(self, name: str, loop: Loop, waited: float) -> list[Row]:
        """Return a row a seed: what a rung costs and brings.

        `faster` is against the first rung, both timed in turns; `floor` is in images a
        second, `first_seconds` the time of the very first step.
        """
        rate, faster = in_turns(loop, self.first, self.extent.pairs)
        need = _need(loop)
        common = {
            "rung": name,
            "batch": loop.setup.batch,
            "images_a_second": round(rate, 1),
            "faster": round(faster, 3),
            "floor": round(need.images / need.floor(self.best, loop.kind), 1),
            "peak_mb": round(loop.peak_mb(), 1),
            "first_seconds": round(waited, 3),
        }
        steps = max(1, self.extent.images // loop.setup.batch)
        return [
            {**common, "seed": seed, "accuracy": learned(loop, self.task, steps, seed)}
            for seed in self.extent.seeds
        ]


def _refused(error: RuntimeError) -> str:
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return f"not possible on this machine ({reason:.120}); the ladder goes on without."


def _need(loop: Loop) -> Work:
    # Of the plain network: nobody can count inside a compiled one.
    network = loop.model.copy().network.train()
    return work(network, *next(loop.batches(1, seed=0)), loop.kind)


def in_turns(loop: Loop, first: Loop, pairs: int) -> tuple[float, float]:
    """Return images a second, and how many times as fast as another loop.

    Both run alternately, so that a machine that gets slower gets slower for both; the
    median of all pairs counts.

    Args:
        loop: what is timed; its batch is at least the other's.
        first: what it is compared with.
        pairs: how often both are timed.
    """
    again = max(1, loop.setup.batch // first.setup.batch)
    mine, ratios = [], []
    for _ in range(pairs):
        seconds = loop.seconds(2) / (2 * loop.setup.batch)
        other = first.seconds(2 * again) / (2 * again * first.setup.batch)
        mine.append(1 / seconds)
        ratios.append(other / seconds)
    return statistics.median(mine), statistics.median(ratios)


def learned(loop: Loop, task: Task, steps: int, seed: int) -> float:
    """Return the validation accuracy after some steps from the start."""
    loop.reset()
    loop.train(steps, seed)
    score = evaluate(loop.model, task.validation, device=loop.device.type)
    loop.model.network.train()
    return round(score.accuracy, 4)


# The table of a GPU -------------------------------------------------------------------


def make(
    device: str = "auto",
    *,
    profile: str = "full",
    out: Path = Path("runs/tables"),
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Climb the ladder on a GPU and write its table and card.

    Args:
        device: see `training.device_of`; the CPU only where it is named.
        profile: one of `EXTENTS`.
        out: the folder of ``gpu-ladder.csv`` and its card.
        progress: show a bar.
        say: gets one sentence for each rung that is left out.

    Returns:
        The place of the table.

    Raises:
        CourseError: this machine has no GPU, and the CPU was not asked for by name.
    """
    place = device_of(device)
    if place.type == "cpu" and device != "cpu":
        raise CourseError(
            "This machine has no GPU that torch can use, so there is nothing to fill "
            "the table with; run `course gpu-table` on one that has. (Chapter 12 "
            "measures the CPU; --device cpu tries the command out.)"
        )
    task = data.task(TARGET)
    start = models.replace_head(models.load(SOURCE), task.class_names, seed=0)
    ladder = Ladder(task, start, place, EXTENTS[profile], say=say)
    for rung in tqdm(RUNGS, desc="rungs", disable=not progress):
        grows = "batch" in rung.change and place.type != "cpu"
        ladder.climb(rung.name, **({"batch": GPU_BATCH} if grows else {}))
    return save(Table(TABLE, ladder.rows, _card(place, profile)), Path(out))


def _card(device: torch.device, profile: str) -> Row:
    return {
        "name": TABLE,
        "what": "The rungs of chapter 12: a training step, changed line by line.",
        "made_by": f"course gpu-table --profile {profile}",
        "made_on": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": device_name(device),
        "network": SOURCE,
        "target": TARGET,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def device_name(device: torch.device) -> str:
    """Return what a device calls itself, such as the card's name."""
    if device.type in ("cuda", "xpu"):
        return getattr(torch, device.type).get_device_name()
    cores = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{platform.machine()} {device.type.upper()}{cores}"


def recorded() -> Table | None:
    """Return the shipped table of a GPU; None where nobody has measured one yet."""
    path = TABLES / f"{TABLE}.csv"
    return load(path) if path.is_file() else None
