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
from rhapsode.labels import suited
from rhapsode.modelfile import ModelFile
from rhapsode.reading import LONG
from rhapsode.reading import losses as read_long
from rhapsode.text.blocks import Spread
from rhapsode.text.corpus import Part
from rhapsode.text.store import opening, token_type
from rhapsode.text.tokenizer import Tokenizer
from rhapsode.text.tokenizers.base import normalise

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


@dataclass(frozen=True)
class Score:
    """How surprising a text is, in nats."""

    text: str
    """the text itself; or what the tokenizer reads of it, where that is longer or shorter"""
    chars: int
    """of the text, without what the tokenizer leaves out of it; and so `bytes`"""
    bytes: int
    unknown: int
    """as in `Evaluation`"""
    per_token: list[tuple[str, float]]
    """(piece, nats) of each token. The pieces join to `text`; one that completes no character is empty, and so is the
    closing boundary of a document."""
    per_char: np.ndarray
    """[len(text)], float64: a token's nats evenly over its characters; the nats of the bytes of one character add up.
    A closing boundary belongs to no character."""
    end: float
    """nats of the closing boundary; 0 where it is not predicted"""

    @property
    def nats_total(self) -> float:
        return math.fsum(nats for _, nats in self.per_token)

    @property
    def bits_per_char(self) -> float:
        return bits(self.nats_total, self.chars)


def score(engine: Engine, text: str, *, label: str | None = None, document: bool | None = None) -> Score:
    """How surprising each symbol of `text` is to a model that begins with it.

    Args:
        label: of the text, where the model knows labels: its symbol is read first, and not counted. None: the likeliest
            (see `rhapsode.labels`).
        document: the text is a whole document, whose end is predicted too; None: as the model was trained.

    Raises:
        ConfigError: the label is none of the model's.
    """
    return score_all(engine, [text], labels=[label], documents=document)[0]


def score_all(
    engine: Engine,
    texts: Sequence[str],
    *,
    labels: Sequence[str | None] | None = None,
    documents: bool | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Score]:
    """The scores of several texts, each read from the initial state; where the model knows labels, after its own (None:
    its likeliest)."""
    if documents is None:
        documents = reads_documents(engine)
    read_after = _labels(engine, texts, labels)
    part = part_of(engine.tokenizer, texts, closed=True, labels=read_after)
    sizes = np.diff(part.starts, append=len(part.tokens) - 1) - (not documents)
    first = 0 if read_after is None else 1
    found, done = np.zeros(len(part.tokens)), 0
    for index, nats in losses(engine, part.tokens, Spans(part.starts, sizes)):
        found[index] = nats
        done += len(index)
        progress(done, int(sizes.sum()))
    return [
        _score(engine.tokenizer, text, part.tokens[s + 1 : e + 1], found[s:e])
        for text, s, e in zip(texts, part.starts + first, part.starts + sizes, strict=True)
    ]


def _labels(engine: Engine, texts: Sequence[str], labels: Sequence[str | None] | None) -> list[str] | None:
    """The label of each text, None where texts have none."""
    tokenizer = engine.tokenizer
    named = [None] * len(texts) if labels is None else list(labels)
    if not tokenizer.labels and not any(named):
        return None
    if tokenizer.labels:
        pairs = zip(texts, named, strict=True)
        return [label or suited(engine, tokenizer.encode(text)) for text, label in pairs]
    return [label for label in named if label]


def _score(tokenizer: Tokenizer, text: str, tokens: np.ndarray, nats: np.ndarray) -> Score:
    """The score of `text` from the nats of its tokens."""
    pieces = tokenizer.split(text)
    pieces += [""] * (len(tokens) - len(pieces))  # the closing boundary
    read, size = "".join(pieces), np.array([len(piece) for piece in pieces], np.int64)
    if len(read) == len(text):
        read, ends = text, np.cumsum(size)
        pieces = [text[end - n : end] for end, n in zip(ends, size, strict=True)]
    end = float(nats[tokens == tokenizer.boundary].sum())
    return Score(
        text=read,
        chars=min(map(len, (read, text))),
        bytes=min(len(normalise(given, lowercase=False).encode("utf-8")) for given in (read, text)),
        unknown=count_unknown(tokens, tokenizer),
        per_token=list(zip(pieces, nats.tolist(), strict=True)),
        per_char=_over_characters(nats, size),
        end=end,
    )


def _over_characters(nats: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Spread the nats of tokens over characters: token i completes size[i] of them; one that completes none counts
    with the next that does."""
    completes = size > 0
    turn: np.ndarray = np.cumsum(completes) - completes
    together = np.bincount(turn, nats, minlength=len(size) + 1)[: np.count_nonzero(completes)]
    return np.repeat(together / size[completes], size[completes])
