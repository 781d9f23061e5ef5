"""What sentence vectors are good for: search by meaning, and groups of like texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import stats
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from course.arguments import kinds_checked
from course.bag_of_words import as_texts
from course.errors import CourseError
from course.words import tokens

if TYPE_CHECKING:
    from course.data.docstrings import Docstring
    from course.sentences import Encoder

LEAST_LETTERS = 3  # of a word that may name a cluster
MOST_SHOWN = 100  # letters of a docstring's first line


@dataclass(frozen=True)
class Hit:
    """One text that was found: its place, and its cosine with the query, −1 to 1."""

    place: int
    similarity: float


class Index:
    """Texts and their vectors, to be searched by meaning (chapter 09).

    Args:
        texts: N strings.
        vectors: float32 (N, d), dense or sparse, in the same order.
        encoder: what made them, which a query in words needs.

    Raises:
        CourseError: there is no text, or not one vector a text.
    """

    def __init__(
        self, texts: Sequence[str], vectors: Tensor, encoder: Encoder | None = None
    ) -> None:
        self.texts, self.encoder = as_texts(texts), encoder
        if not self.texts or len(self.texts) != len(vectors):
            raise CourseError(
                f"An index got {len(self.texts)} texts and {len(vectors)} vectors; "
                "expected a vector for each text, and at least one."
            )
        self.vectors = unit(vectors)

    def __len__(self) -> int:
        return len(self.texts)

    @kinds_checked
    def search(self, query: str | Tensor, k: int = 10) -> list[Hit]:
        """Return the k nearest texts, the nearest first; of equals the first text.

        Args:
            query: words, or a vector float32 (d,).
            k: how many, at most as many as there are texts.

        Raises:
            CourseError: there is nothing to search for, or nothing is known of it.
        """
        if not 1 <= k <= len(self):
            raise CourseError(
                f"{k} results were asked of {len(self)} texts; expected a number from "
                f"1 to {len(self)}."
            )
        vector = self._vector(query) if isinstance(query, str) else query
        similarity = self.similarity(torch.as_tensor(vector))
        order = np.argsort(-similarity, kind="stable")[:k]
        return [Hit(int(place), float(similarity[place])) for place in order]

    def similarity(self, vector: Tensor) -> np.ndarray:
        """Return the cosine of each text with a vector (d,): float32 (N,)."""
        column = unit(vector.reshape(1, -1)).to_dense().T
        if column.shape[0] != self.vectors.shape[1]:
            raise CourseError(
                f"A query has {column.shape[0]} numbers and each text "
                f"{self.vectors.shape[1]}; expected both from one encoder."
            )
        return (self.vectors @ column).flatten().clamp(-1, 1).numpy()

    def _vector(self, query: str) -> Tensor:
        if not query.strip():
            raise CourseError("The query is empty; write what you are looking for.")
        if self.encoder is None:
            raise CourseError(
                "This index has no encoder, and a query in words needs one; use "
                "sentences.index(encoder, texts), or search for a vector."
            )
        vector = self.encoder.encode([query]).to_dense()[0]
        if not vector.any():
            raise CourseError(
                f"{self.encoder.name!r} knows no word of {_short(query)!r}; try other "
                "words, or another encoder."
            )
        return vector


@kinds_checked
def index(encoder: Encoder, texts: Sequence[str]) -> Index:
    """Return an index of texts that is searched with words (chapter 09)."""
    if not (hasattr(encoder, "encode") and hasattr(encoder, "name")):
        raise CourseError(
            f"An index was to be made by a {type(encoder).__name__}; expected an "
            "encoder, such as sentences.mean(vectors)."
        )
    return Index(texts, encoder.encode(texts), encoder)


def unit(vectors: Tensor) -> Tensor:
    """Return vectors (N, d), dense or sparse, each of length 1; zeros stay zeros."""
    if not vectors.is_sparse:
        return F.normalize(vectors.float().cpu(), dim=1)
    rows = vectors.coalesce()
    places, values = rows.indices(), rows.values()
    squares = torch.zeros(len(rows)).index_add(0, places[0], values**2)
    values = values / squares.sqrt().clamp(min=1e-12)[places[0]]
    return torch.sparse_coo_tensor(
        places, values, rows.shape, check_invariants=True
    ).coalesce()


@kinds_checked
def plane(vectors: Tensor) -> Tensor:
    """Return places (N, 2) on the plane that shows most of the differences: PCA.

    Args:
        vectors: float32 (N, d), dense.

    Raises:
        CourseError: there are fewer than two vectors, or fewer than two numbers each.
    """
    if vectors.ndim != 2 or min(vectors.shape) < 2:
        raise CourseError(
            f"A plane was asked for vectors of shape {tuple(vectors.shape)}; expected "
            "two or more vectors of two or more numbers."
        )
    centred = (vectors - vectors.mean(dim=0)).double().cpu()
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    largest = axes[:2].gather(1, axes[:2].abs().argmax(dim=1, keepdim=True))
    # A direction and its opposite serve alike; machines differ in which they give.
    return (centred @ (axes[:2] * largest.sign()).T).float()


# The standard library -----------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One entry of the standard library that was found.

    Args:
        name: with its module: ``"shutil.copytree"``.
        line: the first line of its docstring.
        similarity: cosine with what was asked, −1 to 1.
    """

    name: str
    line: str
    similarity: float


