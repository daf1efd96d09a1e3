"""The multiplicative LSTM of Krause, Lu, Murray & Renals (2016), arXiv:1609.07959: each symbol has a recurrent matrix
of its own, W_hm diag(a_m) W_mh.

    m_t = a_m ⊙ (W_mh h_t-1)
    i_t = σ(a_i + W_im m_t)            f_t = σ(a_f + W_fm m_t)
    g_t = tanh(a_g + W_gm m_t)         o_t = σ(a_o + W_om m_t)
    c_t = f_t ⊙ c_t-1 + i_t ⊙ g_t
    h_t = o_t ⊙ tanh(c_t)

Gate order i, f, g, o, m; weight_hh is W_im, W_fm, W_gm, W_om and W_mh, one below the other. a_m has a bias as the gates
have, which the paper leaves out.

The gradient goes back in time through the product W_hm diag(a_m) W_mh, which nothing bounds: where its parts have
grown it explodes, and what was learned is lost. So a_m is drawn smaller than the gates, and `rhapsode.training.plan`
takes a lower learning rate.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenAndCell, LayerState, Vector, sigmoid


class MLSTM(Cell):
    """Four gates and the factor a_m; the state is h and the memory c."""

    gates = 5
    state: type[LayerState] = HiddenAndCell
    matrices = 5
    vectors: tuple[Vector, ...] = ()
    table_scales = (1.0, 1.0, 1.0, 1.0, 0.5)

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        h, c = state
        H = h.shape[-1]
        weight_hm, weight_mh = np.split(parameters["weight_hh"].T, [4 * H], axis=-1)
        outputs = np.empty((*gates.shape[:-1], H), np.float32)
        for t, a in enumerate(gates):
            m = a[..., 4 * H :] * (h @ weight_mh)
            z = a[..., : 4 * H] + m @ weight_hm
            i, f = np.split(sigmoid(z[..., : 2 * H]), 2, axis=-1)
            g, o = np.tanh(z[..., 2 * H : 3 * H]), sigmoid(z[..., 3 * H :])
            c = f * c + i * g
            outputs[t] = h = o * np.tanh(c)
        return outputs, HiddenAndCell(h, c)
