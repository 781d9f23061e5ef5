"""Answers to the exercises of chapter 07, wrong ones and right ones."""

import itertools
import math

import numpy as np
import torch

from answers.kit import right, wrong
from course.exercises import choosing

leep, kendall, copies = choosing.leep, choosing.kendall, choosing.copies
pareto_front, defend = choosing.pareto_front, choosing.defend

# LEEP ---------------------------------------------------------------------------------


@right(leep)
def leep_by_loops(beliefs, labels):
    count, sources = beliefs.shape
    classes = int(labels.max()) + 1
    together = [[0.0] * sources for _ in range(classes)]
    for belief, label in zip(beliefs.tolist(), labels.tolist(), strict=True):
        for z in range(sources):
            together[label][z] += belief[z] / count
    total = 0.0
    for belief, label in zip(beliefs.tolist(), labels.tolist(), strict=True):
        chance = 0.0
        for z in range(sources):
            of_z = sum(together[y][z] for y in range(classes))
            chance += together[label][z] / of_z * belief[z]
        total += math.log(chance)
    return total / count


@right(leep)
def leep_in_numpy(beliefs, labels):
    theta, y = beliefs.double().numpy(), labels.numpy()
    joint = np.zeros((y.max() + 1, theta.shape[1]))
    np.add.at(joint, y, theta)
    given = joint / joint.sum(axis=0, keepdims=True)
    return np.log((given[y] * theta).sum(axis=1)).mean()


@right(leep)
def leep_as_a_tensor(probabilities, targets):
    names = targets.unique()
    joint = torch.stack([probabilities[targets == n].sum(dim=0) for n in names])
    given = joint / joint.sum(dim=0).clamp_min(1e-12)
    place = (targets[:, None] == names).int().argmax(dim=1)
    return torch.einsum("nz,nz->n", given[place], probabilities).log().mean()


def joint_of(beliefs, labels):
    hot = torch.nn.functional.one_hot(labels).float()
    return hot.T @ beliefs / len(labels)


def of_own(believed, labels):
    return believed.gather(1, labels[:, None]).squeeze(1)


@wrong(leep, "joint instead of conditional")
def leep_joint(beliefs, labels):
    return of_own(beliefs @ joint_of(beliefs, labels).T, labels).log().mean().item()


@wrong(leep, "sum over the wrong axis")
def leep_rows(beliefs, labels):
    joint = joint_of(beliefs, labels)
    given = joint / joint.sum(dim=1)[:, None]
    return of_own(beliefs @ given.T, labels).log().mean().item()


@wrong(leep, "log of the mean")
def leep_mean_first(beliefs, labels):
    joint = joint_of(beliefs, labels)
    return math.log(of_own(beliefs @ (joint / joint.sum(0)).T, labels).mean())


@wrong(leep, "no logarithm")
def leep_plain(beliefs, labels):
    joint = joint_of(beliefs, labels)
    return float(of_own(beliefs @ (joint / joint.sum(0)).T, labels).mean())


@wrong(leep, "the sign turned")
def leep_as_a_loss(beliefs, labels):
    joint = joint_of(beliefs, labels)
    return -of_own(beliefs @ (joint / joint.sum(0)).T, labels).log().mean().item()


@wrong(leep, "sum instead of a mean")
def leep_sum(beliefs, labels):
    joint = joint_of(beliefs, labels)
    return of_own(beliefs @ (joint / joint.sum(0)).T, labels).log().sum().item()


@wrong(leep, "one guess an image, as in NCE", score=0.25)
def leep_of_guesses(beliefs, labels):
    guesses = beliefs.argmax(dim=1)
    total = 0.0
    for guess, label in zip(guesses, labels, strict=True):
        same = labels[guesses == guess]
        total += math.log((same == label).double().mean())
    return total / len(labels)


@wrong(leep, "softmax of a softmax", score=0.25)
def leep_of_logits(beliefs, labels):
    beliefs = torch.softmax(beliefs, dim=1)
    joint = joint_of(beliefs, labels)
    return of_own(beliefs @ (joint / joint.sum(0)).T, labels).log().mean().item()


@wrong(leep, "mean over all labels")
def leep_everybody(beliefs, labels):
    joint = joint_of(beliefs, labels)
    return (beliefs @ (joint / joint.sum(0)).T).log().mean().item()


