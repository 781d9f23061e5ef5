"""Object detection on a pretrained backbone: a small FCOS of torchvision's parts.

What is done with boxes afterwards has a module of its own, `course.boxes`, and is found
here too: ``from course import detection`` is all that chapter 08 needs.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOSHead
from torchvision.transforms import v2

from course.arguments import kinds_checked
from course.boxes import (
    MOST,
    Found,
    keep,
    matched,
    mean_average_precision,
    precision_recall,
    precision_recall_curve,
)
from course.errors import CourseError, HeldOutError, unknown
from course.frozen import evaluating
from course.models import MEAN, STD, Model, as_batch, seeded
from course.training import (
    Batch,
    History,
    Recipe,
    Row,
    Shuffled,
    Trainer,
    autocast,
    device_of,
    train_on,
)

if TYPE_CHECKING:
    from course.data.scenes import Scenes

__all__ = [
    "AUGMENTATIONS",
    "MOST",
    "Detector",
    "Found",
    "candidates",
    "detect",
    "detector",
    "fit",
    "keep",
    "losses",
    "matched",
    "mean_average_precision",
    "precision_recall",
    "precision_recall_curve",
]

AUGMENTATIONS = ("none", "flip")
LEVELS = ("layer2", "layer3", "layer4")  # their maps are what the detector reads
CHANNELS = 64  # of each level of the pyramid
LOWEST = 0.2  # candidates have at least this score
CANDIDATES = 300  # most of a picture, the surest
BATCH = 32  # pictures at once without gradients


@dataclass(eq=False)
class Detector:
    """A network that finds objects, with everything that is needed to use it.

    Args:
        network: a detection model of torchvision: a list of float images (3, H, W) from
            0 to 1 becomes a list of dictionaries of boxes, scores and labels.
        class_names: the name behind each label.
        card: what is known of it (backbone, frozen or not, size, seed …).
    """

    network: nn.Module
    class_names: tuple[str, ...]
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.network.parameters()).device

    def copy(self) -> Detector:
        """Return a detector that can be trained without touching this one's weights."""
        return replace(
            self, network=copy.deepcopy(self.network), card=copy.deepcopy(self.card)
        )


@kinds_checked
def detector(
    backbone: Model,
    class_names: Sequence[str],
    *,
    frozen: bool = False,
    seed: int = 0,
    size: int = 128,
) -> Detector:
    """Return an untrained detector that looks through a backbone's eyes (chapter 08).

    FCOS (Tian et al. 2019, arXiv 1904.01355): at every place of three maps of a feature
    pyramid (Lin et al. 2017, arXiv 1612.03144) a class, four distances to the sides of
    a box and how central the place is. No place needs an anchor of more than one size.

    Args:
        backbone: a ResNet, pretrained or from `models.fresh`; it is copied.
        class_names: what is to be found.
        frozen: keep the backbone as it is, BatchNorm's statistics too.
        seed: of pyramid and head.
        size: pixels a side of the scenes.

    Raises:
        CourseError: the backbone is no ResNet, or there is no class.
    """
    names = tuple(class_names)
    if not names:
        raise CourseError("A detector needs at least one class; none was named.")
    body = _body(backbone)
    with seeded(seed):
        network = _fcos(body, len(names), size, _normalisation(backbone))
    network.backbone.body.requires_grad_(not frozen)
    card = {
        "name": "FCOS",
        "backbone": backbone.card.get("name", type(backbone.network).__name__),
        "frozen": frozen,
        "size": size,
        "seed": seed,
    }
    return Detector(network.eval(), names, card)


def _body(backbone: Model) -> nn.Module:
    """Return a copy of the backbone's network, in which every level is there."""
    missing = [name for name in LEVELS if not hasattr(backbone.network, name)]
    if missing:
        raise CourseError(
            f"A detector needs the stages {', '.join(LEVELS)}, and "
            f"{type(backbone.network).__name__} has no {missing[0]}; use a ResNet, "
            'such as models.load("resnet10-shapes").'
        )
    return copy.deepcopy(backbone.network).requires_grad_(True).cpu()


