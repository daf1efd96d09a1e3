"""The GRU of `rhapsode.nn.cells.gru`: its equations and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import history, product, through_sigmoid, through_tanh, weight_gradient
from rhapsode.nn.cells import HiddenState


def scan(
    gates: Tensor, state: HiddenState, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenState]:
    """Run over gates [T, B, 3H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs = _GRU.apply(gates, parameters["weight_hh"], parameters["bias_hn"], state.h)
    return outputs, HiddenState(outputs[-1])


class _GRU(torch.autograd.Function):
    """(gates, W, b_hn, h_0) -> h_1 … h_T [T, B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, b_hn: Tensor, h_0: Tensor) -> Tensor:
        T, H = len(gates), h_0.shape[1]
        h = history(T, h_0)
        a, q = torch.empty_like(gates), torch.empty_like(h[1:])  # r, z, n at each step, and q_t = W_hn h_t-1 + b_hn
        for t in range(T):
            m = product(W, h[t])
            torch.add(gates[t, :, : 2 * H], m[:, : 2 * H], out=a[t, :, : 2 * H]).sigmoid_()
            torch.add(m[:, 2 * H :], b_hn, out=q[t])
            r, z, n = a[t].chunk(3, dim=1)
            torch.addcmul(gates[t, :, 2 * H :], r, q[t], out=n).tanh_()
            torch.lerp(n, h[t], z, out=h[t + 1])
        ctx.save_for_backward(a, h, q, W)
        return h[1:]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor, ...]:
        a, h, q, W = ctx.saved_tensors
        H, W_T, d_h = h.shape[2], W.t().contiguous(), torch.zeros_like(h[0])  # d_h: by way of the next step
        for t in reversed(range(len(a))):
            r, z, n = a[t].chunk(3, dim=1)
            d_h = d_h + d_outputs[t]
            d_z = through_sigmoid(d_h * (h[t] - n), z)
            d_n = through_tanh(d_h * (1 - z), n)
            d_r = through_sigmoid(d_n * q[t], r)
            d_h = d_h * z
            torch.cat((d_r, d_z, d_n * r), dim=1, out=a[t])  # by W h, in place of the gates, to spare memory
            q[t] = d_n
            d_h += product(W_T, a[t])
        d_W, d_b_hn = weight_gradient(a, h[:-1], W.dtype), a[..., 2 * H :].sum((0, 1))
        a[..., 2 * H :] = q  # by the gates: the candidate's derivative without r
        return a, d_W, d_b_hn, d_h
