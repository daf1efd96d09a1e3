"""The recurrent cells in torch, one file each: the twins of `rhapsode.nn.cells`.

The loop over time computes only what hangs on the step before. Cells with a recurrent matrix have their backward pass
written out, with the gradient of W_hh as one product over all time steps at the end; those without compute their gates
for all steps at once and, where the recurrence is linear, share the loop of `base.linear_scan`.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from rhapsode.backends.torch.cells import gru, lstm, mingru, minlstm, mlstm, mogrifier, rglru, rnn, sru

SCANS: dict[str, Callable[..., tuple[Tensor, Any]]] = {
    "rnn": rnn.scan,
    "gru": gru.scan,
    "lstm": lstm.scan,
    "mlstm": mlstm.scan,
    "mogrifier": mogrifier.scan,
    "mingru": mingru.scan,
    "minlstm": minlstm.scan,
    "sru": sru.scan,
    "rglru": rglru.scan,
}
"""By `ModelConfig.cell`: (gates [T, B, G*H], state, parameters of the layer, nonlinearity) -> h [T, B, H], state."""
