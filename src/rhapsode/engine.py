"""The engine: what runs a model for generation, scoring and sessions. This one is the reference, in numpy.

A state is a `State` of arrays [B, H]. Engines never write into a state they were given, so states are shared freely.

Batch law: row b of `step` depends on row b alone, to the last bit, however many rows there are. A matrix product over
all rows at once would not do: its rounding depends on the number of rows. `step` therefore gives the rows to `forward`
as a stack of B products with one row each. `read` of one row makes the same products; of several, it makes one
product for all (fast, and within rounding of the other).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from rhapsode.modelfile import ModelFile
from rhapsode.nn.forward import forward
from rhapsode.nn.spec import State, initial_state


class Engine:
    """A model that reads and predicts, for any number of sequences side by side.

    B sequences, T symbols, V `vocab_size`; ids are int32, logits and state float32.
    """

    def __init__(self, model: ModelFile):
        self.model, self.config, self.tokenizer = model, model.config, model.tokenizer

    @cached_property
    def digest(self) -> str:
        """Of the model: see `ModelFile.digest`."""
        return self.model.digest()

    def initial_state(self, batch_size: int) -> State:
        """The state of `batch_size` sequences before any text."""
        return initial_state(self.config, self.model.parameters, batch_size)

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Read one symbol of each sequence, ids [B]; return the logits [B, V] of what follows, and the state."""
        stacked = _each(state, lambda array: array[:, None])
        logits, after = forward(self.config, self.model.parameters, np.asarray(ids)[None, :, None], stacked)
        return logits[0, :, 0], _each(after, lambda array: array[:, 0])

    def read(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Read ids [T, B]; return the logits [T, B, V] of what follows each, and the state after all."""
        return forward(self.config, self.model.parameters, ids, state)


def rows(state: State, index: Sequence[int] | np.ndarray) -> State:
    """The state of these sequences of a batch, in this order; a sequence may be taken more than once."""
    return _each(state, lambda array: array[np.asarray(index, np.intp)])


def stack(states: Sequence[State]) -> State:
    """The state of all sequences of these states, side by side."""
    layers = [
        type(parts[0])(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        for parts in zip(*(state.layers for state in states), strict=True)
    ]
    return State(tuple(layers))


def _each(state: State, change: Callable[[np.ndarray], np.ndarray]) -> State:
    """`change` of every array of the state."""
    return State(tuple(type(layer)(*map(change, layer)) for layer in state.layers))
