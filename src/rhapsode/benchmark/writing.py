"""Writing as a contest: symbols drawn from the model's own distribution, each read before the next."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rhapsode.benchmark.task import Entry, Task
from rhapsode.config import ModelConfig, SamplingConfig
from rhapsode.engine import Ask, Engine, rows
from rhapsode.errors import BenchmarkError
from rhapsode.generate import MOST
from rhapsode.modelfile import ModelFile
from rhapsode.native_engine import NativeEngine
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.tokenizers.char import CharTokenizer

CHARACTERS = "".join(map(chr, range(32, 97)))
TOLERANCE = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.2}
"""Largest difference of a logit from that of the reference engine."""


def character_model(**fields: object) -> ModelConfig:
    """A model of CHARACTERS (and the boundary), as a tokenizer of them has it."""
    tokenizer = CharTokenizer(CHARACTERS)
    return ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, **fields)  # type: ignore[arg-type]


class Writer:
    """The native engine."""

    def __init__(self, task: Task, precision: str):
        self._engine = NativeEngine(random_file(task.model), precision)  # type: ignore[arg-type]
        V, B = task.model.vocab_size, task.batch_size
        allowed, none = np.arange(V) < len(CHARACTERS), np.empty(0, np.int32)
        end = self._engine.tokenizer.boundary
        self._asks = [Ask(SamplingConfig(), b, 0, MOST, MOST, end, allowed, none) for b in range(B)]
        self._logits, state = self._engine.step(np.full(B, end), self._engine.initial_state(B))
        self._state = rows(state, range(B))

    def probe(self) -> list[float]:
        """Logits after each of a few symbols."""
        logits, _ = self._engine.read(probe_ids(), self._engine.initial_state(1))
        return logits.ravel().tolist()

    def work(self) -> int:
        answers, _, _ = self._engine.write(self._asks, self._state, self._logits)
        return sum(len(answer.ids) for answer in answers if answer)


def random_file(model: ModelConfig) -> ModelFile:
    """A model file with this model's initial weights."""
    return ModelFile(model, CharTokenizer(CHARACTERS), initial_parameters(model))


def probe_ids() -> np.ndarray:
    """[T, 1]"""
    return np.random.default_rng(0).integers(0, len(CHARACTERS), (40, 1), dtype=np.int32)


def require_parity(task: Task, probes: Mapping[Entry, list[float]]) -> None:
    """All are compared with the reference engine, in numpy.

    Raises:
        BenchmarkError: one differs.
    """
    reference = Engine(random_file(task.model))
    expected = reference.read(probe_ids(), reference.initial_state(1))[0].ravel()
    for entry, found in probes.items():
        worst = float(np.abs(np.asarray(found) - expected).max())
        if not worst < TOLERANCE[entry.precision]:
            raise BenchmarkError(
                f"no parity: {entry.name} has logits {worst:.2g} off, allowed {TOLERANCE[entry.precision]}"
            )
