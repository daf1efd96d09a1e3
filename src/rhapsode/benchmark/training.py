"""Training as a contest: whole optimiser steps (clip by norm, AdamW, state carried) on random symbols."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.benchmark.task import Entry, Task
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.errors import BenchmarkError
from rhapsode.nn.spec import initial_parameters, parameter_spec

TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}
"""Largest relative difference of the first step's loss and gradient norm from those in fp32."""


class Trainer:
    """The native backend."""

    def __init__(self, task: Task, precision: str):
        config = TrainConfig(backend="native", precision=precision, table_lr=1.0)  # type: ignore[arg-type]
        self._learner = make_learner(task.model, config, initial_parameters(task.model))
        ids = random_ids(task)
        self._batch = Batch(ids[:-1], ids[1:], None, np.zeros(task.batch_size, bool))
        self._state = self._learner.initial_state(task.batch_size)

    def probe(self) -> list[float]:
        """Loss and norm of the gradient of the first step."""
        return list(self._step())

    def work(self) -> int:
        self._step()
        return self._batch.targets.size

    def _step(self) -> tuple[float, float]:
        result, self._state = self._learner.step(self._batch, self._state, Update(0, 1e-4))
        return result


def random_ids(task: Task) -> np.ndarray:
    """[T + 1, B], the same for every contestant."""
    shape = task.length + 1, task.batch_size
    return np.random.default_rng(1).integers(0, task.model.vocab_size, shape, dtype=np.int32)


def require_parity(task: Task, probes: Mapping[Entry, list[float]]) -> None:
    """All are compared with torch in fp32 where it takes part, else with the native backend in fp32.

    Of an entry with an embedding only the loss is: it begins as the same function, but has other weights.

    Raises:
        BenchmarkError: one differs.
    """
    reference = next((e for e in (Entry("torch", "fp32"), Entry("native", "fp32")) if e in probes), None)
    for entry, found in probes.items():
        expected = probes[reference] if reference else found
        pairs = list(zip(found, expected, strict=True))[: 1 if entry.embedded else 2]
        if not all(abs(a / b - 1) < TOLERANCE[entry.precision] for a, b in pairs):
            raise BenchmarkError(
                f"no parity: {entry.name} begins with loss and gradient norm {found}, "
                f"{reference.name if reference else ''} with {expected}"
            )


def work_per_token(model: ModelConfig) -> int:
    """Floating-point operations of the matrix products of one token: with each matrix one forward and two backward,
    two operations an element. Looking up a row of a table or embedding is none."""
    matrices = (p for p in parameter_spec(model) if len(p.shape) == 2 and p.role not in ("table", "embedding"))
    shared = model.vocab_size * model.hidden if model.tied else 0
    return 6 * (sum(p.size for p in matrices) + shared)
