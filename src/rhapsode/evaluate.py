"""Losses and bits, exactly: every token of a text is predicted once and counted once.

    carried      the text is read from its first symbol to its last, the state carried all the way
    reset        the state starts anew every `context` tokens: comparable with models that see windows of that size
    documents    every document is read from the initial state, from its boundary symbol to its closing one

In all three the text is cut into spans, each of which is read from the initial state; spans of like length are read
side by side, and long ones as `rhapsode.reading` says. How many, and in which pieces, changes nothing but the rounding
of single-precision products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Literal, NamedTuple

import numpy as np

from rhapsode.engine import Engine
from rhapsode.errors import CorpusError
from rhapsode.modelfile import ModelFile
from rhapsode.reading import LONG
from rhapsode.reading import losses as read_long
from rhapsode.text.blocks import Spread
from rhapsode.text.corpus import Part
from rhapsode.text.store import opening, token_type
from rhapsode.text.tokenizer import Tokenizer

ROWS, PIECE = 64, 256
"""At most so many spans side by side, and so many symbols of each at a time."""
LOGITS = 2**23
"""At most so many logits at a time."""
STRETCH = 2**20
"""At most so many symbols of a long span at a time (see `rhapsode.reading`)."""

Mode = Literal["carried", "reset", "documents"]
Progress = Callable[[int, int], None]
"""Told how many tokens are done, of how many."""


@dataclass(frozen=True)
class Evaluation:
    """The loss of a model on a text."""

    mode: Mode
    context: int | None
    """tokens after which the state starts anew (mode reset)"""
    tokens: int
    """predictions: all tokens after the first boundary, labels and closing boundaries included"""
    chars: int
    bytes: int
    unknown: int
    """tokens that stand for text the model has no symbol for. They are cheap to predict, so with any of them the bits
    per character and byte cannot be compared with those of a model that knows all of the text."""
    nats_total: float
    standard_error: float = math.nan
    """of nats_per_token, by how much stretches of the text differ; not a number where it is too short to tell"""

    @property
    def nats_per_token(self) -> float:
        return self.nats_total / self.tokens

    @property
    def perplexity(self) -> float:
        """Of a token: exp of its nats; infinite where that is more than a number can be."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.nats_per_token))

    @property
    def bits_per_char(self) -> float:
        return bits(self.nats_total, self.chars)

    @property
    def bits_per_byte(self) -> float:
        """Bytes of the text in UTF-8."""
        return bits(self.nats_total, self.bytes)

    def to_json(self) -> dict[str, Any]:
        derived = ("nats_per_token", "bits_per_char", "bits_per_byte", "perplexity")
        return vars(self) | {name: getattr(self, name) for name in derived}


def bits(nats: float, units: int) -> float:
    """Bits per unit (not a number where there is none)."""
    return nats / math.log(2) / units if units else math.nan


def reads_documents(model: ModelFile | Engine) -> bool:
    """Whether the model was trained on whole documents, each from the initial state to its closing boundary."""
    return model.training.get("batches") == "documents"


def part_of(tokenizer: Tokenizer, texts: Sequence[str], closed: bool, labels: Sequence[str] | None = None) -> Part:
    """Documents in memory, laid out as a part of a corpus; with the boundary that ends the last one if `closed`.

    Args:
        labels: of the texts, where the tokenizer has labels.

    Raises:
        ConfigError: one is missing, or none of the tokenizer's.
    """
    texts = [tokenizer.normalise(text) for text in texts]
    begun = [opening(tokenizer, label) for label in labels or repeat(None, len(texts))]
    encoded = [np.concatenate([ids, tokenizer.encode(text)]) for ids, text in zip(begun, texts, strict=True)]
    boundary = np.array([tokenizer.boundary], np.int32)
    starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)[:-1]
    tokens = np.concatenate(encoded + [boundary] * closed) if encoded else boundary[:0]
    size = sum(len(text.encode("utf-8")) for text in texts)
    return Part(tokens.astype(token_type(tokenizer)), starts, sum(map(len, texts)), size)


