"""Wrong answers that readers give to the exercises of chapter 07, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises.base import Mistake

Answer = Callable[..., Any]

# LEEP ---------------------------------------------------------------------------------


def _joint(beliefs: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels).to(beliefs).T @ beliefs / len(labels)


def _believed(beliefs: Tensor, labels: Tensor) -> Tensor:
    joint = _joint(beliefs, labels)
    return beliefs @ (joint / joint.sum(dim=0)).T


def _of_truth(believed: Tensor, labels: Tensor) -> Tensor:
    return believed[torch.arange(len(labels)), labels]


def _scored(
    end: Callable[[Tensor], Tensor], believed: Callable[..., Tensor] = _believed
) -> Answer:
    """Return an answer by how it comes from each image's belief in the truth to one."""

    def answer(beliefs: Tensor, labels: Tensor) -> float:
        return end(_of_truth(believed(beliefs, labels), labels)).item()

    return answer


def _mean_log(believed: Tensor) -> Tensor:
    return believed.log().mean()


def _not_conditional(beliefs: Tensor, labels: Tensor) -> Tensor:
    return beliefs @ _joint(beliefs, labels).T


def _given_the_label(beliefs: Tensor, labels: Tensor) -> Tensor:
    joint = _joint(beliefs, labels)
    return beliefs @ (joint / joint.sum(dim=1, keepdim=True)).T


def _softmax_again(beliefs: Tensor, labels: Tensor) -> Tensor:
    return _believed(beliefs.softmax(dim=1), labels)


def _hard(beliefs: Tensor, labels: Tensor) -> Tensor:
    guesses = F.one_hot(beliefs.argmax(dim=1), beliefs.shape[1]).to(beliefs)
    joint = _joint(guesses, labels)
    return guesses @ (joint / joint.sum(dim=0).clamp_min(1e-12)).T


def _over_all_labels(beliefs: Tensor, labels: Tensor) -> float:
    return _believed(beliefs, labels).log().mean().item()


def _log_inside(beliefs: Tensor, labels: Tensor) -> float:
    joint = _joint(beliefs, labels)
    logs = beliefs @ (joint / joint.sum(dim=0)).log().T
    return _of_truth(logs, labels).mean().item()


LEEP = (
    Mistake(
        _scored(_mean_log, _not_conditional),
        "You used P(y, z): divide by P(z) to get P(y | z).",
        "joint instead of conditional",
    ),
    Mistake(
        _scored(_mean_log, _given_the_label),
        "That is P(z | y): a column, one source class, has to sum to 1.",
        "sum over the wrong axis",
    ),
    Mistake(
        _scored(lambda believed: believed.mean().log()),
        "The logarithm comes before the mean, for each image.",
        "log of the mean",
    ),
    Mistake(
        _scored(lambda believed: believed.mean()),
        "The logarithm is missing.",
        "no logarithm",
    ),
    Mistake(
        _scored(lambda believed: -believed.log().mean()),
        "The sign: LEEP is a log likelihood, so it is at most 0.",
        "the sign turned",
    ),
    Mistake(
        _scored(lambda believed: believed.log().sum()),
        "Take the mean over the images, not the sum.",
        "sum instead of a mean",
    ),
    Mistake(
        _scored(lambda believed: believed.log2().mean()),
        "That is the logarithm to base 2: the formula has the natural one.",
        "logarithm to base 2",
    ),
    Mistake(
        _scored(_mean_log, _softmax_again),
        "The beliefs went through a softmax a second time: they sum to 1 already.",
        "softmax of a softmax",
    ),
    Mistake(
        _over_all_labels,
        "That is a mean over all labels: only the belief in each image's own label "
        "counts.",
        "mean over all labels",
    ),
    Mistake(
        _log_inside,
        "The logarithm was taken inside the sum over source classes: first add up "
        "what they believe together, then take it.",
        "logarithm inside the sum",
    ),
    Mistake(
        _scored(_mean_log, _hard),
        "You let the source choose one class for each image: LEEP uses all its "
        "beliefs (with one class only it would be NCE).",
        "one guess an image, as in NCE",
    ),
)

# Kendall's tau ------------------------------------------------------------------------


