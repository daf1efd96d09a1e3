"""Reading here and there in tokens on disk, without having more and more of the file in memory.

Whatever is read of a memory-mapped file counts as the program's memory until something lets go of it. After so many
places the mapping is told to: the file stays in the system's cache, whose memory is anyone's who needs it.
"""

from __future__ import annotations

import mmap

import numpy as np

SMALL = 16 << 20
"""Bytes of a file that may be in memory whole."""
PLACES = 64
"""Places in a larger one that are read between two times of letting go; each may bring in two megabytes around it."""


class Pages:
    """Tokens [N], of which some are read at a time."""

    def __init__(self, tokens: np.ndarray):
        self.tokens = tokens
        mapping = getattr(tokens, "_mmap", None)
        self._mapping = mapping if tokens.nbytes > SMALL and hasattr(mmap, "MADV_DONTNEED") else None

    def take(self, index: np.ndarray) -> np.ndarray:
        """The ids at `index` [T, B], int32: B places, T symbols from each."""
        if self._mapping is None:
            return self.tokens[index].astype(np.int32)
        ids = np.empty(index.shape, np.int32)
        for first in range(0, index.shape[1], PLACES):
            rows = slice(first, first + PLACES)
            ids[:, rows] = self.tokens[index[:, rows]]
            self._mapping.madvise(mmap.MADV_DONTNEED)
        return ids
