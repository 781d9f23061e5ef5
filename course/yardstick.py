"""A fixed piece of work, done in a kernel before and after a chapter.

Seconds and megabytes differ from machine to machine; divided by those of the same piece
of work in the same kernel, they can be compared. `course run` adds the cell.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import fmean
from typing import Any

MIME = "application/vnd.course.yardstick+json"
CELL = "from course import yardstick\n\nyardstick.show()"
TAG = "yardstick"
ROUNDS = 12  # about half a second on one core


def work() -> float:
    """Train a small network of fixed weights on fixed images; return the seconds.

    Convolutions, batch statistics and an optimiser's steps: what chapters spend their
    time on. No random state is drawn from or changed.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU())
        network = nn.Sequential(*layers, nn.Conv2d(32, 64, 3, stride=2))
        images, labels = torch.randn(16, 3, 64, 64), torch.arange(16)
    optimiser = torch.optim.AdamW(network.parameters())
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        optimiser.zero_grad()
        F.cross_entropy(network(images).mean(dim=(2, 3)), labels).backward()
        optimiser.step()
    return time.perf_counter() - begin


def show() -> None:
    """Do the `work` and keep its seconds, threads and memory in the cell's output.

    The first round is not counted: it loads what torch loads once.
    """
    import psutil
    import torch
    from IPython.display import display

    work()
    seconds = min(work() for _ in range(2))
    held = psutil.Process().memory_info().rss / 2**20
    threads = torch.get_num_threads()
    row = {"seconds": round(seconds, 4), "mb": round(held, 1), "threads": threads}
    text = f"yardstick: {seconds:.2f} s with {threads} threads, {held:.0f} MB held"
    display({MIME: row, "text/plain": text}, raw=True)


def add(notebook: Any) -> None:
    """Put the cell before the first cell of code and after the last.

    Args:
        notebook: as nbformat reads it; changed in place.
    """
    from nbformat.v4 import new_code_cell

    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    first = kinds.index("code") if "code" in kinds else len(kinds)
    for place, name in ((first, "yardstick-before"), (len(kinds) + 1, "yardstick-end")):
        cell = new_code_cell(CELL, metadata={"tags": [TAG]}, id=name)
        notebook["cells"].insert(place, cell)


def read(notebook: Mapping[str, Any]) -> dict[str, float] | None:
    """Return seconds, the mean of both cells, and MB, of the first.

    None where the notebook has no such cell, or none that ran.

    Args:
        notebook: executed, as nbformat reads it.
    """
    rows = [
        output["data"][MIME]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {})
    ]
    if not rows:
        return None
    seconds = fmean(row["seconds"] for row in rows)
    return {"seconds": round(seconds, 4), "mb": rows[0]["mb"]}
