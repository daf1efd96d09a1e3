"""The simple recurrent network of `rhapsode.nn.cells.rnn`: its equation and its derivative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import history, through_tanh, transposed, weight_gradient
from rhapsode.nn.cells import HiddenState


def scan(
    gates: Tensor, state: HiddenState, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenState]:
    """Run over gates [T, B, H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs = _RNN.apply(gates, parameters["weight_hh"], state.h, nonlinearity == "relu")
    return outputs, HiddenState(outputs[-1])


class _RNN(torch.autograd.Function):
    """(gates, W, h_0, relu instead of tanh) -> h_1 … h_T as rows [T, B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, h_0: Tensor, relu: bool) -> Tensor:
        T = len(gates)
        a, h = transposed(gates), history(T, h_0)
        for t in range(T):
            a[t] += W @ h[t].to(W.dtype)
            if relu:
                torch.clamp(a[t], min=0, out=h[t + 1])
            else:
                torch.tanh(a[t], out=h[t + 1])
        h = transposed(h)
        ctx.save_for_backward(h, W)
        ctx.relu = relu
        return h[1:]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        h, W = ctx.saved_tensors
        d_h, W_T, y = transposed(d_outputs), transposed(W), transposed(h[1:])
        d_a, carried = torch.empty_like(y), torch.zeros_like(y[0])  # carried: d_h by way of the next step
        for t in reversed(range(len(y))):
            d_h[t] += carried
            d_a[t] = d_h[t] * (y[t] > 0) if ctx.relu else through_tanh(d_h[t], y[t])
            carried = W_T @ d_a[t].to(W.dtype)
        d_gates = transposed(d_a)
        return d_gates, weight_gradient(d_gates, h[:-1], W.dtype), carried.t().to(h.dtype), None
