"""The LSTM of `rhapsode.nn.cells.lstm`: its equations and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import history, through_sigmoid, through_tanh, transposed, weight_gradient
from rhapsode.nn.cells import HiddenAndCell


def scan(
    gates: Tensor, state: HiddenAndCell, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenAndCell]:
    """Run over gates [T, B, 4H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs, c = _LSTM.apply(gates, parameters["weight_hh"], state.h, state.c)
    return outputs, HiddenAndCell(outputs[-1], c)


class _LSTM(torch.autograd.Function):
    """(gates, W, h_0, c_0) -> h_1 … h_T as rows [T, B, H], c_T [B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, h_0: Tensor, c_0: Tensor) -> tuple[Tensor, Tensor]:
        T, B, H = len(gates), *h_0.shape
        a = transposed(gates)  # becomes i, f, g, o
        h, c, s = history(T, h_0), history(T, c_0), h_0.new_empty(T, H, B)  # s_t = tanh(c_t)
        for t in range(T):
            a[t] += W @ h[t].to(W.dtype)
            a[t, : 2 * H].sigmoid_()
            a[t, 2 * H : 3 * H].tanh_()
            a[t, 3 * H :].sigmoid_()
            i, f, g, o = a[t].view(4, H, B)
            torch.mul(f, c[t], out=c[t + 1]).addcmul_(i, g)
            torch.tanh(c[t + 1], out=s[t])
            torch.mul(o, s[t], out=h[t + 1])
        h = transposed(h)
        ctx.save_for_backward(a, h, c, s, W)
        return h[1:], transposed(c[T])

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_c: Tensor) -> tuple[Tensor, ...]:
        a, h, c, s, W = ctx.saved_tensors
        T, H, B = s.shape
        d_h, d_c, W_T = transposed(d_outputs), transposed(d_c), transposed(W)
        carried = torch.zeros_like(d_c)  # d_h by way of the next step's gates
        for t in reversed(range(T)):
            i, f, g, o = a[t].view(4, H, B)
            d_h[t] += carried
            d_c += through_tanh(d_h[t] * o, s[t])
            d_i = through_sigmoid(d_c * g, i)
            d_f = through_sigmoid(d_c * c[t], f)
            d_g = through_tanh(d_c * i, g)
            d_o = through_sigmoid(d_h[t] * s[t], o)
            d_c *= f
            torch.cat((d_i, d_f, d_g, d_o), out=a[t])  # the gates are no longer needed: spare memory
            carried = W_T @ a[t].to(W.dtype)
        d_gates = transposed(a)
        return d_gates, weight_gradient(d_gates, h[:-1], W.dtype), carried.t().to(h.dtype), d_c.t()
