"""Words as vectors: counted together, compressed, and looked at (chapter 09)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from course.arguments import kinds_checked
from course.errors import CourseError, unknown
from course.progress import shown

SPECIAL = ("<pad>", "<unk>", "<mask>")
PAD, UNK, MASK = range(3)
MASKED = "[MASK]"  # how a reader writes the word to be guessed
_NEVER = -2.0  # in place of the cosine of a word that is not to be returned

_BORDER = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W\d_]+(?=n't\b)|n't\b|[^\W\d_]+|\d+")


def tokens(text: str) -> list[str]:
    """Return the words and numbers of a text, in lower case (chapter 09).

    Identifiers come apart: ``readLine`` and ``read_line`` are ``read``, ``line``.
    ``don't`` is ``do``, ``n't``, as in GloVe's vocabulary. Text of any script will do;
    of an empty one the list is empty.
    """
    apart = _BORDER.sub(" ", text.replace("’", "'"))
    return _WORD.findall(apart.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows, each with its number (chapter 09).

    Args:
        words: begins with the three of `SPECIAL`: padding, a word that is not known,
            and a word that is hidden. The number of a word is its place.

    Raises:
        CourseError: it begins otherwise, or a word is there twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[:3] != SPECIAL or len(set(self.words)) != len(self.words):
            raise CourseError(
                f"A vocabulary begins with {self.words[:3]} and has {self.size} words, "
                f"{len(set(self.words))} of them different; expected {SPECIAL} first "
                "and each word once."
            )

    @property
    def size(self) -> int:
        """How many words there are, with the three special ones."""
        return len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each word."""
        return {word: at for at, word in enumerate(self.words)}

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def ids(self, text: str) -> list[int]:
        """Return the numbers of a text's words; ``[MASK]`` is the hidden word."""
        first, *rest = (
            [self.index.get(word, UNK) for word in tokens(piece)]
            for piece in text.split(MASKED)
        )
        for piece in rest:
            first += [MASK, *piece]
        return first

    @classmethod
    @kinds_checked
    def build(cls, texts: Iterable[str], size: int = 6000) -> Vocabulary:
        """Return the most frequent words of some texts, of equals the first by name.

        Args:
            texts: any strings.
            size: words at most, with the three special ones.

        Raises:
            CourseError: `size` leaves no room for a word, or the texts hold none.
        """
        if size <= len(SPECIAL):
            raise CourseError(
                f"A vocabulary of {size} words was asked for; expected more than "
                f"{len(SPECIAL)}, since {', '.join(SPECIAL)} are always in it."
            )
        counts = Counter(word for text in texts for word in tokens(text))
        if not counts:
            raise CourseError(
                "A vocabulary was to be built from texts without a word; expected "
                "texts such as those of docstrings.corpus()."
            )
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls((*SPECIAL, *ordered[: size - len(SPECIAL)]))


