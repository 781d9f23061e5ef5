"""Exercises of chapter 05: paired differences, crossings, and when it has paid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from course.exercises.base import Case, Exercise, Mistake


def _with_t(
    mean: float, deviation: float, n: int, t: float
) -> tuple[float, float, float]:
    half = t * deviation / math.sqrt(n)
    return mean, mean - half, mean + half


def paired_reference(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float, float]:
    """Return mean and interval of paired differences.

    Args:
        a: accuracies of one strategy, a seed each.
        b: of another, with the same subsets in the same order.
        t: Student's quantile for this number of pairs.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    half = t * math.sqrt(variance / n)
    return mean, mean - half, mean + half


def _unpaired(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float, float]:
    deviation = math.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1))
    return _with_t(float(np.mean(a) - np.mean(b)), deviation, len(a), t)


def _population(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float, float]:
    d = np.subtract(a, b)
    return _with_t(float(d.mean()), float(d.std()), len(a), t)


def _no_root(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float, float]:
    d = np.subtract(a, b)
    return _with_t(float(d.mean()), float(d.std(ddof=1)) / math.sqrt(len(a)), len(a), t)


def _spread_alone(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float, float]:
    d = np.subtract(a, b)
    return _with_t(float(d.mean()), float(d.std(ddof=1)), 1, t)


