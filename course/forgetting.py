"""Forgetting: what is left of the old task, and ways to lose less (chapter 06)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course import models
from course.arguments import kinds_checked
from course.data.tasks import Part, TrainPart, forbid_test
from course.errors import CourseError
from course.extraction import before_head
from course.models import Model
from course.probing import linear_probe
from course.training import Recipe, Shuffled, Trainer, classification, train_on

Penalty = Callable[[nn.Module], Tensor]


@kinds_checked
def backbone_of(model: Model) -> dict[str, Tensor]:
    """Return the state of a model without its head, parameters and statistics.

    The tensors are those of the network: what trains on changes them.
    """
    head = f"{models.head_of(model.network)[0]}."
    state = model.network.state_dict()
    return {name: value for name, value in state.items() if not name.startswith(head)}


@kinds_checked
def with_old_head(source: Model, tuned: Model) -> Model:
    """Return a copy of a fine-tuned model with the head that its source had.

    Args:
        source: the model before, whose classes come back.
        tuned: the same backbone after it was trained on another task.
    """
    name, old = models.head_of(source.network)
    model = models.replace_head(tuned, source.class_names)
    model.network.get_submodule(name).load_state_dict(old.state_dict())
    return replace(model, preprocess=source.preprocess)


@kinds_checked
def reprobed(tuned: Model, train: TrainPart, part: Part, device: str = "auto") -> float:
    """Return the accuracy on the old task of a new linear probe (chapter 06).

    What the old head no longer reads may still be there: the head is stale, and the
    features are not lost (Davari et al. 2022, arXiv 2203.13381).

    Args:
        tuned: a model after fine-tuning on another task.
        train: labelled images of the old task.
        part: images of the old task to measure on.
        device: see `training.device_of`.
    """
    probe = linear_probe(before_head(tuned, train, device), Cs=(0.1,))
    return probe.score(before_head(tuned, part, device))


@kinds_checked
def interpolate(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return a state between two: (1 - share) · before + share · after.

    Parameters and BatchNorm's statistics alike (Wortsman et al. 2022, WiSE-FT,
    arXiv 2109.01903); what is no float, such as a count of batches, is taken from
    `after`.

    Args:
        before: a state dict.
        after: another with the same names and shapes.
        share: 0 gives `before`, 1 gives `after`.

    Raises:
        CourseError: the two do not belong to the same network.
    """
    unlike = [
        name
        for name in before.keys() | after.keys()
        if name not in before
        or name not in after
        or before[name].shape != after[name].shape
    ]
    if unlike:
        raise CourseError(
            f"Two networks that differ in {min(unlike)} cannot be mixed; expected the "
            "same layers with the same shapes. Mix backbones, and leave out heads of "
            "different classes."
        )
    return {
        name: torch.lerp(before[name], value, share)
        if value.is_floating_point()
        else value.clone()
        for name, value in after.items()
    }


@kinds_checked
def l2_sp(start: Mapping[str, Tensor], strength: float) -> Penalty:
    """Return the penalty L2-SP: strength · |w - start|² over the backbone (chapter 06).

    Weight decay pulls towards zero, this towards the pretrained weights (Li et al.
    2018, arXiv 1802.01483). What has no name there, the new head, is left alone.

    Args:
        start: name to pretrained weight, as `backbone_of` gives them; they are copied.
        strength: the paper's alpha / 2.
    """
    kept = {name: value.detach().clone() for name, value in start.items()}

    def penalty(network: nn.Module) -> Tensor:
        total = torch.zeros((), device=next(network.parameters()).device)
        for name, weight in network.named_parameters():
            if name in kept:
                total = total + (weight - kept[name].to(weight)).square().sum()
        return strength * total

    return penalty


@kinds_checked
def adapt(
    source: Model,
    train: TrainPart,
    recipe: Recipe,
    seed: int,
    *,
    penalty: Penalty | None = None,
    replay: TrainPart | None = None,
    share: float = 0.25,
    device: str = "auto",
) -> Model:
    """Fine-tune all weights with something that holds on to the old task (chapter 06).

    With images to replay, some in every batch are old ones: the batch stays as large
    as it was. The old head judges them, and stays what it was: the backbone has to
    go on suiting it.

    Args:
        source: where to start; it is not changed.
        train: the images of the new task.
        recipe: steps, batch, rate, augmentation.
        seed: of the new head, order and augmentation.
        penalty: from the network to a number that is added to the loss, or None.
        replay: images of the old task, with its classes, or None.
        share: of a batch that is replayed.
        device: see `training.device_of`.

    Returns:
        A model of the new task, in evaluation mode.

    Raises:
        HeldOutError: a test part was given.
        CourseError: the images to replay have other classes than the source.
    """
    for part in filter(None, (train, replay)):
        forbid_test(part, "fine-tuning")
    if replay is not None and replay.class_names != source.class_names:
        raise CourseError(
            f"The images to replay have {len(replay.class_names)} classes and the "
            f"source {len(source.class_names)} (or others); expected its own."
        )
    model = models.replace_head(source, train.class_names, seed)
    old_images = round(share * recipe.batch) if replay is not None else 0
    goal = _Goal(len(train.class_names), penalty, bool(old_images))
    name, head = models.head_of(model.network)
    if old_images:
        both = _TwoHeads(head, models.head_of(source.network)[1])
        model.network.set_submodule(name, both)
    options = {"divisible": not old_images, "device": device}
    trainer = Trainer(model.network, recipe, objective=goal, **options)
    new = Shuffled(train, replace(recipe, batch=recipe.batch - old_images), seed)
    old = old_images and Shuffled(replay, replace(recipe, batch=old_images), seed)

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        images, labels = new.batch(step)
        if old:
            again, names = old.batch(step)
            images = torch.cat([images, again])
            labels = torch.cat([labels, names + len(train.class_names)])
        return model.preprocess(images), labels

    train_on(trainer, batch_at, progress=False)
    model.network.set_submodule(name, head)  # the same object, now trained
    return model


class _Goal:
    """Cross-entropy, of each image among the classes of its own task, and a penalty."""

    def __init__(self, new: int, penalty: Penalty | None, two_heads: bool) -> None:
        self.new, self.penalty, self.two_heads = new, penalty, two_heads

    def __call__(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        if not self.two_heads:
            loss, accuracy = classification(network, images, labels)
        else:
            loss, accuracy = self._of_two(network(images).float(), labels)
        return loss + (self.penalty(network) if self.penalty else 0), accuracy

    def _of_two(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        old = labels >= self.new
        of_old = torch.arange(logits.shape[1], device=logits.device) >= self.new
        logits = logits.masked_fill(old[:, None] != of_old[None], float("-inf"))
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        return F.cross_entropy(logits, labels), accuracy


class _TwoHeads(nn.Module):
    """The new head, and the old one as it was, side by side: (N, new + old)."""

    def __init__(self, new: nn.Module, old: nn.Module) -> None:
        super().__init__()
        self.new, self.old = new, copy.deepcopy(old).requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.new(features), self.old(features)], dim=1)
