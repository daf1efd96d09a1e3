"""`rhapsode.backends.classifier.ClassifierLearner` in PyTorch: the equations of `rhapsode.nn.classifier`, which torch
differentiates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rhapsode.backends.base import StepResult, Update
from rhapsode.backends.classifier import LabelledBatch
from rhapsode.backends.torch import model as layers
from rhapsode.backends.torch import optim
from rhapsode.backends.torch.learner import product_dtype, to_numpy
from rhapsode.backends.torch.masks import Dropout
from rhapsode.config import ClassifierConfig, ModelConfig, TrainConfig
from rhapsode.nn.classifier import classifier_spec, directions, is_real, reversal
from rhapsode.nn.forward import under
from rhapsode.nn.spec import Parameters


class TorchClassifier:
    """A classifier with its optimiser, on CUDA where there is one."""

    def __init__(self, model: ModelConfig, head: ClassifierConfig, train: TrainConfig, parameters: Parameters):
        self._model, self._head, self._train = model, head, train
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = product_dtype(train.precision, self._device)
        spec = classifier_spec(model, head)
        self._weights = {p.name: self._tensor(parameters[p.name]).requires_grad_() for p in spec}
        self._optimizer = optim.make_optimizer(train, spec, self._weights)

    def step(self, batch: LabelledBatch, update: Update) -> StepResult:
        loss = self._backward(batch, update)
        return optim.step(self._optimizer, self._train, self._weights, loss, update.lr)

    def gradients(self, batch: LabelledBatch, update: Update) -> tuple[float, Parameters]:
        loss = self._backward(batch, update).item()
        gradients = {name: to_numpy(weight.grad) for name, weight in self._weights.items()}
        self._optimizer.zero_grad()
        return loss, gradients

    @torch.no_grad()
    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return to_numpy(self._logits(ids, lengths, []))

    def parameters(self) -> Parameters:
        return {name: to_numpy(weight) for name, weight in self._weights.items()}

    def _backward(self, batch: LabelledBatch, update: Update) -> Tensor:
        B, each_step = len(batch.lengths), self._model.dropout_mask == "step"
        masks = [Dropout(self._train.seed, 2 * update.number + d, B, 0, B, each_step) for d in range(2)]
        loss = functional.cross_entropy(
            self._logits(batch.ids, batch.lengths, masks), self._tensor(batch.classes).long()
        )
        loss.backward()
        return loss.detach()

    def _logits(self, ids: np.ndarray, lengths: np.ndarray, dropout: list[Dropout]) -> Tensor:
        """[B, C]; no masks: no dropout."""
        back = self._tensor(reversal(len(ids), lengths))
        read, outputs, last = self._tensor(ids), [], []
        ends = [self._tensor(lengths).long() - 1, torch.zeros(len(lengths), dtype=torch.long, device=self._device)]
        for number, direction in enumerate(directions(self._head)):
            own = under(self._weights, f"{direction}.")
            turned = read.gather(0, back) if number else read
            states = self._states(own, turned, dropout[number] if dropout else None)
            if number:
                states = states.gather(0, back[..., None].expand_as(states))
            outputs.append(states)
            last.append(states[ends[number], torch.arange(len(lengths), device=self._device)])
        if self._head.pooling == "last":
            z = torch.cat(last, 1)
        else:
            z = self._pooled(torch.cat(outputs, 2), self._tensor(is_real(len(ids), lengths))[..., None])
        if dropout:
            z = dropout[0].vectors("output", z[None], self._model.dropout_output)[0]
        return z @ self._weights["output.weight"].t() + self._weights["output.bias"]

    def _states(self, own: Mapping[str, Tensor], ids: Tensor, dropout: Dropout | None) -> Tensor:
        """What the stack with these parameters gives, [T, B, H]."""
        below = replace(self._model, dropout_output=0.0)
        start = layers.initial_state(below, own, ids.shape[1], self._device)
        return layers.hidden(below, own, ids, start, self._dtype, dropout)[0]

    def _pooled(self, states: Tensor, real: Tensor) -> Tensor:
        """z [B, W] of s [T, B, W]; `real` [T, B, 1] is false at padding."""
        if self._head.pooling == "mean":
            return (states * real).sum(0) / real.sum(0)
        if self._head.pooling == "max":
            return states.masked_fill(~real, -torch.inf).amax(0)
        hidden = torch.tanh(
            functional.linear(states, self._weights["attention.weight"], self._weights["attention.bias"])
        )
        scores = functional.linear(hidden, self._weights["attention.query"])
        return (scores.masked_fill(~real, -torch.inf).softmax(0) * states).sum(0)

    def _tensor(self, array: np.ndarray) -> Tensor:
        """A copy on the device."""
        return torch.tensor(array, device=self._device)
