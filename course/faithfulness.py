"""Does a heat map tell the truth? Scores beside their controls (chapter 04)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from course.arguments import kinds_checked
from course.errors import CourseError, unknown
from course.explain import as_maps, chosen, enlarged, peaks
from course.models import IMAGE_SIZE, Model, as_batch
from course.strategies import reinitialise, stages

FILLS = ("mean", "blur")


# Against the truth: images that come with masks ------------------------------------


@kinds_checked
def energy_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of each map that lies inside its object (chapter 04).

    What is negative counts as nothing. A map that is zero everywhere says nothing, so
    it gets what an even map gets: the mask's share of the image. To leave it out would
    make a method better that is silent where it does not know.

    Args:
        maps: (N, h, w), or (1, h, w) for all; coarse ones are enlarged.
        masks: bool (N, H, W).

    Returns:
        float32 (N,), from 0 to 1.
    """
    inside = _as_masks(masks)
    heat = enlarged(_one_each(maps, inside).clamp(min=0), tuple(inside.shape[1:]))
    silent = heat.sum(dim=(1, 2)) == 0
    heat[silent] = 1.0
    return (heat * inside).sum(dim=(1, 2)) / heat.sum(dim=(1, 2))


@kinds_checked
def hits(maps: Tensor, masks: Tensor) -> Tensor:
    """Say of each map whether its peak is on the object: the pointing game.

    Zhang et al. 2016 (arXiv 1608.00507), without their margin of 15 pixels. A map that
    is the same everywhere points nowhere and misses. See `explain.peaks`.

    Args:
        maps: (N, h, w), or (1, h, w) for all.
        masks: bool (N, H, H).

    Returns:
        bool (N,).
    """
    inside = _as_masks(masks)
    heat = _one_each(maps, inside)
    row, column = peaks(heat, inside.shape[1]).unbind(dim=1)
    points = heat.flatten(1).amax(dim=1) > heat.flatten(1).amin(dim=1)
    return inside[torch.arange(len(inside)), row, column] & points


@kinds_checked
def shuffled(masks: Tensor, seed: int) -> Tensor:
    """Return masks in an order in which none is at its own place (chapter 04).

    The fair control: as large, and as near to the middle, as the right ones, but of
    other images.

    Args:
        masks: (N, …), at least two.
        seed: of the order.
    """
    if len(masks) < 2:
        raise CourseError(
            f"Masks cannot change places among {len(masks)}; expected at least 2."
        )
    order = torch.randperm(len(masks), generator=torch.Generator().manual_seed(seed))
    changed = torch.empty_like(masks)
    changed[order] = masks[order.roll(1)]
    return changed


@kinds_checked
def centred(size: int = IMAGE_SIZE, spread: float = 0.2) -> Tensor:
    """Return a map that always points at the middle: a control (chapter 04).

    Args:
        size: of the images, in pixels.
        spread: standard deviation of the Gaussian, in image widths.

    Returns:
        float32 (1, size, size), for as many images as there are.
    """
    if size < 1 or not 0 < spread < math.inf:
        raise CourseError(
            f"A map of {size} pixels and spread {spread} was asked for; expected 1 "
            "pixel a side or more, and a spread above 0."
        )
    place = (torch.arange(size) + 0.5) / size - 0.5
    bell = torch.exp(-((place / float(spread)) ** 2) / 2)
    return (bell[:, None] * bell)[None]


@kinds_checked
def edges(images: Tensor) -> Tensor:
    """Return how strong the edges of images are: a map that knows no network.

    The magnitude of Sobel's gradient on grey values; Adebayo et al. 2018
    (arXiv 1810.03292) ask for it beside every explanation.

    Args:
        images: uint8 (N, 3, H, W).

    Returns:
        float32 (N, H, W).
    """
    grey = as_batch(images).float().sum(dim=1, keepdim=True)  # whole numbers: exact
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]
    slopes = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
    return slopes.square().sum(dim=1).sqrt() / (3 * 255)


# Against the network: does the map depend on what was learnt? ----------------------


def randomised(model: Model, seed: int) -> Iterator[tuple[str, Model]]:
    """Yield copies of a model with more and more random layers, from the head down.

    The cascade of Adebayo et al. 2018 (arXiv 1810.03292): a map that stays the same
    explains the image and not the model.

    Args:
        model: a convolutional network; it is not changed.
        seed: of the random weights.

    Yields:
        The name of the stage that was randomised last, and the model: ``"head"``, then
        also ``"layer4"``, down to ``"stem"`` in a ResNet.
    """
    anew, mixed = model.copy(), model.copy()
    reinitialise(anew.network, seed)
    fresh = dict(anew.network.named_modules())
    for stage, parameters in reversed(stages(mixed.network).items()):
        changing = {id(parameter) for parameter in parameters}
        for name, module in mixed.network.named_modules():
            own = module.parameters(recurse=False)
            if any(id(parameter) in changing for parameter in own):
                module.load_state_dict(fresh[name].state_dict())
        yield stage, mixed.copy()


