"""Exercises of chapter 04: a Grad-CAM map, what it is worth, and a broken cue."""

from __future__ import annotations

import torch
from torch import Tensor

from course.exercises.base import Case, Exercise, Mistake, seeded


def grad_cam_map_reference(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return the Grad-CAM map of one image.

    Args:
        activations: (C, h, w), the maps of a layer.
        gradients: (C, h, w), of the class logit with respect to them.

    Returns:
        (h, w), nowhere below zero.
    """
    weights = gradients.mean(dim=(1, 2))
    return (weights[:, None, None] * activations).sum(dim=0).relu()


def _without_relu(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean(dim=(1, 2))[:, None, None] * activations).sum(dim=0)


def _relu_on_each_channel(activations: Tensor, gradients: Tensor) -> Tensor:
    weights = gradients.mean(dim=(1, 2))[:, None, None]
    return (weights * activations).relu().sum(dim=0)


def _not_averaged(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients * activations).sum(dim=0).relu()


def _averaged_over_channels(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean(dim=0) * activations).sum(dim=0).relu()


def _weights_summed(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.sum(dim=(1, 2))[:, None, None] * activations).sum(dim=0).relu()


def _channels_averaged(activations: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean(dim=(1, 2))[:, None, None] * activations).mean(dim=0).relu()


def _swapped(activations: Tensor, gradients: Tensor) -> Tensor:
    return grad_cam_map_reference(gradients, activations)


def _unweighted(activations: Tensor, gradients: Tensor) -> Tensor:
    return activations.sum(dim=0).relu()


def _maps_cases() -> list[Case]:
    cases = []
    for seed, shape in enumerate([(3, 4, 4), (8, 2, 3), (5, 7, 5)]):
        activations = torch.randn(shape, generator=seeded(seed))
        gradients = torch.randn(shape, generator=seeded(seed + 10)) + 0.2
        cases.append(Case((activations, gradients), f"grad_cam_map(maps {shape}, …)"))
    return cases


grad_cam_map = Exercise(
    name="grad_cam_map",
    title="A Grad-CAM map by hand",
    minutes=6,
    difficulty="medium",
    trains="what each term of Grad-CAM does",
    hints=(
        "One weight for each channel: how strongly does the logit grow with it?",
        "gradients.mean(dim=(1, 2)) has shape (C,); [:, None, None] fits it to maps.",
        "Multiply, sum over dim=0, and only then cut off what is below zero: .relu().",
    ),
    reference=grad_cam_map_reference,
    cases=_maps_cases,
    mistakes=(
        Mistake(
            _without_relu, "What speaks against the class is left in: add .relu()."
        ),
        Mistake(
            _relu_on_each_channel,
            "The ReLU came before the sum, so no channel can speak against another.",
        ),
        Mistake(
            _not_averaged,
            "The gradients were not averaged: a channel has one weight, not many.",
        ),
        Mistake(
            _averaged_over_channels,
            "The mean ran over the channels (dim=0): average over height and width.",
        ),
        Mistake(
            _weights_summed,
            "The gradients were summed: their mean over height and width is asked.",
        ),
        Mistake(
            _channels_averaged,
            "The channels were averaged: the weighted maps are summed over them.",
        ),
        Mistake(_swapped, "Activations and gradients changed places."),
        Mistake(_unweighted, "The gradients were not used: where is the class?"),
    ),
)


def energy_inside_reference(heat: Tensor, mask: Tensor) -> float:
    """Return the share of a map's energy that lies on the object.

    Args:
        heat: (H, W), nowhere below zero, not zero everywhere.
        mask: bool (H, W), True on the object.
    """
    return (heat[mask].sum() / heat.sum()).item()


def _mean_inside(heat: Tensor, mask: Tensor) -> float:
    return heat[mask].mean().item()


def _total_inside(heat: Tensor, mask: Tensor) -> float:
    return heat[mask].sum().item()


def _over_the_image(heat: Tensor, mask: Tensor) -> float:
    return (heat * mask).mean().item()


def _energy_outside(heat: Tensor, mask: Tensor) -> float:
    return 1 - energy_inside_reference(heat, mask)


def _against_the_outside(heat: Tensor, mask: Tensor) -> float:
    return (heat[mask].sum() / heat[~mask].sum()).item()


def _by_mask_size(heat: Tensor, mask: Tensor) -> float:
    return (heat[mask].sum() / mask.sum() / heat.max()).item()


def _overlap(heat: Tensor, mask: Tensor) -> float:
    warm = heat > heat.mean()
    return ((warm & mask).sum() / (warm | mask).sum()).item()


def _scored_cases() -> list[tuple[Tensor, Tensor, str]]:
    """Return maps with masks: a disc on the peak, one beside it, a strip."""
    found = []
    for seed, (height, width) in enumerate([(6, 8), (9, 5), (12, 12), (7, 11)]):
        heat = torch.rand(height, width, generator=seeded(seed)) + 0.05
        row, column = 1 + seed, (width - 2) if seed % 2 else 1
        heat[row, column] = 3.0
        mask = torch.zeros(height, width, dtype=torch.bool)
        if seed % 2:
            mask[row : row + 2, column - 1 : column + 1] = True
        else:
            mask[height // 2 :, width // 2 :] = True
        found.append((heat, mask, f"({height}, {width})"))
    return found


def _energy_cases() -> list[Case]:
    return [
        Case((heat, mask), f"energy_inside(heat {size}, mask)")
        for heat, mask, size in _scored_cases()
    ]


energy_inside = Exercise(
    name="energy_inside",
    title="Energy inside the object",
    minutes=4,
    difficulty="easy",
    trains="turning a picture into a number",
    hints=(
        "A share is a part divided by the whole: which part, and which whole?",
        "heat[mask] are the values on the object.",
        "heat[mask].sum() / heat.sum(), and .item() makes it a number.",
    ),
    reference=energy_inside_reference,
    cases=_energy_cases,
    mistakes=(
        Mistake(_mean_inside, "That is the mean on the object: the share is asked."),
        Mistake(_total_inside, "Divide by the whole map's sum: this depends on scale."),
        Mistake(
            _over_the_image, "That is a mean over the image: divide by heat.sum()."
        ),
        Mistake(_energy_outside, "That is the share outside: use the mask as it is."),
        Mistake(
            _against_the_outside,
            "That is inside against outside: the whole is the sum of both.",
        ),
        Mistake(_by_mask_size, "The mask's size has no place here: divide by the sum."),
        Mistake(_overlap, "That is an overlap at a threshold: no threshold is needed."),
    ),
)


def points_inside_reference(heat: Tensor, mask: Tensor) -> bool:
    """Say whether the largest value of a map lies on the object: the pointing game.

    Args:
        heat: (H, W).
        mask: bool (H, W), True on the object.
    """
    row, column = divmod(heat.argmax().item(), heat.shape[1])
    return bool(mask[row, column])


def _height_for_width(heat: Tensor, mask: Tensor) -> bool:
    row, column = divmod(heat.argmax().item(), heat.shape[0])
    return bool(mask[row % mask.shape[0], column])


def _row_and_column_swapped(heat: Tensor, mask: Tensor) -> bool:
    row, column = divmod(heat.argmax().item(), heat.shape[1])
    return bool(mask[column % mask.shape[0], row % mask.shape[1]])


def _coldest(heat: Tensor, mask: Tensor) -> bool:
    return points_inside_reference(-heat, mask)


def _mean_is_higher(heat: Tensor, mask: Tensor) -> bool:
    return bool(heat[mask].mean() > heat[~mask].mean())


def _half_of_the_energy(heat: Tensor, mask: Tensor) -> bool:
    return energy_inside_reference(heat, mask) > 0.5


# Each of these cases is answered wrongly by one of the mistakes below, by it alone.
_POINTING_SEEDS = (10, 11, 12, 48, 122, 102)


def _pointing_cases() -> list[Case]:
    return [_pointing_case(seed) for seed in _POINTING_SEEDS]


def _pointing_case(seed: int) -> Case:
    """Make a map whose peak, mean and energy need not say the same."""
    chance = seeded(seed)
    height, width, top, left, high, wide = (
        torch.randint(low, end, (1,), generator=chance).item()
        for low, end in ((4, 7), (7, 10), (0, 3), (0, 4), (2, 5), (2, 6))
    )
    heat = torch.rand(height, width, generator=chance)
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[top : top + high, left : left + wide] = True
    heat[mask] *= 0.2 + 1.6 * torch.rand(1, generator=chance)
    return Case((heat, mask), f"points_inside(heat ({height}, {width}), mask)")


points_inside = Exercise(
    name="points_inside",
    title="The pointing game",
    minutes=5,
    difficulty="easy",
    trains="from a flat index to a row and a column",
    hints=(
        "heat.argmax() counts through the rows, as if they stood in one line.",
        "Divide by the width: the quotient is the row, the rest is the column.",
        "row, column = divmod(heat.argmax().item(), heat.shape[1]); ask mask there.",
    ),
    reference=points_inside_reference,
    cases=_pointing_cases,
    mistakes=(
        Mistake(
            _height_for_width,
            "The index was divided by the height: a row is heat.shape[1] values long.",
        ),
        Mistake(
            _row_and_column_swapped,
            "Row and column changed places: the quotient is the row.",
        ),
        Mistake(_coldest, "That is the smallest value: argmax finds the largest."),
        Mistake(
            _mean_is_higher,
            "That compares means: one pixel decides, the one with the largest value.",
        ),
        Mistake(
            _half_of_the_energy,
            "That asks where most of the energy is: the peak alone decides.",
        ),
    ),
)


def break_cue_reference(
    images: Tensor, labels: Tensor, colours: Tensor, side: int
) -> Tensor:
    """Return a copy of images whose corner patch has the colour of the next class.

    Nothing else may change: neither the object, nor the patch's size and place. The
    class after the last one is the first.

    Args:
        images: uint8 (N, 3, H, W), with a patch in the upper left corner.
        labels: int64 (N,), the true classes.
        colours: uint8 (classes, 3), the patch colour of each class in training.
        side: height and width of the patch, in pixels.
    """
    wrong = (labels + 1) % len(colours)
    broken = images.clone()
    broken[:, :, :side, :side] = colours[wrong][:, :, None, None]
    return broken


def _patch_kept(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    broken = images.clone()
    broken[:, :, :side, :side] = colours[labels][:, :, None, None]
    return broken


def _patch_removed(
    images: Tensor, labels: Tensor, colours: Tensor, side: int
) -> Tensor:
    broken = images.clone()
    broken[:, :, :side, :side] = 0
    return broken


def _one_colour_for_all(
    images: Tensor, labels: Tensor, colours: Tensor, side: int
) -> Tensor:
    broken = images.clone()
    broken[:, :, :side, :side] = colours[0][None, :, None, None]
    return broken


def _in_place(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    wrong = (labels + 1) % len(colours)
    images[:, :, :side, :side] = colours[wrong][:, :, None, None]
    return images


def _images_moved(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    return images.roll(1, dims=0)


def _other_corner(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    wrong = (labels + 1) % len(colours)
    broken = images.clone()
    broken[:, :, -side:, -side:] = colours[wrong][:, :, None, None]
    return broken


def _class_before(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    return break_cue_reference(images, labels - 2, colours, side)


def _cue_cases() -> list[Case]:
    cases = []
    for seed, (count, classes, side) in enumerate([(6, 4, 2), (9, 5, 3), (5, 3, 4)]):
        shape = (count, 3, 10, 12)
        images = torch.randint(0, 256, shape, generator=seeded(seed)).byte()
        colours = torch.randint(0, 256, (classes, 3), generator=seeded(seed + 10))
        labels = torch.arange(count) % classes
        planted = _patch_kept(images, labels, colours.byte(), side)
        shown = f"break_cue(images {shape}, labels, colours ({classes}, 3), {side})"
        cases.append(Case((planted, labels, colours.byte(), side), shown))
    return cases


def _result_and_images(result: Tensor, images: Tensor, *_: object) -> list[Tensor]:
    """Compare the copy, and the images that were to stay as they are."""
    return [result, images]


break_cue = Exercise(
    name="break_cue",
    title="Break the cue",
    minutes=6,
    difficulty="medium",
    trains="a test that only a network without the shortcut can pass",
    hints=(
        "Change the cue and nothing else; work on images.clone().",
        "(labels + 1) % len(colours) is the next class, colours[…] its colour (N, 3).",
        "broken[:, :, :side, :side] = colours[wrong][:, :, None, None].",
    ),
    reference=break_cue_reference,
    cases=_cue_cases,
    mistakes=(
        Mistake(
            _patch_kept, "The patch still has the colour of its class: the cue works."
        ),
        Mistake(
            _patch_removed,
            "The patch is gone, so the images differ from training in more than the "
            "cue: give it another class's colour.",
        ),
        Mistake(
            _one_colour_for_all,
            "All patches have one colour, which is the right one for its class.",
        ),
        Mistake(
            _in_place,
            "The images themselves were changed: you need them intact to compare.",
        ),
        Mistake(
            _images_moved,
            "The whole images moved, with their objects: only the patch may change.",
        ),
        Mistake(_other_corner, "That is the lower right corner: :side, not -side:."),
        Mistake(_class_before, "That is the class before: the next one is asked."),
    ),
    observe=_result_and_images,
)

EXERCISES = (grad_cam_map, energy_inside, points_inside, break_cue)
