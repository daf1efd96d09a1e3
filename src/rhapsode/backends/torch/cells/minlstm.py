"""The minLSTM of `rhapsode.nn.cells.minlstm`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from rhapsode.backends.torch.cells.base import linear_scan, positive
from rhapsode.nn.cells import HiddenState


def scan(
    gates: Tensor, state: HiddenState, parameters: Mapping[str, Tensor], nonlinearity: str
) -> tuple[Tensor, HiddenState]:
    """Run over gates [T, B, 3H] from `state`."""
    a_f, a_i, a_n = gates.chunk(3, dim=-1)
    f = torch.sigmoid(functional.logsigmoid(a_f) - functional.logsigmoid(a_i))
    outputs = linear_scan(f, (1 - f) * positive(a_n), state.h)
    return outputs, HiddenState(outputs[-1])
