"""The minimal long short-term memory (minLSTM) of Feng et al., "Were RNNs all we needed?" (2024), arXiv:2410.01201, in
the form of its section on log-space: the candidate is positive, and the two gates are scaled so that they sum to 1.

    f_t = σ(a_f)     i_t = σ(a_i)        n_t = g(a_n)        g as in the minGRU
    h_t = (f_t ⊙ h_t-1 + i_t ⊙ n_t) / (f_t + i_t)

Gate order f, i, n.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenState, LayerState, Vector, positive, sigmoid


class MinLSTM(Cell):
    """Three gates, no recurrent matrix; the state is h."""

    gates = 3
    state: type[LayerState] = HiddenState
    matrix = False
    vectors: tuple[Vector, ...] = ()

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        (h,) = state
        f, i, n = np.split(gates, 3, axis=-1)
        f, i, n = sigmoid(f), sigmoid(i), positive(n)
        f = f / (f + i)
        outputs = np.empty_like(n)
        for t in range(len(gates)):
            outputs[t] = h = n[t] + f[t] * (h - n[t])
        return outputs, HiddenState(h)
