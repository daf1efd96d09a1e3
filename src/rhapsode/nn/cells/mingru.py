"""The minimal gated recurrent unit (minGRU) of Feng et al., "Were RNNs all we needed?" (2024), arXiv:2410.01201, in the
form of its section on log-space: the candidate is positive, with g in place of the identity.

    z_t = σ(a_z)
    n_t = g(a_n)                         g(x) = x + 1/2 for x >= 0, σ(x) for x < 0
    h_t = (1 - z_t) ⊙ h_t-1 + z_t ⊙ n_t

Gates and candidate see the input alone: memory is all there is between steps, so one layer counts little and two or
more are wanted. Gate order z, n.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenState, LayerState, Vector, positive, sigmoid


class MinGRU(Cell):
    """Two gates, no recurrent matrix; the state is h."""

    gates = 2
    state: type[LayerState] = HiddenState
    matrices = 0
    vectors: tuple[Vector, ...] = ()

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        (h,) = state
        z, n = np.split(gates, 2, axis=-1)
        z, n = sigmoid(z), positive(n)
        outputs = np.empty_like(n)
        for t in range(len(gates)):
            outputs[t] = h = h + z[t] * (n[t] - h)
        return outputs, HiddenState(h)
