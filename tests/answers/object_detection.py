"""Answers to the exercises of chapter 08, wrong ones and right ones."""

import numpy as np
import torch
import torchvision

from answers.kit import right, wrong
from course.exercises import object_detection

iou, decode = object_detection.iou, object_detection.decode
suppress = object_detection.suppress
average_precision = object_detection.average_precision

# Intersection over union --------------------------------------------------------------


@right(iou)
def iou_by_loops(first, second):
    found = torch.zeros(len(first), len(second))
    for i, (a, b, c, d) in enumerate(first.tolist()):
        for j, (e, f, g, h) in enumerate(second.tolist()):
            wide, high = min(c, g) - max(a, e), min(d, h) - max(b, f)
            if wide > 0 and high > 0:
                shared = wide * high
                both = (c - a) * (d - b) + (g - e) * (h - f)
                found[i, j] = shared / (both - shared)
    return found


@right(iou)
def iou_in_numpy(first, second):
    a, b = first.numpy()[:, None], second.numpy()[None]
    wide = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    high = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared = np.maximum(wide, 0) * np.maximum(high, 0)
    area_a = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area_b = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return shared / np.maximum(area_a + area_b - shared, 1e-9)


@right(iou)
def iou_of_the_library(first, second):
    return torchvision.ops.box_iou(first, second).nan_to_num(0.0)


def corners_of(first, second):
    start = torch.max(first[:, None, :2], second[:, :2])
    end = torch.min(first[:, None, 2:], second[:, 2:])
    return start, end


def areas_of(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def shared_of(first, second):
    start, end = corners_of(first, second)
    return (end - start).relu().prod(2)


@wrong(iou, "negative sides multiplied")
def iou_unclamped(first, second):
    start, end = corners_of(first, second)
    shared = (end - start)[..., 0] * (end - start)[..., 1]
    return shared / (areas_of(first)[:, None] + areas_of(second) - shared)


@wrong(iou, "the product clamped instead of the sides", score=5 / 7)
def iou_clamped_late(first, second):
    start, end = corners_of(first, second)
    shared = (end - start).prod(2).clamp(min=0)
    union = areas_of(first)[:, None] + areas_of(second) - shared
    return torch.where(union > 0, shared / union, torch.zeros(()))


@wrong(iou, "intersection counted twice")
def iou_of_sums(first, second):
    both = areas_of(first)[:, None] + areas_of(second)
    return shared_of(first, second) / both.clamp(min=1e-6)


@wrong(iou, "Dice instead of IoU")
def iou_as_dice(first, second):
    both = areas_of(first)[:, None] + areas_of(second)
    return 2 * shared_of(first, second) / both.clamp(min=1e-6)


@wrong(iou, "divided by the smaller area")
def iou_of_the_smaller(first, second):
    least = torch.min(areas_of(first)[:, None], areas_of(second)[None])
    return shared_of(first, second) / least.clamp(min=1e-6)


@wrong(iou, "divided by the first area")
def iou_of_the_first(first, second):
    return shared_of(first, second) / areas_of(first)[:, None].clamp(min=1e-6)


@wrong(iou, "intersection alone")
def iou_in_pixels(first, second):
    return shared_of(first, second)


@wrong(iou, "divided by the box around both")
def iou_around(first, second):
    start = torch.min(first[:, None, :2], second[:, :2])
    end = torch.max(first[:, None, 2:], second[:, 2:])
    return shared_of(first, second) / (end - start).prod(2).clamp(min=1e-6)


@wrong(iou, "nothing divided by nothing", score=6 / 7)
def iou_plain(first, second):
    return torchvision.ops.box_iou(first, second)


@wrong(iou, "corners read as sides")
def iou_of_sides(first, second):
    first, second = (
        torchvision.ops.box_convert(b, "xywh", "xyxy") for b in (first, second)
    )
    union = areas_of(first)[:, None] + areas_of(second) - shared_of(first, second)
    return shared_of(first, second) / union.clamp(min=1e-6)


@wrong(iou, "a pixel added to each side")
def iou_of_pascal(first, second):
    start, end = corners_of(first, second)
    shared = (end - start + 1).clamp(min=0).prod(2)
    area = [(b[:, 2:] - b[:, :2] + 1).prod(1) for b in (first, second)]
    return shared / (area[0][:, None] + area[1] - shared)


@wrong(iou, "broadcast instead of pairwise")
def iou_of_rows(first, second):
    start = torch.max(first[:, :2], second[:, :2])
    end = torch.min(first[:, 2:], second[:, 2:])
    shared = (end - start).clamp(min=0).prod(1)
    return shared / (areas_of(first) + areas_of(second) - shared)


@wrong(iou, "rows and columns swapped")
def iou_turned(first, second):
    union = areas_of(second)[:, None] + areas_of(first) - shared_of(second, first)
    return shared_of(second, first) / union.clamp(min=1e-6)


# From distances to a box --------------------------------------------------------------


@right(decode)
def decode_mended(points, distances, sides, size):
    height, width = size
    x, y = points.unbind(dim=1)
    left, top, right_, bottom = (distances * sides[:, None]).unbind(dim=1)
    boxes = torch.stack([x - left, y - top, x + right_, y + bottom], dim=1)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    return boxes


@right(decode)
def decode_by_loops(points, distances, sides, size):
    height, width = size
    boxes = []
    for n in range(len(points)):
        (x, y), side = points[n].tolist(), sides[n].item()
        left, top, far, low = (side * d for d in distances[n].tolist())
        boxes.append(
            [
                max(x - left, 0),
                max(y - top, 0),
                min(x + far, width),
                min(y + low, height),
            ]
        )
    return boxes


@right(decode)
def decode_with_signs(points, distances, sides, size):
    signs = torch.tensor([-1, -1, 1, 1])
    boxes = points.repeat(1, 2) + signs * distances * sides.reshape(-1, 1)
    return torchvision.ops.clip_boxes_to_image(boxes, size)


@wrong(decode, "both bugs left", score=0.5)
def decode_rewritten(points, distances, sides, size):
    height, width = size
    reach = distances * sides[0]
    boxes = torch.cat([points - reach[:, :2], points + reach[:, 2:]], dim=1)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, height)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, width)
    return boxes


