"""Reading here and there in tokens on disk, without having more and more of the file in memory.

Whatever is read of a memory-mapped file counts as the program's memory until something lets go of it. After so many
places the mapping is told to: the file stays in the system's cache, whose memory is anyone's who needs it.
"""

from __future__ import annotations

import mmap

import numpy as np

PLACES = 256
"""Places that are read between two times of letting go; each may bring in some 100 KB of the file around it."""


class Pages:
    """Tokens [N], of which some are read at a time."""

    def __init__(self, tokens: np.ndarray):
        self.tokens, self._read = tokens, 0
        mapping = getattr(tokens, "_mmap", None)
        self._mapping = mapping if hasattr(mmap, "MADV_DONTNEED") else None

    def take(self, index: np.ndarray) -> np.ndarray:
        """The ids at `index` [T, B], int32: B places, T symbols from each."""
        ids = self.tokens[index].astype(np.int32)
        self._read += index.shape[1]
        if self._mapping is not None and self._read >= PLACES:
            self._mapping.madvise(mmap.MADV_DONTNEED)
            self._read = 0
        return ids
