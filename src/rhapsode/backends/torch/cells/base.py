"""What the scans share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def history(steps: int, start: Tensor) -> Tensor:
    """Room for a vector at each time step, [T+1, B, H], the first one being `start` [B, H]."""
    values = start.new_empty(steps + 1, *start.shape)
    values[0] = start
    return values


def product(W: Tensor, x: Tensor) -> Tensor:
    """W x for each row x of [B, N]: [B, M], in the dtype of W [M, N].

    With the batch in columns, as in the papers, this is up to twice as fast as x Wᵀ.
    """
    return (W @ x.to(W.dtype).t()).t()


def weight_gradient(d: Tensor, h: Tensor, dtype: torch.dtype) -> Tensor:
    """Σ_t d_t h_t-1ᵀ, for d [T, B, G*H] and h [T, B, H] (the step before): [G*H, H]."""
    return d.flatten(0, 1).to(dtype).t() @ h.flatten(0, 1).to(dtype)


def through_sigmoid(d: Tensor, y: Tensor) -> Tensor:
    """d y (1 - y): from the derivative by y = σ(x) to that by x."""
    return torch.ops.aten.sigmoid_backward(d, y)


def through_tanh(d: Tensor, y: Tensor) -> Tensor:
    """d (1 - y²): from the derivative by y = tanh(x) to that by x."""
    return torch.ops.aten.tanh_backward(d, y)


def positive(x: Tensor) -> Tensor:
    """`rhapsode.nn.cells.base.positive`."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


def linear_scan(a: Tensor, b: Tensor, h_0: Tensor) -> Tensor:
    """h_t = a_t ⊙ h_t-1 + b_t for a, b [T, B, H] and h_0 [B, H]: h_1 … h_T [T, B, H]."""
    return _LinearScan.apply(a, b, h_0)


class _LinearScan(torch.autograd.Function):
    """(a, b, h_0) -> h_1 … h_T."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h_0: Tensor) -> Tensor:
        h = history(len(a), h_0)
        for t in range(len(a)):
            torch.addcmul(b[t], a[t], h[t], out=h[t + 1])
        ctx.save_for_backward(a, h)
        return h[1:]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor, ...]:
        a, h = ctx.saved_tensors
        d, d_h = d_outputs.clone(), torch.zeros_like(h[0])  # d_h: by way of the next step
        for t in reversed(range(len(a))):
            d[t] += d_h
            d_h = a[t] * d[t]
        return d * h[:-1], d, d_h
