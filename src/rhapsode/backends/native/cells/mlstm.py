"""Backward through the multiplicative LSTM (equations of the forward pass: `rhapsode.nn.cells.mlstm`).

p_t = W_mh h_t-1                           di_t, df_t, dg_t, do_t, dc_t-1 as in the LSTM
m_t = a_m ⊙ p_t                            dm_t = W_hmᵀ (di_t, df_t, dg_t, do_t)

da_m = dm_t ⊙ p_t                          dW_hm = Σ_t (di_t, df_t, dg_t, do_t) m_tᵀ
dp_t = dm_t ⊙ a_m                          dW_mh = Σ_t dp_t h_t-1ᵀ
dh_t-1 += W_mhᵀ dp_t
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeMLSTM(NativeCell):
    """Gates i, f, g, o and the factor m; state h and c."""

    kind = "mlstm"