def evaluate(
    engine: Engine,
    part: Part,
    *,
    context: int | None = None,
    documents: bool | None = None,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """The loss of the engine's model on `part`.

    Args:
        context: start the state anew every so many tokens.
        documents: without `context`: start the state anew with every document; None: as the model was trained.

    Raises:
        CorpusError: the part is empty.
    """
    if documents is None:
        documents = reads_documents(engine)
    mode: Mode = "reset" if context else "documents" if documents else "carried"
    total, done, spread = 0.0, 0, Spread(part)
    for index, nats in losses(engine, part.tokens, spans(part, mode, context)):
        total += float(nats.sum())
        spread.add(index, nats)
        done += len(index)
        progress(done, part.predictions)
    return replace(measured(part, total, engine.tokenizer, mode, context), standard_error=spread.standard_error())


def measured(
    part: Part, nats_total: float, tokenizer: Tokenizer, mode: Mode = "carried", context: int | None = None
) -> Evaluation:
    """The evaluation of whatever predicts the tokens of `part` at this cost.

    Raises:
        CorpusError: the part is empty.
    """
    tokens = part.tokens[1:]
    if not len(tokens):
        raise CorpusError("there is no text to evaluate")
    unknown = count_unknown(tokens, tokenizer)
    return Evaluation(mode, context, len(tokens), part.chars, part.bytes, unknown, nats_total)


def count_unknown(tokens: np.ndarray, tokenizer: Tokenizer) -> int:
    """How many of the tokens are the unknown symbol."""
    return 0 if tokenizer.unknown is None else int(np.count_nonzero(tokens == tokenizer.unknown))


class Spans(NamedTuple):
    """Span s is read from the initial state at tokens[starts[s]]; sizes[s] tokens after that one are predicted."""

    starts: np.ndarray
    sizes: np.ndarray


def spans(part: Part, mode: Mode, context: int | None = None) -> Spans:
    """Spans that together predict each of part.tokens[1:] once."""
    last = part.predictions
    if mode == "documents":
        starts = part.starts[part.starts < last].astype(np.int64)
    else:
        starts = np.arange(0, last, context or max(1, last))
    return Spans(starts, np.diff(starts, append=last))


def losses(engine: Engine, tokens: np.ndarray, spans: Spans) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The spans' predictions in pieces: where in `tokens` each is made [N], and the nats of what follows there [N]."""
    for s in np.flatnonzero(spans.sizes > LONG):
        yield from _stretches(engine, tokens, int(spans.starts[s]), int(spans.sizes[s]))
    order = np.argsort(spans.sizes, kind="stable")[: np.count_nonzero(spans.sizes <= LONG)]
    for first in range(0, len(order), ROWS):
        group = order[first : first + ROWS]
        starts, sizes = spans.starts[group], spans.sizes[group]
        length = int(np.clip(LOGITS // (len(group) * engine.tokenizer.vocab_size), 1, PIECE))
        state, longest = engine.initial_state(len(group)), int(sizes.max())
        for offset in range(0, longest, length):
            time = np.arange(offset, min(offset + length, longest))[:, None]
            index, inside = starts + time, time < sizes
            ids = tokens[np.minimum(starts + np.append(time, time[-1:] + 1, axis=0), len(tokens) - 1)].astype(np.int32)
            nats, state = engine.losses(ids[:-1], ids[1:], state)
            yield index[inside], nats[inside]


def _stretches(engine: Engine, tokens: np.ndarray, start: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Like `losses` of one long span, the state carried all the way."""
    state = engine.initial_state(1)
    for first in range(start, start + size, STRETCH):
        last = min(first + STRETCH, start + size)
        nats, state = read_long(engine, tokens[first : last + 1], state)
        yield np.arange(first, last), nats
