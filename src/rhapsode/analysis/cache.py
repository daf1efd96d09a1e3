"""A recency cache: what followed the last few symbols when they stood in this very text before.

    P_k(w | c) = (n(c w) + γ P_k-1(w | c without its first symbol)) / (n(c) + γ)          P_0(w) = 1 / V

with n counted over the text so far, for contexts c of 1 to `ORDER` symbols (Dirichlet smoothing, MacKay & Peto 1995,
doi:10.1017/S1351324900000218; as a language model's cache: Kuhn & De Mori 1990, doi:10.1109/34.56193). Where nothing
matches it says nothing: it is flat. Contexts that were met longest ago are forgotten.
"""

from __future__ import annotations

import numpy as np

ORDER, SMOOTHING = 6, 2.0
"""Symbols in the longest context; γ."""
CONTEXTS = 2**19
"""Contexts that are kept: some 150 MB."""


class RecencyCache:
    """Counts of the text that was read so far."""

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size
        self._recent: tuple[int, ...] = ()
        self._counts: dict[tuple[int, ...], dict[int, int]] = {}

    def distribution(self) -> np.ndarray:
        """P [V], float64, of what comes next."""
        p = np.full(self.vocab_size, 1.0 / self.vocab_size)
        for context in self._contexts():
            counts = self._counts.get(context)
            if counts is None:
                break
            total = sum(counts.values()) + SMOOTHING
            p *= SMOOTHING / total
            p[list(counts)] += np.array(list(counts.values())) / total
        return p

    def read(self, symbol: int) -> None:
        """Count what came next."""
        for context in self._contexts():
            counts = self._counts.pop(context, {})
            counts[symbol] = counts.get(symbol, 0) + 1
            self._counts[context] = counts
        while len(self._counts) > CONTEXTS:
            del self._counts[next(iter(self._counts))]
        self._recent = (*self._recent, symbol)[-ORDER:]

    def _contexts(self) -> list[tuple[int, ...]]:
        """The last symbols, the shortest context first."""
        return [self._recent[-k:] for k in range(1, len(self._recent) + 1)]