@wrong(leep, "logarithm inside the sum")
def leep_log_inside(beliefs, labels):
    joint = joint_of(beliefs, labels)
    given = joint / joint.sum(0)
    return (beliefs * given[labels].log()).sum(dim=1).mean().item()


@wrong(leep, "logarithm to base 2")
def leep_in_bits(beliefs, labels):
    joint = joint_of(beliefs, labels)
    return of_own(beliefs @ (joint / joint.sum(0)).T, labels).log2().mean().item()


# Kendall's tau ------------------------------------------------------------------------


@right(kendall)
def tau_by_combinations(scores, truths):
    pairs = list(itertools.combinations(zip(scores, truths, strict=True), 2))
    right_ones = sum((a < b and c < d) or (a > b and c > d) for (a, c), (b, d) in pairs)
    wrong_ones = sum((a < b and c > d) or (a > b and c < d) for (a, c), (b, d) in pairs)
    return (right_ones - wrong_ones) / len(pairs)


@right(kendall)
def tau_in_numpy(scores, truths):
    s, t = np.asarray(scores, float), np.asarray(truths, float)
    signs = np.sign(s[:, None] - s) * np.sign(t[:, None] - t)
    return signs.sum() / (len(s) * (len(s) - 1))


@right(kendall)
def tau_as_a_tensor(x, y):
    x, y = torch.tensor(x, dtype=torch.double), torch.tensor(y, dtype=torch.double)
    rows, columns = torch.triu_indices(len(x), len(x), offset=1)
    agree = torch.sign(x[rows] - x[columns]) * torch.sign(y[rows] - y[columns])
    return agree.mean()


def signs_of(scores, truths):
    signs = []
    for i in range(len(scores)):
        for j in range(i + 1, len(scores)):
            product = (scores[j] - scores[i]) * (truths[j] - truths[i])
            signs.append(1 if product > 0 else -1 if product < 0 else 0)
    return signs


@wrong(kendall, "each pair counted twice below the line")
def tau_half(scores, truths):
    return sum(signs_of(scores, truths)) / (len(scores) * (len(scores) - 1))


@wrong(kendall, "divided by n squared")
def tau_of_all_cells(scores, truths):
    return sum(signs_of(scores, truths)) / len(scores) ** 2


@wrong(kendall, "share of right pairs")
def tau_share(scores, truths):
    signs = signs_of(scores, truths)
    return sum(sign > 0 for sign in signs) / len(signs)


@wrong(kendall, "ties counted as wrong", score=2 / 3)
def tau_strict(scores, truths):
    signs = signs_of(scores, truths)
    return sum(1 if sign > 0 else -1 for sign in signs) / len(signs)


@wrong(kendall, "ties counted as right")
def tau_generous(scores, truths):
    signs = signs_of(scores, truths)
    return sum(1 if sign >= 0 else -1 for sign in signs) / len(signs)


@wrong(kendall, "ties left out of all pairs", score=2 / 3)
def tau_gamma(scores, truths):
    signs = [sign for sign in signs_of(scores, truths) if sign]
    return sum(signs) / len(signs)


@wrong(kendall, "tau-b, corrected for ties", score=2 / 3)
def tau_of_scipy(scores, truths):
    from scipy import stats

    return stats.kendalltau(scores, truths).statistic


@wrong(kendall, "Spearman's correlation")
def tau_of_ranks(scores, truths):
    from scipy import stats

    return stats.spearmanr(scores, truths).statistic


@wrong(kendall, "Pearson's correlation")
def tau_of_values(scores, truths):
    return np.corrcoef(scores, truths)[0, 1]


@wrong(kendall, "size of the products")
def tau_of_sizes(scores, truths):
    pairs = list(itertools.combinations(range(len(scores)), 2))
    found = [(scores[i] - scores[j]) * (truths[i] - truths[j]) for i, j in pairs]
    return sum(found) / len(found)


@wrong(kendall, "not divided by the pairs")
def tau_count(scores, truths):
    return sum(signs_of(scores, truths))


@wrong(kendall, "neighbours only")
def tau_of_steps(scores, truths):
    s, t = np.sign(np.diff(scores)), np.sign(np.diff(truths))
    return (s * t).mean()


