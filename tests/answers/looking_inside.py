"""Answers to the exercises of chapter 04, as readers give them."""

import math

import numpy as np
import torch

from answers.kit import right, wrong
from course.exercises import looking_inside as chapter

# A Grad-CAM map by hand ------------------------------------------------------------


@right(chapter.grad_cam_map)
def channel_by_channel(activations, gradients):
    total = torch.zeros(activations.shape[1:])
    for maps, slopes in zip(activations, gradients, strict=True):
        total = total + slopes.mean() * maps
    return total.clamp(min=0)


@right(chapter.grad_cam_map)
def by_einsum(acts, grads):
    alpha = torch.einsum("chw->c", grads) / grads[0].numel()
    return torch.relu(torch.einsum("c,chw->hw", alpha, acts))


@right(chapter.grad_cam_map)
def in_numpy(activations, gradients):
    a, g = activations.numpy(), gradients.numpy()
    return np.maximum(np.tensordot(g.mean(axis=(1, 2)), a, axes=1), 0)


@right(chapter.grad_cam_map)
def as_lists(activations, gradients):
    channels, height, width = activations.shape
    alpha = [sum(g.flatten().tolist()) / (height * width) for g in gradients]
    a = activations.tolist()
    return [
        [
            max(0.0, sum(alpha[k] * a[k][i][j] for k in range(channels)))
            for j in range(width)
        ]
        for i in range(height)
    ]


@right(chapter.grad_cam_map)
def still_attached(activations, gradients):
    activations.requires_grad_()
    weights = gradients.flatten(1).mean(1).view(-1, 1, 1)
    return torch.where((weights * activations).sum(0) > 0, 1.0, 0.0) * (
        weights * activations
    ).sum(0)


@wrong(chapter.grad_cam_map, "ReLU left out", score=0.5)
def no_relu(activations, gradients):
    alpha = gradients.flatten(1).mean(dim=1)
    return torch.einsum("c,chw->hw", alpha, activations)


@wrong(chapter.grad_cam_map, "ReLU before the sum", score=0.5)
def early_relu(activations, gradients):
    total = 0
    for a, g in zip(activations, gradients, strict=True):
        total = total + torch.relu(g.mean() * a)
    return total


@wrong(chapter.grad_cam_map, "abs instead of ReLU")
def absolute(activations, gradients):
    alpha = gradients.mean(dim=(1, 2)).reshape(-1, 1, 1)
    return (alpha * activations).sum(0).abs()


@wrong(chapter.grad_cam_map, "channels averaged")
def mean_of_channels(activations, gradients):
    alpha = gradients.mean(dim=(-1, -2))
    return (alpha[:, None, None] * activations).mean(0).clamp(min=0)


@wrong(chapter.grad_cam_map, "scaled to its maximum", score=0)
def pretty(activations, gradients):
    heat = (gradients.mean((1, 2))[:, None, None] * activations).sum(0).relu()
    return heat / heat.max()


@wrong(chapter.grad_cam_map, "gradients not averaged", score=0.5)
def elementwise(activations, gradients):
    return torch.relu(torch.sum(gradients * activations, dim=0))


@wrong(chapter.grad_cam_map, "mean over the wrong axis")
def over_channels(activations, gradients):
    alpha = gradients.mean(dim=0, keepdim=True)
    return (alpha * activations).sum(dim=0).relu()


@wrong(chapter.grad_cam_map, "gradients summed")
def summed(activations, gradients):
    alpha = gradients.sum(-1).sum(-1)
    return (alpha[:, None, None] * activations).sum(0).relu()


@wrong(chapter.grad_cam_map, "axes of a batch", score=0)
def copied_from_the_batch(activations, gradients):
    alpha = gradients.mean(dim=(2, 3), keepdim=True)
    return (alpha * activations).sum(dim=1).relu()


@wrong(chapter.grad_cam_map, "broadcast without new axes")
def no_axes(activations, gradients):
    alpha = gradients.mean(dim=(1, 2))
    return (alpha * activations).sum(dim=0).relu()


