"""What may stand around a recurrent layer, in numpy: a short convolution before it, a gated MLP after it.

The short convolution looks at each entry of the last K vectors that the layer read (depthwise, causal):

    u_t = bias + Σ_k weight[:, k] ⊙ z_t-K+1+k           k = 0 … K-1

as before the recurrences of Griffin (De et al. 2024, arXiv:2402.19427). The vectors before the first are its state.

The gated MLP is GEGLU of Shazeer (2020), arXiv:2002.05202, without biases:

    mlp(z) = W_out (gelu(W_gate z) ⊙ W_up z)            W_in = (W_gate, W_up), one above the other
    gelu(x) = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))

with the tanh form of gelu (Hendrycks & Gimpel 2016, arXiv:1606.08415) everywhere.
"""

from __future__ import annotations

import numpy as np


def short_convolution(
    x: np.ndarray, past: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """u [T, ..., D] for vectors x [T, ..., D], the K-1 before them `past` [..., (K-1)*D], and those before the next."""
    D, K = weight.shape
    before = np.moveaxis(past.reshape(*past.shape[:-1], K - 1, D), -2, 0)
    read = np.concatenate([before, x])
    u = sum((weight[:, k] * read[k : k + len(x)] for k in range(K)), start=bias)
    return u, np.moveaxis(read[len(x) :], 0, -2).reshape(past.shape)


def gated_mlp(z: np.ndarray, weight_in: np.ndarray, weight_out: np.ndarray) -> np.ndarray:
    """mlp(z) [..., H] for z [..., H]."""
    gate, up = np.split(z @ weight_in.T, 2, axis=-1)
    return (gelu(gate) * up) @ weight_out.T


def gelu(x: np.ndarray) -> np.ndarray:
    """The tanh form."""
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3)))