def _no_t(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
    return paired_reference(a, b, 1.0)


def _sorted(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
    return paired_reference(sorted(a), sorted(b), t)


def _turned(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
    return paired_reference(b, a, t)


def _absolute(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
    d = [abs(x - y) for x, y in zip(a, b, strict=True)]
    return paired_reference(d, [0.0] * len(d), t)


def _paired_cases() -> list[Case]:
    rows = [
        ((0.90, 0.80, 0.85), (0.86, 0.77, 0.83), 2.92),
        ((0.95, 0.97, 0.91, 0.88), (0.96, 0.93, 0.92, 0.80), 2.353),
        ((0.5, 0.7, 0.6, 0.9, 0.8), (0.6, 0.8, 0.9, 0.7, 0.5), 2.132),
    ]
    return [
        Case((list(a), list(b), t), f"paired({list(a)}, {list(b)}, {t})")
        for a, b, t in rows
    ]


paired = Exercise(
    name="paired",
    title="The difference of two strategies, pair by pair",
    minutes=8,
    difficulty="medium",
    trains="why both strategies must see the same subsets",
    hints=(
        "Both had the same labelled images for each seed: subtract first.",
        "Then it is one list of numbers: its mean, and t times its standard error.",
        "d = [x - y …]; variance with n - 1; half = t * sqrt(variance / n).",
    ),
    reference=paired_reference,
    cases=_paired_cases,
    mistakes=(
        Mistake(
            _unpaired,
            "That is the unpaired interval: the spread of the subsets is in it twice. "
            "Subtract pair by pair first.",
        ),
        Mistake(
            _population, "Divide the squares by n - 1: the mean was estimated too."
        ),
        Mistake(_no_root, "The standard error is the deviation over sqrt(n), once."),
        Mistake(
            _spread_alone,
            "That is the spread of single differences: divide by sqrt(n) for the mean.",
        ),
        Mistake(_no_t, "The factor t is missing: few seeds need a wider interval."),
        Mistake(_sorted, "Sorting breaks the pairs: keep the order of the seeds."),
        Mistake(_turned, "Take a minus b, and not b minus a."),
        Mistake(_absolute, "Keep the sign: sometimes b is ahead."),
    ),
)


def meets_reference(
    x: Sequence[float], a: Sequence[float], b: Sequence[float]
) -> float:
    """Return where a, ahead at first, is caught up by b: straight lines in log x.

    Args:
        x: rising numbers of labels.
        a: accuracy of the first at each of them.
        b: accuracy of the second.

    Returns:
        The first such place; math.inf where b never catches up.
    """
    for i in range(len(x) - 1):
        before, after = a[i] - b[i], a[i + 1] - b[i + 1]
        if before > 0 >= after:
            share = before / (before - after)
            return x[i] * (x[i + 1] / x[i]) ** share
    return math.inf


Meets = Callable[[Sequence[float], Sequence[float], Sequence[float]], float]


def _at(place: Callable[[float, float, float], float]) -> Meets:
    """Make an answer that finds the interval, and puts the meeting somewhere in it."""

    def answer(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float:
        for i in range(len(x) - 1):
            before, after = a[i] - b[i], a[i + 1] - b[i + 1]
            if before > 0 >= after:
                return place(x[i], x[i + 1], before / (before - after))
        return math.inf

    return answer


def _never_is_the_end(
    x: Sequence[float], a: Sequence[float], b: Sequence[float]
) -> float:
    found = meets_reference(x, a, b)
    return float(x[-1]) if found == math.inf else found


def _last(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float:
    pairs = (slice(i, i + 2) for i in range(len(x) - 1))
    found = [meets_reference(x[pair], a[pair], b[pair]) for pair in pairs]
    return max((place for place in found if place < math.inf), default=math.inf)


def _other_way(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float:
    return meets_reference(x, b, a)


def _meets_cases() -> list[Case]:
    x = [1, 2, 5, 10, 20, 50]
    rows = [
        ((0.6, 0.7, 0.8, 0.85, 0.9, 0.9), (0.3, 0.5, 0.7, 0.87, 0.95, 0.97)),
        ((0.7, 0.8, 0.9, 0.9, 0.9, 0.9), (0.1, 0.1, 0.2, 0.3, 0.5, 0.8)),
        ((0.5, 0.7, 0.6, 0.9, 0.8, 0.8), (0.4, 0.6, 0.8, 0.7, 0.85, 0.9)),
    ]
    return [
        Case((x, list(a), list(b)), f"meets({x}, {list(a)}, {list(b)})")
        for a, b in rows
    ]


meets = Exercise(
    name="meets",
    title="Where do two curves meet?",
    minutes=10,
    difficulty="medium",
    trains="computing a crossing instead of reading it off a picture",
    hints=(
        "Look for two neighbouring places: ahead at the one, no longer at the other.",
        "Between them the difference falls from d0 to d1: it is zero after the share "
        "d0 / (d0 - d1) of the way.",
        "Straight in log x: x[i] * (x[i + 1] / x[i]) ** share. math.inf if never.",
    ),
    reference=meets_reference,
    cases=_meets_cases,
    mistakes=(
        Mistake(
            _at(lambda x0, x1, share: x0 + share * (x1 - x0)),
            "The lines are straight on the logarithmic axis: interpolate in log x.",
        ),
        Mistake(
            _at(lambda x0, x1, share: float(x1)), "That is the measured place after it."
        ),
        Mistake(
            _at(lambda x0, x1, share: float(x0)),
            "That is the measured place before it.",
        ),
        Mistake(
            _at(lambda x0, x1, share: math.sqrt(x0 * x1)),
            "That is the middle: how far along depends on both differences.",
        ),
        Mistake(
            _at(lambda x0, x1, share: x0 * (x1 / x0) ** (1 - share)),
            "The share is counted from the wrong side: d0 / (d0 - d1).",
        ),
        Mistake(
            _never_is_the_end, "Curves that never meet have no place: return math.inf."
        ),
        Mistake(_last, "They meet more than once: the first time was asked for."),
        Mistake(
            _other_way, "You looked for a catching up with b: it is the other way."
        ),
    ),
)


def tasks_until_paid_reference(
    pretraining: float, scratch: float, finetuning: float
) -> float:
    """Return from how many target tasks on pretraining has paid for itself.

    Args:
        pretraining: what it cost, once.
        scratch: what one task costs from scratch.
        finetuning: what the same accuracy costs from the pretrained weights.

    Returns:
        The smallest number of tasks whose savings cover the cost; math.inf where a
        task saves nothing.
    """
    saved = scratch - finetuning
    if saved <= 0:
        return math.inf
    return math.ceil(pretraining / saved)


def _rounded_down(pretraining: float, scratch: float, finetuning: float) -> float:
    saved = scratch - finetuning
    return math.inf if saved <= 0 else math.floor(pretraining / saved)


def _free_finetuning(pretraining: float, scratch: float, finetuning: float) -> float:
    return math.inf if scratch <= finetuning else math.ceil(pretraining / scratch)


def _negative(pretraining: float, scratch: float, finetuning: float) -> float:
    saved = scratch - finetuning
    return math.inf if saved == 0 else math.ceil(pretraining / saved)


def _ratio(pretraining: float, scratch: float, finetuning: float) -> float:
    return math.inf if scratch <= finetuning else math.ceil(scratch / finetuning)


def _one_more(pretraining: float, scratch: float, finetuning: float) -> float:
    found = _rounded_down(pretraining, scratch, finetuning)
    return found + 1


def _not_whole(pretraining: float, scratch: float, finetuning: float) -> float:
    saved = scratch - finetuning
    return math.inf if saved <= 0 else pretraining / saved


def _never_is_zero(pretraining: float, scratch: float, finetuning: float) -> int:
    found = tasks_until_paid_reference(pretraining, scratch, finetuning)
    return 0 if found == math.inf else found


def _pretrained_each_time(
    pretraining: float, scratch: float, finetuning: float
) -> float:
    return 1 if pretraining + finetuning < scratch else math.inf


def _paid_cases() -> list[Case]:
    rows = [(1000, 130, 5), (1000, 60, 10), (800, 40, 40), (800, 30, 40), (90, 100, 5)]
    return [Case(row, f"tasks_until_paid{row}") for row in rows]


tasks_until_paid = Exercise(
    name="tasks_until_paid",
    title="When has pretraining paid for itself?",
    minutes=5,
    difficulty="easy",
    trains="counting the cost that is usually left out",
    hints=(
        "Pretraining is paid once. What does each task save?",
        "A task saves scratch - finetuning; where that is not above 0, never.",
        "math.ceil(pretraining / saved), or math.inf.",
    ),
    reference=tasks_until_paid_reference,
    cases=_paid_cases,
    mistakes=(
        Mistake(_rounded_down, "Round up: with one task fewer it is not yet paid."),
        Mistake(_free_finetuning, "Fine-tuning costs something too: subtract it."),
        Mistake(_negative, "Where fine-tuning costs more than scratch, it never pays."),
        Mistake(_ratio, "That says how much cheaper a task is, and not what was paid."),
        Mistake(_one_more, "Savings that cover the cost exactly have paid it."),
        Mistake(_not_whole, "Tasks are whole: round up."),
        Mistake(
            _never_is_zero, "Never is math.inf: 0 would mean that it has paid already."
        ),
        Mistake(_pretrained_each_time, "Pretraining is done once, for all the tasks."),
    ),
)

EXERCISES = (paired, meets, tasks_until_paid)