def _fcos(
    body: nn.Module, classes: int, size: int, normalisation: dict[str, Any]
) -> FCOS:
    channels, strides = _maps(body, size)
    levels = {name: str(number) for number, name in enumerate(LEVELS)}
    pyramid = BackboneWithFPN(body, levels, channels, CHANNELS)
    pyramid.fpn.extra_blocks = None  # a fourth, coarser map, for no object of ours
    head = _Head(CHANNELS, num_anchors=1, num_classes=classes, num_convs=1)
    return FCOS(
        pyramid,
        classes,
        min_size=size,
        max_size=size,
        **normalisation,
        anchor_generator=AnchorGenerator(
            tuple((2 * stride,) for stride in strides), ((1.0,),) * len(strides)
        ),
        head=head,
        # `keep` decides, so that nothing is lost before it can.
        score_thresh=LOWEST,
        nms_thresh=1.0,
        topk_candidates=CANDIDATES,  # of a level
        detections_per_img=CANDIDATES,
        # Resizing while training draws from torch's one generator: trainings side by
        # side would disturb one another, and scenes have the right size already.
        _skip_resize=True,
    )


class _Head(FCOSHead):
    """FCOS's head, whose boxes cannot die at the start and whose answers are exact."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # Distances pass through a ReLU. From a bias of 0 about one training in three
        # never leaves its dead side, and no box is ever found.
        nn.init.ones_(self.regression_head.bbox_reg.bias)
        for tower in (self.classification_head.conv, self.regression_head.conv):
            tower.insert(1, _PlainOrder())

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        """Return logits, distances and centredness in full precision."""
        return {name: value.float() for name, value in super().forward(x).items()}


class _PlainOrder(nn.Module):
    """Lay a batch out channel by channel: GroupNorm is eight times faster so."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the same batch in another memory order."""
        return x.contiguous()


