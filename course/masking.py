"""Masked words: hide some, guess them, and see how well counting does (chapter 09)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from course.arguments import kinds_checked
from course.encoder import LONGEST
from course.errors import CourseError
from course.training import Batch, Recipe
from course.words import MASK, PAD, SPECIAL, Vocabulary

Guesser = Callable[[Tensor, Tensor], Tensor]
SHARE = 0.2  # of the words that are to be guessed
NOTHING = -100  # the answer where nothing is asked, as `cross_entropy` knows it
SHORTEST = 4  # words: less says too little about a word that is hidden in it
BATCH = 48  # pieces that are guessed at once: each guess is as wide as the vocabulary
# Each new shape of a matrix leaves some megabytes of compiled code behind on processors
# with bfloat16, and sentences come in all lengths: so these are rounded up.
WORDS_STEP, ASKED_STEP = 8, 64
PRIOR = 10.0  # as many words, spread like all words, are added to each count


@kinds_checked
def pieces(texts: Sequence[str], vocabulary: Vocabulary) -> list[list[int]]:
    """Cut texts into pieces that fit the network, each a list of ids (chapter 09).

    A text of more than `LONGEST` words becomes several pieces; pieces of fewer than
    `SHORTEST` words are left out.

    Raises:
        CourseError: nothing is left.
    """
    found = []
    for text in texts:
        ids = vocabulary.ids(text)
        found += [ids[at : at + LONGEST] for at in range(0, len(ids), LONGEST)]
    kept = [piece for piece in found if len(piece) >= SHORTEST]
    if not kept:
        raise CourseError(
            f"None of the {len(texts)} texts has {SHORTEST} words or more; expected "
            "some such as those of docstrings.corpus()."
        )
    return kept


def room_for(length: int) -> int:
    """Return how many places a row of so many words gets: a multiple of 8."""
    return length + -length % WORDS_STEP


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return lists of ids as int64 (N, L), filled up with `PAD`: see `room_for`."""
    ids = torch.full((len(rows), room_for(max(map(len, rows)))), PAD)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = torch.tensor(values)
    return ids


def hide(
    ids: Tensor, size: int, generator: np.random.Generator, share: float = SHARE
) -> Batch:
    """Hide some words of a batch: what the network sees, and what it is to say.

    Of the words chosen, 80 % become ``<mask>``, 10 % any other word and 10 % stay, so
    that no word can be trusted and none ignored (BERT, Devlin et al. 2019,
    arXiv 1810.04805, section 3.1; chapter 09).

    Args:
        ids: int64 (N, L).
        size: how many words the vocabulary has.
        generator: where the chance comes from.
        share: of the words that are chosen.

    Returns:
        What is seen, int64 (N, L), and the answers: the word where one was chosen, and
        `NOTHING` elsewhere.
    """
    chance, fate = torch.from_numpy(generator.random((2, *ids.shape)))
    other = torch.from_numpy(generator.integers(len(SPECIAL), size, ids.shape))
    chosen = (ids >= len(SPECIAL)) & (chance < share)
    answers = torch.where(chosen, ids, NOTHING)
    seen = torch.where(chosen & (fate < 0.8), MASK, ids)
    return torch.where(chosen & (fate >= 0.9), other, seen), answers


