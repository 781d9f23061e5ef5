"""Wrong answers that readers give to the exercises of chapter 02, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises.base import Mistake

Part = tuple[Tensor, Tensor]  # features (N, D) and labels (N,)
Scores = Mapping[str, Mapping[str, float]]

# average_pool -------------------------------------------------------------------------


def _squeezed(maps: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps, 1).squeeze()


AVERAGE_POOL = (
    Mistake(
        lambda maps: maps.amax(dim=(2, 3)),
        "That is the maximum: the mean is asked.",
        "the maximum",
    ),
    Mistake(
        lambda maps: maps.sum(dim=(2, 3)),
        "That is the sum: divide by the number of places.",
        "the sum",
    ),
    Mistake(
        lambda maps: maps.mean(dim=(2, 3), keepdim=True),
        "Two dimensions of size 1 are left: drop them.",
        "dimensions of one kept",
    ),
    Mistake(
        lambda maps: maps.flatten(1),
        "Flattened, every place is its own feature: average them.",
        "flattened",
    ),
    Mistake(
        lambda maps: maps.mean(dim=1),
        "dim=1 are the channels, which stay: average over dims 2 and 3.",
        "mean over the wrong axis",
    ),
    Mistake(
        lambda maps: maps.mean(dim=(1, 2)),
        "In PyTorch the channels come second, (N, C, H, W), and not last: "
        "height and width are dims 2 and 3.",
        "channels taken for the last axis",
    ),
    Mistake(
        lambda maps: maps.mean(dim=(0, 2, 3)),
        "You averaged over the pictures as well (dim=0): each keeps its own row.",
        "mean over the pictures too",
    ),
    Mistake(
        lambda maps: maps.mean(dim=(1, 2, 3)),
        "You averaged over the channels as well: each is a feature of its own.",
        "one number for each picture",
    ),
    Mistake(
        lambda maps: maps.mean(),
        "Without dim, everything is averaged into one number: name dims 2 and 3.",
        "one number for everything",
    ),
    Mistake(
        lambda maps: maps.mean(dim=3),
        "One direction is left: average over height and width, two dims.",
        "one direction only",
    ),
    Mistake(
        _squeezed,
        "squeeze() drops every dimension of size 1, that of a single picture or "
        "channel too: use flatten(1), or say which dims.",
        "squeeze takes too much",
    ),
    Mistake(
        lambda maps: maps.sum(dim=(2, 3)) / maps.shape[2] ** 2,
        "You divided by height times height: a map need not be square.",
        "taken to be square",
    ),
)

# accuracy -----------------------------------------------------------------------------


def _confidence(logits: Tensor, labels: Tensor) -> float:
    return logits.softmax(dim=1)[torch.arange(len(labels)), labels].mean().item()


def _above_half(logits: Tensor, labels: Tensor) -> float:
    sure = logits.softmax(dim=1)[torch.arange(len(labels)), labels] > 0.5
    return sure.float().mean().item()


ACCURACY = (
    Mistake(
        lambda logits, labels: float((logits.argmax(dim=1) == labels).sum()),
        "That is how many are right: divide by all of them.",
        "how many, not which share",
    ),
    Mistake(
        lambda logits, labels: (
            100 * (logits.argmax(dim=1) == labels).double().mean().item()
        ),
        "That is in percent: a share from 0 to 1 is asked.",
        "in percent",
    ),
    Mistake(
        lambda logits, labels: (logits.argmax(dim=1) != labels).double().mean().item(),
        "That is the share of errors: count what is right.",
        "the share of errors",
    ),
    Mistake(
        lambda logits, labels: (logits.argmax(dim=0) == labels).double().mean().item(),
        "argmax ran over the images (dim=0): the classes are dim=1.",
        "argmax over the images",
    ),
    Mistake(
        lambda logits, labels: (logits.argmax() == labels).double().mean().item(),
        "Without dim, argmax gives one place in the whole table: say dim=1.",
        "argmax over the whole table",
    ),
    Mistake(
        lambda logits, labels: (
            (logits.argmax(dim=1, keepdim=True) == labels).double().mean().item()
        ),
        "A column (N, 1) against a row (N,) compares every prediction with every "
        "label: both should have the shape (N,).",
        "broadcast instead of pairwise",
    ),
    Mistake(
        lambda logits, labels: (
            (logits.argmax(dim=1) == labels).sum().item() / logits.shape[1]
        ),
        "You divided by the number of classes: divide by that of the images.",
        "divided by the classes",
    ),
    Mistake(
        lambda logits, labels: (
            (logits.argmax(dim=1) == labels).sum().item() // len(labels)
        ),
        "// drops what is behind the point: divide with /.",
        "rounded down",
    ),
    Mistake(
        lambda logits, labels: (logits.argmin(dim=1) == labels).double().mean().item(),
        "argmin takes the least likely class: the largest logit is the prediction.",
        "the smallest logit",
    ),
    Mistake(
        _confidence,
        "That is the mean probability of the right class: accuracy only asks "
        "whether that class is the first.",
        "confidence instead of accuracy",
    ),
    Mistake(
        _above_half,
        "The right class need not have more than half of the probability: it need "
        "only have the most.",
        "more than half, not the most",
    ),
    Mistake(
        lambda logits, labels: logits.argmax(dim=1) == labels,
        "These are the answers of each image: their mean is asked.",
        "one answer for each image",
    ),
)

# nearest ------------------------------------------------------------------------------


def _cosine(bank: Tensor, query: Tensor) -> Tensor:
    return F.normalize(bank, dim=1) @ F.normalize(query, dim=0)


def _euclidean(bank: Tensor, query: Tensor, k: int) -> Tensor:
    return (bank - query).norm(dim=1).topk(k, largest=False).indices


def _columns_normalised(bank: Tensor, query: Tensor, k: int) -> Tensor:
    return (F.normalize(bank, dim=0) @ F.normalize(query, dim=0)).topk(k).indices


def _query_without_dim(bank: Tensor, query: Tensor, k: int) -> Tensor:
    return (F.normalize(bank) @ F.normalize(query)).topk(k).indices


def _query_first(bank: Tensor, query: Tensor, k: int) -> Tensor:
    return (F.normalize(query, dim=0) @ F.normalize(bank, dim=1)).topk(k).indices


NEAREST = (
    Mistake(
        lambda bank, query, k: (bank @ query).topk(k).indices,
        "A dot product favours long vectors: normalise first.",
        "a dot product",
    ),
    Mistake(
        lambda bank, query, k: _cosine(bank, query).topk(k, largest=False).indices,
        "These are the least similar: the largest cosine wins.",
        "the farthest",
    ),
    Mistake(
        _euclidean,
        "That is the Euclidean distance: the cosine is asked.",
        "the Euclidean distance",
    ),
    Mistake(
        lambda bank, query, k: _cosine(bank, query).topk(k).values,
        "These are similarities: the indices are asked.",
        "similarities and not indices",
    ),
    Mistake(
        lambda bank, query, k: _cosine(bank, query).argsort()[-k:],
        "argsort puts the most similar last: turn it round.",
        "the most similar last",
    ),
    Mistake(
        _columns_normalised,
        "dim=0 brings every feature to length one: dim=1 does so for every image.",
        "normalised over the wrong axis",
    ),
    Mistake(
        lambda bank, query, k: _cosine(bank, query).abs().topk(k).indices,
        "A cosine of -1 points the other way and is not near: take no abs.",
        "the opposite counted as near",
    ),
    Mistake(
        lambda bank, query, k: _cosine(bank, query).topk(k + 1).indices[1:],
        "The first one was left out: the query is no member of the bank.",
        "the nearest left out",
    ),
    Mistake(
        lambda bank, query, k: bank[_cosine(bank, query).topk(k).indices],
        "These are rows of the bank: their indices are asked.",
        "rows and not indices",
    ),
    Mistake(
        lambda bank, query, k: _cosine(bank, query).argsort(descending=True),
        "All of them are in order: keep the first k.",
        "all and not k",
    ),
    Mistake(
        _query_without_dim,
        "F.normalize works along dim=1, and a single query has only dim=0.",
        "no dim for the query",
    ),
    Mistake(
        _query_first,
        "The sizes do not meet: (N, D) @ (D,) gives one similarity for each row.",
        "query and bank the wrong way round",
    ),
)

# probe_accuracy -----------------------------------------------------------------------


def _scaled(values: Tensor, by: Tensor, guarded: bool = True) -> Tensor:
    """Standardise some features by the statistics of others."""
    spread = by.std(dim=0)
    if guarded:
        spread[spread == 0] = 1.0
    return (values - by.mean(dim=0)) / spread


def _answers(train: Part, asked: Tensor) -> Tensor:
    values, labels = train
    means = torch.stack([values[labels == c].mean(dim=0) for c in labels.unique()])
    return torch.cdist(asked, means).argmin(dim=1)


def _share(found: Tensor, labels: Tensor) -> float:
    return (found == labels).double().mean().item()


def _probe(reported: int, *scaled_by: int) -> Callable[..., float]:
    """Make a probe of which the parts may be the wrong ones.

    Args:
        reported: whose accuracy it is; 0 is train, 1 is validation, 2 is test.
        scaled_by: where mean and spread come from.
    """

    def answer(*parts: Part) -> float:
        by = torch.cat([parts[place][0] for place in scaled_by])
        learned = (_scaled(parts[0][0], by), parts[0][1])
        values, labels = parts[reported]
        return _share(_answers(learned, _scaled(values, by)), labels)

    return answer


def _own_statistics(train: Part, validation: Part, test: Part) -> float:
    learned = (_scaled(train[0], train[0]), train[1])
    return _share(_answers(learned, _scaled(test[0], test[0])), test[1])


def _test_left_raw(train: Part, validation: Part, test: Part) -> float:
    learned = (_scaled(train[0], train[0]), train[1])
    return _share(_answers(learned, test[0]), test[1])


def _means_of_test(train: Part, validation: Part, test: Part) -> float:
    values = _scaled(test[0], train[0])
    return _share(_answers((values, test[1]), values), test[1])


def _over_all_parts(*parts: Part) -> float:
    values, by = torch.cat([part[0] for part in parts]), parts[0][0]
    learned = (_scaled(by, by), parts[0][1])
    labels = torch.cat([part[1] for part in parts])
    return _share(_answers(learned, _scaled(values, by)), labels)


def _no_guard(train: Part, validation: Part, test: Part) -> float:
    by = train[0]
    learned = (_scaled(by, by, guarded=False), train[1])
    return _share(_answers(learned, _scaled(test[0], by, guarded=False)), test[1])


PROBE_ACCURACY = (
    Mistake(
        _probe(0, 0),
        "It is asked for the pictures that it has learned from: report the "
        "accuracy on the test part.",
        "accuracy on the training part",
    ),
    Mistake(
        _probe(2, 0, 1, 2),
        "Mean and spread were taken from all parts, so the probe has seen the test "
        "part before the test: take them from the training part.",
        "standardised with all parts",
    ),
    Mistake(
        _probe(0, 0, 1, 2),
        "Both bugs are still there: look at whose mean and spread it takes, and at "
        "whose answers it counts.",
        "both bugs left in",
    ),
    Mistake(
        _probe(1, 0),
        "That is the validation part, which is for choosing: report the test part.",
        "accuracy on the validation part",
    ),
    Mistake(
        _probe(2, 0, 1),
        "The validation part is for choosing and not for learning: take mean and "
        "spread from the training part alone.",
        "standardised with train and validation",
    ),
    Mistake(
        _own_statistics,
        "Each part was scaled by its own statistics, so the same picture has other "
        "numbers in another part: use those of the training part for both.",
        "each part by its own statistics",
    ),
    Mistake(
        _test_left_raw,
        "The means are of scaled features and the test part is not scaled: both "
        "need the same mean and spread.",
        "the test part not scaled",
    ),
    Mistake(
        lambda train, validation, test: _share(_answers(train, test[0]), test[1]),
        "Nothing is scaled, so the feature with the largest numbers decides alone.",
        "nothing scaled",
    ),
    Mistake(
        _means_of_test,
        "The means of the classes come from the test part, labels and all: they "
        "are learned, so take them from the training part.",
        "class means of the test part",
    ),
    Mistake(
        _over_all_parts,
        "The parts were thrown together, training part included: report the test "
        "part alone.",
        "accuracy over all parts",
    ),
    Mistake(
        lambda *parts: 1 - _probe(2, 0)(*parts),
        "That is the share of errors: count what is right.",
        "the share of errors",
    ),
    Mistake(
        _no_guard,
        "A feature that never changes has a spread of 0, and 0 / 0 is no number: "
        "keep the line that sets such a spread to 1.",
        "division by a spread of zero",
    ),
)

# best_layer ---------------------------------------------------------------------------


def _by_gap(scores: Scores) -> str:
    return min(scores, key=lambda k: abs(scores[k]["train"] - scores[k]["validation"]))


def _until_it_falls(scores: Scores) -> str:
    layers = list(scores)
    for layer, following in pairwise(layers):
        if scores[following]["validation"] < scores[layer]["validation"]:
            return layer
    return layers[-1]


def _place(scores: Scores) -> int:
    values = [parts["validation"] for parts in scores.values()]
    return values.index(max(values))


BEST_LAYER = (
    Mistake(
        lambda scores: max(scores, key=lambda layer: scores[layer]["test"]),
        "It was chosen on the test part, whose number is then no longer honest.",
        "selection on the test part",
    ),
    Mistake(
        lambda scores: max(scores, key=lambda layer: scores[layer]["train"]),
        "It was chosen on the train part, where the probe that memorises wins.",
        "selection on the training part",
    ),
    Mistake(
        lambda scores: max(
            scores, key=lambda k: scores[k]["validation"] + scores[k]["test"]
        ),
        "The test part had a say: choose on the validation part alone.",
        "the test part has a say",
    ),
    Mistake(
        lambda scores: max(scores, key=lambda layer: sum(scores[layer].values())),
        "The mean of all parts lets train and test decide: choose on validation.",
        "the mean of all parts",
    ),
    Mistake(
        lambda scores: min(scores, key=lambda layer: scores[layer]["validation"]),
        "That is the worst layer on the validation part.",
        "the worst layer",
    ),
    Mistake(
        lambda scores: list(scores)[-1],
        "The last layer is not always the best: compare the scores.",
        "always the last layer",
    ),
    Mistake(
        _by_gap,
        "A small gap between train and validation is no merit: a layer can be bad "
        "at both.",
        "the smallest gap",
    ),
    Mistake(
        _until_it_falls,
        "It stopped where the score fell for the first time: a better layer may "
        "follow.",
        "stopped at the first fall",
    ),
    Mistake(
        lambda scores: max(parts["validation"] for parts in scores.values()),
        "That is the score: the name of the layer is asked.",
        "the score and not the layer",
    ),
    Mistake(
        _place,
        "That is the layer's place: its name is asked.",
        "the place and not the layer",
    ),
    Mistake(
        lambda scores: max(scores),
        "max over a dictionary compares its keys, by the alphabet: say by which "
        "score, with key=.",
        "names compared",
    ),
    Mistake(
        lambda scores: max(scores["validation"]),
        "The outer keys are the layers: scores[layer] first, then the part.",
        "the part before the layer",
    ),
)
