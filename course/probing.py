"""Frozen features at work: linear probe and k nearest neighbours (chapter 02)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional as F

from course.arguments import kinds_checked
from course.errors import CourseError
from course.extraction import Features, checked, forbid_test_features
from course.families import head_of, set_head
from course.models import Model

CS = (0.01, 0.1, 1.0, 10.0)
ABSENT = -1e4  # logit of a class that the training features have no example of


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier on frozen features (Alain & Bengio 2016, arXiv 1610.01644).

    Args:
        weight: float64 (classes, D), for features as they are: the standardisation is
            folded in.
        bias: float64 (classes,).
        class_names: the name of each class.
        C: the inverse strength of the regularisation.
        layer: where the features were read.
    """

    weight: Tensor
    bias: Tensor
    class_names: tuple[str, ...]
    C: float
    layer: str

    def logits(self, features: Features) -> Tensor:
        """Return float64 logits (N, classes)."""
        values = checked(features, self.layer, self.weight.shape[1])
        return values.double() @ self.weight.T + self.bias

    def predict(self, features: Features) -> Tensor:
        """Return the likeliest class of each image, int64 (N,)."""
        return self.logits(features).argmax(dim=1)

    def score(self, features: Features) -> float:
        """Return the accuracy on labelled features, from 0 to 1."""
        return (self.predict(features) == _labels(features)).double().mean().item()

    def as_head(self) -> nn.Linear:
        """Return the same as a layer: ``network.fc = probe.as_head()`` (chapter 02)."""
        classes, width = self.weight.shape
        head = nn.utils.skip_init(nn.Linear, width, classes)
        head.weight = nn.Parameter(self.weight.float())
        head.bias = nn.Parameter(self.bias.float())
        return head


@kinds_checked
def linear_probe(
    train: Features, validation: Features | None = None, Cs: Sequence[float] = CS
) -> Probe:
    """Fit logistic regression of scikit-learn to standardised features (chapter 02).

    Args:
        train: labelled features to learn from.
        validation: labelled features to choose C with, by accuracy; of equals the
            smaller C wins. Without them C is 1, or the only one of `Cs`.
        Cs: what to choose from.

    Raises:
        HeldOutError: features of a test part were given.
        CourseError: labels are missing or of one class only, or a value is not finite.
    """
    forbid_test_features(train, "a probe")
    if not len(Cs) or not all(C > 0 for C in Cs):
        raise CourseError(f"C was to be one of {Cs}; expected numbers above 0.")
    if validation is None:
        return _fitted(train, Cs[0] if len(Cs) == 1 else 1.0)
    forbid_test_features(validation, "the choice of C")
    probes = [_fitted(train, C) for C in sorted(Cs)]
    return max(probes, key=lambda probe: probe.score(validation))


def _fitted(train: Features, C: float) -> Probe:
    labels, values = _labels(train), train.values.double()
    if not values.isfinite().all() or len(labels.unique()) < 2:
        raise CourseError(
            f"A probe was given {len(labels)} features of {len(labels.unique())} "
            "classes; expected finite numbers and at least two classes."
        )
    mean, spread = values.mean(dim=0), values.std(dim=0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    regression = LogisticRegression(C=C, max_iter=2000)
    # So little work at a time that a second thread costs ten times what it saves.
    with threadpool_limits(1, "blas"):
        regression.fit(((values - mean) / spread).numpy(), labels.numpy())
    rows, bias = _all_classes(regression, len(train.class_names))
    weight = rows / spread
    return Probe(weight, bias - weight @ mean, train.class_names, C, train.layer)


def _all_classes(regression: LogisticRegression, count: int) -> tuple[Tensor, Tensor]:
    """Return weights and bias with a row for every class, seen or not."""
    rows = torch.from_numpy(regression.coef_)
    seen = torch.from_numpy(regression.classes_)
    bias = torch.from_numpy(regression.intercept_)
    if len(seen) == 2:  # scikit-learn keeps the second row alone; the first is zero
        rows, bias = (torch.cat([torch.zeros_like(t), t]) for t in (rows, bias))
    all_rows = rows.new_zeros(count, rows.shape[1])
    all_bias = bias.new_full((count,), ABSENT)
    all_rows[seen], all_bias[seen] = rows, bias
    return all_rows, all_bias


def _labels(features: Features) -> Tensor:
    if features.labels is None or not len(features):
        raise CourseError(
            "These features have no labels; expected features of a part, such as "
            "features(model, task.train)."
        )
    return features.labels


@kinds_checked
def attach(model: Model, probe: Probe) -> Model:
    """Return a copy of a model whose head is the probe (chapter 02).

    Raises:
        CourseError: the head takes another number of values than the probe.
    """
    name, old = head_of(model.network)
    width = old.in_channels if isinstance(old, nn.Conv2d) else old.in_features
    if width != probe.weight.shape[1]:
        raise CourseError(
            f"A probe on {probe.weight.shape[1]} values of {probe.layer!r} cannot be "
            f"the head {name!r} ({old}); fit it on the layer that feeds the head."
        )
    model = model.copy()
    set_head(model.network, probe.as_head())
    return replace(model, class_names=probe.class_names)


@kinds_checked
def neighbours(bank: Features, query: Features, k: int) -> tuple[Tensor, Tensor]:
    """Return the k features of the bank that are nearest to each query (chapter 01).

    Returns:
        Indices into the bank, int64 (queries, k), the nearest first, and their cosine
        similarity, float32 (queries, k), at most 1.

    Raises:
        CourseError: the bank has fewer than k, or the widths differ.
    """
    if not 1 <= k <= len(bank):
        raise CourseError(
            f"{k} neighbours were asked of {len(bank)} features; expected a number "
            f"from 1 to {len(bank)}."
        )
    values = checked(query, bank.layer, bank.values.shape[1])
    cosine = F.normalize(values, dim=1) @ F.normalize(bank.values, dim=1).T
    similarity, indices = cosine.clamp(-1, 1).topk(k, dim=1)
    return indices, similarity


@kinds_checked
def knn_accuracy(train: Features, other: Features, k: int = 5) -> float:
    """Return the accuracy of the vote of the k nearest neighbours (chapter 02).

    Of classes with equally many votes the one with more similarity wins.

    Raises:
        HeldOutError: `train` holds features of a test part.
    """
    forbid_test_features(train, "a vote of neighbours")
    indices, similarity = neighbours(train, other, k)
    ballots = F.one_hot(_labels(train)[indices], len(train.class_names))
    ties = (ballots * similarity[..., None]).sum(dim=1) / (2 * k + 1)
    votes = (ballots.sum(dim=1) + ties).argmax(dim=1)
    return (votes == _labels(other)).double().mean().item()
