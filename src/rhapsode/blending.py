"""Blending: several models write one text, by a mixture of their predictions or in turn.

    mixture     p(x) = Σ w_i p_i(x), in the probabilities, not the logits
    turns       p = p_i for `turns` symbols or words, then the next model's; all models read everything

Symbols are matched by what they stand for, never by id. The blend writes with the union of the models' symbols: what a
model has no symbol for it reads as unknown, and the probability that it gives to the unknown symbol is shared evenly by
all that it does not know. So p sums to one, and no symbol of the union is impossible.

A blend is an engine like any other: sessions, writing, rules and scoring work with it as with a model's own.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import typing
from collections.abc import Iterable, Sequence
from functools import cached_property
from numbers import Real
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from rhapsode.choices import symbols_of
from rhapsode.engine import Engine
from rhapsode.errors import ConfigError
from rhapsode.model import TextModel, models_of
from rhapsode.modelfile import Precision
from rhapsode.nn.spec import State
from rhapsode.option import whole_number
from rhapsode.sampling import log_softmax
from rhapsode.text.tokenizer import carried_over, joined_tokenizer

Unit = Literal["symbols", "words"]
NEVER = 80.0
"""Nats by which a label is less likely than the boundary to a model that knows none."""


def blend(
    models: Sequence[TextModel],
    weights: Sequence[float] | None = None,
    turns: int | None = None,
    turns_of: Unit = "symbols",
) -> TextModel:
    """A model whose predictions are a blend of those of `models`; generates, scores and has sessions as they do.

    Args:
        weights: of the mixture, one for each model, in any unit; None: all the same.
        turns: instead of mixing, let each model in turn write so many symbols or words, counted from the beginning of
            the text that is read.

    Raises:
        ConfigError: these are no models; the weights are not one positive number for each, or go with turns; turns is
            not a whole number from 1.
        TokenizerError: the models' symbols are of different kinds, or are different parts of words (bpe); or two
            models know different labels.
    """
    return TextModel(BlendEngine([m.engine for m in models_of(models, TextModel)], weights, turns, turns_of))


class Turn(NamedTuple):
    """What a blend keeps to know whose turn it is, beside the state of its models: float32."""

    read: Any
    """[B, 1]: symbols or words so far, modulo those of a round of all models"""
    in_word: Any
    """[B, 1]: 1 where a word may go on"""


class BlendEngine(Engine):
    """Several engines as one. Of `Engine`'s attributes it has no `model` and no `config`. Its state has the layers of
    all, and a `Turn` where they take turns."""

    def __init__(
        self,
        engines: Sequence[Engine],
        weights: Sequence[float] | None = None,
        turns: int | None = None,
        turns_of: Unit = "symbols",
    ):
        """See `blend`."""
        self.engines, self.turns_of = list(engines), turns_of
        self.turns = None if turns is None else whole_number("turns", turns, 1)
        self.weights = normalised(weights, len(self.engines))
        if turns is not None and weights is not None:
            raise ConfigError("weights", weights, "none, with turns")
        if turns_of not in typing.get_args(Unit):
            raise ConfigError("turns_of", turns_of, ", ".join(typing.get_args(Unit)))
        if turns is None and turns_of != "symbols":
            raise ConfigError("turns_of", turns_of, "only with turns")
        self.tokenizer = joined_tokenizer([engine.tokenizer for engine in self.engines])
        self._own = [self._own_ids(engine) for engine in self.engines]
        self._share = [self._shares(engine, own) for engine, own in zip(self.engines, self._own, strict=True)]
        self._layers = [len(engine.initial_state(1).layers) for engine in self.engines]
        self.precision = max((engine.precision for engine in self.engines), key=list(typing.get_args(Precision)).index)

    def _own_ids(self, engine: Engine) -> np.ndarray:
        """What the engine reads for each symbol of the blend: [V], int32."""
        own, known = carried_over(engine.tokenizer, self.tokenizer), self._known(engine)
        own[known:] = self._opening(engine)
        return np.where(own < 0, engine.tokenizer.unknown or 0, own).astype(np.int32)

    def _opening(self, engine: Engine) -> int:
        """The symbol that opens the engine's texts: their start, where it is one, else the boundary."""
        tokenizer, start = engine.tokenizer, engine.training.get("start")
        ids = tokenizer.encode(start or "")
        return int(ids[0]) if len(ids) == 1 and ids[0] != tokenizer.unknown else tokenizer.boundary

    def _shares(self, engine: Engine, own: np.ndarray) -> np.ndarray:
        """What is taken off the engine's log-probability of what it reads for each symbol: [V], nats."""
        known, share = self._known(engine), np.full(len(own), NEVER)
        share[:known] = np.log(np.bincount(own[:known])[own[:known]])
        return share

    def _known(self, engine: Engine) -> int:
        """How many of the blend's symbols the engine has an opinion of: all, or all but the labels, which are last."""
        return self.tokenizer.vocab_size - (0 if engine.tokenizer.labels else len(self.tokenizer.labels))

    @cached_property
    def training(self) -> dict[str, Any]:
        """What decides how texts begin and end: with a label, or with the start of the first model that has one; else
        documents end."""
        all_training = [engine.training for engine in self.engines]
        found: dict[str, Any] = {}
        starts = [training["start"] for training in all_training if training.get("start")]
        if starts and not self.tokenizer.labels:
            found["start"] = starts[0]
        if all(training.get("batches") == "documents" for training in all_training):
            found["batches"] = "documents"
        return found

    @cached_property
    def digest(self) -> str:
        parts = [[engine.digest for engine in self.engines], self.weights.tolist(), self.turns, self.turns_of]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def quick(self) -> Engine:
        engines = [engine.quick for engine in self.engines]
        if engines == self.engines:
            return self
        return BlendEngine(engines, None if self.turns else self.weights.tolist(), self.turns, self.turns_of)

    def initial_state(self, batch_size: int) -> State:
        zeros = np.zeros((batch_size, 1), np.float32)
        return self._joined([e.initial_state(batch_size) for e in self.engines], Turn(zeros, zeros))

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        states, turn = self._split(state)
        found = [e.step(own[ids], s) for e, own, s in zip(self.engines, self._own, states, strict=True)]
        turn = self._after(turn, ids)
        return self._blended([x for x, _ in found], self._whose(turn)), self._joined([s for _, s in found], turn)

    def read(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        states, turn = self._split(state)
        found = [e.read(own[ids], s) for e, own, s in zip(self.engines, self._own, states, strict=True)]
        whose = np.zeros(ids.shape, np.intp)
        for t, row in enumerate(ids):
            turn = self._after(turn, row)
            whose[t] = self._whose(turn)
        return self._blended([x for x, _ in found], whose), self._joined([s for _, s in found], turn)

    def skim(self, ids: np.ndarray, state: State) -> State:
        states, turn = self._split(state)
        for row in ids:
            turn = self._after(turn, row)
        found = [e.skim(own[ids], s) for e, own, s in zip(self.engines, self._own, states, strict=True)]
        return self._joined(found, turn)

    def _blended(self, logits: Sequence[np.ndarray], whose: np.ndarray) -> np.ndarray:
        """log p [..., V], float32, from the engines' logits [..., V_i]; with turns, whose turn it is [...]."""
        log_p = np.stack(
            [
                np.take(log_softmax(x), own, -1) - share
                for x, own, share in zip(logits, self._own, self._share, strict=True)
            ]
        )
        if self.turns:
            return np.take_along_axis(log_p, whose[None, ..., None], 0)[0].astype(np.float32)
        weights = np.log(self.weights).reshape(-1, *[1] * (log_p.ndim - 1))
        return np.logaddexp.reduce(log_p + weights, axis=0).astype(np.float32)

    def _after(self, turn: Turn | None, ids: np.ndarray) -> Turn | None:
        """The turn after one more symbol of each sequence, ids [B]."""
        if turn is None or self.turns is None:
            return None
        symbols = symbols_of(cast(Any, self.tokenizer))
        ids = np.asarray(ids)[:, None]
        if self.turns_of == "words":
            more, in_word = (turn.in_word > 0) & ~symbols.goes_on[ids], symbols.in_word[ids]
        else:
            more, in_word = symbols.text[ids], np.zeros(ids.shape, bool)
        read = (turn.read + more) % (self.turns * len(self.engines))
        return Turn(read.astype(np.float32), in_word.astype(np.float32))

    def _whose(self, turn: Turn | None) -> np.ndarray:
        """Which engine's turn it is: [B]."""
        return np.zeros(1, np.intp) if turn is None else (turn.read[:, 0] // (self.turns or 1)).astype(np.intp)

    def _split(self, state: State) -> tuple[list[State], Turn | None]:
        """The state of each engine, and the turn."""
        ends = np.cumsum([0, *self._layers])
        states = [State(state.layers[a:b]) for a, b in itertools.pairwise(ends)]
        return states, cast(Turn, state.layers[-1]) if self.turns else None

    def _joined(self, states: Sequence[State], turn: Turn | None) -> State:
        layers = tuple(layer for state in states for layer in state.layers)
        return State((*layers, cast(Any, turn)) if self.turns else layers)


def normalised(weights: Sequence[float] | None, count: int) -> np.ndarray:
    """The weights of `count` models, their sum 1: [count], float64.

    Raises:
        ConfigError: they are not one positive number for each.
    """
    given = [1.0] * count if weights is None else list(weights) if isinstance(weights, Iterable) else []
    if len(given) != count or not all(isinstance(w, Real) and 0 < w < np.inf for w in given):
        raise ConfigError("weights", weights, f"{count} numbers above 0, one for each model")
    return np.array(given, np.float64) / np.sum(given)