@wrong(kendall, "right and wrong pairs swapped")
def tau_turned(scores, truths):
    signs = signs_of(scores, truths)
    return (signs.count(-1) - signs.count(1)) / len(signs)


# Which images are copies? -------------------------------------------------------------


@right(copies)
def copies_by_loops(similarity, clean, alarms):
    chance = np.quantile([max(row) for row in clean.tolist()], 1 - alarms)
    return [max(row) > chance for row in similarity.tolist()]


@right(copies)
def copies_by_counting(similarity, clean, alarms):
    nearest = clean.amax(dim=1)
    found = []
    for row in similarity:
        above = (nearest >= row.max()).double().mean()
        found.append(bool(above <= alarms))
    return torch.tensor(found)


@right(copies)
def copies_in_numpy(similarity, clean, alarms):
    limit = np.percentile(clean.numpy().max(axis=1), 100 * (1 - alarms))
    return similarity.numpy().max(axis=1) >= limit


@right(copies)
def copies_any(similarity, clean, alarms):
    limit = torch.quantile(clean.max(1)[0], 1 - alarms)
    return (similarity > limit).any(dim=1)


@wrong(copies, "largest over the wrong axis")
def copies_of_columns(similarity, clean, alarms):
    limit = torch.quantile(clean.max(dim=1)[0], 1 - alarms)
    return similarity.max(dim=0)[0] > limit


@wrong(copies, "both maxima over the wrong axis")
def copies_all_columns(similarity, clean, alarms):
    limit = torch.quantile(clean.max(0)[0], 1 - alarms)
    return similarity.max(0)[0] > limit


@wrong(copies, "threshold chosen on the suspects")
def copies_of_themselves(similarity, clean, alarms):
    nearest = similarity.max(dim=1)[0]
    return nearest > torch.quantile(nearest, 1 - alarms)


@wrong(copies, "quantile over all pairs", score=2 / 3)
def copies_all_pairs(similarity, clean, alarms):
    return similarity.max(dim=1)[0] > torch.quantile(clean.flatten(), 1 - alarms)


@wrong(copies, "quantile at the low end")
def copies_low(similarity, clean, alarms):
    return similarity.max(dim=1)[0] > torch.quantile(clean.max(dim=1)[0], alarms)


@wrong(copies, "share taken for a similarity")
def copies_fixed(similarity, clean, alarms):
    return (similarity > 1 - alarms).any(dim=1)


@wrong(copies, "copies and others swapped")
def copies_swapped(similarity, clean, alarms):
    return similarity.max(dim=1)[0] <= torch.quantile(clean.max(dim=1)[0], 1 - alarms)


@wrong(copies, "mean similarity instead of the nearest")
def copies_of_means(similarity, clean, alarms):
    return similarity.mean(1) > torch.quantile(clean.mean(1), 1 - alarms)


@wrong(copies, "two deviations as the threshold")
def copies_deviating(similarity, clean, alarms):
    near = clean.max(dim=1)[0]
    return similarity.max(dim=1)[0] > near.mean() + 2 * near.std()


@wrong(copies, "places instead of verdicts")
def copies_places(similarity, clean, alarms):
    limit = torch.quantile(clean.max(dim=1)[0], 1 - alarms)
    return torch.where(similarity.max(dim=1)[0] > limit)[0]


@wrong(copies, "verdicts as numbers")
def copies_numbers(similarity, clean, alarms):
    limit = torch.quantile(clean.max(dim=1)[0], 1 - alarms)
    return (similarity.max(dim=1)[0] > limit).double()


@wrong(copies, "mean similarity as the threshold", score=1 / 3)
def copies_above_the_mean(similarity, clean, alarms):
    return similarity.max(dim=1)[0] > clean.mean()


# The Pareto front ---------------------------------------------------------------------


@right(pareto_front)
def front_by_loops(rows, cost, gain):
    front = []
    for row in rows:
        if row[cost] is None or row[gain] is None:
            continue
        beaten = False
        for other in rows:
            if other[cost] is None or other[gain] is None:
                continue
            cheaper, better = other[cost] < row[cost], other[gain] > row[gain]
            no_dearer, no_worse = other[cost] <= row[cost], other[gain] >= row[gain]
            beaten = beaten or (no_dearer and no_worse and (cheaper or better))
        if not beaten:
            front.append(row)
    front.sort(key=lambda row: row[cost])
    return front


