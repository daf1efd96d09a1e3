"""Backward through the Mogrifier LSTM (equations of the forward pass: `rhapsode.nn.cells.mogrifier`).

dz, dc_t-1 as in the LSTM                  db   = Σ_t dz
dx⁵ = W_xᵀ dz                              dW_x = Σ_t dz x⁵ᵀ
dh⁴ = W_hᵀ dz                              dW_h = Σ_t dz h⁴ᵀ

for i = 5, 3, 1, with s = 2σ(Qⁱ hⁱ⁻¹):     ds = dxⁱ ⊙ xⁱ ⊙ (1 - s/2)     of what is within σ, as xⁱ = s ⊙ xⁱ⁻²
dxⁱ⁻² = dxⁱ ⊙ s                            dQⁱ = Σ_t ds hⁱ⁻¹ᵀ
dhⁱ⁻¹ += Qⁱᵀ ds
for i = 4, 2 likewise, with R, and x and h in each other's place

da_t = dx⁻¹                                dh_t-1 += dh⁰
"""

from __future__ import annotations

from rhapsode.backends.native.cells.base import NativeCell


class NativeMogrifier(NativeCell):
    """Rounds of gating, then gates i, f, g, o; state h and c."""

    kind = "mogrifier"
