"""`rhapsode.backends.base.Learner` on the native core."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

import rhapsode._native as _native
from rhapsode.backends.base import Batch, Gradients, StepResult, Update
from rhapsode.backends.native.masks import Dropout
from rhapsode.backends.native.model import Model
from rhapsode.backends.native.optim import Optimizer
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.errors import ConfigError
from rhapsode.nn.spec import Parameters, State, initial_state, map_state, parameter_spec
from rhapsode.text.batches import cuts

ROWS = 8192
"""Most time steps times sequences that are read at once outside training, to bound the memory of activations."""


class NativeLearner:
    """A model on the native core, with its optimiser. States are `State`s of numpy arrays."""

    def __init__(self, config: ModelConfig, train: TrainConfig, parameters: Parameters):
        self.config, self.train = config, train
        self._spec = parameter_spec(config)
        self._model = Model(config, precision(train.precision))
        self._weights = self._model.parameters()
        self._initial = {p.name: _native.Array(p.name, p.shape) for p in self._spec if p.role == "state"}
        self._weights |= self._initial
        self._averaged = False
        self._set(parameters)
        self._optimizer = Optimizer(train, self._spec, self._weights)

    def _set(self, parameters: Parameters) -> None:
        for p in self._spec:
            self._weights[p.name].set_value(parameters[p.name])

    def initial_state(self, batch_size: int) -> State:
        self._use(averaged=False)
        return self._initial_state(batch_size)

    def _initial_state(self, batch_size: int) -> State:
        return initial_state(self.config, {name: p.value() for name, p in self._initial.items()}, batch_size)

    def step(self, batch: Batch, state: State, update: Update) -> tuple[StepResult, State]:
        loss, state, _ = self._backward(batch, state, update)
        norm = self._optimizer.step(update.lr) if math.isfinite(loss) else math.nan
        return StepResult(loss, norm), state

    def _backward(
        self, batch: Batch, state: State, update: Update, d_final: State | None = None, with_state: bool = False
    ) -> tuple[float, State, State | None]:
        """The loss, the final state and, if asked for, the gradient of the incoming state, of which none reaches rows
        that were reset. The weights' gradients are left in the core.

        The batch is cut along B into `accumulate` pieces, one after the other.
        """
        self._use(averaged=False)
        B, every_step = len(batch.reset), self.config.dropout_mask == "step"
        scale = 1 / batch.divisor
        start = self._where_reset(batch.reset, state)
        with_start = with_state or bool(self._initial)
        loss, finals, starts = 0.0, [], []
        for rows in cuts(B, self.train.accumulate):
            size = rows.stop - rows.start
            dropout = Dropout(self.train.seed, update.number, B, rows.start, size, every_step, update.dropout)
            hidden, final = self._model.hidden(_columns(batch.inputs, rows), _part(start, rows), dropout)
            targets = _columns(batch.targets, rows)
            weights = None if batch.weights is None else _columns(batch.weights, rows)
            d_part = None if d_final is None else _part(d_final, rows)
            piece, d_start = self._model.train(
                hidden, targets, weights, scale, dropout, d_part, with_start, accumulate=rows.start > 0
            )
            loss += piece
            finals.append(final)
            if d_start is not None:
                starts.append(_like(final, d_start))
        d_state = self._split_gradient(batch.reset, _joined(starts)) if starts else None
        return loss, _joined(finals), d_state

    def _where_reset(self, reset: np.ndarray, state: State) -> State:
        if not reset.any():
            return state
        return map_state(
            lambda own, first: np.where(reset[:, None], first, own), state, self._initial_state(len(reset))
        )

    def _split_gradient(self, reset: np.ndarray, d_start: State) -> State:
        """Give the initial state its share of the gradient, from the rows that were reset; the rest is the incoming
        state's."""
        for layer, arrays in enumerate(d_start.layers):
            for field, d in zip(arrays._fields, arrays, strict=True):
                name = f"layers.{layer}.initial.{field}"
                if name in self._initial:
                    self._initial[name].set_gradient(d[reset].sum(0, dtype=np.float32))
        return map_state(lambda d: np.where(reset[:, None], np.float32(0), d), d_start)

    def losses(
        self, inputs: np.ndarray, targets: np.ndarray, state: State, averaged: bool = False
    ) -> tuple[np.ndarray, State]:
        self._use(averaged)
        found = []
        for steps in _spans(*inputs.shape):
            hidden, state = self._model.hidden(np.ascontiguousarray(inputs[steps], np.int32), state)
            found.append(self._model.losses(hidden, np.ascontiguousarray(targets[steps], np.int32)))
        return np.concatenate(found), state

    def logits(self, inputs: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        self._use(averaged=False)
        found = []
        for steps in _spans(*inputs.shape):
            hidden, state = self._model.hidden(np.ascontiguousarray(inputs[steps], np.int32), state)
            found.append(self._model.logits(hidden))
        return np.concatenate(found).reshape(*inputs.shape, -1), state

    def gradients(self, batch: Batch, state: State, update: Update, d_state: State | None = None) -> Gradients:
        loss, final, d_start = self._backward(batch, self.state_from_numpy(state), update, d_state, with_state=True)
        assert d_start is not None
        return Gradients(loss, {p.name: self._weights[p.name].gradient() for p in self._spec}, d_start, final)

    def parameters(self, averaged: bool = False) -> Parameters:
        self._use(averaged=False)
        if averaged and self.train.averaging:
            return self._optimizer.averages()
        return {p.name: self._weights[p.name].value() for p in self._spec}

    def optimizer_state(self) -> Parameters:
        self._use(averaged=False)
        return self._optimizer.state()

    def load(self, parameters: Parameters, optimizer_state: Parameters | None = None) -> None:
        self._use(averaged=False)
        self._set(parameters)
        if optimizer_state is not None:
            self._optimizer.restore(optimizer_state)

    def state_to_numpy(self, state: State) -> State:
        return map_state(np.copy, state)

    def state_from_numpy(self, state: State) -> State:
        return map_state(lambda array: np.array(array, np.float32, order="C"), state)

    def _use(self, averaged: bool) -> None:
        """Have the running average of the weights in the weights' place, or not."""
        averaged = averaged and self.train.averaging > 0
        if averaged != self._averaged:
            self._optimizer.swap_average()
            self._averaged = averaged


def precision(asked: str) -> str:
    """What matrix products are computed in: `auto` is bf16 where the core has matrix units to do it.

    Raises:
        ConfigError: bf16 is asked for and there are none.
    """
    has_bf16 = _native.supports_bf16()
    if asked == "bf16" and not has_bf16:
        raise ConfigError("precision", "bf16", "fp32 or auto: no bf16 matrix units in use (RHAPSODE_ISA, `amx`)")
    return ("bf16" if has_bf16 else "fp32") if asked == "auto" else asked


def _columns(array: np.ndarray, rows: slice) -> np.ndarray:
    """The sequences `rows` of an array [T, B], contiguous as the core wants it."""
    return np.ascontiguousarray(array[:, rows])


def _spans(steps: int, batch_size: int) -> Iterator[slice]:
    """Parts of a sequence that are read at once."""
    length = max(1, ROWS // batch_size)
    return (slice(t, t + length) for t in range(0, steps, length))


def _part(state: State, rows: slice) -> State:
    return map_state(lambda array: array[rows], state)


def _joined(pieces: list[State]) -> State:
    return pieces[0] if len(pieces) == 1 else map_state(lambda *arrays: np.concatenate(arrays), *pieces)


def _like(state: State, arrays: list) -> State:
    """Arrays by layer as a `State` of the kind of `state`."""
    return State(tuple(type(layer)(*own) for layer, own in zip(state.layers, arrays, strict=True)))
