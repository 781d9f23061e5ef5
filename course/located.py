"""Grad-CAM for one box: where a detector found the evidence for it (chapter 08).

A classifier answers once for a picture, a detector at every place of its maps. So the
place that gave the box is looked up first, and the class logit there is explained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.ops import box_iou

from course.boxes import Found, matched
from course.detection import Detector
from course.errors import CourseError
from course.explain import enlarged, module_named, recording
from course.faithfulness import energy_inside, shuffled
from course.frozen import evaluating
from course.models import as_batch

if TYPE_CHECKING:
    from course.data.scenes import Scenes

LAYER = "layer4"
SAME = 0.7  # IoU of a box with what the same detector says of the picture once more


@dataclass(frozen=True, eq=False)
class Inside:
    """The share of each heat map that lies inside masks, one value a box (chapter 08).

    Args:
        own: inside the object that the box is around, float32 (n,).
        others: inside all other objects of the same scene together, float32 (n,).
        shuffled: inside the object of another box, mostly in another scene: the
            control that is as large as the right one, float32 (n,).
        share: what an even map would have inside its object, float32 (n,).
    """

    own: Tensor
    others: Tensor
    shuffled: Tensor
    share: Tensor


@dataclass(frozen=True, eq=False)
class _Places:
    """What a detector says of one picture at all places of its maps.

    Boxes (M, 4) in the picture's own pixels; logits (M, classes); size (height, width)
    that it was resized to, and padded to.
    """

    boxes: Tensor
    logits: Tensor
    size: tuple[int, int]
    padded: tuple[int, int]


def heat(
    detector: Detector,
    image: Tensor,
    found: Found,
    index: int,
    layer: str = LAYER,
    elementwise: bool = True,
) -> Tensor:
    """Return where the evidence for one box is: float32 (H, W), from 0 to 1.

    Args:
        detector: an FCOS, from `detection.detector` or `coco.load`.
        image: uint8 (3, H, W), the picture in which the box was found.
        found: what this detector found in it.
        index: of the box in `found`.
        layer: see `heats`.
        elementwise: see `heats`.

    Raises:
        CourseError: there is no such box, or see `heats`.
    """
    if not 0 <= index < len(found):
        raise CourseError(
            f"There is no box {index} to explain; {len(found)} were found, and they "
            "are counted from 0."
        )
    one = found.take(torch.tensor([index]))
    return heats(detector, image, one, layer, elementwise)[0]


def heats(
    detector: Detector,
    image: Tensor,
    found: Found,
    layer: str = LAYER,
    elementwise: bool = True,
    at: Tensor | None = None,
) -> Tensor:
    """Return where the evidence for each box is (chapter 08).

    The gradient of a class logit at one place is not the same all over the map, as it
    nearly is for the logit of a classifier. Its mean (Grad-CAM, Selvaraju et al. 2017,
    arXiv 1610.02391) forgets the place, and lights up whatever looks like the class;
    gradient times activation, cell by cell, keeps it (HiResCAM, Draelos & Carin 2020,
    arXiv 2011.08891).

    Args:
        detector: an FCOS, from `detection.detector` or `coco.load`.
        image: uint8 (3, H, W), the picture in which the boxes were found.
        found: k boxes.
        layer: ``"layer1"`` to ``"layer4"`` of the backbone, or a dotted name of the
            network's such as ``"backbone.fpn.layer_blocks.0"``.
        elementwise: HiResCAM; else Grad-CAM.
        at: the places that are asked, int64 (k,); None for `places`.

    Returns:
        float32 (k, H, W), on the CPU, each with a maximum of 1; zero where nothing
        speaks for the box, or where its place does not read the layer.

    Raises:
        CourseError: the detector is no FCOS, it did not find the boxes in this picture,
            or the layer is unknown or has no map.
    """
    with torch.inference_mode(False), evaluating(_fcos(detector)):
        module = module_named(detector.network, _name(detector.network, layer))
        with recording(module) as kept, torch.no_grad():
            said = _everywhere(detector, image)
            _check_map(kept, layer)
        rows = _nearest(said, found) if at is None else at
        maps = [
            _evidence(said.logits[row, label], kept[0], elementwise)
            for row, label in zip(rows.tolist(), found.labels.tolist(), strict=True)
        ]
    if not maps:
        return torch.zeros(0, *image.shape[-2:])
    (high, wide), size = said.size, tuple(image.shape[-2:])
    seen = enlarged(torch.stack(maps), said.padded)[:, :high, :wide]
    seen = seen if (high, wide) == size else enlarged(seen, size)
    return seen / seen.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def _evidence(logit: Tensor, maps: Tensor, elementwise: bool) -> Tensor:
    """Return what in maps (1, C, h, w) speaks for a logit: (h, w)."""
    gradient = None
    if logit.requires_grad:
        (gradient,) = torch.autograd.grad(
            logit, maps, retain_graph=True, allow_unused=True
        )
    if gradient is None:  # another level of the pyramid answers at this place
        return torch.zeros(maps.shape[2:])
    weights = gradient if elementwise else gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps.detach()).sum(dim=1)[0].relu().float().cpu()


def places(detector: Detector, image: Tensor, found: Found) -> Tensor:
    """Return which place of a detector's maps gave each box: int64 (k,).

    Places are counted row by row, the finest map first. The same numbers mean the same
    places for every detector of that size: an untrained one can be asked there too.

    Raises:
        CourseError: see `heats`.
    """
    with evaluating(_fcos(detector)), torch.no_grad():
        return _nearest(_everywhere(detector, image), found)


def _everywhere(detector: Detector, image: Tensor) -> _Places:
    """Look at a picture once, as FCOS does, and leave out thresholds."""
    network, picture = detector.network, _one(image)
    ready, _ = network.transform([picture.to(detector.device).float() / 255])
    maps = list(network.backbone(ready.tensors).values())
    said = network.head(maps)
    (anchors,) = network.anchor_generator(ready, maps)
    boxes = network.box_coder.decode(said["bbox_regression"][0].detach(), anchors)
    high, wide = ready.image_sizes[0]
    ratio = [picture.shape[2] / wide, picture.shape[1] / high]
    limits = torch.tensor([picture.shape[2], picture.shape[1]] * 2)
    boxes = (boxes.float().cpu() * torch.tensor(ratio * 2)).clamp(min=0).min(limits)
    padded = tuple(ready.tensors.shape[2:])
    return _Places(boxes, said["cls_logits"][0], (high, wide), padded)


def _one(image: Tensor) -> Tensor:
    batch = as_batch(image)
    if len(batch) != 1:
        raise CourseError(
            f"{len(batch)} pictures were given; expected the one in which the boxes "
            "were found."
        )
    return batch[0]


def _nearest(said: _Places, found: Found) -> Tensor:
    if not len(found):
        return torch.zeros(0, dtype=torch.int64)
    distances = torch.cdist(found.boxes, said.boxes, p=1)
    rows = distances.argmin(dim=1)
    fits = box_iou(found.boxes, said.boxes[rows]).diagonal()
    if fits.min() < SAME:
        raise CourseError(
            f"Box {int(fits.argmin())} was not found by this detector in this picture; "
            "expected the picture, and what this detector found in it."
        )
    return rows


def _fcos(detector: Detector) -> nn.Module:
    if not isinstance(detector.network, FCOS):
        raise CourseError(
            f"The evidence for a box is looked up in an FCOS, and this is a "
            f"{type(detector.network).__name__}; use detection.detector, or "
            'coco.load("fcos_resnet50_fpn", weights="COCO_V1").'
        )
    return detector.network


def _name(network: nn.Module, layer: str) -> str:
    """Return a layer's whole name, from its name in the backbone."""
    parts = dict(network.backbone.body.named_children())
    return f"backbone.body.{layer}" if layer.partition(".")[0] in parts else layer


