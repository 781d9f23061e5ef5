"""Does bfloat16 pay on this machine? Images a second of the course's backbone.

Run it with ``python benchmarks/precision.py``. The rule in `course.training.pays_bf16`
was chosen from such tables; compare the rows with one another, never with another
machine's.
"""

from __future__ import annotations

import itertools
import statistics
import time

import torch
from torch import Tensor

from course import models
from course.training import Recipe, Trainer, classification, pays_bf16

BATCH, STEPS, REPEATS = 64, 6, 3


def images_a_second(bf16: bool, channels_last: bool) -> float:
    """Return training speed, the median of three repeats after a warm-up."""
    network = models.resnet10(30)
    trainer = Trainer(network, Recipe(10_000, batch=BATCH), device="cpu")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    trainer.network = network.to(memory_format=layout)
    images = torch.randn(BATCH, 3, 64, 64).contiguous(memory_format=layout)
    labels = torch.randint(0, 30, (BATCH,))
    timed(trainer, images, labels, bf16)
    return statistics.median(
        timed(trainer, images, labels, bf16) for _ in range(REPEATS)
    )


def timed(trainer: Trainer, images: Tensor, labels: Tensor, bf16: bool) -> float:
    """Make a few steps and return images a second."""
    start = time.perf_counter()
    for _ in range(STEPS):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, _ = classification(trainer.network, images, labels)
        trainer.optimiser.zero_grad()
        loss.backward()
        trainer.optimiser.step()
    return STEPS * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Print one row for each precision and memory layout."""
    print(f"rule says bfloat16: {pays_bf16(torch.device('cpu'))}")
    for bf16, channels_last in itertools.product((False, True), repeat=2):
        precision = "bfloat16" if bf16 else "float32"
        layout = "channels_last" if channels_last else "contiguous"
        print(f"{precision:9} {layout:14} {images_a_second(bf16, channels_last):6.0f}")


if __name__ == "__main__":
    main()
