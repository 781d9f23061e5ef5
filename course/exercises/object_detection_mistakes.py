"""Wrong answers that readers give to the exercises of chapter 08, by name."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from course.exercises.base import Mistake

Answer = Callable[..., Any]

# Intersection over union --------------------------------------------------------------


def _sides(first: Tensor, second: Tensor) -> Tensor:
    """Return the sides (N, M, 2) of the intersections, negative for boxes apart."""
    start = torch.maximum(first[:, None, :2], second[None, :, :2])
    end = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    return end - start


def _shared(sides: Tensor) -> Tensor:
    return sides.clamp(min=0).prod(dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)


def _union(shared: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return one + other - shared


def _share(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below, 0.0)


def _iou_by(
    shared: Callable[[Tensor], Tensor] = _shared,
    below: Callable[[Tensor, Tensor, Tensor], Tensor] = _union,
    divide: Callable[[Tensor, Tensor], Tensor] = _share,
) -> Answer:
    """Return an answer that gets one of its three steps wrong."""

    def answer(first: Tensor, second: Tensor) -> Tensor:
        inside = shared(_sides(first, second))
        one, other = _area(first)[:, None], _area(second)[None]
        return divide(inside, below(inside, one, other))

    return answer


_iou = _iou_by()


def _enclosing(first: Tensor, second: Tensor) -> Tensor:
    start = torch.minimum(first[:, None, :2], second[None, :, :2])
    end = torch.maximum(first[:, None, 2:], second[None, :, 2:])
    around = (end - start).prod(dim=2)
    return _share(_shared(_sides(first, second)), around)


def _sides_read(first: Tensor, second: Tensor) -> Tensor:
    corners = [torch.cat([b[:, :2], b[:, :2] + b[:, 2:]], 1) for b in (first, second)]
    return _iou(*corners)


def _with_a_pixel_more(first: Tensor, second: Tensor) -> Tensor:
    one = torch.tensor([0.0, 0.0, 1.0, 1.0])
    return _iou(first + one, second + one)


def _row_by_row(first: Tensor, second: Tensor) -> Tensor:
    start = torch.maximum(first[:, :2], second[:, :2])
    end = torch.minimum(first[:, 2:], second[:, 2:])
    shared = _shared(end - start)
    return _share(shared, _area(first) + _area(second) - shared)


IOU = (
    Mistake(
        _iou_by(shared=lambda sides: sides.prod(dim=-1)),
        "Boxes apart have sides below zero, and two of them make a positive product: "
        "clamp the sides at 0.",
        "negative sides multiplied",
    ),
    Mistake(
        _iou_by(shared=lambda sides: sides.prod(dim=-1).clamp(min=0)),
        "The product was clamped, and of two negative sides it is positive: clamp each "
        "side at 0 before they are multiplied.",
        "the product clamped instead of the sides",
    ),
    Mistake(
        _iou_by(shared=lambda sides: sides.abs().prod(dim=-1)),
        "A negative side says that the boxes are apart: it is 0, and not its absolute "
        "value.",
        "absolute value of the sides",
    ),
    Mistake(
        _iou_by(below=lambda shared, one, other: one + other),
        "Both areas together count the intersection twice: subtract it once.",
        "intersection counted twice",
    ),
    Mistake(
        _iou_by(
            lambda sides: 2 * _shared(sides), lambda shared, one, other: one + other
        ),
        "That is Dice, twice the intersection over both areas: the union has the "
        "intersection once.",
        "Dice instead of IoU",
    ),
    Mistake(
        _iou_by(below=lambda shared, one, other: torch.minimum(one, other)),
        "You divided by the smaller area, so that a box inside another gets 1: divide "
        "by the union.",
        "divided by the smaller area",
    ),
    Mistake(
        _iou_by(below=lambda shared, one, other: one + 0 * other),
        "You divided by the area of the first box alone: divide by the union.",
        "divided by the first area",
    ),
    Mistake(
        _iou_by(divide=lambda above, below: above),
        "That is the intersection in pixels: divide it by the union.",
        "intersection alone",
    ),
    Mistake(
        _enclosing,
        "You divided by the box around both, which has corners that neither covers: "
        "the union is both areas less the intersection.",
        "divided by the box around both",
    ),
    Mistake(
        _iou_by(divide=lambda above, below: above / below),
        "Two boxes without an area have a union of 0, and 0/0 is not a number: put 0 "
        "there.",
        "nothing divided by nothing",
    ),
    Mistake(
        _sides_read,
        "The last two numbers were read as width and height: they are right and "
        "bottom.",
        "corners read as sides",
    ),
    Mistake(
        _with_a_pixel_more,
        "A pixel was added to each side, as old code that counts pixels does: a box "
        "from 0 to 4 is 4 wide.",
        "a pixel added to each side",
    ),
    Mistake(
        _row_by_row,
        "Boxes were compared row by row: each of the first meets each of the second, "
        "first[:, None] and second[None].",
        "broadcast instead of pairwise",
    ),
    Mistake(
        lambda first, second: _iou(second, first),
        "That is (M, N): one row for each of the first boxes.",
        "rows and columns swapped",
    ),
    Mistake(
        _iou_by(divide=lambda above, below: 1 - _share(above, below)),
        "That is the distance 1 − IoU, which is 0 for equal boxes.",
        "distance instead of overlap",
    ),
)

# From distances to a box --------------------------------------------------------------

Size = tuple[int, int]


def _own_anchor(distances: Tensor, sides: Tensor) -> Tensor:
    return distances * sides[:, None]


def _first_anchor(distances: Tensor, sides: Tensor) -> Tensor:
    return distances * sides[0]


def _corners(points: Tensor, reach: Tensor) -> Tensor:
    return torch.cat([points - reach[:, :2], points + reach[:, 2:]], dim=1)


def _inside(boxes: Tensor, size: Size) -> Tensor:
    height, width = size
    limits = torch.tensor([width, height, width, height])
    return torch.minimum(boxes, limits).clamp(min=0)


def _turned_inside(boxes: Tensor, size: Size) -> Tensor:
    return _inside(boxes, size[::-1])


def _decoded(
    reach: Callable[[Tensor, Tensor], Tensor] = _own_anchor,
    corners: Callable[[Tensor, Tensor], Tensor] = _corners,
    clip: Callable[[Tensor, Size], Tensor] = _inside,
) -> Answer:
    """Return an answer that gets one of its three steps wrong."""

    def answer(points: Tensor, distances: Tensor, sides: Tensor, size: Size) -> Any:
        return clip(corners(points, reach(distances, sides)), size)

    return answer


def _scaled_points(
    points: Tensor, distances: Tensor, sides: Tensor, size: Size
) -> Tensor:
    return _inside(_corners(points, distances) * sides[:, None], size)


def _as_sides(boxes: Tensor, size: Size) -> Tensor:
    boxes = _inside(boxes, size)
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)


DECODE = (
    Mistake(
        _decoded(clip=_turned_inside),
        "Left and right end at the width of the picture, top and bottom at its height: "
        "they were the other way round, which a square picture does not show.",
        "width and height swapped",
    ),
    Mistake(
        _decoded(_first_anchor),
        "sides[0] is the first point's: another level has larger anchors.",
        "the first anchor for all",
    ),
    Mistake(
        _decoded(_first_anchor, clip=_turned_inside),
        "Both bugs are still in it: what ends at the width, and whose anchor is "
        "sides[0]?",
        "both bugs left",
    ),
    Mistake(
        _decoded(lambda distances, sides: distances * sides.mean()),
        "One side was taken for all points: each has an anchor of its own level.",
        "one mean anchor for all",
    ),
    Mistake(
        _decoded(lambda distances, sides: distances * sides),
        "sides is (N,) and distances (N, 4), so that sides met the columns: it has "
        "to be a column itself, sides[:, None].",
        "sides along the wrong axis",
    ),
    Mistake(
        _decoded(lambda distances, sides: distances),
        "The distances are in sides of an anchor, not in pixels: multiply by the side.",
        "distances taken for pixels",
    ),
    Mistake(
        _decoded(lambda distances, sides: distances / sides[:, None]),
        "You divided by the side, as one does to train: here sides become pixels.",
        "divided by the side",
    ),
    Mistake(
        _scaled_points,
        "The points were multiplied as well: they are in pixels already.",
        "points multiplied by the side",
    ),
    Mistake(
        _decoded(corners=lambda at, reach: torch.cat([at, at], 1) + reach),
        "Left and top lie before the point: subtract their distances.",
        "left and top added",
    ),
    Mistake(
        _decoded(corners=lambda at, reach: _corners(at, reach[:, [0, 2, 1, 3]])),
        "The four distances come as left, top, right, bottom: top and right were "
        "swapped.",
        "distances in another order",
    ),
    Mistake(
        _decoded(corners=lambda at, reach: _corners(at.flip(1), reach)),
        "A point is x first and then y: they were swapped.",
        "x and y swapped",
    ),
    Mistake(
        _decoded(clip=lambda boxes, size: boxes),
        "The boxes run beyond the picture: clamp them.",
        "not clamped",
    ),
    Mistake(
        _decoded(clip=lambda boxes, size: boxes.clamp(min=0)),
        "The boxes run beyond the right and the bottom of the picture: clamp there, "
        "too.",
        "clamped at zero only",
    ),
    Mistake(
        _decoded(clip=lambda boxes, size: boxes.clamp(0, max(size))),
        "One limit was taken for both: x ends at the width, y at the height.",
        "one limit for both sides",
    ),
    Mistake(
        _decoded(clip=lambda boxes, size: _inside(boxes, (size[0] - 1, size[1] - 1))),
        "A picture that is 128 wide ends at 128: that is the right side of its last "
        "pixel.",
        "clamped a pixel too early",
    ),
    Mistake(
        _decoded(clip=_as_sides),
        "The last two numbers are width and height: return right and bottom.",
        "sides instead of corners",
    ),
)

# Non-maximum suppression --------------------------------------------------------------

Rule = Callable[[Tensor, float], Tensor]


def _over(overlap: Tensor, threshold: float) -> Tensor:
    return overlap > threshold


def _greedy(boxes: Tensor, order: Tensor, drops: Tensor) -> list[int]:
    """Return what is kept, going in an order, where `drops` says who drops whom."""
    kept: list[int] = []
    for place in order.tolist():
        if not any(drops[better, place] for better in kept):
            kept.append(place)
    return kept


def _best_first(scores: Tensor) -> Tensor:
    return scores.argsort(descending=True)


def _suppressed(
    order: Callable[[Tensor], Tensor] = _best_first,
    drops: Rule = _over,
    overlap: Callable[[Tensor, Tensor], Tensor] = _iou,
) -> Answer:
    """Return an answer that gets one of its three steps wrong."""

    def answer(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
        over = drops(overlap(boxes, boxes), threshold)
        return torch.tensor(_greedy(boxes, order(scores), over), dtype=torch.int64)

    return answer


_kept = _suppressed()


def _by_dropped_ones(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    order = _best_first(scores)
    over = _over(_iou(boxes[order], boxes[order]), threshold)
    return order[~over.triu(diagonal=1).any(dim=0)]


def _neighbours(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    order = _best_first(scores).tolist()
    over = _over(_iou(boxes, boxes), threshold)
    pairs = pairwise(order)
    return order[:1] + [place for last, place in pairs if not over[last, place]]


def _places_in_order(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    order = _best_first(scores).tolist()
    return [order.index(n) for n in _kept(boxes, scores, threshold).tolist()]


def _dropped(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept = _kept(boxes, scores, threshold).tolist()
    return [n for n in _best_first(scores).tolist() if n not in kept]


def _mask(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    mask = torch.zeros(len(boxes), dtype=torch.bool)
    mask[_kept(boxes, scores, threshold)] = True
    return mask


def _none_expected(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    scores.argmax()  # IndexError where there is none, as of the first of none
    return _kept(boxes, scores, threshold)


def _of_smaller(first: Tensor, second: Tensor) -> Tensor:
    return _iou_by(below=lambda _, one, other: torch.minimum(one, other))(first, second)


SUPPRESS = (
    Mistake(
        _by_dropped_ones,
        "A box was dropped by one that had been dropped itself: compare with the kept "
        "boxes only.",
        "dropped by a dropped box",
    ),
    Mistake(
        _neighbours,
        "A box was compared with the one before it alone: all kept boxes count.",
        "compared with one box only",
    ),
    Mistake(
        _suppressed(drops=lambda overlap, threshold: overlap >= threshold),
        "An overlap of just the threshold is still allowed: only more than that drops "
        "a box.",
        "dropped at the threshold",
    ),
    Mistake(
        _suppressed(order=lambda scores: torch.arange(len(scores))),
        "The boxes were taken in the order given: the best score comes first.",
        "not sorted by score",
    ),
    Mistake(
        _suppressed(order=lambda scores: scores.argsort()),
        "You began with the worst score: the best one is kept, and drops others.",
        "the worst kept",
    ),
    Mistake(
        lambda *arguments: _kept(*arguments).sort().values,
        "The right boxes, in the order given: the best score comes first.",
        "not best first",
    ),
    Mistake(
        _places_in_order,
        "Those are places in the sorted list: return places in `boxes`.",
        "places in the sorted list",
    ),
    Mistake(
        lambda boxes, *rest: boxes[_kept(boxes, *rest)],
        "These are the boxes: return their places.",
        "boxes instead of places",
    ),
    Mistake(
        lambda boxes, scores, limit: scores[_kept(boxes, scores, limit)],
        "These are the scores: return the places.",
        "scores instead of places",
    ),
    Mistake(
        _mask,
        "That is a True or False for each box: return places, the best first.",
        "a mask instead of places",
    ),
    Mistake(
        _dropped,
        "Those are the boxes that are dropped: return what is kept.",
        "dropped boxes returned",
    ),
    Mistake(
        lambda boxes, scores, _: _best_first(scores)[:1],
        "Only the best box of all was kept: another object has its own.",
        "the best alone",
    ),
    Mistake(
        _suppressed(drops=lambda overlap, threshold: overlap > 0),
        "Any overlap dropped a box: only one of more than the threshold does.",
        "any overlap drops",
    ),
    Mistake(
        _suppressed(drops=lambda overlap, threshold: overlap < threshold),
        "Boxes that overlap little were dropped: it is the other way round.",
        "dropped for too little overlap",
    ),
    Mistake(
        lambda boxes, scores, limit: _best_first(scores)[
            scores.sort()[0].flip(0) > limit
        ],
        "The threshold was compared with scores: it is about overlap.",
        "threshold of the scores",
    ),
    Mistake(
        lambda boxes, scores, limit: _best_first(scores),
        "Nothing was dropped: which boxes overlap a better one too much?",
        "nothing dropped",
    ),
    Mistake(
        _suppressed(overlap=_of_smaller),
        "The overlap was divided by the smaller area: take the intersection over the "
        "union.",
        "divided by the smaller area",
    ),
    Mistake(
        _none_expected,
        "A picture may have no box at all: return no place then.",
        "no boxes not expected",
    ),
)

# Average precision --------------------------------------------------------------------

Curve = tuple[Tensor, Tensor]
LEVELS = torch.linspace(0, 1, 101, dtype=torch.float64)


def _curve(scores: Tensor, right: Tensor, positives: int) -> Curve:
    """Return precision and recall after each detection, the best one first."""
    return _in_order(right[_best_first(scores)], positives)


def _in_order(right: Tensor, positives: int) -> Curve:
    found = right.double().cumsum(dim=0)
    return found / torch.arange(1, len(found) + 1), found / positives


def _best_from_there(precision: Tensor, recall: Tensor, levels: Tensor) -> Tensor:
    """Return the best precision at a recall or a higher one, 0 where it is missed."""
    reached = recall[None] >= levels[:, None]
    found = torch.cat([precision * reached, torch.zeros(len(levels), 1)], dim=1)
    return found.amax(dim=1)


def _precisions(precision: Tensor, recall: Tensor) -> Tensor:
    return _best_from_there(precision, recall, LEVELS)


def _averaged(
    read: Callable[[Tensor, Tensor], Tensor] = _precisions,
    curve: Callable[[Tensor, Tensor, int], Curve] = _curve,
    end: Callable[[Tensor], Tensor] = torch.mean,
) -> Answer:
    """Return an answer that gets one of its three steps wrong."""

    def answer(scores: Tensor, right: Tensor, positives: int) -> float:
        return end(read(*curve(scores, right, positives))).item()

    return answer


def _at_the_first(precision: Tensor, recall: Tensor) -> Tensor:
    """Return the precision where a recall is first reached."""
    places = torch.searchsorted(recall.contiguous(), LEVELS)
    return torch.cat([precision, torch.zeros(1)])[places]


def _best_before(precision: Tensor, recall: Tensor) -> Tensor:
    best = precision.cummax(dim=0).values if len(precision) else precision
    return _at_the_first(best, recall)


def _strictly_more(precision: Tensor, recall: Tensor) -> Tensor:
    return _best_from_there(precision, recall, LEVELS + 1e-9)


def _steps(precision: Tensor, recall: Tensor) -> Tensor:
    gained = recall.diff(prepend=torch.zeros(1, dtype=recall.dtype))
    return _best_from_there(precision, recall, recall) * gained


def _raw_steps(precision: Tensor, recall: Tensor) -> Tensor:
    gained = recall.diff(prepend=torch.zeros(1, dtype=recall.dtype))
    return precision * gained


def _reached_only(scores: Tensor, right: Tensor, positives: int) -> float:
    precision, recall = _curve(scores, right, positives)
    if not right.any():
        return 0.0
    reached = recall.max() >= LEVELS
    return _precisions(precision, recall)[reached].mean().item()


def _of_hits(scores: Tensor, right: Tensor, positives: int) -> Curve:
    precision, recall = _curve(scores, right, positives)
    return precision, recall * positives / max(int(right.sum()), 1)


def _of_detections(scores: Tensor, right: Tensor, positives: int) -> Curve:
    _, recall = _curve(scores, right, positives)
    return recall * positives / max(len(right), 1), recall


def _from_zero(scores: Tensor, right: Tensor, positives: int) -> Curve:
    precision, recall = _curve(scores, right, positives)
    steps = torch.arange(1, len(right) + 1)
    return precision * steps / (steps - 1), recall


def _share_right(scores: Tensor, right: Tensor, positives: int) -> float:
    return right.double().mean().item() if len(right) else 0.0


def _at_each_hit(scores: Tensor, right: Tensor, positives: int) -> float:
    precision, _ = _curve(scores, right, positives)
    found = precision[right[_best_first(scores)]]
    return found.mean().item() if len(found) else 0.0


AVERAGE_PRECISION = (
    Mistake(
        _averaged(curve=lambda scores, right, n: _in_order(right, n)),
        "The detections were taken in the order given: sort them by score, the best "
        "first.",
        "not sorted by score",
    ),
    Mistake(
        _averaged(curve=lambda s, right, n: _in_order(right[s.argsort()], n)),
        "You began with the lowest score: the best comes first.",
        "the worst first",
    ),
    Mistake(
        _averaged(_at_the_first),
        "At each level of recall the best precision counts that is had there or at a "
        "higher recall: yours may still rise further on.",
        "best precision further on left out",
    ),
    Mistake(
        _averaged(_best_before),
        "The best precision was taken over lower recalls: it is that at this recall "
        "and higher ones.",
        "best precision from the wrong side",
    ),
    Mistake(
        _averaged(_strictly_more),
        "A recall that is just reached counts: recall >= level.",
        "only more recall than the level",
    ),
    Mistake(
        _averaged(_steps, end=torch.sum),
        "That is the exact area under the curve: COCO reads it at 101 levels.",
        "area instead of 101 levels",
    ),
    Mistake(
        _averaged(_raw_steps, end=torch.sum),
        "That is the area under the raw curve: COCO reads the best precision from each "
        "recall on, at 101 levels.",
        "area under the raw curve",
    ),
    Mistake(
        _averaged(lambda p, r: _best_from_there(p, r, LEVELS[::10])),
        "Those are the 11 levels of Pascal VOC 2007: COCO has 101.",
        "eleven levels",
    ),
    Mistake(
        _averaged(lambda p, r: _precisions(p, r)[1:]),
        "Those are 100 levels: the recall of 0 counts as well.",
        "recall of zero left out",
    ),
    Mistake(
        _reached_only,
        "The mean was taken over the levels that are reached: those that are not count "
        "as 0.",
        "missed levels left out",
    ),
    Mistake(
        _averaged(curve=_of_hits),
        "Recall was divided by the boxes that were found: those that were missed count "
        "below the line, too.",
        "missed boxes left out",
    ),
    Mistake(
        _averaged(curve=_of_detections),
        "Precision was divided by all detections: after n of them it is the right ones "
        "so far over n.",
        "precision over all detections",
    ),
    Mistake(
        _averaged(curve=_from_zero),
        "Precision was divided by 0, 1, 2, …: after the first detection there is one.",
        "counted from zero",
    ),
    Mistake(
        _at_each_hit,
        "That is the mean precision at the boxes that were found: what was missed is "
        "not in it.",
        "mean over what was found",
    ),
    Mistake(
        _share_right,
        "That is the share of right detections, which no order of scores changes.",
        "precision of all detections together",
    ),
    Mistake(
        _averaged(end=torch.sum),
        "That is a sum over 101 levels: take their mean.",
        "sum instead of a mean",
    ),
    Mistake(
        _averaged(end=lambda found: 100 * found.mean()),
        "That is a percentage: return a number from 0 to 1.",
        "a percentage",
    ),
)
