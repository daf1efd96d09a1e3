"""The LSTM of `rhapsode.nn.cells.lstm`: its equations and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import history, product, through_sigmoid, through_tanh, weight_gradient
from rhapsode.nn.cells import HiddenAndCell


def scan(
    gates: Tensor, state: HiddenAndCell, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenAndCell]:
    """Run over gates [T, B, 4H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs, c = _LSTM.apply(gates, parameters["weight_hh"], state.h, state.c)
    return outputs, HiddenAndCell(outputs[-1], c)


class _LSTM(torch.autograd.Function):
    """(gates, W, h_0, c_0) -> h_1 … h_T [T, B, H], c_T [B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, h_0: Tensor, c_0: Tensor) -> tuple[Tensor, Tensor]:
        T, H = len(gates), h_0.shape[1]
        h, c = history(T, h_0), history(T, c_0)
        a, s = torch.empty_like(gates), torch.empty_like(h[1:])  # i, f, g, o at each step, and s_t = tanh(c_t)
        for t in range(T):
            torch.add(gates[t], product(W, h[t]), out=a[t])
            i, f, g, o = a[t].chunk(4, dim=1)
            a[t, :, : 2 * H].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, c[t], out=c[t + 1]).addcmul_(i, g)
            torch.tanh(c[t + 1], out=s[t])
            torch.mul(o, s[t], out=h[t + 1])
        ctx.save_for_backward(a, h, c, s, W)
        return h[1:], c[T]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_c: Tensor) -> tuple[Tensor, ...]:
        a, h, c, s, W = ctx.saved_tensors
        W_T, d_h = W.t().contiguous(), torch.zeros_like(d_c)  # d_h: by way of the next step's gates
        for t in reversed(range(len(a))):
            i, f, g, o = a[t].chunk(4, dim=1)
            d_h = d_h + d_outputs[t]
            d_c = d_c + through_tanh(d_h * o, s[t])
            d_i = through_sigmoid(d_c * g, i)
            d_f = through_sigmoid(d_c * c[t], f)
            d_g = through_tanh(d_c * i, g)
            d_o = through_sigmoid(d_h * s[t], o)
            d_c = d_c * f
            torch.cat((d_i, d_f, d_g, d_o), dim=1, out=a[t])  # in place of the gates, to spare memory
            d_h = product(W_T, a[t])
        return a, weight_gradient(a, h[:-1], W.dtype), d_h.to(h.dtype), d_c
