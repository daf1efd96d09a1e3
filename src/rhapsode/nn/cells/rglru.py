"""The real-gated linear recurrent unit of De et al., "Griffin" (2024), arXiv:2402.19427, with the multiplicative
branch of the block it stands in.

    r_t = σ(a_r)     i_t = σ(a_i)        α_t = a^(8 r_t),  a = σ(Λ)
    c_t = α_t ⊙ c_t-1 + sqrt(1 - α_t²) ⊙ i_t ⊙ a_x
    h_t = gelu(a_y) ⊙ c_t

gelu has the tanh form (`rhapsode.nn.blocks`). Gate order r, i, x, y. The vector Λ
(`decay`) is drawn so that a^8 lies between 0.9 and 0.999.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.blocks import gelu
from rhapsode.nn.cells.base import Cell, LayerState, Memory, Vector, sigmoid

SHARPNESS = 8.0
"""c of the paper: α = a^(c r)."""


def _decay(rng: np.random.Generator, hidden: int) -> np.ndarray:
    a = rng.uniform(0.9, 0.999, hidden) ** (1 / SHARPNESS)
    return np.log(a / (1 - a)).astype(np.float32)


class RGLRU(Cell):
    """Two gates, an input and a multiplicative branch; the state is the memory c."""

    gates = 4
    state: type[LayerState] = Memory
    matrices = 0
    vectors: tuple[Vector, ...] = (Vector("decay", _decay),)

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        (c,) = state
        r, i, x, y = np.split(gates, 4, axis=-1)
        log_decay = sigmoid(r) * np.float32(-SHARPNESS) * np.logaddexp(np.float32(0), -parameters["decay"])
        alpha, entry = np.exp(log_decay), np.sqrt(-np.expm1(2 * log_decay)) * sigmoid(i) * x
        branch, outputs = gelu(y), np.empty_like(x)
        for t in range(len(gates)):
            c = alpha[t] * c + entry[t]
            outputs[t] = branch[t] * c
        return outputs, Memory(c)