@wrong(decode, "width and height swapped", score=0.75)
def decode_in_squares(points, distances, sides, size):
    width, height = size  # it was (height, width)
    reach = distances * sides[:, None]
    boxes = torch.cat([points - reach[:, :2], points + reach[:, 2:]], dim=1)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    return boxes


@wrong(decode, "the first anchor for all", score=0.75)
def decode_on_one_level(points, distances, sides, size):
    reach = distances * sides[0]
    boxes = torch.cat([points - reach[:, :2], points + reach[:, 2:]], dim=1)
    return torchvision.ops.clip_boxes_to_image(boxes, size)


def boxes_of(points, reach):
    return torch.cat([points - reach[:, :2], points + reach[:, 2:]], dim=1)


@wrong(decode, "sides along the wrong axis")
def decode_without_a_column(points, distances, sides, size):
    boxes = boxes_of(points, distances * sides)
    return torchvision.ops.clip_boxes_to_image(boxes, size)


@wrong(decode, "distances taken for pixels")
def decode_of_pixels(points, distances, sides, size):
    return torchvision.ops.clip_boxes_to_image(boxes_of(points, distances), size)


@wrong(decode, "divided by the side")
def decode_as_encoded(points, distances, sides, size):
    boxes = boxes_of(points, distances / sides[:, None])
    return torchvision.ops.clip_boxes_to_image(boxes, size)


@wrong(decode, "points multiplied by the side")
def decode_all_scaled(points, distances, sides, size):
    boxes = boxes_of(points, distances) * sides[:, None]
    return torchvision.ops.clip_boxes_to_image(boxes, size)


