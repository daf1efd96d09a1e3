"""What a cell is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np


class HiddenState(NamedTuple):
    """State of a layer that keeps one vector: h[B, H], float32."""

    h: Any


class HiddenAndCell(NamedTuple):
    """State of a layer that keeps its output h[B, H] and a memory c[B, H], float32."""

    h: Any
    c: Any


LayerState = HiddenState | HiddenAndCell


class Cell(Protocol):
    """One recurrent layer: the gates of all time steps at once come in, the recurrence is run over them."""

    gates: int
    """G: the pre-activations have G*H entries."""
    state: type[LayerState]
    recurrent_bias: tuple[str, ...]
    """Names of vectors [H] that the recurrence adds inside a gate (see GRU); most cells have none."""

    def scan(
        self, gates: np.ndarray, state: LayerState, parameters: Mapping[str, np.ndarray], nonlinearity: str
    ) -> tuple[np.ndarray, LayerState]:
        """Run over gates[T, B, G*H] from `state`; return h[T, B, H] and the state after the last step.

        More axes may stand between B and the last (the engine has [T, B, 1, G*H], which makes products row by row).
        `parameters` are those of the layer, without its prefix: weight_hh[G*H, H] and the recurrent biases.
        """
        ...


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5
