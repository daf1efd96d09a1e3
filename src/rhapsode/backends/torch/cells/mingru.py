"""The minGRU of `rhapsode.nn.cells.mingru`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rhapsode.backends.torch.cells.base import linear_scan, positive
from rhapsode.nn.cells import HiddenState


def scan(
    gates: Tensor, state: HiddenState, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenState]:
    """Run over gates [T, B, 2H] from `state`."""
    a_z, a_n = gates.chunk(2, dim=-1)
    z = torch.sigmoid(a_z)
    outputs = linear_scan(1 - z, z * positive(a_n), state.h)
    return outputs, HiddenState(outputs[-1])
