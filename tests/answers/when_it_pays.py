"""Answers to the exercises of chapter 05, as readers give them."""

import math
import statistics

import numpy as np
import torch

from answers.kit import right, wrong
from course.exercises import when_it_pays as chapter

# Where do two curves meet? ---------------------------------------------------------


@right(chapter.meets)
def in_logarithms(x, a, b):
    for k in range(1, len(x)):
        d0, d1 = a[k - 1] - b[k - 1], a[k] - b[k]
        if d0 > 0 and d1 <= 0:
            left, right_end = math.log(x[k - 1]), math.log(x[k])
            return math.exp(left + d0 / (d0 - d1) * (right_end - left))
    return math.inf


@right(chapter.meets)
def by_signs_in_numpy(x, a, b):
    d = np.array(a) - np.array(b)
    behind = np.flatnonzero(d <= 0)
    if len(behind) == 0:
        return np.inf
    k = behind[0]
    place = np.interp(0, [d[k], d[k - 1]], [np.log(x[k]), np.log(x[k - 1])])
    return np.exp(place)


@right(chapter.meets)
def by_halving(x, a, b):
    def gap(u):
        n = [math.log(value) for value in x]
        return np.interp(u, n, a) - np.interp(u, n, b)

    end = next((n for n, p, q in zip(x, a, b, strict=True) if p <= q), None)
    if end is None:
        return float("inf")
    low, high = math.log(x[list(x).index(end) - 1]), math.log(end)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    return math.exp(high)


@right(chapter.meets)
def tensor_answer(x, a, b):
    n, d = torch.tensor(x).log(), torch.tensor(a) - torch.tensor(b)
    for k in range(len(n) - 1):
        if d[k + 1] <= 0:
            return (n[k] + d[k] / (d[k] - d[k + 1]) * (n[k + 1] - n[k])).exp()
    return torch.tensor(torch.inf)


def between(x, a, b, place):
    """Find the two neighbours, and put the meeting where `place` says."""
    for k in range(len(x) - 1):
        d0, d1 = a[k] - b[k], a[k + 1] - b[k + 1]
        if d0 > 0 and d1 <= 0:
            return place(x[k], x[k + 1], d0, d1)
    return float("inf")


@wrong(chapter.meets, "straight in x", score=0.5)
def straight(x, a, b):
    return between(x, a, b, lambda p, q, d0, d1: p + (q - p) * d0 / (d0 - d1))


@wrong(chapter.meets, "the measured place after it", score=0.5)
def first_not_behind(x, a, b):
    for n, p, q in zip(x, a, b, strict=True):
        if q >= p:
            return n
    return math.inf


@wrong(chapter.meets, "the measured place before it", score=0.25)
def last_ahead(x, a, b):
    return between(x, a, b, lambda p, q, d0, d1: p)


@wrong(chapter.meets, "the middle")
def halfway(x, a, b):
    return between(x, a, b, lambda p, q, d0, d1: (p * q) ** 0.5)


@wrong(chapter.meets, "share from the wrong side")
def other_share(x, a, b):
    return between(x, a, b, lambda p, q, d0, d1: p * (q / p) ** (d1 / (d1 - d0)))


@wrong(chapter.meets, "logarithm left as it is")
def still_a_logarithm(x, a, b):
    def place(p, q, d0, d1):
        return np.log(p) + d0 / (d0 - d1) * (np.log(q) - np.log(p))

    return between(x, a, b, place)


@wrong(chapter.meets, "never taken for the end", score=0.75)
def at_the_end(x, a, b):
    found = in_logarithms(x, a, b)
    return found if math.isfinite(found) else x[-1]


@wrong(chapter.meets, "never left without an answer", score=0.75)
def loop_runs_out(x, a, b):
    for k in range(len(x) - 1):
        d0, d1 = a[k] - b[k], a[k + 1] - b[k + 1]
        if d0 > 0 >= d1:
            return x[k] * (x[k + 1] / x[k]) ** (d0 / (d0 - d1))


