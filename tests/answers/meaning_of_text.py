"""Answers to the exercises of chapter 09, wrong ones and right ones."""

import math

import numpy as np
import torch

from answers.kit import right, wrong
from course.exercises import meaning_of_text

ppmi, mask_words = meaning_of_text.ppmi, meaning_of_text.mask_words
mean_pool, search = meaning_of_text.mean_pool, meaning_of_text.search

# Positive pointwise mutual information ------------------------------------------------


@right(ppmi)
def ppmi_by_loops(counts, power):
    rows = counts.tolist()
    total = sum(map(sum, rows))
    raised = [sum(column) ** power for column in zip(*rows, strict=True)]
    found = torch.zeros(counts.shape)
    for i, row in enumerate(rows):
        for j, count in enumerate(row):
            if count:
                chance = sum(row) / total * raised[j] / sum(raised)
                found[i, j] = max(math.log(count / total / chance), 0.0)
    return found


@right(ppmi)
def ppmi_in_numpy(counts, power):
    n = counts.double().numpy()
    context = n.sum(axis=0) ** power
    expected = np.outer(n.sum(axis=1), context / max(context.sum(), 1e-12))
    ratio = np.divide(n, expected, out=np.ones_like(n), where=expected > 0)
    return np.log(np.maximum(ratio, 1))


@right(ppmi)
def ppmi_of_logarithms(counts, power):
    contexts = counts.sum(0).pow(power)
    scale = contexts.sum().log() - contexts.log()
    found = counts.log() - counts.sum(1, keepdim=True).log() + scale
    return found.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).relu()


@right(ppmi)
def ppmi_clamped_first(counts, power):
    word = counts.sum(1, keepdim=True) / counts.sum()
    context = counts.sum(0) ** power / (counts.sum(0) ** power).sum()
    ratio = counts / counts.sum() / (word * context)
    return torch.where(ratio > 1, ratio, torch.ones(())).log()


def shares_of(counts, power):
    joint = counts / counts.sum()
    context = counts.sum(0) ** power
    return joint, joint.sum(1, keepdim=True), context / context.sum()


@wrong(ppmi, "negative information kept")
def ppmi_of_both_signs(counts, power):
    joint, word, context = shares_of(counts, power)
    found = (joint / word / context).log()
    found[counts == 0] = 0
    return found


@wrong(ppmi, "contexts not smoothed", score=0.6)
def ppmi_unsmoothed(counts, power):
    joint = counts / counts.sum()
    chance = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return (joint / chance).log().nan_to_num(nan=0.0).clamp(min=0)


@wrong(ppmi, "words smoothed instead of contexts")
def ppmi_of_smooth_words(counts, power):
    joint = counts / counts.sum()
    word = counts.sum(1, keepdim=True) ** power
    word = word / word.sum()
    found = (joint / (word * joint.sum(0))).log()
    return found.nan_to_num(nan=0.0).clamp(min=0)


@wrong(ppmi, "both smoothed")
def ppmi_smooth_all_over(counts, power):
    joint, _, context = shares_of(counts, power)
    _, _, word = shares_of(counts.T, power)
    found = (joint / torch.outer(word, context)).log()
    return found.nan_to_num(nan=0.0).clamp(min=0)


@wrong(ppmi, "counts raised to the power")
def ppmi_of_raised_counts(counts, power):
    joint, word, context = shares_of(counts**power, 1.0)
    return (joint / (word * context)).log().nan_to_num(nan=0.0).clamp(min=0)


@wrong(ppmi, "not divided by the new sum", score=0.4)
def ppmi_of_raised_shares(counts, power):
    joint = counts / counts.sum()
    chance = joint.sum(1, keepdim=True) * joint.sum(0) ** power
    return (joint / chance).log().nan_to_num(nan=0.0).clamp(min=0)


@wrong(ppmi, "divided by the old sum")
def ppmi_of_the_old_sum(counts, power):
    joint = counts / counts.sum()
    context = counts.sum(0) ** power / counts.sum()
    found = (joint / (joint.sum(1, keepdim=True) * context)).log()
    return found.nan_to_num(nan=0.0).clamp(min=0)