def _maps(body: nn.Module, size: int) -> tuple[list[int], list[int]]:
    """Return channels and stride of each level, as one blank image shows them."""
    image, channels, strides = torch.zeros(1, 3, size, size), [], []

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        channels.append(output.shape[1])
        strides.append(size // output.shape[-1])

    hooks = [getattr(body, name).register_forward_hook(look) for name in LEVELS]
    with evaluating(body), torch.no_grad():
        body(image)
    for hook in hooks:
        hook.remove()
    return channels, strides


def _normalisation(backbone: Model) -> dict[str, list[float]]:
    """Return mean and deviation with which the backbone was trained."""
    mean, std = MEAN, STD
    for module in backbone.preprocess.modules():
        if isinstance(module, v2.Normalize):
            mean, std = module.mean, module.std
    return {"image_mean": list(mean), "image_std": list(std)}


# Training -----------------------------------------------------------------------------


def fit(
    detector: Detector,
    scenes: Scenes,
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
    stop: threading.Event | None = None,
    after_step: Callable[[Row], None] | None = None,
) -> History:
    """Train a detector in place (chapter 08).

    A backbone that was built as frozen stays so, BatchNorm's statistics too.

    Args:
        detector: its classes must be those of the scenes.
        scenes: to learn from; test scenes are refused.
        recipe: steps, batch, rate …; `augment` is one of `AUGMENTATIONS`.
        seed: of the order of the scenes and of the mirroring.
        device: see `training.device_of`.
        progress: see `training.train_on`.
        stop: see `training.train_on`.
        after_step: see `training.train_on`.

    Returns:
        The history. Its column ``"accuracy"`` holds how well the boxes fit: the mean
        generalised IoU at all places on an object, from -1 to 1.

    Raises:
        HeldOutError: these are test scenes.
        TrainingDiverged: the loss stopped being a finite number.
        CourseError: there is no scene, or classes, size or augmentation do not fit.
    """
    _check(detector, scenes, recipe)
    moves = any(p.requires_grad for p in detector.network.backbone.body.parameters())
    trainer = Trainer(
        detector.network,
        recipe,
        batchnorm="update" if moves else "freeze",
        objective=_objective,
        device=device,
    )
    order, targets = Shuffled(scenes, recipe, seed), _padded(scenes)

    def batch_at(step: int) -> Batch:
        chosen = order.places(step)
        images, boxes = scenes.images[chosen].float() / 255, targets[chosen]
        if recipe.augment == "flip":
            images, boxes = _mirrored(images, boxes, [seed, step, 1])
        return images, boxes

    return train_on(
        trainer, batch_at, progress=progress, stop=stop, after_step=after_step
    )


def _check(detector: Detector, scenes: Scenes, recipe: Recipe) -> None:
    if scenes.kind == "test":
        raise HeldOutError(
            "The test scenes were given to fit, which would spoil every figure "
            "reported on them. Use task.train to learn and task.validation to choose."
        )
    if not len(scenes):
        raise CourseError("There is no scene to learn from; expected at least one.")
    if detector.class_names != scenes.class_names:
        raise CourseError(
            f"The detector finds {len(detector.class_names)} classes and the scenes "
            f"show {len(scenes.class_names)} (or others); build it for them: "
            "detection.detector(backbone, scenes.class_names)."
        )
    if recipe.augment not in AUGMENTATIONS:
        raise unknown("augmentation of scenes", recipe.augment, AUGMENTATIONS)


def losses(
    network: nn.Module, images: Tensor, targets: Sequence[dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return the losses of FCOS on a batch, which are added up (chapter 08).

    ``"classification"`` is the focal loss over all places (Lin et al. 2017,
    arXiv 1708.02002), ``"bbox_regression"`` 1 - generalised IoU (Rezatofighi et al.
    2019, arXiv 1902.09630) and ``"bbox_ctrness"`` a cross-entropy, both of places on an
    object; each is divided by their number.

    Args:
        network: in training mode.
        images: float32 (N, 3, H, W) from 0 to 1.
        targets: for each image ``"boxes"`` (k, 4) and ``"labels"`` (k,).
    """
    return network(list(images), list(targets))


def _objective(
    network: nn.Module, images: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    kind = images.device.type
    # The head sees three maps with the same weights. Autocast's cache of them is shared
    # by all threads: trainings side by side would round differently on every run.
    with torch.autocast(
        kind, enabled=torch.is_autocast_enabled(kind), cache_enabled=False
    ):
        parts = losses(network, images, [_unpadded(rows) for rows in targets])
    return sum(parts.values()), 1 - parts["bbox_regression"].detach()


def _padded(scenes: Scenes) -> Tensor:
    """Return all true boxes as one tensor, as the training loop wants its labels.

    Float32 (N, most, 5): left, top, right, bottom, label; rows with the label -1 are
    there because another scene has more objects.
    """
    most = max(1, *map(len, scenes.labels))
    targets = torch.full((len(scenes), most, 5), -1.0)
    for rows, boxes, labels in zip(targets, scenes.boxes, scenes.labels, strict=True):
        rows[: len(labels), :4] = boxes
        rows[: len(labels), 4] = labels.float()
    return targets


def _unpadded(rows: Tensor) -> dict[str, Tensor]:
    there = rows[rows[:, 4] >= 0]
    return {"boxes": there[:, :4], "labels": there[:, 4].long()}


def _mirrored(
    images: Tensor, targets: Tensor, seed: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return half of the images mirrored left to right, their boxes with them."""
    flip = np.random.default_rng(seed).integers(0, 2, len(images)).astype(bool)
    flip = torch.from_numpy(flip)
    other = targets.clone()
    other[..., 0] = images.shape[-1] - targets[..., 2]
    other[..., 2] = images.shape[-1] - targets[..., 0]
    return (
        torch.where(flip[:, None, None, None], images.flip(-1), images),
        torch.where(flip[:, None, None], other, targets),
    )


# Finding ------------------------------------------------------------------------------


def candidates(detector: Detector, images: Tensor, device: str = "auto") -> list[Found]:
    """Return every box that is not out of the question, before any is suppressed.

    Args:
        detector: from `detector`.
        images: uint8 (N, 3, H, W) or (3, H, W).
        device: see `training.device_of`.

    Returns:
        For each image its candidates: a score of at least `LOWEST`, the `CANDIDATES`
        surest.
    """
    place = device_of(device)
    network = detector.network.to(place, memory_format=torch.channels_last)
    found: list[Found] = []
    with evaluating(network), torch.no_grad(), autocast(place):
        pictures = as_batch(images)
        for few in pictures.split(BATCH) if len(pictures) else ():
            ready = few.to(place).float() / 255
            found += [_found(row, detector.class_names) for row in network(list(ready))]
    return found


def _found(row: dict[str, Tensor], class_names: tuple[str, ...]) -> Found:
    boxes, scores, labels = (row[name].cpu() for name in ("boxes", "scores", "labels"))
    order = scores.argsort(descending=True, stable=True)
    return Found(boxes.float(), scores.float(), labels, class_names).take(order)


@kinds_checked
def detect(
    detector: Detector, images: Tensor, score: float = 0.5, nms: float = 0.5
) -> list[Found]:
    """Return what is found in each image: `candidates`, then `keep` (chapter 08).

    Args:
        detector: from `detector`, trained.
        images: uint8 (N, 3, H, W) or (3, H, W).
        score: see `keep`.
        nms: see `keep`.
    """
    return [keep(found, score, nms) for found in candidates(detector, images)]
