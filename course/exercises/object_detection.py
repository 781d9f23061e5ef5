"""Exercises of chapter 08: overlap, boxes from distances, suppression, a precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from course.exercises import object_detection_mistakes as mistakes
from course.exercises.base import Case, Exercise, seeded


def _whole(generator: Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _boxes(*corners: Sequence[float]) -> Tensor:
    """Return boxes (N, 4) from left, top, right and bottom of each."""
    return torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)


def _listed(boxes: Tensor) -> str:
    """Write boxes as a reader would, or how many there are."""
    if len(boxes) > 2:
        return f"{len(boxes)} boxes"
    return str([[round(value) for value in box] for box in boxes.tolist()])


# Intersection over union --------------------------------------------------------------


def iou_reference(first: Tensor, second: Tensor) -> Tensor:
    """Return how much boxes overlap, each with each: intersection over union.

    Args:
        first: (N, 4), left, top, right and bottom of each.
        second: (M, 4), likewise.

    Returns:
        (N, M), from 0 to 1; 0 for two boxes that both have no area.
    """
    one, other = first[:, None], second[None]  # (N, 1, 4) and (1, M, 4)
    start = torch.maximum(one[..., :2], other[..., :2])
    end = torch.minimum(one[..., 2:], other[..., 2:])
    shared = (end - start).clamp(min=0).prod(dim=2)  # boxes apart share nothing
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=2) for boxes in (one, other)]
    union = areas[0] + areas[1] - shared
    return torch.where(union > 0, shared / union, 0.0)


def _iou_case(first: Tensor, second: Tensor, part: str) -> Case:
    shown = f"iou({_listed(first)}, {_listed(second)})"
    return Case((first, second), shown, part)


def _iou_cases() -> list[Case]:
    square = _boxes((0, 0, 4, 4))
    several = _boxes((1, 2, 6, 5), (3, 0, 5, 8))
    tries = [
        (square, _boxes((2, 1, 6, 5)), "boxes that overlap"),
        (several, _boxes((0, 0, 4, 4), (2, 3, 9, 6), (4, 1, 6, 4)), "several boxes"),
        (square, _boxes((6, 1, 9, 3), (5, 7, 6, 9)), "boxes apart"),
        (square, _boxes((1, 1, 3, 2), (0, 0, 4, 4)), "one inside the other"),
        (square, _boxes((4, 0, 7, 4), (4, 4, 6, 9)), "boxes that touch"),
        (_boxes((3, 3, 3, 3)), _boxes((3, 3, 3, 3)), "boxes without an area"),
        (_boxes((2, 1, 2, 3)), square, "boxes without an area"),
        (_boxes(), several, "no boxes"),
    ]
    return [_iou_case(*row) for row in tries]


def _some_boxes(generator: Generator, count: int) -> Tensor:
    """Draw boxes with whole corners between 0 and 12, none of them empty."""
    start = torch.randint(0, 8, (count, 2), generator=generator)
    sides = torch.randint(1, 6, (count, 2), generator=generator)
    return torch.cat([start, start + sides], dim=1).float()


def _draw_iou(generator: Generator) -> Case:
    first, second = (_some_boxes(generator, _whole(generator, 1, 4)) for _ in range(2))
    return _iou_case(first, second, "several boxes")


iou = Exercise(
    name="iou",
    title="Intersection over union",
    minutes=8,
    difficulty="easy",
    trains="saying when a box is right",
    hints=(
        "The intersection is a box, too: where does it begin, and where does it end? "
        "The union is both areas less what was counted twice.",
        "first[:, None] and second[None] meet each with each. It begins at the larger "
        "left and top and ends at the smaller right and bottom; where that makes a "
        "side negative, the boxes are apart.",
        "shared = (end - start).clamp(min=0).prod(dim=2), where start is "
        "torch.maximum(first[:, None, :2], second[None, :, :2]) and end likewise; "
        "union = areas of first[:, None] + areas of second[None] - shared; divide, "
        "and put 0 where the union is 0.",
    ),
    reference=iou_reference,
    cases=_iou_cases,
    mistakes=mistakes.IOU,
    place="2 · Boxes and anchors",
    draw=_draw_iou,
)

# From distances to a box --------------------------------------------------------------


def decode_reference(
    points: Tensor, distances: Tensor, sides: Tensor, size: tuple[int, int]
) -> Tensor:
    """Return the boxes that a detector's distances stand for, inside the picture.

    Args:
        points: (N, 2), x and y in pixels; those of all levels, one after the other.
        distances: (N, 4), from a point to the left, top, right and bottom side of its
            box, in sides of the point's anchor; never negative.
        sides: (N,), of each point's anchor in pixels, the same for all of a level.
        size: height and width of the picture.

    Returns:
        (N, 4): left, top, right and bottom in pixels. As in FCOS (Tian and others
        2019, arXiv 1904.01355).
    """
    height, width = size
    x, y = points.unbind(dim=1)
    left, top, right, bottom = (distances * sides[:, None]).unbind(dim=1)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=1)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    return boxes


def _decode_as_handed_out(
    points: Tensor, distances: Tensor, sides: Tensor, size: tuple[int, int]
) -> Tensor:
    height, width = size
    x, y = points.unbind(dim=1)
    left, top, right, bottom = (distances * sides[0]).unbind(dim=1)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=1)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, height)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, width)
    return boxes


ONE_LEVEL, LEVELS = "one level", "points of several levels"
EDGE, OBLONG = "boxes beyond the edge", "a picture that is not square"


def _decode_case(
    generator: Generator, part: str, count: int, size: tuple[int, int]
) -> Case:
    """Draw points and distances; only where the part is about edges do boxes cross."""
    sides = torch.full((count,), (8.0, 16.0)[_whole(generator, 0, 1)])
    if part == LEVELS:
        chosen = torch.randint(0, 3, (count,), generator=generator).sort().values
        chosen[0], chosen[-1] = 0, 2
        sides = 8.0 * 2**chosen
    extent = torch.tensor((size[1], size[0]))
    steps = 0.3 + 0.4 * torch.rand((count, 2), generator=generator)
    points = (steps * extent).round()
    reach = 1.4 if part in (EDGE, OBLONG) else 0.25
    across = extent.repeat(2)
    distances = reach * torch.rand((count, 4), generator=generator) * across
    if part == OBLONG:  # a far corner that either limit would cut elsewhere
        distances[0] = 1.5 * across
    distances = (distances / sides[:, None] * 4).round() / 4
    shown = f"decode({count} points, distances, {sides.int().tolist()}, {size})"
    return Case((points, distances, sides, size), shown, part)


def _decode_cases() -> list[Case]:
    """Each of the two bugs alone: the other one does no harm in these cases."""
    tries = [
        (ONE_LEVEL, 1, (128, 128)),
        (ONE_LEVEL, 3, (128, 128)),
        (EDGE, 2, (128, 128)),
        (LEVELS, 3, (256, 256)),
        (LEVELS, 4, (256, 256)),
        (OBLONG, 2, (96, 160)),
        (OBLONG, 2, (160, 96)),
    ]
    return [
        _decode_case(seeded(seed), part, count, size)
        for seed, (part, count, size) in enumerate(tries)
    ]


def _draw_decode(generator: Generator) -> Case:
    part = (ONE_LEVEL, LEVELS, EDGE, OBLONG)[_whole(generator, 0, 3)]
    size = (256, 256)
    if part == OBLONG:
        short, long = 32 * _whole(generator, 2, 4), 32 * _whole(generator, 6, 8)
        size = ((short, long), (long, short))[_whole(generator, 0, 1)]
    return _decode_case(generator, part, _whole(generator, 2, 5), size)


decode = Exercise(
    name="decode",
    title="Find two bugs: from distances to a box",
    minutes=8,
    difficulty="medium",
    trains="looking for what one kind of picture cannot show",
    kind="find the bug",
    place="2 · Boxes and anchors",
    hints=(
        "Both bugs are silent on square pictures with one level of points. What does "
        "a wide picture change, and what a second level?",
        "Which limit belongs to left and right, and which to top and bottom? And whose "
        "anchor is sides[0]?",
        "Columns 0 and 2 are x: they end at the width, and columns 1 and 3 at the "
        "height. Each point has an anchor of its own: distances * sides[:, None].",
    ),
    reference=decode_reference,
    given=_decode_as_handed_out,
    cases=_decode_cases,
    mistakes=mistakes.DECODE,
    draw=_draw_decode,
)

# Non-maximum suppression --------------------------------------------------------------


def suppress_reference(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Return which boxes are kept where each may stand for one object only.

    The best box is kept, and what overlaps it by more than `threshold` is dropped; then
    the best of the rest is kept, and so on.

    Args:
        boxes: (N, 4), left, top, right and bottom.
        scores: (N,), all different.
        threshold: the largest intersection over union with a kept box.

    Returns:
        int64 (kept,): places of the kept boxes in `boxes`, the best first.
    """
    overlap = iou_reference(boxes, boxes)
    kept: list[int] = []
    for place in scores.argsort(descending=True).tolist():
        if all(overlap[place, better] <= threshold for better in kept):
            kept.append(place)
    return torch.tensor(kept, dtype=torch.int64)


