"""Exercises of chapter 04: a Grad-CAM map, what it is worth, and a broken cue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from course.exercises.base import KINDS, Case, Exercise, Mistake, seeded

TEN_LINES, SCORED = "1 · Grad-CAM in ten lines", "3 · Scored against the truth"


def _between(low: int, high: int, chance: Generator) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=chance))


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


MapOf = Callable[[Tensor, Tensor], Tensor]


def _weighted(weigh: Callable[[Tensor], Tensor]) -> MapOf:
    """Make an answer that is right but for how it makes weights of the gradients."""

    def answer(activations: Tensor, gradients: Tensor) -> Tensor:
        return (weigh(gradients) * activations).sum(dim=0).relu()

    return answer


def _finished(finish: Callable[[Tensor], Tensor]) -> MapOf:
    """Make an answer that is right but for what becomes of the weighted maps."""

    def answer(activations: Tensor, gradients: Tensor) -> Tensor:
        return finish(gradients.mean(dim=(1, 2), keepdim=True) * activations)

    return answer


def _swapped(activations: Tensor, gradients: Tensor) -> Tensor:
    return grad_cam_map_reference(gradients, activations)


def _unweighted(activations: Tensor, gradients: Tensor) -> Tensor:
    return activations.sum(dim=0).relu()


def _scaled_to_one(weighted: Tensor) -> Tensor:
    heat = weighted.sum(dim=0).relu()
    return heat / heat.max()


def _map_case(activations: Tensor, gradients: Tensor, part: str) -> Case:
    shown = f"grad_cam_map(maps {tuple(activations.shape)}, …)"
    return Case((activations, gradients), shown, part)


def _map_cases() -> list[Case]:
    cases = []
    for seed, shape in enumerate([(3, 4, 4), (8, 2, 3), (5, 7, 5)]):
        activations = torch.randn(shape, generator=seeded(seed))
        gradients = torch.randn(shape, generator=seeded(seed + 10)) + 0.2
        cases.append(_map_case(activations, gradients, "the plain case"))
    maps = torch.rand(3, 3, 4, generator=seeded(3)) + 0.1
    slopes = torch.rand(3, 3, 4, generator=seeded(4)) + 0.1
    cell, slope = maps[:, :1, :1] * torch.tensor([2, -1, 1])[:, None, None], slopes
    return [
        *cases,
        _map_case(maps, -slopes, "nothing speaks for the class"),
        _map_case(maps[:1], slopes[:1], "one channel"),
        _map_case(cell, slope[:, :1, :1], "a layer of one cell"),
    ]


def _drawn_maps(chance: Generator) -> Case:
    shape = tuple(_between(1, most, chance) for most in (5, 4, 5))
    scale = torch.rand(1, generator=chance).item() * 3 + 0.1
    activations = torch.randn(shape, generator=chance) * scale
    gradients = torch.randn(shape, generator=chance)
    return _map_case(activations, gradients, "the plain case")


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
    cases=_map_cases,
    place=TEN_LINES,
    draw=_drawn_maps,
    mistakes=(
        Mistake(
            _finished(lambda weighted: weighted.sum(dim=0)),
            "What speaks against the class is left in: add .relu().",
            "ReLU left out",
        ),
        Mistake(
            _finished(lambda weighted: weighted.relu().sum(dim=0)),
            "The ReLU came before the sum, so no channel can speak against another.",
            "ReLU before the sum",
        ),
        Mistake(
            _finished(lambda weighted: weighted.sum(dim=0).abs()),
            "The size was taken (abs): what speaks against the class must become zero.",
            "abs instead of ReLU",
        ),
        Mistake(
            _finished(lambda weighted: weighted.mean(dim=0).relu()),
            "The channels were averaged: the weighted maps are summed over them.",
            "channels averaged",
        ),
        Mistake(
            _finished(_scaled_to_one),
            "The map was divided by its maximum, which may be zero: leave its scale.",
            "scaled to its maximum",
        ),
        Mistake(
            _weighted(lambda gradients: gradients),
            "The gradients were not averaged: a channel has one weight, not many.",
            "gradients not averaged",
        ),
        Mistake(
            _weighted(lambda gradients: gradients.mean(dim=0)),
            "The mean ran over the channels (dim=0): average over height and width.",
            "mean over the wrong axis",
        ),
        Mistake(
            _weighted(lambda gradients: gradients.sum(dim=(1, 2), keepdim=True)),
            "The gradients were summed: their mean over height and width is asked.",
            "gradients summed",
        ),
        Mistake(
            _weighted(lambda gradients: gradients.mean(dim=(2, 3), keepdim=True)),
            "Here is one image, (C, h, w), and no batch: its height and width are the "
            "dimensions 1 and 2.",
            "axes of a batch",
        ),
        Mistake(
            _weighted(lambda gradients: gradients.mean(dim=(1, 2))),
            "Weights of shape (C,) meet the last axis of the maps, their width: give "
            "them two more axes, [:, None, None].",
            "broadcast without new axes",
        ),
        Mistake(
            _swapped,
            "Activations and gradients changed places: the gradients are averaged.",
            "activations and gradients swapped",
        ),
        Mistake(
            _unweighted,
            "The gradients were not used: where is the class?",
            "gradients not used",
        ),
    ),
)


CHANGES = (
    "logit doubled",
    "bias raised",
    "rivals doubled",
    "idle channel",
    "gradients summed",
    "channel raised",
    "early ReLU",
    "probability asked",
)
OUTCOMES = ("same", "scaled", "other")


def forecast_reference(change: str) -> str:
    """Say what becomes of a map by a change: "same", "scaled" or "other".

    This does not predict, it runs: a small layer with six channels and a head for
    three classes, explained for the first of them before and after the change.

    Args:
        change: one of the eight of the cell above.
    """

    def map_of_first(
        maps: torch.Tensor, head: torch.Tensor, bias: torch.Tensor, how: str
    ) -> torch.Tensor:
        maps = maps.clone().requires_grad_()
        scores = head @ maps.mean(dim=(1, 2)) + bias
        scores = scores.softmax(dim=0) if how == "probability asked" else scores
        slopes = torch.autograd.grad(scores[0], maps)[0].flatten(1)
        weights = slopes.sum(dim=1) if how == "gradients summed" else slopes.mean(dim=1)
        parts = weights[:, None, None] * maps.detach()
        parts = parts.relu() if how == "early ReLU" else parts
        return parts.sum(dim=0).relu()

    chance = torch.Generator().manual_seed(1)
    maps = torch.rand(6, 4, 4, generator=chance)
    head = torch.tensor(
        [[2, -3, 0, 2, -1, 1.0], [1, 2, -1, 0, 2, -2], [0, 1, 2, 1, -1, 1]]
    )
    bias = torch.zeros(3)
    with torch.enable_grad():
        before = map_of_first(maps, head, bias, "")
        if change == "logit doubled":
            head[0] *= 2
            bias[0] *= 2
        elif change == "bias raised":
            bias[0] += 5
        elif change == "rivals doubled":
            head[1:] *= 2
        elif change == "idle channel":  # its weight in the first row is zero
            maps[2] *= 100
        elif change == "channel raised":  # its weight in the first row is positive
            maps[0] += 1
        after = map_of_first(maps, head, bias, change)
    if torch.allclose(before, after):
        return "same"
    factor = after.sum() / before.sum()
    return "scaled" if torch.allclose(factor * before, after) else "other"


def _forecast_given(change: str) -> Any:
    """Say what becomes of the map by a change: "same", "scaled" or "other"."""
    return {
        "logit doubled": ...,
        "bias raised": ...,
        "rivals doubled": ...,
        "idle channel": ...,
        "gradients summed": ...,
        "channel raised": ...,
        "early ReLU": ...,
        "probability asked": ...,
    }[change]


_WHY = {
    "logit doubled": "The gradient of a doubled score is doubled at every place, and "
    "one factor passes through the sum and the ReLU: the map is scaled.",
    "bias raised": "The bias is added after the maps and is gone from the gradient: "
    "the logit grows, and the map stays the same.",
    "rivals doubled": "The other classes are not in this class's logit, only in its "
    "probability: the map stays the same.",
    "idle channel": "The channel's weight is zero, so it adds nothing, however bright "
    "it is: the map stays the same.",
    "gradients summed": "A sum is the mean times the number of cells, which is one "
    "factor for all the channels: the map is scaled.",
    "channel raised": "Each cell gets the same amount more, and adding is not "
    "multiplying: warm and cold cells change their proportion.",
    "early ReLU": "Cut before the sum, what speaks against the class no longer lowers "
    "a cell: cells change by different amounts.",
    "probability asked": "The softmax divides by all classes, so what speaks for the "
    "rivals is subtracted: the channels get other weights.",
}


def _mispredicted(change: str, outcome: str) -> Mistake:
    """Return the answer that is wrong about one change, and right about the others."""

    def answer(asked: str) -> str:
        return outcome if asked == change else forecast_reference(asked)

    return Mistake(answer, _WHY[change], f"{change} taken for {outcome}")


def _as_word(outcome: Any, change: str) -> Any:
    return outcome.strip().lower() if isinstance(outcome, str) else outcome


forecast = Exercise(
    name="forecast",
    title="What becomes of the map?",
    minutes=8,
    difficulty="medium",
    trains="knowing what a map depends on before you look at one",
    hints=(
        "The map is ReLU(sum of alpha_k A_k). Which of the three does a change touch?",
        "alpha_k is a gradient: what is added to the score is gone from it, and what "
        "multiplies the score multiplies it.",
        "Three changes leave the map the same. Two multiply every alpha_k by one "
        "number. Three change the cells by different amounts, or the channels.",
    ),
    reference=forecast_reference,
    cases=lambda: [Case.of("forecast", change, part=change) for change in CHANGES],
    kind=KINDS[2],
    place=TEN_LINES,
    given=_forecast_given,
    observe=_as_word,
    mistakes=tuple(
        _mispredicted(change, outcome)
        for change in CHANGES
        for outcome in OUTCOMES
        if outcome != forecast_reference(change)
    ),
)


def energy_inside_reference(heat: Tensor, mask: Tensor) -> float:
    """Return the share of a map's energy that lies on the object.

    Args:
        heat: (H, W), nowhere below zero, not zero everywhere.
        mask: bool (H, W), True on the object.
    """
    return (heat[mask].sum() / heat.sum()).item()


Score = Callable[[Tensor, Tensor], float]


def _number(of: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """Make an answer from what it returns as a tensor of one value."""
    return lambda heat, mask: of(heat, mask).item()


def _overlap(heat: Tensor, mask: Tensor) -> Tensor:
    warm = heat > heat.mean()
    return (warm & mask).sum() / (warm | mask).sum()


def _row_by_row(heat: Tensor, mask: Tensor) -> Tensor:
    return (heat * mask).sum(dim=1) / heat.sum(dim=1)


def _energy_case(heat: Tensor, mask: Tensor, part: str = "the plain case") -> Case:
    shown = f"energy_inside(heat {tuple(heat.shape)}, mask)"
    return Case((heat, mask), shown, part)


def _energy_cases() -> list[Case]:
    """Return maps with masks: on the peak, beside it, and the two ends of the scale."""
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
        found.append(_energy_case(heat, mask))
    heat, mask = found[0].arguments
    all_of_it, none_of_it = "all the heat on the object", "no heat on the object"
    found.append(_energy_case(heat * mask, mask, all_of_it))
    return [*found, _energy_case(heat * ~mask, mask, none_of_it)]


def _drawn_energy(chance: Generator) -> Case:
    height, width = _between(2, 7, chance), _between(2, 7, chance)
    heat = 5 * torch.rand(height, width, generator=chance) ** 3 + 0.01
    mask = torch.rand(height, width, generator=chance) < 0.4
    mask[_between(0, height - 1, chance), _between(0, width - 1, chance)] = True
    return _energy_case(heat, mask)


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
    place=SCORED,
    draw=_drawn_energy,
    mistakes=(
        Mistake(
            _number(lambda heat, mask: heat[mask].mean()),
            "That is the mean on the object: the share is asked.",
            "mean on the object",
        ),
        Mistake(
            _number(lambda heat, mask: heat[mask].sum()),
            "Divide by the whole map's sum: this depends on scale.",
            "not divided by the whole",
        ),
        Mistake(
            _number(lambda heat, mask: (heat * mask).mean()),
            "That is a mean over the image: divide by heat.sum().",
            "mean over the image",
        ),
        Mistake(
            _number(lambda heat, mask: heat[~mask].sum() / heat.sum()),
            "That is the share outside: use the mask as it is.",
            "the share outside",
        ),
        Mistake(
            _number(lambda heat, mask: heat[mask].sum() / heat[~mask].sum()),
            "That is inside against outside: the whole is the sum of both.",
            "inside against outside",
        ),
        Mistake(
            _number(lambda heat, mask: heat[mask].mean() / heat.mean()),
            "Two means were divided, so the mask's size is in it: divide the sums.",
            "means divided",
        ),
        Mistake(
            _number(lambda heat, mask: heat[mask].sum() / heat.max()),
            "Divide by the sum of the map and not by its largest value.",
            "divided by the largest value",
        ),
        Mistake(
            _number(lambda heat, mask: mask.float().mean()),
            "That is the mask's share of the picture: the heat was not used.",
            "share of the area",
        ),
        Mistake(
            _number(lambda heat, mask: 100 * heat[mask].sum() / heat.sum()),
            "That is in percent: a share goes from 0 to 1.",
            "percent instead of a share",
        ),
        Mistake(
            _number(_overlap),
            "That is an overlap at a threshold: no threshold is needed.",
            "overlap at a threshold",
        ),
        Mistake(
            _row_by_row,
            "That is a share for each row: sum over both axes, without a dim.",
            "sum over one axis",
        ),
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
    return bool(mask[divmod(int(heat.argmax()), heat.shape[0])])


def _row_and_column_swapped(heat: Tensor, mask: Tensor) -> bool:
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    return bool(mask[column, row])


def _coldest(heat: Tensor, mask: Tensor) -> bool:
    return points_inside_reference(-heat, mask)


def _mean_is_higher(heat: Tensor, mask: Tensor) -> bool:
    return bool(heat[mask].mean() > heat[~mask].mean())


def _half_of_the_energy(heat: Tensor, mask: Tensor) -> bool:
    return bool(heat[mask].sum() / heat.sum() > 0.5)


def _multiplied(heat: Tensor, mask: Tensor) -> bool:
    return bool((heat * mask).max() == heat.max())


def _warmest_row_and_column(heat: Tensor, mask: Tensor) -> bool:
    return bool(mask[heat.sum(dim=1).argmax(), heat.sum(dim=0).argmax()])


def _within_the_object(heat: Tensor, mask: Tensor) -> bool:
    return bool(mask.flatten()[heat[mask].argmax()])


def _anything_warm(heat: Tensor, mask: Tensor) -> bool:
    return bool((heat[mask] > heat.mean()).any())


def _middle(heat: Tensor, mask: Tensor) -> bool:
    return bool(mask[heat.shape[0] // 2, heat.shape[1] // 2])


def _index_without_a_row(heat: Tensor, mask: Tensor) -> bool:
    return bool(mask[heat.argmax()])


def _pointing_cases() -> list[Case]:
    plain = [_pointing(seeded(seed), "the plain case") for seed in range(10, 22)]
    return plain + [
        _pointing(seeded(seed), part)
        for part in ("a square map", "a map below zero")
        for seed in range(30, 34)
    ]


def _pointing(chance: Generator, part: str = "") -> Case:
    """Make a map whose peak, mean and energy need not say the same."""
    height, width = _between(4, 6, chance), _between(7, 9, chance)
    part = part or ("the plain case", "a map below zero")[_between(0, 3, chance) == 3]
    width = height if part == "a square map" else width
    top, left = _between(0, 2, chance), _between(0, width // 2 - 1, chance)
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[top : top + _between(2, 3, chance), left : left + _between(2, 4, chance)] = (
        True
    )
    heat = torch.rand(height, width, generator=chance)
    heat[mask] *= 0.2 + 1.2 * torch.rand(1, generator=chance)
    side = mask if _between(0, 1, chance) else ~mask  # the peak is on it half the time
    places = side.nonzero()
    heat[tuple(places[_between(0, len(places) - 1, chance)])] = 1.5
    heat = heat - 2 if part == "a map below zero" else heat
    shown = f"points_inside(heat ({height}, {width}), mask)"
    return Case((heat, mask), shown, part)


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
    place=SCORED,
    draw=_pointing,
    mistakes=(
        Mistake(
            _height_for_width,
            "The index was divided by the height: a row is heat.shape[1] values long.",
            "height for width",
        ),
        Mistake(
            _row_and_column_swapped,
            "Row and column changed places: the quotient is the row.",
            "row and column swapped",
        ),
        Mistake(
            _index_without_a_row,
            "A flat index was used as a row: make a row and a column of it first.",
            "flat index used as a row",
        ),
        Mistake(
            _multiplied,
            "Times the mask, all outside becomes zero, and above a peak below zero: "
            "ask the mask at the peak's place.",
            "map multiplied by the mask",
        ),
        Mistake(
            _coldest,
            "That is the smallest value: argmax finds the largest.",
            "smallest instead of largest",
        ),
        Mistake(
            _mean_is_higher,
            "That compares means: one pixel decides, the one with the largest value.",
            "means compared",
        ),
        Mistake(
            _half_of_the_energy,
            "That asks where most of the energy is: the peak alone decides.",
            "half of the energy",
        ),
        Mistake(
            _warmest_row_and_column,
            "Row and column were each found by a sum: the peak is one pixel, and need "
            "not lie in the warmest row.",
            "warmest row and warmest column",
        ),
        Mistake(
            _within_the_object,
            "heat[mask] counts through the object alone: its index means nothing in "
            "the whole map.",
            "index counted within the object",
        ),
        Mistake(
            _anything_warm,
            "That asks whether anything on the object is warm: the peak alone decides.",
            "anything warm on the object",
        ),
        Mistake(
            _middle,
            "That is the finger on the centre: the map was not used.",
            "the centre of the map",
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


BreakCue = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def _painted(colour: Callable[[Tensor, Tensor], Tensor]) -> BreakCue:
    """Make an answer that paints the right place, from labels and colours (…, 3)."""

    def answer(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
        broken = images.clone()
        broken[:, :, :side, :side] = colour(labels, colours)[..., None, None]
        return broken

    return answer


_patch_kept = _painted(lambda labels, colours: colours[labels])


def _in_place(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    images[:] = break_cue_reference(images, labels, colours, side)
    return images


def _images_moved(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    return images.roll(1, dims=0)


def _other_corner(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    wrong = (labels + 1) % len(colours)
    broken = images.clone()
    broken[:, :, -side:, -side:] = colours[wrong][:, :, None, None]
    return broken


def _no_new_axes(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    broken = images.clone()
    broken[:, :, :side, :side] = colours[(labels + 1) % len(colours)]
    return broken


def _patch_alone(images: Tensor, labels: Tensor, colours: Tensor, side: int) -> Tensor:
    return break_cue_reference(images, labels, colours, side)[:, :, :side, :side]


def _cue_case(count: int, classes: int, side: int, chance: Generator) -> Case:
    shape = (count, 3, side + _between(3, 8, chance), side + _between(3, 8, chance))
    images = torch.randint(0, 256, shape, generator=chance).byte()
    colours = torch.randint(0, 256, (classes, 3), generator=chance).byte()
    labels = torch.randint(0, classes, (count,), generator=chance)
    last = bool((labels == classes - 1).any())
    planted = _patch_kept(images, labels, colours, side)
    shown = f"break_cue(images {shape}, labels, colours ({classes}, 3), {side})"
    part = "the class after the last" if last else "the plain case"
    return Case((planted, labels, colours, side), shown, part)


def _cue_cases() -> list[Case]:
    sizes = [(6, 4, 2), (9, 5, 3), (5, 3, 4), (2, 6, 2), (3, 8, 3), (3, 9, 1)]
    return [_cue_case(*size, seeded(seed)) for seed, size in enumerate(sizes)]


def _drawn_cue(chance: Generator) -> Case:
    sizes = [_between(low, high, chance) for low, high in ((1, 5), (3, 6), (1, 4))]
    return _cue_case(*sizes, chance)


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
    place="5 · Right for the wrong reason",
    draw=_drawn_cue,
    mistakes=(
        Mistake(
            _patch_kept,
            "The patch still has the colour of its class: the cue works.",
            "cue left as it was",
        ),
        Mistake(
            _painted(lambda labels, colours: 0 * colours[:1]),
            "The patch is gone, so the images differ from training in more than the "
            "cue: give it another class's colour.",
            "patch removed",
        ),
        Mistake(
            _painted(lambda labels, colours: colours[:1]),
            "All patches have one colour, which is the right one for its class.",
            "one colour for all",
        ),
        Mistake(
            _painted(lambda labels, colours: colours[labels - 1]),
            "That is the class before: the next one is asked.",
            "class before",
        ),
        Mistake(
            _painted(lambda labels, colours: colours[labels + 1]),
            "After the last class comes none: take the rest by the number of classes, "
            "and the first one follows.",
            "wrap-around forgotten",
        ),
        Mistake(
            _painted(lambda labels, colours: colours[(labels + 1) % len(labels)]),
            "The rest was taken by the number of images: classes are counted by "
            "len(colours).",
            "modulo the number of images",
        ),
        Mistake(
            _painted(lambda labels, colours: colours[labels.roll(1)]),
            "That is the class of the neighbouring image, which may be its own: the "
            "class after its own is asked.",
            "class of another image",
        ),
        Mistake(
            _in_place,
            "The images themselves were changed: you need them intact to compare.",
            "changed in place",
        ),
        Mistake(
            _images_moved,
            "The whole images moved, with their objects: only the patch may change.",
            "whole images moved",
        ),
        Mistake(
            _other_corner,
            "That is the lower right corner: :side, not -side:.",
            "another corner",
        ),
        Mistake(
            _no_new_axes,
            "Colours (N, 3) do not fit a patch (N, 3, side, side): [:, :, None, None].",
            "broadcast without new axes",
        ),
        Mistake(
            _patch_alone,
            "Only the patch came back: the whole images are asked.",
            "only the patch returned",
        ),
    ),
    observe=_result_and_images,
)

EXERCISES = (grad_cam_map, forecast, energy_inside, points_inside, break_cue)