def usable(entries: Iterable[Docstring]) -> list[Docstring]:
    """Return what a programmer may call: public names, no page of help, each once.

    Args:
        entries: from `docstrings.corpus`.
    """
    wanted: dict[str, Docstring] = {}
    for entry in entries:
        if entry.public and not entry.name.startswith("help."):
            wanted.setdefault(entry.name, entry)
    return list(wanted.values())


def said(entry: Docstring) -> str:
    """Return what is searched of an entry: its name and what is said of it."""
    return f"{entry.name} {entry.text}"


@kinds_checked
def finder(
    encoder: Encoder, entries: Sequence[Docstring], k: int = 10
) -> Callable[[str], list[Answer]]:
    """Return a search of the standard library: from words to k answers (chapter 09).

    Args:
        encoder: of both entries and queries.
        entries: from `docstrings.corpus`.
        k: how many answers a query gets.

    Raises:
        CourseError: there are fewer entries than k.
    """
    library = index(encoder, [said(entry) for entry in entries])
    k = min(k, len(library))

    def search(query: str) -> list[Answer]:
        hits = library.search(query, k)
        return [_answer(entries[hit.place], hit.similarity) for hit in hits]

    return search


def _answer(entry: Docstring, similarity: float) -> Answer:
    return Answer(entry.name, _short(entry.first_line), similarity)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1].rstrip() + "…"


def found(
    search: Callable[[str], Sequence[Answer]],
    questions: Iterable[tuple[str, Sequence[str]]],
) -> list[bool]:
    """Say for each question whether a right answer is among those that are found.

    A query of which an encoder knows no word counts as not found.

    Args:
        search: from `finder`; it gives as many answers as shall count.
        questions: pairs of a query and the names that would answer it.
    """

    def names(query: str) -> set[str]:
        try:
            return {answer.name for answer in search(query)}
        except CourseError:
            return set()

    return [not names(query).isdisjoint(right) for query, right in questions]


