"""What counting achieves: an interpolated Kneser-Ney n-gram over the ids of any tokenizer.

    P_k(w | c) = max(a(c w) - D(a(c w)), 0) / a(c ·)  +  γ(c) P_k-1(w | c without its first symbol)
    γ(c)       = sum over w of D(a(c w)) / a(c ·)          P_0(w) = 1 / V

For a gram g of the greatest length, a(g) is how often it occurs; for a shorter one it is the number of different
symbols found before it (Kneser & Ney 1995, doi:10.1109/ICASSP.1995.479394), plus how often it occurs where nothing can
come before it, at the start of a document. Interpolated, with three discounts D(1), D(2), D(3 and more) for each
length, estimated from how many grams have a = 1, 2, 3, 4: "modified Kneser-Ney" of Chen & Goodman (1999),
doi:10.1006/csla.1999.0128. (One discount a length, n1 / (n1 + 2 n2), costs the 7-gram of tiny-shakespeare 0.05 nats.)
Contexts do not reach across a document boundary; they begin with it.

Grams are numbered exactly, without hashing: a gram of k symbols is the pair (number of its first k-1 symbols, last
symbol), its own number is the rank of that pair among all of its length. So a length is one sorted array, and a
lookup a binary search. A fitted model takes about 20 bytes for each different gram of each length; counting takes some
80 bytes and, for a 7-gram, 1.5 µs for each symbol of the text: fine up to a hundred million symbols, not for more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

DISCOUNTS = (0.5, 1.0, 1.5)
"""Used where a length has too few different grams to estimate them (a unigram of characters, a tiny text)."""
UNSEEN = np.iinfo(np.int64).max
"""A key that no gram has, behind all others."""


class _Length(NamedTuple):
    """All grams of one length. The last entry of each array is for what was never seen."""

    keys: np.ndarray
    """[grams + 1], int64, sorted: number of the first k-1 symbols times V, plus the last symbol"""
    share: np.ndarray
    """[grams + 1]: discounted relative frequency of the last symbol after the others"""
    backoff: np.ndarray
    """[contexts + 1]: γ; 1 where nothing ever followed"""

    def probability(self, gram: np.ndarray, context: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """P_k of grams of these numbers after contexts of these numbers, given P_k-1 (all of one shape)."""
        return self.share[gram] + self.backoff[context] * shorter


class NGram:
    """An n-gram model of `order` n: predicts from the n-1 symbols before, or as many as there are."""

    def __init__(self, order: int = 7):
        self.order = order
        self.vocab_size = 0
        self._lengths: list[_Length] = []

    def fit(self, tokens: np.ndarray, vocab_size: int, boundary: int | None = None) -> NGram:
        """Count tokens[1:], each with what is before it in its document. Returns itself.

        Args:
            tokens: ids [N], N >= 1, the first of which is context only (a part of a corpus is laid out like this).
            vocab_size: V; symbols that do not occur get a share of P_0.
            boundary: the id that separates documents; None: `tokens` is one document.
        """
        self.vocab_size = vocab_size
        self._lengths = [length for length, _ in _lengths(tokens, vocab_size, boundary, self.order)]
        return self

    def nats(self, tokens: np.ndarray) -> np.ndarray:
        """-log P [N-1], float64, of each of tokens[1:]; tokens[0] is context only."""
        return -np.log(self._probabilities(np.asarray(tokens, np.int64))[1:])

    def distribution(self, context: np.ndarray) -> np.ndarray:
        """P [V], float64, of what comes after the ids `context` (which may be empty)."""
        return self.distributions(context[max(0, len(context) - self.order + 1) :])[-1]

    def distributions(self, tokens: np.ndarray) -> np.ndarray:
        """P [N + 1, V], float64: row i is of what comes after tokens[:i]."""
        tokens, V = np.asarray(tokens, np.int64), self.vocab_size
        p = np.full((len(tokens) + 1, V), 1.0 / V)
        context = np.zeros(len(p), np.int64)
        for keys, share, backoff in self._lengths:
            p *= backoff[context, None]
            first, last = np.searchsorted(keys, np.stack([context, context + 1]) * V)
            sizes = last - first
            gram = np.repeat(last - np.cumsum(sizes), sizes) + np.arange(sizes.sum())
            p[np.repeat(np.arange(len(p)), sizes), keys[gram] % V] += share[gram]
            context = np.append(-1, _find(keys, context[:-1] * V + tokens))
        return p

    def _probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """P of each of tokens [N, ...] after those before it along the first axis."""
        p = np.full(tokens.shape, 1.0 / self.vocab_size)
        context = np.zeros_like(tokens)
        for length in self._lengths:
            gram = _find(length.keys, context * self.vocab_size + tokens)
            p = length.probability(gram, context, p)
            context = _later(gram)
        return p


class Reading(NamedTuple):
    """What an n-gram of one order makes of a text of M symbols."""

    nats: np.ndarray
    """-log P [M-1], float64, of each symbol but the first, which is context only"""
    seen: np.ndarray
    """[M-1], bool: whether the n symbols that end there stand so in what was learned"""


def read_by_order(
    orders: Collection[int], tokens: np.ndarray, others: np.ndarray, vocab_size: int, boundary: int | None = None
) -> list[Reading]:
    """What n-grams of several orders, ascending, fitted to `tokens` [N], make of `others` [M].

    The nats are those of `NGram(n).fit(tokens, vocab_size, boundary).nats(others)`; but grams are counted once for all
    orders, and those of one length are kept at a time.
    """
    others, found = np.asarray(others, np.int64), list[Reading]()
    p, context = np.full(others.shape, 1.0 / vocab_size), np.zeros_like(others)
    for k, (length, last) in enumerate(_lengths(tokens, vocab_size, boundary, max(orders), orders), 1):
        gram = _find(length.keys, context * vocab_size + others)
        if k in orders:
            found.append(Reading(-np.log((last or length).probability(gram, context, p)[1:]), gram[1:] >= 0))
        p, context = length.probability(gram, context, p), _later(gram)
        del length, last
    return found


def _lengths(
    tokens: np.ndarray, vocab_size: int, boundary: int | None, order: int, ends: Collection[int] = ()
) -> Iterator[tuple[_Length, _Length | None]]:
    """The lengths 1 ... `order` of an n-gram; and beside each shorter one that is in `ends`, what it is at the end of
    an n-gram of its own order."""
    tokens, V, contexts = np.asarray(tokens, np.int64), vocab_size, 1
    reach = np.minimum(_reach(tokens, boundary), order - 1)
    keys, grams, _ = _numbered(tokens, reach, np.zeros(len(tokens), np.int64), 1, V)
    for k in range(1, order + 1):
        longer, numbers, somewhere = _numbered(tokens, reach, grams, k + 1, V)
        yield (
            _counted(keys, np.append(grams[somewhere], grams[1:][reach[1:] == k - 1]), contexts, V),
            _counted(keys, grams[1:][reach[1:] >= k - 1], contexts, V) if k in ends and k < order else None,
        )
        keys, grams, contexts = longer, numbers, len(keys)


def _reach(tokens: np.ndarray, boundary: int | None) -> np.ndarray:
    """How many symbols before each of tokens [N] belong to its document, the boundary that opens it included."""
    opening = np.zeros_like(tokens)
    if boundary is not None:
        opening[1:] = np.maximum.accumulate(np.where(tokens == boundary, np.arange(len(tokens)), 0))[:-1]
    return np.arange(len(tokens)) - opening


def _numbered(
    tokens: np.ndarray, reach: np.ndarray, shorter: np.ndarray, k: int, vocab_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number the grams of k symbols, given the number of the k-1 symbols that end at each place.

    Returns their sorted keys; the number of the gram that ends at each of the N places (-1: none); and for each gram
    one place where it ends.
    """
    rows = np.flatnonzero(reach >= k - 1)
    keys, ranks = np.unique(shorter[rows - 1] * vocab_size + tokens[rows], return_inverse=True)
    numbers = np.full(len(tokens), -1, np.int64)
    numbers[rows] = ranks
    somewhere = np.empty(len(keys), np.int64)
    somewhere[ranks] = rows
    return keys, numbers, somewhere