@wrong(chapter.meets, "never taken for zero", score=0.75)
def zero_for_never(x, a, b):
    place = 0
    for k in reversed(range(len(x) - 1)):
        d0, d1 = a[k] - b[k], a[k + 1] - b[k + 1]
        if d0 > 0 >= d1:
            place = x[k] * (x[k + 1] / x[k]) ** (d0 / (d0 - d1))
    return place


@wrong(chapter.meets, "the last crossing", score=0.75)
def overwritten(x, a, b):
    place = math.inf
    for k in range(len(x) - 1):
        d0, d1 = a[k] - b[k], a[k + 1] - b[k + 1]
        if d0 > 0 >= d1:
            place = x[k] * (x[k + 1] / x[k]) ** (d0 / (d0 - d1))
    return place


@wrong(chapter.meets, "a and b exchanged", score=0.25)
def exchanged(x, a, b):
    for k in range(len(x) - 1):
        d0, d1 = b[k] - a[k], b[k + 1] - a[k + 1]
        if d0 > 0 >= d1:
            return x[k] * (x[k + 1] / x[k]) ** (d0 / (d0 - d1))
    return math.inf


@wrong(chapter.meets, "level overlooked", score=0.75)
def sign_of_the_product(x, a, b):
    for k in range(len(x) - 1):
        d0, d1 = a[k] - b[k], a[k + 1] - b[k + 1]
        if d0 > 0 and d0 * d1 < 0:
            return x[k] * (x[k + 1] / x[k]) ** (d0 / (d0 - d1))
    return math.inf


@wrong(chapter.meets, "level overlooked", score=0.75)
def level_is_still_ahead(x, a, b):
    for k in range(len(x) - 1):
        d0, d1 = a[k] - b[k], a[k + 1] - b[k + 1]
        if d0 >= 0 > d1:
            return x[k] * (x[k + 1] / x[k]) ** (d0 / (d0 - d1))
    return math.inf


# The difference of two strategies, pair by pair ------------------------------------


@right(chapter.paired)
def with_statistics(a, b, t):
    d = [p - q for p, q in zip(a, b, strict=True)]
    middle = statistics.mean(d)
    half = t * statistics.stdev(d) / len(d) ** 0.5
    return [middle, middle - half, middle + half]


@right(chapter.paired)
def with_numpy(a, b, t):
    d = np.asarray(a) - np.asarray(b)
    error = d.std(ddof=1) / np.sqrt(d.size)
    return d.mean() + np.array([0, -t, t]) * error


@right(chapter.paired)
def with_torch(a, b, t):
    d = torch.tensor(a) - torch.tensor(b)
    half = t * d.std() / math.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


@right(chapter.paired)
def by_the_equation(a, b, t):
    n = len(a)
    r = [a[k] - b[k] for k in range(n)]
    squares = sum(value**2 for value in r) - sum(r) ** 2 / n
    half = t * math.sqrt(max(squares, 0) / (n * (n - 1)))
    return sum(r) / n, sum(r) / n - half, sum(r) / n + half


@wrong(chapter.paired, "unpaired interval", score=0)
def spreads_added(a, b, t):
    mean = statistics.mean(a) - statistics.mean(b)
    error = math.sqrt((statistics.variance(a) + statistics.variance(b)) / len(a))
    return mean, mean - t * error, mean + t * error


@wrong(chapter.paired, "divided by n", score=1 / 3)
def numpy_default(a, b, t):
    d = np.array(a) - np.array(b)
    half = t * np.std(d) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


@wrong(chapter.paired, "root of n forgotten")
def over_n(a, b, t):
    d = [p - q for p, q in zip(a, b, strict=True)]
    half = t * statistics.stdev(d) / len(d)
    return statistics.mean(d), statistics.mean(d) - half, statistics.mean(d) + half


@wrong(chapter.paired, "spread instead of standard error", score=1 / 3)
def single_runs(a, b, t):
    d = [p - q for p, q in zip(a, b, strict=True)]
    half = t * statistics.stdev(d)
    return statistics.mean(d), statistics.mean(d) - half, statistics.mean(d) + half


