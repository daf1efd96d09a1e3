"""A network, an n-gram and a recency cache together, by weights that are learned from the text as it is read.

    log p(w) = sum over i of λ_i log p_i(w) - log Z
    λ_i += rate / sqrt(1 + n / 10) (log p_i(x) - sum over w of p(w) log p_i(w))

after each symbol x, by which the mixture was judged before it learned from it: so the weights need no text of their
own, and a loss is honest. This is online gradient descent (Zinkevich 2003) on a loss that is convex in λ, the "logistic
mixing" of the PAQ compressors (Mahoney 2005) over a whole alphabet. A part that says nothing is flat and changes
nothing, which a weighted mean cannot offer. There is a set of weights for each degree of the network's uncertainty, n
symbols old. Z sums over the vocabulary: the mixture is a distribution.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from rhapsode.analysis.baselines import NGram
from rhapsode.analysis.cache import RecencyCache
from rhapsode.analysis.predictions import Costs, Predictions

INITIAL, RATE = (0.5, 0.5, 0.12), 0.02
"""λ of network, n-gram and cache before any text; how fast they learn at first. Chosen, like `ENTROPIES`, on training
text: see docs/LOG.md."""
ENTROPIES = (0.1, 0.3, 0.7, 1.2, 1.8, 2.4)
"""Nats: where one set of weights gives way to the next."""


class Mixer:
    """The weights, one set for each degree of uncertainty."""

    def __init__(self) -> None:
        self.weights = np.tile(INITIAL, (len(ENTROPIES) + 1, 1))
        self.seen = np.zeros(len(self.weights))

    def predict(self, parts: np.ndarray, degree: int) -> np.ndarray:
        """log p [V] of the mixture, from those of the parts [K, V]."""
        z = self.weights[degree] @ parts
        z -= z.max()
        return z - np.log(np.exp(z).sum())

    def learn(self, parts: np.ndarray, degree: int, log_p: np.ndarray, symbol: int) -> None:
        """`symbol` came, where the mixture had predicted log_p [V]."""
        rate = RATE / np.sqrt(1 + self.seen[degree] / 10)
        self.weights[degree] += rate * (parts[:, symbol] - parts @ np.exp(log_p))
        self.seen[degree] += 1


def mixed(found: Iterable[Predictions], tokens: np.ndarray, ngram: NGram) -> Iterator[Costs]:
    """What tokens [N + 1] but the first cost the `network`, whose predictions `found` are, the `ngram`, the `cache`,
    and the `mixture` of the three."""
    cache, mixer = RecencyCache(ngram.vocab_size), Mixer()
    for first, log_p in found:
        count = len(log_p)
        before = max(0, first + 2 - ngram.order)
        counted = ngram.distributions(tokens[before : first + count])[-count:]
        parts = np.stack([log_p, np.log(counted), np.empty_like(counted)], axis=1)
        degrees = np.searchsorted(ENTROPIES, -(np.exp(log_p) * log_p).sum(-1))
        nats = np.empty((4, count))
        for i, (now, degree) in enumerate(zip(tokens[first : first + count].tolist(), degrees, strict=True)):
            cache.read(now)
            parts[i, 2] = np.log(cache.distribution())
            symbol = int(tokens[first + i + 1])
            mixture = mixer.predict(parts[i], degree)
            nats[:3, i], nats[3, i] = -parts[i, :, symbol], -mixture[symbol]
            mixer.learn(parts[i], degree, mixture, symbol)
        yield Costs(first, dict(zip(("network", "ngram", "cache", "mixture"), nats, strict=True)))
