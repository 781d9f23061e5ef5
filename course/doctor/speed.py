"""How fast this machine trains, and what that means for the minutes of the course."""

from __future__ import annotations

import functools
import json
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from course.doctor.line import ROOT, Found, check, export
from course.doctor.software import torch_problem

TIMES = ROOT / "docs" / "section-times.json"
WARM, STEPS = 3, 11
PATIENCE = 8  # seconds, after which a slow machine is known well enough
FAIR = 0.6  # of its threads' time: below it, other programs computed too
SLOW = 4  # times the reference: a chapter of a minute becomes a break


class Reference(NamedTuple):
    """The machine on which the chapters' seconds were measured.

    Args:
        seconds: of one step of `measured` there.
        machine: what it was, in words.
    """

    seconds: float
    machine: str


# Measured on the machine of docs/section-times.json; anew whenever that is.
REFERENCE = Reference(0.087, "two cores of an AMD EPYC, torch 2.14")


class Measured(NamedTuple):
    """What a few steps of training took.

    Args:
        seconds: of one; the median.
        share: of the time that its threads asked for, how much they got, from 0 to 1.
    """

    seconds: float
    share: float

    @property
    def ratio(self) -> float:
        """How many times as long as on the reference machine."""
        return self.seconds / REFERENCE.seconds

    @property
    def disturbed(self) -> bool:
        """Whether something else had the cores meanwhile."""
        return self.share < FAIR and self.ratio > 2


@functools.cache
def measured() -> Measured:
    """Take some steps of training on the processor and return what they took.

    Network and data are always the same: eight convolutions, 32 images of 64×64.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128), (128, 256)):
            layers += [*_block(inputs, outputs, 2), *_block(outputs, outputs, 1)]
        network = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)
        )
        images, labels = torch.randn(32, 3, 64, 64), torch.arange(32) % 10
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    times: list[float] = []
    whole, spent = time.perf_counter(), time.process_time()
    while len(times) < WARM + STEPS and (sum(times) < PATIENCE or len(times) <= WARM):
        began = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        times.append(time.perf_counter() - began)
    spent, whole = time.process_time() - spent, time.perf_counter() - whole
    share = spent / (whole * torch.get_num_threads())
    return Measured(statistics.median(times[WARM:]), min(share, 1.0))


def _block(inputs: int, outputs: int, stride: int) -> list:
    from torch import nn

    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


@check("speed.step", "a training step", needed=False)
def step() -> Found:
    """Measure a fixed step and compare it with the reference."""
    if torch_problem():
        return Found(None, "not measured: torch does not load")
    now = measured()
    facts = {
        "seconds": round(now.seconds, 4),
        "times_reference": round(now.ratio, 2),
        "share": round(now.share, 2),
    }
    text = (
        f"{now.seconds * 1000:.0f} ms; {REFERENCE.seconds * 1000:.0f} ms on the "
        f"reference ({REFERENCE.machine})"
    )
    if now.disturbed:
        text += f"; it got only {now.share:.0%} of the cores' time"
        remedy = "Stop what else computes here, and run this again."
        return Found(False, text, remedy, facts)
    if now.ratio > SLOW:
        remedy = f"Begin with less of everything: {export('COURSE_PROFILE', 'smoke')}"
        return Found(False, text, remedy, facts)
    return Found(True, text, "", facts)


@check("speed.chapters", "minutes a chapter", needed=False)
def chapters(file: Path = TIMES) -> Found:
    """Scale the measured seconds of the chapters to this machine; roughly.

    Args:
        file: with the seconds of each chapter on the reference machine.
    """
    if torch_problem():
        return Found(None, "not estimated: torch does not load")
    if not file.is_file():
        return Found(None, f"not estimated: this copy comes without {file.name}")
    if measured().disturbed:
        return Found(None, "not estimated: other programs compute here meanwhile")
    noted, ratio = json.loads(file.read_text("utf-8")), measured().ratio
    minutes = {
        name[:2]: round(about["seconds"] * ratio / 60, 1)
        for name, about in sorted(noted.items())
    }
    listed = ", ".join(
        f"{number}\N{NO-BREAK SPACE}{spent}" for number, spent in minutes.items()
    )
    text = f"roughly {sum(minutes.values()):.0f} for all: {listed}"
    return Found(True, text, "", {"minutes": minutes})
