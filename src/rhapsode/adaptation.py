"""Weights that learn from a text while it is read (dynamic evaluation: Krause et al. 2018, arXiv:1709.07432).

    predict a segment of N symbols, at most `SEGMENT`, and then, with the gradient g of its mean loss,

        m ← β m + (1 - β) g²        θ ← θ - lr N / SEGMENT · g / (√(m / (1 - βⁿ)) + ε)        θ ← θ + λ (θ₀ - θ)

for segment n = 1, 2, …: the paper's RMS scaling, with m from the text itself instead of from the training text, and
its decay towards the trained weights θ₀. Every symbol is predicted by weights that have not seen it. The weights are
a copy: the model itself never changes.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import TrainConfig
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import Parameters, State

SEGMENT = 32
"""Symbols of a segment at most; it ends with its document. Chosen, as what follows, on training text: docs/LOG.md."""
RMS = {"optimizer": "adam", "beta1": 0.0, "beta2": 0.999, "eps": 1e-5, "weight_decay": 0.0}
LR = 3e-4
DECAY, DECAY_EVERY = 0.03, 16
"""λ, and after how many segments: a sixteenth as strong after each would cost more and do the same."""


class Learned(NamedTuple):
    """What has been learned from a text: θ, m and n. A value, which nothing writes into."""

    parameters: Parameters
    optimizer: Parameters
    """as `Learner.optimizer_state` has it"""
    segments: int


class Adaptation:
    """A copy of a model's weights that learns from one text, segment by segment, without dropout."""

    def __init__(self, model: ModelFile, lr: float = LR, learned: Learned | None = None, **train: str):
        """Begin with the model's weights, or go on from what was `learned` before.

        Args:
            lr: how far a whole segment moves the weights; 0: not at all.
            train: `backend` and `precision`, as in `TrainConfig`.

        Raises:
            MissingDependency, ConfigError: the backend is not installed, or cannot compute in this precision.
        """
        self.model, self.lr = model, lr
        config = dataclasses.replace(model.config, dropout_input=0.0, dropout=0.0, dropout_output=0.0, dropconnect=0.0)
        self._learner = make_learner(config, TrainConfig.from_json({**RMS, **train}), model.parameters)
        self._segments = 0
        if learned:
            self._learner.load(learned.parameters, learned.optimizer)
            self._segments = learned.segments

    def initial_state(self) -> Any:
        """The state before any text, of the weights as they are now."""
        return self._learner.initial_state(1)

    def read(self, ids: np.ndarray, state: Any, opens: bool = False) -> tuple[np.ndarray, Any]:
        """Read all of ids [N + 1] but the last; return the logits [N, V] of what follows each, and the state. Then
        learn from what did follow.

        Args:
            state: before ids[0], as this method or `state_of` gave it; for the initial one of a text
            opens: it is `initial_state()`, and is learned too where the model learns it.
        """
        column = np.asarray(ids, np.int32)[:, None]
        batch = Batch(column[:-1], column[1:], None, np.array([opens]))
        logits, after = self._learner.logits(batch.inputs, state)
        share = (len(ids) - 1) / SEGMENT
        self._learner.step(batch, state, Update(self._segments, self.lr * share))
        self._segments += 1
        if self._segments % DECAY_EVERY == 0:
            self._pull_back()
        return logits[:, 0], after

    def _pull_back(self) -> None:
        now, first = self._learner.parameters(), self.model.parameters
        self._learner.load({name: now[name] + np.float32(DECAY) * (first[name] - now[name]) for name in now})

    def learned(self) -> Learned:
        """What has been learned so far, copied."""
        return Learned(self._learner.parameters(), self._learner.optimizer_state(), self._segments)

    def state_of(self, state: State) -> Any:
        """The state as `read` takes it."""
        return self._learner.state_from_numpy(state)

    def state_to_numpy(self, state: Any) -> State:
        return self._learner.state_to_numpy(state)
