"""Backward through the simple recurrent unit (equations of the forward pass: `rhapsode.nn.cells.sru`).

c_t = f_t ⊙ c_t-1 + (1 - f_t) ⊙ a_w        dc_t += dh_t ⊙ r_t
h_t = r_t ⊙ c_t + (1 - r_t) ⊙ a_x          da_r = dh_t ⊙ (c_t - a_x) ⊙ r_t ⊙ (1 - r_t)
                                           da_f = dc_t ⊙ (c_t-1 - a_w) ⊙ f_t ⊙ (1 - f_t)
da_w = dc_t ⊙ (1 - f_t)                    da_x = dh_t ⊙ (1 - r_t)

dc_t-1 += dc_t ⊙ f_t + da_f ⊙ v_f + da_r ⊙ v_r
dv_f = Σ_t da_f ⊙ c_t-1     dv_r = Σ_t da_r ⊙ c_t-1
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeSRU(NativeCell):
    """Gates w, f, r, x; no recurrent matrix; state c."""

    kind = "sru"