@right(pareto_front)
def front_by_sweeping(rows, cost, gain):
    known = [r for r in reversed(rows) if r[cost] is not None and r[gain] is not None]
    front = []
    for row in sorted(known, key=lambda r: (r[cost], -r[gain])):
        equal = bool(front) and all(row[n] == front[-1][n] for n in (cost, gain))
        if not front or row[gain] > front[-1][gain] or equal:
            front.append(row)
    return tuple(front)


@right(pareto_front)
def front_in_numpy(rows, cost, gain):
    values = np.array([[r[cost], r[gain]] for r in rows], dtype=float)  # None is NaN
    c, g = values.T
    no_worse = (c <= c[:, None]) & (g >= g[:, None])
    beaten = (no_worse & ((c < c[:, None]) | (g > g[:, None]))).any(axis=1)
    kept = np.flatnonzero(~beaten & ~np.isnan(values).any(axis=1))
    return [dict(rows[n]) for n in kept[np.argsort(c[kept], kind="stable")]]


def known_rows(rows, cost, gain):
    return [r for r in rows if r[cost] is not None and r[gain] is not None]


@wrong(pareto_front, "ties in one value kept", score=0.5)
def front_strict(rows, cost, gain):
    known = known_rows(rows, cost, gain)
    front = [
        r
        for r in known
        if not any(o[cost] < r[cost] and o[gain] > r[gain] for o in known)
    ]
    return sorted(front, key=lambda r: r[cost])


@wrong(pareto_front, "equal rows thrown out", score=5 / 6)
def front_loose(rows, cost, gain):
    known = known_rows(rows, cost, gain)
    front = []
    for n, r in enumerate(known):
        others = known[:n] + known[n + 1 :]
        if not any(o[cost] <= r[cost] and o[gain] >= r[gain] for o in others):
            front.append(r)
    return sorted(front, key=lambda r: r[cost])


@wrong(pareto_front, "equal rows kept once")
def front_sweep_strict(rows, cost, gain):
    front, best = [], -math.inf
    known = known_rows(rows, cost, gain)
    for row in sorted(known, key=lambda r: (r[cost], -r[gain])):
        if row[gain] > best:
            front.append(row)
            best = row[gain]
    return front


@wrong(pareto_front, "dearer rows of equal gain kept")
def front_sweep_loose(rows, cost, gain):
    front, best = [], -math.inf
    known = known_rows(rows, cost, gain)
    for row in sorted(known, key=lambda r: (r[cost], -r[gain])):
        if row[gain] >= best:
            front.append(row)
            best = row[gain]
    return front


def plain_front(rows, cost, gain):
    return [
        r
        for r in rows
        if not any(
            o[cost] <= r[cost]
            and o[gain] >= r[gain]
            and (o[cost] < r[cost] or o[gain] > r[gain])
            for o in rows
        )
    ]


@wrong(pareto_front, "None compared with a number", score=5 / 6)
def front_without_asking(rows, cost, gain):
    return sorted(plain_front(rows, cost, gain), key=lambda r: r[cost])


@wrong(pareto_front, "None taken for zero")
def front_of_zeros(rows, cost, gain):
    filled = [{**r, cost: r[cost] or 0.0, gain: r[gain] or 0.0, "row": r} for r in rows]
    front = sorted(plain_front(filled, cost, gain), key=lambda r: r[cost])
    return [r["row"] for r in front]


@wrong(pareto_front, "not sorted")
def front_unsorted(rows, cost, gain):
    return plain_front(known_rows(rows, cost, gain), cost, gain)


@wrong(pareto_front, "the dearest first")
def front_downwards(rows, cost, gain):
    front = plain_front(known_rows(rows, cost, gain), cost, gain)
    return sorted(front, key=lambda r: r[cost], reverse=True)


@wrong(pareto_front, "the best row alone")
def front_best(rows, cost, gain):
    known = known_rows(rows, cost, gain)
    return [max(known, key=lambda r: (r[gain], -r[cost]))] if known else []


@wrong(pareto_front, "names instead of rows")
def front_names(rows, cost, gain):
    front = plain_front(known_rows(rows, cost, gain), cost, gain)
    return [r["model"] for r in sorted(front, key=lambda r: r[cost])]


