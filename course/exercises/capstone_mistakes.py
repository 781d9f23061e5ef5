"""Wrong answers that readers give to the exercises of chapter 10, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises.base import Mistake

Answer = Callable[..., Any]
Floats = Sequence[float]

# A split without leaks ----------------------------------------------------------------


def _held(wants: Callable[..., Any]) -> Answer:
    """Return a wrong answer: another rule for whether a group is held out.

    Args:
        wants: from how many images of each class are held out, the group's class, the
            group's size and the count, to whether the group is taken.
    """

    def answer(
        labels: Tensor, groups: Tensor, order: Sequence[int], count: int
    ) -> Tensor:
        held = torch.zeros(len(labels), dtype=torch.bool)
        classes = labels.unique().tolist()
        for group in order:
            members = groups == group
            have = {c: int((held & (labels == c)).sum()) for c in classes}
            own = int(labels[members][0])
            if wants(have, own, int(members.sum()), count):
                held |= members
        return held

    return answer


_right_split = _held(lambda have, own, size, count: have[own] < count)


def _in_order(reorder: Callable[[Sequence[int]], Sequence[int]]) -> Answer:
    """Return a wrong answer that goes through the groups in another order."""

    def answer(labels: Tensor, groups: Tensor, order: Any, count: int) -> Tensor:
        return _right_split(labels, groups, reorder(order), count)

    return answer


def _held_as(change: Callable[[Tensor], Tensor]) -> Answer:
    """Return a wrong answer that changes a right mask."""

    def answer(*arguments: Any) -> Tensor:
        return change(_right_split(*arguments))

    return answer


def _taken(places: Sequence[int], labels: Tensor, count: int) -> Tensor:
    """Hold images out one by one, until each class has its count."""
    held = torch.zeros(len(labels), dtype=torch.bool)
    for place in places:
        if int((held & (labels == labels[place])).sum()) < count:
            held[place] = True
    return held


def _groups_ignored(labels: Tensor, _: Tensor, order: Any, count: int) -> Tensor:
    return _taken(range(len(labels)), labels, count)


def _group_cut(labels: Tensor, groups: Tensor, order: Any, count: int) -> Tensor:
    places = [int(n) for group in order for n in (groups == group).nonzero()]
    return _taken(places, labels, count)


def _ids_for_images(labels: Tensor, _: Tensor, order: Any, count: int) -> Tensor:
    return _taken(order, labels, count)


def _groups_counted(
    labels: Tensor, groups: Tensor, order: Sequence[int], count: int
) -> Tensor:
    taken: dict[int, list[int]] = {}
    for group in order:
        own = taken.setdefault(int(labels[groups == group][0]), [])
        if len(own) < count:
            own.append(group)
    every = torch.tensor([group for own in taken.values() for group in own])
    return torch.isin(groups, every)


def _stopped(
    labels: Tensor, groups: Tensor, order: Sequence[int], count: int
) -> Tensor:
    held = torch.zeros(len(labels), dtype=torch.bool)
    for group in order:
        members = groups == group
        if int((held & (labels == labels[members][0])).sum()) >= count:
            break
        held |= members
    return held


SPLIT = (
    Mistake(
        _groups_ignored,
        "The groups were not looked at, so one image of an object is learned from and "
        "another one tests it: hold out `groups == group` as a whole.",
        "groups ignored",
    ),
    Mistake(
        _group_cut,
        "The last group was cut where the count was reached, and its other images "
        "stayed in training: a few more than `count` is fine, half a group is a leak.",
        "a group cut at the count",
    ),
    Mistake(
        _held(lambda have, own, size, count: have[own] + size <= count),
        "A group that goes beyond the count was left out, and the class may get too "
        "few: take it whole as long as the class has less than `count`.",
        "groups left out for being too large",
    ),
    Mistake(
        _held(lambda have, own, size, count: have[own] <= count),
        "A class that has exactly `count` images got one more group: it lacks nothing, "
        "so < and not <=.",
        "one group too many",
    ),
    Mistake(
        _held(lambda have, own, size, count: sum(have.values()) < count),
        "The images of all classes were counted together: each class needs `count` of "
        "its own.",
        "all classes counted together",
    ),
    Mistake(
        _held(lambda have, own, size, count: min(have.values()) < count),
        "Groups of a full class were held out as long as another class lacked some: "
        "ask of the group's own class only.",
        "full classes not left out",
    ),
    Mistake(
        _stopped,
        "The loop ended at the first group of a full class: skip that group, the other "
        "classes may still lack some.",
        "stopped at the first full class",
    ),
    Mistake(
        _groups_counted,
        "Groups were counted and not images: `count` is of images.",
        "groups counted instead of images",
    ),
    Mistake(
        _held(lambda have, own, size, count: not have[own]),
        "Each class got one group alone: go on until it has `count` images.",
        "one group a class",
    ),
    Mistake(
        _in_order(sorted),
        "The groups were taken by their numbers: go through `order`, which was "
        "shuffled on purpose.",
        "order not used",
    ),
    Mistake(
        _in_order(lambda order: range(len(order))),
        "The place of a group in `order` was taken for its number: the numbers are the "
        "items of `order`.",
        "places taken for numbers of groups",
    ),
    Mistake(
        _in_order(lambda order: order[::-1]),
        "The groups were taken from the end of `order`: begin with its first.",
        "order from its end",
    ),
    Mistake(
        _ids_for_images,
        "The numbers in `order` are those of groups: an image belongs to one where "
        "`groups == group`.",
        "numbers of groups taken for images",
    ),
    Mistake(
        _held_as(torch.logical_not),
        "That is the training part: True is for what is held out.",
        "training instead of held out",
    ),
    Mistake(
        _held_as(lambda held: held.nonzero().flatten()),
        "These are the places of the images: return True or False for each image.",
        "places instead of a mask",
    ),
    Mistake(
        _held_as(torch.Tensor.float),
        "The mask holds numbers: leave it True and False, so that it selects.",
        "mask of numbers",
    ),
)

# The most wrong first -----------------------------------------------------------------


def _wrongly(
    score: Callable[[Tensor, Tensor], Tensor] = lambda p, y: p.amax(dim=1),
    chosen: Callable[[Tensor, Tensor], Tensor] = lambda p, y: p.argmax(dim=1) != y,
    finish: Callable[[list[int], Tensor, int], Any] = lambda n, p, count: n[:count],
) -> Answer:
    """Return a wrong answer: other images, another order, or another end.

    Args:
        score: what is sorted by, the largest first.
        chosen: which images take part.
        finish: from the sorted places, the probabilities and the count.
    """

    def answer(probabilities: Tensor, labels: Tensor, count: int) -> Any:
        scores = score(probabilities, labels).tolist()
        places = chosen(probabilities, labels).nonzero().flatten().tolist()
        places.sort(key=lambda place: -scores[place])
        return finish(places, probabilities, count)

    return answer


def _of_truth(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities[torch.arange(len(labels)), labels]


def _entropy(probabilities: Tensor, _: Tensor) -> Tensor:
    return (probabilities * probabilities.clamp_min(1e-12).log()).sum(dim=1)


def _margin(probabilities: Tensor, _: Tensor) -> Tensor:
    first, second = probabilities.topk(2, dim=1).values.T
    return first - second


def _all_images(_: Tensor, labels: Tensor) -> Tensor:
    return torch.ones(len(labels), dtype=torch.bool)


def _only_right(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities.argmax(dim=1) == labels


def _among_the_wrong(probabilities: Tensor, labels: Tensor, count: int) -> Any:
    wrong = probabilities.argmax(dim=1) != labels
    confidence = probabilities[wrong].amax(dim=1)
    return confidence.argsort(descending=True, stable=True)[:count]


def _cut_first(probabilities: Tensor, labels: Tensor, count: int) -> list[int]:
    first = _wrongly(chosen=_all_images)(probabilities, labels, count)
    return [n for n in first if probabilities[n].argmax() != labels[n]]


def _ties_from_the_end(probabilities: Tensor, labels: Tensor, count: int) -> list[int]:
    confidence, guess = probabilities.max(dim=1)
    wrong = (guess != labels).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda n: (confidence[n].item(), n))[::-1][:count]


def _more_than_there_are(probabilities: Tensor, labels: Tensor, count: int) -> Tensor:
    wrong = (probabilities.argmax(dim=1) != labels).nonzero().flatten()
    if len(wrong) < count:  # as topk does
        raise RuntimeError("selected index k out of range")
    return wrong[probabilities[wrong].amax(dim=1).argsort(descending=True)[:count]]


def _padded(probabilities: Tensor, labels: Tensor, count: int) -> list[int]:
    confidence, guess = probabilities.max(dim=1)
    masked = torch.where(guess != labels, confidence, 0.0)
    return masked.argsort(descending=True, stable=True)[:count].tolist()


MOST_WRONG = (
    Mistake(
        _wrongly(chosen=_all_images),
        "Images that are named rightly are in it: leave them out first.",
        "right answers not left out",
    ),
    Mistake(
        _cut_first,
        "The most confident images were taken first, and the right ones left out "
        "afterwards: the other way round, or too few remain.",
        "cut before the right ones were left out",
    ),
    Mistake(
        _padded,
        "Where fewer are wrong than asked for, right ones filled the list: return "
        "fewer.",
        "filled up with right answers",
    ),
    Mistake(
        _more_than_there_are,
        "There may be fewer wrong images than `count`: topk wants as many as it is "
        "asked for, a slice [:count] does not.",
        "more asked for than there are",
    ),
    Mistake(
        _among_the_wrong,
        "These are places among the wrong images: translate them back, with "
        "wrong[places], into places among all.",
        "places among the wrong ones",
    ),
    Mistake(
        _wrongly(score=lambda p, y: -p.amax(dim=1)),
        "The least confident came first: those are the network's doubts, not its "
        "convictions.",
        "the least confident first",
    ),
    Mistake(
        _wrongly(score=lambda p, y: -_of_truth(p, y)),
        "They are sorted by how little is believed of the truth: asked for is how much "
        "is believed of the wrong guess.",
        "sorted by the belief in the truth",
    ),
    Mistake(
        _wrongly(score=_margin),
        "They are sorted by the margin between the first guess and the second: "
        "confidence is the largest probability.",
        "sorted by the margin",
    ),
    Mistake(
        _wrongly(score=_entropy),
        "They are sorted by entropy: confidence is the largest probability.",
        "sorted by entropy",
    ),
    Mistake(
        _wrongly(score=lambda p, y: p.amax(dim=1) - _of_truth(p, y)),
        "They are sorted by the gap between the guess and the truth: confidence is the "
        "largest probability alone.",
        "sorted by the gap to the truth",
    ),
    Mistake(
        _wrongly(score=lambda p, y: torch.zeros(len(y))),
        "They come in the order of the images: sort them by confidence.",
        "not sorted",
    ),
    Mistake(
        _ties_from_the_end,
        "Of equally confident ones the last came first: turning a sorted list round "
        "turns its ties as well. Sort by the negative confidence.",
        "ties from the end",
    ),
    Mistake(
        _wrongly(finish=lambda places, p, count: places),
        "All wrong images came back: cut the list at `count`.",
        "all mistakes returned",
    ),
    Mistake(
        _wrongly(chosen=_only_right),
        "These are the most confident that are right: turn == into !=.",
        "right and wrong swapped",
    ),
    Mistake(
        _wrongly(finish=lambda n, p, count: p[n].amax(dim=1)[:count]),
        "These are confidences: return the places of the images.",
        "confidences instead of places",
    ),
    Mistake(
        _wrongly(finish=lambda n, p, count: p[n].argmax(dim=1)[:count]),
        "These are the classes that were guessed: return the places of the images.",
        "guesses instead of places",
    ),
    Mistake(
        _wrongly(finish=lambda n, p, count: [[place] for place in n[:count]]),
        "Each place stands in a list of its own: nonzero() makes a column, and "
        ".flatten() makes places of it.",
        "a column of places",
    ),
)

# One number for honesty ---------------------------------------------------------------


def _nll(logits: Tensor, labels: Tensor, temperature: float) -> float:
    return F.cross_entropy(logits / temperature, labels).item()


Loss = Callable[[Tensor, Tensor, float], float]


def _cooled(loss: Loss = _nll, told: Loss | None = None) -> Answer:
    """Return a wrong answer: it minimises, or it reports, another loss."""

    def answer(logits: Tensor, labels: Tensor, grid: Floats) -> tuple[float, float]:
        losses = [loss(logits, labels, temperature) for temperature in grid]
        place = min(range(len(grid)), key=lambda n: losses[n])
        if told is not None:
            return grid[place], told(logits, labels, grid[place])
        return grid[place], losses[place]

    return answer


_right_temperature = _cooled()


def _of_labels(values: Tensor, labels: Tensor) -> Tensor:
    return values.gather(1, labels[:, None])


def _believed(change: Callable[[Tensor, float], Tensor]) -> Loss:
    """Return a loss by what the labels' probabilities become before the logarithm."""

    def loss(logits: Tensor, labels: Tensor, temperature: float) -> float:
        believed = change(logits, temperature)
        return -_of_labels(believed, labels).log().mean().item()

    return loss


