"""Backward through the minGRU (equations of the forward pass: `rhapsode.nn.cells.mingru`).

h_t = (1 - z_t) ⊙ h_t-1 + z_t ⊙ n_t        dz_t = dh_t ⊙ (n_t - h_t-1) ⊙ z_t ⊙ (1 - z_t)
n_t = g(a_n)                               dn_t = dh_t ⊙ z_t ⊙ g'(a_n)

dh_t-1 += dh_t ⊙ (1 - z_t)                 g' = 1 for a_n >= 0, g ⊙ (1 - g) below
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeMinGRU(NativeCell):
    """Gates z, n; no recurrent matrix."""

    kind = "mingru"
