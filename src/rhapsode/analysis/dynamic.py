"""Dynamic evaluation: the model learns from the text while it reads it (Krause et al. 2018, arXiv:1709.07432).

    predict a segment, count its losses, and then, with the gradient g of the segment's mean loss,

        m ← β m + (1 - β) g²        θ ← θ - lr g / (√(m / (1 - βⁿ)) + ε)        θ ← θ + λ (θ₀ - θ)

for segment n = 1, 2, …: the paper's RMS scaling, with m from the text itself instead of from the training text, and
its decay towards the trained weights θ₀. Every symbol is predicted by weights that have not seen it. The learner is
made for one text and thrown away: the model itself never changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from rhapsode.analysis.predictions import Predictions, log_softmax, segments
from rhapsode.backends.base import Batch, Learner, Update, make_learner
from rhapsode.config import TrainConfig
from rhapsode.evaluate import Spans
from rhapsode.modelfile import ModelFile

SEGMENT = 32
"""Symbols of a segment at most; it ends with its document. Chosen, as what follows, on training text: docs/LOG.md."""
RMS = {"optimizer": "adam", "beta1": 0.0, "beta2": 0.999, "eps": 1e-5, "weight_decay": 0.0}
LR = 5e-4
DECAY, DECAY_EVERY = 0.008, 16
"""λ, and after how many segments: a sixteenth as strong after each would cost more and do the same."""


def dynamic_predictions(
    model: ModelFile, tokens: np.ndarray, spans: Spans, lr: float = LR, **train: str
) -> Iterator[Predictions]:
    """What the model predicts in the order of the text, learning from each segment after it was predicted.

    Args:
        lr: how far each segment moves the weights; 0: not at all.
        train: `backend` and `precision`, as in `TrainConfig`.

    Raises:
        MissingDependency, ConfigError: the backend is not installed, or cannot compute in this precision.
    """
    learner = _learner(model, TrainConfig.from_json({**RMS, **train}))
    state = learner.initial_state(1)
    for number, (first, last, opens) in enumerate(segments(spans, SEGMENT)):
        ids = tokens[first : last + 1, None].astype(np.int32)
        batch = Batch(ids[:-1], ids[1:], None, np.array([opens]))
        before = learner.initial_state(1) if opens else state
        logits, state = learner.logits(batch.inputs, before)
        yield Predictions(first, log_softmax(logits[:, 0]))
        learner.step(batch, before, Update(number, lr))
        if number % DECAY_EVERY == DECAY_EVERY - 1:
            _pull_back(learner, model)


def _learner(model: ModelFile, train: TrainConfig) -> Learner:
    """A copy of the model that can learn, without dropout."""
    config = dataclasses.replace(model.config, dropout_input=0.0, dropout=0.0, dropout_output=0.0, dropconnect=0.0)
    return make_learner(config, train, model.parameters)


def _pull_back(learner: Learner, model: ModelFile) -> None:
    now = learner.parameters()
    learner.load({name: now[name] + np.float32(DECAY) * (model.parameters[name] - now[name]) for name in now})