@kinds_checked
def similarity(maps: Tensor, others: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two maps of each image (chapter 04).

    Equal values share their mean rank. A flat map has no ranks and agrees with nothing:
    0.

    Args:
        maps: (N, h, w).
        others: of the same shape.

    Returns:
        float32 (N,), from -1 to 1.
    """
    if maps.shape != others.shape:
        raise CourseError(
            f"Maps of shape {tuple(maps.shape)} and {tuple(others.shape)} cannot be "
            "compared; expected two maps of the same size for each image."
        )
    one, other = (_centred_ranks(values) for values in (maps, others))
    scale = one.norm(dim=1) * other.norm(dim=1)
    return (one * other).sum(dim=1).div(scale.clamp(min=1e-12)).float()


def _centred_ranks(maps: Tensor) -> Tensor:
    ranks = torch.from_numpy(rankdata(as_maps(maps).flatten(1).numpy(), axis=1))
    return ranks - ranks.mean(dim=1, keepdim=True)


# Against the prediction: take away what the map marks ------------------------------


@kinds_checked
def deletion(
    model: Model,
    images: Tensor,
    maps: Tensor,
    classes: int | Tensor,
    steps: int = 16,
    insertion: bool = False,
    fill: str = "mean",
) -> Tensor:
    """Return how a class's probability changes as the hottest pixels are taken away.

    Petsiuk et al. 2018 (arXiv 1806.07421). For a good map it falls fast; with
    `insertion` the pixels are put back, hottest first, and it rises fast.

    Args:
        model: has a head.
        images: uint8 (N, 3, H, W), square, as the network sees them.
        maps: (N, h, w), or (1, h, w) for all; coarse ones are enlarged.
        classes: one for all images, or int64 (N,).
        steps: portions of equal size in which the pixels go.
        insertion: begin without any pixel and put them back.
        fill: what stands in their place: ``"mean"``, the image's mean colour, or
            ``"blur"``, the image so blurred that its object is gone.

    Returns:
        float32 (N, steps + 1), from no pixel changed to all.
    """
    batch, empty = as_batch(images), filled(images, fill)
    if steps < 1:
        raise CourseError(f"Deletion in {steps} steps; expected at least 1 step.")
    order = _hottest_first(maps, batch)
    start, end = (empty, batch) if insertion else (batch, empty)
    curve = []
    for step in range(steps + 1):
        changed = order < round(step * order[0].numel() / steps)
        logits = model.logits(torch.where(changed[:, None], end, start))
        curve.append(chosen(logits.softmax(dim=1), classes))
    return torch.stack(curve, dim=1)


def _hottest_first(maps: Tensor, batch: Tensor) -> Tensor:
    """Return the place of each pixel in the order of its heat, int64 (N, H, W)."""
    heat = enlarged(_one_each(maps, batch), tuple(batch.shape[2:])).flatten(1)
    order = heat.argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1).view(len(batch), *batch.shape[2:])


@kinds_checked
def filled(images: Tensor, fill: str) -> Tensor:
    """Return images without their objects, as `deletion` uses them.

    Args:
        images: uint8 (N, 3, H, W).
        fill: ``"mean"``, each image's mean colour, or ``"blur"``, so blurred that
            nothing smaller than a quarter of the image is left.
    """
    batch = as_batch(images)
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    if fill == "mean":
        mean = batch.float().mean(dim=(2, 3), keepdim=True)
        return mean.round().to(torch.uint8).expand_as(batch)
    size = batch.shape[-1]
    return gaussian_blur(batch, [size // 4 * 2 + 1] * 2, [size / 8] * 2)


@kinds_checked
def area(curves: Tensor) -> Tensor:
    """Return the area under curves (N, steps + 1) over a width of 1, as (N,)."""
    if curves.shape[1] < 2:
        raise CourseError("A curve of one point has no area; expected at least two.")
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)


def _as_masks(masks: Tensor) -> Tensor:
    if not isinstance(masks, Tensor) or masks.ndim != 3 or masks.dtype != torch.bool:
        what = getattr(masks, "dtype", type(masks).__name__)
        shape = tuple(getattr(masks, "shape", ()))
        raise CourseError(
            f"Masks came as {what} of shape {shape}; expected bool (N, H, W), True on "
            "the object."
        )
    return masks.cpu()


def _one_each(maps: Tensor, images: Tensor) -> Tensor:
    """Return a map for each image; a single one is for all of them."""
    if as_maps(maps).shape[0] not in (1, len(images)):
        raise CourseError(
            f"There are {len(maps)} maps for {len(images)} images; expected one for "
            "each, or a single one for all."
        )
    return as_maps(maps).expand(len(images), -1, -1)
