"""The shortlist: from images and limits to a few models, a strategy and a card."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from course import zoo
from course.arguments import check_fields, kinds_checked
from course.errors import CourseError, unknown
from course.models import write_whole

Row = Mapping[str, Any]
Front = Callable[[Sequence[Row], str, str], list[Row]]
LIKENESS = {
    "near": "photographs like ImageNet's",
    "other": "other photographs",
    "far": "drawings, scans or medical images",
}
COSTS = {
    "gmacs": "giga multiply-adds",
    "file_mb": "MB of file",
    "parameters": "parameters",
}
_LESS = {
    "gmacs": "with {} times less arithmetic",
    "file_mb": "in a file {} times smaller",
    "parameters": "with {} times fewer parameters",
}
CARD = "model-decision"  # name of the files, without ending
MOST = 5  # models on a shortlist
STEP = 2.0  # each costs at most this part of the one before it
# Bounds of the advice. They come from this course's own small tasks: a first try.
FEW_LABELS = 5  # a class: up to here a probe holds its own on a near task
MANY_LABELS = 100  # a class: from here on the head start is mostly spent
MANY_IMAGES = 5000


@dataclass(frozen=True)
class Needs:
    """What a reader has and what there is room for (chapter 07).

    Args:
        labels: labelled images a class.
        classes: how many there are.
        likeness: a key of `LIKENESS`.
        file_mb: the largest file; None for no limit, here and below.
        gmacs: giga multiply-adds for one image.
        ms: for one image on this machine; only models that were timed can keep it.
        training_mb: memory for the training that is suggested.
        licence_stated: only weights whose licence torchvision states.
        save_on: a key of `COSTS`: what is weighed against accuracy.
    """

    labels: int = 20
    classes: int = 10
    likeness: str = "other"
    file_mb: float | None = None
    gmacs: float | None = None
    ms: float | None = None
    training_mb: float | None = None
    licence_stated: bool = False
    save_on: str = "gmacs"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.likeness not in LIKENESS:
            raise unknown("likeness", self.likeness, LIKENESS)
        if self.save_on not in COSTS:
            raise unknown("cost", self.save_on, COSTS)
        for name in ("labels", "classes"):
            if getattr(self, name) < 1:
                raise CourseError(
                    f"{name} was {getattr(self, name)}; expected 1 or more."
                )


class Strategy(NamedTuple):
    """How to use a pretrained model, why, and the chapters that measured it."""

    name: str
    why: str
    chapters: tuple[str, ...]
    trains_all: bool


class Pick(NamedTuple):
    """A model on the shortlist and the reason in words."""

    row: Row
    reason: str


@dataclass(frozen=True)
class Decision:
    """What `decide` found: at most five models, or a sentence that says why none.

    Args:
        needs: what was asked.
        strategy: what to do with the model.
        picks: the most accurate first; empty where `problem` says why.
        fitting: all rows that kept every limit.
        front: those of them that no other dominates, the cheapest first.
        dropped: limit in words to how many rows it took away.
        problem: empty, or one sentence with a way out.
    """

    needs: Needs
    strategy: Strategy
    picks: tuple[Pick, ...] = ()
    fitting: tuple[Row, ...] = ()
    front: tuple[Row, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""

    @property
    def summary(self) -> str:
        """How many models fit, and what took the others away."""
        if self.problem:
            return self.problem
        gone = [f"{n} ({limit})" for limit, n in self.dropped.items() if n]
        left_out = f" Left out: {', '.join(gone)}." if gone else ""
        return (
            f"{len(self.fitting)} {_plural(len(self.fitting), 'entry', 'entries')} "
            f"of the zoo {_plural(len(self.fitting), 'fits', 'fit')}, "
            f"{len(self.front)} of them on the Pareto front; {len(self.picks)} "
            f"on the shortlist.{left_out}"
        )


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def strategy_for(needs: Needs) -> Strategy:
    """Return the strategy to try first, as this course's own chapters suggest it.

    Few labels and a near source: a linear probe. An unlike source and thousands of
    images: from scratch, beside fine-tuning. Else fine-tuning.
    """
    few = needs.labels <= FEW_LABELS
    many = needs.labels >= MANY_LABELS
    if needs.likeness == "near" and few:
        return Strategy(
            "linear probe",
            "With so few labels and images like the source's, features that stay "
            "frozen do as well as anything that moves them, or better, and cost "
            "seconds. Keep fine-tuning as the second try.",
            ("02", "05"),
            False,
        )
    if needs.likeness == "far" and many and images(needs) >= MANY_IMAGES:
        return Strategy(
            "from scratch, beside fine-tuning",
            "With this many labels the head start is mostly spent, and an unlike "
            "source brings little that you need: train both at the same budget and "
            "compare.",
            ("03", "05", "06"),
            True,
        )
    if needs.likeness == "far":
        return Strategy(
            "fine-tuning",
            "Frozen features may have lost what tells your classes apart. Moving all "
            "weights brings it back, but with few steps can still be behind scratch: "
            "run that beside it at the same budget. Probe several layers first: it "
            "costs seconds and shows whether something is lost.",
            ("02", "03", "06"),
            True,
        )
    return Strategy(
        "fine-tuning",
        "From the pretrained weights, with a rate chosen on validation data; a linear "
        "probe is the figure to beat"
        + (", and with so few labels it may win." if few else "."),
        ("03", "05"),
        True,
    )


def images(needs: Needs) -> int:
    """Return how many labelled images there are."""
    return needs.labels * needs.classes


# The limits ---------------------------------------------------------------------------


class _Limit(NamedTuple):
    """A limit: its name, a row's value, the most allowed, and what to say of nothing.

    Where `most` is None it is enough that the value is known.
    """

    name: str
    value: Callable[[Row], float | None]
    most: float | None
    unknown: str
    nothing: str = ""
    unit: str = ""
    otherwise: str = ""


@kinds_checked
def decide(
    rows: Sequence[Row],
    needs: Needs,
    timed: Mapping[str, float] | None = None,
    front: Front = zoo.pareto_front,
) -> Decision:
    """Choose models for somebody's images and limits (chapter 07).

    The limits are applied one after the other. Of what is left, the Pareto front of
    cost and ImageNet accuracy is taken; the most accurate comes first, each next one
    costs at most half as much.

    Args:
        rows: from `zoo.entries`.
        needs: images and limits.
        timed: `key` of a row to milliseconds, for those that were timed here.
        front: what finds the Pareto front.

    Returns:
        The decision; where nothing is left it says so and names a way out.
    """
    strategy, dropped = strategy_for(needs), {}
    left: Sequence[Row] = list(rows)
    for limit in _limits(needs, strategy, timed or {}):
        kept = [row for row in left if _keeps(limit, row)]
        dropped[limit.name] = len(left) - len(kept)
        if not kept:
            text = _empty(limit, left)
            return Decision(needs, strategy, dropped=dropped, problem=text)
        left = kept
    best = front(left, needs.save_on, "top1")
    picks = _picks(best, needs.save_on)
    return Decision(needs, strategy, picks, tuple(left), tuple(best), dropped)


def _limits(
    needs: Needs, strategy: Strategy, timed: Mapping[str, float]
) -> list[_Limit]:
    """Return the limits that are set, in the order in which they are applied."""
    limits = [
        _Limit("no ImageNet accuracy", _value("top1"), None, _NO_ACCURACY),
        _Limit("licence not stated", _value("licence"), None, _NO_LICENCE),
        _Limit(
            "file size",
            _value("file_mb"),
            needs.file_mb,
            "No file size is known: take the limit in MB off.",
            "Nothing is small enough: the smallest is",
            "MB",
        ),
        _Limit(
            "multiply-adds",
            _value("gmacs"),
            needs.gmacs,
            "No number of multiply-adds is known: take that limit off.",
            "Nothing is light enough: the lightest is",
            "giga multiply-adds",
        ),
        _Limit(
            "time",
            lambda row: timed.get(key(row)),
            needs.ms,
            _NOT_TIMED,
            "Nothing that was timed is fast enough: the fastest is",
            "ms",
            " or time others",
        ),
        _memory_limit(needs, strategy),
    ]
    accuracy, licence, *others = limits
    chosen = [accuracy, licence] if needs.licence_stated else [accuracy]
    return chosen + [limit for limit in others if limit.most is not None]


def _memory_limit(needs: Needs, strategy: Strategy) -> _Limit:
    return _Limit(
        "memory",
        zoo.training_mb if strategy.trains_all else zoo.frozen_mb,
        needs.training_mb,
        "The memory that a training takes is known for none: take that limit off.",
        f"Nothing fits into that memory ({strategy.name}): the leanest is",
        "MB",
        " or train with smaller batches" if strategy.trains_all else "",
    )


_NO_ACCURACY = (
    "There is no model with an ImageNet accuracy to choose from: pass the rows of "
    "zoo.entries()."
)
_NO_LICENCE = (
    "No weights have a stated licence: untick the box, and ask whoever made the "
    "weights before you publish."
)
_NOT_TIMED = (
    "None of the models that are left has been timed here: take the limit in ms off, "
    "tick models of the shortlist and time them, then set it again."
)


def _value(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def _keeps(limit: _Limit, row: Row) -> bool:
    value = limit.value(row)
    return value is not None and (limit.most is None or value <= limit.most)


def _empty(limit: _Limit, left: Sequence[Row]) -> str:
    """Say why a limit leaves nothing, and what the least is that would do."""
    known = [row for row in left if limit.value(row) is not None]
    if not known:
        return limit.unknown
    least = min(known, key=limit.value)
    value = limit.value(least)
    return (
        f"{limit.nothing} {least['model']} with {amount(value)} {limit.unit}; raise "
        f"the limit to {amount(_up(value))} {limit.unit}{limit.otherwise}."
    )


def _up(value: float) -> float:
    """Round up to two significant digits."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(round(value / unit, 9)) * unit, 9)