@wrong(decode, "left and top added")
def decode_added(points, distances, sides, size):
    boxes = points.repeat(1, 2) + distances * sides[:, None]
    return torchvision.ops.clip_boxes_to_image(boxes, size)


@wrong(decode, "distances in another order")
def decode_in_pairs(points, distances, sides, size):
    left, far, top, low = (distances * sides[:, None]).T
    x, y = points.T
    boxes = torch.stack([x - left, y - top, x + far, y + low], dim=1)
    return torchvision.ops.clip_boxes_to_image(boxes, size)


@wrong(decode, "x and y swapped")
def decode_of_rows(points, distances, sides, size):
    boxes = boxes_of(points[:, [1, 0]], distances * sides[:, None])
    return torchvision.ops.clip_boxes_to_image(boxes, size)


@wrong(decode, "not clamped", score=0.5)
def decode_beyond(points, distances, sides, size):
    return boxes_of(points, distances * sides[:, None])


@wrong(decode, "clamped at zero only", score=0.5)
def decode_positive(points, distances, sides, size):
    return boxes_of(points, distances * sides[:, None]).relu()


@wrong(decode, "clamped a pixel too early", score=0.5)
def decode_to_the_last_pixel(points, distances, sides, size):
    height, width = size
    boxes = boxes_of(points, distances * sides[:, None])
    last = torch.tensor([width, height, width, height]) - 1
    return torch.min(boxes.clamp(min=0), last)


@wrong(decode, "one limit for both sides", score=0.75)
def decode_in_the_larger_square(points, distances, sides, size):
    return boxes_of(points, distances * sides[:, None]).clamp(0, max(size))


@wrong(decode, "sides instead of corners")
def decode_as_sides(points, distances, sides, size):
    boxes = boxes_of(points, distances * sides[:, None])
    boxes = torchvision.ops.clip_boxes_to_image(boxes, size)
    return torchvision.ops.box_convert(boxes, "xyxy", "xywh")


# Non-maximum suppression --------------------------------------------------------------


@right(suppress)
def suppress_by_striking_out(boxes, scores, threshold):
    left = list(range(len(boxes)))
    kept = []
    while left:
        best = max(left, key=lambda n: scores[n].item())
        kept.append(best)
        near = iou_by_loops(boxes[best : best + 1], boxes[left])[0].tolist()
        pairs = zip(left, near, strict=True)
        left = [n for n, shared in pairs if n != best and shared <= threshold]
    return kept


