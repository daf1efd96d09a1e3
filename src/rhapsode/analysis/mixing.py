"""A network, an n-gram and a recency cache together, by weights that are learned from the text as it is read.

    log p(w) = sum over i of λ_i log p_i(w) - log Z
    λ_i += rate / sqrt(1 + n / 10) (log p_i(x) - sum over w of p(w) log p_i(w))

after each symbol x, by which the mixture was judged before it learned from it: so the weights need no text of their
own, and a loss is honest. This is online gradient descent (Zinkevich 2003) on a loss that is convex in λ, the "logistic
mixing" of the PAQ compressors (Mahoney 2005) over a whole alphabet. A part that says nothing is flat and changes
nothing, which a weighted mean cannot offer. There is a set of weights for each degree of the network's uncertainty, n
symbols old. Z sums over the vocabulary: the product is a distribution.

Weights that are being learned may lose at first to a part that is nearly always right. So what counts as the mixture is
the Bayesian average of the product and of each part:

    P(text) = 0.7 P_product(text) + 0.1 P_network(text) + 0.1 P_ngram(text) + 0.1 P_cache(text)

which is a mean of their predictions, weighted by how well each has predicted so far. Hence a bound: over all of a text,
of any length, the mixture costs at most ln 10 = 2.3 nats more than the best of its parts, and 0.36 more than the
product.
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

PRIOR = {"network": 0.1, "ngram": 0.1, "cache": 0.1, "product": 0.7}
"""How probable each predictor is beforehand."""


class Mixer:
    """The weights of the product, one set for each degree of uncertainty."""

    def __init__(self) -> None:
        self.weights = np.tile(INITIAL, (len(ENTROPIES) + 1, 1))
        self.seen = np.zeros(len(self.weights))

    def predict(self, parts: np.ndarray, degree: int) -> np.ndarray:
        """log p [V] of the product, from those of the parts [K, V]."""
        z = self.weights[degree] @ parts
        z -= z.max()
        return z - np.log(np.exp(z).sum())

    def learn(self, parts: np.ndarray, degree: int, log_p: np.ndarray, symbol: int) -> None:
        """`symbol` came, where the product had predicted log_p [V]."""
        rate = RATE / np.sqrt(1 + self.seen[degree] / 10)
        self.weights[degree] += rate * (parts[:, symbol] - parts @ np.exp(log_p))
        self.seen[degree] += 1


def mixed(found: Iterable[Predictions], tokens: np.ndarray, ngram: NGram) -> Iterator[Costs]:
    """What tokens [N + 1] but the first cost the `network`, whose predictions `found` are, the `ngram`, the `cache`,
    their `product`, and the `mixture` of all four."""
    cache, mixer, spent = RecencyCache(ngram.vocab_size), Mixer(), -np.log(list(PRIOR.values()))
    for first, log_p in found:
        count = len(log_p)
        before = max(0, first + 2 - ngram.order)
        counted = ngram.distributions(tokens[before : first + count])[-count:]
        parts = np.stack([log_p, np.log(counted), np.empty_like(counted)], axis=1)
        degrees = np.searchsorted(ENTROPIES, -(np.exp(log_p) * log_p).sum(-1))
        nats = np.empty((len(PRIOR), count))
        for i, (now, degree) in enumerate(zip(tokens[first : first + count].tolist(), degrees, strict=True)):
            cache.read(now)
            parts[i, 2] = np.log(cache.distribution())
            symbol = int(tokens[first + i + 1])
            product = mixer.predict(parts[i], degree)
            nats[:3, i], nats[3, i] = -parts[i, :, symbol], -product[symbol]
            mixer.learn(parts[i], degree, product, symbol)
        mixture, spent = averaged(nats, spent)
        yield Costs(first, dict(zip(PRIOR, nats, strict=True)) | {"mixture": mixture})


def averaged(nats: np.ndarray, spent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the Bayesian average of K predictors costs [N], where they cost nats [K, N], and have `spent` [K] before,
    -ln of their prior probability included; and what they have spent then."""
    totals = np.cumsum(np.column_stack([spent - spent.min(), nats]), axis=1)
    return -np.diff(np.logaddexp.reduce(-totals, axis=0)), totals[:, -1]
