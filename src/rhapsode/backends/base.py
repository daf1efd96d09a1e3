"""What a backend is: a learner that holds a model's weights, and the few things that can be asked of it.

Everything that crosses this border is numpy or a plain number, except the running state, which a learner keeps in
arrays of its own kind (on its own device) and only turns into numpy for a checkpoint.

A learner holds no random state and no position: a step is a pure function of (weights, optimiser state, batch, state,
`Update`). That is what makes a resumed run equal to one that was never stopped.

The backends know this module, and it knows none of them; `rhapsode.backends.choose` makes a learner of one.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.nn.spec import Parameters, State
from rhapsode.text.batches import Batch

__all__ = ["Batch", "Gradients", "Learner", "StepResult", "Update"]


class Update(NamedTuple):
    """What a step needs beside the batch."""

    number: int
    """of this optimiser step, from 0: the dropout masks are drawn from it"""
    lr: float
    """learning rate of this step, before `TrainConfig.rate_multiple`"""
    dropout: float = 1.0
    """part of the configured dropout and DropConnect that this step has, 0 to 1"""


class StepResult(NamedTuple):
    """What a step tells. If `loss` or `grad_norm` is not finite, the weights were left as they were."""

    loss: float
    """sum of the weighted losses over `Batch.divisor`: nats per token, with dropout as trained"""
    grad_norm: float
    """norm of the whole gradient before clipping"""

    @property
    def is_finite(self) -> bool:
        """Whether both are, so that the step was taken."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class Gradients(NamedTuple):
    """For the laws: derivatives of the loss (as in `StepResult`) plus sum(final state * `d_state`), if given."""

    loss: float
    parameters: Parameters
    state: State
    """with respect to the incoming state, an array for each of its arrays"""
    final: State
    """the outgoing state"""


class Learner(Protocol):
    """A model on a backend, with its optimiser."""

    config: ModelConfig

    def initial_state(self, batch_size: int) -> Any:
        """The state before any text."""
        ...

    def step(self, batch: Batch, state: Any, update: Update) -> tuple[StepResult, Any]:
        """Forward, backward, clip, optimise. The returned state is cut off from the gradient."""
        ...

    def losses(
        self, inputs: np.ndarray, targets: np.ndarray, state: Any, averaged: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Nats of each prediction [T, B], float32, without dropout, and the state after.

        `averaged` uses the running average of the weights, where `TrainConfig.averaging` keeps one.
        """
        ...

    def logits(self, inputs: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Logits [T, B, V], float32, without dropout, and the state after."""
        ...

    def parameters(self, averaged: bool = False) -> Parameters:
        """A copy of the weights, by name, float32."""
        ...

    def optimizer_state(self) -> Parameters:
        """The optimiser's state as arrays: ``<slot>.<parameter>``, e.g. ``exp_avg.output.weight``; the running
        average of the weights as ``average.<parameter>``; the number of updates made as ``updates`` [1], int64."""
        ...

    def load(self, parameters: Parameters, optimizer_state: Parameters | None = None) -> None:
        """Put weights, and the optimiser's state if given, in place of its own."""
        ...

    def state_to_numpy(self, state: Any) -> State: ...

    def state_from_numpy(self, state: State) -> Any: ...


class Differentiable(Learner, Protocol):
    """A learner of one network, which can tell its gradients."""

    def gradients(self, batch: Batch, state: State, update: Update, d_state: State | None = None) -> Gradients:
        """One forward and backward pass, with the masks of `update`, without an update. State in numpy."""
        ...
