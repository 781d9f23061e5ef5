"""Which source for this task: transferability scores, ranks, near-duplicates.

Each score is a few lines from its paper, is computed before any training, and is the
higher, the more should come of a source. Scores compare sources on *one* task; their
values mean nothing between tasks (chapter 07).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course.arguments import kinds_checked
from course.data.tasks import Part, forbid_test
from course.errors import CourseError
from course.extraction import Features, before_head, forbid_test_features
from course.models import Model, head_of
from course.probing import linear_probe

ROUNDS = 1000  # of LogME's fixed point, which settles in some dozens
TINY = 1e-30  # keeps a perfect fit from dividing by zero
SETTLED = 1e-10  # relative change of the evidence
NEIGHBOURS = 5
FOLDS = 3
PROBE_C = 0.1  # strong, since there are more values in a feature than images
LEVEL = 0.9  # of an interval, as in `evidence`
DRAWS = 1000  # of the bootstrap
ALARMS = 0.01  # share of clean images that a check for duplicates may accuse


# Scores -----------------------------------------------------------------------------


@kinds_checked
def logme(features: Features) -> float:
    """Return LogME: how likely a Bayesian linear model finds the labels.

    For each class the labels are 1 or 0 and are explained as ``y = F w + noise`` with
    ``w ~ N(0, 1/alpha)`` and ``noise ~ N(0, 1/beta)``; alpha and beta are those with
    the largest evidence p(y | F). The score is the log evidence for each image,
    averaged over classes (You et al. 2021, arXiv 2102.11005, with the faster fixed
    point of arXiv 2110.10545).

    Args:
        features: labelled, (N, D), not of a test part.

    Raises:
        HeldOutError: features of a test part were given.
        CourseError: labels are missing, of one class, or a value is not finite.
    """
    values, targets = _readable(features)
    left, singular, _ = torch.linalg.svd(values, full_matrices=False)
    scores = [_evidence(left, singular, target) for target in targets.T]
    return float(torch.stack(scores).mean())


def _evidence(left: Tensor, singular: Tensor, target: Tensor) -> Tensor:
    """Largest log evidence for each image of one target (N,), by MacKay's updates."""
    count, width = len(target), len(singular)
    power = singular**2
    along = (left.T @ target) ** 2
    outside = (target @ target - along.sum()).clamp_min(0)
    alpha = beta = torch.ones((), dtype=target.dtype)
    before = torch.tensor(-math.inf, dtype=target.dtype)
    for _ in range(ROUNDS):
        shrink = alpha + beta * power
        weight = (beta**2 * power * along / shrink**2).sum()
        residual = outside + (along * (alpha / shrink) ** 2).sum()
        evidence = (
            width * alpha.log()
            + count * beta.log()
            - shrink.log().sum()
            - beta * residual
            - alpha * weight
            - count * math.log(2 * math.pi)
        ) / (2 * count)
        if (evidence - before).abs() <= SETTLED * evidence.abs():
            break
        before = evidence
        gamma = (beta * power / shrink).sum()
        alpha = gamma / weight.clamp_min(TINY)
        beta = (count - gamma) / residual.clamp_min(TINY)
    # The updates may stop at a lower top than that of alpha = infinity: noise alone.
    noise = -(1 + (2 * math.pi * (target @ target) / count).log()) / 2
    return torch.maximum(evidence, noise)


@kinds_checked
def h_score(features: Features) -> float:
    """Return the H-score with shrinkage: spread between classes over spread at all.

    ``tr(S^-1 B)`` with S the covariance of the features, shrunk towards a multiple of
    the identity (Ledoit & Wolf 2004), and B that of their class means, shrunk alike
    (Bao et al. 2019; shrinkage: Ibrahim et al. 2021, arXiv 2110.06893).

    Args:
        features: labelled, (N, D), not of a test part.

    Raises:
        HeldOutError: features of a test part were given.
        CourseError: labels are missing, of one class, or a value is not finite.
    """
    from sklearn.covariance import ledoit_wolf

    values, targets = _readable(features)
    centred = values - values.mean(dim=0)
    shrunk, strength = ledoit_wolf(centred.numpy(), assume_centered=True)
    counts = targets.sum(dim=0)
    means = (targets.T @ centred) / counts[:, None]
    between = (means.T * counts / len(values)) @ means
    ratio = torch.linalg.solve(torch.as_tensor(shrunk), between)
    return float((1 - strength) * torch.trace(ratio))


