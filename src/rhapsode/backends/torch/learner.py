"""`rhapsode.backends.base.Learner` in PyTorch, on CUDA where there is one, else on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rhapsode.backends.base import Batch, Gradients, StepResult, Update
from rhapsode.backends.torch import loss, model, optim
from rhapsode.backends.torch.masks import Dropout
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import Parameters, State, map_state, output_weight, parameter_spec
from rhapsode.text.batches import cuts


class TorchLearner:
    """A model on torch, with its optimiser. States are `State`s of tensors on `device`."""

    def __init__(self, config: ModelConfig, train: TrainConfig, parameters: Parameters):
        self.config, self.train = config, train
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = product_dtype(train.precision, self.device)
        self._spec = parameter_spec(config)
        self._weights = {p.name: self._tensor(parameters[p.name]).requires_grad_() for p in self._spec}
        self._restart()

    def _restart(self) -> None:
        self._updates = 0
        self._optimizer = optim.make_optimizer(self.train, self._spec, self._weights)
        keeps = self._weights if self.train.averaging else {}
        self._average = {name: weight.detach().clone() for name, weight in keeps.items()}

    def initial_state(self, batch_size: int) -> State:
        with torch.no_grad():
            return map_state(torch.clone, model.initial_state(self.config, self._weights, batch_size, self.device))

    def step(self, batch: Batch, state: State, update: Update) -> tuple[StepResult, State]:
        value, state = self._backward(batch, state, update)
        result = optim.step(self._optimizer, self.train, self._weights, value, update.lr)
        if result.is_finite:
            self._updates += 1
            with torch.no_grad():
                optim.update_average(self._average, self._weights, self.train.averaging, self._updates)
        return result, state

    def _backward(
        self, batch: Batch, state: State, update: Update, d_state: State | None = None
    ) -> tuple[Tensor, State]:
        """The loss, and the final state; gradients are left in the weights, and in `state` where it asks for them.

        The batch is cut along B into `accumulate` pieces, computed one after the other.
        """
        inputs, targets = self._tensor(batch.inputs), self._tensor(batch.targets).long()
        shares, reset = self._shares(batch), self._tensor(batch.reset)
        total, finals, begin = torch.zeros((), device=self.device), [], _weightless(batch.weights)
        for rows in cuts(len(reset), self.train.accumulate):
            start, dropout = self._start(_rows(state, rows), reset[rows]), self._dropout(update, len(reset), rows)
            hidden, final = model.hidden(self.config, self._weights, inputs[:, rows], start, self.dtype, dropout)
            value = self._loss(hidden[begin:], targets[begin:, rows], shares[begin:, rows])
            total += value.detach()
            if d_state is not None:
                value = value + _inner(final, _rows(d_state, rows))
            value.backward()
            finals.append(map_state(Tensor.detach, final))
        return total, map_state(lambda *pieces: torch.cat(pieces), *finals)

    def _shares(self, batch: Batch) -> Tensor:
        """How much each prediction counts in the loss, [T, B]."""
        weights = np.ones(batch.inputs.shape, np.float32) if batch.weights is None else batch.weights
        return self._tensor((weights / batch.divisor).astype(np.float32))

    def _start(self, state: State, reset: Tensor) -> State:
        initial = model.initial_state(self.config, self._weights, len(reset), self.device)
        return map_state(lambda carried, new: torch.where(reset[:, None], new, carried), state, initial)

    def _dropout(self, update: Update, batch_size: int, rows: slice) -> Dropout:
        each_step, size = self.config.dropout_mask == "step", rows.stop - rows.start
        return Dropout(self.train.seed, update.number, batch_size, rows.start, size, each_step, update.dropout)

    def _loss(self, hidden: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
        weight, bias = self._weights[output_weight(self.config)], self._weights["output.bias"]
        return loss.cross_entropy(hidden.flatten(0, 1), weight, bias, targets.flatten(), shares.flatten(), self.dtype)

    @torch.no_grad()
    def losses(
        self, inputs: np.ndarray, targets: np.ndarray, state: State, averaged: bool = False
    ) -> tuple[np.ndarray, State]:
        weights = self._chosen(averaged)
        hidden, state = model.hidden(self.config, weights, self._tensor(inputs), state, self.dtype)
        weight, bias = weights[output_weight(self.config)], weights["output.bias"]
        values = loss.nats(hidden.flatten(0, 1), weight, bias, self._tensor(targets).long().flatten())
        return values.view(inputs.shape).cpu().numpy(), state

    @torch.no_grad()
    def logits(self, inputs: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        hidden, state = model.hidden(self.config, self._weights, self._tensor(inputs), state, self.dtype)
        values = hidden @ self._weights[output_weight(self.config)].t() + self._weights["output.bias"]
        return values.cpu().numpy(), state

    def gradients(self, batch: Batch, state: State, update: Update, d_state: State | None = None) -> Gradients:
        incoming = map_state(Tensor.requires_grad_, self.state_from_numpy(state))
        d_final = None if d_state is None else self.state_from_numpy(d_state)
        value, final = self._backward(batch, incoming, update, d_final)
        parameters = {name: to_numpy(weight.grad) for name, weight in self._weights.items()}
        self._optimizer.zero_grad()
        return Gradients(
            value.item(), parameters, map_state(lambda s: to_numpy(s.grad), incoming), self.state_to_numpy(final)
        )

    def parameters(self, averaged: bool = False) -> Parameters:
        return {name: to_numpy(value) for name, value in self._chosen(averaged).items()}

    def optimizer_state(self) -> Parameters:
        arrays = {key: to_numpy(value) for key, value in optim.slots(self._optimizer, self._weights).items()}
        averages = {f"average.{name}": to_numpy(value) for name, value in self._average.items()}
        return {**arrays, **averages, "updates": np.array([self._updates], np.int64)}

    def load(self, parameters: Parameters, optimizer_state: Parameters | None = None) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(self._tensor(parameters[name]))
        if optimizer_state is None:
            return
        self._restart()
        values = {key: self._tensor(value) for key, value in optimizer_state.items()}
        self._updates = int(values.pop("updates"))
        self._average = {name: values.pop(f"average.{name}") for name in self._average}
        optim.restore(self._optimizer, self._weights, values, self._updates)

    def state_to_numpy(self, state: State) -> State:
        return map_state(to_numpy, state)

    def state_from_numpy(self, state: State) -> State:
        return map_state(self._tensor, state)

    def _tensor(self, array: np.ndarray) -> Tensor:
        """A copy on the device."""
        return torch.tensor(array, device=self.device)

    def _chosen(self, averaged: bool) -> Mapping[str, Tensor]:
        return self._average if averaged and self._average else self._weights


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What matrix products are computed in; auto: bfloat16 where the device has instructions for it."""
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bf16()
        precision = "bf16" if fast else "fp32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _cpu_has_bf16() -> bool:
    """Whether torch knows the CPU to have bfloat16 products (an old torch does not tell: then not)."""
    known: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _rows(state: State, rows: slice) -> State:
    """These sequences of a state."""
    return map_state(lambda array: array[rows], state)


def _inner(one: State, other: State) -> Tensor:
    """The sum of the products of their elements."""
    products = map_state(lambda a, b: (a * b).sum(), one, other)
    return torch.stack([value for layer in products.layers for value in layer]).sum()


def _weightless(weights: np.ndarray | None) -> int:
    """How many of the first steps make no prediction that counts: windows that predict only what follows their end."""
    return 0 if weights is None else int(np.argmax(weights.any(1)))


def to_numpy(tensor: Tensor | None) -> np.ndarray:
    """A copy as numpy."""
    assert tensor is not None
    return tensor.detach().cpu().numpy().copy()