@wrong(chapter.paired, "variance instead of deviation")
def no_square_root(a, b, t):
    d = [p - q for p, q in zip(a, b, strict=True)]
    half = t * statistics.variance(d) / math.sqrt(len(d))
    return statistics.mean(d), statistics.mean(d) - half, statistics.mean(d) + half


@wrong(chapter.paired, "t left out", score=1 / 3)
def one_standard_error(a, b, t):
    d = torch.tensor(a, dtype=torch.float64) - torch.tensor(b, dtype=torch.float64)
    error = d.std() / len(d) ** 0.5
    return d.mean(), d.mean() - error, d.mean() + error


@wrong(chapter.paired, "half the width")
def t_in_all(a, b, t):
    d = np.subtract(a, b)
    quarter = t / 2 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - quarter, d.mean() + quarter


@wrong(chapter.paired, "pairs broken by sorting", score=1 / 3)
def in_order(a, b, t):
    d = np.sort(a) - np.sort(b)
    half = t * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


@wrong(chapter.paired, "b minus a", score=0)
def turned_round(a, b, t):
    d = np.subtract(b, a)
    half = t * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half


@wrong(chapter.paired, "sign dropped", score=2 / 3)
def sizes(a, b, t):
    d = [abs(p - q) for p, q in zip(a, b, strict=True)]
    half = t * statistics.stdev(d) / math.sqrt(len(d))
    return statistics.mean(d), statistics.mean(d) - half, statistics.mean(d) + half


@wrong(chapter.paired, "half width instead of the ends", score=0)
def plus_minus(a, b, t):
    d = np.subtract(a, b)
    return d.mean(), t * d.std(ddof=1) / np.sqrt(len(d))


@wrong(chapter.paired, "ends exchanged", score=1 / 3)
def upside_down(a, b, t):
    d = np.subtract(a, b)
    half = t * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() + half, d.mean() - half


# Plan a fair comparison ------------------------------------------------------------


def plan(labels, steps, used, full=(), scratch=(), **entries):
    """A fair plan, but for what is said."""
    seeds = [seed for seed in range(100, 120) if seed not in used][:4]
    method = {
        "labels": labels,
        "steps": steps,
        "batch": 16,
        "rates": [0.001, 0.01],
        "seeds": seeds,
    }
    return {
        "full": {**method, **dict(full)},
        "scratch": {**method, **dict(scratch)},
        "rates chosen on": entries.get("chosen", "validation"),
        "reported on": entries.get("reported", "test"),
        "reported epoch": entries.get("epoch", "last"),
        "interval": entries.get("interval", "paired"),
    }