@wrong(chapter.grad_cam_map, "activations and gradients swapped")
def exchanged(gradients, activations):
    alpha = gradients.mean(dim=(1, 2))[:, None, None]
    return (alpha * activations).sum(dim=0).relu()


@wrong(chapter.grad_cam_map, "gradients not used")
def brightest(activations, gradients):
    return activations.sum(0).clamp(min=0)


# What becomes of the map? ----------------------------------------------------------

SAME = ("bias raised", "rivals doubled", "idle channel")
SCALED = ("logit doubled", "gradients summed")


@right(chapter.forecast)
def a_table(change):
    return {
        "logit doubled": "scaled",
        "bias raised": "same",
        "rivals doubled": "same",
        "idle channel": "same",
        "gradients summed": "scaled",
        "channel raised": "other",
        "early ReLU": "other",
        "probability asked": "other",
    }[change]


@right(chapter.forecast)
def with_capitals(change):
    match change:
        case "bias raised" | "rivals doubled" | "idle channel":
            return "Same"
        case "logit doubled" | "gradients summed":
            return "Scaled"
    return "Other "


@right(chapter.forecast)
def in_numpy_words(change):
    words = np.array(["same", "scaled", "other"])
    return words[0 if change in SAME else 1 if change in SCALED else 2]


def but(**said):
    """Make an answer that is right but for what is said; _ stands for a blank."""

    def answer(change):
        return said.get(change.replace(" ", "_")) or by_groups(change)

    return answer


@right(chapter.forecast)
def by_groups(change):
    if change in SAME:
        return "same"
    return "scaled" if change in SCALED else "other"


for one, outcome in (
    ("bias_raised", "scaled"),
    ("bias_raised", "other"),
    ("rivals_doubled", "scaled"),
    ("idle_channel", "other"),
    ("logit_doubled", "same"),
    ("gradients_summed", "other"),
    ("channel_raised", "scaled"),
    ("early_ReLU", "scaled"),
    ("probability_asked", "same"),
):
    name = f"{one.replace('_', ' ')} taken for {outcome}"
    wrong(chapter.forecast, name, score=7 / 8)(but(**{one: outcome}))

# The first of several wrong predictions is the one that is explained.
wrong(chapter.forecast, "rivals doubled taken for scaled", score=6 / 8)(
    but(rivals_doubled="scaled", probability_asked="same")
)


@wrong(chapter.forecast, "logit doubled taken for same", score=3 / 8)
def nothing_matters(change):
    return "same"


@wrong(chapter.forecast, "bias raised taken for scaled", score=1 / 8)
def half_filled(change):
    return {"logit doubled": "scaled", "bias raised": "scaled"}.get(change, ...)


# Energy inside the object ----------------------------------------------------------


@right(chapter.energy_inside)
def product_over_sum(heat, mask):
    return (heat * mask).sum() / heat.sum()


@right(chapter.energy_inside)
def pixel_by_pixel(heat, mask):
    inside = total = 0.0
    for row, flags in zip(heat.tolist(), mask.tolist(), strict=True):
        for value, flag in zip(row, flags, strict=True):
            total += value
            inside += value if flag else 0
    return inside / total


@right(chapter.energy_inside)
def numpy_scalar(heat, mask):
    return np.sum(heat.numpy()[mask.numpy()]) / np.sum(heat.numpy())


@right(chapter.energy_inside)
def one_minus_outside(heat, mask):
    return 1 - heat.masked_select(~mask).sum().item() / heat.sum().item()


@right(chapter.energy_inside)
def zeroed_in_place(heat, mask):
    total = heat.sum()
    heat[~mask] = 0
    return float(heat.sum() / total)


@wrong(chapter.energy_inside, "mean on the object")
def average(heat, mask):
    return sum(heat[mask].tolist()) / int(mask.sum())


@wrong(chapter.energy_inside, "not divided by the whole", score=1 / 3)
def amount(heat, mask):
    return (heat * mask).sum()


@wrong(chapter.energy_inside, "mean over the image", score=1 / 3)
def image_mean(heat, mask):
    return torch.where(mask, heat, 0.0).mean().item()


@wrong(chapter.energy_inside, "the share outside", score=0)
def other_side(heat, mask):
    return 1 - (heat * mask).sum() / heat.sum()


