"""The RG-LRU of `rhapsode.nn.cells.rglru`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from rhapsode.backends.torch.cells.base import linear_scan
from rhapsode.nn.cells import Memory
from rhapsode.nn.cells.rglru import SHARPNESS


def scan(gates: Tensor, state: Memory, parameters: Mapping[str, Tensor], nonlinearity: str) -> tuple[Tensor, Memory]:
    """Run over gates [T, B, 4H] from `state`."""
    a_r, a_i, a_x, a_y = gates.chunk(4, dim=-1)
    log_decay = SHARPNESS * functional.logsigmoid(parameters["decay"]) * torch.sigmoid(a_r)
    least = torch.finfo(gates.dtype).tiny  # under the root, whose slope has no end at 0
    entry = (-torch.expm1(2 * log_decay)).clamp_min(least).sqrt() * torch.sigmoid(a_i) * a_x
    c = linear_scan(log_decay.exp(), entry, state.c)
    return functional.gelu(a_y, approximate="tanh") * c, Memory(c[-1])
