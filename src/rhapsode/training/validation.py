"""The held-out loss during training: every token of the held-out part, each once, quickly.

Carried state means reading the part from its first symbol to its last. To use the machine well, up to 32 stretches of
it are read side by side, each after the 512 symbols before it have been read to warm its state (those are counted in
the stretch they belong to); `rhapsode evaluate` reads it in one go. Models trained on documents start each document
from the initial state, as they were trained; models trained on windows are judged with carried state too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rhapsode.backends.base import Learner
from rhapsode.nn.spec import map_state
from rhapsode.text.batches import Batches
from rhapsode.text.corpus import Part

ROWS, WARM_UP, PIECE = 32, 512, 256
SHARE = 0.05
"""What validations may cost of the time."""
FEWEST_STEPS = 25
"""Between two validations, since each may write a model file."""


def validation_interval(batches: Batches, held_out: Part, share: float = SHARE) -> int:
    """Steps between validations so that they cost at most `share` of the time, a forward pass counted as half a
    training step; counted, not timed, so that the same run validates at the same steps."""
    a_step = batches.predictions / batches.steps_per_epoch
    passes = held_out.predictions / a_step
    return max(FEWEST_STEPS, math.ceil(0.5 / share * passes))


def held_out_loss(
    learner: Learner, part: Part, per_document: bool, averaged: bool = False, most: int | None = None
) -> float:
    """Mean nats per token over all of `part`, or the first `most` tokens of it (NaN if it holds no prediction)."""
    if most is not None:
        part = replace(part, tokens=part.tokens[: most + 1], starts=part.starts[part.starts < most])
    if not part.predictions:
        return math.nan
    read = _documents if per_document else _carried
    return sum(float(np.sum(nats, dtype=np.float64)) for nats in read(learner, part, averaged)) / part.predictions


def _carried(learner: Learner, part: Part, averaged: bool) -> Iterator[np.ndarray]:
    """Nats of each prediction, in pieces, by stretches read side by side."""
    predictions = part.predictions
    rows = int(np.clip(predictions // (4 * WARM_UP), 1, ROWS))
    span = -(-predictions // rows)
    starts = np.arange(rows) * span
    state = _warm(learner, part, starts, averaged)
    for offset in range(0, span, PIECE):
        index = starts + np.arange(offset, min(offset + PIECE, span))[:, None]
        nats, state = learner.losses(*_pairs(part, index), state, averaged)
        yield nats[index < np.minimum(starts + span, predictions)]


def _warm(learner: Learner, part: Part, starts: np.ndarray, averaged: bool) -> Any:
    """The state before each of `starts`; the first is the beginning of the part and needs no reading."""
    first = learner.initial_state(1)
    if len(starts) == 1:
        return first
    state = learner.initial_state(len(starts) - 1)
    index = starts[1:] - WARM_UP + np.arange(WARM_UP)[:, None]
    _, state = learner.losses(*_pairs(part, index), state, averaged)
    pair = learner.state_to_numpy(first), learner.state_to_numpy(state)
    return learner.state_from_numpy(map_state(lambda *arrays: np.concatenate(arrays), *pair))


def _documents(learner: Learner, part: Part, averaged: bool) -> Iterator[np.ndarray]:
    """Nats of each prediction, document by document, those of like length side by side."""
    ends = np.append(part.starts[1:], part.predictions).astype(np.int64)
    sizes = ends - part.starts
    order = np.argsort(sizes, kind="stable")
    for group in np.split(order, np.arange(256, len(order), 256)):
        state = learner.initial_state(len(group))
        starts, size = part.starts[group].astype(np.int64), sizes[group]
        for offset in range(0, int(size.max()), PIECE):
            time = np.arange(offset, min(offset + PIECE, int(size.max())))[:, None]
            nats, state = learner.losses(*_pairs(part, starts + time), state, averaged)
            yield nats[time < size]


def _pairs(part: Part, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets at `index` (past the end: anything, to be left out)."""
    last = len(part.tokens) - 1
    inputs = part.tokens[np.minimum(index, last)].astype(np.int32)
    return inputs, part.tokens[np.minimum(index + 1, last)].astype(np.int32)
