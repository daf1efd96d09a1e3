"""How surprising texts are to a model, by token and by character; each begins with the model's initial state.

They are read as `rhapsode.evaluate` reads documents, side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rhapsode.engine import Engine
from rhapsode.evaluate import Progress, Spans, bits, count_unknown, losses, part_of, reads_documents
from rhapsode.labels import suited
from rhapsode.text.tokenizer import Tokenizer
from rhapsode.text.tokenizers.base import normalise


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