@dataclass(frozen=True, eq=False)
class WordVectors:
    """A vector for each word (chapter 09).

    Args:
        words: V words.
        values: float32 (V, d). A row of zeros is a word without a vector.
        name: what these vectors are called in tables.

    Raises:
        CourseError: there is not one finite row for each word.
    """

    words: tuple[str, ...]
    values: Tensor
    name: str = "word vectors"
    index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        index = {word: at for at, word in enumerate(self.words)}
        object.__setattr__(self, "index", index)
        if self.values.ndim != 2 or len(self.values) != len(self.words):
            raise CourseError(
                f"{len(self.words)} words got vectors of shape "
                f"{tuple(self.values.shape)}; expected one row a word."
            )
        if not self.values.isfinite().all():
            raise CourseError(
                "The vectors of some words are not finite numbers; expected none such."
            )

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return self.values.shape[1]

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def vector(self, word: str) -> Tensor:
        """Return the vector of a word, float32 (d,).

        Raises:
            CourseError: the word is not known; the message names the nearest spelling.
        """
        if word not in self.index:
            raise _unknown_word(word, self.words)
        return self.values[self.index[word]]

    @kinds_checked
    def neighbours(
        self, word: str, k: int = 10, among: int | None = None
    ) -> list[tuple[str, float]]:
        """Return the k words most similar to a word, with their cosine similarity.

        Args:
            word: a known one.
            k: words to return, fewer where there are not so many.
            among: look at so many words from the first only. Vocabularies begin with
                the most frequent words, and rare ones have unreliable vectors.

        Raises:
            CourseError: the word is not known, or `k` or `among` is below 1.
        """
        return self.nearest(self.vector(word), k, without=(word,), among=among)

    @kinds_checked
    def analogy(
        self, a: str, b: str, c: str, k: int = 5, among: int | None = None
    ) -> list[tuple[str, float]]:
        """Return the k best answers to "a is to b as c is to …", with their cosine.

        The vector ``b - a + c`` of unit vectors, and its nearest words without the
        three given (Mikolov, Yih and Zweig 2013, NAACL). Compare it with
        ``neighbours(c)``, which knows nothing of a and b and often says the same.
        `k` and `among` are those of `neighbours`.
        """
        unit = [F.normalize(self.vector(word), dim=0) for word in (a, b, c)]
        target = unit[1] - unit[0] + unit[2]
        return self.nearest(target, k, without=(a, b, c), among=among)

    @kinds_checked
    def nearest(
        self,
        vector: Tensor,
        k: int = 10,
        without: Sequence[str] = (),
        among: int | None = None,
    ) -> list[tuple[str, float]]:
        """Return the k words whose vectors have the largest cosine with a vector.

        Args:
            vector: float (d,).
            k: words to return, fewer where there are not so many.
            without: words that are not to be returned.
            among: look at so many words from the first only; None for all.

        Raises:
            CourseError: `k` or `among` is below 1, or the vector has another length.
        """
        if k < 1 or (among is not None and among < 1):
            raise CourseError(
                f"{k} words were asked for among {among or 'no'} words; expected 1 up."
            )
        if vector.shape != (self.dimension,):
            raise CourseError(
                f"A vector of shape {tuple(vector.shape)} was compared with vectors of "
                f"{self.dimension} numbers; expected as many."
            )
        units = self.units[:among]
        cosine = units @ F.normalize(vector.float(), dim=0)
        cosine[units.abs().sum(dim=1) == 0] = _NEVER
        for at in (self.index.get(word, len(cosine)) for word in without):
            cosine[at : at + 1] = _NEVER  # an empty slice where the word is not among
        order = torch.argsort(cosine, descending=True, stable=True)[:k].tolist()
        return [(self.words[n], cosine[n].item()) for n in order if cosine[n] > _NEVER]

    @cached_property
    def units(self) -> Tensor:
        """The vectors at length 1, float32 (V, d); zeros stay zeros."""
        return F.normalize(self.values, dim=1)


def _unknown_word(word: str, words: Sequence[str]) -> CourseError:
    error = str(unknown("word", word, words)).split(" Known: ")[0]
    return CourseError(
        f"{error} These vectors know {len(words):,} words, in lower case."
    )


# Counted: pointwise mutual information, and its singular vectors ----------------------


@kinds_checked
def cooccurrence(
    texts: Iterable[str], vocabulary: Vocabulary, window: int = 5
) -> csr_array:
    """Count how often words stand near one another, float64 (V, V), symmetric.

    Two words that are `t` places apart count 1/t, up to `window` places, within one
    text; unknown words keep their place and are not counted.

    Raises:
        CourseError: the window is below 1, or nothing stands near anything.
    """
    if window < 1:
        raise CourseError(f"A window of {window} words was asked for; expected 1 up.")
    gap = [PAD] * window  # so that no window reaches into the next text
    flat = np.array([i for t in texts for i in (*vocabulary.ids(t), *gap)], np.int64)
    size = vocabulary.size
    total = csr_array((size, size), dtype=np.float64)
    for distance in range(1, window + 1):
        left, right = flat[:-distance], flat[distance:]
        both = (left >= len(SPECIAL)) & (right >= len(SPECIAL))
        weight = np.full(int(both.sum()), 1.0 / distance)
        pairs = coo_array((weight, (left[both], right[both])), shape=(size, size))
        total = total + pairs.tocsr()
    if not total.nnz:
        raise CourseError(
            "No two known words stand near one another in these texts; expected texts "
            "of several words, such as those of docstrings.corpus()."
        )
    return csr_array(total + total.T)


