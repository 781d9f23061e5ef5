"""A small transformer that reads words: attention, blocks, the mean (chapter 09)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from course.words import PAD

LONGEST = 48  # words; the network knows no longer distance
WIDTH, HEADS, HIDDEN, BLOCKS = 128, 4, 256, 3


def attention(
    queries: Tensor, keys: Tensor, values: Tensor, near: Tensor, pads: Tensor
) -> Tensor:
    """Return, for every word, a mean of all values: softmax(q kᵀ / √d + b) v.

    The scaled dot product of Vaswani et al. 2017 (arXiv 1706.03762, section 3.2.1) with
    a number b for each distance (Raffel et al. 2020, arXiv 1910.10683; chapter 09).

    Args:
        queries: (N, heads, L, d), what each word looks for.
        keys: (N, heads, L, d), what each word can be found by.
        values: (N, heads, L, d), what each word gives to those that find it.
        near: (heads, L, L), from which word to which: how much distance matters.
        pads: bool (N, L), where there is no word: nobody looks there.
    """
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1]) + near
    scores = scores.masked_fill(pads[:, None, None, :], float("-inf"))
    return scores.softmax(dim=-1).to(values.dtype) @ values


def nearby(heads: int = HEADS) -> Tensor:
    """Return where heads look before they have learnt anything: beside them.

    Half of them look at the words before and half at those behind, the first two the
    least far. A number that falls with the distance is ALiBi's (Press et al. 2022,
    arXiv 2108.12409); here it is only the start, and learning changes it. Without such
    a start, minutes on two cores are too few to learn what "beside" means.

    Returns:
        float32 (heads, 2 · `LONGEST` - 1), for distances from the farthest before to
        the farthest behind.
    """
    away = torch.arange(1 - LONGEST, LONGEST).float()
    steep = [0.5 / 4 ** (head // 2) for head in range(heads)]
    other_side = [away <= 0 if head % 2 == 0 else away >= 0 for head in range(heads)]
    rows = zip(steep, other_side, strict=True)
    return torch.stack([-slope * away.abs() - 2.0 * side for slope, side in rows])


class Attention(nn.Module):
    """Several attentions side by side, each with a part of the width (chapter 09)."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.near = nn.Parameter(nearby(heads))

    def forward(self, hidden: Tensor, pads: Tensor) -> Tensor:
        """Return (N, L, width) from as much, with a look at all the words of a text."""
        count, length, width = hidden.shape
        parts = self.project(hidden).view(count, length, 3, self.heads, -1)
        place = torch.arange(length, device=hidden.device)
        near = self.near[:, place[None] - place[:, None] + LONGEST - 1]
        mixed = attention(*parts.permute(2, 0, 3, 1, 4), near, pads)
        return self.join(mixed.transpose(1, 2).reshape(count, length, width))


class Block(nn.Module):
    """Attention, then two layers for each word alone; both are added to what was there.

    Normalised before and not after (Xiong et al. 2020, arXiv 2002.04745): so it learns
    without a long warm-up.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = Attention(width)
        self.before_words = nn.LayerNorm(width)
        self.words = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, width)
        )

    def forward(self, hidden: Tensor, pads: Tensor) -> Tensor:
        """Return (N, L, width) from as much."""
        hidden = hidden + self.attention(self.before_attention(hidden), pads)
        return hidden + self.words(self.before_words(hidden))


class Encoder(nn.Module):
    """Ids of words in, a vector for each word in its place out (chapter 09).

    Args:
        size: how many words the vocabulary has.
        width: of the vectors.
    """

    def __init__(self, size: int, width: int = WIDTH) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(size, width, padding_idx=PAD)
        self.blocks = nn.ModuleList(Block(width) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(size))
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, ids: Tensor) -> Tensor:
        """Return float32 (N, L, width) for int64 (N, L) with L at most `LONGEST`."""
        pads = ids == PAD
        hidden = self.embedding(ids)
        for block in self.blocks:
            hidden = block(hidden, pads)
        return self.norm(hidden)

    def words(self, hidden: Tensor) -> Tensor:
        """Return logits (…, size): how well each word of the vocabulary fits there."""
        return hidden @ self.embedding.weight.T + self.bias


def mean_of_words(hidden: Tensor, ids: Tensor) -> Tensor:
    """Return the mean over the words of each text, (N, width); pads do not count."""
    words = (ids != PAD)[..., None]
    return (hidden * words).sum(dim=1) / words.sum(dim=1).clamp(min=1)


class Classifier(nn.Module):
    """An encoder with a linear head on the mean of its words (chapter 09)."""

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits (N, classes) for int64 (N, L)."""
        return self.head(mean_of_words(self.encoder(ids), ids))
