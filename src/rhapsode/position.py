"""A position: all that a model keeps of the text before it. What sessions, generation and scoring move along.

Positions are values: nothing writes into one, so keeping an earlier position is keeping the way back to it, and
sharing one between forks costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rhapsode.engine import Engine
from rhapsode.nn.spec import State
from rhapsode.sampling import log_softmax

RECENT = 4096
"""How many of the last symbols a position remembers: as many as the repetition penalty may look at."""
LOGITS, PIECE = 2**20, 512
"""A text is read in pieces of at most so many logits, and so many symbols."""


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


def beginning(engine: Engine) -> Position:
    """The position at the beginning of a document: the boundary has been read."""
    logits, state = engine.step(np.array([engine.tokenizer.boundary], np.int32), engine.initial_state(1))
    return Position(state, logits[0], np.empty(0, np.int32), b"")


def read(engine: Engine, position: Position, ids: np.ndarray) -> tuple[np.ndarray, Position]:
    """Read ids [N] from `position`; return the surprisal of each, -ln p, [N] float64 nats, and the position after."""
    surprisals = np.empty(len(ids))
    size = int(np.clip(LOGITS // engine.config.vocab_size, 1, PIECE))
    state, logits = position.state, position.logits
    for start in range(0, len(ids), size):
        piece = ids[start : start + size, None]
        surprisals[start] = -log_softmax(logits)[piece[0, 0]]
        if len(piece) > 1:
            nats, state = engine.losses(piece[:-1], piece[1:], state)
            surprisals[start + 1 : start + len(piece)] = nats[:, 0]
        following, state = engine.step(piece[-1], state)
        logits = following[0]
    recent = np.concatenate([position.recent, ids])[-RECENT:].astype(np.int32)
    return surprisals, Position(state, logits, recent, b"" if len(ids) else position.pending)
