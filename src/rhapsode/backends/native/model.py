"""The network of `rhapsode.nn` on the native core: forward beside backward, a layer at a time.

The core's objects own their weights and activations. What a `forward` gives stays valid until the next `forward` of the
same object, and each `backward` belongs to the `forward` before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import rhapsode._native as _native
from rhapsode.backends.native.blocks import Convolved, GatedMLP, Masked, Normalised
from rhapsode.backends.native.cells import NATIVE_CELLS
from rhapsode.backends.native.masks import NOTHING, Dropout
from rhapsode.config import ModelConfig
from rhapsode.nn.cells import CELLS, LayerState
from rhapsode.nn.spec import State, has_conv, has_norm, is_residual, join_state, layer_width, split_state


class Entry:
    """v_0: from ids to vectors, for input embedding or scalar."""

    def __init__(self, config: ModelConfig):
        self._config, self._masked = config, Masked()
        if config.input == "embedding":
            self._embedding = _native.Embedding(config.vocab_size, config.embedding_size, config.tied)
        else:
            self._numbers = _native.Vectors()

    def parameters(self) -> dict[str, Any]:
        return {"embedding.weight": self._embedding.weight} if self._config.input == "embedding" else {}

    def forward(self, ids: np.ndarray, dropout: Dropout | None) -> Any:
        self._ids = ids
        if self._config.input == "embedding":
            v = self._embedding.forward(ids)
        else:
            v = self._numbers.set((ids / np.float32(self._config.vocab_size)).astype(np.float32).reshape(-1, 1))
        return self._masked.forward(v, dropout.vectors("input", self._config.dropout_input) if dropout else NOTHING)

    def backward(self, d: Any, accumulate: bool) -> None:
        """With a tied output layer, its part of the gradient has been written before."""
        if self._config.input == "embedding":
            self._embedding.backward(self._ids, self._masked.backward(d), accumulate or self._config.tied)


class Layer:
    """v_l → v_l+1: dropout between layers, norm, short convolution, cell, residual, gated MLP."""

    def __init__(self, config: ModelConfig, index: int, precision: str):
        self._config, self._index = config, index
        self._table = index == 0 and config.input == "one-hot"
        width = layer_width(config, index)
        self._masked = Masked()
        self._norm = Normalised(config.norm if has_norm(config, index) else "none", width)
        self._conv = Convolved(width, config.conv if has_conv(config, index) else 0)
        self._cell = NATIVE_CELLS[config.cell](self._table, width, config.hidden, config.nonlinearity, precision)
        self._residual = (_native.Sum(precision), _native.Sum(precision)) if is_residual(config, index) else None
        self._mlp = GatedMLP(config, precision)

    def parameters(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"norm.": self._norm, "conv.": self._conv, "": self._cell, "mlp.": self._mlp}
        return {
            f"layers.{self._index}.{prefix}{name}": p
            for prefix, part in parts.items()
            for name, p in part.parameters().items()
        }

    def forward(self, v: Any, steps: int, state: LayerState, dropout: Dropout | None) -> tuple[Any, LayerState]:
        """`v` are ids [T, B] where the layer has a table."""
        site, config = f"layers.{self._index}", self._config
        self._ids_mask, dropconnect = NOTHING, NOTHING
        if dropout:
            dropconnect = dropout.weights(f"{site}.weight_hh", config.dropconnect)
        if dropout and self._table:
            self._ids_mask = dropout.vectors("input", config.dropout_input)
        between = dropout.vectors(f"{site}.input", config.dropout) if dropout and self._index > 0 else NOTHING
        v = self._masked.forward(v, between)
        start, past = split_state(state, CELLS[config.cell].state)
        self._read, past = self._conv.forward(self._norm.forward(v), past)
        h, after = self._cell.forward(self._read, steps, start, dropout is not None, self._ids_mask, dropconnect)
        y = self._residual[0].run(v, h) if self._residual else h
        return self._mlp.forward(y, dropout is not None), join_state(after, past)

    def backward(
        self, d: Any, d_after: LayerState | None, with_state: bool, accumulate: bool
    ) -> tuple[Any, list[np.ndarray] | None]:
        d = self._mlp.backward(d, accumulate)
        d_end, d_past = split_state(d_after, CELLS[self._config.cell].state) if d_after else (None, None)
        d_read, d_before = self._cell.backward(self._read, d, d_end, self._ids_mask, with_state, accumulate)
        if self._table:
            return None, d_before
        d_read, d_past = self._conv.backward(d_read, d_past, with_state, accumulate)
        if d_before is not None and d_past is not None:
            d_before = [*d_before, d_past]
        d_v = self._norm.backward(d_read, accumulate)
        if self._residual:
            d_v = self._residual[1].run(d_v, d)
        return self._masked.backward(d_v), d_before


class Stack:
    """From ids to what the output layer reads. With a `Dropout`, `forward` is a training pass that `backward` may
    follow."""

    def __init__(self, config: ModelConfig, precision: str):
        self._entry = None if config.input == "one-hot" else Entry(config)
        self._layers = [Layer(config, index, precision) for index in range(config.layers)]
        self._norm = Normalised(config.norm, config.hidden)

    def parameters(self) -> dict[str, Any]:
        """The core's parameters by the names of `rhapsode.nn.spec`, the trained initial state left out."""
        named = dict(self._entry.parameters()) if self._entry else {}
        for layer in self._layers:
            named |= layer.parameters()
        return named | {f"norm.{name}": p for name, p in self._norm.parameters().items()}

    def forward(self, ids: np.ndarray, state: State, dropout: Dropout | None = None) -> tuple[Any, State]:
        """What the output layer reads, before its dropout, [T*B, H], for ids [T, B]; and the state after them."""
        v = self._entry.forward(ids, dropout) if self._entry else ids
        after = []
        for layer, before in zip(self._layers, state.layers, strict=True):
            v, end = layer.forward(v, len(ids), before, dropout)
            after.append(end)
        return self._norm.forward(v), State(tuple(after))

    def backward(
        self, d: Any, d_final: State | None, with_state: bool, accumulate: bool
    ) -> list[list[np.ndarray]] | None:
        """From the gradient of what `forward` gave: the weights' gradients are overwritten, or added to; with
        `with_state` those of the incoming state, by layer. `d_final`: gradient of the final state from elsewhere."""
        d = self._norm.backward(d, accumulate)
        d_state: list[Any] = []
        for index in reversed(range(len(self._layers))):
            d_after = d_final.layers[index] if d_final else None
            d, d_before = self._layers[index].backward(d, d_after, with_state, accumulate)
            d_state.insert(0, d_before)
        if self._entry:
            self._entry.backward(d, accumulate)
        return d_state if with_state else None


