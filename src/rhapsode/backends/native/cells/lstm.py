"""Backward through the long short-term memory (equations of the forward pass: `rhapsode.nn.cells.lstm`).

c_t = f_t ⊙ c_t-1 + i_t ⊙ g_t              dc_t += dh_t ⊙ o_t ⊙ (1 - tanh² c_t)
h_t = o_t ⊙ tanh(c_t)                      do_t  = dh_t ⊙ tanh(c_t) ⊙ o_t ⊙ (1 - o_t)

di_t = dc_t ⊙ g_t ⊙ i_t ⊙ (1 - i_t)        df_t  = dc_t ⊙ c_t-1 ⊙ f_t ⊙ (1 - f_t)
dg_t = dc_t ⊙ i_t ⊙ (1 - g_t²)             dc_t-1 = dc_t ⊙ f_t

dh_t-1 += W_hhᵀ (di_t, df_t, dg_t, do_t)   dW_hh = Σ_t (di_t, df_t, dg_t, do_t) h_t-1ᵀ
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeLSTM(NativeCell):
    """Gates i, f, g, o; state h and c."""

    kind = "lstm"
