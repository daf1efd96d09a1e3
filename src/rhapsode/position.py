"""A position: all that a model keeps of the text before it. What sessions, generation and scoring move along.

Positions are values: nothing writes into one, so keeping an earlier position is keeping the way back to it, and
sharing one between forks costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rhapsode.engine import Engine
from rhapsode.nn.spec import State
from rhapsode.reading import losses
from rhapsode.reading import skim as skim_symbols
from rhapsode.sampling import log_softmax

RECENT = 4096
"""How many of the last symbols a position remembers: as many as the repetition penalty may look at."""


class Position(NamedTuple):
    """A place in a text, before its next symbol."""

    state: State
    """arrays [1, H]"""
    logits: np.ndarray
    """[V], float32: of the next symbol"""
    recent: np.ndarray
    """[up to RECENT], int32: the last symbols, not counting the boundary that a text begins with"""
    pending: bytes
    """what was written and not given out: the beginning of a character, as a rule"""

    def __repr__(self) -> str:
        return "<Position>"  # its arrays are nothing to look at


def beginning(engine: Engine) -> Position:
    """The position at the beginning of a document: the boundary has been read."""
    logits, state = engine.step(np.array([engine.tokenizer.boundary], np.int32), engine.initial_state(1))
    return Position(state, logits[0], np.empty(0, np.int32), b"")


def read(engine: Engine, position: Position, ids: np.ndarray) -> tuple[np.ndarray, Position]:
    """Read ids [N] from `position`; return the surprisal of each, -ln p, [N] float64 nats, and the position after."""
    if not len(ids):
        return np.empty(0), position
    nats, state = losses(engine, ids, position.state)
    first = -log_softmax(position.logits)[ids[:1]]
    return np.concatenate([first, nats]), _after(engine, position, ids, state)


def skim(engine: Engine, position: Position, ids: np.ndarray) -> Position:
    """The position after reading ids [N] from `position`: that of `read`, to within rounding, and sooner."""
    if not len(ids):
        return position
    return _after(engine, position, ids, skim_symbols(engine, ids, position.state))


def _after(engine: Engine, position: Position, ids: np.ndarray, state: State) -> Position:
    """The position after ids [N], of which all but the last have led from `position` to `state`."""
    logits, state = engine.step(np.asarray(ids[-1:], np.int32), state)
    recent = np.concatenate([position.recent, ids[-RECENT:]])[-RECENT:].astype(np.int32)
    return Position(state, logits[0], recent, b"")
