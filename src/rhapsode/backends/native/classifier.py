"""`rhapsode.backends.classifier.ClassifierLearner` on the native core: its recurrent layers and its output layer, with
the pooling between them in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import rhapsode._native as _native
from rhapsode.backends.base import StepResult, Update
from rhapsode.backends.classifier import LabelledBatch
from rhapsode.backends.native.learner import precision
from rhapsode.backends.native.masks import Dropout
from rhapsode.backends.native.model import Stack
from rhapsode.backends.native.optim import Optimizer
from rhapsode.backends.native.pooling import Pooling
from rhapsode.config import ClassifierConfig, ModelConfig, TrainConfig
from rhapsode.nn.classifier import classifier_spec, directions, pooled_width, reversal
from rhapsode.nn.spec import Parameters, initial_state, stack_spec


class Direction:
    """One stack, which reads ids and gives its states as numpy: [T, B, H]."""

    def __init__(self, config: ModelConfig, precision: str):
        self._config, self._stack, self._gradient = config, Stack(config, precision), _native.Vectors()
        self._initial = {p.name: _native.Array(p.name, p.shape) for p in stack_spec(config) if p.role == "state"}

    def parameters(self) -> dict[str, Any]:
        return self._stack.parameters() | self._initial

    def forward(self, ids: np.ndarray, dropout: Dropout | None) -> np.ndarray:
        start = initial_state(self._config, {n: p.value() for n, p in self._initial.items()}, ids.shape[1])
        self._fields = [layer._fields for layer in start.layers]
        states, _ = self._stack.forward(np.ascontiguousarray(ids, np.int32), start, dropout)
        return states.numpy().reshape(*ids.shape, -1)

    def backward(self, d: np.ndarray) -> None:
        rows = self._gradient.set(np.ascontiguousarray(d, np.float32).reshape(-1, self._config.hidden))
        d_start = self._stack.backward(rows, None, with_state=bool(self._initial), accumulate=False)
        for layer, arrays in enumerate(d_start or ()):
            for field, array in zip(self._fields[layer], arrays, strict=True):
                name = f"layers.{layer}.initial.{field}"
                if name in self._initial:
                    self._initial[name].set_gradient(array.sum(0, dtype=np.float32))


class Network:
    """A classifier on the core; it holds what its layers compute, so it is used by one thread at a time."""

    def __init__(self, model: ModelConfig, head: ClassifierConfig, parameters: Parameters, precision: str = "fp32"):
        self._model, width = model, pooled_width(model, head)
        self._directions = {name: Direction(model, precision) for name in directions(head)}
        self._pooling, self._pooled = Pooling(head, width), _native.Vectors()
        self._output = _native.Output(head.classes, width, None, "fp32")
        self.spec = classifier_spec(model, head)
        self.weights = self._pooling.parameters() | {f"output.{p.name}": p for p in self._output.parameters()}
        for direction, stack in self._directions.items():
            self.weights |= {f"{direction}.{name}": p for name, p in stack.parameters().items()}
        for p in self.spec:
            self.weights[p.name].set_value(parameters[p.name])

    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """[B, C], without dropout, for ids [T, B]."""
        return self._output.logits(self._read(ids, lengths, [None, None]))

    def train(self, batch: LabelledBatch, dropout: list[Dropout]) -> float:
        """The loss; the gradients are left in the weights."""
        pooled, targets = self._read(batch.ids, batch.lengths, dropout), batch.classes[None]
        mask = dropout[0].vectors("output", self._model.dropout_output)
        total, d = self._output.train(pooled, np.ascontiguousarray(targets), None, 1 / targets.size, mask, False)
        d_states = self._pooling.backward(d.numpy())
        for number, stack in enumerate(self._directions.values()):
            part = d_states[..., self._model.hidden * number :][..., : self._model.hidden]
            stack.backward(np.take_along_axis(part, self._back, 0) if number else part)
        return total / targets.size

    def _read(self, ids: np.ndarray, lengths: np.ndarray, dropout: list[Any]) -> Any:
        """z [B, W]."""
        self._back = reversal(len(ids), lengths)[..., None]
        outputs = []
        for number, stack in enumerate(self._directions.values()):
            read = np.take_along_axis(ids, self._back[..., 0], 0) if number else ids
            states = stack.forward(read, dropout[number])
            outputs.append(np.take_along_axis(states, self._back, 0) if number else states)
        return self._pooled.set(self._pooling.forward(np.concatenate(outputs, -1), lengths).astype(np.float32))


class NativeClassifier:
    """A network with its optimiser."""

    def __init__(self, model: ModelConfig, head: ClassifierConfig, train: TrainConfig, parameters: Parameters):
        self._train, self._each_step = train, model.dropout_mask == "step"
        self._network = Network(model, head, parameters, precision(train.precision))
        self._optimizer = Optimizer(train, self._network.spec, self._network.weights)

    def step(self, batch: LabelledBatch, update: Update) -> StepResult:
        loss = self._backward(batch, update)
        return StepResult(loss, self._optimizer.step(update.lr) if math.isfinite(loss) else math.nan)

    def gradients(self, batch: LabelledBatch, update: Update) -> tuple[float, Parameters]:
        loss = self._backward(batch, update)
        return loss, {p.name: self._network.weights[p.name].gradient() for p in self._network.spec}

    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return self._network.logits(ids, lengths)

    def parameters(self) -> Parameters:
        return {p.name: self._network.weights[p.name].value() for p in self._network.spec}

    def _backward(self, batch: LabelledBatch, update: Update) -> float:
        B = len(batch.lengths)
        masks = [Dropout(self._train.seed, 2 * update.number + d, B, 0, B, self._each_step) for d in range(2)]
        return self._network.train(batch, masks)
