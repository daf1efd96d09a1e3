"""The short convolution and the gated MLP of `rhapsode.nn.blocks` in torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def short_convolution(x: Tensor, past: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """u [T, B, D] for vectors x [T, B, D], the K-1 before them `past` [B, (K-1)*D], and those before the next."""
    D, K = weight.shape
    read = torch.cat([past.view(-1, K - 1, D).transpose(0, 1), x])
    u = bias + weight[:, K - 1] * x
    for k in range(K - 1):
        u = torch.addcmul(u, weight[:, k], read[k : k + len(x)])
    return u, read[len(x) :].transpose(0, 1).reshape(past.shape)


def gated_mlp(z: Tensor, weight_in: Tensor, weight_out: Tensor, dtype: torch.dtype) -> Tensor:
    """mlp(z) [T, B, H], float32, with products in `dtype`."""
    gate, up = (z.to(dtype) @ weight_in.to(dtype).t()).float().chunk(2, dim=-1)
    inner = functional.gelu(gate, approximate="tanh") * up
    return (inner.to(dtype) @ weight_out.to(dtype).t()).float()
