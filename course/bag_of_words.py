"""Counted words and nothing else: the baseline that an encoder has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from course.arguments import kinds_checked
from course.data.texts import TextPart, forbid_test
from course.errors import CourseError
from course.words import tokens

CS = (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0)


def as_texts(texts: Sequence[str]) -> list[str]:
    """Return texts as a list, or say that they are none.

    Raises:
        CourseError: one string was given instead of several, or something else.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise CourseError(
            "Texts were given as one string or hold something else than strings; "
            'expected a list of strings, such as ["sort a list", "open a file"].'
        )
    return list(texts)


class TfIdf:
    """Texts as the counts of their words, a rare word counting for more (chapter 09).

    The count n of a word becomes (1 + ln n) · (1 + ln((1 + N) / (1 + m))), where m of
    the N texts hold it (Spärck Jones 1972); then each text has length 1.

    Args:
        texts: what the words and their rarity are learnt from: those to search, or
            those of a train part.

    Raises:
        CourseError: there is no word in them.
    """

    name = "bag of words"

    def __init__(self, texts: Sequence[str]) -> None:
        # Our own way to find words; the rest would only warn that theirs is not used.
        options = {"lowercase": False, "token_pattern": None, "sublinear_tf": True}
        self.vectorizer = TfidfVectorizer(tokenizer=tokens, **options)
        given = as_texts(texts)
        try:
            self.vectorizer.fit(given)
        except ValueError as error:  # scikit-learn's word for an empty vocabulary
            raise CourseError(
                f"There is no word in these {len(given)} texts; expected some to count."
            ) from error

    @property
    def words(self) -> np.ndarray:
        """The words, in the order of the columns."""
        return self.vectorizer.get_feature_names_out()

    def rows(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Return float64 (N, words), sparse; no row of a text without a known word."""
        return self.vectorizer.transform(as_texts(texts))

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return sparse float32 (N, words), each row of length 1 or 0."""
        rows = self.rows(texts).tocoo()
        places = torch.from_numpy(np.stack([rows.row, rows.col]).astype(np.int64))
        values = torch.from_numpy(rows.data.astype(np.float32))
        return torch.sparse_coo_tensor(
            places, values, rows.shape, check_invariants=True
        ).coalesce()


@dataclass(frozen=True, eq=False)
class BagOfWords:
    """Logistic regression on counted words: TF-IDF (chapter 09).

    Args:
        counts: from texts to counts; learnt from the train part.
        regression: scikit-learn's, fitted.
        class_names: the name of each class.
        C: the inverse strength of the regularisation.
    """

    counts: TfIdf
    regression: LogisticRegression
    class_names: tuple[str, ...]
    C: float

    def predict(self, texts: Sequence[str]) -> Tensor:
        """Return the likeliest class of each text, int64 (N,)."""
        found = self.regression.predict(self.counts.rows(texts))
        return torch.from_numpy(found).long()

    def score(self, part: TextPart) -> float:
        """Return the accuracy on a part, from 0 to 1."""
        return (self.predict(part.texts) == part.labels).double().mean().item()

    def weights(self, word: str) -> dict[str, float]:
        """Return what a word adds to the logit of each class; zeros where unknown."""
        place = self.counts.vectorizer.vocabulary_.get(word)
        rows = self.regression.coef_
        if len(rows) == 1:  # two classes: scikit-learn keeps the second row alone
            rows = np.concatenate([-rows, rows])
        seen = [self.class_names[label] for label in self.regression.classes_]
        values = np.zeros(len(seen)) if place is None else rows[:, place]
        return dict(zip(seen, map(float, values), strict=True))


@kinds_checked
def bag_of_words(
    train: TextPart, validation: TextPart | None = None, Cs: Sequence[float] = CS
) -> BagOfWords:
    """Fit the baseline: TF-IDF and logistic regression of scikit-learn (chapter 09).

    Args:
        train: texts to learn from, words included.
        validation: texts to choose C with, by accuracy; of equals the smaller C wins,
            as in `probing.linear_probe`. Without them C is 1, or the only one of `Cs`.
        Cs: what to choose from.

    Raises:
        HeldOutError: a test part was given.
        CourseError: the train part is of one class only, or without words.
    """
    forbid_test(train, "a bag of words")
    if not Cs or min(Cs) <= 0:
        raise CourseError(f"C was to be one of {Cs}; expected numbers above 0.")
    if len(train.labels.unique()) < 2:
        raise CourseError(
            f"A bag of words was given {len(train)} texts of fewer than two classes; "
            "expected texts of at least two."
        )
    counts = TfIdf(train.texts)
    if validation is None:
        return _fitted(counts, train, Cs[0] if len(Cs) == 1 else 1.0)
    forbid_test(validation, "the choice of C")
    baselines = [_fitted(counts, train, C) for C in sorted(Cs)]
    return max(baselines, key=lambda one: one.score(validation))


def _fitted(counts: TfIdf, train: TextPart, C: float) -> BagOfWords:
    regression = LogisticRegression(C=C, max_iter=2000)
    with threadpool_limits(1, "blas"):
        regression.fit(counts.rows(train.texts), train.labels.numpy())
    return BagOfWords(counts, regression, train.class_names, C)
