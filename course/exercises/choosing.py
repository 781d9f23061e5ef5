"""Exercises of chapter 07: a score, a rank correlation, copies, a Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises.base import Case, Exercise, Mistake, seeded

# LEEP ---------------------------------------------------------------------------------


def leep_reference(beliefs: Tensor, labels: Tensor) -> float:
    """Return LEEP: the mean log belief in the truth, by way of the source's classes.

    Args:
        beliefs: (N, source classes), the softmax of the source's logits.
        labels: int64 (N,), of the target task.
    """
    joint = F.one_hot(labels).to(beliefs).T @ beliefs / len(labels)  # P(y, z)
    given = joint / joint.sum(dim=0)  # P(y | z)
    believed = beliefs @ given.T  # (N, target classes)
    return believed[torch.arange(len(labels)), labels].log().mean().item()


def _joint(beliefs: Tensor, labels: Tensor) -> Tensor:
    return F.one_hot(labels).to(beliefs).T @ beliefs / len(labels)


def _of_truth(believed: Tensor, labels: Tensor) -> Tensor:
    return believed[torch.arange(len(labels)), labels]


def _not_conditional(beliefs: Tensor, labels: Tensor) -> float:
    believed = beliefs @ _joint(beliefs, labels).T
    return _of_truth(believed, labels).log().mean().item()


def _wrong_axis(beliefs: Tensor, labels: Tensor) -> float:
    joint = _joint(beliefs, labels)
    given = joint / joint.sum(dim=1, keepdim=True)
    return _of_truth(beliefs @ given.T, labels).log().mean().item()


def _log_of_mean(beliefs: Tensor, labels: Tensor) -> float:
    joint = _joint(beliefs, labels)
    believed = beliefs @ (joint / joint.sum(dim=0)).T
    return _of_truth(believed, labels).mean().log().item()


def _no_log(beliefs: Tensor, labels: Tensor) -> float:
    joint = _joint(beliefs, labels)
    believed = beliefs @ (joint / joint.sum(dim=0)).T
    return _of_truth(believed, labels).mean().item()


def _sign(beliefs: Tensor, labels: Tensor) -> float:
    return -leep_reference(beliefs, labels)


def _summed(beliefs: Tensor, labels: Tensor) -> float:
    return leep_reference(beliefs, labels) * len(labels)


def _hard(beliefs: Tensor, labels: Tensor) -> float:
    guesses = F.one_hot(beliefs.argmax(dim=1), beliefs.shape[1]).to(beliefs)
    joint = _joint(guesses, labels)
    given = joint / joint.sum(dim=0).clamp_min(1e-12)
    return _of_truth(guesses @ given.T, labels).log().mean().item()


def _leep_cases() -> list[Case]:
    cases = []
    for seed, (count, sources, classes) in enumerate(
        [(8, 3, 2), (12, 5, 3), (9, 2, 4)]
    ):
        generator = seeded(seed)
        beliefs = (2 * torch.randn(count, sources, generator=generator)).softmax(dim=1)
        labels = torch.arange(count) * 7 % 5 % classes
        shown = f"leep(beliefs ({count}, {sources}), labels of {classes} classes)"
        cases.append(Case((beliefs, labels), shown))
    return cases


leep = Exercise(
    name="leep",
    title="LEEP",
    minutes=12,
    difficulty="medium",
    trains="what a head for other classes says of yours",
    hints=(
        "Three steps: how often do target class y and source class z go together, what "
        "does z then say of y, and what is believed of each image's own class?",
        "joint = F.one_hot(labels).float().T @ beliefs / len(labels) is P(y, z), one "
        "row a target class; divide each column by its sum.",
        "believed = beliefs @ given.T; then believed[torch.arange(len(labels)), labels]"
        ".log().mean().item().",
    ),
    reference=leep_reference,
    cases=_leep_cases,
    mistakes=(
        Mistake(_not_conditional, "You used P(y, z): divide by P(z) to get P(y | z)."),
        Mistake(
            _wrong_axis,
            "That is P(z | y): a column, one source class, has to sum to 1.",
        ),
        Mistake(_log_of_mean, "The logarithm comes before the mean, for each image."),
        Mistake(_no_log, "The logarithm is missing."),
        Mistake(_sign, "The sign: LEEP is a log likelihood, so it is at most 0."),
        Mistake(_summed, "Take the mean over the images, not the sum."),
        Mistake(
            _hard,
            "You let the source choose one class for each image: LEEP uses all its "
            "beliefs (with one class only it would be NCE).",
        ),
    ),
)

# Kendall's tau ------------------------------------------------------------------------


def kendall_reference(scores: Sequence[float], truths: Sequence[float]) -> float:
    """Return Kendall's tau: right pairs minus wrong ones, over all pairs.

    Args:
        scores: one for each source.
        truths: one for each source; a pair that is equal in either counts as 0.
    """
    count = len(scores)
    total = 0
    for i in range(count):
        for j in range(i):
            product = (scores[i] - scores[j]) * (truths[i] - truths[j])
            total += (product > 0) - (product < 0)
    return total / (count * (count - 1) / 2)


def _over_all_twice(scores: Sequence[float], truths: Sequence[float]) -> float:
    return kendall_reference(scores, truths) / 2


def _right_share(scores: Sequence[float], truths: Sequence[float]) -> float:
    pairs = [(i, j) for i in range(len(scores)) for j in range(i)]
    right = [(scores[i] - scores[j]) * (truths[i] - truths[j]) > 0 for i, j in pairs]
    return sum(right) / len(pairs)


def _ties_are_wrong(scores: Sequence[float], truths: Sequence[float]) -> float:
    return 2 * _right_share(scores, truths) - 1


def _by_size(scores: Sequence[float], truths: Sequence[float]) -> float:
    pairs = [(i, j) for i in range(len(scores)) for j in range(i)]
    return sum(
        (scores[i] - scores[j]) * (truths[i] - truths[j]) for i, j in pairs
    ) / len(pairs)


def _not_divided(scores: Sequence[float], truths: Sequence[float]) -> float:
    count = len(scores)
    return kendall_reference(scores, truths) * count * (count - 1) / 2


def _neighbours_only(scores: Sequence[float], truths: Sequence[float]) -> float:
    total = 0
    for i in range(1, len(scores)):
        product = (scores[i] - scores[i - 1]) * (truths[i] - truths[i - 1])
        total += (product > 0) - (product < 0)
    return total / (len(scores) - 1)


def _opposite(scores: Sequence[float], truths: Sequence[float]) -> float:
    return -kendall_reference(scores, truths)


kendall = Exercise(
    name="kendall",
    title="Kendall's tau",
    minutes=8,
    difficulty="easy",
    trains="comparing two orders, whatever the units",
    hints=(
        "Only orders count: for each pair of sources, do score and truth agree on "
        "which is better?",
        "The sign of (scores[i] - scores[j]) * (truths[i] - truths[j]) says so; 0 is a "
        "tie.",
        "Sum the signs over all pairs j < i and divide by n (n - 1) / 2.",
    ),
    reference=kendall_reference,
    cases=lambda: [
        Case(([1.0, 2.0, 3.0, 4.0, 5.0], [10.0, 30.0, 20.0, 50.0, 40.0]), "two wrong"),
        Case(([0.9, 0.1, 0.5, 0.5, 0.7], [0.8, 0.3, 0.2, 0.6, 0.9]), "a tie"),
        Case(([-5.0, -2.0, -3.0], [0.9, 0.1, 0.5]), "another unit"),
    ],
    mistakes=(
        Mistake(_over_all_twice, "Each pair once: there are n (n - 1) / 2 of them."),
        Mistake(_right_share, "Wrong pairs have to be taken off the right ones."),
        Mistake(_ties_are_wrong, "A tie is neither right nor wrong: it counts 0."),
        Mistake(_by_size, "Only the sign of a product counts, not its size."),
        Mistake(_not_divided, "Divide by the number of pairs."),
        Mistake(_neighbours_only, "All pairs, not only those beside each other."),
        Mistake(_opposite, "The sign: a product above 0 is a pair that agrees."),
    ),
)

# Near-duplicates ----------------------------------------------------------------------


def copies_reference(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    """Return which suspects are more like an image of the album than chance allows.

    Args:
        similarity: (suspects, album), cosines.
        clean: (new images, album), cosines of images that are known to be new.
        alarms: the share of new images that may be reported by mistake.

    Returns:
        bool (suspects,): above the threshold that all but `alarms` of the new images'
        nearest similarities stay below.
    """
    nearest = similarity.max(dim=1).values
    threshold = torch.quantile(clean.max(dim=1).values, 1 - alarms)
    return nearest > threshold


def _other_axis(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    threshold = torch.quantile(clean.max(dim=1).values, 1 - alarms)
    return similarity.max(dim=0).values > threshold


def _own_threshold(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    return copies_reference(similarity, similarity, alarms)


def _all_cosines(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    return similarity.max(dim=1).values > torch.quantile(clean, 1 - alarms)


def _low_end(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    return copies_reference(similarity, clean, 1 - alarms)


def _unlike(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    return ~copies_reference(similarity, clean, alarms)


def _mean_similarity(similarity: Tensor, clean: Tensor, alarms: float) -> Tensor:
    threshold = torch.quantile(clean.mean(dim=1), 1 - alarms)
    return similarity.mean(dim=1) > threshold


def _copies_cases() -> list[Case]:
    cases = []
    for seed, (suspects, album, new, alarms) in enumerate(
        [(12, 9, 20, 0.1), (8, 15, 30, 0.05), (10, 6, 15, 0.2)]
    ):
        generator = seeded(seed)
        similarity = 0.8 * torch.rand(suspects, album, generator=generator)
        similarity[::3] *= 0.5
        similarity[1::4, 2] = 0.97
        clean = 0.7 * torch.rand(new, album, generator=generator) + 0.1
        clean[:, 0] *= torch.linspace(0.3, 1.1, new)
        shown = f"copies(({suspects}, {album}), ({new}, {album}), {alarms:g})"
        cases.append(Case((similarity, clean, alarms), shown))
    return cases


copies = Exercise(
    name="copies",
    title="Which images are copies?",
    minutes=10,
    difficulty="medium",
    trains="setting a threshold without looking at what it will judge",
    hints=(
        "One number a suspect: how like is the most similar image of the album?",
        "Images known to be new show what chance does: take a quantile of the same "
        "number over them.",
        "similarity.max(dim=1).values > torch.quantile(clean.max(dim=1).values, "
        "1 - alarms).",
    ),
    reference=copies_reference,
    cases=_copies_cases,
    mistakes=(
        Mistake(
            _other_axis,
            "That has one value for each image of the album: a row is a suspect, so "
            "take the largest along dim=1.",
        ),
        Mistake(
            _own_threshold,
            "The threshold came from the suspects themselves, so a fixed share is "
            "reported however many copies there are: use `clean`.",
        ),
        Mistake(
            _all_cosines,
            "The quantile was taken over all pairs: what counts is each new image's "
            "nearest one.",
        ),
        Mistake(_low_end, "The quantile is 1 - alarms: only few new images lie above."),
        Mistake(_unlike, "These are the ones that are not copies."),
        Mistake(_mean_similarity, "A copy is like one image, not like all: use max."),
    ),
)

# The Pareto front ---------------------------------------------------------------------


def pareto_front_reference(
    rows: Sequence[Mapping[str, Any]], cost: str, gain: str
) -> list[Mapping[str, Any]]:
    """Return the rows that no other row dominates, the cheapest first.

    A row dominates another if it costs no more, gains no less, and is better in one of
    the two. A row that lacks one of the two values does not take part.

    Args:
        rows: mappings.
        cost: the name of what should be small.
        gain: the name of what should be large.
    """
    known = [r for r in rows if r[cost] is not None and r[gain] is not None]

    def dominates(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        no_worse = one[cost] <= other[cost] and one[gain] >= other[gain]
        return no_worse and (one[cost], one[gain]) != (other[cost], other[gain])

    front = [r for r in known if not any(dominates(other, r) for other in known)]
    return sorted(front, key=lambda row: row[cost])


def _front_by(
    beats: Callable[[float, float, float, float], bool], missing: float | None = None
) -> Callable[..., list[Mapping[str, Any]]]:
    """Return a wrong answer: another idea of what dominates, or of what is missing."""

    def answer(
        rows: Sequence[Mapping[str, Any]], cost: str, gain: str
    ) -> list[Mapping[str, Any]]:
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


# Both strictly better is asked for, so rows that tie in one value stay.
_keeps_ties = _front_by(lambda c, g, oc, og: c < oc and g > og)
# Equal rows throw each other out.
_drops_equals = _front_by(lambda c, g, oc, og: c <= oc and g >= og)
_least_gain = _front_by(lambda c, g, oc, og: _dominates(c, -g, oc, -og))
_none_is_zero = _front_by(_dominates, missing=0)


def _dearest_first(
    rows: Sequence[Mapping[str, Any]], cost: str, gain: str
) -> list[Mapping[str, Any]]:
    return pareto_front_reference(rows, cost, gain)[::-1]


def _unsorted(
    rows: Sequence[Mapping[str, Any]], cost: str, gain: str
) -> list[Mapping[str, Any]]:
    front = pareto_front_reference(rows, cost, gain)
    return [row for row in rows if row in front]


def _the_best_alone(
    rows: Sequence[Mapping[str, Any]], cost: str, gain: str
) -> list[Mapping[str, Any]]:
    return pareto_front_reference(rows, cost, gain)[-1:]


def _models(result: Any, *_: Any) -> list[str]:
    return [row["model"] for row in result]


def _front_rows(*pairs: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    return [
        {"model": letter, "mb": mb, "top1": top1}
        for letter, (mb, top1) in zip("abcdefghi", pairs, strict=False)
    ]


TIES = (
    *((4, 80), (1, 60), (2, 70), (2, 65), (3, 70), (5, 75), (1, 60)),
    *((None, 99), (0.5, None)),
)


def _front_cases() -> list[Case]:
    sets = {
        "ties, equals and gaps": _front_rows(*TIES),
        "all on the front": _front_rows((3, 0.9), (1, 0.7), (2, 0.8)),
        "one beats all": _front_rows((2, 0.5), (1, 0.9), (3, 0.8)),
    }
    return [
        Case((rows, "mb", "top1"), f'pareto_front(rows, "mb", "top1"), {name}')
        for name, rows in sets.items()
    ]


pareto_front = Exercise(
    name="pareto_front",
    title="The Pareto front",
    minutes=10,
    difficulty="medium",
    trains="which models are worth a second look",
    hints=(
        "For one row, ask of every other: does it cost no more and gain no less?",
        "Leave out rows with None first. Two equal rows do not dominate each other.",
        "[r for r in known if not any(o[cost] <= r[cost] and o[gain] >= r[gain] and "
        "(o[cost], o[gain]) != (r[cost], r[gain]) for o in known)], sorted by cost.",
    ),
    reference=pareto_front_reference,
    cases=_front_cases,
    mistakes=(
        Mistake(
            _keeps_ties,
            "A row that ties in one value and loses in the other is dominated too.",
        ),
        Mistake(
            _drops_equals,
            "Equal rows threw each other out: one must be better in something.",
        ),
        Mistake(
            _none_is_zero,
            "None was taken for 0: an unknown cost is not a free model. Leave it out.",
        ),
        Mistake(_least_gain, "You kept what gains least: more gain is better."),
        Mistake(_dearest_first, "The dearest comes first: sort by cost, upwards."),
        Mistake(_unsorted, "The right rows, in the order given: sort them by cost."),
        Mistake(_the_best_alone, "That is the best row alone: cheap ones count too."),
    ),
    observe=_models,
)

EXERCISES = (leep, kendall, copies, pareto_front)
