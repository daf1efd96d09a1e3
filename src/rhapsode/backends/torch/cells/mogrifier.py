"""The Mogrifier LSTM of `rhapsode.nn.cells.mogrifier`: its equations and their derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rhapsode.backends.torch.cells import lstm
from rhapsode.backends.torch.cells.base import history, product, weight_gradient
from rhapsode.nn.cells import HiddenAndCell
from rhapsode.nn.cells.mogrifier import ROUNDS


def scan(
    gates: Tensor, state: HiddenAndCell, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenAndCell]:
    """Run over gates [T, B, H] from `state`; `weight_hh` is multiplied in its own dtype."""
    outputs, c = _Mogrifier.apply(gates, parameters["weight_hh"], parameters["bias_hh"], state.h, state.c)
    return outputs, HiddenAndCell(outputs[-1], c)


def _matrices(W: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """W_h, W_x, and those of the rounds."""
    H = W.shape[1]
    return W[: 4 * H], W[4 * H : 8 * H], W[8 * H :].chunk(ROUNDS)


class _Mogrifier(torch.autograd.Function):
    """(gates, W, b, h_0, c_0) -> h_1 … h_T [T, B, H], c_T [B, H].

    Each round gates one of the pair x, h by its factor 2σ, in `s`; what comes out is in `v`: both [ROUNDS, T, B, H].
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, W: Tensor, b: Tensor, h_0: Tensor, c_0: Tensor) -> tuple[Tensor, Tensor]:
        T, (W_h, W_x, rounds) = len(gates), _matrices(W)
        h, c = history(T, h_0), history(T, c_0)
        a, tanh_c = gates.new_empty(T, len(h_0), len(b)), torch.empty_like(h[1:])  # i, f, g, o at each step
        s, v = (gates.new_empty(ROUNDS, *gates.shape) for _ in range(2))
        for t in range(T):
            pair = [gates[t], h[t]]
            for i, M in enumerate(rounds):
                torch.sigmoid(product(M, pair[1 - i % 2]).to(s.dtype), out=s[i, t]).mul_(2)
                pair[i % 2] = torch.mul(s[i, t], pair[i % 2], out=v[i, t])
            torch.add(b, product(W_x, pair[0]), out=a[t]).add_(product(W_h, pair[1]))
            lstm.step(a[t], c[t], c[t + 1], tanh_c[t], h[t + 1])
        ctx.save_for_backward(a, h, c, tanh_c, s, v, W)
        return h[1:], c[T]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_c: Tensor) -> tuple[Tensor, ...]:
        a, h, c, tanh_c, s, v, W = ctx.saved_tensors
        W_h_T, W_x_T, rounds_T = _matrices_transposed(W)
        d_gates, d_h = torch.empty_like(h[1:]), torch.zeros_like(d_c)  # d_h: by way of the next step
        for t in reversed(range(len(a))):
            d_c = lstm.step_backward(a[t], c[t], tanh_c[t], d_h + d_outputs[t], d_c)
            d = [product(W_x_T, a[t]).to(h.dtype), product(W_h_T, a[t]).to(h.dtype)]
            for i in reversed(range(ROUNDS)):
                own, other = i % 2, 1 - i % 2
                within, d[own] = d[own] * v[i, t] * (1 - s[i, t] / 2), d[own] * s[i, t]
                d[other] = d[other] + product(rounds_T[i], within)
                s[i, t] = within  # in place of the factors, to spare memory
            d_gates[t], d_h = d
        read = (v[3], v[4], h[:-1], *v[:4])
        d_W = torch.cat([weight_gradient(e, r, W.dtype) for e, r in zip((a, a, *s), read, strict=True)])
        return d_gates, d_W, a.sum((0, 1)), d_h, d_c


def _matrices_transposed(W: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    W_h, W_x, rounds = _matrices(W)
    return W_h.t().contiguous(), W_x.t().contiguous(), [M.t().contiguous() for M in rounds]
