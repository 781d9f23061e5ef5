"""What a comparison of strategies found, in rows and in sentences (chapter 03)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from course.errors import CourseError, unknown
from course.training import Recipe

LEVEL = 0.9  # of the intervals in `Comparison.sentence`


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `transfer.compare` measured, with the rules that it kept to (chapter 03).

    Args:
        task: the name of the target task.
        rows: one dict a run: strategy, labels, seed, rate, accuracy, seconds,
            trained_parameters, steps. For a probe `rate` is C.
        search: one dict a trial of the choice: strategy, labels, rate, accuracy (on
            validation images; 0 where the training diverged).
        recipe: steps, batch and augmentation of everybody.
        seeds: as reported.
        validation: how many validation images the choice was made on.
    """

    task: str
    rows: list[dict[str, Any]]
    search: list[dict[str, Any]]
    recipe: Recipe
    seeds: tuple[int, ...]
    validation: int

    def of(self, strategy: str, labels: int | None = None) -> list[float]:
        """Return the test accuracies of a strategy, in the order of the seeds.

        Args:
            strategy: its name.
            labels: labelled images a class; may be left out if there was one number.

        Raises:
            CourseError: this was not compared.
        """
        return [row["accuracy"] for row in self._rows_of(strategy, labels)]

    def _rows_of(self, strategy: str, labels: int | None) -> list[dict[str, Any]]:
        numbers = _unique(row["labels"] for row in self.rows)
        if labels is None and len(numbers) == 1:
            labels = numbers[0]
        if labels not in numbers:
            known = ", ".join(map(str, numbers))
            raise CourseError(
                f"Labels a class {labels!r} were not compared; expected one of {known}."
            )
        names = _unique(row["strategy"] for row in self.rows)
        if strategy not in names:
            raise unknown("strategy of this comparison", strategy, names)
        return [
            row
            for row in self.rows
            if row["strategy"] == strategy and row["labels"] == labels
        ]

    def summary(self) -> list[dict[str, Any]]:
        """Return a row for each strategy and number of labels: mean, spread and cost.

        `spread` is the standard deviation over the seeds (nan for one seed), `seconds`
        the mean of one run.
        """
        groups = _unique((row["labels"], row["strategy"]) for row in self.rows)
        return [_summed(self._rows_of(name, labels)) for labels, name in groups]

    def fairness(self) -> str:
        """Return one sentence: what was equal, and how each rate was chosen."""
        recipe = self.recipe
        return (
            f"Every strategy saw the same images of {self.task} in {recipe.steps} "
            f"steps of {recipe.batch} (augmentation: {recipe.augment}; a probe is "
            "solved instead), its learning rate (a probe's C) was chosen by accuracy "
            f"on {self.validation} validation images in trainings with another seed "
            "and subset than those reported (of equals the smaller), and the "
            f"test accuracy is that after the last step, over {len(self.seeds)} "
            f"seed{'s' * (len(self.seeds) > 1)}.{self._edges()}"
        )

    def _edges(self) -> str:
        """Say whose choice lay at the end of what was tried: more might be better."""
        edges = []
        for labels, name in _unique((r["labels"], r["strategy"]) for r in self.search):
            tried = [
                row["rate"]
                for row in self.search
                if row["strategy"] == name and row["labels"] == labels
            ]
            picked = self._rows_of(name, labels)[0]["rate"]
            if len(tried) > 1 and picked in (min(tried), max(tried)):
                edges.append(name)
        if not edges:
            return ""
        names = ", ".join(_unique(edges))
        return f" At the edge of what was tried: the choice for {names}."

    def difference(
        self, a: str, b: str, labels: int | None = None
    ) -> tuple[float, float, float]:
        """Return mean and interval (low, high) of a's accuracy minus b's.

        The differences are paired: both had the same images for each seed. The
        interval is Student's, at 90 %; it is (nan, nan) for one seed.
        """
        pairs = np.subtract(self.of(a, labels), self.of(b, labels))
        mean = float(pairs.mean())
        if len(pairs) < 2:
            return mean, float("nan"), float("nan")
        error = float(pairs.std(ddof=1)) / len(pairs) ** 0.5
        half = float(stats.t.ppf(0.5 + LEVEL / 2, len(pairs) - 1)) * error
        return mean, mean - half, mean + half

    def sentence(self, a: str, b: str, labels: int | None = None) -> str:
        """Return what the comparison of two strategies came to, as one sentence."""
        mean, low, high = self.difference(a, b, labels)
        count = self._rows_of(a, labels)[0]["labels"]
        best, other = (a, b) if mean >= 0 else (b, a)
        if mean < 0:
            low, high = -high, -low
        text = (
            f"With {count} labelled image{'s' * (count > 1)} a class, {best} reached "
            f"{np.mean(self.of(best, labels)):.3f} and {other} "
            f"{np.mean(self.of(other, labels)):.3f}"
        )
        if math.isnan(low):
            return f"{text}: one seed, so nothing is known of the spread."
        verdict = "" if low > 0 else ", so these seeds do not tell them apart"
        return (
            f"{text}: a paired difference of {abs(mean):.3f} ({LEVEL:.0%} interval "
            f"{low:.3f} to {high:.3f}, {len(self.seeds)} seeds){verdict}."
        )


def _summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = np.array([row["accuracy"] for row in rows])
    several = len(rows) > 1
    same = ("strategy", "labels", "rate", "trained_parameters", "steps")
    return {
        **{key: rows[0][key] for key in same},
        "mean": float(accuracies.mean()),
        "spread": float(accuracies.std(ddof=1)) if several else float("nan"),
        "seconds": float(np.mean([row["seconds"] for row in rows])),
        "seeds": len(rows),
    }


def _unique(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