@wrong(pareto_front, "least gain kept")
def front_of_the_worst(rows, cost, gain):
    known = known_rows(rows, cost, gain)
    front = [
        r
        for r in known
        if not any(
            o[cost] <= r[cost]
            and o[gain] <= r[gain]
            and (o[cost] < r[cost] or o[gain] < r[gain])
            for o in known
        )
    ]
    return sorted(front, key=lambda r: r[cost])


# Choose and defend --------------------------------------------------------------------

QUOTED = ("validation", "spread", "ms", "mb", "licence")


def faults(row, need):
    found = []
    if row["source"] in need["sources that saw the test images"]:
        found.append("source")
    if row["licence"] not in need["licences"]:
        found.append("licence")
    if row["mb"] is None or row["mb"] > need["mb"]:
        found.append("large")
    if row["ms"] is None or row["ms"] > need["ms"]:
        found.append("slow")
    return found


def behind(row, rows):
    best = max(rows, key=lambda r: r["validation"])
    return best["validation"] - row["validation"] > best["spread"] + row["spread"]


def defence(row, candidates, need, fitting):
    """Return the form of a defence, with reasons that are true of a right choice."""
    reasons = {}
    for other in candidates:
        if other is not row:
            worse = "accuracy" if fitting and behind(other, fitting) else "dearer"
            reasons[other["model"]] = (faults(other, need) or [worse])[0]
    figures = {} if row is None else {name: row[name] for name in QUOTED}
    name = None if row is None else row["model"]
    return {"choice": name, "figures": figures, "ruled out": reasons}


def those_that_fit(candidates, need):
    return [row for row in candidates if not faults(row, need)]


def least(rows, cost):
    return min(rows, key=lambda row: row[cost]) if rows else None


@right(defend)
def defend_by_steps(candidates, need):
    fitting = those_that_fit(candidates, need)
    close = [row for row in fitting if not behind(row, fitting)]
    return defence(least(close, need["save"]), candidates, need, fitting)


@right(defend)
def defend_by_accuracy_where_true(candidates, need):
    fitting = those_that_fit(candidates, need)
    ranked = sorted(fitting, key=lambda row: row[need["save"]])
    chosen = next((row for row in ranked if not behind(row, fitting)), None)
    result = defence(chosen, candidates, need, fitting)
    for row in candidates:
        if row is not chosen and fitting and behind(row, fitting):
            result["ruled out"][row["model"]] = "accuracy"
    return result


@right(defend)
def defend_with_more_figures(table, need):
    fitting = [row for row in table if faults(row, need) == []]
    if len(fitting) == 0:
        return {
            "choice": None,
            "figures": dict.fromkeys(QUOTED),
            "ruled out": {row["model"]: faults(row, need)[-1] for row in table},
        }
    order = np.argsort([-row["validation"] for row in fitting])
    best = fitting[order[0]]
    choice = best
    for row in fitting:
        near = best["validation"] - best["spread"] <= row["validation"] + row["spread"]
        if near and row[need["save"]] < choice[need["save"]]:
            choice = row
    result = defence(choice, table, need, fitting)
    result["figures"] = {key: np.float64(choice[key]) for key in QUOTED[:4]} | {
        "licence": choice["licence"],
        "source": choice["source"],
    }
    return result


def defending(rows_of, chosen_of):
    """Return an answer by whom it lets in, and whom of these it takes."""

    def answer(candidates, need):
        fitting = rows_of(candidates, need)
        row = chosen_of(fitting, need) if fitting else None
        return defence(row, candidates, need, fitting)

    return answer


def cheapest_close(rows, need):
    return least([row for row in rows if not behind(row, rows)], need["save"])


def but_for(*ignored):
    def rows_of(candidates, need):
        return [row for row in candidates if not set(faults(row, need)) - set(ignored)]

    return rows_of


wrong(defend, "limit exceeded")(defending(but_for("slow", "large"), cheapest_close))
wrong(defend, "unstated licence taken for allowed")(
    defending(but_for("licence"), cheapest_close)
)
wrong(defend, "source that saw the test images")(
    defending(but_for("source"), cheapest_close)
)
wrong(defend, "selection on the test part")(
    defending(those_that_fit, lambda rows, _: max(rows, key=lambda row: row["test"]))
)
wrong(defend, "clearly less accurate")(
    defending(those_that_fit, lambda rows, need: least(rows, need["save"]))
)
wrong(defend, "a cheaper one within the spread overlooked")(
    defending(
        those_that_fit, lambda rows, _: max(rows, key=lambda row: row["validation"])
    )
)