def _suppress_case(boxes: Tensor, scores: Tensor, threshold: float, part: str) -> Case:
    shown = f"suppress({_listed(boxes)}, their scores, {threshold:g})"
    return Case((boxes, scores, threshold), shown, part)


def _suppress_cases() -> list[Case]:
    twice = _boxes((0, 0, 8, 8), (1, 0, 9, 8))
    apart = _boxes((0, 0, 4, 4), (9, 9, 14, 14), (20, 2, 24, 9))
    chain = _boxes((4, 0, 12, 8), (0, 0, 8, 8), (8, 0, 16, 8))
    half = _boxes((0, 0, 4, 4), (0, 0, 4, 2))
    both = torch.cat([twice, twice + 20, apart + 40])
    tries = [
        (twice, (0.6, 0.9), 0.5, "one object found twice"),
        (apart, (0.3, 0.9, 0.6), 0.5, "objects apart"),
        (both, (0.5, 0.7, 0.9, 0.8, 0.3, 0.6, 0.4), 0.5, "several objects"),
        (chain, (0.7, 0.9, 0.6), 0.3, "a dropped box that overlaps another"),
        (half, (0.8, 0.7), 0.5, "an overlap that is just the threshold"),
        (twice, (0.9, 0.6), 0.9, "another threshold"),
        (chain, (0.9, 0.7, 0.6), 0.1, "another threshold"),
        (_boxes(), (), 0.5, "no boxes"),
    ]
    return [
        _suppress_case(boxes, torch.tensor(scores), threshold, part)
        for boxes, scores, threshold, part in tries
    ]


