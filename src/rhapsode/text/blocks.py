"""How certain a mean loss is: by how much it differs from stretch to stretch of a text.

Losses of neighbouring symbols are not independent, those of documents, or of stretches of some hundred symbols, nearly
are. The standard error is that of a ratio estimate (Cochran, Sampling Techniques, 1977, equation 6.13): stretches
differ in size.
"""

from __future__ import annotations

import math

import numpy as np

from rhapsode.text.store import Part

STRETCH, MOST = 500, 1000
"""Symbols of a stretch; and at most so many of them, else they are longer."""
TOO_MUCH = 0.05
"""A standard error above this part of a loss tells little,"""
ENOUGH = 0.001
"""unless it is below so many nats."""
FEWEST_DOCUMENTS = 30
"""From so many on documents are the stretches, some together where they are many."""


class Spread:
    """Losses of a part's predictions, added up by stretch."""

    def __init__(self, part: Part):
        self.edges = _edges(part)
        self.sums, self.sizes = np.zeros(len(self.edges)), np.zeros(len(self.edges))

    def add(self, index: np.ndarray, nats: np.ndarray) -> None:
        """Count the losses `nats` [N] of the predictions `index` [N], from 0: prediction i is of symbol i + 1."""
        stretch = np.searchsorted(self.edges, index, side="right") - 1
        self.sums += np.bincount(stretch, nats, len(self.edges))
        self.sizes += np.bincount(stretch, minlength=len(self.edges))

    def standard_error(self) -> float:
        """Of the mean loss; not a number where there are not two stretches."""
        seen = self.sizes > 0
        sums, sizes = self.sums[seen], self.sizes[seen]
        if len(sizes) < 2:
            return math.nan
        off = sums - sizes * sums.sum() / sizes.sum()
        return math.sqrt(len(sizes) / (len(sizes) - 1) * float(off @ off)) / float(sizes.sum())


def _edges(part: Part) -> np.ndarray:
    """The first prediction of each stretch, ascending from 0."""
    predictions, documents = max(1, part.predictions), len(part.starts)
    if documents >= FEWEST_DOCUMENTS:
        return np.array(part.starts[:: -(-documents // MOST)], np.int64)
    count = min(MOST, max(1, predictions // STRETCH))
    return np.arange(count) * predictions // count


def certainty(loss: float, error: float) -> str:
    """What a loss and its standard error are worth, in words."""
    if math.isnan(error):
        return "too little text to say how certain its loss is"
    known = f"its loss is known to ± {error:.2g} nats per token (standard error)"
    return f"{known}: too little text for more than a rough idea" if error > max(TOO_MUCH * loss, ENOUGH) else known