@wrong(ppmi, "nothing divided by nothing", score=0.6)
def ppmi_unguarded(counts, power):
    joint, word, context = shares_of(counts, power)
    return torch.log(joint / (word * context)).clamp(min=0)


@wrong(ppmi, "no logarithm")
def ppmi_as_a_ratio(counts, power):
    joint, word, context = shares_of(counts, power)
    return (joint / (word * context)).nan_to_num(nan=0.0)


@wrong(ppmi, "logarithm to base 2")
def ppmi_in_bits(counts, power):
    joint, word, context = shares_of(counts, power)
    return (joint / (word * context)).log2().nan_to_num(nan=0.0).clamp(min=0)


@wrong(ppmi, "absolute value")
def ppmi_of_sizes(counts, power):
    joint, word, context = shares_of(counts, power)
    found = (joint / (word * context)).log().abs()
    return torch.where(counts == 0, torch.zeros(()), found)


@wrong(ppmi, "logarithm of one more")
def ppmi_of_one_more(counts, power):
    joint, word, context = shares_of(counts, power)
    return torch.log1p(joint / (word * context)).nan_to_num(nan=0.0)


@wrong(ppmi, "shares of the row")
def ppmi_as_a_share(counts, power):
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


@wrong(ppmi, "one added to every count")
def ppmi_with_one_more(counts, power):
    joint, word, context = shares_of(counts + 1, power)
    found = (joint / (word * context)).log().clamp(min=0)
    return found * (counts > 0)


# Masked words -------------------------------------------------------------------------


@right(mask_words)
def mask_by_loops(ids, chance, fate, others, mask, special):
    shown, labels = ids.tolist(), []
    for n, row in enumerate(ids.tolist()):
        told = []
        for m, word in enumerate(row):
            if word in special or chance[n, m] >= 0.15:
                told.append(-100)
                continue
            told.append(word)
            if fate[n, m] < 0.8:
                shown[n][m] = mask
            elif fate[n, m] < 0.9:
                shown[n][m] = others[n, m].item()
        labels.append(told)
    return shown, labels


@right(mask_words)
def mask_in_a_copy(ids, chance, fate, others, mask, special):
    chosen = chance < 0.15
    for number in special:
        chosen &= ids != number
    labels = ids.clone()
    labels[~chosen] = -100
    shown = ids.clone()
    shown[chosen & (fate < 0.8)] = mask
    swapped = chosen & (fate >= 0.8) & (fate < 0.9)
    shown[swapped] = others[swapped]
    return shown, labels


@right(mask_words)
def mask_from_the_end(ids, chance, fate, others, mask, special):
    words = ~torch.isin(ids, torch.as_tensor(special))
    chosen = words.logical_and(chance < 0.15)
    shown = torch.where(chosen & (fate < 0.9), others, ids)  # then most are masked
    shown = shown.masked_fill(chosen & (fate < 0.8), mask)
    return [shown, ids.masked_fill(~chosen, -100)]


@right(mask_words)
def mask_in_numpy(ids, chance, fate, others, mask, special):
    ids, chance, fate, others = (x.numpy() for x in (ids, chance, fate, others))
    chosen = (chance < 0.15) & ~np.isin(ids, special)
    shown = np.select(
        [~chosen, fate < 0.8, fate < 0.9], [ids, np.full_like(ids, mask), others], ids
    )
    return shown, np.where(chosen, ids, -100)


def chosen_of(ids, chance, special):
    return (chance < 0.15) & ~torch.isin(ids, torch.tensor(special))


def shown_of(chosen, ids, fate, others, mask):
    shown = ids.clone()
    shown[chosen & (fate < 0.8)] = mask
    swapped = chosen & (fate >= 0.8) & (fate < 0.9)
    shown[swapped] = others[swapped]
    return shown