def _signs(scores: Sequence[float], truths: Sequence[float]) -> list[int]:
    """Return for each pair 1 where both agree, -1 where not, and 0 for a tie."""
    products = [
        (scores[i] - scores[j]) * (truths[i] - truths[j])
        for i, j in combinations(range(len(scores)), 2)
    ]
    return [(product > 0) - (product < 0) for product in products]


def _counted(count: Callable[[list[int], int], float]) -> Answer:
    """Return an answer by what it makes of the signs of all pairs, and of n."""

    def answer(scores: Sequence[float], truths: Sequence[float]) -> float:
        return count(_signs(scores, truths), len(scores))

    return answer


def _by_size(scores: Sequence[float], truths: Sequence[float]) -> float:
    pairs = list(combinations(range(len(scores)), 2))
    return sum(
        (scores[i] - scores[j]) * (truths[i] - truths[j]) for i, j in pairs
    ) / len(pairs)


def _neighbours_only(scores: Sequence[float], truths: Sequence[float]) -> float:
    pairs = [(scores[n : n + 2], truths[n : n + 2]) for n in range(len(scores) - 1)]
    return sum(_signs(*pair)[0] for pair in pairs) / len(pairs)


def _tau_b(scores: Sequence[float], truths: Sequence[float]) -> float:
    pairs = len(scores) * (len(scores) - 1) / 2
    untied = [
        sum(a != b for a, b in combinations(values, 2)) for values in (scores, truths)
    ]
    if len(set(untied)) == 1 and untied[0] == pairs:
        return sum(_signs(scores, truths)) / pairs
    return sum(_signs(scores, truths)) / (untied[0] * untied[1]) ** 0.5


def _pearson(scores: Sequence[float], truths: Sequence[float]) -> float:
    both = torch.tensor([list(scores), list(truths)], dtype=torch.float64)
    return torch.corrcoef(both)[0, 1].item()


def _spearman(scores: Sequence[float], truths: Sequence[float]) -> float:
    ranks = [
        [sum(o < v for o in values) + sum(o == v for o in values) / 2 for v in values]
        for values in (scores, truths)
    ]
    return _pearson(*ranks)


KENDALL = (
    Mistake(
        _counted(lambda signs, n: sum(signs) / (n * (n - 1))),
        "Each pair once: there are n (n - 1) / 2 of them.",
        "each pair counted twice below the line",
    ),
    Mistake(
        _counted(lambda signs, n: sum(signs) / n**2),
        "A source and itself make no pair: there are n (n - 1) / 2 pairs.",
        "divided by n squared",
    ),
    Mistake(
        _counted(lambda signs, n: signs.count(1) / len(signs)),
        "Wrong pairs have to be taken off the right ones.",
        "share of right pairs",
    ),
    Mistake(
        _counted(lambda signs, n: 2 * signs.count(1) / len(signs) - 1),
        "A tie is neither right nor wrong: it counts 0.",
        "ties counted as wrong",
    ),
    Mistake(
        _counted(lambda signs, n: 1 - 2 * signs.count(-1) / len(signs)),
        "A tie is neither right nor wrong: it counts 0.",
        "ties counted as right",
    ),
    Mistake(
        _counted(lambda signs, n: sum(signs) / sum(map(abs, signs))),
        "Ties were left out of the pairs below the line as well: here all n (n - 1) "
        "/ 2 pairs count.",
        "ties left out of all pairs",
    ),
    Mistake(
        _tau_b,
        "That is tau-b, scipy's own: it corrects for ties. Here a tie simply counts 0.",
        "tau-b, corrected for ties",
    ),
    Mistake(
        _by_size,
        "Only the sign of a product counts, not its size.",
        "size of the products",
    ),
    Mistake(
        _counted(lambda signs, n: sum(signs)),
        "Divide by the number of pairs.",
        "not divided by the pairs",
    ),
    Mistake(
        _neighbours_only,
        "All pairs, not only those beside each other.",
        "neighbours only",
    ),
    Mistake(
        _counted(lambda signs, n: -sum(signs) / len(signs)),
        "The sign: a product above 0 is a pair that agrees.",
        "right and wrong pairs swapped",
    ),
    Mistake(
        _pearson,
        "That is Pearson's correlation, which asks for a straight line: tau asks for "
        "the order of pairs alone.",
        "Pearson's correlation",
    ),
    Mistake(
        _spearman,
        "That is Spearman's correlation, of ranks: tau counts pairs.",
        "Spearman's correlation",
    ),
)