def amount(value: float) -> str:
    """Write an amount in three significant digits: ``"0.04"``, ``"4.73"``, ``"1,160"``.

    Args:
        value: zero or more.
    """
    if value <= 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(value)))
    text = f"{round(value, 2 - math.floor(math.log10(value))):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def key(row: Row) -> str:
    """Return what a timing belongs to: the speed depends on model and input size."""
    return f"{row['model']} at {row['size']} px"


# The shortlist ------------------------------------------------------------------------


def _picks(front: Sequence[Row], cost: str) -> tuple[Pick, ...]:
    """Take the most accurate, then what costs half as much, and so on."""
    chosen: list[Row] = []
    for row in reversed(front):
        if not chosen or row[cost] * STEP <= chosen[-1][cost]:
            chosen.append(row)
    reasons = [_reason(row, chosen[0], cost) for row in chosen[:MOST]]
    return tuple(map(Pick, chosen, reasons))


def _reason(row: Row, best: Row, cost: str) -> str:
    if row is best:
        text = "The highest ImageNet accuracy that your limits leave."
    else:
        less = f"{best[cost] / row[cost]:,.1f}" if row[cost] else "any number of"
        text = (
            f"{best['top1'] - row['top1']:.1f} points less than the first, "
            f"{_LESS[cost].format(less)}."
        )
    if row.get("licence"):
        text += " Its licence is stated: read whether it allows your use."
    return text


