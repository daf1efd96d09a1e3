"""The GRU of `rhapsode.nn.cells.gru`: its equations and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import history, through_sigmoid, through_tanh, transposed, weight_gradient
from rhapsode.nn.cells import HiddenState


def scan(
    gates: Tensor, state: HiddenState, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenState]:
    """Run over gates [T, B, 3H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs = _GRU.apply(gates, parameters["weight_hh"], parameters["bias_hn"], state.h)
    return outputs, HiddenState(outputs[-1])


class _GRU(torch.autograd.Function):
    """(gates, W, b_hn, h_0) -> h_1 … h_T as rows [T, B, H]."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, b_hn: Tensor, h_0: Tensor) -> Tensor:
        T, B, H = len(gates), *h_0.shape
        a = transposed(gates)  # becomes r, z, n
        h, q = history(T, h_0), h_0.new_empty(T, H, B)  # q_t = W_hn h_t-1 + b_hn
        for t in range(T):
            m = W @ h[t].to(W.dtype)
            torch.add(m[2 * H :], b_hn[:, None], out=q[t])
            a[t, : 2 * H].add_(m[: 2 * H]).sigmoid_()
            r, z, n = a[t].view(3, H, B)
            n.addcmul_(r, q[t]).tanh_()
            torch.lerp(n, h[t], z, out=h[t + 1])
        h = transposed(h)
        ctx.save_for_backward(a, h, q, W)
        return h[1:]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor, ...]:
        a, h, q, W = ctx.saved_tensors
        T, H, B = q.shape
        d_h, W_T, before = transposed(d_outputs), transposed(W), transposed(h[:-1])
        carried = torch.zeros_like(q[0])  # d_h by way of the next step
        for t in reversed(range(T)):
            r, z, n = a[t].view(3, H, B)
            d_h[t] += carried
            d_z = through_sigmoid(d_h[t] * (before[t] - n), z)
            d_n = through_tanh(d_h[t] * (1 - z), n)
            d_r = through_sigmoid(d_n * q[t], r)
            carried = d_h[t] * z
            torch.cat((d_r, d_z, d_n * r), out=a[t])  # by W h; the gates are no longer needed: spare memory
            q[t] = d_n
            carried += W_T @ a[t].to(W.dtype)
        d = transposed(a)
        d_W, d_b_hn = weight_gradient(d, h[:-1], W.dtype), d[..., 2 * H :].sum((0, 1))
        d[..., 2 * H :] = q.transpose(1, 2)  # by the gates: the candidate's without r
        return d, d_W, d_b_hn, carried.t()
