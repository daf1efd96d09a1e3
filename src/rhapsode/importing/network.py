"""What an imported network consists of, in rhapsode's order of gates, before it has a vocabulary of rhapsode's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rhapsode.errors import SourceError


class Layer(NamedTuple):
    """One recurrent layer, in the order of gates of `rhapsode.nn.cells`."""

    weight_ih: np.ndarray
    """[G*H, D]"""
    weight_hh: np.ndarray
    """[G*H, H]"""
    bias: np.ndarray
    """[G*H]"""
    bias_hn: np.ndarray | None
    """[H] of a gru, else None"""

    @property
    def hidden(self) -> int:
        """H"""
        return self.weight_hh.shape[1]


@dataclass(frozen=True)
class Network:
    """A recurrent language model over symbols 0 … V-1."""

    cell: Literal["rnn", "gru", "lstm"]
    layers: list[Layer]
    output_weight: np.ndarray
    """[V, H]"""
    output_bias: np.ndarray
    """[V]"""
    embedding: np.ndarray | None = None
    """[V, D], what the first layer reads; None: it reads the one-hot vector, or the scalar where D = 1 < V"""
    nonlinearity: Literal["tanh", "relu"] = "tanh"

    @property
    def symbols(self) -> int:
        """V"""
        return len(self.output_weight)

    @property
    def input(self) -> Literal["one-hot", "embedding", "scalar"]:
        """How a symbol enters, as `ModelConfig.input` names it."""
        if self.embedding is not None:
            return "embedding"
        return "one-hot" if self.layers[0].weight_ih.shape[1] == self.symbols else "scalar"


def checked(where: str, array: np.ndarray, *shape: int | None) -> np.ndarray:
    """The weights as float32, if they are finite and of this shape (None: any size from 1).

    Raises:
        SourceError: they are not; `where` begins the message.
    """
    fits = array.ndim == len(shape) and all(n > 0 and m in (None, n) for n, m in zip(array.shape, shape, strict=True))
    if not fits:
        raise SourceError(
            f"{where} is {list(array.shape)}, expected [{', '.join('any' if m is None else str(m) for m in shape)}]"
        )
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise SourceError(f"{where} has values that are no finite numbers")
    return array.astype(np.float32)


def widened(layer: Layer, hidden: int, width: int) -> Layer:
    """The layer with as many units as the widest, reading a vector of `width` entries.

    Exactly the same function: a unit without weights stays at zero in every cell, and nothing reads it.
    """
    gates, more = len(layer.bias) // layer.hidden, hidden - layer.hidden

    def rows(matrix: np.ndarray) -> np.ndarray:
        by_gate = matrix.reshape(gates, layer.hidden, *matrix.shape[1:])
        padded = np.pad(by_gate, [(0, 0), (0, more)] + [(0, 0)] * (matrix.ndim - 1))
        return padded.reshape(gates * hidden, *matrix.shape[1:])

    return Layer(
        rows(np.pad(layer.weight_ih, [(0, 0), (0, width - layer.weight_ih.shape[1])])),
        rows(np.pad(layer.weight_hh, [(0, 0), (0, more)])),
        rows(layer.bias),
        None if layer.bias_hn is None else np.pad(layer.bias_hn, (0, more)),
    )
