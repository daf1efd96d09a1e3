"""The SRU of `rhapsode.nn.cells.sru`: its equations and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import history, through_sigmoid
from rhapsode.nn.cells import Memory


def scan(gates: Tensor, state: Memory, parameters: Mapping[str, Tensor], nonlinearity: str) -> tuple[Tensor, Memory]:
    """Run over gates [T, B, 4H] from `state`."""
    a_w, a_f, a_r, a_x = gates.chunk(4, dim=-1)
    c = _Memory.apply(a_w, a_f, parameters["v_f"], state.c)
    r = torch.sigmoid(a_r + parameters["v_r"] * c[:-1])
    return torch.lerp(a_x, c[1:], r), Memory(c[-1])


class _Memory(torch.autograd.Function):
    """(a_w, a_f, v_f, c_0) -> c_0 … c_T [T+1, B, H]."""

    @staticmethod
    def forward(ctx: Any, a_w: Tensor, a_f: Tensor, v_f: Tensor, c_0: Tensor) -> Tensor:
        c, f = history(len(a_w), c_0), torch.empty_like(a_f)
        for t in range(len(a_w)):
            torch.addcmul(a_f[t], v_f, c[t], out=f[t]).sigmoid_()
            torch.lerp(a_w[t], c[t], f[t], out=c[t + 1])
        ctx.save_for_backward(a_w, f, c, v_f)
        return c

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor, ...]:
        a_w, f, c, v_f = ctx.saved_tensors
        d_w, d_f, d_c = torch.empty_like(f), torch.empty_like(f), d_outputs[-1]
        for t in reversed(range(len(f))):
            d_f[t] = through_sigmoid(d_c * (c[t] - a_w[t]), f[t])
            d_w[t] = d_c * (1 - f[t])
            d_c = d_outputs[t] + d_c * f[t] + d_f[t] * v_f
        return d_w, d_f, (d_f * c[:-1]).sum((0, 1)), d_c
