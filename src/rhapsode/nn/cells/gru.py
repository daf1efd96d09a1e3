"""The gated recurrent unit of Cho et al. (2014), arXiv:1406.1078, in the form of cuDNN, PyTorch and Keras
(reset_after): the reset gate acts on the product with W_hn, not on h.

    r_t = σ(a_r + W_hr h_t-1)
    z_t = σ(a_z + W_hz h_t-1)
    n_t = tanh(a_n + r_t ⊙ (W_hn h_t-1 + b_hn))
    h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_t-1

Gate order r, z, n.
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenState, LayerState, Vector, sigmoid, zeros


class GRU(Cell):
    """Three gates and a bias inside the candidate; the state is h."""

    gates = 3
    state: type[LayerState] = HiddenState
    matrices = 3
    vectors: tuple[Vector, ...] = (Vector("bias_hn", zeros),)

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        weight, bias_hn = parameters["weight_hh"].T, parameters["bias_hn"]
        (h,) = state
        H = h.shape[-1]
        outputs = np.empty((*gates.shape[:-1], H), np.float32)
        for t, a in enumerate(gates):
            m = h @ weight
            r, z = np.split(sigmoid(a[..., : 2 * H] + m[..., : 2 * H]), 2, axis=-1)
            n = np.tanh(a[..., 2 * H :] + r * (m[..., 2 * H :] + bias_hn))
            outputs[t] = h = n + z * (h - n)
        return outputs, HiddenState(h)