def positive_pmi(counts: csr_array, power: float = 0.75) -> csr_array:
    """Turn counts into positive pointwise mutual information, float64 (V, V).

    ``log(p(word, context) / (p(word) p(context)))``, and 0 where that is negative;
    the counts of contexts are raised to `power` before they become shares, which keeps
    rare contexts from looking important (Levy, Goldberg & Dagan 2015, TACL 3).
    """
    pairs = counts.tocoo()
    word = counts.sum(axis=1) / counts.sum()
    context = counts.sum(axis=0) ** power
    context /= context.sum()
    row, column = pairs.coords
    pmi = np.log(pairs.data / counts.sum() / (word[row] * context[column]))
    kept = pmi > 0
    return csr_array((pmi[kept], (row[kept], column[kept])), shape=counts.shape)


@kinds_checked
def pmi_vectors(
    texts: Iterable[str],
    vocabulary: Vocabulary,
    *,
    dimension: int = 128,
    window: int = 5,
    seed: int = 0,
) -> WordVectors:
    """Return word vectors from counts: PPMI and its largest singular vectors.

    ``PPMI ≈ U S Vᵀ``, and a word's vector is its row of ``U √S`` (Levy & Goldberg
    2014, NeurIPS; chapter 09). The same seed gives the same bits on one machine.

    Args:
        texts: what to count in.
        vocabulary: V words; row i of the result is word i, zeros for the special ones.
        dimension: numbers a vector.
        window: words to either side that count as near.
        seed: of the randomised decomposition (Halko et al. 2011, arXiv 0909.4061).

    Raises:
        CourseError: the vocabulary has no more words than `dimension`, or the texts
            hold no two known words side by side.
    """
    if not 1 <= dimension < vocabulary.size:
        raise CourseError(
            f"Vectors of {dimension} numbers were asked for {vocabulary.size} words; "
            f"expected 1 to {vocabulary.size - 1}."
        )
    from sklearn.utils.extmath import randomized_svd

    pmi = positive_pmi(cooccurrence(texts, vocabulary, window))
    with threadpool_limits(1, "blas"):  # so that sums are added in one order
        left, strength, _ = randomized_svd(pmi, dimension, n_iter=4, random_state=seed)
    values = torch.from_numpy((left * np.sqrt(strength)).astype(np.float32))
    values[: len(SPECIAL)] = 0.0
    return WordVectors(vocabulary.words, values.contiguous(), "PMI + SVD")


# Learned elsewhere: GloVe's files -----------------------------------------------------


@kinds_checked
def glove(path: str | Path) -> WordVectors:
    """Read word vectors in GloVe's text format (Pennington et al. 2014, EMNLP).

    A line is a word and its numbers, with spaces between. The files are at
    nlp.stanford.edu/projects/glove.

    Args:
        path: of the file, or of a folder with one such file, ``glove.*.txt``.

    Raises:
        CourseError: there is no such file, or a line of it is damaged.
    """
    file = _glove_file(Path(path).expanduser())
    words: list[str] = []
    rows: list[np.ndarray] = []
    for number, line in enumerate(_lines(file), start=1):
        word, row = _parsed(line)
        if row is None or not word or (rows and len(row) != len(rows[0])):
            expected = f"{len(rows[0])} numbers" if rows else "numbers"
            raise CourseError(
                f"Line {number} of {shown(file)} is damaged: expected a word and "
                f"{expected} with spaces between; fetch the file again."
            )
        words.append(word)
        rows.append(row)
    if not rows:
        raise CourseError(f"{shown(file)} is empty; expected word vectors of GloVe.")
    return WordVectors(tuple(words), torch.from_numpy(np.stack(rows)), file.stem)


def _glove_file(path: Path) -> Path:
    found = sorted(path.glob("glove.*.txt")) if path.is_dir() else [path]
    if len(found) != 1 or not found[0].is_file():
        what = f"{len(found)} files glove.*.txt" if path.is_dir() else "no file"
        raise CourseError(
            f"There are word vectors to be read from {shown(path)}, where there is "
            f"{what}; name one file, such as glove.6B.50d.txt out of glove.6B.zip from "
            "nlp.stanford.edu/projects/glove."
        )
    return found[0]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CourseError(
            f"{shown(file)} is not UTF-8 text (byte {error.start}); expected GloVe's "
            "text format, unpacked, not a binary file or an archive."
        ) from error
    except OSError as error:
        raise CourseError(
            f"{shown(file)} cannot be read: {error.strerror or error}."
        ) from error


def _parsed(line: str) -> tuple[str, np.ndarray | None]:
    word, *numbers = line.rstrip("\r ").split(" ")
    try:
        row = np.array(numbers, dtype=np.float32)
    except ValueError:
        return word, None
    return word, row if len(row) and np.isfinite(row).all() else None
