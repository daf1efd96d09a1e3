"""The masks of one training step, as the core draws them: `rhapsode.nn.masks`."""

from __future__ import annotations

from dataclasses import dataclass

import rhapsode._native as _native
from rhapsode.nn import masks

NOTHING = _native.Mask()
"""Drops nothing."""


@dataclass(frozen=True)
class Dropout:
    """What decides every mask of a step, for rows [first, first + size) of a batch of `batch_size`."""

    seed: int
    number: int
    batch_size: int
    first: int
    size: int
    every_step: bool
    part: float = 1.0
    """of every rate (`Update.dropout`)"""

    def vectors(self, site: str, p: float) -> _native.Mask:
        """The mask at `site` of vectors [T*B, D]."""
        return self._mask(site, p, self.size, self.batch_size if self.every_step else 0, self.first)

    def weights(self, site: str, p: float) -> _native.Mask:
        """The mask at `site` of a recurrent matrix."""
        return self._mask(site, p, 1, 1, 0)

    def _mask(self, site: str, p: float, batch: int, step: int, first: int) -> _native.Mask:
        p *= self.part
        if not masks.threshold(p):
            return NOTHING
        key = masks.key(self.seed, self.number, site)
        return _native.Mask(key, masks.threshold(p), masks.scale(p), batch, step, first)
