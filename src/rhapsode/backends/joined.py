"""A learner of several networks that are trained side by side, each by itself, and used as the one that they make
(`rhapsode.nn.joined`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rhapsode.backends.base import Batch, Learner, StepResult, Update
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.forward import under
from rhapsode.nn.joined import join, part_config, seed_of, shared, split
from rhapsode.nn.spec import Parameters, State, map_state

MakeLearner = Callable[[ModelConfig, TrainConfig, Parameters], Learner]


class JoinedLearner:
    """`Learner` of `TrainConfig.networks` networks. A step is one of each, on the same batch, with masks, a gradient,
    clipping and an optimiser of its own; the loss of a step is the mean of theirs. All else is of the network that they
    make: losses, logits, weights, states."""

    def __init__(self, config: ModelConfig, train: TrainConfig, parameters: Parameters, make: MakeLearner):
        """`make` makes the learner of one network.

        Raises:
            ConfigError: the model cannot be made of so many.
        """
        self.config, self.networks = config, train.networks
        part, alone = part_config(config, train.networks), replace(train, networks=1)
        self._parts = [
            make(part, replace(alone, seed=seed_of(train.seed, number)), weights)
            for number, weights in enumerate(split(parameters, config, train.networks))
        ]
        self._whole = make(config, alone, parameters)
        self._shown: bool | None = False
        """whose weights the whole has: the running averages, or not; None: those of before"""

    def initial_state(self, batch_size: int) -> Any:
        return self._show(False).initial_state(batch_size)

    def step(self, batch: Batch, state: Any, update: Update) -> tuple[StepResult, Any]:
        results, states = [], []
        for part, own in zip(self._parts, _apart(self.state_to_numpy(state), self.networks), strict=True):
            result, after = part.step(batch, part.state_from_numpy(own), update)
            results.append(result)
            states.append(part.state_to_numpy(after))
        self._shown = None
        loss = sum(result.loss for result in results) / self.networks
        norm = math.hypot(*(result.grad_norm for result in results)) / self.networks
        return StepResult(loss, norm), self._whole.state_from_numpy(_side_by_side(states))

    def losses(
        self, inputs: np.ndarray, targets: np.ndarray, state: Any, averaged: bool = False
    ) -> tuple[np.ndarray, Any]:
        return self._show(averaged).losses(inputs, targets, state)

    def logits(self, inputs: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        return self._show(False).logits(inputs, state)

    def parameters(self, averaged: bool = False) -> Parameters:
        return join([part.parameters(averaged) for part in self._parts], self.config)

    def optimizer_state(self) -> Parameters:
        """Those of the networks, each name after ``networks.<number>.``; and as ``output.*`` there, their own weights
        that the whole has only the mean of, or not to the last bit."""
        states = [part.optimizer_state() | shared(part.parameters()) for part in self._parts]
        return {f"networks.{i}.{name}": value for i, state in enumerate(states) for name, value in state.items()}

    def load(self, parameters: Parameters, optimizer_state: Parameters | None = None) -> None:
        for number, weights in enumerate(split(parameters, self.config, self.networks)):
            own = None if optimizer_state is None else under(optimizer_state, f"networks.{number}.")
            self._parts[number].load(weights | shared(own or {}), own)
        self._shown = None

    def state_to_numpy(self, state: Any) -> State:
        return self._whole.state_to_numpy(state)

    def state_from_numpy(self, state: State) -> Any:
        return self._whole.state_from_numpy(state)

    def _show(self, averaged: bool) -> Learner:
        """The learner of the whole, with the weights of now."""
        if self._shown is not averaged:
            self._whole.load(self.parameters(averaged))
            self._shown = averaged
        return self._whole


def _side_by_side(states: Sequence[State]) -> State:
    """One state whose arrays [B, H] are those of all, side by side."""
    return map_state(lambda *arrays: np.hstack(arrays), *states)


def _apart(state: State, networks: int) -> list[State]:
    """What `_side_by_side` made one of."""
    return [map_state(lambda array, i=i: np.hsplit(array, networks)[i], state) for i in range(networks)]