@wrong(chapter.energy_inside, "inside against outside", score=1 / 3)
def ratio(heat, mask):
    return ((heat * mask).sum() / (heat * ~mask).sum()).item()


@wrong(chapter.energy_inside, "means divided")
def mean_ratio(heat, mask):
    return heat[mask].mean() / heat.mean()


@wrong(chapter.energy_inside, "divided by the largest value")
def by_the_peak(heat, mask):
    return heat[mask].sum() / heat.max()


@wrong(chapter.energy_inside, "share of the area", score=0)
def area(heat, mask):
    return mask.sum().item() / mask.numel()


@wrong(chapter.energy_inside, "percent instead of a share", score=1 / 3)
def percent(heat, mask):
    return ((heat * mask).sum() / heat.sum() * 100).item()


@wrong(chapter.energy_inside, "overlap at a threshold")
def iou(heat, mask):
    hot = heat > heat.mean()
    return torch.logical_and(hot, mask).sum() / torch.logical_or(hot, mask).sum()


@wrong(chapter.energy_inside, "sum over one axis")
def each_row(heat, mask):
    return (heat * mask).sum(dim=-1) / heat.sum(dim=-1)


# The pointing game -----------------------------------------------------------------


@right(chapter.points_inside)
def on_the_flat_mask(heat, mask):
    return mask.flatten()[heat.argmax()]


@right(chapter.points_inside)
def with_unravel(heat, mask):
    place = np.unravel_index(int(heat.argmax()), tuple(heat.shape))
    return mask.numpy()[place]


