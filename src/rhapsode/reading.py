"""Reading one long text at the speed of many: its segments side by side, from states that are checked.

A recurrence goes symbol by symbol, and every symbol of a lone text reads all weights: no machine makes that fast. But
what two readers know who have read the same last few hundred symbols differs by rounding only, if the model is like
most. So a text of more than `LONG` symbols is cut into segments, which are read as a batch. Each but the first begins
with the state that the `WARM_UP` symbols before it lead to from the initial state. Then that is checked: where it
differs by more than rounding (`TOLERANCE`) from the state in which the segment before has ended, the segment is read
again, from the latter. A model that remembers for longer is read in sequence so far as it must be. (Parareal, by Lions,
Maday & Turinici 2001, with the warm-up for its coarse solver.)

Of a text whose surprisals nobody asks for, such as a prompt, only the state matters. A long one is read with weights
rounded to int8 (`Engine.quick`) up to its last `TAIL` symbols, and these in the engine's own precision: twice, from
where the first reading ended and from the initial state. If both come to the same state, to within rounding, then
nothing of where the tail began is left in it, nor of the int8. Else the model remembers for longer, and all is read in
the engine's own precision.

How a text is cut depends on its length alone, so what is found does not depend on batches or threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from rhapsode.engine import Engine, rows, stack
from rhapsode.nn.spec import State

SEGMENT, SEGMENTS, WARM_UP = 2048, 256, 512
"""The shortest segment; how many there are at most; the symbols before it that a segment's first state is made of."""
LONG = 8 * SEGMENT
"""Longer texts are cut."""
TAIL = 4 * WARM_UP
"""How many symbols at the end of a long text are read in the engine's own precision, where only the state matters."""
PIECE, LOGITS = 512, 2**23
"""An engine reads at most so many symbols of a sequence in one call, and at most so many logits' worth of all."""
TOLERANCE = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.1}
"""By how much rounding may make two states differ, relative to entries beyond 1: some ten times what is observed."""


Read = Callable[[Engine, np.ndarray, State], tuple[np.ndarray, State]]
"""`side_by_side` or `_unheard`"""


def losses(engine: Engine, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
    """Read ids [N] but the last from `state` [1, H]; return -log p [N - 1], float64 nats, of each after the first, and
    the state."""
    return _read(side_by_side, engine, ids, state)


def skim(engine: Engine, ids: np.ndarray, state: State) -> State:
    """Read ids [N] but the last from `state` [1, H]; return the state: that of `losses`, to within rounding."""
    if len(ids) > LONG and (quick := engine.quick) is not engine:
        bulk = len(ids) - 1 - TAIL
        _, near = _read(_unheard, quick, ids[: bulk + 1], state)
        found, other = (_unheard(engine, ids[bulk:, None], start)[1] for start in (near, engine.initial_state(1)))
        if _same(found, other, TOLERANCE[engine.precision]):
            return found
    return _read(_unheard, engine, ids, state)[1]


def _read(read: Read, engine: Engine, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
    """Read ids [N] but the last, a long text in segments; nats and state as `read` gives them."""
    ids = np.asarray(ids, np.int32)
    if len(ids) <= LONG:
        nats, state = read(engine, ids[:, None], state)
        return nats[:, 0], state
    count = min(SEGMENTS, (len(ids) - 1) // SEGMENT)
    size = (len(ids) - 1) // count
    nats, state = _segments(read, engine, ids[: count * size + 1], size, state)
    rest, state = read(engine, ids[count * size :, None], state)
    return np.concatenate([nats, rest[:, 0]]), state


def _segments(read: Read, engine: Engine, ids: np.ndarray, size: int, state: State) -> tuple[np.ndarray, State]:
    """Like `_read`, in segments that predict `size` symbols each."""
    first = np.arange(0, len(ids) - 1, size)
    before = ids[first[1:] + np.arange(-WARM_UP, 1)[:, None]]
    start = stack([state, _unheard(engine.wide, before, engine.initial_state(before.shape[1]))[1]])
    nats, end = read(engine.wide, ids[first + np.arange(size + 1)[:, None]], start)
    state = rows(end, [0])
    for s in range(1, len(first)):
        if _same(state, rows(start, [s]), TOLERANCE[engine.precision]):
            state = rows(end, [s])
        else:
            again, state = read(engine, ids[first[s] : first[s] + size + 1, None], state)
            nats[:, s] = again[:, 0]
    return nats.T.ravel(), state


def side_by_side(engine: Engine, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
    """Read ids [T + 1, B] but the last row; return the nats [T, B] of all but the first, and the state."""
    nats = np.empty((len(ids) - 1, ids.shape[1]))
    for piece in _pieces(nats, LOGITS // (nats.shape[1] * engine.tokenizer.vocab_size)):
        nats[piece], state = engine.losses(ids[:-1][piece], ids[1:][piece], state)
    return nats, state


def _unheard(engine: Engine, ids: np.ndarray, state: State) -> tuple[np.ndarray, State]:
    """Like `side_by_side`, but without any nats: [0, B]."""
    for piece in _pieces(ids[:-1]):
        state = engine.skim(ids[:-1][piece], state)
    return np.empty((0, ids.shape[1])), state


def _pieces(rows: np.ndarray, most: int = PIECE) -> Iterator[slice]:
    """Slices of [T, B], of at most `most` and at most `PIECE` rows, that an engine reads in one call each."""
    size = int(np.clip(most, 1, PIECE))
    return (slice(start, start + size) for start in range(0, len(rows), size))


def _same(a: State, b: State, tolerance: float) -> bool:
    """Whether no entry differs by more than `tolerance` times its magnitude, or times 1 if that is less."""
    pairs = [pair for layers in zip(a.layers, b.layers, strict=True) for pair in zip(*layers, strict=True)]
    return all(bool((np.abs(x - y) <= tolerance * np.maximum(1, np.abs(x))).all()) for x, y in pairs)