@right(chapter.fair_plan)
def three_seeds_at_half_the_budget(labels, steps, used):
    start = max(used) + 1
    both = {"labels": labels, "steps": max(1, steps // 2), "batch": 8}
    both |= {"rates": (3e-4, 1e-3), "seeds": range(start, start + 3)}
    return {
        "full": both,
        "scratch": both,
        "rates chosen on": "Validation",
        "reported on": "the test part",
        "reported epoch": "last",
        "interval": "paired",
    }


@right(chapter.fair_plan)
def other_rates_for_each(labels, steps, used):
    return plan(
        labels, steps, used, {"rates": [1e-4, 1e-3]}, {"rates": np.array([1e-3, 1e-2])}
    )


@right(chapter.fair_plan)
def stopped_early_on_validation(labels, steps, used):
    seeds = torch.tensor([s for s in range(10) if s not in used][:3])
    both = {"seeds": seeds, "rates": torch.tensor([0.1, 0.2, 0.3])}
    return plan(labels, steps, used, both, both, epoch="best on validation")


@right(chapter.fair_plan)
def with_a_note(labels, steps, used):
    return plan(labels, steps, used, interval="pair by pair: paired") | {"why": "fair"}


@wrong(chapter.fair_plan, "plan left open", score=0)
def nothing_for_scratch(labels, steps, used):
    return {"full": plan(labels, steps, used)["full"]}


@wrong(chapter.fair_plan, "plan left open", score=13 / 14)
def no_batch(labels, steps, used):
    return plan(labels, steps, used, {"batch": 0}, {"batch": 0})


@wrong(chapter.fair_plan, "plan left open", score=6 / 14)
def half_filled(labels, steps, used):
    left = {"labels": labels, "steps": steps, "batch": 10, "rates": ..., "seeds": ...}
    return plan(labels, steps, used, left, left, reported=..., interval=...)


@wrong(chapter.fair_plan, "unequal budgets in a comparison", score=13 / 14)
def half_for_the_pretrained(labels, steps, used):
    return plan(labels, steps, used, {"steps": max(1, steps // 2)})


@wrong(chapter.fair_plan, "unequal budgets in a comparison", score=13 / 14)
def larger_batches(labels, steps, used):
    return plan(labels, steps, used, scratch={"batch": 64})


@wrong(chapter.fair_plan, "budget overspent", score=13 / 14)
def hundred_epochs(labels, steps, used):
    return plan(labels, steps, used, {"steps": 10_000}, {"steps": 10_000})


@wrong(chapter.fair_plan, "unequal labels", score=13 / 14)
def more_labels_for_scratch(labels, steps, used):
    return plan(labels, steps, used, scratch={"labels": 100})


@wrong(chapter.fair_plan, "unequal search for the rates", score=13 / 14)
def default_rate_for_scratch(labels, steps, used):
    return plan(labels, steps, used, scratch={"rates": [1e-3]})


@wrong(chapter.fair_plan, "unequal search for the rates", score=13 / 14)
def one_rate_for_both(labels, steps, used):
    return plan(labels, steps, used, {"rates": [1e-3]}, {"rates": [1e-3]})


@wrong(chapter.fair_plan, "selection on the test part", score=13 / 14)
def tuned_on_test(labels, steps, used):
    return plan(labels, steps, used, chosen="test")


@wrong(chapter.fair_plan, "selection on the training part", score=13 / 14)
def tuned_on_train(labels, steps, used):
    return plan(labels, steps, used, chosen="train")


@wrong(chapter.fair_plan, "accuracy on the training part")
def fits_well(labels, steps, used):
    return plan(labels, steps, used, reported="train")


@wrong(chapter.fair_plan, "report on the validation part", score=13 / 14)
def no_test(labels, steps, used):
    return plan(labels, steps, used, reported="validation")


@wrong(chapter.fair_plan, "best epoch reported", score=13 / 14)
def lucky_epoch(labels, steps, used):
    return plan(labels, steps, used, epoch="best")


@wrong(chapter.fair_plan, "best epoch reported", score=13 / 14)
def lucky_on_test(labels, steps, used):
    return plan(labels, steps, used, epoch="the best on test")


@wrong(chapter.fair_plan, "fewer than three seeds", score=13 / 14)
def a_single_run(labels, steps, used):
    return plan(labels, steps, used, {"seeds": [100]}, {"seeds": [100]})


@wrong(chapter.fair_plan, "seeds reused", score=13 / 14)
def the_same_again(labels, steps, used):
    seeds = [*used, 50, 51]
    return plan(labels, steps, used, {"seeds": seeds}, {"seeds": seeds})


@wrong(chapter.fair_plan, "seeds reused", score=13 / 14)
def first_three(labels, steps, used):
    return plan(labels, steps, used, {"seeds": [0, 1, 2]}, {"seeds": [0, 1, 2]})


@wrong(chapter.fair_plan, "seeds reused", score=13 / 14)
def one_seed_three_times(labels, steps, used):
    return plan(labels, steps, used, {"seeds": [42] * 3}, {"seeds": [42] * 3})


@wrong(chapter.fair_plan, "unpaired subsets", score=13 / 14)
def other_subsets(labels, steps, used):
    return plan(labels, steps, used, scratch={"seeds": [200, 201, 202, 203]})


@wrong(chapter.fair_plan, "unpaired interval", score=13 / 14)
def two_intervals(labels, steps, used):
    return plan(labels, steps, used, interval="unpaired")


@wrong(chapter.fair_plan, "unequal budgets in a comparison", score=10 / 14)
def a_paper(labels, steps, used):
    return plan(
        labels, steps, used, {"steps": 1}, chosen="test", epoch="best", interval="none"
    )


# When has pretraining paid for itself? ---------------------------------------------


@right(chapter.tasks_until_paid)
def task_after_task(pretraining, scratch, finetuning):
    if scratch <= finetuning:
        return float("inf")
    count = 0
    while count * (scratch - finetuning) < pretraining:
        count += 1
    return count


@right(chapter.tasks_until_paid)
def upwards_in_numpy(pretraining, scratch, finetuning):
    saved = scratch - finetuning
    return np.ceil(pretraining / saved) if saved > 0 else np.inf


@right(chapter.tasks_until_paid)
def negative_floor(pretraining, scratch, finetuning):
    if finetuning >= scratch:
        return math.inf
    return -(-pretraining // (scratch - finetuning))


@right(chapter.tasks_until_paid)
def tensor_count(pretraining, scratch, finetuning):
    saved = torch.tensor(float(scratch - finetuning))
    return torch.ceil(pretraining / saved) if saved > 0 else torch.tensor(math.inf)


@wrong(chapter.tasks_until_paid, "rounded down", score=0.75)
def whole_division(pretraining, scratch, finetuning):
    if scratch <= finetuning:
        return math.inf
    return pretraining // (scratch - finetuning)


@wrong(chapter.tasks_until_paid, "one task too many", score=0.75)
def plus_one(pretraining, scratch, finetuning):
    if scratch <= finetuning:
        return math.inf
    return pretraining // (scratch - finetuning) + 1


@wrong(chapter.tasks_until_paid, "not a whole number", score=0.75)
def plain_division(pretraining, scratch, finetuning):
    return pretraining / (scratch - finetuning) if scratch > finetuning else math.inf


@wrong(chapter.tasks_until_paid, "rounded to the nearest", score=0.75)
def rounded(pretraining, scratch, finetuning):
    if scratch <= finetuning:
        return math.inf
    return round(pretraining / (scratch - finetuning))


@wrong(chapter.tasks_until_paid, "fine-tuning taken as free", score=0.5)
def free(pretraining, scratch, finetuning):
    return math.ceil(pretraining / scratch) if scratch > finetuning else math.inf


@wrong(chapter.tasks_until_paid, "costs added", score=0.5)
def added(pretraining, scratch, finetuning):
    if scratch <= finetuning:
        return math.inf
    return math.ceil(pretraining / (scratch + finetuning))


@wrong(chapter.tasks_until_paid, "brackets forgotten", score=0.5)
def no_brackets(pretraining, scratch, finetuning):
    if scratch > finetuning:
        return math.ceil(pretraining / scratch - finetuning)
    return math.inf


@wrong(chapter.tasks_until_paid, "times cheaper")
def how_much_cheaper(pretraining, scratch, finetuning):
    return math.ceil(scratch / finetuning) if scratch > finetuning else math.inf


@wrong(chapter.tasks_until_paid, "never not considered", score=0.5)
def straight_on(pretraining, scratch, finetuning):
    return math.ceil(pretraining / (scratch - finetuning))


@wrong(chapter.tasks_until_paid, "a negative number of tasks", score=0.75)
def only_level_costs(pretraining, scratch, finetuning):
    try:
        return math.ceil(pretraining / (scratch - finetuning))
    except ZeroDivisionError:
        return math.inf


@wrong(chapter.tasks_until_paid, "never taken for zero", score=0.5)
def nothing_to_pay(pretraining, scratch, finetuning):
    saved = scratch - finetuning
    return math.ceil(pretraining / saved) if saved > 0 else 0


@wrong(chapter.tasks_until_paid, "pretraining paid for each task")
def each_time(pretraining, scratch, finetuning):
    return 1 if pretraining + finetuning <= scratch else float("inf")
