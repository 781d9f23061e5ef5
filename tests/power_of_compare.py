"""What `course compare` finds: the table of docs/baselines.md, by simulation.

``python tests/power_of_compare.py`` computes it anew and writes it into the page; a
test computes parts of it with other random numbers.
"""

from pathlib import Path

import numpy as np

from course import drift

PAGE = Path(__file__).parents[1] / "docs" / "baselines.md"
START, END = (
    "<!-- power: made by tests/power_of_compare.py -->",
    "<!-- end of power -->",
)
VALUES = 500  # about as many as the records and claims of all chapters
MOVED = (1, 40, 200)
SEEDS = ((5, 1), (5, 3), (5, 5), (10, 3), (10, 10))
SHIFTS = np.arange(0.5, 30.01, 0.5)
WANTED = 0.8


def found(kept, run, moved, shift, rounds, random):
    """Return which share of the moved values is called moved.

    Args:
        kept: seeds of the baseline.
        run: seeds of the run.
        moved: how many of `VALUES` values have moved.
        shift: by how many standard deviations of a single seed.
        rounds: how many runs are drawn.
        random: numpy's generator.
    """
    shares = []
    for _ in range(rounds):
        before = random.standard_normal((kept, VALUES))
        now = random.standard_normal((run, VALUES))
        now[:, :moved] += shift
        errors = (now.mean(0) - before.mean(0)) / before.std(0, ddof=1)
        errors /= np.sqrt(1 / run + 1 / kept)
        shares.append(np.mean(drift.chance(errors, kept - 1)[:moved] <= drift.LEVEL))
    return float(np.mean(shares))


def smallest(kept, run, moved, rounds, random):
    """Return the smallest of `SHIFTS` that is found four times of five, or None."""
    low, high = 0, len(SHIFTS)
    while low < high:  # more shift is found more often
        middle = (low + high) // 2
        share = found(kept, run, moved, SHIFTS[middle], rounds[moved], random)
        low, high = (low, middle) if share >= WANTED else (middle + 1, high)
    return float(SHIFTS[low]) if low < len(SHIFTS) else None


def table(rounds, random):
    """Return the table as Markdown."""
    head = ["seeds of the baseline", "seeds of the run"]
    head += [f"{moved} of {VALUES} moved" for moved in MOVED]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for kept, run in SEEDS:
        shifts = [smallest(kept, run, moved, rounds, random) for moved in MOVED]
        cells = [
            f"more than {SHIFTS[-1]:g}" if s is None else f"{s:.1f}" for s in shifts
        ]
        lines.append(f"| {kept} | {run} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    rounds = {1: 1500, 40: 150, 200: 60}
    before, rest = PAGE.read_text("utf-8").split(START)
    made = table(rounds, np.random.default_rng(0))
    page = f"{before}{START}\n\n{made}\n\n{END}{rest.split(END)[1]}"
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
