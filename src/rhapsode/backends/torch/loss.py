"""The output layer with softmax and cross-entropy, in pieces, so that memory does not grow with T*B*V."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

PIECE = 1 << 24
"""How many logits are held at a time."""


def nats(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """-log softmax of each target, [N], for hidden [N, H], weight [V, H] and targets [N] int64. Has no gradient."""
    pieces = _pieces(len(hidden), len(weight))
    return torch.cat([_chosen(_log_softmax(hidden[rows], weight, bias), targets[rows]) for rows in pieces])


def cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, weights: Tensor, dtype: torch.dtype
) -> Tensor:
    """Σ weights * nats, a number, with weights [N]; products are computed in `dtype`."""
    return _CrossEntropy.apply(hidden, weight, bias, targets, weights, dtype)


class _CrossEntropy(torch.autograd.Function):
    """The gradient is computed along with the loss, while a piece's logits are there: softmax minus one-hot."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, weights: Tensor, dtype: torch.dtype
    ) -> Tensor:
        W, loss = weight.to(dtype), hidden.new_zeros(())
        d_hidden, d_weight, d_bias = torch.empty_like(hidden), torch.zeros_like(weight), torch.zeros_like(bias)
        for rows in _pieces(len(hidden), len(weight)):
            x, y, w = hidden[rows].to(dtype), targets[rows], weights[rows]
            log_p = _log_softmax(x, W, bias)
            loss += w @ _chosen(log_p, y)
            d = log_p.exp_()
            d.scatter_add_(1, y[:, None], d.new_full((len(y), 1), -1))
            d *= w[:, None]
            d_bias += d.sum(0)
            d = d.to(dtype)
            d_hidden[rows] = d @ W
            d_weight += d.t() @ x
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, d_loss: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors
        return d_loss * d_hidden, d_loss * d_weight, d_loss * d_bias, None, None, None


def _pieces(rows: int, vocab_size: int) -> Iterator[slice]:
    size = max(1, PIECE // vocab_size)
    return (slice(start, start + size) for start in range(0, rows, size))


def _log_softmax(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.log_softmax((x @ weight.t()).float() + bias, dim=1)


def _chosen(log_p: Tensor, targets: Tensor) -> Tensor:
    return -log_p.gather(1, targets[:, None])[:, 0]
