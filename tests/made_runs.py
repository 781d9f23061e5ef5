"""Runs made of random numbers, for tests of what is compared."""

import json
from dataclasses import dataclass, field

import numpy as np

ABOUT = {
    "python": "3.11.2",
    "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
    "machine": "x86_64",
    "cores": 2,
    "threads": 1,
    "packages": {"torch": "2.14.1", "torchvision": "0.29.1"},
}


def row(chapter="00_first", seed=0, records=(), claims=(), **changes):
    """Return one chapter's row; records are (name, value, unit), claims (text, value).

    Changes named as parts of the environment go there, all others into the row.
    """
    about = {**ABOUT, "profile": "quick", "seed": seed, "backbone": None}
    made = {
        "chapter": chapter,
        "status": "ok",
        "seconds": 60.0,
        "peak_mb": 1000.0,
        "records": [
            dict(zip(("name", "value", "unit"), r, strict=True)) for r in records
        ],
        "claims": [_claim(*claim) for claim in claims],
        "environment": about | {k: v for k, v in changes.items() if k in about},
        "error": "",
        "cell": None,
        "folder": ".",
        "reference": {"seconds": 1.0, "mb": 400.0},
    }
    return made | {k: v for k, v in changes.items() if k not in about}


def _claim(text, value, holds=True, bound="at least 0.5"):
    return {"text": text, "value": value, "bound": bound, "holds": holds}


@dataclass
class World:
    """Chapters whose values have a true mean and a true spread.

    Args:
        chapters: how many.
        values: of each chapter; one in five is a claim.
        of: how many pictures each value is a share of; 0 for normal values.
        shifts: by index over all values, how many spreads its mean has moved.
    """

    chapters: int = 3
    values: int = 40
    of: int = 0
    seed: int = 0
    shifts: dict = field(default_factory=dict)

    def __post_init__(self):
        self.random = np.random.default_rng(self.seed)
        size = self.chapters * self.values
        self.means = self.random.uniform(0.3, 1, size)
        self.spreads = 10 ** self.random.uniform(-1.7, -0.7, size)

    def run(self, seeds):
        """Return the rows of a run; each call draws anew."""
        return [line for seed in seeds for line in self._rows(seed)]

    def _rows(self, seed):
        drawn = np.round(self._drawn(), 6).reshape(self.chapters, self.values)
        for place, numbers in enumerate(drawn.tolist()):
            claims = len(numbers) // 5
            yield row(
                f"{place:02}_made",
                seed,
                [(f"value {k}", v, "") for k, v in enumerate(numbers[claims:])],
                [(f"lesson {k}", v) for k, v in enumerate(numbers[:claims])],
                peak_mb=round(float(self.random.normal(1000, 20)), 1),
                seconds=round(float(self.random.normal(60, 6)), 1),
            )

    def _drawn(self):
        moved = np.zeros(len(self.means))
        for place, shift in self.shifts.items():
            moved[place] = shift
        if self.of:
            return self.random.binomial(self.of, self.means**0.2) / self.of
        return self.random.normal(self.means + moved * self.spreads, self.spreads)


def keep(folder, rows):
    """Write a run into a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.json").write_text(json.dumps(rows), "utf-8")
    return folder
