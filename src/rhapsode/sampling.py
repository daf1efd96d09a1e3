"""From logits to a symbol: small functions on the logits x[V] of one sequence, float64, -inf for what is ruled out.

p = softmax(x) throughout. `choose` composes them in this order, each working on what the one before left:

    penalise      repetition, frequency and presence penalties over the recent symbols
    (bias)        what the user adds to the logits of some symbols
    (masks)       what may not be written: bans, alphabet, special symbols
    temperature   x / T; with several, T of the t-th symbol that is written is the (t mod n)-th
    top_k, top_p, min_p, typical
    draw          the inverse of the cumulative distribution at a number u from the sequence's own stream

A sequence's t-th number depends on (seed, t) alone, and all arithmetic is per sequence, so that its text is the same
whatever runs beside it (the batch law). Ties go to the smaller id.
"""

from __future__ import annotations

import numpy as np

from rhapsode.config import SamplingConfig

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def choose(x: np.ndarray, settings: SamplingConfig, u: float, written: int = 0) -> int:
    """The next symbol, from logits [V] that are masked and penalised already, at u in [0, 1); `written` symbols of the
    text came before.

    Precondition: some logit is finite.
    """
    t = settings.temperature_at(written)
    if settings.greedy or t == 0:
        return int(np.argmax(x))
    x = temperature(x, t)
    x = top_k(x, settings.top_k)
    x = top_p(x, settings.top_p)
    x = min_p(x, settings.min_p)
    x = typical(x, settings.typical_p)
    return draw(x, u)


def temperature(x: np.ndarray, t: float) -> np.ndarray:
    """x / t, moved so that the largest is 0 (which changes no probability): p_i becomes p_i^(1/t), normalised.

    Ackley, Hinton & Sejnowski (1985), doi:10.1207/s15516709cog0901_7.
    """
    with np.errstate(over="ignore"):
        return (x - x.max()) / t


def top_k(x: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest; 0: all. Fan, Lewis & Dauphin (2018), arXiv:1805.04833."""
    if k == 0 or k >= len(x):
        return x
    return _keep(x, _descending(x)[:k])


def top_p(x: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest symbols, from the most probable on, whose probabilities sum to at least p.

    Holtzman et al. (2020), arXiv:1904.09751 (nucleus sampling).
    """
    if p >= 1:
        return x
    order = _descending(x)
    total = np.cumsum(softmax(x)[order])
    return _keep(x, order[: np.searchsorted(total, p * total[-1]) + 1])


def min_p(x: np.ndarray, p: float) -> np.ndarray:
    """Keep the symbols with p_i >= p * max p. Nguyen et al. (2024), arXiv:2407.01082."""
    if p == 0:
        return x
    return np.where(x >= x.max() + np.log(p), x, -np.inf)


def typical(x: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest symbols, from the one on whose surprisal is nearest to the entropy, that sum to at least p.

    Meister et al. (2023), arXiv:2202.00666 (locally typical sampling).
    """
    if p >= 1:
        return x
    q, possible = softmax(x), np.flatnonzero(x > -np.inf)
    mean = np.dot(q[q > 0], x[q > 0])  # -mean is the entropy, where -x is the surprisal: the same constant is added
    order = possible[np.argsort(np.abs(x[possible] - mean), kind="stable")]
    total = np.cumsum(q[order])
    return _keep(x, order[: np.searchsorted(total, p * total[-1]) + 1])


def penalise(
    x: np.ndarray, recent: np.ndarray, repetition: float, frequency: float = 0, presence: float = 0
) -> np.ndarray:
    """Lower the logits of the `recent` symbols (ids).

    repetition            divides a logit, or multiplies one that is negative; however often the symbol occurs.
                          Keskar et al. (2019), arXiv:1909.05858, section 4.1, where all are divided; a negative one
                          would gain by that
    frequency, presence   x_i - frequency * count_i - presence * (count_i > 0), as OpenAI's interface defines them
    """
    if len(recent) == 0 or (repetition, frequency, presence) == (1, 0, 0):
        return x
    x, (ids, counts) = x.copy(), np.unique(recent, return_counts=True)
    x[ids] = np.where(x[ids] > 0, x[ids] / repetition, x[ids] * repetition) - (presence + frequency * counts)
    return x


def draw(x: np.ndarray, u: float) -> int:
    """The smallest i with p_0 + … + p_i > u, for u in [0, 1)."""
    total = np.cumsum(softmax(x))
    return int(np.searchsorted(total, u * total[-1], side="right"))


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x_i) / sum exp(x), float64."""
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def log_softmax(x: np.ndarray) -> np.ndarray:
    """log softmax over the last axis, float64: for logits [..., V]."""
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def uniform(seed: int, index: int) -> float:
    """Number `index` of the stream of `seed`: uniform in [0, 1), 53 bits.

    SplitMix64 of Steele, Lea & Flood (2014), doi:10.1145/2660193.2660195, started at the hash of the seed:
    mix(mix(seed + γ) + (index + 1) γ) / 2^64, arithmetic modulo 2^64.
    """
    return (_mix(_mix(seed + _GOLDEN) + (index + 1) * _GOLDEN) >> 11) * 2.0**-53


def _mix(z: int) -> int:
    """The finaliser of SplitMix64: a bijection of 64-bit numbers."""
    z &= _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _descending(x: np.ndarray) -> np.ndarray:
    """Ids by falling logit, equal ones by rising id."""
    return np.argsort(-x, kind="stable")


def _keep(x: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """x at `ids`, -inf elsewhere."""
    kept = np.full_like(x, -np.inf)
    kept[ids] = x[ids]
    return kept