def _check_map(kept: list[Tensor], layer: str) -> None:
    if len(kept) != 1 or kept[0].ndim != 4:
        raise CourseError(
            f"The layer {layer!r} gives no map, or several in one pass; name a layer "
            'of the backbone such as "layer4".'
        )


def inside(
    detector: Detector,
    scenes: Scenes,
    found: list[Found],
    *,
    layer: str = LAYER,
    elementwise: bool = True,
    instead: Detector | None = None,
    seed: int = 0,
) -> Inside:
    """Return how much of the heat of all right boxes lies on their objects.

    Args:
        detector: found the boxes.
        scenes: with masks.
        found: what the detector found in each scene.
        layer: see `heats`.
        elementwise: see `heats`.
        instead: whose heat is taken, at the same places: an untrained detector is the
            control, since a place far from an object cannot see much of it anyway.
        seed: of the order of the shuffled masks.

    Raises:
        CourseError: fewer than two boxes are right, or see `heats`.
    """
    maps, own, others = [], [], []
    for number, each in enumerate(found):
        boxes, labels = scenes.boxes[number], scenes.labels[number]
        right = each.take(matched(each, boxes, labels))
        image, masks = scenes.images[number], scenes.masks[number]
        at = places(detector, image, right)
        maps.append(heats(instead or detector, image, right, layer, elementwise, at))
        for chosen in _objects(right, boxes, labels):
            own.append(masks[chosen])
            others.append(masks.any(dim=0) & ~masks[chosen])
    if len(own) < 2:
        raise CourseError(
            f"{len(own)} of the boxes are right; expected at least 2 to compare with: "
            "train the detector longer, or lower the score."
        )
    heat, mine = torch.cat(maps), torch.stack(own)
    parts = (mine, torch.stack(others), shuffled(mine, seed))
    share = mine.float().mean(dim=(1, 2))
    return Inside(*(energy_inside(heat, part) for part in parts), share)


def _objects(found: Found, boxes: Tensor, labels: Tensor) -> list[int]:
    """Return which true object each right box is around."""
    fits = box_iou(found.boxes, boxes)
    fits[found.labels[:, None] != labels] = -1
    return fits.argmax(dim=1).tolist() if len(found) else []
