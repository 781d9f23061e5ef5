"""What a detector made of one scene, in words: found, missed, invented."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torchvision.ops import box_iou

from course.plots.figure import listed

if TYPE_CHECKING:
    from torch import Tensor

    from course.boxes import Found

NEAR = 0.1  # intersection over union from which a box is about an object at all


@dataclass(frozen=True)
class Account:
    """What a detector made of one scene, in words (chapter 08).

    Args:
        right: each object that was found, with the score of its box.
        missed: each object without a right box.
        invented: each box that is right for no object, with where it lies.
    """

    right: tuple[str, ...]
    missed: tuple[str, ...]
    invented: tuple[str, ...]

    def lines(self, placed: int) -> list[tuple[str, str]]:
        """Return the account in lines, each a head and what follows it.

        Args:
            placed: how many objects were put into the scene, hidden ones too.
        """
        seen = len(self.right) + len(self.missed)
        found = (f"Found {len(self.right)} of {seen}", _list(self.right))
        missed = (f"Missed {len(self.missed)}", _list(self.missed))
        invented = (f"Invented {len(self.invented)}", _list(self.invented))
        if not placed:
            return [("The scene is empty", ": put a shape into it."), invented]
        hidden = (f"Hidden {placed - seen}", ": nothing of it can be seen.")
        return [found, missed, invented, *([hidden] if placed > seen else [])]

    def markup(self, placed: int) -> str:
        """Return the account as HTML; see `lines`."""
        rows = [
            f"<b>{html.escape(head)}</b>{html.escape(rest)}"
            for head, rest in self.lines(placed)
        ]
        return "".join(f'<p style="line-height:1.4;margin:0">{x}</p>' for x in rows)

    def sentence(self, placed: int) -> str:
        """Return the account as plain text; see `lines`."""
        return " ".join(head + rest for head, rest in self.lines(placed))


def _list(parts: Sequence[str]) -> str:
    return f": {listed(parts)}." if parts else "."


def account(
    found: Found,
    boxes: Tensor,
    labels: Tensor,
    names: Sequence[str],
    matched: Callable[..., Tensor],
) -> Account:
    """Say which objects were found and missed, and which boxes are invented.

    Args:
        found: what a detector says of one picture, the surest first.
        boxes: float32 (n, 4), the true boxes.
        labels: int64 (n,), their classes.
        names: what each true object is called.
        matched: `detection.matched`, which decides what is right.
    """
    fits = box_iou(found.boxes, boxes.reshape(-1, 4)).tolist()
    kinds, right, invented = labels.tolist(), {}, []
    flags = matched(found, boxes, labels).tolist()
    rows = zip(flags, found.labels.tolist(), found.scores.tolist(), fits, strict=True)
    for flag, label, score, fit in rows:
        if flag:
            free = [j for j, kind in enumerate(kinds) if kind == label]
            taken = max((j for j in free if j not in right), key=fit.__getitem__)
            right[taken] = f"{names[taken]} {score:.2f}"
        else:
            where = _where(label, fit, kinds, names, right)
            invented.append(f"{found.class_names[label]} {score:.2f} {where}")
    missed = [name for place, name in enumerate(names) if place not in right]
    return Account(tuple(right.values()), tuple(missed), tuple(invented))


def _where(
    label: int,
    fit: Sequence[float],
    kinds: Sequence[int],
    names: Sequence[str],
    right: Collection[int],
) -> str:
    """Say where a box lies that is right for no object."""
    best = max(range(len(fit)), key=fit.__getitem__, default=-1)
    if best < 0 or fit[best] < NEAR:
        return "on nothing"
    if kinds[best] != label:
        return f"on the {names[best]}"
    how = "once more" if best in right else "badly placed"
    return f"{how} on the {names[best]}"