# Near-duplicates ----------------------------------------------------------------------


def _above(
    nearest: Callable[[Tensor], Tensor] = lambda values: values.amax(dim=1),
    threshold: Callable[[Tensor, float], Tensor | float] | None = None,
) -> Answer:
    """Return a wrong answer: another number a suspect, or another threshold.

    Args:
        nearest: from similarities to one number an image.
        threshold: from `clean` and `alarms`.
    """

    def answer(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
        if threshold is not None:
            return nearest(similarity) > threshold(clean, alarms)
        return nearest(similarity) > torch.quantile(nearest(clean), 1 - alarms)

    return answer


def _other_axis(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    threshold = torch.quantile(clean.amax(dim=1), 1 - alarms)
    return similarity.amax(dim=0) > threshold


def _own_threshold(similarity: Tensor, _: Tensor, alarms: float) -> Tensor:
    return _above()(similarity, similarity, alarms)


def _unlike(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    return ~_above()(similarity, clean, alarms)


def _two_deviations(clean: Tensor, _: float) -> Tensor:
    return clean.amax(dim=1).mean() + 2 * clean.amax(dim=1).std()


def _places(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    return _above()(similarity, clean, alarms).nonzero().flatten()


def _as_numbers(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    return _above()(similarity, clean, alarms).float()


COPIES = (
    Mistake(
        _other_axis,
        "That has one value for each image of the album: a row is a suspect, so "
        "take the largest along dim=1.",
        "largest over the wrong axis",
    ),
    Mistake(
        lambda similarity, clean, alarms: _above(lambda values: values.amax(dim=0))(
            similarity, clean, alarms
        ),
        "Both maxima run along the wrong axis: a row is an image, so take the "
        "largest along dim=1.",
        "both maxima over the wrong axis",
    ),
    Mistake(
        _own_threshold,
        "The threshold came from the suspects themselves, so a fixed share is "
        "reported however many copies there are: use `clean`.",
        "threshold chosen on the suspects",
    ),
    Mistake(
        _above(threshold=lambda clean, alarms: torch.quantile(clean, 1 - alarms)),
        "The quantile was taken over all pairs: what counts is each new image's "
        "nearest one.",
        "quantile over all pairs",
    ),
    Mistake(
        _above(threshold=lambda clean, a: torch.quantile(clean.amax(dim=1), a)),
        "The quantile is 1 - alarms: only few new images lie above.",
        "quantile at the low end",
    ),
    Mistake(
        _above(threshold=lambda clean, alarms: 1 - alarms),
        "1 - alarms is a share of images, not a similarity: take the quantile of "
        "the new images' nearest similarities.",
        "share taken for a similarity",
    ),
    Mistake(
        _above(threshold=lambda clean, alarms: clean.mean(dim=1).mean()),
        "That is the mean similarity of new images: half of them and more lie above.",
        "mean similarity as the threshold",
    ),
    Mistake(
        _above(threshold=_two_deviations),
        "Two standard deviations are another share of alarms, and only of a bell "
        "curve: take the quantile that was asked for.",
        "two deviations as the threshold",
    ),
    Mistake(
        _unlike, "These are the ones that are not copies.", "copies and others swapped"
    ),
    Mistake(
        _above(lambda values: values.mean(dim=1)),
        "A copy is like one image, not like all: use max.",
        "mean similarity instead of the nearest",
    ),
    Mistake(
        _places,
        "These are the places of the copies: return True or False for each suspect.",
        "places instead of verdicts",
    ),
    Mistake(
        _as_numbers,
        "The verdicts are numbers: leave them True and False, so that they select.",
        "verdicts as numbers",
    ),
)

# The Pareto front ---------------------------------------------------------------------

Rows = Sequence[Mapping[str, Any]]


def _front_by(
    beats: Callable[[float, float, float, float], bool], missing: float | None = None
) -> Answer:
    """Return a wrong answer: another idea of what dominates, or of what is missing."""

    def answer(rows: Rows, cost: str, gain: str) -> list[Mapping[str, Any]]:
        pairs = [
            tuple(missing if row[n] is None else row[n] for n in (cost, gain))
            for row in rows
        ]
        known = [n for n, pair in enumerate(pairs) if None not in pair]
        front = [
            n
            for n in known
            if not any(m != n and beats(*pairs[m], *pairs[n]) for m in known)
        ]
        return [rows[n] for n in sorted(front, key=lambda n: pairs[n][0])]

    return answer


def _dominates(cost: float, gain: float, other_cost: float, other_gain: float) -> bool:
    no_worse = cost <= other_cost and gain >= other_gain
    return no_worse and (cost, gain) != (other_cost, other_gain)


_good = _front_by(_dominates)


def _dearest_first(rows: Rows, cost: str, gain: str) -> Any:
    return sorted(_good(rows, cost, gain), key=lambda row: -row[cost])


def _unsorted(rows: Rows, cost: str, gain: str) -> Any:
    front = _good(rows, cost, gain)
    return [row for row in rows if row in front]


def _the_best_alone(rows: Rows, cost: str, gain: str) -> Any:
    return _good(rows, cost, gain)[-1:]


def _first_of_equals(rows: Rows, cost: str, gain: str) -> Any:
    kept: dict[tuple[float, float], Mapping[str, Any]] = {}
    for row in _good(rows, cost, gain):
        kept.setdefault((row[cost], row[gain]), row)
    return list(kept.values())


def _none_compared(rows: Rows, cost: str, gain: str) -> Any:
    for row in rows:  # None <= None is an error, as in a plain comparison
        assert row[cost] <= row[cost] and row[gain] <= row[gain]
    return _good(rows, cost, gain)


def _names(rows: Rows, cost: str, gain: str) -> list[str]:
    return [row["model"] for row in _good(rows, cost, gain)]


def _best_ratio(rows: Rows, cost: str, gain: str) -> Any:
    known = [row for row in rows if row[cost] is not None and row[gain] is not None]
    return sorted(known, key=lambda row: -row[gain] / max(row[cost], 1e-9))[:1]


def _running_best(rows: Rows, cost: str, gain: str) -> Any:
    known = [row for row in rows if row[cost] is not None and row[gain] is not None]
    front: list[Mapping[str, Any]] = []
    for row in sorted(known, key=lambda row: (row[cost], -row[gain])):
        if not front or row[gain] >= front[-1][gain]:
            front.append(row)
    return front


PARETO_FRONT = (
    Mistake(
        _first_of_equals,
        "Of equal rows only the first was kept: none of them beats the other.",
        "equal rows kept once",
    ),
    Mistake(
        # Equal rows throw each other out.
        _front_by(lambda c, g, oc, og: c <= oc and g >= og),
        "Equal rows threw each other out: one must be better in something.",
        "equal rows thrown out",
    ),
    Mistake(
        _running_best,
        "Going up by cost, a row that gains only as much as a cheaper one was kept: "
        "it costs more for nothing.",
        "dearer rows of equal gain kept",
    ),
    Mistake(
        # Both strictly better is asked for, so rows that tie in one value stay.
        _front_by(lambda c, g, oc, og: c < oc and g > og),
        "A row that ties in one value and loses in the other is dominated too.",
        "ties in one value kept",
    ),
    Mistake(
        _front_by(_dominates, missing=0),
        "None was taken for 0: an unknown cost is not a free model. Leave it out.",
        "None taken for zero",
    ),
    Mistake(
        _none_compared,
        "None cannot be compared with a number: leave such rows out first.",
        "None compared with a number",
    ),
    Mistake(
        _names,
        "These are names: return the rows themselves.",
        "names instead of rows",
    ),
    Mistake(
        _front_by(lambda c, g, oc, og: _dominates(c, -g, oc, -og)),
        "You kept what gains least: more gain is better.",
        "least gain kept",
    ),
    Mistake(
        _dearest_first,
        "The dearest comes first: sort by cost, upwards.",
        "the dearest first",
    ),
    Mistake(
        _unsorted,
        "The right rows, in the order given: sort them by cost.",
        "not sorted",
    ),
    Mistake(
        _the_best_alone,
        "That is the best row alone: cheap ones count too.",
        "the best row alone",
    ),
    Mistake(
        _best_ratio,
        "That is the best gain for its cost: a ratio chooses one row, the front "
        "leaves the choice to you.",
        "best ratio alone",
    ),
)