def _crowd(generator: Generator, count: int) -> Tensor:
    """Draw boxes around a few objects, so that many overlap."""
    centres = torch.randint(10, 50, (_whole(generator, 1, 3), 2), generator=generator)
    whose = torch.randint(0, len(centres), (count,), generator=generator)
    middle = centres[whose] + torch.randint(-4, 5, (count, 2), generator=generator)
    sides = torch.randint(5, 10, (count, 2), generator=generator)
    return torch.cat([middle - sides, middle + sides], dim=1).float()


def _draw_suppress(generator: Generator) -> Case:
    """Draw boxes of which no two overlap by nearly the threshold."""
    threshold = (0.3, 0.5, 0.7)[_whole(generator, 0, 2)]
    count = _whole(generator, 2, 8)
    while True:
        boxes = _crowd(generator, count)
        gap = iou_reference(boxes, boxes) - threshold
        if (gap.abs() > 0.005).all():
            break
    places = torch.randperm(count, generator=generator)
    return _suppress_case(
        boxes, (places + 1) / (count + 1), threshold, "several objects"
    )


suppress = Exercise(
    name="suppress",
    title="Non-maximum suppression",
    minutes=12,
    difficulty="medium",
    trains="going from many boxes to one an object",
    hints=(
        "Go through the boxes from the best score down. What must be true of a box, "
        "and of those that were kept before it, for it to be kept as well?",
        "Ask only the boxes that were kept: one that was dropped drops no other. iou "
        "gives every overlap at once.",
        "for place in scores.argsort(descending=True).tolist(): append place to kept "
        "where all(overlap[place, better] <= threshold for better in kept). Return "
        "kept, which may be empty.",
    ),
    reference=suppress_reference,
    cases=_suppress_cases,
    mistakes=mistakes.SUPPRESS,
    place="5 · Thresholds",
    draw=_draw_suppress,
)

