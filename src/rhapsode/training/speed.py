"""How fast this machine trains a configuration: a few real steps on made-up text."""

from __future__ import annotations

import time

import numpy as np

from rhapsode.backends.base import Batch, Update, make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import initial_parameters


def measure_speed(model: ModelConfig, train: TrainConfig, seconds: float = 0.4) -> float:
    """Tokens a second, over about `seconds` of steps after the first one (which also warms up).

    Long sequences and large batches are measured by shorter and smaller ones, which cost about as much a token.
    """
    learner = make_learner(model, train, initial_parameters(model))
    T, B = min(train.length, 64), max(min(train.batch_size, 128), train.accumulate)
    ids = np.random.default_rng(0).integers(0, model.vocab_size, (T + 1, B), dtype=np.int32)
    batch = Batch(ids[:-1], ids[1:], None, np.ones(B, bool))
    state = learner.initial_state(B)
    learner.step(batch, state, Update(0, 1e-6))
    steps, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        learner.step(batch, state, Update(steps, 1e-6))
        steps += 1
    return steps * batch.targets.size / (time.perf_counter() - begun)
