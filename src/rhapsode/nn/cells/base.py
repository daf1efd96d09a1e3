"""What a cell is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np


class HiddenState(NamedTuple):
    """State of a layer that keeps one vector: h[B, H], float32."""

    h: Any


class HiddenAndCell(NamedTuple):
    """State of a layer that keeps its output h[B, H] and a memory c[B, H], float32."""

    h: Any
    c: Any


class Memory(NamedTuple):
    """State of a layer whose output is made anew at each step from a memory c[B, H], float32, and the input."""

    c: Any


LayerState = HiddenState | HiddenAndCell | Memory


class Vector(NamedTuple):
    """A vector [H] of the recurrence's own, beside its matrix or instead of it; a cell of the user's own may have
    arrays of any shape."""

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    """(generator, H) -> initial values"""
    shape: Callable[[int], tuple[int, ...]] = lambda hidden: (hidden,)
    """H -> its shape"""


class Cell(Protocol):
    """One recurrent layer: the gates of all time steps at once come in, the recurrence is run over them."""

    gates: int
    """G: the pre-activations have G*H entries."""
    state: type[LayerState]
    matrices: int
    """M: the recurrent matrix weight_hh is [M*H, H], most often with M = G; without one (0) a unit sees its own state
    only."""
    vectors: tuple[Vector, ...]
    """Vectors of its own; most cells have none."""
    table_scales: tuple[float, ...] = ()
    """For each gate, the standard deviation of what is drawn for it in the table; () is 1 for all."""

    def scan(
        self, gates: np.ndarray, state: LayerState, parameters: Mapping[str, np.ndarray], nonlinearity: str
    ) -> tuple[np.ndarray, LayerState]:
        """Run over gates[T, B, G*H] from `state`; return h[T, B, H] and the state after the last step.

        More axes may stand between B and the last (the engine has [T, B, 1, G*H], which makes products row by row).
        `parameters` are those of the layer, without its prefix: weight_hh[M*H, H] and the cell's own vectors.
        """
        ...


def zeros(rng: np.random.Generator, hidden: int) -> np.ndarray:
    """Initial values of a `Vector` that is a bias."""
    return np.zeros(hidden, np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def positive(x: np.ndarray) -> np.ndarray:
    """g of Feng et al. (2024), arXiv:2410.01201: x + 1/2 for x >= 0, σ(x) below."""
    return np.where(x >= 0, x + np.float32(0.5), sigmoid(x))
