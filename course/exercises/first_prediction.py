"""Exercises of chapter 00: from an image to named probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.base import Case, Exercise, Mistake, seeded

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
OURS = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)  # those of the course's own models

# What one does with images; each is what a chapter of this course does.
PURPOSES = (
    "compute the gradient of the loss",
    "fit the linear probe on frozen features",
    "measure the mean and std of the pixels",
    "choose the learning rate",
    "choose the layer that features are taken from",
    "choose the augmentation",
    "decide when to stop training",
    "decide how certain an answer must be to be shown",
    "report the accuracy once everything is chosen",
    "compare two finished models in the final table",
)

Pairs = list[tuple[int, float]]
Floats = Sequence[float]


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    """Return a random whole number between two, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _three(low: float, high: float, generator: torch.Generator) -> tuple[float, ...]:
    """Return a random number for each channel."""
    values = low + (high - low) * torch.rand(3, generator=generator)
    return tuple(round(value, 2) for value in values.tolist())


def top_k_reference(logits: Tensor, k: int) -> Pairs:
    """Return the k most likely classes as (index, probability), best first.

    Args:
        logits: (classes,) scores of one image.
        k: how many to return.
    """
    probabilities = torch.softmax(logits, dim=0)
    values, indices = probabilities.topk(k)
    return list(zip(indices.tolist(), values.tolist(), strict=True))


def _largest(score: Callable[[Tensor], Tensor]) -> Callable[[Tensor, int], Pairs]:
    """Return an answer that takes other scores for the probabilities."""

    def answer(logits: Tensor, k: int) -> Pairs:
        values, indices = score(logits).topk(k)
        return list(zip(indices.tolist(), values.tolist(), strict=True))

    return answer


def _least_likely(logits: Tensor, k: int) -> Pairs:
    values, indices = torch.softmax(logits, dim=0).topk(k, largest=False)
    return list(zip(indices.tolist(), values.tolist(), strict=True))


def _softmax_over_chosen(logits: Tensor, k: int) -> Pairs:
    values, indices = logits.topk(k)
    return list(zip(indices.tolist(), values.softmax(0).tolist(), strict=True))


def _looked_up(logits: Tensor, k: int) -> Pairs:
    values = torch.softmax(logits, dim=0).tolist()
    return [(values.index(p), p) for p in sorted(values, reverse=True)[:k]]


def _ties_by_number(pairs: Any, logits: Tensor, k: int) -> Any:
    """Return the pairs with tied classes by number, as their order is left open."""
    scores = logits.tolist()
    tied = {s: [i for i, other in enumerate(scores) if other == s] for s in scores}
    try:
        places = [int(place) for place, _ in pairs]
        if places != [place for place, _ in pairs] or min(places) < 0:
            return pairs
        if len(set(places)) < len(places):
            return pairs
        values = [value for _, value in pairs]
        renamed = [tied[scores[place]].pop(0) for place in places]
        return list(zip(renamed, values, strict=True))
    except Exception:  # no pairs: compared as it is
        return pairs


def _top_k_cases() -> list[Case]:
    cases = []
    for seed, (classes, k) in enumerate([(5, 3), (10, 1), (10, 3), (37, 5)]):
        logits = 3 * torch.randn(classes, generator=seeded(seed))
        cases.append(Case((logits, k), f"top_k(logits of {classes} classes, k={k})"))
    large = torch.tensor([1000.0, 999.0, 997.0])
    cases.append(Case.of("top_k", large, 2, part="large logits"))
    tied = torch.tensor([1.0, 2.0, 2.0, 0.0])
    cases.append(Case.of("top_k", tied, 2, part="ties"))
    return cases


def _draw_top_k(generator: torch.Generator) -> Case:
    classes, kind = _whole(2, 12, generator), _whole(0, 2, generator)
    logits = 3 * torch.randn(classes, generator=generator)
    if kind == 1:
        logits = logits.round()
    k = _whole(1, min(classes, 5), generator)
    part = ("the plain case", "ties", "large logits")[kind]
    return Case.of("top_k", logits + 1000 * (kind == 2), k, part=part)


