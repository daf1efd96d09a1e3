"""The multiplicative LSTM of `rhapsode.nn.cells.mlstm`: its equations and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells import lstm
from rhapsode.backends.torch.cells.base import history, product, weight_gradient
from rhapsode.nn.cells import HiddenAndCell


def scan(
    gates: Tensor, state: HiddenAndCell, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenAndCell]:
    """Run over gates [T, B, 5H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs, c = _MLSTM.apply(gates, parameters["weight_hh"], state.h, state.c)
    return outputs, HiddenAndCell(outputs[-1], c)


class _MLSTM(torch.autograd.Function):
    """(gates, W, h_0, c_0) -> h_1 … h_T [T, B, H], c_T [B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, h_0: Tensor, c_0: Tensor) -> tuple[Tensor, Tensor]:
        T, H = len(gates), h_0.shape[1]
        h, c = history(T, h_0), history(T, c_0)
        a, s = torch.empty_like(gates[..., : 4 * H]), torch.empty_like(h[1:])  # i, f, g, o; s_t = tanh(c_t)
        p, m, factor = torch.empty_like(s), torch.empty_like(s), gates[..., 4 * H :]
        for t in range(T):
            p[t] = product(W[4 * H :], h[t])
            torch.mul(factor[t], p[t], out=m[t])
            torch.add(gates[t, :, : 4 * H], product(W[: 4 * H], m[t]), out=a[t])
            lstm.step(a[t], c[t], c[t + 1], s[t], h[t + 1])
        ctx.save_for_backward(a, h, c, s, p, m, factor, W)
        return h[1:], c[T]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_c: Tensor) -> tuple[Tensor, ...]:
        a, h, c, s, p, m, factor, W = ctx.saved_tensors
        H, d_h, d_p, d_factor = h.shape[2], torch.zeros_like(d_c), torch.empty_like(p), torch.empty_like(p)
        W_hm_T, W_mh_T = W[: 4 * H].t().contiguous(), W[4 * H :].t().contiguous()
        for t in reversed(range(len(a))):
            d_c = lstm.step_backward(a[t], c[t], s[t], d_h + d_outputs[t], d_c)
            d_m = product(W_hm_T, a[t])
            torch.mul(d_m, p[t], out=d_factor[t])
            torch.mul(d_m, factor[t], out=d_p[t])
            d_h = product(W_mh_T, d_p[t])
        d_W = torch.cat((weight_gradient(a, m, W.dtype), weight_gradient(d_p, h[:-1], W.dtype)))
        return torch.cat((a, d_factor), dim=2), d_W, d_h.to(h.dtype), d_c
