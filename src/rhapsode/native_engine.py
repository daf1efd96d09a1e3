"""The native engine: the same interface as the reference in `rhapsode.engine`, the arithmetic in C++.

Weights are packed once, in fp32, bf16 or int8 (a scale for each output; what they meet is rounded to int8 too,
each vector by its own largest entry). The batch law holds in each, for all of `step`, `read`, `losses` and `write`.
Calls let go of the interpreter lock, and many threads may call at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

import rhapsode._native as _native
from rhapsode.engine import Answer, Ask, Engine
from rhapsode.modelfile import ModelFile, Packed, Precision
from rhapsode.nn.spec import State, make_state


class NativeEngine(Engine):
    """A model that reads, predicts and writes, for any number of sequences side by side."""

    writes = True

    def __init__(self, model: ModelFile, precision: Precision = "fp32", split: bool = False):
        """split: fp32 by way of the matrix unit, which must be there: weights and inputs are sums of two bf16 each."""
        super().__init__(model)
        self.precision = precision
        parameters = {name: np.ascontiguousarray(value, np.float32) for name, value in model.parameters.items()}
        packed = model.packed.arrays if model.packed and model.packed.precision == precision and not split else {}
        self._model = _native.EngineModel(model.config, parameters, "split" if split else precision, packed)

    def packed(self) -> ModelFile:
        """The model with its large arrays as this engine reads them: a file of it is mapped, not read, and processes
        that run it in this precision share them."""
        return replace(self.model, packed=Packed(self.precision, self._model.packed()))

    @property
    def quick(self) -> Engine:
        return self if self.precision == "int8" else self._int8

    @cached_property
    def _int8(self) -> NativeEngine:
        """Made when first asked for, and kept."""
        return NativeEngine(self.model, "int8")

    @property
    def wide(self) -> Engine:
        return self._split if self.precision == "fp32" and _native.has_split() else self

    @cached_property
    def _split(self) -> NativeEngine:
        """Made when first asked for, and kept."""
        return NativeEngine(self.model, split=True)

    @property
    def step_bytes(self) -> int:
        """Bytes of weights that every symbol of a lone sequence reads."""
        return self._model.step_bytes

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        logits, state = self.read(np.asarray(ids)[None], state)
        return logits[0], state

    def read(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        logits, after = self._model.read(_ids(ids), _arrays(state))
        return logits, self._state(after)

    def skim(self, ids: np.ndarray, state: State) -> State:
        return self._state(self._model.skim(_ids(ids), _arrays(state)))

    def losses(self, ids: np.ndarray, targets: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        nats, after = self._model.losses(_ids(ids), _ids(targets), _arrays(state))
        return nats, self._state(after)

    def write(
        self, asks: Sequence[Ask], state: State, logits: np.ndarray
    ) -> tuple[list[Answer | None], np.ndarray, State]:
        texts = [_text(ask) for ask in asks]
        answers, logits, after = self._model.generate(texts, _arrays(state), np.ascontiguousarray(logits))
        return [answer and Answer(*answer) for answer in answers], logits, self._state(after)

    def _state(self, arrays: list[np.ndarray]) -> State:
        """The state of these arrays, those of a layer after those of the one before."""
        rest = iter(arrays)
        return make_state(self.config, lambda *_: next(rest))


def _arrays(state: State) -> list[np.ndarray]:
    return [np.ascontiguousarray(array, np.float32) for layer in state.layers for array in layer]


def _ids(ids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(ids, np.int32)


def _text(ask: Ask) -> _native.EngineText:
    return _native.EngineText(
        seed=ask.seed,
        written=ask.written,
        most=ask.most,
        left=ask.left,
        end=ask.end,
        allowed=ask.allowed,
        recent=ask.recent,
        rules=[
            _native.EngineRule(rows=rule.rows, row_of=rule.row_of, steps=rule.steps, keeps_out=keeps_out)
            for rule, _, keeps_out in ask.rules
        ],
        states=[state for _, state, _ in ask.rules],
        top=-1 if ask.top is None else min(ask.top, len(ask.allowed)),
        sampling=_sampling(ask),
    )


def _sampling(ask: Ask) -> _native.EngineSampling:
    s = ask.settings
    return _native.EngineSampling(
        temperatures=s.temperatures or (s.temperature,),
        top_k=s.top_k,
        top_p=s.top_p,
        min_p=s.min_p,
        typical_p=s.typical_p,
        repetition=s.repetition_penalty,
        frequency=s.frequency_penalty,
        presence=s.presence_penalty,
        window=s.repetition_window,
        greedy=s.greedy,
        bias=list(ask.bias.items()),
    )