def _counted(keys: np.ndarray, grams: np.ndarray, contexts: int, vocab_size: int) -> _Length:
    """Turn the numbers of grams of one length, each as often as it counts, into shares and back-off weights."""
    counts, context = np.bincount(grams, minlength=len(keys)), keys // vocab_size
    discount = _discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(context, counts, contexts)
    freed = np.bincount(context, discount, contexts)
    share = (counts - discount) / np.maximum(total[context], 1)
    backoff = np.divide(freed, total, out=np.ones(contexts), where=total > 0)
    return _Length(np.append(keys, UNSEEN), np.append(share, 0.0), np.append(backoff, 1.0))


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D(0) = 0, D(1), D(2), D(3 and more) of Chen & Goodman (1999), equation 26; each above 0, so that nothing is
    impossible."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(float)
    if n.all():
        y = n[0] / (n[0] + 2 * n[1])
        d = np.array([j - (j + 1) * y * n[j] / n[j - 1] for j in (1, 2, 3)])
        if (d > 0).all():
            return np.append(0.0, d)
    return np.array([0.0, *DISCOUNTS])


def _later(gram: np.ndarray) -> np.ndarray:
    """As contexts of what follows: each number a place later along the first axis; -1 before the first."""
    return np.concatenate([np.full_like(gram[:1], -1), gram[:-1]])


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of `wanted` is in the sorted `keys`; -1: nowhere."""
    at = np.searchsorted(keys, wanted)
    return np.where(keys[at] == wanted, at, -1)
