"""From words to sentences: pooled word vectors, and a probe on any encoder's vectors.

An encoder has a `name`, and `encode` turns N texts into float32 (N, d). Real ones are
loaded by name; what is done with their vectors is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from course.arguments import kinds_checked
from course.bag_of_words import CS, BagOfWords, TfIdf, as_texts, bag_of_words
from course.data.texts import TextPart, forbid_test
from course.errors import CourseError
from course.extraction import Features
from course.probing import Probe, linear_probe
from course.search import (
    Answer,
    Clusters,
    Hit,
    Index,
    browse,
    clusters,
    finder,
    found,
    index,
    plane,
    said,
    sign_test,
    usable,
)
from course.sentence_encoder import load
from course.words import WordVectors, tokens

__all__ = [
    "CS",
    "SENTIMENT",
    "Answer",
    "BagOfWords",
    "Clusters",
    "Encoder",
    "Hit",
    "Index",
    "Pooled",
    "TfIdf",
    "bag_of_words",
    "balanced_accuracy",
    "browse",
    "clusters",
    "features",
    "finder",
    "found",
    "index",
    "load",
    "mean",
    "plane",
    "probe",
    "said",
    "sif",
    "sign_test",
    "usable",
]

SENTIMENT = Path(__file__).parent / "tables" / "sentiment.json"
"""What each encoder knows of SST-2's sentiment, recorded once."""

COMMON = 1e-3  # `a` of SIF: a word as frequent as this counts half


class Encoder(Protocol):
    """What turns texts into vectors."""

    name: str

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return float32 (N, d); a text of which nothing is known gives zeros."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """Sentence vectors that are averages of word vectors (chapter 09).

    Args:
        vectors: of words; those of a text without one are passed over.
        weights: float32 (V,), how much each word counts.
        common: float32 (d,) of length 1, a direction that all sentences share and that
            is taken out; None for none.
        name: what tables and menus call it.
    """

    vectors: WordVectors
    weights: Tensor
    common: Tensor | None
    name: str

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return float32 (N, d); zeros for a text without a known word."""
        counts = _counts(as_texts(texts), self.vectors)
        words = counts.sum(axis=1).clip(min=1)
        weighted = (self.weights[:, None] * self.vectors.values).numpy()
        pooled = torch.from_numpy(np.asarray(counts @ weighted / words))
        if self.common is None:
            return pooled
        return pooled - (pooled @ self.common)[:, None] * self.common


def _counts(texts: Sequence[str], vectors: WordVectors) -> sparse.csr_array:
    """Return how often each text holds each word: float32 (N, V)."""
    places, words, numbers = [0], [], []
    for text in texts:
        known = Counter(w for w in tokens(text) if w in vectors.index)
        words += [vectors.index[word] for word in known]
        numbers += known.values()
        places.append(len(words))
    shape = (len(texts), len(vectors.words))
    parts = np.array(numbers, np.float32), np.array(words, int), np.array(places, int)
    return sparse.csr_matrix(parts, shape=shape)


@kinds_checked
def mean(vectors: WordVectors, name: str = "mean of word vectors") -> Pooled:
    """Return the encoder that averages the vectors of a text's words (chapter 09)."""
    return Pooled(vectors, torch.ones(len(vectors.words)), None, name)


@kinds_checked
def sif(
    vectors: WordVectors,
    texts: Sequence[str] | TextPart,
    a: float = COMMON,
    name: str = "weighted word vectors",
) -> Pooled:
    """Return the encoder that weighs words by smooth inverse frequency (chapter 09).

    A word of frequency p counts a / (a + p), and the first singular vector of all
    sentences is taken out of each (Arora, Liang & Ma 2017, ICLR).

    Args:
        vectors: of words.
        texts: what frequencies and direction are learnt from, without any label.
        a: frequency at which a word counts half.
        name: what tables and menus call it.

    Raises:
        HeldOutError: a test part was given.
        CourseError: none of the words has a vector, or `a` is not above 0.
    """
    if isinstance(texts, TextPart):
        forbid_test(texts, "the weights of words")
        texts = texts.texts
    if not 0 < a <= 1:
        raise CourseError(f"a was {a}; expected a frequency above 0, such as 1e-3.")
    counts = _counts(as_texts(texts), vectors)
    if not counts.nnz:
        raise CourseError(
            f"None of the {len(vectors.words)} words with a vector is in these "
            f"{counts.shape[0]} texts; expected texts of the same language."
        )
    frequency = torch.from_numpy(np.asarray(counts.sum(axis=0)).ravel() / counts.sum())
    weights = (a / (a + frequency)).float()
    pooled = Pooled(vectors, weights, None, name).encode(texts)
    return Pooled(vectors, weights, _first_direction(pooled), name)


def _first_direction(rows: Tensor) -> Tensor:
    """Return the direction (d,) along which rows (N, d), not centred, are longest."""
    directions = torch.linalg.eigh(rows.double().T @ rows.double())[1]
    return directions[:, -1].float()


# A probe on sentence vectors ----------------------------------------------------------


def features(encoder: Encoder, part: TextPart) -> Features:
    """Return what an encoder says of each text of a part, for `probing` (chapter 09).

    Raises:
        CourseError: the encoder's vectors are sparse: words are not its features.
    """
    values = encoder.encode(part.texts)
    if values.is_sparse:
        raise CourseError(
            f"The vectors of {encoder.name!r} are sparse, one number a word; use "
            "bag_of_words(train, validation) for a classifier on them."
        )
    labels, names = part.labels, part.class_names
    return Features(values.float().cpu(), labels, names, part.kind, encoder.name)


@kinds_checked
def probe(
    encoder: Encoder,
    train: TextPart,
    validation: TextPart | None = None,
    Cs: Sequence[float] = CS,
) -> Probe:
    """Fit a linear probe on an encoder's sentence vectors (chapter 09).

    C is chosen as `bag_of_words` chooses it, from the same numbers.

    Args:
        encoder: stays as it is.
        train: texts to learn from.
        validation: texts to choose C with.
        Cs: what to choose from.

    Raises:
        HeldOutError: a test part was given.
        CourseError: see `probing.linear_probe`.
    """
    forbid_test(train, "a probe")
    seen = None
    if validation is not None:
        forbid_test(validation, "the choice of C")
        seen = features(encoder, validation)
    return linear_probe(features(encoder, train), seen, Cs)


@kinds_checked
def balanced_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Return the share that is right, averaged over classes: each counts the same.

    Args:
        predicted: int64 (N,).
        labels: int64 (N,), at least one.

    Raises:
        CourseError: the numbers differ, or there is none.
    """
    if predicted.shape != labels.shape or not len(labels):
        raise CourseError(
            f"There are {tuple(predicted.shape)} predictions and "
            f"{tuple(labels.shape)} labels; expected as many of each, at least one."
        )
    right = (predicted == labels).double()
    shares = [right[labels == label].mean() for label in labels.unique()]
    return torch.stack(shares).mean().item()