top_k = Exercise(
    name="top_k",
    title="The k most likely classes",
    minutes=5,
    difficulty="easy",
    trains="the way from logits to probabilities",
    kind="write a function",
    place="2 · What the three lines hide",
    hints=(
        "Logits are not probabilities: which function makes them positive, with sum 1?",
        "torch.softmax(logits, dim=0) gives probabilities; Tensor.topk sorts them.",
        "values, indices = probabilities.topk(k); then pair indices.tolist() with "
        "values.tolist(), index first.",
    ),
    reference=top_k_reference,
    cases=_top_k_cases,
    draw=_draw_top_k,
    observe=_ties_by_number,
    mistakes=(
        Mistake(
            _largest(lambda logits: logits),
            "These are logits: take their softmax first.",
            "logits instead of probabilities",
        ),
        Mistake(
            _softmax_over_chosen,
            "The softmax was taken over the chosen k only: take it over all classes, "
            "then choose.",
            "softmax over the chosen only",
        ),
        Mistake(
            lambda logits, k: top_k_reference(logits, k)[::-1],
            "The order is upside down: most likely first.",
            "upside down",
        ),
        Mistake(
            _least_likely,
            "These are the least likely classes: sort descending.",
            "the least likely classes",
        ),
        Mistake(
            lambda logits, k: [(p, i) for i, p in top_k_reference(logits, k)],
            "Each pair is (index, probability), in this order.",
            "pairs the wrong way round",
        ),
        Mistake(
            lambda logits, k: sorted(top_k_reference(logits, k)),
            "They stand in the order of their index: sort by probability.",
            "sorted by index",
        ),
        Mistake(
            _largest(torch.sigmoid),
            "A sigmoid looks at each logit alone, and its values have no sum of 1: the "
            "softmax divides by the sum over all classes.",
            "sigmoid instead of softmax",
        ),
        Mistake(
            _largest(lambda logits: logits.log_softmax(dim=0)),
            "These are logarithms of probabilities: softmax, not log_softmax.",
            "logarithms of probabilities",
        ),
        Mistake(
            _largest(lambda logits: logits.exp() / logits.exp().sum()),
            "The exponential of a large logit is infinite: subtract the largest logit "
            "first, or let torch.softmax do it.",
            "exponentials overflow",
        ),
        Mistake(
            _looked_up,
            "Looking a probability up finds the first class that has it, so that of "
            "two equal classes one comes twice: sort the indices, as topk does.",
            "a tied class twice",
        ),
        Mistake(
            lambda logits, k: tuple(torch.softmax(logits, dim=0).topk(k)),
            "That is what topk returns, all values and then all indices: zip them into "
            "pairs, index first.",
            "two lists instead of pairs",
        ),
    ),
)


