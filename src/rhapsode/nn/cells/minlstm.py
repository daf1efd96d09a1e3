"""The minimal long short-term memory (minLSTM) of Feng et al., "Were RNNs all we needed?" (2024), arXiv:2410.01201, in
the form of its section on log-space: the candidate is positive, and the two gates are scaled so that they sum to 1.

    f_t = σ(a_f)     i_t = σ(a_i)        n_t = g(a_n)        g as in the minGRU
    h_t = (f_t ⊙ h_t-1 + i_t ⊙ n_t) / (f_t + i_t)

f / (f + i) = σ(log f - log i), which no pre-activation makes 0 / 0. Gate order f, i, n.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenState, LayerState, Vector, positive, sigmoid


class MinLSTM(Cell):
    """Three gates, no recurrent matrix; the state is h."""

    gates = 3
    state: type[LayerState] = HiddenState
    matrices = 0
    vectors: tuple[Vector, ...] = ()

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        (h,) = state
        f, i, n = np.split(gates, 3, axis=-1)
        f, n = sigmoid(np.logaddexp(np.float32(0), -i) - np.logaddexp(np.float32(0), -f)), positive(n)
        outputs = np.empty_like(n)
        for t in range(len(gates)):
            outputs[t] = h = n[t] + f[t] * (h - n[t])
        return outputs, HiddenState(h)
