"""Dropout masks as a pure function of (seed, step, site, position).

No generator runs along: any mask can be drawn again, a resumed run draws the same ones, and every backend draws the
same bits. A mask [R, C] is made of bytes; row r holds pitch(C) of them, and byte j of 32-bit word w of row r is byte j
(little-endian) of

    mix(key ^ (r * pitch(C)/4 + w))            all arithmetic modulo 2^32

where mix is a bijective hash of 32 bits (two multiplications and three shifts, the constants "lowbias32" by
C. Wellons) and key hashes (seed, step, site). An entry is kept where its byte >= threshold(p); kept entries are scaled
by 1 / (1 - threshold(p)/256): probabilities are multiples of 1/256, so that the expectation is exact.

Where the masks fall, with their sites and shapes [R, C]:

    input                 vector v_0: [T*B, D], row t*B + b; D = V for one-hot input, whose one entry is kept or not
    layers.L.input        what layer L > 0 reads: [T*B, H], likewise (before the norm, the short convolution, and so
                          also what the convolution's state holds; after the MLP of the layer before)
    output                what the output layer reads: [T*B, H], likewise (after the norm)
    layers.L.weight_hh    DropConnect: [H*M, H], entry [k*M + m, u] for W_hh[m*H + u, k]; one mask a training step

With dropout_mask = sequence the first three have rows b = 0 … B-1, each used at all T steps. A residual connection
carries what was dropped: the mask falls on v_l itself.
"""

from __future__ import annotations

import hashlib

import numpy as np

LANES = 64
"""Rows are padded to a multiple of this many bytes, so that a vector register never straddles two rows."""


def pitch(columns: int) -> int:
    """Bytes from one row of a mask to the next."""
    return -(-columns // LANES) * LANES


def threshold(p: float) -> int:
    """p in 256ths, rounded: entries whose byte is below it are dropped. At most 255, so that something is kept."""
    return min(255, round(p * 256))


def scale(p: float) -> float:
    """What kept entries are multiplied with."""
    return 1.0 / (1.0 - threshold(p) / 256)


def key(seed: int, step: int, site: str) -> int:
    """The 32-bit key of one mask; `site` names where it falls, e.g. ``layers.0.weight_hh``."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{site}".encode(), digest_size=4).digest(), "little")


def mix(x: np.ndarray) -> np.ndarray:
    """The hash, on an array of uint32."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def keep(key: int, rows: int, columns: int, p: float) -> np.ndarray:
    """The mask [rows, columns], True where an entry is kept."""
    words = pitch(columns) // 4
    counter = np.arange(rows * words, dtype=np.uint32)
    bits = mix(np.uint32(key) ^ counter).astype("<u4").view(np.uint8).reshape(rows, words * 4)
    return bits[:, :columns] >= threshold(p)
