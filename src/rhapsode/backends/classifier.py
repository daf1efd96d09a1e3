"""What a backend is to a sequence classifier (`rhapsode.nn.classifier`), as `rhapsode.backends.base` is to a language
model: everything that crosses this border is numpy, and a step is a pure function of weights, optimiser and batch."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from rhapsode.backends.base import StepResult, Update
from rhapsode.nn.spec import Parameters


class LabelledBatch(NamedTuple):
    """Sequences with their classes."""

    ids: np.ndarray
    """[T, B], int32; what stands after the end of a sequence does not matter"""
    lengths: np.ndarray
    """[B], from 1 to T"""
    classes: np.ndarray
    """[B], int32"""


class ClassifierLearner(Protocol):
    """A classifier on a backend, with its optimiser. The loss is the mean of -log p(class) over the batch, in nats.

    Masks (`rhapsode.nn.masks`): those of the stack that reads forward are drawn for step 2n of update n, those of the
    other for step 2n + 1; `dropout_output` falls on z, at the site ``output``, rows b = 0 … B-1, at step 2n.
    """

    def step(self, batch: LabelledBatch, update: Update) -> StepResult:
        """Forward, backward, clip, optimise. If loss or norm is not finite, the weights were left as they were."""
        ...

    def gradients(self, batch: LabelledBatch, update: Update) -> tuple[float, Parameters]:
        """The loss and its derivatives, with the masks of `update`, without an update."""
        ...

    def logits(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """[B, C], float32, without dropout, for ids [T, B], int32."""
        ...

    def parameters(self) -> Parameters:
        """A copy of the weights, by name, float32."""
        ...
