"""Pooling of states s [T, B, W] to z [B, W], forward beside backward, in numpy over what the core's layers give
(equations: `rhapsode.nn.classifier`).

last        ds = dz at the step that z was taken from
mean        ds_t = dz / N
max         ds = dz at the step where s is largest (the first such)
attention   a_t = exp(e_t) / Σ exp(e),  e_t = q·u_t,  u_t = tanh(W_a s_t + c)

    da_t = dz·s_t                  dq = Σ de_t u_t         dW_a = Σ (du_t ⊙ (1 - u_t²)) s_tᵀ,  dc likewise
    de_t = a_t (da_t - Σ a da)     du_t = de_t q           ds_t = a_t dz + W_aᵀ (du_t ⊙ (1 - u_t²))
"""

from __future__ import annotations

from typing import Any

import numpy as np

import rhapsode._native as _native
from rhapsode.config import ClassifierConfig
from rhapsode.nn.classifier import attention, is_real, last_steps, pool, weighted


class Pooling:
    """`backward` follows its `forward`. The parameters are the core's, so that its optimiser trains them."""

    def __init__(self, head: ClassifierConfig, width: int):
        self._head, A = head, head.attention_size
        shapes = {"weight": (A, width), "bias": (A,), "query": (1, A)} if head.pooling == "attention" else {}
        self._arrays = {f"attention.{name}": _native.Array(name, shape) for name, shape in shapes.items()}

    def parameters(self) -> dict[str, Any]:
        """The core's parameters by the names of `rhapsode.nn.classifier`."""
        return dict(self._arrays)

    def forward(self, states: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """z [B, W] for s [T, B, W]."""
        self._states, self._lengths = states, lengths
        if self._head.pooling != "attention":
            return pool(self._head, {}, states, lengths)
        self._values = {name: array.value() for name, array in self._arrays.items()}
        self._attention = attention(self._values, states, lengths)
        return weighted(self._attention[0], states)

    def backward(self, d: np.ndarray) -> np.ndarray:
        """ds [T, B, W], zero at padding, for dz [B, W]; the parameters' gradients are overwritten."""
        states, lengths = self._states, self._lengths
        if self._head.pooling == "attention":
            return self._attention_backward(d, states)
        real = is_real(len(states), lengths)[..., None]
        if self._head.pooling == "mean":
            return np.where(real, d / lengths[:, None].astype(np.float32), np.float32(0))
        if self._head.pooling == "last":
            chosen = last_steps(self._head, states, lengths)
        else:
            chosen = np.where(real, states, -np.inf).argmax(0)
        d_states = np.zeros_like(states)
        np.put_along_axis(d_states, chosen[None], d[None], 0)
        return d_states

    def _attention_backward(self, d: np.ndarray, states: np.ndarray) -> np.ndarray:
        a, u = self._attention
        d_a = np.einsum("tbw,bw->tb", states, d)
        d_e = a * (d_a - (a * d_a).sum(0))
        d_x = d_e[..., None] * self._values["attention.query"][0] * (1 - u * u)
        rows = d_x.reshape(-1, d_x.shape[-1])
        gradients = {
            "attention.weight": rows.T @ states.reshape(len(rows), -1),
            "attention.bias": rows.sum(0),
            "attention.query": np.einsum("tb,tba->a", d_e, u)[None],
        }
        for name, gradient in gradients.items():
            self._arrays[name].set_gradient(np.ascontiguousarray(gradient))
        return a[..., None] * d + d_x @ self._values["attention.weight"]