@wrong(defend, "the other cost saved")
def defend_the_other_cost(candidates, need):
    fitting = those_that_fit(candidates, need)
    other = {"ms": "mb", "mb": "ms"}[need["save"]]
    close = [row for row in fitting if not behind(row, fitting)]
    return defence(least(close, other), candidates, need, fitting)


@wrong(defend, "licence not read")
def defend_any_stated_licence(candidates, need):
    wide = {**need, "licences": (*need["licences"], "CC BY-NC", "MIT", "BSD-3")}
    fitting = those_that_fit(candidates, wide)
    close = [row for row in fitting if not behind(row, fitting)]
    row = max(close, key=lambda row: row["validation"]) if close else None
    return defence(row, candidates, need, fitting)


@wrong(defend, "unknown cost taken for none")
def defend_none_as_zero(candidates, need):
    filled = [
        {**row, "ms": row["ms"] or 0.0, "mb": row["mb"] or 0.0} for row in candidates
    ]
    fitting = those_that_fit(filled, need)
    close = [row for row in fitting if not behind(row, fitting)]
    return defence(least(close, need["save"]), filled, need, fitting)


@wrong(defend, "nothing chosen, though one fits")
def defend_the_best_or_nobody(candidates, need):
    best = max(candidates, key=lambda row: row["validation"])
    row = None if faults(best, need) else best
    return defence(row, candidates, need, those_that_fit(candidates, need))


@wrong(defend, "nothing chosen, though one fits")
def defend_below_the_limits(candidates, need):
    def below(row):
        return row["ms"] is None or row["ms"] < need["ms"]

    fitting = [row for row in those_that_fit(candidates, need) if below(row)]
    close = [row for row in fitting if not behind(row, fitting)]
    return defence(least(close, need["save"]), candidates, need, fitting)


@wrong(defend, "a choice, though nothing fits")
def defend_at_any_price(candidates, need):
    fitting = those_that_fit(candidates, need)
    close = [row for row in fitting if not behind(row, fitting)]
    anybody = max(candidates, key=lambda row: row["validation"])
    row = least(close, need["save"]) or anybody
    return defence(row, candidates, need, fitting)


def redone(change):
    """Return a right answer whose defence was changed afterwards."""

    def answer(candidates, need):
        fitting = those_that_fit(candidates, need)
        close = [row for row in fitting if not behind(row, fitting)]
        row = least(close, need["save"])
        result = defence(row, candidates, need, fitting)
        change(result, row, candidates, fitting)
        return result

    return answer


@wrong(defend, "accuracy on the test part quoted")
@redone
def defend_by_test_figures(result, row, candidates, fitting):
    if row is not None:
        result["figures"]["validation"] = row["test"]


@wrong(defend, "figures of another row", score=16 / 17)
@redone
def defend_from_memory(result, row, candidates, fitting):
    if row is not None:
        result["figures"]["mb"] = round(row["mb"] * 1.1)


@wrong(defend, "some ruled out without a word", score=16 / 17)
@redone
def defend_only_the_fitting(result, row, candidates, fitting):
    names = [other["model"] for other in fitting]
    result["ruled out"] = {n: r for n, r in result["ruled out"].items() if n in names}


@wrong(defend, "within the spread, yet called less accurate")
@redone
def defend_by_tiny_differences(result, row, candidates, fitting):
    for other in fitting:
        if other is not row:
            result["ruled out"][other["model"]] = "accuracy"


@wrong(defend, "a reason that is not true")
@redone
def defend_all_slow(result, row, candidates, fitting):
    result["ruled out"] = dict.fromkeys(result["ruled out"], "slow")


@wrong(defend, "no defence in the form asked for", score=0.0)
def defend_with_the_row(candidates, need):
    fitting = those_that_fit(candidates, need)
    close = [row for row in fitting if not behind(row, fitting)]
    return least(close, need["save"])


@wrong(defend, "no defence in the form asked for", score=0.0)
def defend_by_name(candidates, need):
    fitting = those_that_fit(candidates, need)
    close = [row for row in fitting if not behind(row, fitting)]
    return least(close, need["save"])["model"] if close else "none"
