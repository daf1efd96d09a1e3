"""Backward through the simple recurrent network (equations of the forward pass: `rhapsode.nn.cells.rnn`).

h_t  = f(a_t + W_hh h_t-1)                 f = tanh               f = relu
da_t = dh_t ⊙ f'                           f' = 1 - h_t²          f' = [h_t > 0]
dh_t-1 += W_hhᵀ da_t                       dW_hh = Σ_t da_t h_t-1ᵀ
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeRNN(NativeCell):
    """h = f(a + W_hh h)."""

    kind = "rnn_{nonlinearity}"
