"""What the native cells share: a layer of the core, and its calls."""

from __future__ import annotations

from typing import Any

import numpy as np

import rhapsode._native as _native
from rhapsode.backends.native.masks import NOTHING
from rhapsode.nn.cells import LayerState

Input = Any
"""What a layer reads: ids [T, B], int32, where it has a table, else activations [T*B, D] of another layer."""


class NativeCell:
    """One recurrent layer, its weights W_ih z + b (or the table) included. `backward` follows its `forward`."""

    kind: str
    """the core's name of the cell"""

    def __init__(self, table: bool, width: int, hidden: int, nonlinearity: str, precision: str):
        kind = self.kind.format(nonlinearity=nonlinearity)
        self.core = _native.Recurrent(kind, table, width, hidden, precision)

    def parameters(self) -> dict[str, Any]:
        """The core's parameters by their names within the layer."""
        return {p.name: p for p in self.core.parameters()}

    def forward(
        self,
        read: Input,
        steps: int,
        state: LayerState,
        training: bool = False,
        ids_mask: Any = NOTHING,
        dropconnect: Any = NOTHING,
    ) -> tuple[Any, LayerState]:
        """h of all steps, [T*B, H], and the state after the last."""
        batch = len(state[0])
        h, after = self.core.forward(read, steps, batch, list(state), ids_mask, dropconnect, training)
        return h, type(state)(*after)

    def backward(
        self, read: Input, dh: Any, d_state: LayerState | None, ids_mask: Any, with_state: bool, accumulate: bool
    ) -> tuple[Any, list[np.ndarray] | None]:
        """From the gradients of h and of the final state (None: zero) to those of what was read (None for ids) and, if
        asked for, of the incoming state; the weights' are overwritten or added to."""
        d_after = None if d_state is None else list(d_state)
        return self.core.backward(read, dh, d_after, ids_mask, with_state, accumulate)
