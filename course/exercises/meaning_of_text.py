"""Exercises of chapter 09: words that meet, masked words, a mean, a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from course.exercises import meaning_of_text_mistakes as mistakes
from course.exercises.base import Case, Exercise, seeded


def _whole(generator: Generator, low: int, high: int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


# Positive pointwise mutual information ------------------------------------------------


def ppmi_reference(counts: Tensor, power: float) -> Tensor:
    """Return how much more often words meet than chance would have them meet.

    Args:
        counts: (words, contexts), how often each word met each context.
        power: what the counts of the contexts are raised to before they become
            probabilities; 1 leaves them as they are, 0.75 makes rare ones commoner
            (Levy, Goldberg and Dagan 2015, TACL 3).

    Returns:
        (words, contexts): the natural logarithm of P(word, context) over P(word)
        P(context); 0 where that is negative, and where the two never met.
    """
    joint = counts / counts.sum()
    word = joint.sum(dim=1, keepdim=True)
    context = counts.sum(dim=0, keepdim=True) ** power
    context = context / context.sum()
    information = (joint / (word * context)).log()
    return torch.where(counts > 0, information.clamp(min=0), 0.0)


def _ppmi_case(rows: Sequence[Sequence[float]], power: float, part: str) -> Case:
    counts = torch.tensor(rows)
    size = " × ".join(str(side) for side in counts.shape)
    shown = [[int(count) for count in row] for row in rows]
    text = shown if counts.numel() <= 9 else f"counts {size}"
    return Case((counts, power), f"ppmi({text}, {power:g})", part)


def _ppmi_cases() -> list[Case]:
    tries = [
        ([[8.0, 1.0], [2.0, 9.0]], 1.0, "as counted"),
        ([[9.0, 2.0, 1.0], [3.0, 7.0, 8.0]], 1.0, "as counted"),
        ([[8.0, 1.0], [2.0, 1.0]], 0.75, "smoothed contexts"),
        ([[20.0, 3.0], [6.0, 5.0], [4.0, 1.0]], 0.5, "smoothed contexts"),
        ([[6.0, 0.0], [1.0, 5.0]], 1.0, "words that never meet"),
        ([[4.0, 0.0, 1.0], [0.0, 3.0, 0.0]], 0.75, "words that never meet"),
        ([[5.0, 1.0], [0.0, 0.0], [2.0, 6.0]], 1.0, "a word without company"),
        ([[5.0, 0.0, 1.0], [2.0, 0.0, 6.0]], 0.75, "a word without company"),
        ([[0.0, 0.0], [0.0, 0.0]], 1.0, "nothing counted"),
    ]
    return [_ppmi_case(*row) for row in tries]


def _draw_ppmi(generator: Generator) -> Case:
    """Draw counts; at least one word met each context, and the other way round."""
    words, contexts = _whole(generator, 2, 5), _whole(generator, 2, 5)
    counts = torch.randint(1, 20, (words, contexts), generator=generator).float()
    power, part = ((1.0, "as counted"), (0.75, "smoothed contexts"))[
        _whole(generator, 0, 1)
    ]
    if _whole(generator, 0, 1):
        counts[_whole(generator, 0, words - 1), _whole(generator, 0, contexts - 1)] = 0
        part = "words that never meet"
    return _ppmi_case(counts.tolist(), power, part)


ppmi = Exercise(
    name="ppmi",
    title="Positive pointwise mutual information",
    minutes=12,
    difficulty="medium",
    trains="telling what belongs together from what is merely common",
    hints=(
        "Three shares: of all meetings those of this word with this context, those of "
        "this word, and those of this context. What would chance make of the last two?",
        "joint = counts / counts.sum(); a word's share is the sum of its row, keepdim "
        "for both axes. A context's counts are raised to the power first, and only "
        "then divided by their own sum.",
        "(joint / (word * context)).log().clamp(min=0), and torch.where(counts > 0, "
        "that, 0.0): 0/0 and log 0 lie only where nothing was counted.",
    ),
    reference=ppmi_reference,
    cases=_ppmi_cases,
    mistakes=mistakes.PPMI,
    place="2 · Which words meet",
    draw=_draw_ppmi,
)

# Masked words -------------------------------------------------------------------------


def mask_words_reference(
    ids: Tensor,
    chance: Tensor,
    fate: Tensor,
    others: Tensor,
    mask: int,
    special: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Return the words that a network is shown, and those that it has to tell.

    A word is chosen where its chance is below 0.15. Of the chosen, those with a fate
    below 0.8 are masked, those from there to below 0.9 are replaced by another word,
    and the rest stay as they are (Devlin and others 2019, arXiv 1810.04805).

    Args:
        ids: int64 (N, L), which must not be changed.
        chance: (N, L), from 0 to 1.
        fate: (N, L), from 0 to 1.
        others: int64 (N, L), a word drawn for each place.
        mask: the number that stands for a masked word.
        special: numbers that are no words, such as padding: never chosen.

    Returns:
        What is shown, int64 (N, L), and the labels, int64 (N, L): the word itself where
        one was chosen, -100 elsewhere, which cross-entropy leaves out.
    """
    chosen = (chance < 0.15) & ~torch.isin(ids, torch.tensor(special))
    labels = torch.where(chosen, ids, -100)
    shown = torch.where(chosen & (fate < 0.8), mask, ids)
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    return torch.where(replaced, others, shown), labels


