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


def step(a: Tensor, c_before: Tensor, c: Tensor, s: Tensor, h: Tensor) -> None:
    """From pre-activations a [B, 4H] and c_t-1 [B, H]: a becomes i, f, g, o; fills c_t, s_t = tanh(c_t) and h_t."""
    i, f, g, o = a.chunk(4, dim=1)
    a[:, : 2 * c.shape[1]].sigmoid_()
    g.tanh_()
    o.sigmoid_()
    torch.mul(f, c_before, out=c).addcmul_(i, g)
    torch.tanh(c, out=s)
    torch.mul(o, s, out=h)


def step_backward(a: Tensor, c_before: Tensor, s: Tensor, d_h: Tensor, d_c: Tensor) -> Tensor:
    """From the derivatives by h_t and c_t: a, which holds i, f, g, o, becomes that by the pre-activations, to spare
    memory; the result is that by c_t-1."""
    i, f, g, o = a.chunk(4, dim=1)
    d_c = d_c + through_tanh(d_h * o, s)
    d_i = through_sigmoid(d_c * g, i)
    d_f = through_sigmoid(d_c * c_before, f)
    d_g = through_tanh(d_c * i, g)
    d_o = through_sigmoid(d_h * s, o)
    d_c = d_c * f
    torch.cat((d_i, d_f, d_g, d_o), dim=1, out=a)
    return d_c


class _LSTM(torch.autograd.Function):
    """(gates, W, h_0, c_0) -> h_1 … h_T [T, B, H], c_T [B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, h_0: Tensor, c_0: Tensor) -> tuple[Tensor, Tensor]:
        T = len(gates)
        h, c = history(T, h_0), history(T, c_0)
        a, s = torch.empty_like(gates), torch.empty_like(h[1:])  # i, f, g, o at each step, and s_t = tanh(c_t)
        for t in range(T):
            torch.add(gates[t], product(W, h[t]), out=a[t])
            step(a[t], c[t], c[t + 1], s[t], h[t + 1])
        ctx.save_for_backward(a, h, c, s, W)
        return h[1:], c[T]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_c: Tensor) -> tuple[Tensor, ...]:
        a, h, c, s, W = ctx.saved_tensors
        W_T, d_h = W.t().contiguous(), torch.zeros_like(d_c)  # d_h: by way of the next step's gates
        for t in reversed(range(len(a))):
            d_c = step_backward(a[t], c[t], s[t], d_h + d_outputs[t], d_c)
            d_h = product(W_T, a[t])
        return a, weight_gradient(a, h[:-1], W.dtype), d_h.to(h.dtype), d_c
