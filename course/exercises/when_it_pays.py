"""Exercises of chapter 05: paired differences, crossings, and when it has paid."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator

from course.exercises.base import KINDS, Case, Exercise, Mistake, Rule

FAIR_PAIRS = "3 · Fair pairs"


def _between(low: int, high: int, chance: Generator) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=chance))


def _accuracies(count: int, digits: int, chance: Generator) -> list[float]:
    drawn = torch.rand(count, generator=chance, dtype=torch.float64)
    return [round(value, digits) for value in drawn.tolist()]


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


Differences = np.ndarray[Any, np.dtype[np.float64]]
Paired = Callable[[Sequence[float], Sequence[float], float], Any]


def _half(width: Callable[[Differences, float], float]) -> Paired:
    """Make an answer that is right but for half of its interval's width."""

    def answer(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
        differences = np.subtract(a, b)
        mean, half = differences.mean(), width(differences, t)
        return float(mean), float(mean - half), float(mean + half)

    return answer


def _from(
    change: Callable[[Sequence[float], Sequence[float]], Any],
) -> Paired:
    """Make an answer that is right but for the accuracies that it begins with."""

    def answer(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
        return paired_reference(*change(a, b), t)

    return answer


def _unpaired(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float, float]:
    half = t * math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / len(a))
    mean = float(np.mean(a) - np.mean(b))
    return mean, mean - half, mean + half


def _centre_and_half(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float]:
    mean, low, _ = paired_reference(a, b, t)
    return mean, mean - low


def _ends_exchanged(
    a: Sequence[float], b: Sequence[float], t: float
) -> tuple[float, float, float]:
    mean, low, high = paired_reference(a, b, t)
    return mean, high, low


def _absolute(
    a: Sequence[float], b: Sequence[float]
) -> tuple[list[float], list[float]]:
    sizes = [abs(x - y) for x, y in zip(a, b, strict=True)]
    return sizes, [0.0] * len(sizes)


def _paired_case(a: list[float], b: list[float], t: float) -> Case:
    differences = [x - y for x, y in zip(a, b, strict=True)]
    part = "sometimes b is ahead" if min(differences) < 0 else "a is always ahead"
    if max(differences) - min(differences) < 1e-9:
        part = "the same difference each time"
    return Case((a, b, t), f"paired({a}, {b}, {t})", part)


def _paired_cases() -> list[Case]:
    return [
        _paired_case([0.90, 0.80, 0.85], [0.86, 0.77, 0.83], 2.92),
        _paired_case([0.95, 0.97, 0.91, 0.88], [0.96, 0.93, 0.92, 0.80], 2.353),
        _paired_case([0.5, 0.7, 0.6, 0.9, 0.8], [0.6, 0.8, 0.9, 0.7, 0.5], 2.132),
        _paired_case([0.8, 0.6, 0.9], [0.7, 0.5, 0.8], 2.92),
    ]


def _drawn_pairs(chance: Generator) -> Case:
    n = _between(2, 6, chance)
    a, b = _accuracies(n, 2, chance), _accuracies(n, 2, chance)
    return _paired_case(a, b, _between(15, 60, chance) / 10)


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
    place=FAIR_PAIRS,
    draw=_drawn_pairs,
    mistakes=(
        Mistake(
            _unpaired,
            "That is the unpaired interval: the spread of the subsets is in it twice. "
            "Subtract pair by pair first.",
            "unpaired interval",
        ),
        Mistake(
            _half(lambda d, t: t * d.std() / math.sqrt(len(d))),
            "Divide the squares by n - 1: the mean was estimated too.",
            "divided by n",
        ),
        Mistake(
            _half(lambda d, t: t * d.std(ddof=1) / len(d)),
            "The standard error is the deviation over sqrt(n), once.",
            "root of n forgotten",
        ),
        Mistake(
            _half(lambda d, t: t * d.std(ddof=1)),
            "That is the spread of single differences: divide by sqrt(n) for the mean.",
            "spread instead of standard error",
        ),
        Mistake(
            _half(lambda d, t: t * d.var(ddof=1) / math.sqrt(len(d))),
            "That is the variance: the interval needs its square root.",
            "variance instead of deviation",
        ),
        Mistake(
            _half(lambda d, t: d.std(ddof=1) / math.sqrt(len(d))),
            "The factor t is missing: few seeds need a wider interval.",
            "t left out",
        ),
        Mistake(
            _half(lambda d, t: t * d.std(ddof=1) / math.sqrt(len(d)) / 2),
            "The interval reaches t standard errors to each side, and not in all.",
            "half the width",
        ),
        Mistake(
            _from(lambda a, b: (sorted(a), sorted(b))),
            "Sorting breaks the pairs: keep the order of the seeds.",
            "pairs broken by sorting",
        ),
        Mistake(
            _from(lambda a, b: (b, a)),
            "Take a minus b, and not b minus a.",
            "b minus a",
        ),
        Mistake(
            _from(_absolute),
            "Keep the sign: sometimes b is ahead.",
            "sign dropped",
        ),
        Mistake(
            _centre_and_half,
            "The mean and the half width came back: return the two ends.",
            "half width instead of the ends",
        ),
        Mistake(
            _ends_exchanged,
            "The ends changed places: first the lower one.",
            "ends exchanged",
        ),
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


def _put(place: Callable[[float, float, float], float]) -> Meets:
    """Make an answer that finds the interval, and puts the meeting somewhere in it."""

    def answer(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float:
        for i in range(len(x) - 1):
            before, after = a[i] - b[i], a[i + 1] - b[i + 1]
            if before > 0 >= after:
                return place(x[i], x[i + 1], before / (before - after))
        return math.inf

    return answer


def _never_is(said: Callable[[Sequence[float]], Any]) -> Meets:
    """Make an answer that says something else where the curves do not meet."""

    def answer(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> Any:
        found = meets_reference(x, a, b)
        return said(x) if found == math.inf else found

    return answer


def _last(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float:
    pairs = (slice(i, i + 2) for i in range(len(x) - 1))
    found = [meets_reference(x[pair], a[pair], b[pair]) for pair in pairs]
    return max((place for place in found if place < math.inf), default=math.inf)


def _other_way(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float:
    return meets_reference(x, b, a)


def _strictly(x: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float:
    """Wait until b is ahead: where they are level, the sign is neither."""
    for i in range(len(x) - 1):
        before, after = a[i] - b[i], a[i + 1] - b[i + 1]
        if before > 0 > after:
            return x[i] * (x[i + 1] / x[i]) ** (before / (before - after))
    return math.inf


def _meets_case(x: list[int], a: list[float], b: list[float]) -> Case:
    ahead = [one - other for one, other in zip(a, b, strict=True)]
    steps = list(itertools.pairwise(ahead))
    count = sum(before > 0 >= after for before, after in steps)
    part = ("never", "once")[count] if count < 2 else "more than once"
    first = next((after for before, after in steps if before > 0 >= after), 1)
    part = part if first else "level where it was measured"
    return Case((x, a, b), f"meets({x}, {a}, {b})", part)


def _meets_cases() -> list[Case]:
    x = [1, 2, 5, 10, 20, 50]
    rows = [
        ((0.6, 0.7, 0.8, 0.85, 0.9, 0.9), (0.3, 0.5, 0.7, 0.87, 0.95, 0.97)),
        ((0.7, 0.8, 0.9, 0.9, 0.9, 0.9), (0.1, 0.1, 0.2, 0.3, 0.5, 0.8)),
        ((0.5, 0.7, 0.6, 0.9, 0.8, 0.8), (0.4, 0.6, 0.8, 0.7, 0.85, 0.9)),
        ((0.5, 0.6, 0.7, 0.8, 0.9, 0.9), (0.2, 0.4, 0.7, 0.9, 0.9, 1.0)),
        ((0.5, 0.6, 0.7, 0.8, 0.9, 0.9), (0.2, 0.4, 0.7, 0.7, 0.8, 0.8)),
        ((0.5, 0.6, 0.7, 0.8, 0.9, 0.9), (0.2, 0.4, 0.5, 0.6, 0.8, 0.9)),
    ]
    return [_meets_case(x, list(a), list(b)) for a, b in rows]


def _drawn_curves(chance: Generator) -> Case:
    n = _between(2, 5, chance)
    x = sorted((torch.randperm(60, generator=chance)[:n] + 1).tolist())
    # One digit, so that the curves are level at a measured place now and then.
    a, b = _accuracies(n, 1, chance), _accuracies(n, 1, chance)
    a[0], b[0] = max(a[0], b[0]) + 0.1, min(a[0], b[0])
    return _meets_case(x, a, b)


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
    place="2 · Where do the curves cross?",
    draw=_drawn_curves,
    mistakes=(
        Mistake(
            _put(lambda x0, x1, share: x0 + share * (x1 - x0)),
            "The lines are straight on the logarithmic axis: interpolate in log x.",
            "straight in x",
        ),
        Mistake(
            _put(lambda x0, x1, share: float(x1)),
            "That is the measured place after it: the lines meet before.",
            "the measured place after it",
        ),
        Mistake(
            _put(lambda x0, x1, share: float(x0)),
            "That is the measured place before it: a is still ahead there.",
            "the measured place before it",
        ),
        Mistake(
            _put(lambda x0, x1, share: math.sqrt(x0 * x1)),
            "That is the middle: how far along depends on both differences.",
            "the middle",
        ),
        Mistake(
            _put(lambda x0, x1, share: x0 * (x1 / x0) ** (1 - share)),
            "The share is counted from the wrong side: d0 / (d0 - d1).",
            "share from the wrong side",
        ),
        Mistake(
            _put(lambda x0, x1, share: math.log(x0 * (x1 / x0) ** share)),
            "That is the logarithm of the place: go back with exp.",
            "logarithm left as it is",
        ),
        Mistake(
            _never_is(lambda x: float(x[-1])),
            "Curves that never meet have no place: return math.inf.",
            "never taken for the end",
        ),
        Mistake(
            _never_is(lambda x: None),
            "Nothing came back where the curves never meet: return math.inf after the "
            "loop.",
            "never left without an answer",
        ),
        Mistake(
            _never_is(lambda x: 0.0),
            "0 would be a place: where the curves never meet, return math.inf.",
            "never taken for zero",
        ),
        Mistake(
            _last,
            "They meet more than once: the first time was asked for.",
            "the last crossing",
        ),
        Mistake(
            _strictly,
            "Where the two are level, b has caught up: after <= 0, and not < 0.",
            "level overlooked",
        ),
        Mistake(
            _other_way,
            "You looked for a catching up with b: it is the other way.",
            "a and b exchanged",
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


Paid = Callable[[float, float, float], float]


def _where_it_saves(count: Callable[[float, float, float], float]) -> Paid:
    """Make an answer that knows when never, and miscounts otherwise."""

    def answer(pretraining: float, scratch: float, finetuning: float) -> float:
        if scratch <= finetuning:
            return math.inf
        return count(pretraining, scratch, finetuning)

    return answer


def _unasked(pretraining: float, scratch: float, finetuning: float) -> float:
    return math.ceil(pretraining / (scratch - finetuning))


def _negative(pretraining: float, scratch: float, finetuning: float) -> float:
    saved = scratch - finetuning
    return math.inf if saved == 0 else math.ceil(pretraining / saved)


def _never_is_zero(pretraining: float, scratch: float, finetuning: float) -> float:
    found = tasks_until_paid_reference(pretraining, scratch, finetuning)
    return 0 if found == math.inf else found


def _pretrained_each_time(
    pretraining: float, scratch: float, finetuning: float
) -> float:
    return 1 if pretraining + finetuning <= scratch else math.inf


def _paid_case(pretraining: int, scratch: int, finetuning: int) -> Case:
    saved = scratch - finetuning
    part = "no task saves anything" if saved == 0 else "fine-tuning costs more"
    if saved > 0:
        part = "rounded up" if pretraining % saved else "covered exactly"
    row = (pretraining, scratch, finetuning)
    return Case(row, f"tasks_until_paid{row}", part)


def _paid_cases() -> list[Case]:
    rows = [(1000, 130, 5), (1000, 60, 10), (800, 40, 40), (800, 30, 40), (90, 100, 5)]
    rows += [(5, 9, 2), (1000, 90, 7)]
    return [_paid_case(*row) for row in rows]


def _drawn_bill(chance: Generator) -> Case:
    scratch, finetuning = _between(1, 60, chance), _between(1, 40, chance)
    return _paid_case(_between(1, 1500, chance), scratch, finetuning)


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
    place="4 · What is a step worth?",
    draw=_drawn_bill,
    mistakes=(
        Mistake(
            _where_it_saves(lambda p, s, f: round(p / (s - f))),
            "Rounded to the nearest number, it may not be paid yet: round up.",
            "rounded to the nearest",
        ),
        Mistake(
            _where_it_saves(lambda p, s, f: math.floor(p / (s - f))),
            "Round up: with one task fewer it is not yet paid.",
            "rounded down",
        ),
        Mistake(
            _where_it_saves(lambda p, s, f: math.floor(p / (s - f)) + 1),
            "Savings that cover the cost exactly have paid it.",
            "one task too many",
        ),
        Mistake(
            _where_it_saves(lambda p, s, f: p / (s - f)),
            "Tasks are whole: round up.",
            "not a whole number",
        ),
        Mistake(
            _where_it_saves(lambda p, s, f: math.ceil(p / s)),
            "Fine-tuning costs something too: subtract it.",
            "fine-tuning taken as free",
        ),
        Mistake(
            _where_it_saves(lambda p, s, f: math.ceil(p / s - f)),
            "Without brackets, only scratch divides: (scratch - finetuning) belongs "
            "together.",
            "brackets forgotten",
        ),
        Mistake(
            _where_it_saves(lambda p, s, f: math.ceil(p / (s + f))),
            "The two costs were added: a task saves their difference.",
            "costs added",
        ),
        Mistake(
            _where_it_saves(lambda p, s, f: math.ceil(s / f)),
            "That says how much cheaper a task is, and not what was paid.",
            "times cheaper",
        ),
        Mistake(
            _negative,
            "Where fine-tuning costs more than scratch, it never pays.",
            "a negative number of tasks",
        ),
        Mistake(
            _unasked,
            "Ask first whether a task saves anything: where it does not, it never "
            "pays.",
            "never not considered",
        ),
        Mistake(
            _never_is_zero,
            "Never is math.inf: 0 would mean that it has paid already.",
            "never taken for zero",
        ),
        Mistake(
            _pretrained_each_time,
            "Pretraining is done once, for all the tasks.",
            "pretraining paid for each task",
        ),
    ),
)


METHODS = ("full", "scratch")
NAMES = {
    "train": {"train", "training"},
    "validation": {"validation", "val"},
    "test": {"test", "testing"},
}
ENTRIES = ("rates chosen on", "reported on", "reported epoch", "interval")
Plan = Mapping[str, Any]


def fair_plan_reference(
    labels: int, steps: int, used: Sequence[int]
) -> dict[str, object]:
    """Return the plan of a comparison that is fair to both methods.

    Args:
        labels: images a class that have a label.
        steps: the most that one training may take.
        used: seeds with which the rates are chosen.
    """
    unseen = [seed for seed in range(len(used) + 5) if seed not in used]
    method = {
        "labels": labels,
        "steps": steps,
        "batch": 10,
        "rates": [1e-3, 3e-3, 1e-2],
        "seeds": unseen[:5],
    }
    return {
        "full": method,
        "scratch": dict(method),
        "rates chosen on": "validation",
        "reported on": "test",
        "reported epoch": "last",
        "interval": "paired",
    }


def _fair_plan_given(labels: int, steps: int, used: Sequence[int]) -> dict[str, Any]:
    """Return the plan of a fair comparison: fill in what is left open."""
    return {
        "full": {
            "labels": ...,
            "steps": ...,
            "batch": ...,
            "rates": ...,
            "seeds": ...,
        },
        "scratch": {
            "labels": ...,
            "steps": ...,
            "batch": ...,
            "rates": ...,
            "seeds": ...,
        },
        "rates chosen on": ...,
        "reported on": ...,
        "reported epoch": ...,
        "interval": ...,
    }


def _of_both(plan: Plan, *keys: str) -> dict[str, Any]:
    """Return one or more entries of each method."""
    found = {name: tuple(plan[name][key] for key in keys) for name in METHODS}
    return {name: row[0] if len(keys) == 1 else row for name, row in found.items()}


def _seeds(plan: Plan) -> list[list[int]]:
    return [[int(seed) for seed in seeds] for seeds in _of_both(plan, "seeds").values()]


def _words(plan: Plan, entry: str) -> set[str]:
    said = plan.get(entry)
    return set(re.findall("[a-z]+", said.lower())) if isinstance(said, str) else set()


def _names(plan: Plan, entry: str, *parts: str) -> bool:
    """Say whether an entry names one of these parts of the data, and no other."""
    words = _words(plan, entry)
    return [part for part in NAMES if words & NAMES[part]] in [[one] for one in parts]


def _spares(plan: Plan, entry: str, part: str) -> bool:
    """Say whether an entry names something, but not this part of the data."""
    words = _words(plan, entry)
    return bool(words) and not words & NAMES[part]


def _left_open(plan: Plan) -> list[str]:
    """Return the entries that are missing, or that no plan can go by."""
    found = [entry for entry in ENTRIES if not _words(plan, entry)]
    for name in METHODS:
        method = plan.get(name, {})
        numbers = {key: method.get(key, ...) for key in ("labels", "steps", "batch")}
        lists = {key: method.get(key, ...) for key in ("rates", "seeds")}
        found += [f"{name}: {k}" for k, n in numbers.items() if n is ... or not n > 0]
        found += [f"{name}: {k}" for k, v in lists.items() if not hasattr(v, "__len__")]
    return found


def _searches_alike(plan: Plan, *_: object) -> bool:
    tried = [len({float(rate) for rate in r}) for r in _of_both(plan, "rates").values()]
    return tried[0] == tried[1] >= 2


def _reports_no_best(plan: Plan, *_: object) -> bool:
    words = _words(plan, "reported epoch")
    if words & NAMES["validation"]:  # an early stop, the same for both
        return not words & NAMES["test"]
    return bool(words & {"last", "final"}) and "best" not in words


def _spares_seeds(plan: Plan, labels: int, steps: int, used: Sequence[int]) -> bool:
    return all(len({*seeds, *used}) == len(seeds) + len(used) for seeds in _seeds(plan))


def _is_paired(plan: Plan, *_: object) -> bool:
    words = _words(plan, "interval")
    return bool(words & {"paired", "pairs", "pairwise"}) and not words & {"not", "un"}


def _drawn_plan(chance: Generator) -> Case:
    used = torch.randperm(8, generator=chance)[: _between(1, 3, chance)].tolist()
    labels, steps = _between(1, 50, chance), _between(5, 200, chance)
    return Case.of("fair_plan", labels, steps, used)


fair_plan = Exercise(
    name="fair_plan",
    title="Plan a fair comparison",
    minutes=10,
    difficulty="medium",
    trains="deciding what is equal, what is chosen and what is reported beforehand",
    hints=(
        "Go through the entries and ask of each: could it put one method ahead by "
        "itself?",
        "Whatever costs something is equal for both. What is chosen, is chosen on "
        "validation; test is looked at once, at the end, with seeds not used before.",
        "seeds = [s for s in range(100) if s not in used][:3] for both; two or more "
        'rates each, as many for both; "validation", "test", "last", "paired".',
    ),
    reference=fair_plan_reference,
    cases=lambda: [Case.of("fair_plan", 5, 40, [2000])],
    mistakes=(),
    kind=KINDS[3],
    place=FAIR_PAIRS,
    draw=_drawn_plan,
    given=_fair_plan_given,
    rules=(
        Rule(
            "plan left open",
            lambda plan, *_: not _left_open(plan),
            "nothing left open",
            "Fill in every `...`: words in quotes, numbers above zero, rates and seeds "
            "as lists. What is not settled beforehand, the results will settle.",
            _left_open,
        ),
        Rule(
            "unequal budgets in a comparison",
            lambda plan, *_: len(set(_of_both(plan, "steps", "batch").values())) == 1,
            "as many steps of the same batch for both",
            "The method with more steps or larger batches is ahead for that reason, "
            "and nobody can tell afterwards.",
            lambda plan: _of_both(plan, "steps", "batch"),
        ),
        Rule(
            "budget overspent",
            lambda plan, labels, steps, used: all(
                found <= steps for found in _of_both(plan, "steps").values()
            ),
            "no more than `steps`",
            "A training may take `steps` steps at most: use the argument.",
            lambda plan: _of_both(plan, "steps"),
        ),
        Rule(
            "unequal labels",
            lambda plan, labels, *_: all(
                found == labels for found in _of_both(plan, "labels").values()
            ),
            "`labels` for both",
            "What a label is worth is the question: both get as many, and as many as "
            "there are.",
            lambda plan: _of_both(plan, "labels"),
        ),
        Rule(
            "unequal search for the rates",
            _searches_alike,
            "as many different rates for both, two or more",
            "Each method needs its own rate, and who tries more of them has more "
            "chances: give both the same number.",
            lambda plan: _of_both(plan, "rates"),
        ),
        Rule(
            "selection on the test part",
            lambda plan, *_: _spares(plan, "rates chosen on", "test"),
            "a part that is not reported",
            "A rate that was chosen on the test images fits their luck, and the report "
            "is too good: choose on validation.",
            lambda plan: plan["rates chosen on"],
        ),
        Rule(
            "selection on the training part",
            lambda plan, *_: _names(plan, "rates chosen on", "validation", "test"),
            'the "validation" part',
            "On the images that it learns from, the highest rate that memorises wins: "
            "choose on images that it has not seen.",
            lambda plan: plan["rates chosen on"],
        ),
        Rule(
            "accuracy on the training part",
            lambda plan, *_: _spares(plan, "reported on", "train"),
            "a part that was not trained on",
            "With few labels every network knows its training images by heart: report "
            "what it does with new ones.",
            lambda plan: plan["reported on"],
        ),
        Rule(
            "report on the validation part",
            lambda plan, *_: _names(plan, "reported on", "test", "train"),
            'the "test" part',
            "The rates were chosen to look good on validation: report the part that "
            "nothing was chosen on.",
            lambda plan: plan["reported on"],
        ),
        Rule(
            "best epoch reported",
            _reports_no_best,
            'the "last" epoch',
            "The best of many epochs on the test part is the luckiest: report the last "
            "one, which is settled beforehand.",
            lambda plan: plan["reported epoch"],
        ),
        Rule(
            "fewer than three seeds",
            lambda plan, *_: all(len(seeds) >= 3 for seeds in _seeds(plan)),
            "three seeds or more for each method",
            "One or two runs do not show their own spread, and an interval of two is "
            "too wide to say anything.",
            lambda plan: _of_both(plan, "seeds"),
        ),
        Rule(
            "seeds reused",
            _spares_seeds,
            "different seeds, none of them in `used`",
            "A seed that is counted twice adds no evidence, and one with which a rate "
            "was chosen flatters that rate: leave out what is in `used`.",
            lambda plan: _of_both(plan, "seeds"),
        ),
        Rule(
            "unpaired subsets",
            lambda plan, *_: _seeds(plan)[0] == _seeds(plan)[1],
            "the same seeds in the same order for both",
            "The seed draws the labelled images: with other seeds one method may get "
            "the luckier ones.",
            lambda plan: _of_both(plan, "seeds"),
        ),
        Rule(
            "unpaired interval",
            _is_paired,
            'a "paired" interval',
            "Both saw the same subsets, so take the differences pair by pair: the luck "
            "of a subset drops out.",
            lambda plan: plan["interval"],
        ),
    ),
)

EXERCISES = (meets, paired, fair_plan, tasks_until_paid)