def _masked(result: Any, ids: Tensor, *_: Any) -> dict[str, Any]:
    shown, labels = result
    return {"shown": shown, "labels": labels, "ids afterwards": ids}


PAD, UNKNOWN, MASK = 0, 1, 2
MASKED, REPLACED, KEPT = "masked words", "replaced words", "words that stay"
PADDING, SEVERAL = "no words among them", "several texts"
FATES = {MASKED: (0.0, 0.8), REPLACED: (0.8, 0.9), KEPT: (0.9, 1.0)}


def _grid(generator: Generator, size: Sequence[int], low: float, high: float) -> Tensor:
    """Draw numbers between two limits; none of them lies on or near a limit."""
    steps = torch.randint(0, 20, tuple(size), generator=generator)
    return low + (high - low) * (steps + 0.5) / 20


def _mask_case(generator: Generator, part: str, size: tuple[int, int]) -> Case:
    """Draw texts of which every second word or so is chosen, and at least one is."""
    ids, others = torch.randint(3, 50, (2, *size), generator=generator)
    others = torch.where(others == ids, others + 50, others)
    special = (PAD, MASK)
    if part == PADDING:
        ids[:, -1], ids[:, 0], special = PAD, UNKNOWN, (PAD, UNKNOWN, MASK)
    few, many = (_grid(generator, size, *ends) for ends in ((0, 0.15), (0.15, 1)))
    chosen = torch.rand(size, generator=generator) < 0.5
    chosen[:, 0] = chosen[:, -1] = True
    chance = torch.where(chosen, few, many)
    fate = _grid(generator, size, *FATES.get(part, (0.0, 1.0)))
    if part == SEVERAL:
        fate[0, 0], fate[-1, 0], fate[-1, -1] = 0.4, 0.85, 0.95
    listed = ids.tolist() if ids.numel() <= 6 else f"ids {tuple(size)}"
    shown = f"mask_words({listed}, chance, fate, others, {MASK}, {special})"
    return Case((ids, chance, fate, others, MASK, special), shown, part)


def _mask_cases() -> list[Case]:
    tries = [
        (MASKED, (1, 4)),
        (MASKED, (1, 6)),
        (REPLACED, (1, 4)),
        (KEPT, (1, 4)),
        (PADDING, (1, 5)),
        (PADDING, (2, 6)),
        (SEVERAL, (2, 8)),
    ]
    return [
        _mask_case(seeded(seed), part, size) for seed, (part, size) in enumerate(tries)
    ]


def _draw_mask(generator: Generator) -> Case:
    size = (_whole(generator, 2, 4), _whole(generator, 2, 8))
    return _mask_case(generator, SEVERAL, size)