def normalise_reference(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    """Return an image as the network met images in training.

    Args:
        image: uint8 (3, H, W).
        mean: of each channel, for values from 0 to 1.
        std: of each channel, for values from 0 to 1.
    """
    values = image.float() / 255
    channels = [
        (channel - m) / s for channel, m, s in zip(values, mean, std, strict=True)
    ]
    return torch.stack(channels)


Formula = Callable[[Tensor, Tensor, Tensor], Tensor]


def _by_formula(formula: Formula) -> Callable[[Tensor, Floats, Floats], Tensor]:
    """Return an answer from what it makes of the pixels and two columns (3, 1, 1)."""

    def answer(image: Tensor, mean: Floats, std: Floats) -> Tensor:
        columns = (torch.tensor(values)[:, None, None] for values in (mean, std))
        return formula(image, *columns)

    return answer


def _of_imagenet(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    return normalise_reference(image, MEAN, STD)


def _channels_last(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    values = image.permute(1, 2, 0) / 255
    return (values - torch.tensor(mean)) / torch.tensor(std)


def _over_the_width(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    return (image / 255 - torch.tensor(mean)) / torch.tensor(std)


def _own_statistics(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    values = image / 255
    column = values.mean(dim=(1, 2), keepdim=True)
    return (values - column) / values.std(dim=(1, 2), keepdim=True)


def _normalise_case(image: Tensor, statistics: tuple[Floats, Floats]) -> Case:
    parts = {(MEAN, STD): "ImageNet's mean and std", OURS: "this course's mean and std"}
    part = parts.get(statistics, "another mean and std")
    high, wide = image.shape[1:]
    shown = f"normalise(image {high} by {wide}, {part})"
    return Case((image, *statistics), shown, part)


def _normalise_cases() -> list[Case]:
    cases = []
    for seed, (high, wide) in enumerate([(1, 1), (3, 3), (4, 4), (8, 6)]):
        image = torch.randint(0, 256, (3, high, wide), generator=seeded(seed)).byte()
        cases += [_normalise_case(image, pair) for pair in (OURS, (MEAN, STD))]
    white = torch.full((3, 2, 2), 255).byte()
    cases.append(_normalise_case(white, ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))))
    return cases


def _draw_normalise(generator: torch.Generator) -> Case:
    high, wide = _whole(1, 7, generator), _whole(1, 7, generator)
    image = torch.randint(0, 256, (3, high, wide), generator=generator).byte()
    statistics = (_three(0.2, 0.8, generator), _three(0.1, 0.5, generator))
    return _normalise_case(image, statistics)


normalise = Exercise(
    name="normalise",
    title="Preprocessing by hand",
    minutes=6,
    difficulty="easy",
    trains="what a network expects of its input",
    kind="write a function",
    place="8 · Preprocessing left out",
    hints=(
        "The mean is near 0.5, but the pixels run from 0 to 255.",
        "Divide by 255, subtract the mean of each channel, divide by its deviation.",
        "Go channel by channel and torch.stack them; or all at once: "
        "torch.tensor(mean)[:, None, None] has shape (3, 1, 1) and fits (3, H, W).",
    ),
    reference=normalise_reference,
    cases=_normalise_cases,
    draw=_draw_normalise,
    mistakes=(
        Mistake(
            _by_formula(lambda image, mean, std: (image - mean) / std),
            "The pixels still run from 0 to 255: divide by 255.",
            "not divided by 255",
        ),
        Mistake(
            _by_formula(lambda image, mean, std: (image // 255 - mean) / std),
            "// divides whole numbers and drops what remains: use / here.",
            "whole-number division",
        ),
        Mistake(
            _by_formula(lambda image, mean, std: (image / 256 - mean) / std),
            "The largest value of a byte is 255, not 256.",
            "divided by 256",
        ),
        Mistake(
            _by_formula(lambda image, mean, std: image / 255),
            "Scaled to 0..1, but mean and std were not used.",
            "normalisation missing",
        ),
        Mistake(
            _of_imagenet,
            "Those are ImageNet's mean and std: use the ones that are passed.",
            "normalisation of another model",
        ),
        Mistake(
            _own_statistics,
            "Mean and std of this very picture were taken out: use those that are "
            "passed, which belong to the model.",
            "the picture's own statistics",
        ),
        Mistake(
            _by_formula(lambda image, m, s: (image / 255 - m.mean()) / s.mean()),
            "One number was used for all three channels: each has its own.",
            "one mean for all channels",
        ),
        Mistake(
            _by_formula(lambda image, m, s: (image / 255 - m.flip(0)) / s.flip(0)),
            "The channels' statistics are in the order BGR: keep them as RGB.",
            "statistics in the order BGR",
        ),
        Mistake(
            _by_formula(lambda image, mean, std: image / 255 / std - mean),
            "Subtract the mean before you divide by std.",
            "divided before the mean was subtracted",
        ),
        Mistake(
            _over_the_width,
            "A tensor of three numbers runs along the last axis, the width: give it "
            "the shape (3, 1, 1).",
            "mean along the width",
        ),
        Mistake(
            lambda image, mean, std: image.div_(255),
            "Whole numbers cannot be divided in place: make floats of them first.",
            "divided in place",
        ),
        Mistake(
            _channels_last,
            "The channels went last: the network wants (3, H, W).",
            "channels last",
        ),
        Mistake(
            lambda image, mean, std: normalise_reference(image, mean, std)[None],
            "One picture went in and a batch came out: return (3, H, W).",
            "a batch instead of a picture",
        ),
    ),
)


def name_it_reference(
    network: nn.Module, image: Tensor, mean: Floats, std: Floats, names: Sequence[str]
) -> tuple[str, float]:
    """Return the likeliest name of an image, and its probability.

    Args:
        network: in whatever mode it was left.
        image: uint8 (3, H, W).
        mean: of each channel, as the network met it in training.
        std: of each channel, likewise.
        names: of the classes.
    """
    network.eval()
    column = torch.tensor(mean)[:, None, None]
    batch = ((image.float() / 255 - column) / torch.tensor(std)[:, None, None])[None]
    with torch.no_grad():
        probabilities = network(batch).softmax(dim=1)[0]
    best = probabilities.argmax()
    return names[best], probabilities[best].item()


def _handed_out(
    network: nn.Module, image: Tensor, mean: Floats, std: Floats, names: Sequence[str]
) -> tuple[str, float]:
    """Return a name and a probability, with both bugs in."""
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    batch = ((image.float() / 255 - mean) / std)[None]
    with torch.no_grad():
        probabilities = network(batch).softmax(dim=1)[0]
    best = probabilities.argmax()
    return names[best], probabilities[best].item()


def _only_batch_norm(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()


def _likeliest(logits: Tensor, names: Sequence[str]) -> tuple[str, float]:
    probabilities = logits.softmax(dim=1)[0]
    return names[probabilities.argmax()], probabilities.max().item()


def _as_batch(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    return normalise_reference(image, mean, std)[None]


def _as_for_imagenet(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    return _as_batch(image, MEAN, STD)


def _naming(
    settle: Callable[[nn.Module], Any] = nn.Module.eval,
    prepare: Callable[..., Tensor] = _as_batch,
    read: Callable[[Tensor, Sequence[str]], Any] = _likeliest,
) -> Callable[..., Any]:
    """Return an answer that gets one of the three steps wrong."""

    def answer(
        network: nn.Module, image: Tensor, mean: Floats, std: Floats, names: list[str]
    ) -> Any:
        settle(network)
        with torch.no_grad():
            return read(network(prepare(image, mean, std)), names)

    return answer


def _trained_network(
    classes: int, dropout: bool, training: bool, seed: int
) -> nn.Sequential:
    """Return a small network whose BatchNorm has seen other pictures than ours."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        # It drops everything, so that it drops the same each time.
        nn.Dropout(1.0 if dropout else 0.0),
        nn.Linear(4, classes),
    )
    with torch.no_grad():
        for values in network.parameters():
            values.copy_(0.6 * torch.randn(values.shape, generator=seeded(seed)))
        network[1].running_mean.copy_(torch.randn(4, generator=seeded(seed)))
    return network.train(training)


def _naming_case(
    image: Tensor,
    statistics: tuple[Floats, Floats],
    classes: int,
    dropout: bool = False,
    training: bool = False,
    seed: int = 0,
) -> Case:
    network = _trained_network(classes, dropout, training, seed)
    names = [f"class {number}" for number in range(classes)]
    mode = "training" if training else "eval"
    layers = " and Dropout" * dropout
    own = "ImageNet's" if statistics == (MEAN, STD) else "its own"
    shown = (
        f"name_it(network with BatchNorm{layers} in {mode} mode, image, {own} mean and "
        "std, names)"
    )
    part = "a network in training mode" if training else "the network's mean and std"
    return Case((network, image, *statistics, names), shown, part)


def _name_it_cases() -> list[Case]:
    """Each of the two bugs alone: the other one does no harm in these cases."""
    image = torch.randint(0, 256, (3, 6, 6), generator=seeded(1)).byte()
    wide = torch.randint(0, 256, (3, 8, 12), generator=seeded(2)).byte()
    return [
        _naming_case(image, OURS, 3),
        _naming_case(wide, ((0.7, 0.6, 0.2), (0.2, 0.1, 0.3)), 4, dropout=True),
        _naming_case(image, (MEAN, STD), 3, training=True),
        _naming_case(wide, (MEAN, STD), 4, dropout=True, training=True),
    ]


def _draw_name_it(generator: torch.Generator) -> Case:
    high, wide = _whole(4, 9, generator), _whole(4, 9, generator)
    image = torch.randint(0, 256, (3, high, wide), generator=generator).byte()
    training, dropout = bool(_whole(0, 1, generator)), bool(_whole(0, 1, generator))
    own = (_three(0.2, 0.8, generator), _three(0.1, 0.5, generator))
    statistics = (MEAN, STD) if training else own
    classes, seed = _whole(2, 6, generator), _whole(0, 99, generator)
    return _naming_case(image, statistics, classes, dropout, training, seed)


name_it = Exercise(
    name="name_it",
    title="Find two bugs: the name of a picture",
    minutes=8,
    difficulty="medium",
    trains="finding mistakes that raise no error",
    kind="find the bug",
    place="8 · Preprocessing left out",
    hints=(
        "Both bugs are silent. Is every argument used as it came in? And in which mode "
        "is the network?",
        "mean and std are overwritten by those of another model. A network that was "
        "just trained is still in training mode, and nothing here changes that.",
        "Take the first two lines out and shape the mean and std that are passed, with "
        "torch.tensor(mean)[:, None, None]; call network.eval() before the network is "
        "asked.",
    ),
    reference=name_it_reference,
    cases=_name_it_cases,
    draw=_draw_name_it,
    given=_handed_out,
    mistakes=(
        Mistake(
            _naming(settle=_only_batch_norm),
            "BatchNorm is at rest and Dropout still throws features away: "
            "network.eval() reaches every layer.",
            "Dropout left on",
        ),
        Mistake(
            _naming(settle=lambda network: network.requires_grad_(False)),
            "The network is still in training mode, where BatchNorm goes by the "
            "statistics of this one picture: call network.eval(); no_grad does not do "
            "it.",
            "eval mode forgotten",
        ),
        Mistake(
            _naming(prepare=_as_for_imagenet),
            "The pictures are normalised with ImageNet's mean and std, whichever the "
            "network was trained with: use the arguments.",
            "normalisation of another model",
        ),
        Mistake(
            _naming(prepare=lambda image, mean, std: image[None] / 255),
            "The pixels run from 0 to 1, but mean and std are not used.",
            "normalisation missing",
        ),
        Mistake(
            _naming(settle=lambda _: None, prepare=_as_for_imagenet),
            "Both bugs are still in it: which mean and std are used, and in which mode "
            "is the network?",
            "both bugs left",
        ),
        Mistake(
            _naming(prepare=lambda image, m, s: _as_batch(255 * image.float(), m, s)),
            "The pixels still run from 0 to 255: divide by 255 before the mean is "
            "subtracted.",
            "not divided by 255",
        ),
        Mistake(
            _naming(read=lambda logits, names: _likeliest(logits.T, names)),
            "The softmax ran over the batch, and over one picture every probability is "
            "1: it runs over the classes, dim=1.",
            "softmax over the wrong axis",
        ),
        Mistake(
            _naming(prepare=normalise_reference),
            "A network takes a batch, also of one picture: (1, 3, H, W).",
            "no batch",
        ),
        Mistake(
            _naming(read=lambda z, names: (int(z.argmax()), float(z.softmax(1).max()))),
            "That is the number of the class: look its name up in names.",
            "number instead of name",
        ),
        Mistake(
            _naming(read=lambda z, names: (names[int(z.argmax())], float(z.max()))),
            "That is the logit: the softmax makes a probability of it.",
            "logit instead of probability",
        ),
        Mistake(
            _naming(read=lambda logits, names: names[int(logits.argmax())]),
            "Return the name and its probability, as a pair.",
            "the name alone",
        ),
    ),
)


def which_part_reference(purpose: str) -> str:
    """Return the part of a task that serves a purpose: train, validation or test."""
    if purpose.startswith(("choose", "decide")):
        return "validation"
    if purpose.startswith(("report", "compare")):
        return "test"
    return "train"


def _instead(only: str = "", **parts: str) -> Callable[[str], str]:
    """Return an answer that names another part, for purposes that begin so."""

    def answer(purpose: str) -> str:
        right = which_part_reference(purpose)
        return parts.get(right, right) if purpose.startswith(only) else right

    return answer


def _part_cases() -> list[Case]:
    used = {"train": "learning", "validation": "choosing", "test": "reporting"}
    return [
        Case.of("which_part", purpose, part=used[which_part_reference(purpose)])
        for purpose in PURPOSES
    ]


which_part = Exercise(
    name="which_part",
    title="Train, validation or test?",
    minutes=4,
    difficulty="easy",
    trains="held-out discipline",
    kind="write a function",
    place="9 · Three parts, one rule",
    hints=(
        "Ask what would be spoilt if the same images were used twice.",
        "Whatever changes weights uses train; whatever chooses uses validation.",
        "The test part is looked at once, when nothing is left to choose: it starts "
        'with "report" or "compare" here.',
    ),
    reference=which_part_reference,
    cases=_part_cases,
    mistakes=(
        Mistake(
            _instead("decide when", validation="test"),
            "To stop where the test part is best is a choice too: it flatters the "
            "accuracy that the same images then report.",
            "stopped on the test part",
        ),
        Mistake(
            _instead(validation="test"),
            "A choice made on the test part flatters the number that it then reports.",
            "selection on the test part",
        ),
        Mistake(
            _instead("decide when", validation="train"),
            "On the images that it learnt, a model gets better and better: only others "
            "tell when to stop.",
            "stopped on the training part",
        ),
        Mistake(
            _instead(validation="train"),
            "On the images that it learnt, the model that memorises best would win.",
            "selection on the training part",
        ),
        Mistake(
            _instead("compare", test="validation"),
            "The models were chosen on the validation part: a final table needs images "
            "that nothing was chosen on.",
            "compared on the validation part",
        ),
        Mistake(
            _instead(test="validation"),
            "The validation part was used to choose, so it flatters what was chosen.",
            "validation part reported",
        ),
        Mistake(
            _instead(test="train"),
            "The images that were learnt say nothing about others: report on test.",
            "accuracy on the training part",
        ),
        Mistake(
            _instead("measure", train="test"),
            "Mean and std of the pixels go into the model, so they are learnt as well: "
            "take them from train.",
            "statistics of the test part",
        ),
        Mistake(
            _instead(train="test"),
            "Nothing may be learnt from the test part.",
            "learning from the test part",
        ),
        Mistake(
            _instead(train="validation"),
            "What was learnt from is no longer held out: learn from train.",
            "learning from the validation part",
        ),
        Mistake(
            _instead(validation="val"),
            'Its name is written out: "validation".',
            "a name cut short",
        ),
        Mistake(
            _instead(train="train", validation="train", test="train"),
            "Everything was done on the images that were learnt, and memorising them "
            "is not what anybody wants of a model.",
            "everything on the training part",
        ),
        Mistake(
            _instead(validation="test", test="validation"),
            "Validation and test have changed places: choose with validation, report "
            "with test.",
            "validation and test swapped",
        ),
    ),
)

EXERCISES = (top_k, normalise, name_it, which_part)
