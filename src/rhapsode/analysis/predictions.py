"""A model's whole distributions, in the order of the text: what mixing and dynamic evaluation need.

`rhapsode.evaluate` reads spans side by side and keeps the probability of what came; here they are read one after the
other, as whoever learns from the text while it reads must.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from rhapsode.engine import Engine
from rhapsode.evaluate import Spans
from rhapsode.sampling import log_softmax

PIECE, LOGITS = 512, 2**21
"""At most so many symbols at a time, and so many logits."""


class Predictions(NamedTuple):
    """What is expected after tokens[first], tokens[first + 1], …"""

    first: int
    log_p: np.ndarray
    """[N, V], natural logarithms"""


class Costs(NamedTuple):
    """Nats [N] of what followed tokens[first], tokens[first + 1], …, to each predictor."""

    first: int
    nats: dict[str, np.ndarray]


class Segment(NamedTuple):
    """A part of a span, which predicts tokens[first + 1 : last + 1]."""

    first: int
    last: int
    opens: bool
    """it is the first of its span"""


def segments(spans: Spans, length: int) -> Iterator[Segment]:
    """The spans in pieces of at most `length` predictions each."""
    for start, size in zip(spans.starts.tolist(), spans.sizes.tolist(), strict=True):
        for first in range(start, start + size, length):
            yield Segment(first, min(first + length, start + size), first == start)


def predictions(engine: Engine, tokens: np.ndarray, spans: Spans) -> Iterator[Predictions]:
    """The distributions of the engine's model."""
    state = engine.initial_state(1)
    for first, last, opens in segments(spans, max(1, min(PIECE, LOGITS // engine.config.vocab_size))):
        ids = tokens[first:last, None].astype(np.int32)
        logits, state = engine.read(ids, engine.initial_state(1) if opens else state)
        yield Predictions(first, log_softmax(logits[:, 0]))


def costs(found: Iterable[Predictions], tokens: np.ndarray) -> Iterator[Costs]:
    """What the tokens cost the `network`, whose predictions `found` are."""
    for first, log_p in found:
        yield Costs(first, {"network": -log_p[np.arange(len(log_p)), tokens[first + 1 :][: len(log_p)]]})