mask_words = Exercise(
    name="mask_words",
    title="Masked words",
    minutes=12,
    difficulty="medium",
    trains="making a task from text that nobody has labelled",
    hints=(
        "First which places are chosen, then what the labels are, and only then what "
        "is shown at the chosen places. None of it touches the others.",
        "chosen = (chance < 0.15) & ~torch.isin(ids, torch.tensor(special)). Labels "
        "are the ids there and -100 elsewhere: also where the word stays as it is.",
        "torch.where(chosen & (fate < 0.8), mask, ids), and in that again others where "
        "chosen & (fate >= 0.8) & (fate < 0.9). torch.where makes new tensors, so that "
        "ids stay what they are.",
    ),
    reference=mask_words_reference,
    observe=_masked,
    cases=_mask_cases,
    mistakes=mistakes.MASK_WORDS,
    place="4 · Masked words",
    draw=_draw_mask,
)

# The mean over words ------------------------------------------------------------------


def mean_pool_reference(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
    """Return one vector a text: the mean over its words, padding left out.

    Args:
        hidden: (N, L, d), what a network made of each place.
        ids: int64 (N, L), the words.
        pad: the number that stands for no word.

    Returns:
        (N, d); zeros for a text of no words.
    """
    real = (ids != pad).to(hidden)[..., None]  # (N, L, 1): 1 for a word, 0 for padding
    total = (hidden * real).sum(dim=1)
    return total / real.sum(dim=1).clamp(min=1)


FULL, SHORT, FRONT = "no padding", "padding at the end", "padding elsewhere"
NO_WORDS, OTHER_PAD = "a text of no words", "another number for padding"


def _pool_case(generator: Generator, part: str, shape: Sequence[int]) -> Case:
    count, length, size = shape
    pad = 7 if part == OTHER_PAD else 0
    ids = torch.randint(8, 60, (count, length), generator=generator)
    words = torch.randint(1, length, (count,), generator=generator)
    if part != FULL:
        ids[torch.arange(length) >= words[:, None]] = pad
    if part == FRONT:
        ids = ids.flip(1)
    if part == NO_WORDS:
        ids[0] = pad
    if part == OTHER_PAD:
        ids[:, 0] = 0  # a word like any other
    hidden = (2 * torch.randn((count, length, size), generator=generator)).round() / 2
    hidden += 0.5
    listed = ids.tolist() if ids.numel() <= 6 else f"ids {(count, length)}"
    shown = f"mean_pool(hidden {(count, length, size)}, {listed}, {pad})"
    return Case((hidden, ids, pad), shown, part)


def _pool_cases() -> list[Case]:
    tries = [
        (FULL, (1, 3, 2)),
        (FULL, (2, 4, 3)),
        (SHORT, (1, 3, 2)),
        (SHORT, (3, 5, 2)),
        (FRONT, (2, 3, 2)),
        (OTHER_PAD, (2, 3, 2)),
        (NO_WORDS, (2, 3, 2)),
    ]
    return [
        _pool_case(seeded(seed), part, shape)
        for seed, (part, shape) in enumerate(tries)
    ]


def _draw_pool(generator: Generator) -> Case:
    part = (FULL, SHORT, FRONT, OTHER_PAD)[_whole(generator, 0, 3)]
    shape = [_whole(generator, low, high) for low, high in ((2, 4), (2, 6), (1, 4))]
    return _pool_case(generator, part, shape)


mean_pool = Exercise(
    name="mean_pool",
    title="The mean over real words",
    minutes=6,
    difficulty="easy",
    trains="leaving out what is only there to fill a batch",
    hints=(
        "What stands at a padded place must count neither in the sum nor among those "
        "that it is divided by.",
        "real = (ids != pad).float()[..., None] is 1 for a word and 0 for padding, and "
        "its last axis lets it meet hidden. A text of no words would be divided by 0.",
        "(hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1): 0/1 is 0.",
    ),
    reference=mean_pool_reference,
    cases=_pool_cases,
    mistakes=mistakes.MEAN_POOL,
    place="5 · From words to sentences",
    draw=_draw_pool,
)

# Search -------------------------------------------------------------------------------


def search_reference(query: Tensor, vectors: Tensor, k: int) -> list[tuple[int, float]]:
    """Return the texts nearest to a query by cosine, the nearest first.

    Args:
        query: (d,), the vector of what is looked for.
        vectors: (N, d), one a text; a text of no known words is all zeros.
        k: how many are wanted; where there are fewer, all.

    Returns:
        (place, cosine) of each; with a vector of zeros the cosine is 0.
    """
    lengths = vectors.norm(dim=1) * query.norm()
    cosines = vectors @ query / lengths.clamp(min=1e-12)  # 0/0 would be no number
    best = cosines.argsort(descending=True)[:k]
    return [(int(place), cosines[place].item()) for place in best]


def _found(result: Any, query: Tensor, *_: Any) -> Any:
    """Return the pairs; to a query of zeros all texts are equally near."""
    return result if query.any() else [cosine for _, cosine in result]


PLAIN, LENGTHS, EMPTY = "vectors of one length", "long and short", "a text of zeros"
AGAINST, BEYOND = "texts that point away", "more wanted than there are"
NO_QUERY = "a query of zeros"


def _search_case(generator: Generator, part: str, shape: Sequence[int], k: int) -> Case:
    """Draw vectors of which no two are nearly as similar to the query."""
    count, size = shape
    while True:
        vectors, query = torch.randn((count + 1, size), generator=generator).split(
            [count, 1]
        )
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
        cosines = (vectors @ query[0] / query.norm()).sort().values
        if count == 1 or (cosines.diff().min() > 0.01 and cosines.abs().min() > 0.01):
            break
    if part != PLAIN:
        vectors = vectors * (9 * torch.rand((count, 1), generator=generator) + 0.2)
    if part == AGAINST:
        vectors = -vectors * (vectors @ query.T).sign()
    if part == EMPTY:
        vectors[_whole(generator, 0, count - 1)] = 0
    query = 2 * query[0] * (part != NO_QUERY)
    shown = f"search(query ({size},), vectors {(count, size)}, {k})"
    return Case((query, vectors, k), shown, part)


def _search_cases() -> list[Case]:
    tries = [
        (PLAIN, (4, 3), 2),
        (PLAIN, (5, 4), 1),
        (LENGTHS, (5, 3), 3),
        (LENGTHS, (7, 4), 4),
        (EMPTY, (5, 3), 5),
        (EMPTY, (6, 3), 4),
        (AGAINST, (4, 3), 2),
        (BEYOND, (3, 3), 5),
        (NO_QUERY, (4, 3), 2),
    ]
    return [
        _search_case(seeded(seed), part, shape, k)
        for seed, (part, shape, k) in enumerate(tries)
    ]


def _draw_search(generator: Generator) -> Case:
    count, size = _whole(generator, 3, 8), _whole(generator, 3, 5)
    return _search_case(generator, LENGTHS, (count, size), _whole(generator, 2, count))


search = Exercise(
    name="search",
    title="Search by meaning",
    minutes=8,
    difficulty="easy",
    trains="finding text without a word in common",
    hints=(
        "The cosine of two vectors is their product over both lengths. What becomes of "
        "a length of 0?",
        "vectors @ query are all products at once. Where a vector is all zeros, so is "
        "its product: whatever you divide by, only not by 0.",
        "cosines = vectors @ query / (vectors.norm(dim=1) * query.norm()).clamp(min="
        "1e-12); cosines.argsort(descending=True)[:k] are the places, and a slice does "
        "not mind that there are fewer.",
    ),
    reference=search_reference,
    observe=_found,
    cases=_search_cases,
    mistakes=mistakes.SEARCH,
    place="8 · Search",
    draw=_draw_search,
)

EXERCISES: tuple[Exercise, ...] = (ppmi, mask_words, mean_pool, search)