# Average precision --------------------------------------------------------------------


def average_precision_reference(scores: Tensor, right: Tensor, positives: int) -> float:
    """Return the average precision of one class, as COCO's evaluation has it.

    Args:
        scores: (N,), one a detection, all different.
        right: bool (N,), whether it found a true box that no better one had found.
        positives: how many true boxes there are, at least one.

    Returns:
        From 0 to 1: at each of the recalls 0, 0.01, …, 1 the best precision that is
        had at that recall or a higher one, or 0 where it is never reached; the mean of
        these 101.
    """
    order = scores.argsort(descending=True)
    found = right[order].double().cumsum(dim=0)  # right ones so far
    recall = found / positives
    precision = found / torch.arange(1, len(found) + 1)
    total = 0.0
    for level in torch.linspace(0, 1, 101, dtype=torch.float64):
        reached = precision[recall >= level]
        if len(reached):
            total += reached.max().item()
    return total / 101


def _precision_case(
    scores: Sequence[float], right: Sequence[int], positives: int, part: str
) -> Case:
    arguments = (torch.tensor(scores), torch.tensor(right, dtype=torch.bool), positives)
    hits = ", ".join("right" if hit else "wrong" for hit in right)
    shown = f"average_precision({len(scores)} detections ({hits}), …, {positives})"
    if len(right) > 6:
        shown = f"average_precision({len(scores)} detections, …, {positives})"
    return Case(arguments, shown, part)


def _precision_cases() -> list[Case]:
    """No share of the true boxes lies on one of the 101 levels, but for all of them."""
    falling = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
    mixed = (0.4, 0.9, 0.5, 0.8, 0.6, 0.7)
    tries = [
        (falling[:3], (1, 1, 1), 3, "all right, none missed"),
        (falling[:4], (1, 0, 1, 1), 3, "some are wrong"),
        (falling, (0, 1, 0, 1, 1, 0), 3, "some are wrong"),
        (falling[:2], (1, 1), 7, "some are missed"),
        (falling[:5], (1, 0, 1, 0, 1), 7, "some are missed"),
        (mixed, (1, 1, 0, 0, 1, 1), 9, "scores in any order"),
        (mixed[:4], (0, 1, 1, 0), 3, "scores in any order"),
        (falling[:3], (0, 0, 0), 3, "none right"),
        ((), (), 3, "nothing detected"),
    ]
    return [_precision_case(*row) for row in tries]


def _draw_precision(generator: Generator) -> Case:
    count = _whole(generator, 2, 14)
    positives = (3, 7, 9, 11, 13)[_whole(generator, 0, 4)]
    right = torch.rand(count, generator=generator) < 0.6
    right[right.cumsum(dim=0) > positives] = False
    scores = torch.randperm(count, generator=generator).add(1) / (count + 1)
    part = "scores in any order"
    return _precision_case(scores.tolist(), right.tolist(), positives, part)


average_precision = Exercise(
    name="average_precision",
    title="Average precision",
    minutes=20,
    difficulty="hard",
    trains="knowing what is behind one number a class",
    hints=(
        "Lower the score threshold from one detection to the next: after each, what "
        "share of those so far is right (precision), and what share of the true boxes "
        "is found (recall)?",
        "Sort by score; found = right[order].cumsum(dim=0) counts the right ones so "
        "far. Precision divides it by 1, 2, 3, …, recall by positives. At a level of "
        "recall the best precision counts that is had there or further on.",
        "For each level of torch.linspace(0, 1, 101) take precision[recall >= level]."
        "max(), or 0 where that is empty; add them up and divide by 101.",
    ),
    reference=average_precision_reference,
    cases=_precision_cases,
    mistakes=mistakes.AVERAGE_PRECISION,
    place="6 · Average precision",
    draw=_draw_precision,
)

EXERCISES: tuple[Exercise, ...] = (iou, decode, suppress, average_precision)
