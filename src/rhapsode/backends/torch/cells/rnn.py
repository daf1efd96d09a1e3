"""The simple recurrent network of `rhapsode.nn.cells.rnn`: its equation and its derivative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import history, product, through_tanh, weight_gradient
from rhapsode.nn.cells import HiddenState


def scan(
    gates: Tensor, state: HiddenState, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenState]:
    """Run over gates [T, B, H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs = _RNN.apply(gates, parameters["weight_hh"], state.h, nonlinearity == "relu")
    return outputs, HiddenState(outputs[-1])


class _RNN(torch.autograd.Function):
    """(gates, W, h_0, relu instead of tanh) -> h_1 … h_T [T, B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, h_0: Tensor, relu: bool) -> Tensor:
        h = history(len(gates), h_0)
        for t, a in enumerate(gates):
            torch.add(a, product(W, h[t]), out=h[t + 1])
            torch.relu_(h[t + 1]) if relu else torch.tanh_(h[t + 1])
        ctx.save_for_backward(h, W)
        ctx.relu = relu
        return h[1:]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        h, W = ctx.saved_tensors
        W_T, d_h, d_a = W.t().contiguous(), torch.zeros_like(h[0]), torch.empty_like(h[1:])
        for t in reversed(range(len(d_a))):
            d_h = d_h + d_outputs[t]
            d_a[t] = d_h * (h[t + 1] > 0) if ctx.relu else through_tanh(d_h, h[t + 1])
            d_h = product(W_T, d_a[t])
        return d_a, weight_gradient(d_a, h[:-1], W.dtype), d_h.to(h.dtype), None
