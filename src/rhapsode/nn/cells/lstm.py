"""The long short-term memory of Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735, with the forget gate
of Gers et al. (2000), doi:10.1162/089976600300015015.

    i_t = σ(a_i + W_hi h_t-1)          f_t = σ(a_f + W_hf h_t-1)
    g_t = tanh(a_g + W_hg h_t-1)       o_t = σ(a_o + W_ho h_t-1)
    c_t = f_t ⊙ c_t-1 + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

Gate order i, f, g, o.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenAndCell, LayerState, Vector, sigmoid


class LSTM(Cell):
    """Four gates; the state is h and the memory c."""

    gates = 4
    state: type[LayerState] = HiddenAndCell
    matrices = 4
    vectors: tuple[Vector, ...] = ()

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        weight = parameters["weight_hh"].T
        h, c = state
        H = h.shape[-1]
        outputs = np.empty((*gates.shape[:-1], H), np.float32)
        for t, a in enumerate(gates):
            z = a + h @ weight
            i, f = np.split(sigmoid(z[..., : 2 * H]), 2, axis=-1)
            g, o = np.tanh(z[..., 2 * H : 3 * H]), sigmoid(z[..., 3 * H :])
            c = f * c + i * g
            outputs[t] = h = o * np.tanh(c)
        return outputs, HiddenAndCell(h, c)
