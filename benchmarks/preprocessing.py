"""What each slip in preprocessing costs a model of ImageNet, measured on photographs.

    python benchmarks/preprocessing.py FOLDER MODEL:WEIGHTS [MODEL:WEIGHTS …]

FOLDER holds photographs whose names begin with ImageNet's id of their class,
`n01440764_tench.JPEG`: every second class, or all of them, in the order of the ids.
The weights must be in the cache. Writes `course/tables/preprocessing.json`, which
chapter 10 shows, named as recorded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from course import models
from course.preparation import SLIPS, TABLE


def measured(files: list[Path], model: models.Model, slip: Callable) -> tuple[int, int]:
    """Return how many photographs are named rightly by one answer, and among five."""
    step = len(model.class_names) // len(files)
    first, five = 0, 0
    for index, file in enumerate(tqdm(files, leave=False)):
        with Image.open(file) as photo, torch.no_grad():
            logits: Tensor = model.network(slip(photo.convert("RGB"), model))[0]
        best = logits.topk(5).indices.tolist()
        first += best[0] == step * index
        five += step * index in best
    return first, five


def main(folder: str, *names: str) -> None:
    """Measure every slip with every model and write the table."""
    files = sorted(Path(folder).glob("*.JPEG"))
    rows = []
    for name in names:
        kind, _, weights = name.partition(":")
        model = models.load(kind, weights=weights)
        for slip, prepare in SLIPS.items():
            first, five = measured(files, model, prepare)
            row = {"model": kind, "weights": weights, "preparation": slip}
            rows.append({**row, "right": first, "among_five": five, "of": len(files)})
            print(rows[-1], flush=True)
    about = {
        "what": "photographs of ImageNet's validation set, one a class, named rightly",
        "made_by": "python benchmarks/preprocessing.py FOLDER MODEL:WEIGHTS …",
        "rows": rows,
    }
    TABLE.write_text(json.dumps(about, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