@kinds_checked
def sign_test(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return how likely a difference as large as this is, if both are equally good.

    The exact form of McNemar's test (1947): only questions that one of them answers
    and the other does not say anything, and each is then a toss of a coin.

    Args:
        first: whether each question was answered, by one of them.
        second: the same questions in the same order, by the other.

    Raises:
        CourseError: the numbers of questions differ.
    """
    if len(first) != len(second):
        raise CourseError(
            f"{len(first)} answers are compared with {len(second)}; expected the same "
            "questions of both."
        )
    ahead = sum(a and not b for a, b in zip(first, second, strict=True))
    behind = sum(b and not a for a, b in zip(first, second, strict=True))
    apart = ahead + behind
    return float(stats.binomtest(ahead, apart).pvalue) if apart else 1.0


# Clusters -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups of like texts (chapter 09).

    Args:
        names: of each cluster, its most typical words.
        labels: int64 (N,), the cluster of each text.
        similarity: float32 (N,), cosine of each text with the centre of its cluster.
    """

    names: tuple[str, ...]
    labels: Tensor
    similarity: Tensor

    def members(self, cluster: int) -> list[int]:
        """Return the places of a cluster's texts, the most typical first."""
        places = torch.nonzero(self.labels == cluster).flatten()
        order = self.similarity[places].argsort(descending=True, stable=True)
        return places[order].tolist()


@kinds_checked
def clusters(
    texts: Sequence[str], vectors: Tensor, count: int = 12, seed: int = 0
) -> Clusters:
    """Group texts by k-means on their vectors, brought to length 1 (chapter 09).

    Args:
        texts: N strings, from which the clusters get their names.
        vectors: float32 (N, d).
        count: of clusters.
        seed: of where k-means starts.

    Raises:
        CourseError: there are not as many texts as clusters, or as vectors.
    """
    given, vectors = as_texts(texts), torch.as_tensor(vectors)
    if vectors.ndim != 2 or len(given) != len(vectors) or not 1 <= count <= len(given):
        raise CourseError(
            f"{count} clusters were asked of {len(given)} texts and {len(vectors)} "
            "vectors; expected a vector a text, and no more clusters than texts."
        )
    rows = unit(vectors).to_dense()
    means = KMeans(count, n_init=3, random_state=seed)
    with threadpool_limits(1):  # or the last digits would depend on the machine
        labels = torch.from_numpy(means.fit_predict(rows.numpy())).long()
    centres = unit(torch.from_numpy(means.cluster_centers_))
    similarity = (rows * centres[labels]).sum(dim=1)
    return Clusters(_typical(given, labels, count), labels, similarity)


def _typical(texts: Sequence[str], labels: Tensor, count: int) -> tuple[str, ...]:
    """Name each cluster by words that its texts have and the others have not.

    Of a word that a share p of a cluster's texts holds and a share q of all, p ln(p/q)
    counts: how much more one knows of a text in there than of any.
    """
    inside = [Counter() for _ in range(count)]
    for text, label in zip(texts, labels.tolist(), strict=True):
        inside[label].update({w for w in tokens(text) if len(w) >= LEAST_LETTERS})
    every = sum(inside, Counter())
    sizes = torch.bincount(labels, minlength=count).tolist()
    names: list[str] = []
    for words, size in zip(inside, sizes, strict=True):

        def gain(word: str, words: Counter = words, size: int = size) -> float:
            share, usual = words[word] / size, every[word] / len(texts)
            return share * np.log(share / usual)

        best = sorted(words, key=lambda word: (-gain(word), word))[:3]
        names.append(", ".join(best) or f"cluster {len(names) + 1}")
    return _apart(names)


def _apart(names: Sequence[str]) -> tuple[str, ...]:
    """Number names that occur more than once."""
    seen: Counter = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(result)


@kinds_checked
def browse(
    groups: Clusters, entries: Sequence[Docstring], most: int = 10
) -> dict[str, list[Answer]]:
    """Return by cluster its most typical entries of the standard library (chapter 09).

    Args:
        groups: of the same entries, in the same order.
        entries: from `docstrings.corpus`.
        most: how many of each cluster.

    Raises:
        CourseError: the numbers differ.
    """
    if len(groups.labels) != len(entries):
        raise CourseError(
            f"{len(groups.labels)} texts are in clusters and {len(entries)} entries "
            "were given; expected the same texts."
        )
    return {
        name: [
            _answer(entries[place], groups.similarity[place].item())
            for place in groups.members(cluster)[:most]
        ]
        for cluster, name in enumerate(groups.names)
    }