@kinds_checked
def leep(beliefs: Tensor, labels: Tensor) -> float:
    """Return LEEP: the mean log belief in the truth, by way of the source's classes.

    ``P(y | z)`` is read off the beliefs, then ``sum_z P(y | z) theta(z)`` is the belief
    in each target class (Nguyen et al. 2020, arXiv 2002.12462).

    Args:
        beliefs: float (N, source classes), the softmax of the source's logits.
        labels: int64 (N,), of the target task.

    Raises:
        CourseError: there is no source class, or not one label an image.
    """
    beliefs, labels = torch.as_tensor(beliefs), torch.as_tensor(labels)
    _paired(beliefs, labels)
    beliefs = beliefs.double()
    joint = F.one_hot(labels).double().T @ beliefs / len(labels)  # P(y, z)
    given = joint / joint.sum(dim=0).clamp_min(TINY)  # P(y | z)
    believed = (beliefs @ given.T).gather(1, labels[:, None])
    return float(believed.clamp_min(TINY).log().mean())


@kinds_checked
def nce(guesses: Tensor, labels: Tensor) -> float:
    """Return NCE: minus the conditional entropy of the labels, given source's guesses.

    Tran et al. 2019, arXiv 1908.08142.

    Args:
        guesses: int64 (N,), the likeliest source class of each image.
        labels: int64 (N,), of the target task.

    Raises:
        CourseError: there are no images, or not one label for each.
    """
    guesses, labels = torch.as_tensor(guesses), torch.as_tensor(labels)
    _paired(guesses.reshape(len(guesses), -1) if guesses.ndim else guesses, labels)
    joint = F.one_hot(labels).double().T @ F.one_hot(guesses).double() / len(labels)
    given = joint / joint.sum(dim=0).clamp_min(TINY)
    return float((joint * given.clamp_min(TINY).log()).sum())


@kinds_checked
def knn(features: Features, k: int = NEIGHBOURS) -> float:
    """Return the share of images whose k nearest others vote for their class.

    Leave-one-out, by cosine; of equally many votes the class with more similarity wins.

    Args:
        features: labelled, (N, D), not of a test part.
        k: neighbours that vote; all others where there are fewer.

    Raises:
        HeldOutError: features of a test part were given.
        CourseError: labels are missing, of one class, or a value is not finite.
    """
    if k < 1:
        raise CourseError(f"{k} neighbours were to vote; expected 1 up.")
    values, targets = _readable(features)
    cosine = F.normalize(values, dim=1) @ F.normalize(values, dim=1).T
    cosine.fill_diagonal_(-math.inf)  # nobody votes for oneself
    similarity, nearest = cosine.topk(min(k, len(values) - 1), dim=1)
    ballots = targets[nearest]  # (N, k, classes)
    ties = (ballots * similarity[..., None]).sum(dim=1) / (2 * k + 1)
    votes = (ballots.sum(dim=1) + ties).argmax(dim=1)
    return float((votes == targets.argmax(dim=1)).double().mean())


