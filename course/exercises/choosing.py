"""Exercises of chapter 07: a score, a rank correlation, copies, a front, a choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from course.exercises import choosing_mistakes as mistakes
from course.exercises.base import Case, Exercise, seeded
from course.exercises.choosing_rules import FIGURES, RULES, Row, clearly_better, close


def _whole(generator: Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


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


def _leep_case(
    generator: Generator, shape: Sequence[int], labels: Tensor, sure: float, part: str
) -> Case:
    beliefs = (sure * torch.randn(tuple(shape), generator=generator)).softmax(dim=1)
    shown = f"leep(beliefs {tuple(shape)}, labels of {len(labels.unique())} classes)"
    return Case((beliefs, labels), shown, part)


def _leep_cases() -> list[Case]:
    tries = [
        (8, 3, 2, 2.0, "the plain case"),
        (12, 5, 3, 2.0, "the plain case"),
        (9, 2, 4, 2.0, "more classes than the source has"),
        (10, 4, 3, 6.0, "a sure source"),
        (10, 4, 3, 0.0, "a source that knows nothing"),
    ]
    cases = []
    for seed, (count, sources, classes, sure, part) in enumerate(tries):
        labels = torch.arange(count) * 7 % 5 % classes
        shape = (count, sources)
        cases.append(_leep_case(seeded(seed), shape, labels, sure, part))
    return cases


def _draw_leep(generator: Generator) -> Case:
    count, sources = _whole(generator, 4, 12), _whole(generator, 2, 6)
    labels = torch.randint(0, _whole(generator, 2, 4), (count,), generator=generator)
    labels[:2] = torch.tensor([0, 1])
    sure = _whole(generator, 1, 4)
    return _leep_case(generator, (count, sources), labels, sure, "the plain case")


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
    mistakes=mistakes.LEEP,
    place="3 · A score: what does the old head say?",
    draw=_draw_leep,
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


def _kendall_cases() -> list[Case]:
    tries = [
        ([1.0, 2.0, 3.0, 4.0, 5.0], [10.0, 30.0, 20.0, 50.0, 40.0], "no ties"),
        ([0.9, 0.1, 0.5, 0.5, 0.7], [0.8, 0.3, 0.2, 0.6, 0.9], "ties"),
        ([0.3, 0.1, 0.2, 0.7], [0.5, 0.5, 0.2, 0.2], "ties"),
        ([-5.0, -2.0, -3.0], [0.9, 0.1, 0.5], "other units"),
        ([-700.0, -20.0, -3.0, -1.0], [0.01, 0.3, 0.02, 0.99], "other units"),
    ]
    return [
        Case((scores, truths), f"kendall({scores}, {truths})", part)
        for scores, truths, part in tries
    ]


def _draw_kendall(generator: Generator) -> Case:
    """Draw two lists; with few different values there are ties, but not only ties."""
    count, values = _whole(generator, 2, 7), (4, 100)[_whole(generator, 0, 1)]
    while True:
        scores, truths = (
            torch.randint(0, values, (count,), generator=generator).tolist()
            for _ in range(2)
        )
        if len(set(scores)) > 1 and len(set(truths)) > 1:
            break
    truths = [truth / 100 for truth in truths]
    ties = len(set(scores)) < count or len(set(truths)) < count
    shown = f"kendall({scores}, {truths})"
    return Case((scores, truths), shown, "ties" if ties else "no ties")


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
    cases=_kendall_cases,
    mistakes=mistakes.KENDALL,
    place="4 · Does the order agree?",
    draw=_draw_kendall,
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


def _verdicts(result: Any, *_: Any) -> dict[str, Any]:
    """Return answers with their type: numbers would not select images later."""
    found = torch.as_tensor(result)
    return {"True or False": found.dtype == torch.bool, "copies": found}


def _album(
    generator: Generator, sizes: Sequence[int], alarms: float, copied: float
) -> tuple[Tensor, Tensor, float]:
    """Draw similarities; no suspect lies near the threshold, however one counts."""
    suspects, album, new = sizes
    while True:
        clean = 0.7 * torch.rand((new, album), generator=generator) + 0.1
        clean *= torch.linspace(0.3, 1.0, new)[:, None]
        similarity = 0.8 * torch.rand((suspects, album), generator=generator)
        similarity *= torch.rand((suspects, 1), generator=generator)
        found = torch.rand(suspects, generator=generator) < copied
        place = _whole(generator, 0, album - 1)
        similarity[found, place] = 0.9 + 0.09 * torch.rand((), generator=generator)
        nearest, chance = similarity.amax(dim=1), clean.amax(dim=1).sort().values
        at = int((1 - alarms) * (new - 1))
        low, high = chance[max(at - 1, 0)], chance[min(at + 2, new - 1)]
        if not ((nearest > low - 0.01) & (nearest < high + 0.01)).any():
            return similarity, clean, alarms


def _copies_cases() -> list[Case]:
    tries = [
        ((12, 9, 20), 0.1, 0.3, "some copies"),
        ((8, 15, 30), 0.05, 0.3, "some copies"),
        ((9, 9, 15), 0.2, 0.3, "some copies"),
        ((14, 8, 30), 0.5, 0.2, "some copies"),
        ((10, 6, 15), 0.1, 0.9, "nearly all are copies"),
        ((10, 6, 20), 0.1, 0.0, "no copies"),
    ]
    return [
        Case(_album(seeded(seed), sizes, alarms, copied), _copies_shown(sizes), part)
        for seed, (sizes, alarms, copied, part) in enumerate(tries)
    ]


def _copies_shown(sizes: Sequence[int]) -> str:
    suspects, album, new = sizes
    return f"copies(similarity {(suspects, album)}, clean {(new, album)}, …)"


def _draw_copies(generator: Generator) -> Case:
    sizes = [_whole(generator, low, 12) for low in (3, 2, 8)]
    alarms = _whole(generator, 1, 8) / 16
    arguments = _album(generator, sizes, alarms, copied=0.4)
    return Case(arguments, _copies_shown(sizes), "some copies")


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
    observe=_verdicts,
    cases=_copies_cases,
    mistakes=mistakes.COPIES,
    place="6 · Has it seen my test images?",
    draw=_draw_copies,
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


def _models(
    result: Any, rows: Any, cost: str, gain: str
) -> list[tuple[float, list[str]]]:
    """Return the names in the order given; equal costs may come in any order."""
    groups: list[tuple[float, list[str]]] = []
    for row in result:
        if not groups or groups[-1][0] != row[cost]:
            groups.append((row[cost], []))
        groups[-1][1].append(row["model"])
    return [(price, sorted(names)) for price, names in groups]


def _front_rows(*pairs: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    return [
        {"model": letter, "mb": mb, "top1": top1}
        for letter, (mb, top1) in zip("abcdefghi", pairs, strict=False)
    ]


def _front_cases() -> list[Case]:
    sets = {
        "all on the front": _front_rows((3, 0.9), (1, 0.7), (2, 0.8)),
        "one beats all": _front_rows((2, 0.5), (1, 0.9), (3, 0.8)),
        "some are dominated": _front_rows((4, 80), (1, 60), (2, 70), (3, 65), (5, 75)),
        "ties": _front_rows((4, 80), (2, 70), (2, 65), (3, 70), (1, 60), (5, 80)),
        "equal rows": _front_rows((2, 70), (1, 60), (3, 65), (1, 60), (2, 70)),
        "gaps": _front_rows((2, 70), (None, 99), (0.5, None), (1, 60), (None, None)),
    }
    return [
        Case((rows, "mb", "top1"), f'pareto_front(rows, "mb", "top1"), {name}', name)
        for name, rows in sets.items()
    ]


def _draw_pareto_front(generator: Generator) -> Case:
    """Draw rows of few different values, so that there are ties, equals and gaps."""

    def value(gaps: bool) -> float | None:
        drawn = _whole(generator, -1 if gaps else 0, 5)
        return None if drawn < 0 else float(drawn)

    gaps = bool(_whole(generator, 0, 1))
    count = _whole(generator, 1, 7)
    rows = _front_rows(*((value(gaps), value(gaps)) for _ in range(count)))
    known = [(r["mb"], r["top1"]) for r in rows if None not in r.values()]
    part = "gaps" if len(known) < count else "ties"
    part = "equal rows" if part == "ties" and len(set(known)) < len(known) else part
    shown = f'pareto_front({count} rows, "mb", "top1")'
    return Case((rows, "mb", "top1"), shown, part)


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
    mistakes=mistakes.PARETO_FRONT,
    observe=_models,
    place="7 · What does a model cost?",
    draw=_draw_pareto_front,
)

# A choice, and its defence ------------------------------------------------------------


def _row(
    model: str,
    accuracy: tuple[float, float, float],
    cost: tuple[float | None, float | None],
    licence: str | None = "MIT",
    source: str = "photographs",
) -> dict[str, Any]:
    """Return a candidate; accuracy is on validation, its spread, and on test."""
    (validation, spread, test), (ms, mb) = accuracy, cost
    values = {"validation": validation, "spread": spread, "test": test}
    return {"model": model, **values, "ms": ms, "mb": mb} | {
        "licence": licence,
        "source": source,
    }


CANDIDATES = (
    _row("birch", (0.902, 0.0105, 0.886), (9.0, 44.0)),
    _row("cedar", (0.918, 0.0125, 0.909), (24.0, 45.0), "BSD-3"),
    _row("elm", (0.884, 0.0085, 0.880), (7.0, 12.0)),
    _row("holly", (0.936, 0.0105, 0.930), (28.0, 52.0), "CC BY-NC"),
    _row("larch", (0.888, 0.0065, 0.922), (29.0, 57.0)),
    _row("maple", (0.926, 0.0085, 0.904), (21.0, 88.0)),
    _row("oak", (0.912, 0.0105, 0.911), (16.0, 20.0), "Apache-2.0"),
    _row("pine", (0.944, 0.0065, 0.940), (60.0, 50.0), "BSD-3"),
    _row("rowan", (0.958, 0.0045, 0.962), (18.0, 40.0), "MIT", "scans of the album"),
    _row("willow", (0.932, 0.0105, 0.925), (15.0, 30.0), None),
)
OPEN = ("MIT", "BSD-3", "Apache-2.0")
NEED = {
    "ms": 30.0,
    "mb": 60.0,
    "licences": OPEN,
    "sources that saw the test images": ("scans of the album",),
    "save": "ms",
}


def defend_reference(candidates: Sequence[Row], need: Row) -> dict[str, Any]:
    """Choose a model, and say why.

    Args:
        candidates: rows with model, validation (mean accuracy), spread (half of its
            interval), test, ms, mb, licence and source; None is unknown.
        need: at most so many ms and mb, the licences that will do, the sources that
            saw the test images, and which of "ms" and "mb" to save.

    Returns:
        "choice", of those that fit and are not clearly behind the most accurate that
        fits the name of the cheapest, or None; "figures", what the table says of it;
        "ruled out", a reason for each of the others: "slow", "large", "licence",
        "source", "accuracy" or "dearer".
    """

    def unfit(row: Row) -> str:
        if row["ms"] is None or row["ms"] > need["ms"]:
            return "slow"
        if row["mb"] is None or row["mb"] > need["mb"]:
            return "large"
        if row["licence"] not in need["licences"]:
            return "licence"
        seen = row["source"] in need["sources that saw the test images"]
        return "source" if seen else ""

    reasons = {row["model"]: unfit(row) for row in candidates}
    fitting = [row for row in candidates if not reasons[row["model"]]]
    if not fitting:
        return {"choice": None, "figures": {}, "ruled out": reasons}
    best = max(fitting, key=lambda row: row["validation"])
    close = []
    for row in fitting:
        ahead = best["validation"] - row["validation"]
        if ahead <= best["spread"] + row["spread"]:
            close.append(row)
        reasons[row["model"]] = "dearer" if row in close else "accuracy"
    choice = min(close, key=lambda row: row[need["save"]])
    del reasons[choice["model"]]
    figures = {name: choice[name] for name in FIGURES}
    return {"choice": choice["model"], "figures": figures, "ruled out": reasons}


def _defend_cases() -> list[Case]:
    some = [dict(row) for row in CANDIDATES]
    gaps = [
        _row("alder", (0.950, 0.0105, 0.950), (None, 20.0)),
        _row("beech", (0.940, 0.0105, 0.920), (10.0, None)),
        _row("lime", (0.910, 0.0065, 0.910), (20.0, 30.0)),
        _row("rose", (0.880, 0.0065, 0.930), (5.0, 10.0)),
    ]
    tries = [
        ("to save ms", some, NEED),
        ("to save MB", some, {**NEED, "save": "mb"}),
        ("unknown costs", gaps, NEED),
        ("little time", some, {**NEED, "ms": 10.0, "save": "mb"}),
        ("for research", some, {**NEED, "licences": (*OPEN, "CC BY-NC")}),
        ("one candidate, at the limits", some[:1], {**NEED, "ms": 9.0, "mb": 44.0}),
        ("another licence", some, {**NEED, "licences": ("GPL-3",)}),
    ]
    return [
        Case((rows, dict(need)), f"defend({len(rows)} candidates, {said})")
        for said, rows, need in tries
    ]


def _draw_row(generator: Generator, model: str, validation: float) -> dict[str, Any]:
    def cost(most: int) -> float | None:
        drawn = _whole(generator, 0, most)
        return float(drawn) if drawn else None

    spread = 0.0005 + 0.002 * _whole(generator, 1, 8)
    test = round(validation + 0.002 * _whole(generator, -12, 12), 3)
    licences = (*OPEN, "CC BY-NC", None)
    return _row(
        model,
        (validation, spread, test),
        (cost(12), cost(12)),
        licences[_whole(generator, 0, 4)],
        ("photographs", "drawings", "scans of the album")[_whole(generator, 0, 2)],
    )


def _draw_defend(generator: Generator) -> Case:
    """Draw candidates; whom the most accurate beats clearly, nobody else decides."""
    while True:
        count = _whole(generator, 2, 7)
        ranks = torch.randperm(40, generator=generator)[:count].tolist()
        names = [row["model"] for row in CANDIDATES]
        rows = [
            _draw_row(generator, name, round(0.86 + 0.002 * rank, 3))
            for name, rank in zip(names, ranks, strict=False)
        ]
        need = {**NEED, "ms": 10.0, "mb": float(_whole(generator, 8, 12))}
        need["save"] = ("ms", "mb")[_whole(generator, 0, 1)]
        near = close(rows, need)
        if not any(clearly_better(one, two) for one in near for two in near):
            return Case((rows, need), f"defend({count} candidates, …)")


defend = Exercise(
    name="defend",
    title="Choose and defend",
    minutes=15,
    difficulty="hard",
    trains="a choice that somebody else can check",
    hints=(
        "In three steps: who fits all limits, who of these is not clearly behind the "
        "most accurate of them, and who of those costs least?",
        "Begin with a reason for each that does not fit; None fits nowhere. One is "
        "clearly behind where best - its validation > both spreads together.",
        "close = [r for r in fitting if best[v] - r[v] <= best[s] + r[s]]; choice = "
        'min(close, key=lambda r: r[need["save"]]). Of the others that fit, those in '
        'close are "dearer", the rest lose by "accuracy".',
    ),
    reference=defend_reference,
    cases=_defend_cases,
    mistakes=(),
    kind="choose and defend",
    place="8 · The chooser",
    draw=_draw_defend,
    rules=RULES,
)

EXERCISES = (leep, kendall, copies, pareto_front, defend)
