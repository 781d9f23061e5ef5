"""Wrong answers that readers give to the exercises of chapter 09, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises.base import Mistake

Answer = Callable[..., Any]

# Positive pointwise mutual information ------------------------------------------------


def _positive(information: Tensor) -> Tensor:
    return information.clamp(min=0)


def _context(counts: Tensor, power: float) -> Tensor:
    raised = counts.sum(dim=0, keepdim=True) ** power
    return raised / raised.sum()


def _word(counts: Tensor, power: float) -> Tensor:
    return counts.sum(dim=1, keepdim=True) / counts.sum()


def _informed(
    end: Callable[[Tensor], Tensor] = _positive,
    word: Callable[[Tensor, float], Tensor] = _word,
    context: Callable[[Tensor, float], Tensor] = _context,
    log: Callable[[Tensor], Tensor] = torch.log,
) -> Answer:
    """Return an answer that gets one of its steps wrong."""

    def answer(counts: Tensor, power: float) -> Tensor:
        chance = word(counts, power) * context(counts, power)
        information = end(log(counts / counts.sum() / chance))
        return torch.where(counts > 0, information, 0.0)

    return answer


_ppmi = _informed()


def _nothing_met(counts: Tensor, power: float) -> Tensor:
    chance = _word(counts, power) * _context(counts, power)
    return (counts / counts.sum() / chance).log().clamp(min=0)


def _one_more(counts: Tensor, power: float) -> Tensor:
    return _ppmi(counts + 1, power)


def _smoothed_words(counts: Tensor, power: float) -> Tensor:
    return _context(counts.T, power).T


def _raised(counts: Tensor, power: float) -> Tensor:
    return _context(counts, 1.0) ** power


def _in_the_row(counts: Tensor, power: float) -> Tensor:
    rows = counts.sum(dim=1, keepdim=True).clamp(min=1)
    return counts / rows


PPMI = (
    Mistake(
        _informed(end=lambda information: information),
        "Less than chance came out negative: keep the positive part, clamp(min=0).",
        "negative information kept",
    ),
    Mistake(
        _informed(end=torch.abs),
        "Less than chance became as good as more: clamp at 0 instead of taking the "
        "absolute value.",
        "absolute value",
    ),
    Mistake(
        _informed(context=lambda counts, power: _context(counts, 1.0)),
        "The power was not used: raise the counts of the contexts to it.",
        "contexts not smoothed",
    ),
    Mistake(
        _informed(
            word=_smoothed_words,
            context=lambda counts, power: _context(counts, 1.0),
        ),
        "The words were smoothed: the power belongs to the contexts, the columns.",
        "words smoothed instead of contexts",
    ),
    Mistake(
        _informed(word=_smoothed_words),
        "Words and contexts were both smoothed: the power belongs to the contexts "
        "alone.",
        "both smoothed",
    ),
    Mistake(
        lambda counts, power: _ppmi(counts**power, 1.0),
        "Each count was raised to the power: only the sums of the columns are.",
        "counts raised to the power",
    ),
    Mistake(
        _informed(context=_raised),
        "The shares were raised to the power and have no sum of 1 any more: raise the "
        "counts, then divide by their own sum.",
        "not divided by the new sum",
    ),
    Mistake(
        _informed(
            context=lambda counts, power: (
                counts.sum(dim=0, keepdim=True) ** power / counts.sum()
            )
        ),
        "The raised counts were divided by the sum of the old ones: divide by their "
        "own.",
        "divided by the old sum",
    ),
    Mistake(
        _nothing_met,
        "0/0 is not a number, and it came where a word or a context was never counted: "
        "put 0 wherever the count is 0.",
        "nothing divided by nothing",
    ),
    Mistake(
        _informed(end=lambda information: information, log=lambda ratio: ratio),
        "That is the ratio: its logarithm is missing.",
        "no logarithm",
    ),
    Mistake(
        _informed(log=torch.log2),
        "That is the logarithm to base 2: take the natural one.",
        "logarithm to base 2",
    ),
    Mistake(
        _informed(log=torch.log1p),
        "That is log(1 + ratio), which is positive for less than chance as well.",
        "logarithm of one more",
    ),
    Mistake(
        _in_the_row,
        "Those are shares of a row, P(context | word): divide them by what chance "
        "would make of it, P(context), and take the logarithm.",
        "shares of the row",
    ),
    Mistake(
        _informed(context=lambda counts, power: torch.ones(1, counts.shape[1])),
        "P(context) is missing below the line: what is common meets everybody.",
        "contexts left out",
    ),
    Mistake(
        _one_more,
        "One was added to every count: what never met gets 0, and the others stay.",
        "one added to every count",
    ),
)

# Masked words -------------------------------------------------------------------------

Special = Sequence[int]
Chosen = Callable[[Tensor, Tensor, Special], Tensor]
Shown = Callable[..., Tensor]


def _is_special(ids: Tensor, special: Special) -> Tensor:
    return torch.isin(ids, torch.tensor(special))


def _chosen(ids: Tensor, chance: Tensor, special: Special) -> Tensor:
    return (chance < 0.15) & ~_is_special(ids, special)


def _show(
    chosen: Tensor, ids: Tensor, fate: Tensor, others: Tensor, mask: int
) -> Tensor:
    shown = torch.where(chosen & (fate < 0.8), mask, ids)
    return torch.where(chosen & (fate >= 0.8) & (fate < 0.9), others, shown)


def _tell(chosen: Tensor, ids: Tensor, shown: Tensor) -> Tensor:
    return torch.where(chosen, ids, -100)


def _masking(
    choose: Chosen = _chosen,
    show: Shown = _show,
    tell: Callable[[Tensor, Tensor, Tensor], Tensor] = _tell,
) -> Answer:
    """Return an answer that gets one of its three steps wrong."""

    def answer(
        ids: Tensor,
        chance: Tensor,
        fate: Tensor,
        others: Tensor,
        mask: int,
        special: Special,
    ) -> Any:
        chosen = choose(ids, chance, special)
        shown = show(chosen, ids, fate, others, mask)
        return shown, tell(chosen, ids, shown)

    return answer


_mask = _masking()


def _none_kept(
    chosen: Tensor, ids: Tensor, fate: Tensor, others: Tensor, mask: int
) -> Tensor:
    shown = torch.where(chosen & (fate < 0.8), mask, ids)
    return torch.where(chosen & (fate >= 0.8), others, shown)


def _overwritten(
    chosen: Tensor, ids: Tensor, fate: Tensor, others: Tensor, mask: int
) -> Tensor:
    shown = torch.where(chosen & (fate < 0.8), mask, ids)
    return torch.where(chosen & (fate < 0.9), others, shown)


def _everywhere(
    chosen: Tensor, ids: Tensor, fate: Tensor, others: Tensor, mask: int
) -> Tensor:
    return _show(torch.ones_like(chosen), ids, fate, others, mask)


def _replaced_everywhere(
    chosen: Tensor, ids: Tensor, fate: Tensor, others: Tensor, mask: int
) -> Tensor:
    shown = torch.where(chosen & (fate < 0.8), mask, ids)
    return torch.where((fate >= 0.8) & (fate < 0.9), others, shown)


def _other_shares(
    chosen: Tensor, ids: Tensor, fate: Tensor, others: Tensor, mask: int
) -> Tensor:
    shown = torch.where(chosen & (fate < 0.9), mask, ids)
    return torch.where(chosen & (fate < 0.1), others, shown)


def _one_number(ids: Tensor, chance: Tensor, _: Tensor, *rest: Any) -> Any:
    return _mask(ids, chance, chance / 0.15, *rest)


def _mask_alone_told(
    ids: Tensor,
    chance: Tensor,
    fate: Tensor,
    others: Tensor,
    mask: int,
    special: Special,
) -> Any:
    shown, _ = _mask(ids, chance, fate, others, mask, special)
    return shown, torch.where(shown == mask, ids, -100)


def _in_place(
    ids: Tensor,
    chance: Tensor,
    fate: Tensor,
    others: Tensor,
    mask: int,
    special: Special,
) -> Any:
    shown, labels = _mask(ids, chance, fate, others, mask, special)
    return ids.copy_(shown), labels


MASK_WORDS = (
    Mistake(
        _masking(tell=lambda chosen, ids, shown: ids),
        "Every word got a label: only the chosen ones do, and -100 elsewhere keeps the "
        "loss from the rest.",
        "labels for every word",
    ),
    Mistake(
        _masking(tell=lambda chosen, ids, shown: torch.where(chosen, shown, -100)),
        "The labels say what is shown, such as the mask: take them from ids, before "
        "anything is replaced.",
        "labels of what is shown",
    ),
    Mistake(
        _masking(tell=lambda chosen, ids, shown: torch.where(shown != ids, ids, -100)),
        "A word that was chosen and stays as it is has to be told as well: it needs a "
        "label.",
        "words that stay without a label",
    ),
    Mistake(
        _mask_alone_told,
        "Only masked words got a label: a chosen word that was replaced or stays has "
        "to be told as well.",
        "labels for masked words only",
    ),
    Mistake(
        _masking(tell=lambda chosen, ids, shown: torch.where(chosen, ids, 0)),
        "Elsewhere the label is -100, which cross-entropy leaves out: 0 is a class.",
        "zero instead of -100",
    ),
    Mistake(
        _masking(tell=lambda chosen, ids, shown: torch.where(chosen, -100, ids)),
        "The labels are the wrong way round: -100 stands where no word was chosen.",
        "labels the wrong way round",
    ),
    Mistake(
        _masking(lambda ids, chance, special: chance < 0.15),
        "Padding or another number that is no word was chosen: leave out whatever is "
        "in `special`.",
        "padding chosen",
    ),
    Mistake(
        _masking(lambda ids, chance, special: (chance < 0.15) & (ids != special[0])),
        "Only the first of the special numbers was left out: there are several.",
        "one special number only",
    ),
    Mistake(
        _masking(lambda ids, chance, special: _chosen(ids, 1 - chance, special)),
        "The chance was read from the other end: a word is chosen where it is below "
        "0.15.",
        "chosen from the other end",
    ),
    Mistake(
        _masking(
            lambda ids, chance, special: (chance >= 0.15) & ~_is_special(ids, special)
        ),
        "Those are the words that are not chosen: chance < 0.15.",
        "all but the chosen",
    ),
    Mistake(
        _masking(
            show=lambda chosen, ids, fate, others, mask: chosen * mask + ~chosen * ids
        ),
        "All chosen words were masked: of ten, one is replaced and one stays.",
        "all of them masked",
    ),
    Mistake(
        _masking(show=_none_kept),
        "From 0.8 on all were replaced: from 0.9 on they stay.",
        "no word stays",
    ),
    Mistake(
        _masking(show=_overwritten),
        "fate < 0.9 holds for the masked ones as well, which were replaced again: ask "
        "for fate >= 0.8, too.",
        "masked words replaced again",
    ),
    Mistake(
        _masking(show=_other_shares),
        "The replaced ones are those from 0.8 to below 0.9, not those below 0.1.",
        "shares in another order",
    ),
    Mistake(
        _masking(show=_everywhere),
        "The fate was asked of all words: only the chosen ones are changed.",
        "all words changed",
    ),
    Mistake(
        _masking(show=_replaced_everywhere),
        "Words were replaced that nobody had chosen: ask for chosen, too.",
        "replaced without being chosen",
    ),
    Mistake(
        _one_number,
        "Chance decides which words are chosen and fate what becomes of them: one "
        "number was used for both.",
        "one number for both",
    ),
    Mistake(
        _in_place,
        "ids themselves were changed, and the next epoch would start from masked text: "
        "make a copy, or use torch.where.",
        "changed in place",
    ),
    Mistake(
        lambda *arguments: _mask(*arguments)[::-1],
        "Labels came first: return what is shown and then the labels.",
        "results swapped",
    ),
)

# The mean over words ------------------------------------------------------------------


def _real(ids: Tensor, pad: int) -> Tensor:
    return (ids != pad).float()[..., None]


def _total(hidden: Tensor, real: Tensor) -> Tensor:
    return (hidden * real).sum(dim=1)


def _count(real: Tensor) -> Tensor:
    return real.sum(dim=1).clamp(min=1)


def _pooled(
    total: Callable[[Tensor, Tensor], Tensor] = _total,
    count: Callable[[Tensor], Tensor | float] = _count,
    real: Callable[[Tensor, int], Tensor] = _real,
) -> Answer:
    """Return an answer that gets one of its three steps wrong."""

    def answer(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
        words = real(ids, pad)
        return total(hidden, words) / count(words)

    return answer


def _first_words(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
    lengths = (ids != pad).sum(dim=1)
    rows = zip(hidden, lengths.tolist(), strict=True)
    return torch.stack([row[:n].sum(dim=0) / max(n, 1) for row, n in rows])


def _largest(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
    padded = (ids == pad)[..., None]
    largest = hidden.masked_fill(padded, float("-inf")).amax(dim=1)
    return torch.where(padded.all(dim=1), 0.0, largest)


def _numbers_met(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
    return (hidden * ids[..., None]).sum(dim=1) / ids.sum(dim=1).clamp(min=1)[:, None]


def _unit(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
    return F.normalize(_pooled()(hidden, ids, pad), dim=1)


def _over_features(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
    return (hidden * _real(ids, pad)).mean(dim=2)


def _over_texts(hidden: Tensor, ids: Tensor, pad: int) -> Tensor:
    real = _real(ids, pad)
    return (hidden * real).sum(dim=0) / real.sum(dim=0).clamp(min=1)


MEAN_POOL = (
    Mistake(
        _pooled(real=lambda ids, pad: torch.ones(*ids.shape, 1)),
        "Padding was counted as words: leave it out of the sum and of the number.",
        "padding counted",
    ),
    Mistake(
        _pooled(count=lambda real: real.shape[1]),
        "The sum is right and was divided by the whole length: divide by the number of "
        "real words.",
        "divided by the whole length",
    ),
    Mistake(
        _pooled(lambda hidden, real: hidden.sum(dim=1)),
        "What stands at padded places is in the sum: a network writes something there, "
        "too.",
        "padding in the sum",
    ),
    Mistake(
        _pooled(count=lambda real: real.sum(dim=1)),
        "A text of no words was divided by 0, and 0/0 is not a number: return zeros.",
        "nothing divided by nothing",
    ),
    Mistake(
        _pooled(count=lambda real: real.sum(dim=1) + 1),
        "You divided by one word more than there are: that a text may have none is "
        "what clamp(min=1) is for.",
        "one word too many",
    ),
    Mistake(
        _pooled(count=lambda real: real.sum().clamp(min=1)),
        "You divided by the words of the whole batch: each text has its own number.",
        "words of the whole batch",
    ),
    Mistake(
        _pooled(count=lambda real: 1.0),
        "That is the sum: divide it by the number of real words.",
        "sum instead of a mean",
    ),
    Mistake(
        _pooled(real=lambda ids, pad: _real(ids, 0)),
        "Padding is not always 0: use `pad`.",
        "zero taken for padding",
    ),
    Mistake(
        _pooled(real=lambda ids, pad: (ids == pad).float()[..., None]),
        "That is the mean over the padding: words are where ids != pad.",
        "mean over the padding",
    ),
    Mistake(
        _first_words,
        "The first places were taken, as many as there are words: padding may stand in "
        "front, so take the places where ids != pad.",
        "padding expected at the end",
    ),
    Mistake(
        lambda hidden, ids, pad: hidden[:, 0],
        "That is the first place alone: take the mean over all words.",
        "first place alone",
    ),
    Mistake(
        lambda hidden, ids, pad: hidden[:, -1],
        "That is the last place alone, which may be padding: take the mean over all "
        "words.",
        "last place alone",
    ),
    Mistake(
        _largest,
        "That is the largest value of each feature: take the mean.",
        "largest instead of the mean",
    ),
    Mistake(
        _numbers_met,
        "Each word was weighted by its own number: ids only say where words are.",
        "weighted by the ids",
    ),
    Mistake(
        _over_features,
        "The mean was taken over the features: it runs over the words, dim=1.",
        "mean over the wrong axis",
    ),
    Mistake(
        _over_texts,
        "The mean was taken over the texts of the batch: it runs over the words, "
        "dim=1.",
        "mean over the texts",
    ),
    Mistake(
        _unit,
        "The mean was brought to length 1: leave it as it is.",
        "brought to length one",
    ),
)

# Search -------------------------------------------------------------------------------


def _cosines(query: Tensor, vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=1) @ F.normalize(query, dim=0)


def _paired(places: Tensor, values: Tensor) -> list[tuple[int, float]]:
    return [(int(place), float(values[place])) for place in places]


def _ranked(
    likeness: Callable[[Tensor, Tensor], Tensor] = _cosines, descending: bool = True
) -> Answer:
    """Return an answer by what it takes for similar, and by its order."""

    def answer(query: Tensor, vectors: Tensor, k: int) -> Any:
        values = likeness(query, vectors)
        return _paired(values.argsort(descending=descending)[:k], values)

    return answer


_search = _ranked()


def _plain_cosines(query: Tensor, vectors: Tensor) -> Tensor:
    lengths = vectors.norm(dim=1) * query.norm()
    return vectors @ query / lengths


def _distances(query: Tensor, vectors: Tensor) -> Tensor:
    return (vectors - query).norm(dim=1)


def _centred(query: Tensor, vectors: Tensor) -> Tensor:
    return _cosines(query - query.mean(), vectors - vectors.mean(dim=1, keepdim=True))


def _by_columns(query: Tensor, vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=0) @ F.normalize(query, dim=0)


def _angles(query: Tensor, vectors: Tensor) -> Tensor:
    return _cosines(query, vectors).clamp(-1, 1).arccos()


def _by_place(query: Tensor, vectors: Tensor, k: int) -> Any:
    return sorted(_search(query, vectors, k))


def _never_fewer(query: Tensor, vectors: Tensor, k: int) -> Any:
    cosines = _cosines(query, vectors)
    return _paired(cosines.topk(k).indices, cosines)  # RuntimeError beyond the end


def _as_topk(query: Tensor, vectors: Tensor, k: int) -> Any:
    return tuple(_cosines(query, vectors).topk(min(k, len(vectors))))


def _without_zeros(query: Tensor, vectors: Tensor, k: int) -> Any:
    pairs = _search(query, vectors, len(vectors))
    return [pair for pair in pairs if vectors[pair[0]].any()][:k]


def _largest_size(query: Tensor, vectors: Tensor) -> Tensor:
    return _cosines(query, vectors).abs()


SEARCH = (
    Mistake(
        _ranked(_plain_cosines),
        "A vector of zeros has the length 0, and 0/0 is not a number, which comes "
        "first in every order: let its cosine be 0.",
        "nothing divided by nothing",
    ),
    Mistake(
        _ranked(lambda query, vectors: vectors @ query),
        "Those are products, in which long vectors win: divide by both lengths.",
        "product instead of cosine",
    ),
    Mistake(
        _ranked(lambda query, vectors: vectors @ F.normalize(query, dim=0)),
        "Only the query was brought to length 1: the vectors have lengths, too.",
        "vectors not brought to length one",
    ),
    Mistake(
        _ranked(lambda query, vectors: F.normalize(vectors, dim=1) @ query),
        "The order is right, but the cosine is divided by the length of the query as "
        "well.",
        "query not brought to length one",
    ),
    Mistake(
        _ranked(_distances, descending=False),
        "Those are distances, which depend on lengths: take the cosine.",
        "distance instead of cosine",
    ),
    Mistake(
        _ranked(descending=False),
        "The farthest came first: sort by cosine, downwards.",
        "the farthest first",
    ),
    Mistake(
        _ranked(_largest_size),
        "A cosine of -1 is the opposite, not the same: leave out the absolute value.",
        "absolute value",
    ),
    Mistake(
        _ranked(_centred),
        "The mean was taken out first, which makes a correlation of it: the cosine "
        "compares the vectors as they are.",
        "correlation instead of cosine",
    ),
    Mistake(
        _ranked(_by_columns),
        "The columns were brought to length 1: a text is a row, dim=1.",
        "length of the columns",
    ),
    Mistake(
        _ranked(lambda query, vectors: _cosines(query, vectors).softmax(dim=0)),
        "Those are shares of a softmax: return the cosines.",
        "softmax of the cosines",
    ),
    Mistake(
        _ranked(_angles, descending=False),
        "Those are angles: return their cosines.",
        "angles instead of cosines",
    ),
    Mistake(
        _by_place,
        "The right texts, sorted by place: the nearest comes first.",
        "sorted by place",
    ),
    Mistake(
        _never_fewer,
        "There may be fewer texts than are wanted, and topk raises an error then: "
        "return all of them.",
        "fewer texts not expected",
    ),
    Mistake(
        _as_topk,
        "That is what topk returns, all values and then all places: zip them into "
        "pairs, place first.",
        "two tensors instead of pairs",
    ),
    Mistake(
        lambda *arguments: [(value, place) for place, value in _search(*arguments)],
        "Each pair is (place, cosine), in this order.",
        "pairs the wrong way round",
    ),
    Mistake(
        lambda *arguments: [place for place, _ in _search(*arguments)],
        "Those are places alone: return (place, cosine) of each.",
        "places alone",
    ),
    Mistake(
        lambda query, vectors, k: _search(query, vectors, 1),
        "That is the nearest alone: k are wanted.",
        "the nearest alone",
    ),
    Mistake(
        lambda query, vectors, k: _search(query, vectors, len(vectors)),
        "All texts came back: k are wanted.",
        "all of them",
    ),
    Mistake(
        _without_zeros,
        "Texts of zeros were left out: their cosine is 0, which is more than that of "
        "a text that points away.",
        "texts of zeros left out",
    ),
)
