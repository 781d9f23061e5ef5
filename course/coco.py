"""Detectors of other people: torchvision's, trained on the photographs of COCO.

They are found, verified and built in the same way as the classifiers of
`course.pretrained`. COCO (Lin et al. 2014, arXiv 1405.0312) names 80 kinds of everyday
objects; its list of labels has 91 places, of which some are empty.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchvision import models as zoo
from torchvision.transforms.v2 import functional as F

from course import pretrained
from course.arguments import kinds_checked
from course.detection import Detector, Found
from course.errors import CourseError, unknown
from course.frozen import evaluating
from course.models import SHIPPED, as_batch

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 2048  # pixels a side: every detector shrinks a picture further
NARROWEST = 100  # times the shorter side that the longer one may be
MEANWHILE = "meanwhile the detector that chapter 08 trains needs no download"


def names() -> list[str]:
    """Return the names that `load` knows: all of torchvision's detectors (chapter 08).

    Mask R-CNN and Keypoint R-CNN are among them, and answer with their boxes alone.
    """
    return pretrained.detectors()


@kinds_checked
def load(
    name: str,
    weights: str | None = None,
    download: bool = False,
    folder: str | Path | None = None,
) -> Detector:
    """Load one of torchvision's detectors, built as torchvision builds it (chapter 08).

    Args:
        name: see `names`; ``"ssdlite320_mobilenet_v3_large"`` is the smallest file
            (14 MB).
        weights: which: ``"COCO_V1"``.
        download: fetch the weights if they are not on this machine yet; without it
            nothing touches the network.
        folder: where the weights lie, if not in torchvision's own cache.

    Raises:
        CourseError: the name is unknown or that of a classifier, or the file is
            missing, damaged or another one. Nothing is ever replaced by random weights.
    """
    if name not in names():
        raise _no_detector(name)
    chosen = pretrained.entry(name, weights)
    network, card = pretrained.as_published(
        name, chosen, download, folder, loader="coco.load", meanwhile=MEANWHILE
    )
    return Detector(_boxes_alone(network), tuple(chosen.meta["categories"]), card)


def _no_detector(name: str) -> CourseError:
    if name in SHIPPED or name in zoo.list_models(module=zoo):
        return CourseError(
            f"{name} is a classifier, which finds no boxes; load it with models.load, "
            f"or a detector with coco.load: {', '.join(names())}."
        )
    return unknown("detector", name, names())


def _boxes_alone(network: nn.Module) -> nn.Module:
    """Take away what draws masks and keypoints: it costs more than the boxes do."""
    heads = getattr(network, "roi_heads", None)
    for extra in ("mask", "keypoint"):
        for part in ("roi_pool", "head", "predictor"):
            if hasattr(heads, f"{extra}_{part}"):
                setattr(heads, f"{extra}_{part}", None)
    return network


def detect(detector: Detector, image: Image | Tensor, score: float = 0.5) -> Found:
    """Return what a detector finds in one picture of any size (chapter 08).

    The detector resizes the picture as it was trained, and its boxes come back in the
    pixels of this one. What it is very unsure of it never says: most are built to drop
    scores under 0.05, FCOS under 0.2.

    Args:
        detector: one of `load`, or of the course's own.
        image: PIL image, or uint8 (3, H, W) or (1, 3, H, W).
        score: the least that a box must have, from 0 to 1.

    Raises:
        CourseError: there is not one picture, it is of another type or too narrow, or
            the score is none.
    """
    if not 0 <= score <= 1:
        raise CourseError(f"A score of {score} is none; expected one from 0 to 1.")
    picture = _one(image)
    small = _shrunk(picture)
    with torch.no_grad(), evaluating(detector.network):
        (answer,) = detector.network([small.float().div(255).to(detector.device)])
    scores = answer["scores"].float().cpu()
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] >= score]
    larger = torch.tensor(picture.shape[:0:-1]) / torch.tensor(small.shape[:0:-1])
    boxes = answer["boxes"].float().cpu()[order] * larger.repeat(2)
    labels = answer["labels"].cpu()[order]
    return Found(boxes, scores[order], labels, detector.class_names)


def _one(image: Image | Tensor) -> Tensor:
    """Return one picture as uint8 (3, H, W), or raise CourseError."""
    batch = as_batch(image)
    if len(batch) != 1:
        raise CourseError(
            f"coco.detect was given {len(batch)} pictures; expected one at a time."
        )
    short, long = sorted(batch.shape[2:])
    if long > NARROWEST * short:
        raise CourseError(
            f"A picture of {batch.shape[3]} × {batch.shape[2]} pixels is too narrow to "
            f"be searched; expected sides that differ by a factor of {NARROWEST} at "
            "most: cut it into pieces."
        )
    return batch[0]


def _shrunk(picture: Tensor) -> Tensor:
    """Return a picture of at most `LONGEST` pixels a side.

    As numbers, a photograph of 48 million pixels would take 600 MB.
    """
    factor = LONGEST / max(picture.shape[1:])
    if factor >= 1:
        return picture
    size = [math.ceil(side * factor) for side in picture.shape[1:]]
    return F.resize(picture, size, antialias=True)
