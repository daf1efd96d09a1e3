"""The simple recurrent network of Elman, "Finding structure in time" (1990), doi:10.1207/s15516709cog1402_1.

h_t = f(a_t + W_hh h_t-1)          a_t = W_ih x_t + b,  f = tanh or relu
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenState, LayerState, Vector


class RNN(Cell):
    """One gate; the state is h."""

    gates = 1
    state: type[LayerState] = HiddenState
    matrices = 1
    vectors: tuple[Vector, ...] = ()

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        weight = parameters["weight_hh"].T
        (h,) = state
        outputs = np.empty(gates.shape, np.float32)
        for t, a in enumerate(gates):
            z = a + h @ weight
            outputs[t] = h = np.tanh(z) if nonlinearity == "tanh" else np.maximum(z, 0)
        return outputs, HiddenState(h)
