"""The engine: what runs a model for generation, scoring and sessions. This one is the reference, in numpy.

`open_engine` gives the native one (`rhapsode.native_engine`) where the native core was built.

A state is a `State` of arrays [B, n]. Engines never write into a state they were given, so states are shared freely.

Batch law: row b of `step` depends on row b alone, to the last bit, however many rows there are. A matrix product over
all rows at once would not do: its rounding depends on the number of rows. `step` therefore gives the rows to `forward`
as a stack of B products with one row each. `read` of one row makes the same products; of several, it makes one
product for all (fast, and within rounding of the other).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from rhapsode.config import SamplingConfig, is_own
from rhapsode.errors import ConfigError, MissingDependency
from rhapsode.matching import Table
from rhapsode.modelfile import ModelFile, Precision
from rhapsode.nn.forward import forward
from rhapsode.nn.spec import State, initial_state, map_state


class Ask(NamedTuple):
    """What to write of one text, for engines that write many symbols at a time."""

    settings: SamplingConfig
    seed: int
    written: int
    """symbols so far: number `written` of the seed's stream chooses the next one"""
    most: int
    """symbols to write now"""
    left: int
    """symbols that the text may still have"""
    end: int
    """the symbol that ends the text"""
    allowed: np.ndarray
    """[V] bool: what may be written"""
    recent: np.ndarray
    """[N] int32: the last symbols"""
    bias: Mapping[int, float] = {}
    """what is added to the logits of symbols"""
    rules: Sequence[tuple[Table, int, bool]] = ()
    """each with its state, and whether it keeps out what it objects to; else the text waits where that is chosen"""
    top: int | None = None
    """how many alternatives are told with each symbol; None: no log-probabilities either"""


class Answer(NamedTuple):
    """What an engine wrote on a text. None at all, or fewer symbols than asked for, where the next one is for the
    caller to choose: a rule says so or its row is not known yet, or nothing may be written."""

    ids: list[int]
    log_p: list[float]
    """of each"""
    best: list[tuple[int, float]]
    """`top` for each, one after another: symbols with their log-probabilities"""
    states: list[int]
    """of the rules"""


class Engine:
    """A model that reads and predicts, for any number of sequences side by side.

    B sequences, T symbols, V `vocab_size`; ids are int32, logits and state float32.
    """

    precision: Precision = "fp32"
    """of the products' weights"""
    writes = False
    """whether it has `write`"""

    def __init__(self, model: ModelFile):
        self.model, self.config, self.tokenizer = model, model.config, model.tokenizer

    @property
    def training(self) -> dict[str, Any]:
        """How the model was trained."""
        return self.model.training

    @cached_property
    def digest(self) -> str:
        """Of the model: see `ModelFile.digest`."""
        return self.model.digest()

    @property
    def quick(self) -> Engine:
        """An engine of the same model that reads faster, its weights rounded more; this one where there is none."""
        return self

    @property
    def wide(self) -> Engine:
        """An engine of the same model and precision that reads many sequences side by side faster, its sums rounded
        otherwise; this one where there is none."""
        return self

    def initial_state(self, batch_size: int) -> State:
        """The state of `batch_size` sequences before any text."""
        return initial_state(self.config, self.model.parameters, batch_size)

    def step(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Read one symbol of each sequence, ids [B]; return the logits [B, V] of what follows, and the state."""
        stacked = map_state(lambda array: array[:, None], state)
        logits, after = forward(self.config, self.model.parameters, np.asarray(ids)[None, :, None], stacked)
        return logits[0, :, 0], map_state(lambda array: array[:, 0], after)

    def read(self, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Read ids [T, B]; return the logits [T, B, V] of what follows each, and the state after all."""
        return forward(self.config, self.model.parameters, ids, state)

    def skim(self, ids: np.ndarray, state: State) -> State:
        """Read ids [T, B] and predict nothing; return the state after all."""
        return self.read(ids, state)[1]

    def losses(self, ids: np.ndarray, targets: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Read ids [T, B]; return -log p [T, B], float64 nats, of targets [T, B], one after each, and the state."""
        logits, state = self.read(ids, state)
        return nats_of(logits, targets), state

    def write(
        self, asks: Sequence[Ask], state: State, logits: np.ndarray
    ) -> tuple[list[Answer | None], np.ndarray, State]:
        """Write on B texts whose next symbols have logits [B, V], each until its end or as far as it asks.

        What was written has been read: logits and state are those after it. By the rules of `rhapsode.sampling`.
        No answer: the model predicts what is not a number.
        """
        raise NotImplementedError


def open_engine(model: ModelFile, precision: Precision | Literal["auto"] = "auto") -> Engine:
    """The native engine, or the reference where the native core was not built.

    The environment variable RHAPSODE_ENGINE (``native`` or ``numpy``) chooses one. A cell of the user's own runs on the
    reference, which has torch compute it.

    Args:
        precision: of the weights; auto: that of the model's file.

    Raises:
        ConfigError: the engine does not have the precision, or there is no such engine.
        MissingDependency: the native engine was asked for and was not built.
    """
    if precision not in ("auto", *get_args(Precision)):
        raise ConfigError("precision", precision, ", ".join(("auto", *get_args(Precision))))
    name = os.environ.get("RHAPSODE_ENGINE", "")
    if name not in ("", "native", "numpy"):
        raise ConfigError("RHAPSODE_ENGINE", name, "native, numpy")
    if name != "numpy" and not is_own(model.config.cell):
        try:
            from rhapsode.native_engine import NativeEngine
        except ImportError as error:
            if name == "native":
                raise MissingDependency(f"RHAPSODE_ENGINE: the native core was not built: {error}") from None
        else:
            own = model.packed.precision if model.packed else model.precision
            return NativeEngine(model, own if precision == "auto" else precision)
    if precision not in ("auto", "fp32"):
        raise ConfigError("precision", precision, "auto, fp32 (the native core, which has the others, is not in use)")
    return Engine(model)


def nats_of(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """-log softmax(logits)[target] [...], for logits [..., V] and targets [...]."""
    top = logits.max(-1)
    scale = np.log(np.exp(logits - top[..., None]).sum(-1, dtype=np.float64))
    return scale + top - np.take_along_axis(logits, targets[..., None], -1)[..., 0]


def rows(state: State, index: Sequence[int] | np.ndarray) -> State:
    """The state of these sequences of a batch, in this order; a sequence may be taken more than once."""
    return map_state(lambda array: array[np.asarray(index, np.intp)], state)


def stack(states: Sequence[State]) -> State:
    """The state of all sequences of these states, side by side."""
    return map_state(lambda *arrays: np.concatenate(arrays), *states)
