"""How fast this machine trains a configuration and reads with it: a few real steps on the beginning of the text."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rhapsode.backends.base import Batch, Learner, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.joined import part_config
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.batches import Batches

MOST_SYMBOLS = 1 << 15
"""Of a batch that is measured: a larger one costs about as much a symbol."""
READ_ROWS, READ_LENGTH = 32, 64
SECONDS = 0.2
CHUNKS = 8
"""Times are taken over so many chunks of steps, of which the middle half counts: what else the machine does for a
moment changes nothing."""
FEWEST, LONGEST = 4, 4
"""Chunks that are waited for, for so many times the seconds at most: another program may have taken all of those."""

WIDTH = 1.45
"""A network of half the width is 2 to this power times as fast (LSTMs of 256 to 768 units: docs/LOG.md)."""


class Speed(NamedTuple):
    """Predictions a second."""

    training: float
    reading: float
    """in validations"""


class Stopwatch:
    """How fast configurations are trained, well enough for a plan: each is measured once, but for what changes little
    (rates, masks and budgets); what other widths would do is reckoned from one that was measured."""

    def __init__(self) -> None:
        self._known = dict[ModelConfig, tuple[int, float]]()

    def training(self, model: ModelConfig, train: TrainConfig, batches: Batches) -> float:
        """Predictions a second."""
        if (networks := train.networks) > 1:
            return self.training(part_config(model, networks), replace(train, networks=1), batches) / networks
        key = replace(model, dropout_input=0.0, dropout=0.0, dropout_output=0.0, dropconnect=0.0)
        key = replace(key, hidden=1, embedding_size=1)
        if key not in self._known:
            self._known[key] = model.hidden, measure_speed(model, train, batches).training
        hidden, speed = self._known[key]
        return (hidden / model.hidden) ** WIDTH * speed


def measure_speed(model: ModelConfig, train: TrainConfig, batches: Batches, seconds: float = SECONDS) -> Speed:
    """Train for about `seconds` on the first batches of the text, after a step that warms up; and read a little."""
    learner = make_learner(model, train, initial_parameters(replace(model, init="normal")))
    return Speed(_training(learner, train, batches, seconds), _reading(learner, seconds / 4))


def _training(learner: Learner, train: TrainConfig, batches: Batches, seconds: float) -> float:
    rows = max(train.accumulate, min(batches.batch_size, 128, max(1, MOST_SYMBOLS // train.length)))
    state, step = learner.initial_state(min(rows, batches.batch_size)), 0

    def go() -> int:
        nonlocal step
        batch = _narrow(batches.at(step % batches.steps_per_epoch), rows)
        learner.step(batch, state, Update(step, 1e-6))
        step += 1
        return batch.counted

    return _rate(go, seconds)


def _narrow(batch: Batch, rows: int) -> Batch:
    """The first rows of a batch."""
    inputs, targets = (np.ascontiguousarray(ids[:, :rows]) for ids in (batch.inputs, batch.targets))
    weights = None if batch.weights is None else np.ascontiguousarray(batch.weights[:, :rows])
    return Batch(inputs, targets, weights, batch.reset[:rows], batch.predictions)


def _reading(learner: Learner, seconds: float) -> float:
    ids = np.random.default_rng(0).integers(0, learner.config.vocab_size, (READ_LENGTH, READ_ROWS), dtype=np.int32)
    state = learner.initial_state(READ_ROWS)

    def go() -> int:
        learner.losses(ids, ids, state)
        return ids.size

    return _rate(go, seconds)


def _rate(go: Callable[[], int], seconds: float) -> float:
    """What `go` does a second, after a first time that warms up."""
    go()
    chunks, first = list[float](), time.perf_counter()
    while len(chunks) < CHUNKS:
        if time.perf_counter() - first >= (seconds if len(chunks) >= FEWEST else LONGEST * seconds):
            break
        done, begun = 0, time.perf_counter()
        while not done or time.perf_counter() - begun < seconds / CHUNKS:
            done += go()
        chunks.append(done / (time.perf_counter() - begun))
    middle = np.sort(chunks)[len(chunks) // 4 : len(chunks) - len(chunks) // 4]
    return float(np.mean(middle))