@kinds_checked
def probe(features: Features, folds: int = FOLDS, C: float = PROBE_C) -> float:
    """Return the cross-validated accuracy of a linear probe (chapter 02).

    Args:
        features: labelled, (N, D), not of a test part.
        folds: each serves once for judging; a class is dealt out in turn.
        C: of the probe.

    Raises:
        HeldOutError: features of a test part were given.
        CourseError: labels are missing, of one class, or a class has too few images.
    """
    _, targets = _readable(features)
    if folds < 2 or not C > 0 or int(targets.sum(dim=0).min()) < 2:
        raise CourseError(
            "A probe is judged on images that it has not seen; expected two folds or "
            "more, two images or more of each class, and a C above 0."
        )
    place = (targets.cumsum(dim=0) * targets).sum(dim=1).long() % folds
    right = 0.0
    for fold in place.unique():
        rest, judged = (
            torch.nonzero(m).flatten() for m in (place != fold, place == fold)
        )
        fitted = linear_probe(features.take(rest), Cs=(C,))
        right += fitted.score(features.take(judged)) * len(judged)
    return right / len(place)


def _readable(features: Features) -> tuple[Tensor, Tensor]:
    """Return float64 features (N, D) and a column of 0 and 1 for each class present."""
    forbid_test_features(features, "a transferability score")
    if features.labels is None or not len(features):
        raise CourseError(
            "A score was asked of features without labels; expected those of a part, "
            "such as features(model, task.train)."
        )
    values = features.values.double()
    present = features.labels.unique()
    if not values.isfinite().all() or len(present) < 2:
        raise CourseError(
            f"A score was asked of {len(values)} features of {len(present)} class(es); "
            "expected finite numbers and at least two classes."
        )
    return values, (features.labels[:, None] == present).double()


def _paired(beliefs: Tensor, labels: Tensor) -> None:
    fits = beliefs.ndim == 2 and labels.shape == beliefs.shape[:1] and beliefs.numel()
    if not fits or labels.is_floating_point() or labels.min() < 0:
        raise CourseError(
            f"A score was given what the source says as {tuple(beliefs.shape)} and "
            f"labels as {labels.dtype} {tuple(labels.shape)}; expected (N, source "
            "classes), and (N,) whole numbers from 0. "
            "A source without a head has no such score."
        )


@dataclass(frozen=True)
class Score:
    """A transferability score: its paper, and whether it asks the source's head."""

    paper: str
    of: Callable[[Features, Tensor], float]
    needs_head: bool = False


SCORES: Mapping[str, Score] = {
    "LogME": Score("You et al. 2021, arXiv 2102.11005", lambda f, _: logme(f)),
    "H-score": Score("Ibrahim et al. 2021, arXiv 2110.06893", lambda f, _: h_score(f)),
    "LEEP": Score(
        "Nguyen et al. 2020, arXiv 2002.12462",
        lambda f, b: leep(b, f.labels),
        needs_head=True,
    ),
    "NCE": Score(
        "Tran et al. 2019, arXiv 1908.08142",
        lambda f, b: nce(b.argmax(dim=1), f.labels),
        needs_head=True,
    ),
    "k-NN": Score("Cover & Hart 1967", lambda f, _: knn(f)),
    "probe": Score("Alain & Bengio 2016, arXiv 1610.01644", lambda f, _: probe(f)),
}
"""The scores of chapter 07 by name; each is given features and beliefs."""


class Scored(NamedTuple):
    """A score of one source: nan where the source lacks what it needs."""

    value: float
    seconds: float


@kinds_checked
def score(model: Model, part: Part, device: str = "auto") -> dict[str, Scored]:
    """Return every score of a source on labelled images (chapter 07).

    Args:
        model: the source, with the head that it was pretrained with.
        part: of the target task, never its test part.
        device: see `training.device_of`.

    Returns:
        By the names of `SCORES`, and the features' extraction, which all of them share,
        under ``"features"`` with a value of nan.

    Raises:
        HeldOutError: a test part was given.
    """
    forbid_test(part, "a transferability score")
    began = time.perf_counter()
    features = before_head(model, part, device)
    found = {"features": Scored(math.nan, time.perf_counter() - began)}
    beliefs = _beliefs(model, features)
    for name, one in SCORES.items():
        began = time.perf_counter()
        able = beliefs.shape[1] or not one.needs_head
        value = one.of(features, beliefs) if able else math.nan
        found[name] = Scored(value, time.perf_counter() - began)
    return found