# The card -----------------------------------------------------------------------------


def as_dict(decision: Decision, timed: Mapping[str, float] | None = None) -> dict:
    """Return a decision as plain values, for JSON.

    Args:
        decision: from `decide`.
        timed: as `decide` got it.
    """
    timed = timed or {}
    models = [
        {**pick.row, "reason": pick.reason, "ms_here": timed.get(key(pick.row))}
        for pick in decision.picks
    ]
    strategy = {
        "name": decision.strategy.name,
        "why": decision.strategy.why,
        "chapters": list(decision.strategy.chapters),
    }
    return {
        "needs": asdict(decision.needs),
        "strategy": strategy,
        "summary": decision.summary,
        "left_out": dict(decision.dropped),
        "shortlist": models,
    }


def as_markdown(decision: Decision, timed: Mapping[str, float] | None = None) -> str:
    """Return a decision as a page of Markdown; arguments as in `as_dict`."""
    needs, timed = decision.needs, timed or {}
    lines = [
        "# Which model: a decision card",
        "",
        f"- Images: {LIKENESS[needs.likeness]}; {needs.labels} labels a class, "
        f"{needs.classes} classes.",
        f"- Limits: {limits_in_words(needs)}.",
        f"- Strategy to try first: **{decision.strategy.name}** (chapters "
        f"{', '.join(decision.strategy.chapters)}). {decision.strategy.why}",
        f"- {_markdown(decision.summary)}",
        "",
    ]
    if decision.picks:
        lines += ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    for row in table(decision, timed):
        lines.append("| " + " | ".join(_markdown(str(v)) for v in row.values()) + " |")
    lines += ["", *(f"- {_origin(pick.row)}" for pick in decision.picks)]
    lines += ["", CAVEAT, ""]
    return "\n".join(lines)


