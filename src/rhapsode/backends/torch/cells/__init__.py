"""The recurrent cells in torch, one file each: the twins of `rhapsode.nn.cells`, with the backward pass written out.

Sequences stand in columns here, as in the papers: a vector of a batch is [H, B], so that a step is W h and a gate is
one block of memory (and the product is twice as fast on matrix units as h Wᵀ). The loop computes only what hangs on
the step before; the gradient of W is one product over all time steps afterwards.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rhapsode.backends.torch.cells import gru, lstm, rnn

SCANS: dict[str, Callable[..., tuple[Tensor, Any]]] = {"rnn": rnn.scan, "gru": gru.scan, "lstm": lstm.scan}
"""By `ModelConfig.cell`: (gates [T, B, G*H], state, parameters of the layer, nonlinearity) -> h [T, B, H], state."""
