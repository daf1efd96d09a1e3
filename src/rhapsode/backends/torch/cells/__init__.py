"""The recurrent cells in torch, one file each: the twins of `rhapsode.nn.cells`, with the backward pass written out.

The loop computes only what hangs on the step before; the gradient of W_hh is one product over all time steps at the
end.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rhapsode.backends.torch.cells import gru, lstm, rnn

SCANS: dict[str, Callable[..., tuple[Tensor, Any]]] = {"rnn": rnn.scan, "gru": gru.scan, "lstm": lstm.scan}
"""By `ModelConfig.cell`: (gates [T, B, G*H], state, parameters of the layer, nonlinearity) -> h [T, B, H], state."""