@wrong(mask_words, "labels for every word")
def mask_all_told(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    return shown_of(chosen, ids, fate, others, mask), ids.clone()


@wrong(mask_words, "labels of what is shown")
def mask_told_late(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    shown = shown_of(chosen, ids, fate, others, mask)
    labels = shown.clone()
    labels[~chosen] = -100
    return shown, labels


@wrong(mask_words, "words that stay without a label", score=0.6)
def mask_changes_told(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    shown = shown_of(chosen, ids, fate, others, mask)
    return shown, ids.masked_fill(shown == ids, -100)


@wrong(mask_words, "labels for masked words only")
def mask_masks_told(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    shown = shown_of(chosen, ids, fate, others, mask)
    return shown, torch.where(chosen & (fate < 0.8), ids, -100)


@wrong(mask_words, "zero instead of -100")
def mask_zero(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    return shown_of(chosen, ids, fate, others, mask), ids * chosen


@wrong(mask_words, "padding chosen", score=0.8)
def mask_padding(ids, chance, fate, others, mask, special):
    chosen = chance < 0.15
    shown = shown_of(chosen, ids, fate, others, mask)
    return shown, torch.where(chosen, ids, -100)


@wrong(mask_words, "one special number only", score=0.8)
def mask_all_but_padding(ids, chance, fate, others, mask, special):
    chosen = (chance < 0.15) & (ids != 0)
    shown = shown_of(chosen, ids, fate, others, mask)
    return shown, torch.where(chosen, ids, -100)


@wrong(mask_words, "all but the chosen")
def mask_the_rest(ids, chance, fate, others, mask, special):
    chosen = (chance > 0.15) & ~torch.isin(ids, torch.tensor(special))
    shown = shown_of(chosen, ids, fate, others, mask)
    return shown, torch.where(chosen, ids, -100)


@wrong(mask_words, "all of them masked")
def mask_every_one(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    return ids.masked_fill(chosen, mask), torch.where(chosen, ids, -100)


@wrong(mask_words, "no word stays", score=0.6)
def mask_or_swap(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    shown = torch.where(fate < 0.8, mask, others)
    return torch.where(chosen, shown, ids), torch.where(chosen, ids, -100)


@wrong(mask_words, "masked words replaced again")
def mask_then_swap(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    shown = ids.clone()
    shown[chosen & (fate < 0.8)] = mask
    shown[chosen & (fate < 0.9)] = others[chosen & (fate < 0.9)]
    return shown, torch.where(chosen, ids, -100)


@wrong(mask_words, "all words changed")
def mask_by_fate(ids, chance, fate, others, mask, special):
    everywhere = torch.ones_like(ids, dtype=torch.bool)
    chosen = chosen_of(ids, chance, special)
    shown = shown_of(everywhere, ids, fate, others, mask)
    return shown, torch.where(chosen, ids, -100)


@wrong(mask_words, "one number for both")
def mask_by_one_number(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    shown = torch.where(chosen & (chance < 0.12), mask, ids)
    swapped = chosen & (chance >= 0.12) & (chance < 0.135)
    return torch.where(swapped, others, shown), torch.where(chosen, ids, -100)


@wrong(mask_words, "changed in place")
def mask_over_the_ids(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    labels = torch.where(chosen, ids, -100)
    ids[chosen & (fate < 0.8)] = mask
    swapped = chosen & (fate >= 0.8) & (fate < 0.9)
    ids[swapped] = others[swapped]
    return ids, labels


@wrong(mask_words, "results swapped")
def mask_labels_first(ids, chance, fate, others, mask, special):
    chosen = chosen_of(ids, chance, special)
    labels = torch.where(chosen, ids, -100)
    return labels, shown_of(chosen, ids, fate, others, mask)


# The mean over words ------------------------------------------------------------------


@right(mean_pool)
def pool_by_loops(hidden, ids, pad):
    pooled = torch.zeros(hidden.shape[0], hidden.shape[2])
    for n, row in enumerate(ids):
        words = hidden[n][row != pad]
        if len(words):
            pooled[n] = words.mean(dim=0)
    return pooled


@right(mean_pool)
def pool_by_product(hidden, ids, pad):
    real = (ids != pad).float()
    weights = real / real.sum(1, keepdim=True).clamp(min=1e-9)
    return (weights[:, None] @ hidden)[:, 0]


@right(mean_pool)
def pool_in_numpy(hidden, ids, pad):
    real = (ids != pad).numpy()
    total = np.einsum("nld,nl->nd", hidden.numpy(), real)
    return total / np.maximum(real.sum(axis=1), 1)[:, None]


@right(mean_pool)
def pool_without_nan(hidden, ids, pad):
    padded = (ids == pad).unsqueeze(-1)
    total = hidden.masked_fill(padded, 0.0).sum(dim=1)
    return torch.nan_to_num(total / (~padded).sum(dim=1))


@wrong(mean_pool, "padding counted", score=0.2)
def pool_everything(hidden, ids, pad):
    return hidden.mean(dim=1)


@wrong(mean_pool, "divided by the whole length", score=0.2)
def pool_masked_mean(hidden, ids, pad):
    return (hidden * (ids != pad)[..., None]).mean(dim=1)


@wrong(mean_pool, "padding in the sum")
def pool_sum_of_all(hidden, ids, pad):
    return hidden.sum(dim=1) / (ids != pad).sum(dim=1, keepdim=True).clamp(min=1)


@wrong(mean_pool, "nothing divided by nothing", score=0.8)
def pool_mean_of_none(hidden, ids, pad):
    return torch.stack(
        [
            row[places].mean(dim=0)
            for row, places in zip(hidden, ids != pad, strict=True)
        ]
    )


@wrong(mean_pool, "one word too many")
def pool_one_more(hidden, ids, pad):
    real = (ids != pad)[..., None]
    return (hidden * real).sum(dim=1) / (real.sum(dim=1) + 1)


@wrong(mean_pool, "words of the whole batch")
def pool_by_the_batch(hidden, ids, pad):
    real = (ids != pad)[..., None]
    return (hidden * real).sum(dim=1) / real.sum().clamp(min=1)


@wrong(mean_pool, "sum instead of a mean")
def pool_sum(hidden, ids, pad):
    return hidden.masked_fill((ids == pad)[..., None], 0).sum(dim=1)


@wrong(mean_pool, "zero taken for padding", score=0.8)
def pool_above_zero(hidden, ids, pad):
    real = (ids > 0).float()[..., None]
    return (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


@wrong(mean_pool, "padding expected at the end", score=0.8)
def pool_up_to_the_length(hidden, ids, pad):
    lengths = (ids != pad).sum(dim=1)
    inside = (torch.arange(ids.shape[1]) < lengths[:, None])[..., None]
    return (hidden * inside).sum(dim=1) / lengths.clamp(min=1)[:, None]


@wrong(mean_pool, "first place alone")
def pool_first(hidden, ids, pad):
    return hidden[:, 0, :]


@wrong(mean_pool, "largest instead of the mean")
def pool_largest(hidden, ids, pad):
    low = hidden.masked_fill((ids == pad)[..., None], -1e9).max(dim=1).values
    return torch.where(low < -1e8, torch.zeros(()), low)


@wrong(mean_pool, "mean over the wrong axis")
def pool_features(hidden, ids, pad):
    return (hidden * (ids != pad)[..., None]).mean(dim=-1)


@wrong(mean_pool, "brought to length one")
def pool_unit(hidden, ids, pad):
    real = (ids != pad).float()[..., None]
    pooled = (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
    return pooled / pooled.norm(dim=1, keepdim=True).clamp(min=1e-9)


# Search -------------------------------------------------------------------------------


@right(search)
def search_by_loops(query, vectors, k):
    found = []
    for place, vector in enumerate(vectors.tolist()):
        product = sum(a * b for a, b in zip(vector, query.tolist(), strict=True))
        lengths = math.hypot(*vector) * math.hypot(*query.tolist())
        found.append((place, product / lengths if lengths else 0.0))
    return sorted(found, key=lambda pair: -pair[1])[:k]


@right(search)
def search_with_topk(query, vectors, k):
    cosines = torch.nn.functional.cosine_similarity(query[None], vectors)
    values, places = cosines.topk(min(k, len(cosines)))
    return list(zip(places, values, strict=True))


@right(search)
def search_in_numpy(query, vectors, k):
    v, q = vectors.numpy(), query.numpy()
    lengths = np.linalg.norm(v, axis=1) * np.linalg.norm(q)
    cosines = np.divide(v @ q, lengths, out=np.zeros(len(v)), where=lengths > 0)
    best = np.argsort(-cosines)[:k]
    return [[n, cosines[n]] for n in best]


@right(search)
def search_without_nan(query, vectors, k):
    cosines = vectors @ query / vectors.norm(dim=1) / query.norm()
    cosines = torch.nan_to_num(cosines)
    ranked = sorted(enumerate(cosines.tolist()), key=lambda pair: pair[1])
    return ranked[::-1][:k]


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=-1)


def pairs_of(values, k, largest=True):
    found = values.topk(min(k, len(values)), largest=largest)
    return [(int(n), float(v)) for v, n in zip(*found, strict=True)]


@wrong(search, "nothing divided by nothing", score=4 / 6)
def search_unguarded(query, vectors, k):
    cosines = vectors @ query / (vectors.norm(dim=1) * query.norm())
    return pairs_of(cosines, k)


@wrong(search, "product instead of cosine")
def search_by_products(query, vectors, k):
    return pairs_of(vectors @ query, k)


@wrong(search, "vectors not brought to length one")
def search_by_projection(query, vectors, k):
    return pairs_of(vectors @ unit(query), k)


@wrong(search, "query not brought to length one")
def search_with_a_long_query(query, vectors, k):
    return pairs_of(unit(vectors) @ query, k)


@wrong(search, "distance instead of cosine")
def search_by_distance(query, vectors, k):
    return pairs_of(torch.cdist(query[None], vectors)[0], k, largest=False)


@wrong(search, "the farthest first")
def search_upwards(query, vectors, k):
    return pairs_of(unit(vectors) @ unit(query), k, largest=False)


@wrong(search, "absolute value", score=2 / 6)
def search_by_size(query, vectors, k):
    return pairs_of((unit(vectors) @ unit(query)).abs(), k)


@wrong(search, "correlation instead of cosine")
def search_by_correlation(query, vectors, k):
    centred = vectors - vectors.mean(dim=1, keepdim=True)
    return pairs_of(unit(centred) @ unit(query - query.mean()), k)


@wrong(search, "softmax of the cosines")
def search_by_shares(query, vectors, k):
    return pairs_of((unit(vectors) @ unit(query)).softmax(dim=0), k)


@wrong(search, "sorted by place")
def search_in_order(query, vectors, k):
    return sorted(pairs_of(unit(vectors) @ unit(query), k))


@wrong(search, "fewer texts not expected", score=5 / 6)
def search_exactly(query, vectors, k):
    values, places = (unit(vectors) @ unit(query)).topk(k)
    return list(zip(places.tolist(), values.tolist(), strict=True))


@wrong(search, "two tensors instead of pairs")
def search_as_it_comes(query, vectors, k):
    return torch.topk(unit(vectors) @ unit(query), min(k, len(vectors)))


@wrong(search, "pairs the wrong way round")
def search_value_first(query, vectors, k):
    return [(value, n) for n, value in pairs_of(unit(vectors) @ unit(query), k)]


@wrong(search, "places alone")
def search_places(query, vectors, k):
    return [n for n, _ in pairs_of(unit(vectors) @ unit(query), k)]


@wrong(search, "all of them")
def search_all(query, vectors, k):
    return pairs_of(unit(vectors) @ unit(query), len(vectors))


@wrong(search, "texts of zeros left out", score=5 / 6)
def search_the_written(query, vectors, k):
    found = pairs_of(unit(vectors) @ unit(query), len(vectors))
    return [(n, value) for n, value in found if vectors[n].norm() > 0][:k]