def _no_overflow(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(dim=1)


def _overflow(logits: Tensor, temperature: float) -> Tensor:
    powers = (logits / temperature).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def _softmax_first(logits: Tensor, temperature: float) -> Tensor:
    return (logits.softmax(dim=1) / temperature).clamp_min(1e-12)


def _clamped(logits: Tensor, temperature: float) -> Tensor:
    return _no_overflow(logits, temperature) + 1e-12


def _never_less(logits: Tensor, labels: Tensor, grid: Floats) -> tuple[float, float]:
    """Compare with < alone: what is infinite or no number is never less."""
    best, least = grid[0], math.inf
    for temperature in grid:
        loss = _believed(_no_overflow)(logits, labels, temperature)
        if loss < least:
            best, least = temperature, loss
    return best, least


def _twice(logits: Tensor, labels: Tensor, temperature: float) -> float:
    return F.cross_entropy(_no_overflow(logits, temperature), labels).item()


def _of_the_guess(logits: Tensor, _: Tensor, temperature: float) -> float:
    return _nll(logits, logits.argmax(dim=1), temperature)


def _mistaken(logits: Tensor, labels: Tensor, temperature: float) -> float:
    guesses = (logits / temperature).argmax(dim=1)
    return (guesses != labels).double().mean().item()


def _over_confident(logits: Tensor, labels: Tensor, temperature: float) -> float:
    confidence = _no_overflow(logits, temperature).amax(dim=1).mean().item()
    return abs(confidence - 1 + _mistaken(logits, labels, temperature))


def _squared(logits: Tensor, labels: Tensor, temperature: float) -> float:
    beliefs = _no_overflow(logits, temperature)
    hot = F.one_hot(labels, logits.shape[1])
    return (beliefs - hot).square().sum(dim=1).mean().item()


def _first_rise(logits: Tensor, labels: Tensor, grid: Floats) -> tuple[float, float]:
    best, least = grid[0], math.inf
    for temperature in grid:
        loss = _nll(logits, labels, temperature)
        if loss > least:
            break
        best, least = temperature, loss
    return best, least


def _place(logits: Tensor, labels: Tensor, grid: Floats) -> tuple[float, float]:
    best, least = _right_temperature(logits, labels, grid)
    return float(list(grid).index(best)), least


BEST_TEMPERATURE = (
    Mistake(
        _never_less,
        "Where logits lie far apart, a probability is rounded to 0 and its logarithm "
        "is infinite: use log_softmax, which never leaves the logarithm, or "
        "cross_entropy.",
        "softmax, then logarithm",
    ),
    Mistake(
        _cooled(_believed(_overflow)),
        "The exponentials overflow where logits are large: use log_softmax, which "
        "takes out the largest first, or cross_entropy.",
        "exponentials that overflow",
    ),
    Mistake(
        _cooled(_believed(_clamped)),
        "A small number before the logarithm hides how wrong a sure answer is: use "
        "log_softmax or cross_entropy, which need none.",
        "a small number before the logarithm",
    ),
    Mistake(
        _cooled(_believed(_softmax_first)),
        "The temperature came after the softmax: divide the logits.",
        "temperature after the softmax",
    ),
    Mistake(
        _cooled(lambda z, y, temperature: _nll(z, y, 1 / temperature)),
        "The logits were multiplied by the temperature: divide them. A high one makes "
        "a network less sure.",
        "multiplied by the temperature",
    ),
    Mistake(
        _cooled(lambda z, y, temperature: len(y) * _nll(z, y, temperature)),
        "The temperature is right; of the loss take the mean over the images, not the "
        "sum.",
        "sum instead of a mean",
    ),
    Mistake(
        _cooled(lambda z, y, temperature: -_nll(z, y, temperature)),
        "The sign: the likelihood should be large, so its negative logarithm small.",
        "the sign turned",
    ),
    Mistake(
        _cooled(lambda z, y, t: -_nll(z, y, t), told=_nll),
        "That is the temperature with the largest loss: take the least.",
        "the largest loss",
    ),
    Mistake(
        _cooled(_mistaken),
        "That is the share of errors: it is the same at every temperature, which does "
        "not change the order of the classes.",
        "share of errors minimised",
    ),
    Mistake(
        _cooled(_mistaken, told=_nll),
        "Chosen by accuracy, which is the same at every temperature, the first one "
        "always wins: choose by the negative log-likelihood.",
        "chosen by accuracy",
    ),
    Mistake(
        _cooled(_over_confident, told=_nll),
        "There mean confidence and accuracy agree, which can be so while each single "
        "probability is off: choose by the negative log-likelihood.",
        "mean confidence matched to accuracy",
    ),
    Mistake(
        _cooled(_squared),
        "That is the squared error of the probabilities (Brier's score): asked for is "
        "the negative logarithm.",
        "squared error instead of the logarithm",
    ),
    Mistake(
        _cooled(_of_the_guess),
        "That is the belief in the network's own guess: judge by the labels.",
        "belief in the guess instead of the truth",
    ),
    Mistake(
        _cooled(_twice),
        "The loss takes a softmax itself, so it was applied twice: hand it the "
        "logits, divided by the temperature.",
        "softmax before cross-entropy",
    ),
    Mistake(
        _cooled(lambda z, y, t: F.nll_loss((z / t).log_softmax(dim=0), y).item()),
        "The softmax ran over the images: it runs over the classes, dim=1.",
        "softmax over the wrong axis",
    ),
    Mistake(
        _cooled(told=lambda z, y, _: _nll(z, y, 1.0)),
        "The temperature is right; the loss is the one without it.",
        "loss at temperature 1",
    ),
    Mistake(
        _first_rise,
        "The search ended at the first rise, and the grid need not be sorted: try "
        "every value.",
        "stopped at the first rise",
    ),
    Mistake(
        _place,
        "That is the place in the grid: return the value that stands there.",
        "place instead of the value",
    ),
    Mistake(
        lambda *arguments: _right_temperature(*arguments)[0],
        "The temperature alone came back: return (temperature, loss).",
        "temperature alone",
    ),
    Mistake(
        lambda *arguments: _right_temperature(*arguments)[::-1],
        "The pair is the other way round: (temperature, loss).",
        "loss and temperature swapped",
    ),
)

# Two bugs in a predictor --------------------------------------------------------------


def _channels_first(pixels: Tensor) -> Tensor:
    return pixels.permute(2, 0, 1).float() / 255


def _reshaped(pixels: Tensor) -> Tensor:
    height, width, _ = pixels.shape
    return pixels.reshape(3, height, width).float() / 255


def _standardised(image: Tensor, mean: Floats, std: Floats) -> Tensor:
    return (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]


def _divided(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(dim=1)[0]


def _without_effect(logits: Tensor, _: float) -> Tensor:
    return logits.softmax(dim=1)[0]


def _predicting(
    read: Callable[[Tensor], Tensor] = _channels_first,
    scale: Callable[[Tensor, Floats, Floats], Tensor] = _standardised,
    end: Callable[[Tensor, float], Any] = _divided,
    settle: Callable[[nn.Module], Any] = nn.Module.eval,
) -> Answer:
    """Return a wrong answer that gets one of the four steps wrong."""

    def answer(
        network: nn.Module,
        pixels: Tensor,
        mean: Floats,
        std: Floats,
        temperature: float,
    ) -> Any:
        settle(network)
        with torch.no_grad():
            logits = network(scale(read(pixels), mean, std)[None])
        return end(logits, temperature)

    return answer


PREDICT_PROBABILITIES = (
    Mistake(
        _predicting(read=_reshaped, end=_without_effect),
        "Both bugs are still in it: what does reshape do to the order of the numbers, "
        "and what is left of the temperature after the last line?",
        "both bugs left",
    ),
    Mistake(
        _predicting(read=_reshaped),
        "The temperature works now. But reshape keeps the numbers in their order, row "
        "by row, and so scrambles the picture: permute moves the axes.",
        "reshape instead of permute",
    ),
    Mistake(
        _predicting(end=_without_effect),
        "The picture is whole now. But what divides every probability alike is gone "
        "once they sum to 1 again: divide the logits.",
        "temperature after the softmax",
    ),
    Mistake(
        _predicting(end=lambda z, t: z.softmax(dim=1)[0] / t),
        "The probabilities were divided and no longer sum to 1: divide the logits, "
        "before the softmax.",
        "probabilities divided by the temperature",
    ),
    Mistake(
        _predicting(end=lambda z, t: (z.softmax(dim=1)[0] / t).softmax(dim=0)),
        "A softmax ran over probabilities: there is one softmax, over the logits "
        "divided by the temperature.",
        "softmax of a softmax",
    ),
    Mistake(
        _predicting(end=lambda z, t: (z * t).softmax(dim=1)[0]),
        "The logits were multiplied by the temperature: divide them. A high one makes "
        "a network less sure.",
        "multiplied by the temperature",
    ),
    Mistake(
        _predicting(read=lambda pixels: pixels.permute(2, 1, 0).float() / 255),
        "Height and width changed places, so the picture lies on its side: "
        "permute(2, 0, 1).",
        "height and width swapped",
    ),
    Mistake(
        _predicting(read=lambda pixels: _channels_first(pixels).flip(0)),
        "The channels are in the order BGR: these pixels come as RGB, and nothing has "
        "to be turned.",
        "channels in the order BGR",
    ),
    Mistake(
        _predicting(read=lambda pixels: 255 * _channels_first(pixels)),
        "The pixels run from 0 to 255 now: divide by 255 before the mean is "
        "subtracted.",
        "not divided by 255",
    ),
    Mistake(
        _predicting(scale=lambda image, mean, std: image),
        "The pixels run from 0 to 1, but mean and std are not used any more.",
        "normalisation missing",
    ),
    Mistake(
        _predicting(scale=lambda image, mean, std: _standardised(image, std, mean)),
        "Mean and std changed places: subtract the mean, divide by std.",
        "mean and std swapped",
    ),
    Mistake(
        _predicting(settle=lambda _: None),
        "network.eval() got lost: a network in training mode goes by the statistics of "
        "this one picture.",
        "eval mode forgotten",
    ),
    Mistake(
        _predicting(end=lambda z, t: (z / t).softmax(dim=0)[0]),
        "The softmax ran over the batch, and over one picture every probability is 1: "
        "it runs over the classes.",
        "softmax over the batch",
    ),
    Mistake(
        _predicting(end=lambda z, t: (z / t)[0]),
        "These are logits: the softmax is missing.",
        "logits instead of probabilities",
    ),
    Mistake(
        _predicting(end=lambda z, t: (z / t).log_softmax(dim=1)[0]),
        "These are logarithms of probabilities: softmax, not log_softmax.",
        "logarithms of probabilities",
    ),
    Mistake(
        _predicting(end=lambda z, t: (z / t).softmax(dim=1)),
        "A batch came back: one picture went in, so return one row, (classes,).",
        "a batch instead of one picture",
    ),
)
