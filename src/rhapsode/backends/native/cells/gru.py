"""Backward through the gated recurrent unit (equations of the forward pass: `rhapsode.nn.cells.gru`).

m_t  = W_hn h_t-1 + b_hn                   dn_t = dh_t ⊙ (1 - z_t) ⊙ (1 - n_t²)
n_t  = tanh(a_n + r_t ⊙ m_t)               dm_t = dn_t ⊙ r_t
h_t  = n_t + z_t ⊙ (h_t-1 - n_t)           dz_t = dh_t ⊙ (h_t-1 - n_t) ⊙ z_t ⊙ (1 - z_t)
                                           dr_t = dn_t ⊙ m_t ⊙ r_t ⊙ (1 - r_t)

dh_t-1 += dh_t ⊙ z_t + W_hhᵀ (dr_t, dz_t, dm_t)
da = (dr, dz, dn)     dW_hh = Σ_t (dr_t, dz_t, dm_t) h_t-1ᵀ     db_hn = Σ_t dm_t
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeGRU(NativeCell):
    """Gates r, z, n; the reset gate acts on the product."""

    kind = "gru"