def _origin(row: Row) -> str:
    licence = row.get("licence") or "not stated"
    recipe = row.get("recipe") or "not stated"
    return _markdown(f"{row['model']}: licence {licence}; recipe {recipe}")


HEADINGS = ("model", "weights", "top-1 %", "G multiply-adds", "MB", "ms here", "why")
CAVEAT = (
    "ImageNet accuracy, size and multiply-adds are torchvision's own figures. Accuracy "
    "on ImageNet is no promise for other images: measure the shortlist on yours. "
    "Read the licence of the weights, and of the data behind them, before you publish."
)


def table(
    decision: Decision, timed: Mapping[str, float] | None = None
) -> list[dict[str, str]]:
    """Return the shortlist as rows of text under `HEADINGS`; see `as_dict`."""
    timed = timed or {}
    return [
        dict(
            zip(
                HEADINGS,
                (
                    str(row["model"]),
                    str(row["weights"]),
                    f"{row['top1']:.1f}",
                    _or_unknown(row.get("gmacs")),
                    _or_unknown(row.get("file_mb")),
                    _or_unknown(timed.get(key(row)), "not timed"),
                    reason,
                ),
                strict=True,
            )
        )
        for row, reason in decision.picks
    ]


def _or_unknown(value: float | None, instead: str = "unknown") -> str:
    return instead if value is None else amount(value)


def _markdown(text: str) -> str:
    """Take from a text what Markdown, or HTML within it, would act on."""
    escaped = html.escape(text, quote=False).replace("|", "\\|")
    return " ".join(escaped.replace("`", "\\`").replace("*", "\\*").split())


def limits_in_words(needs: Needs) -> str:
    """Return the limits in words, ``"none"`` where there is none."""
    limits = [
        (needs.file_mb, "a file of at most {} MB"),
        (needs.gmacs, "at most {} giga multiply-adds an image"),
        (needs.ms, "at most {} ms an image here"),
        (needs.training_mb, "at most {} MB of memory for training"),
    ]
    words = [text.format(amount(most)) for most, text in limits if most is not None]
    words += ["a stated licence"] if needs.licence_stated else []
    return ", ".join(words) or "none"


def save(
    decision: Decision,
    folder: str | Path = "",
    timed: Mapping[str, float] | None = None,
    name: str = CARD,
) -> tuple[Path, Path]:
    """Write a decision card as Markdown and as JSON; nothing is overwritten.

    Both files are whole or not there. Where a card of that name is there already, a
    number is added to the name.

    Args:
        decision: from `decide`.
        folder: where to; made if it is not there. Empty for where the notebook runs.
        timed: as `decide` got it.
        name: of both files, without ending.

    Returns:
        The places of the Markdown and of the JSON file.

    Raises:
        CourseError: they could not be written.
    """
    place = Path(folder).expanduser()
    text = json.dumps(as_dict(decision, timed), indent=2, ensure_ascii=False) + "\n"
    page = as_markdown(decision, timed)
    written: list[Path] = []
    try:
        free = _free(place, name)
        paths = place / f"{free}.md", place / f"{free}.json"
        for path, content in zip(paths, (page, text), strict=True):
            _write(path, content)
            written.append(path)
    except (OSError, ValueError) as error:
        for path in written:  # half a card would look like a whole one
            path.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error)
        raise CourseError(
            f"The card could not be written into the folder {str(folder) or '.'!r} "
            f"({reason}); name a folder in which you may write."
        ) from error
    return paths


def _write(path: Path, content: str) -> None:
    write_whole(path, lambda part: part.write_text(content, "utf-8"))


def _free(folder: Path, name: str) -> str:
    """Return the name, or with the first number at which neither file exists."""
    number = 1
    while True:
        free = name if number == 1 else f"{name}-{number}"
        if not any((folder / f"{free}{end}").exists() for end in (".md", ".json")):
            return free
        number += 1