class Model:
    """All of it. With a `Dropout`, `hidden` is a training pass that `train` may follow."""

    def __init__(self, config: ModelConfig, precision: str):
        self.config, self._stack = config, Stack(config, precision)
        tied = self._stack.parameters()["embedding.weight"] if config.tied else None
        self._output = _native.Output(config.vocab_size, config.hidden, tied, precision)

    def parameters(self) -> dict[str, Any]:
        """The core's parameters by the names of `rhapsode.nn.spec`, the trained initial state left out."""
        return self._stack.parameters() | {f"output.{p.name}": p for p in self._output.parameters()}

    def hidden(self, ids: np.ndarray, state: State, dropout: Dropout | None = None) -> tuple[Any, State]:
        """What the output layer reads, before its dropout, [T*B, H], for ids [T, B]; and the state after them."""
        return self._stack.forward(ids, state, dropout)

    def train(
        self,
        hidden: Any,
        targets: np.ndarray,
        weights: np.ndarray | None,
        scale: float,
        dropout: Dropout,
        d_final: State | None,
        with_state: bool,
        accumulate: bool,
    ) -> tuple[float, list[list[np.ndarray]] | None]:
        """The loss ``scale * sum(weights * nats)`` and its gradients: the weights' are overwritten, or added to; with
        `with_state` those of the incoming state, by layer. `d_final`: gradient of the final state from elsewhere."""
        mask = dropout.vectors("output", self.config.dropout_output)
        total, d = self._output.train(hidden, targets, weights, scale, mask, accumulate)
        d_state = self._stack.backward(d, d_final, with_state, accumulate)
        return scale * total, d_state

    def losses(self, hidden: Any, targets: np.ndarray) -> np.ndarray:
        """Nats of each prediction [T, B]."""
        return self._output.losses(hidden, targets)

    def logits(self, hidden: Any) -> np.ndarray:
        """Logits [T*B, V]."""
        return self._output.logits(hidden)