@right(chapter.points_inside)
def as_a_number(heat, mask):
    index = torch.argmax(heat)
    return int(mask[index // heat.shape[1], index % heat.shape[1]])


@right(chapter.points_inside)
def search(heat, mask):
    best, inside = -math.inf, False
    for i, row in enumerate(heat.tolist()):
        for j, value in enumerate(row):
            if value > best:
                best, inside = value, bool(mask[i, j])
    return inside


@right(chapter.points_inside)
def largest_on_both(heat, mask):
    return bool(heat[mask].max() >= heat.max())


@right(chapter.points_inside)
def warmest_row_first(heat, mask):
    row = heat.max(dim=1).values.argmax()
    return mask[row, heat[row].argmax()].item()


@wrong(chapter.points_inside, "height for width", score=1 / 3)
def wrong_side(heat, mask):
    index = heat.argmax().item()
    height = heat.shape[0]
    return mask[index // height, index % height].item()


@wrong(chapter.points_inside, "row and column swapped")
def transposed(heat, mask):
    y, x = divmod(heat.argmax().item(), heat.shape[1])
    return mask[x, y].item()


@wrong(chapter.points_inside, "flat index used as a row", score=0)
def flat_index(heat, mask):
    return bool(mask[torch.argmax(heat)])


@wrong(chapter.points_inside, "map multiplied by the mask", score=2 / 3)
def masked_maximum(heat, mask):
    return (heat * mask).max().item() == heat.max().item()


@wrong(chapter.points_inside, "smallest instead of largest")
def coldest(heat, mask):
    return mask.flatten()[heat.argmin()].item()


@wrong(chapter.points_inside, "means compared")
def warmer_inside(heat, mask):
    return heat[mask].mean().item() > heat[~mask].mean().item()


@wrong(chapter.points_inside, "half of the energy")
def mostly_inside(heat, mask):
    return (heat * mask).sum().item() / heat.sum().item() > 0.5


@wrong(chapter.points_inside, "warmest row and warmest column")
def by_sums(heat, mask):
    row, column = heat.sum(1).argmax().item(), heat.sum(0).argmax().item()
    return mask[row, column].item()


@wrong(chapter.points_inside, "index counted within the object")
def counted_inside(heat, mask):
    row, column = divmod(heat[mask].argmax().item(), heat.shape[1])
    return mask[row, column].item()


@wrong(chapter.points_inside, "anything warm on the object")
def something_warm(heat, mask):
    return any(value > heat.mean().item() for value in heat[mask].tolist())


@wrong(chapter.points_inside, "the centre of the map")
def finger(heat, mask):
    height, width = mask.shape
    return mask[height // 2, width // 2].item()


# Break the cue ---------------------------------------------------------------------


@right(chapter.break_cue)
def image_by_image(images, labels, colours, side):
    out = images.clone()
    for k in range(len(images)):
        nxt = (int(labels[k]) + 1) % len(colours)
        for channel in range(3):
            out[k, channel, :side, :side] = colours[nxt, channel]
    return out


@right(chapter.break_cue)
def rolled_colours(images, labels, colours, side):
    result = torch.empty_like(images).copy_(images)
    after = colours.roll(-1, dims=0)[labels]
    result[..., :side, :side] = after.view(-1, 3, 1, 1)
    return result


@right(chapter.break_cue)
def numpy_copy(images, labels, colours, side):
    copy = images.numpy().copy()
    following = np.where(labels == len(colours) - 1, 0, labels + 1)
    copy[:, :, :side, :side] = colours.numpy()[following][:, :, None, None]
    return copy


@right(chapter.break_cue)
def where_the_corner_is(images, labels, colours, side):
    corner = torch.zeros(images.shape[2:], dtype=torch.bool)
    corner[:side, :side] = True
    paint = colours[torch.remainder(labels + 1, colours.shape[0])]
    return torch.where(corner, paint[:, :, None, None], images)


@wrong(chapter.break_cue, "cue left as it was", score=0)
def untouched_copy(images, labels, colours, side):
    return images.clone()


@wrong(chapter.break_cue, "patch removed", score=0)
def blackened(images, labels, colours, side):
    broken = images.clone()
    broken[..., :side, :side] = 0
    return broken


@wrong(chapter.break_cue, "one colour for all")
def first_colour(images, labels, colours, side):
    broken = images.clone()
    for channel in range(3):
        broken[:, channel, :side, :side] = colours[0, channel]
    return broken


@wrong(chapter.break_cue, "class before")
def previous(images, labels, colours, side):
    broken = images.clone()
    before = (labels - 1) % len(colours)
    broken[:, :, :side, :side] = colours[before][:, :, None, None]
    return broken


@wrong(chapter.break_cue, "wrap-around forgotten", score=0.5)
def beyond_the_end(images, labels, colours, side):
    broken = images.clone()
    broken[:, :, :side, :side] = colours[labels + 1].reshape(-1, 3, 1, 1)
    return broken


@wrong(chapter.break_cue, "modulo the number of images", score=0)
def counted_images(images, labels, colours, side):
    broken = images.clone()
    wrong_class = (labels + 1) % len(images)
    broken[:, :, :side, :side] = colours[wrong_class][:, :, None, None]
    return broken


@wrong(chapter.break_cue, "class of another image")
def neighbour(images, labels, colours, side):
    broken = images.clone()
    others = torch.cat([labels[-1:], labels[:-1]])
    broken[:, :, :side, :side] = colours[others][:, :, None, None]
    return broken


@wrong(chapter.break_cue, "changed in place", score=0)
def no_clone(images, labels, colours, side):
    paint = colours[(labels + 1) % len(colours)]
    images[:, :, :side, :side] = paint[:, :, None, None]
    return images


@wrong(chapter.break_cue, "whole images moved")
def shifted(images, labels, colours, side):
    return torch.cat([images[-1:], images[:-1]])


@wrong(chapter.break_cue, "another corner", score=0)
def lower_right(images, labels, colours, side):
    broken = images.clone()
    paint = colours[(labels + 1) % len(colours)]
    broken[:, :, -side:, -side:] = paint[:, :, None, None]
    return broken


@wrong(chapter.break_cue, "broadcast without new axes")
def flat_colours(images, labels, colours, side):
    paint = colours[(labels + 1) % len(colours)]
    broken = images.clone()
    broken[:, :, :side, :side] = paint
    return broken


@wrong(chapter.break_cue, "only the patch returned", score=0)
def patches(images, labels, colours, side):
    paint = colours[(labels + 1) % len(colours)]
    return paint[:, :, None, None].repeat(1, 1, side, side)