@right(suppress)
def suppress_with_a_mask(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    overlap = torchvision.ops.box_iou(boxes[order], boxes[order])
    alive = torch.ones(len(order), dtype=torch.bool)
    for n in range(len(order)):
        if alive[n]:
            alive[n + 1 :] &= overlap[n, n + 1 :] <= threshold
    return order[alive]


@right(suppress)
def suppress_with_the_library(boxes, scores, threshold):
    return torchvision.ops.nms(boxes, scores, threshold)


def overlap_of(boxes):
    return torchvision.ops.box_iou(boxes, boxes)


@wrong(suppress, "dropped by a dropped box", score=5 / 7)
def suppress_at_once(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    overlap = overlap_of(boxes[order]).triu(diagonal=1)
    return order[(overlap <= threshold).all(dim=0)]


@wrong(suppress, "compared with one box only")
def suppress_neighbours(boxes, scores, threshold):
    overlap, kept, last = overlap_of(boxes), [], None
    for place in scores.argsort(descending=True).tolist():
        if last is None or overlap[last, place] <= threshold:
            kept.append(place)
        last = place
    return kept


def greedy_in(order, overlap, drops):
    kept = []
    for place in order:
        if all(not drops(overlap[place, other].item()) for other in kept):
            kept.append(place)
    return kept


def falling(scores):
    return scores.argsort(descending=True).tolist()


@wrong(suppress, "dropped at the threshold", score=6 / 7)
def suppress_strictly(boxes, scores, threshold):
    return greedy_in(falling(scores), overlap_of(boxes), lambda o: o >= threshold)


@wrong(suppress, "not sorted by score")
def suppress_as_given(boxes, scores, threshold):
    places = range(len(boxes))
    return greedy_in(places, overlap_of(boxes), lambda o: o > threshold)


@wrong(suppress, "the worst kept")
def suppress_upwards(boxes, scores, threshold):
    places = scores.argsort().tolist()
    return greedy_in(places, overlap_of(boxes), lambda o: o > threshold)


@wrong(suppress, "not best first")
def suppress_then_sort(boxes, scores, threshold):
    kept = greedy_in(falling(scores), overlap_of(boxes), lambda o: o > threshold)
    return sorted(kept)


@wrong(suppress, "places in the sorted list")
def suppress_in_the_sorted(boxes, scores, threshold):
    overlap = overlap_of(boxes[falling(scores)])
    return greedy_in(range(len(boxes)), overlap, lambda o: o > threshold)


@wrong(suppress, "boxes instead of places")
def suppress_to_boxes(boxes, scores, threshold):
    return boxes[torchvision.ops.nms(boxes, scores, threshold)]


@wrong(suppress, "a mask instead of places")
def suppress_to_a_mask(boxes, scores, threshold):
    kept = greedy_in(falling(scores), overlap_of(boxes), lambda o: o > threshold)
    return torch.tensor([n in kept for n in range(len(boxes))], dtype=torch.bool)


@wrong(suppress, "dropped boxes returned")
def suppress_to_the_rest(boxes, scores, threshold):
    kept = greedy_in(falling(scores), overlap_of(boxes), lambda o: o > threshold)
    return [n for n in falling(scores) if n not in kept]


@wrong(suppress, "any overlap drops")
def suppress_touching(boxes, scores, threshold):
    return greedy_in(falling(scores), overlap_of(boxes), lambda o: o > 0)


@wrong(suppress, "dropped for too little overlap")
def suppress_the_far(boxes, scores, threshold):
    return greedy_in(falling(scores), overlap_of(boxes), lambda o: o < threshold)


@wrong(suppress, "threshold of the scores")
def suppress_unsure(boxes, scores, threshold):
    return [n for n in falling(scores) if scores[n] > threshold]


@wrong(suppress, "nothing dropped")
def suppress_none(boxes, scores, threshold):
    return falling(scores)


@wrong(suppress, "no boxes not expected", score=6 / 7)
def suppress_at_least_one(boxes, scores, threshold):
    kept = [falling(scores)[0]]
    for place in falling(scores)[1:]:
        if (overlap_of(boxes)[place, kept] <= threshold).all():
            kept.append(place)
    return kept


# Average precision --------------------------------------------------------------------


@right(average_precision)
def precision_by_loops(scores, right, positives):
    pairs = sorted(zip(scores.tolist(), right.tolist(), strict=True), reverse=True)
    points, found = [], 0
    for n, (_, hit) in enumerate(pairs, start=1):
        found += hit
        points.append((found / positives, found / n))
    total = 0.0
    for step in range(101):
        total += max((p for r, p in points if r >= step / 100), default=0.0)
    return total / 101


@right(average_precision)
def precision_as_coco_has_it(scores, right, positives):
    order = np.argsort(-scores.numpy(), kind="mergesort")
    hits = np.cumsum(right.numpy()[order])
    recall, precision = hits / positives, hits / np.arange(1, len(hits) + 1)
    for n in range(len(precision) - 1, 0, -1):
        precision[n - 1] = max(precision[n - 1], precision[n])
    found = np.zeros(101)
    for level, place in enumerate(np.searchsorted(recall, np.linspace(0, 1, 101))):
        if place < len(precision):
            found[level] = precision[place]
    return found.mean()


@right(average_precision)
def precision_with_cummax(scores, right, positives):
    hits = right[scores.sort(descending=True).indices].float().cumsum(0)
    if hits.numel() == 0:
        return 0.0
    precision = hits / (torch.arange(len(hits)) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    reached = hits[None] / positives >= torch.linspace(0, 1, 101)[:, None]
    first = reached.int().argmax(dim=1)
    return (best[first] * reached.any(dim=1)).mean()


LEVELS = np.linspace(0, 1, 101)


def curve_of(right, positives):
    hits = np.cumsum(np.asarray(right))
    return hits / positives, hits / np.arange(1, len(hits) + 1)


def sorted_hits(scores, right):
    return right.numpy()[np.argsort(-scores.numpy())]


def read_at(recall, precision, levels=LEVELS):
    return [precision[recall >= level].max(initial=0.0) for level in levels]


@wrong(average_precision, "not sorted by score", score=5 / 6)
def precision_as_given(scores, right, positives):
    return np.mean(read_at(*curve_of(right, positives)))


@wrong(average_precision, "the worst first")
def precision_upwards(scores, right, positives):
    order = scores.argsort()
    return np.mean(read_at(*curve_of(right[order], positives)))


@wrong(average_precision, "best precision further on left out")
def precision_where_reached(scores, right, positives):
    recall, precision = curve_of(sorted_hits(scores, right), positives)
    total = 0.0
    for level in LEVELS:
        reached = np.flatnonzero(recall >= level)
        total += precision[reached[0]] if len(reached) else 0.0
    return total / 101


@wrong(average_precision, "area instead of 101 levels")
def precision_as_an_area(scores, right, positives):
    recall, precision = curve_of(sorted_hits(scores, right), positives)
    total, last = 0.0, 0.0
    for n in range(len(recall)):
        total += (recall[n] - last) * precision[n:].max()
        last = recall[n]
    return total


@wrong(average_precision, "area under the raw curve")
def precision_of_scikit(scores, right, positives):
    hits = sorted_hits(scores, right)
    _, precision = curve_of(hits, positives)
    return float(precision[hits].sum() / positives)


@wrong(average_precision, "eleven levels")
def precision_of_pascal(scores, right, positives):
    curve = curve_of(sorted_hits(scores, right), positives)
    return np.mean(read_at(*curve, np.linspace(0, 1, 11)))


@wrong(average_precision, "recall of zero left out")
def precision_of_hundred(scores, right, positives):
    curve = curve_of(sorted_hits(scores, right), positives)
    return np.mean(read_at(*curve, np.arange(1, 101) / 100))


@wrong(average_precision, "missed levels left out", score=4 / 6)
def precision_of_the_reached(scores, right, positives):
    recall, precision = curve_of(sorted_hits(scores, right), positives)
    read = [precision[recall >= x].max() for x in LEVELS if (recall >= x).any()]
    if not right.any():
        return 0.0
    return sum(read) / len(read)


@wrong(average_precision, "missed boxes left out", score=4 / 6)
def precision_of_the_found(scores, right, positives):
    if not right.any():
        return 0.0
    found = int(right.sum())
    return np.mean(read_at(*curve_of(sorted_hits(scores, right), found)))


@wrong(average_precision, "precision over all detections")
def precision_over_all(scores, right, positives):
    hits = np.cumsum(sorted_hits(scores, right))
    return np.mean(read_at(hits / positives, hits / max(len(hits), 1)))


@wrong(average_precision, "mean over what was found")
def precision_at_hits(scores, right, positives):
    hits = sorted_hits(scores, right)
    _, precision = curve_of(hits, positives)
    return precision[hits].mean() if hits.any() else 0.0


@wrong(average_precision, "precision of all detections together")
def precision_as_a_share(scores, right, positives):
    return right.sum().item() / max(len(right), 1)


@wrong(average_precision, "sum instead of a mean")
def precision_as_a_sum(scores, right, positives):
    return float(sum(read_at(*curve_of(sorted_hits(scores, right), positives))))


@wrong(average_precision, "only more recall than the level")
def precision_beyond(scores, right, positives):
    recall, precision = curve_of(sorted_hits(scores, right), positives)
    return np.mean([precision[recall > x].max(initial=0.0) for x in LEVELS])
