"""How compressible a text is: what n-grams (interpolated Kneser-Ney) of a sample of the training part make of a sample
of the held-out part."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rhapsode.analysis.baselines import read_by_order
from rhapsode.text.blocks import Spread
from rhapsode.text.corpus import Corpus, Part

ORDERS = (1, 2, 3, 6, 12)
LEARNED, MEASURED, PIECE = 200_000, 50_000, 5_000
"""Symbols of the samples, and of each of the pieces of a text that they consist of: where many files make one text, few
long pieces would tell more of some than of all."""
MANY = 1000
"""So many documents of a sample, or more, are drawn one by one: of a sorted list, pieces would miss how whole ranges of
its entries begin."""


class Counting(NamedTuple):
    """What n-grams tell of a text."""

    nats: tuple[float, ...]
    """per token, for each of `ORDERS`"""
    repeated: float
    """share of held-out symbols that end a passage of the greatest of `ORDERS` that was counted"""
    learned: int
    """symbols counted"""
    error: float
    """standard error of a loss on all of the held-out part, nats per token; not a number: it is too short to tell"""

    @property
    def least(self) -> float:
        """Nats per token of the best order."""
        return min(self.nats)


def count(corpus: Corpus) -> Counting | None:
    """Count a sample of the training part, measure a sample of the held-out part; None where nothing is held out."""
    if not corpus.held_out.predictions:
        return None
    many = len(corpus.train.starts) > 1
    boundary = corpus.tokenizer.boundary if many else None
    learned, measured = _sample(corpus.train, LEARNED), _sample(corpus.held_out, MEASURED)
    tokens = corpus.train.tokens[learned].astype(np.int64)
    others = corpus.held_out.tokens[measured].astype(np.int64)
    found = read_by_order(ORDERS, tokens, others, corpus.tokenizer.vocab_size, boundary)
    nats, longest = tuple(float(x.nats.mean()) for x in found), found[-1]
    spread = Spread(corpus.held_out)
    spread.add(measured[1:] - 1, longest.nats)
    share = len(others) / len(corpus.held_out.tokens)
    error = spread.standard_error() * math.sqrt(share)
    return Counting(nats, float(longest.seen.mean()), len(tokens), error)


def _sample(part: Part, size: int) -> np.ndarray:
    """Positions of at most `size` tokens, ascending: evenly spaced documents where they are many, else evenly spaced
    pieces."""
    total = len(part.tokens)
    if total <= size:
        return np.arange(total)
    if (many := size * len(part.starts) // total) >= MANY:
        chosen = np.linspace(0, len(part.starts) - 1, many).astype(np.int64)
        return _stretches(part.starts[chosen], np.diff(part.starts, append=total)[chosen])[:size]
    pieces = -(-size // PIECE)
    starts = np.linspace(0, total - size // pieces, pieces).astype(np.int64)
    return _stretches(starts, np.full(pieces, size // pieces))


def _stretches(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The positions in stretches [N] that begin at `starts` [N] and have these `sizes` [N]."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1])
