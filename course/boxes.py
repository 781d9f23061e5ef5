"""Boxes that a detector found, and how right they are (chapter 08)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from course.arguments import kinds_checked
from course.errors import CourseError

if TYPE_CHECKING:
    from course.data.scenes import Scenes

MOST = 100  # boxes a picture that count, as in COCO's rules


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in one picture, the surest first (chapter 08).

    Args:
        boxes: float32 (k, 4), left, top, right, bottom in pixels.
        scores: float32 (k,), from 0 to 1.
        labels: int64 (k,), indices into `class_names`.
        class_names: the name of each class.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, indices: Tensor) -> Found:
        """Return only the boxes at `indices`, int64 or bool."""
        return replace(
            self,
            boxes=self.boxes[indices],
            scores=self.scores[indices],
            labels=self.labels[indices],
        )

    @property
    def names(self) -> list[str]:
        """The class of each box."""
        return [self.class_names[label] for label in self.labels.tolist()]


@kinds_checked
def keep(found: Found, score: float = 0.5, nms: float = 0.5) -> Found:
    """Return the boxes that two thresholds leave, the surest first (chapter 08).

    Non-maximum suppression, class by class: the surest box stays, and every other of
    its class whose IoU with it is above `nms` goes; then the surest of the rest.

    Args:
        found: the candidates of one picture.
        score: boxes below it go.
        nms: the largest IoU of two boxes of one class; 1 suppresses nothing.

    Raises:
        CourseError: a threshold is no number from 0 to 1.
    """
    _check(score=score, nms=nms)
    sure = found.take(found.scores >= score)
    return sure.take(batched_nms(sure.boxes, sure.scores, sure.labels, nms))


def _check(**thresholds: float) -> None:
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise CourseError(
                f"The threshold {name} was {value!r}; expected a number from 0 to 1."
            )


@kinds_checked
def matched(found: Found, boxes: Tensor, labels: Tensor, iou: float = 0.5) -> Tensor:
    """Return which boxes are right: bool (k,) (chapter 08).

    The surest box chooses first. It takes the true box of its class that fits it best,
    of those that nobody took, if their IoU is `iou` or more; else it is wrong. So a
    second box on the same object is wrong, however well it fits.

    Args:
        found: what was found in one picture, the surest first.
        boxes: float32 (n, 4), the true boxes.
        labels: int64 (n,), their classes.
        iou: how well a box has to fit.
    """
    _check(iou=iou)
    boxes, labels = torch.as_tensor(boxes), torch.as_tensor(labels)
    if labels.ndim != 1 or boxes.numel() != 4 * len(labels):
        raise CourseError(
            f"{labels.numel()} labels came with boxes of shape {tuple(boxes.shape)}; "
            "expected four numbers, left, top, right and bottom, for each label."
        )
    fits = box_iou(found.boxes, boxes.reshape(-1, 4))
    free = found.labels[:, None] == labels[None, :]
    right = torch.zeros(len(found), dtype=torch.bool)
    for number in range(len(found) if len(labels) else 0):
        fit, best = torch.where(free[number], fits[number], -1.0).max(dim=0)
        if fit >= iou:
            right[number] = True
            free[:, best] = False
    return right


@kinds_checked
def precision_recall(
    found: Sequence[Found], scenes: Scenes, score: float, iou: float = 0.5
) -> tuple[float, float]:
    """Return precision and recall of the boxes above a score, over all scenes.

    Precision is the share of boxes that are right, recall the share of objects that
    were found. Who says nothing says nothing wrong: without a box precision is 1, and
    without an object recall is.

    Args:
        found: of each scene, after non-maximum suppression.
        scenes: with the true boxes.
        score: boxes below it do not count.
        iou: see `matched`.
    """
    _check(score=score)
    sure = [each.take(each.scores >= score) for each in found]
    right = _all_matched(sure, scenes, iou)
    true, claimed = int(right.sum()), len(right)
    there = sum(map(len, scenes.labels))
    return (true / claimed if claimed else 1.0), (true / there if there else 1.0)


@kinds_checked
def precision_recall_curve(
    found: Sequence[Found], scenes: Scenes, iou: float = 0.5
) -> tuple[Tensor, Tensor, Tensor]:
    """Return recalls, precisions and scores, one for each box, the surest first.

    Row i is what `precision_recall` says at the score of box i, where no other box has
    the same.

    Args:
        found: of each scene, after non-maximum suppression.
        scenes: with the true boxes.
        iou: see `matched`.
    """
    right = _all_matched(found, scenes, iou)
    scores = torch.cat([each.scores for each in found])
    order = scores.argsort(descending=True, stable=True)
    true = right[order].cumsum(dim=0).double()
    claimed = torch.arange(1, len(order) + 1)
    there = max(1, sum(map(len, scenes.labels)))
    return true / there, true / claimed, scores[order]


def _all_matched(found: Sequence[Found], scenes: Scenes, iou: float) -> Tensor:
    _check_pairs(found, scenes)
    rows = zip(found, scenes.boxes, scenes.labels, strict=True)
    return torch.cat([matched(each, *true, iou=iou) for each, *true in rows])


def _check_pairs(found: Sequence[Found], scenes: Scenes) -> None:
    if len(found) != len(scenes) or not len(scenes):
        raise CourseError(
            f"What was found in {len(found)} pictures was compared with {len(scenes)} "
            "scenes; expected one for each scene, and at least one scene."
        )
    for each in found:
        if each.class_names != scenes.class_names:
            raise CourseError(
                f"The detector names {len(each.class_names)} classes and the scenes "
                f"{len(scenes.class_names)} (or others); expected the same names in "
                "the same order."
            )


# Average precision --------------------------------------------------------------------


@kinds_checked
def mean_average_precision(found: Sequence[Found], scenes: Scenes) -> dict[str, float]:
    """Return COCO's average precision: its mean, and that of each class (chapter 08).

    The area under the curve of precision over recall, read at 101 recalls, where each
    precision is the best one at that recall or a higher one (Everingham et al. 2010;
    Lin et al. 2014, arXiv 1405.0312). faster-coco-eval computes it.

    Args:
        found: of each scene, after non-maximum suppression and with a low score
            threshold; the `MOST` surest of a picture count.
        scenes: with the true boxes.

    Returns:
        ``"map50"`` (a box is right from IoU 0.5), ``"map"`` (the mean over 0.5, 0.55 to
        0.95), and ``"map50 NAME"`` for each class of which there is an object. Without
        any object all of them are nan.
    """
    _check_pairs(found, scenes)
    precision = _precisions(found, scenes)
    values = {"map50": _mean(precision[0]), "map": _mean(precision)}
    for label, name in enumerate(scenes.class_names):
        column = precision[0, :, label]
        if (column > -1).all():
            values[f"map50 {name}"] = _mean(column)
    return values


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]  # COCO's mark for a class without an object
    return float(known.mean()) if known.size else float("nan")


def _precisions(found: Sequence[Found], scenes: Scenes) -> np.ndarray:
    """Return precisions of shape (IoU thresholds, recalls, classes), -1 for none."""
    from faster_coco_eval import COCO, COCOeval_faster

    truths = [
        _annotations(number, boxes, labels)
        for number, (boxes, labels) in enumerate(
            zip(scenes.boxes, scenes.labels, strict=True)
        )
    ]
    claims = [
        _annotations(number, each.boxes[:MOST], each.labels[:MOST], each.scores[:MOST])
        for number, each in enumerate(found)
    ]
    evaluation = COCOeval_faster(
        COCO(_dataset(truths, scenes.class_names)),
        COCO(_dataset(claims, scenes.class_names)),
        iouType="bbox",
    )
    evaluation.params.maxDets = [MOST]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]  # 0: objects of all sizes


def _annotations(
    picture: int, boxes: Tensor, labels: Tensor, scores: Tensor | None = None
) -> list[dict[str, Any]]:
    """Return COCO's rows for one picture, where a box is left, top, width, height."""
    rows = []
    values = torch.ones(len(labels)) if scores is None else scores
    for box, label, score in zip(
        boxes.tolist(), labels.tolist(), values.tolist(), strict=True
    ):
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        rows.append(
            {
                "image_id": picture,
                "category_id": label,
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": score,
            }
        )
    return rows


def _dataset(
    pictures: Sequence[list[dict[str, Any]]], class_names: tuple[str, ...]
) -> dict[str, Any]:
    rows = [row for picture in pictures for row in picture]
    return {
        "images": [{"id": number} for number in range(len(pictures))],
        "categories": [{"id": n, "name": name} for n, name in enumerate(class_names)],
        # COCO's evaluation takes the number 0 for "matched by nothing".
        "annotations": [{"id": n, **row} for n, row in enumerate(rows, start=1)],
    }
