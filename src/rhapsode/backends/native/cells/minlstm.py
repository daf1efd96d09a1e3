"""Backward through the minLSTM (equations of the forward pass: `rhapsode.nn.cells.minlstm`).

φ_t = f_t / (f_t + i_t)                    dφ_t = dh_t ⊙ (h_t-1 - n_t)
h_t = φ_t ⊙ h_t-1 + (1 - φ_t) ⊙ n_t        da_f = dφ_t ⊙ φ_t ⊙ (1 - φ_t) ⊙ (1 - f_t)
                                           da_i = -dφ_t ⊙ φ_t ⊙ (1 - φ_t) ⊙ (1 - i_t)
dh_t-1 += dh_t ⊙ φ_t                       da_n = dh_t ⊙ (1 - φ_t) ⊙ g'(a_n)
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeMinLSTM(NativeCell):
    """Gates f, i, n; no recurrent matrix."""

    kind = "minlstm"
