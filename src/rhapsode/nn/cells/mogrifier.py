"""The Mogrifier LSTM of Melis, Kočiský & Blunsom (2020), arXiv:1909.01792: before an LSTM's step its input and its
state gate each other in turns, so that each is read in the light of the other.

    x⁻¹ = a_t                h⁰ = h_t-1
    xⁱ = 2σ(Qⁱ hⁱ⁻¹) ⊙ xⁱ⁻²    for odd i
    hⁱ = 2σ(Rⁱ xⁱ⁻¹) ⊙ hⁱ⁻²    for even i                   i = 1 … r, r = 5
    z = W_x x⁵ + W_h h⁴ + b

    c_t = σ(z_f) ⊙ c_t-1 + σ(z_i) ⊙ tanh(z_g)
    h_t = σ(z_o) ⊙ tanh(c_t)

a_t has H entries: with a table it is the row of a symbol, a learned vector as in the paper, else W_ih u + b of what the
layer reads. Gate order i, f, g, o; weight_hh is W_h and W_x, gate by gate, and Q¹, R², Q³, R⁴, Q⁵, one below the other;
bias_hh is b. (In the paper Q and R may be products of two thinner matrices.)
"""

from __future__ import annotations

import numpy as np

from rhapsode.nn.cells.base import Cell, HiddenAndCell, LayerState, Vector, sigmoid

ROUNDS = 5
"""r: in which input and state gate each other, the input first."""


def _zeros(rng: np.random.Generator, hidden: int) -> np.ndarray:
    return np.zeros(4 * hidden, np.float32)


class Mogrifier(Cell):
    """One input vector; the state is h and the memory c."""

    gates = 1
    state: type[LayerState] = HiddenAndCell
    matrices = 8 + ROUNDS
    vectors: tuple[Vector, ...] = (Vector("bias_hh", _zeros, lambda hidden: (4 * hidden,)),)

    def scan(self, gates, state, parameters, nonlinearity="tanh"):
        h, c = state
        H = h.shape[-1]
        weight_h, weight_x, *rounds = np.split(parameters["weight_hh"].T, [4 * H, *range(8 * H, 13 * H, H)], axis=-1)
        outputs = np.empty(gates.shape, np.float32)
        for t, x in enumerate(gates):
            for turn, weight in enumerate(rounds):
                if turn % 2 == 0:
                    x = 2 * sigmoid(h @ weight) * x
                else:
                    h = 2 * sigmoid(x @ weight) * h
            z = x @ weight_x + h @ weight_h + parameters["bias_hh"]
            i, f = np.split(sigmoid(z[..., : 2 * H]), 2, axis=-1)
            g, o = np.tanh(z[..., 2 * H : 3 * H]), sigmoid(z[..., 3 * H :])
            c = f * c + i * g
            outputs[t] = h = o * np.tanh(c)
        return outputs, HiddenAndCell(h, c)