def _beliefs(model: Model, features: Features) -> Tensor:
    """Return what the source's own head believes, (N, source classes), maybe 0 wide."""
    head = head_of(model.network)[1]
    with torch.no_grad():
        return head(features.values.to(head.weight.device)).softmax(dim=1).cpu()


# Rank correlation ---------------------------------------------------------------------


class Agreement(NamedTuple):
    """How well the order by a score agrees with the true one, from -1 to 1.

    Args:
        tau: Kendall's tau-b, of the means.
        low: lower end of its bootstrap interval.
        high: upper end.
        weighted: weighted tau (Vigna 2015), in which the best sources count most.
        decided: tau over the pairs that the truth can tell apart; nan without any.
        pairs: how many pairs those are.
        sources: how many sources have the score.
    """

    tau: float
    low: float
    high: float
    weighted: float
    decided: float
    pairs: int
    sources: int


def kendall(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b (1945) along the last axis; nan if one is constant.

    Args:
        one: values (..., n).
        other: values (..., n).
    """
    first, second = np.triu_indices(one.shape[-1], k=1)
    a, b = (np.sign(x[..., first] - x[..., second]) for x in (one, other))
    untied = np.sqrt((a != 0).sum(-1, dtype=float) * (b != 0).sum(-1, dtype=float))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(-1) / untied


@kinds_checked
def agreement(
    scores: Sequence[Sequence[float]],
    truths: Sequence[Sequence[float]],
    draws: int = DRAWS,
    seed: int = 0,
) -> Agreement:
    """Compare the order of sources by a score with the true one (chapter 07).

    The bootstrap draws one subset of labelled images for the score, and as many seeds
    of the truth as there are, with replacement: the interval covers both kinds of
    chance. Images are not drawn twice, since a copy of an image is its own nearest
    neighbour.

    Args:
        scores: (subsets, sources), one row for each subset of labelled images; nan
            where a source does not have the score: it is left out.
        truths: (seeds, sources), the accuracy after fine-tuning.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        CourseError: the tables do not fit, or fewer than three sources have the score.
    """
    score, truth = (np.asarray(x, dtype=float) for x in (scores, truths))
    if draws < 1:
        raise CourseError(
            f"{draws} draws of a bootstrap were asked for; expected 1 up."
        )
    if score.ndim != 2 or truth.ndim != 2 or score.shape[1] != truth.shape[1]:
        raise CourseError(
            f"Scores came as {score.shape} and truths as {truth.shape}; expected "
            "(subsets, sources) and (seeds, sources)."
        )
    has = ~np.isnan(score).any(axis=0)
    if has.sum() < 3:
        raise CourseError(
            f"{int(has.sum())} sources have this score; expected three or more."
        )
    score, truth = score[:, has], truth[:, has]
    low, high = _bootstrap(score, truth, draws, seed)
    clear = decided(truth)
    mean_score, mean_truth = score.mean(axis=0), truth.mean(axis=0)
    return Agreement(
        tau=float(kendall(mean_score, mean_truth)),
        low=low,
        high=high,
        weighted=_weighted(mean_score, mean_truth),
        decided=_over(clear, mean_score, mean_truth),
        pairs=len(clear),
        sources=int(has.sum()),
    )


def _bootstrap(
    score: np.ndarray, truth: np.ndarray, draws: int, seed: int
) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    subsets = generator.integers(len(score), size=draws)
    seeds = generator.integers(len(truth), size=(draws, len(truth)))
    taus = kendall(score[subsets], truth[seeds].mean(axis=1))
    taus = taus[~np.isnan(taus)]
    if not len(taus):
        return math.nan, math.nan
    tail = (1 - LEVEL) / 2
    return tuple(float(end) for end in np.quantile(taus, [tail, 1 - tail]))


def _weighted(one: np.ndarray, other: np.ndarray) -> float:
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a constant score, whose tau is nan
        return float(stats.weightedtau(one, other).statistic)


@kinds_checked
def decided(truths: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Return the pairs of sources whose order the seeds can tell (chapter 07).

    A pair is decided if the Student-t interval of its paired difference leaves out 0.

    Args:
        truths: (seeds, sources), the same seeds and subsets for every source.
    """
    from scipy import stats

    truth = np.asarray(truths, dtype=float)
    if truth.ndim != 2:
        raise CourseError(
            f"Truths came with shape {truth.shape}; expected (seeds, sources)."
        )
    seeds, sources = truth.shape
    if seeds < 2:
        return []
    reach = stats.t.ppf(0.5 + LEVEL / 2, seeds - 1) / math.sqrt(seeds)
    pairs = []
    for a in range(sources):
        for b in range(a + 1, sources):
            difference = truth[:, a] - truth[:, b]
            if abs(difference.mean()) > reach * difference.std(ddof=1):
                pairs.append((a, b))
    return pairs


def _over(
    pairs: Sequence[tuple[int, int]], one: np.ndarray, other: np.ndarray
) -> float:
    signs = [np.sign(one[a] - one[b]) * np.sign(other[a] - other[b]) for a, b in pairs]
    return float(np.mean(signs)) if signs else math.nan


# Contamination ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Duplicates:
    """What a search for near-duplicates found (chapter 07).

    Args:
        nearest: int64 (N,), for each suspect the most similar image of the album.
        similarity: float (N,), their cosine.
        threshold: from which similarity on a pair is reported.
        found: bool (N,), which suspects are reported.
    """

    nearest: Tensor
    similarity: Tensor
    threshold: float
    found: Tensor

    def precision(self, planted: Tensor) -> float:
        """Return the share of what was reported that is planted, bool (N,)."""
        return _share(self.found & planted, self.found)

    def recall(self, planted: Tensor) -> float:
        """Return the share of what is planted, bool (N,), that was reported."""
        return _share(self.found & planted, planted)


@kinds_checked
def near_duplicates(
    album: Features, suspects: Features, clean: Features, alarms: float = ALARMS
) -> Duplicates:
    """Find images whose nearest one in an album is nearer than chance brings it.

    Features are standardised by the album's mean and spread, then compared by cosine.
    The threshold is read off images that are known to be new: all but a share `alarms`
    of them are less similar to their nearest image of the album (chapter 07).

    Args:
        album: features of the images that were learned from, (M, D).
        suspects: features of images that should be new, (N, D), such as a test part's.
        clean: features of new images of the same kind, (K, D), such as fresh ones.
        alarms: the share of clean images that would be reported by mistake.

    Raises:
        CourseError: the features do not fit together, or there are none.
    """
    if not (len(album) and len(suspects) and len(clean)) or not 0 < alarms < 1:
        raise CourseError(
            f"A search for duplicates was given {len(album)}, {len(suspects)} and "
            f"{len(clean)} features and a share of {alarms:g} alarms; expected at "
            "least one of each, and a share between 0 and 1."
        )
    if len({(f.values.shape[1], f.layer) for f in (album, suspects, clean)}) > 1:
        raise CourseError(
            "A search for duplicates was given features of different layers or models; "
            "expected the same for album, suspects and clean images."
        )
    similarity, nearest = _cosine(album, suspects).max(dim=1)
    chance = _cosine(album, clean).max(dim=1).values
    threshold = float(torch.quantile(chance, 1 - alarms, interpolation="higher"))
    return Duplicates(nearest, similarity, threshold, similarity > threshold)


def _cosine(album: Features, others: Features) -> Tensor:
    mean, spread = album.values.mean(dim=0), album.values.std(dim=0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)
    ready = [F.normalize((f.values - mean) / spread, dim=1) for f in (others, album)]
    return ready[0] @ ready[1].T


def _share(part: Tensor, whole: Tensor) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else math.nan
