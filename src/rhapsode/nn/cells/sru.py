"""The simple recurrent unit of Lei et al., "Simple recurrent units for highly parallelizable recurrence" (2018),
arXiv:1709.02755: the gates see the memory through vectors, unit by unit, and a highway carries the input past it.

    f_t = σ(a_f + v_f ⊙ c_t-1)           r_t = σ(a_r + v_r ⊙ c_t-1)
    c_t = f_t ⊙ c_t-1 + (1 - f_t) ⊙ a_w
    h_t = r_t ⊙ c_t + (1 - r_t) ⊙ a_x

a_w, a_x = W x, W' x: the input on the highway always has a matrix of its own, where the paper needs one only if the
widths differ. Gate order w, f, r, x. Vectors v_f and v_r, drawn from ±1.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, LayerState, Memory, Vector, sigmoid


def _peephole(rng: np.random.Generator, hidden: int) -> np.ndarray:
    return rng.uniform(-1, 1, hidden).astype(np.float32)


class SRU(Cell):
    """Two gates, a candidate and a highway; the state is the memory c."""

    gates = 4
    state: type[LayerState] = Memory
    matrices = 0
    vectors: tuple[Vector, ...] = (Vector("v_f", _peephole), Vector("v_r", _peephole))

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        v_f, v_r = parameters["v_f"], parameters["v_r"]
        (c,) = state
        w, f, r, x = np.split(gates, 4, axis=-1)
        outputs = np.empty_like(w)
        for t in range(len(gates)):
            forget, reset = sigmoid(f[t] + v_f * c), sigmoid(r[t] + v_r * c)
            c = w[t] + forget * (c - w[t])
            outputs[t] = x[t] + reset * (c - x[t])
        return outputs, Memory(c)
