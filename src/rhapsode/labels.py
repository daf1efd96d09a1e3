"""Labels of texts that are read and written: with a model that knows labels, every text begins with one.

The symbol of the label follows the boundary, so the model has learned p(label) p(text | label). A text whose label is
named begins with it. One that is written from nothing begins with a label that is drawn from p(label). One that is
read begins with the label that is most probable with it (Bayes), of its first `DECIDING` symbols:

    argmax p(label) p(text | label) = argmax p(label | text)
"""

from __future__ import annotations

import numpy as np

from rhapsode.config import SamplingConfig
from rhapsode.engine import Engine, stack
from rhapsode.position import Position, beginning, read
from rhapsode.reading import side_by_side
from rhapsode.sampling import draw, log_softmax, uniform
from rhapsode.text.tokenizer import Tokenizer, label_id

DECIDING = 512
"""Symbols of a text that decide its label."""
STREAM = 2**63
"""Number of the draw of a label in its seed's stream; the symbols have the numbers from 0."""


def is_due(tokenizer: Tokenizer, position: Position) -> bool:
    """Whether a label must follow."""
    recent = position.recent
    return bool(tokenizer.labels) and (len(recent) == 0 or bool(recent[-1] == tokenizer.boundary))


def label_of(tokenizer: Tokenizer, position: Position) -> str | None:
    """The label of the text before the position; None where it has none, or begins before `Position.recent`."""
    place = position.recent - (tokenizer.vocab_size - len(tokenizer.labels))
    found = place[place >= 0]
    return tokenizer.labels[found[-1]] if len(found) else None


def named(engine: Engine, position: Position, label: str) -> Position:
    """The position after this label.

    Raises:
        ConfigError: the model knows no such label.
    """
    return read(engine, position, np.array([label_id(engine.tokenizer, label)], np.int32))[1]


def drawn(tokenizer: Tokenizer, position: Position, settings: SamplingConfig, seed: int) -> int:
    """The symbol of a label that follows.

    Of the settings only those that leave nothing to chance hold: with them it is the most probable label.
    """
    ids = _ids(tokenizer)
    log_p = log_softmax(position.logits)[ids]
    if settings.greedy or settings.temperature == 0 or settings.beams > 1:
        return int(ids[log_p.argmax()])
    return int(ids[draw(log_p, uniform(seed, STREAM))])


def likeliest(engine: Engine, position: Position, ids: np.ndarray) -> Position:
    """The position before a text of symbols ids [N]: after its most probable label, where one is due."""
    if not is_due(engine.tokenizer, position):
        return position
    labels = _ids(engine.tokenizer)
    texts = np.repeat(ids[:DECIDING, None], len(labels), 1)
    nats, _ = side_by_side(engine, np.concatenate([labels[None], texts]), stack([position.state] * len(labels)))
    best = np.argmin(nats.sum(0) - log_softmax(position.logits)[labels])
    return read(engine, position, labels[best : best + 1])[1]


def suited(engine: Engine, ids: np.ndarray) -> str:
    """The likeliest label of a text of symbols ids [N]."""
    label = label_of(engine.tokenizer, likeliest(engine, beginning(engine), ids))
    assert label is not None
    return label


def _ids(tokenizer: Tokenizer) -> np.ndarray:
    """The symbols of the labels [K], int32."""
    return np.arange(tokenizer.vocab_size - len(tokenizer.labels), tokenizer.vocab_size, dtype=np.int32)
