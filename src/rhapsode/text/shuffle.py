"""A random order of any number of things in constant memory: position i holds item `permute(i)`.

A Feistel network (Luby & Rackoff 1988, doi:10.1137/0217022) permutes the numbers below the next power of four; numbers
that land outside 0 … n-1 are sent through again until they land inside (cycle walking, Black & Rogaway 2002). So the
order of a billion windows is a function, not an array.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 6


def permute(index: np.ndarray, n: int, *key: int) -> np.ndarray:
    """Where the positions `index` (integers in 0 … n-1) go in the order that the numbers `key` choose, int64."""
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = np.random.default_rng(key).integers(0, 2**63, ROUNDS, dtype=np.uint64)
    out = np.array(index, dtype=np.uint64)
    outside = np.ones(out.shape, bool)
    while outside.any():
        out[outside] = _feistel(out[outside], half, keys)
        outside = out >= n
    return out.astype(np.int64)


def _feistel(x: np.ndarray, half: int, keys: np.ndarray) -> np.ndarray:
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    left, right = x >> shift, x & mask
    for key in keys:
        left, right = right, left ^ (_hash(right ^ key) & mask)
    return left << shift | right


def _hash(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014, doi:10.1145/2714064.2660195)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
