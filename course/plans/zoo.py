"""What torchvision's classifiers compute and keep, counted without running them."""

from __future__ import annotations

import time
from typing import Any

from course import zoo
from course.sweep import Plan

SMOKE = 2  # models, for a run that only has to come to its end


def cells(profile: str) -> list[dict[str, Any]]:
    """Return a cell for each model and input size that torchvision has weights for."""
    found = {(row["model"], row["size"]): None for row in zoo.stated()}
    every = [{"model": model, "size": size} for model, size in found]
    return every[:SMOKE] if profile == "smoke" else every


def work(model: str, size: int) -> dict[str, float]:
    """Count one model; see `zoo.counted`."""
    began = time.perf_counter()
    count = zoo.counted(lambda: zoo.build(model, size), size)
    return {**count, "seconds": round(time.perf_counter() - began, 2)}


PLAN = Plan(
    name="zoo",
    sentence=(
        "Every classifier that torchvision has weights for, at the input size that "
        "they were tested with: giga multiply-adds for one image, and MB that a "
        "training keeps for each image, counted on torch's meta device."
    ),
    cells=cells,
    work=work,
)
