"""Backward through the RG-LRU (equations of the forward pass: `rhapsode.nn.cells.rglru`).

l_t = k ⊙ r_t,  k = 8 log σ(Λ)             dc_t += dh_t ⊙ gelu(a_y)
α_t = exp(l_t)   β_t = sqrt(1 - α_t²)      dl_t = dc_t ⊙ (α_t ⊙ c_t-1 - α_t² / β_t ⊙ i_t ⊙ a_x)
c_t = α_t ⊙ c_t-1 + β_t ⊙ i_t ⊙ a_x        da_r = dl_t ⊙ l_t ⊙ (1 - r_t)
h_t = gelu(a_y) ⊙ c_t                      da_i = dc_t ⊙ β_t ⊙ a_x ⊙ i_t ⊙ (1 - i_t)
                                           da_x = dc_t ⊙ β_t ⊙ i_t
dc_t-1 += dc_t ⊙ α_t                       da_y = dh_t ⊙ c_t ⊙ gelu'(a_y)

dΛ = 8 σ(-Λ) ⊙ Σ_t dl_t ⊙ r_t
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeRGLRU(NativeCell):
    """Gates r, i, x, y; no recurrent matrix; state c."""

    kind = "rglru"