def masked_words(
    network: nn.Module, seen: Tensor, answers: Tensor
) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and accuracy at the places where a word was chosen.

    Args:
        network: a `course.encoder.Encoder`.
        seen: int64 (N, L), from `hide`.
        answers: int64 (N, L), from `hide`.
    """
    asked = (answers != NOTHING).flatten().nonzero().flatten()
    count = len(asked)
    asked = F.pad(asked, (0, -count % ASKED_STEP))  # with the first word, unanswered
    wanted = answers.flatten()[asked]
    wanted[count:] = NOTHING
    logits = network.words(network(seen).flatten(0, 1)[asked]).float()
    right = (logits.detach().argmax(dim=1) == wanted)[:count]
    return F.cross_entropy(logits, wanted), right.float().mean()


@dataclass(frozen=True, eq=False)
class Masked:
    """Batches of pieces with hidden words, each known from its step.

    Pieces of like length stand together, so little is padded. A batch has as many as
    fit into `recipe.batch` texts of full length: short ones are more.

    Args:
        pieces: lists of ids, see `pieces`.
        size: how many words the vocabulary has.
        recipe: gives the batch.
        seed: of order and hiding.
    """

    pieces: Sequence[Sequence[int]]
    size: int
    recipe: Recipe
    seed: int

    @cached_property
    def _groups(self) -> list[tuple[int, int]]:
        """Where in the pieces, ordered by length, each batch begins and ends."""
        room = self.recipe.batch * LONGEST
        groups, start = [], 0
        lengths = sorted(map(len, self.pieces))
        for at, length in enumerate(lengths):
            if (at + 1 - start) * room_for(length) > room:
                groups.append((start, at))
                start = at
        return [*groups, (start, len(lengths))]

    def batch(self, step: int) -> Batch:
        """Return what is seen at a step and the answers, int64 (N, L) each."""
        epoch, place = divmod(step, len(self._groups))
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.pieces))
        lengths = np.array([len(piece) for piece in self.pieces])[order]
        order = order[np.argsort(lengths, kind="stable")]  # chance among equals
        start, end = self._groups[generator.permutation(len(self._groups))[place]]
        ids = padded([self.pieces[at] for at in order[start:end]])
        return hide(ids, self.size, np.random.default_rng([self.seed, step, 1]))


# How good is a guess? -----------------------------------------------------------------


@dataclass(frozen=True)
class Guesses:
    """How well hidden words were guessed: share right, mean loss in nats, how many."""

    accuracy: float
    loss: float
    n: int


@kinds_checked
def guesses(
    guess: Guesser, rows: Sequence[Sequence[int]], size: int, seed: int = 0
) -> Guesses:
    """Hide words as in training, and see how many are guessed (chapter 09).

    The same seed hides the same words, so guessers can be compared.

    Args:
        guess: `Counted.guess`, or a language model's.
        rows: pieces of texts that nobody has learnt from.
        size: how many words the vocabulary has.
        seed: of what is hidden.
    """
    ordered = sorted(rows, key=len)
    right = loss = count = 0.0
    for start in range(0, len(ordered), BATCH):
        generator = np.random.default_rng([seed, start])
        seen, answers = hide(padded(ordered[start : start + BATCH]), size, generator)
        asked = answers != NOTHING
        if asked.any():
            logits, wanted = guess(seen, asked), answers[asked]
            right += (logits.argmax(dim=1) == wanted).sum().item()
            loss += F.cross_entropy(logits, wanted, reduction="sum").item()
            count += len(wanted)
    return Guesses(right / max(count, 1), loss / max(count, 1), int(count))


@dataclass(frozen=True, eq=False)
class Counted:
    """Guesses by counting alone: what a network has to do better than (chapter 09).

    Args:
        shares: float32 (V,), how frequent each word is.
        after: counts (V, V), row: a word, column: the word after it; None to guess by
            frequency, whatever stands beside.
    """

    shares: Tensor
    after: sparse.csr_array | None

    def guess(self, seen: Tensor, asked: Tensor) -> Tensor:
        """Return log probabilities (asked, V) of the words at the places asked for.

        ``p(w | left, right)`` is taken as ``p(w | left) p(w | right) / p(w)``: exact
        where left and right know nothing of each other.

        Args:
            seen: int64 (N, L), hidden words as ``<mask>``.
            asked: bool (N, L), the places.
        """
        prior = self.shares.log().expand(int(asked.sum()), -1)
        if self.after is None:
            return prior
        left = F.pad(seen, (1, 0), value=PAD)[:, :-1][asked]
        right = F.pad(seen, (0, 1), value=PAD)[:, 1:][asked]
        forwards = self._beside(self.after, left)
        backwards = self._beside(self.after.T.tocsr(), right)
        return (forwards + backwards - prior).log_softmax(dim=1)

    def _beside(self, counts: sparse.csr_array, words: Tensor) -> Tensor:
        """Return log p(word | the one beside it), float32 (N, V), smoothed."""
        rows = torch.from_numpy(counts[words.numpy()].toarray()).float()
        smooth = rows + PRIOR * self.shares
        return (smooth / smooth.sum(dim=1, keepdim=True)).log()


def counted(
    rows: Sequence[Sequence[int]], size: int, *, neighbours: bool = True
) -> Counted:
    """Count words, and which stand side by side, in pieces of texts (chapter 09).

    Args:
        rows: pieces of the texts that others learn from.
        size: how many words the vocabulary has.
        neighbours: guess from the words beside, and not from frequency alone.
    """
    flat = np.concatenate([[*row, PAD] for row in rows])
    frequency = np.bincount(flat, minlength=size).astype(np.float64)
    frequency[: len(SPECIAL)] = 0
    shares = (frequency + 0.5) / (frequency + 0.5).sum()
    if not neighbours:
        return Counted(torch.from_numpy(shares).float(), None)
    left, right = flat[:-1], flat[1:]
    both = (left >= len(SPECIAL)) & (right >= len(SPECIAL))
    pairs = sparse.coo_array(
        (np.ones(int(both.sum()), np.float32), (left[both], right[both])), (size, size)
    )
    return Counted(torch.from_numpy(shares).float(), pairs.tocsr())
