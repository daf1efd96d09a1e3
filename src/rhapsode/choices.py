"""How a text may go on: its most probable continuations up to the end of the next word, whatever the tokenizer.

A word is a run of letters, marks and digits. A continuation is what may stand before the next word (the rest of a word,
if the text ends inside one), and that word; its probability is that of writing just this and then ending the word. So
"the" and "they" are two, and what follows "the" is open. The continuations of a distribution form a tree, which is
walked breadth first with a beam: the result is exact unless a prefix was less probable than `WIDTH` others.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np

from rhapsode.engine import Engine, rows, stack
from rhapsode.matching import NO_TEXT
from rhapsode.position import RECENT, Position
from rhapsode.rules import vocabulary
from rhapsode.sampling import log_softmax

WIDTH = 32
"""Prefixes that are followed side by side, at least; four for each choice that is asked for."""
LONGEST = 32
"""Symbols of a continuation; one that has no end yet is cut there."""
NEVER = np.float32(-1e9)
"""Logit of a symbol that is written only where no other may be."""


class Choice(NamedTuple):
    """A way for a text to go on."""

    text: str
    probability: float
    """in the model's own distribution"""
    position: Position
    """after the text"""


class _Prefix(NamedTuple):
    """The beginning of a continuation."""

    data: bytes
    """what has been written, from what the position before had pending"""
    log_probability: float
    position: Position

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "ignore")

    @property
    def whole(self) -> bool:
        """Whether no character is unfinished."""
        return len(self.text.encode()) == len(self.data)


def choices(engine: Engine, position: Position, count: int, ended: bool = False) -> list[Choice]:
    """The `count` most probable continuations of the text at `position`, the best first; fewer where the model has
    no more. All differ, and none is empty.

    `ended`: the last word of the text is complete, and probabilities are given that nothing goes on with it.
    """
    width, found = max(WIDTH, 4 * count), dict[str, Choice]()
    active = [_Prefix(position.pending, 0.0, position)]
    for number in range(LONGEST):
        active = _grown(engine, active, width, ended and number == 0)
        for prefix in active:
            _finish(engine, prefix, found)
        active = [prefix for prefix in active if not _ended(prefix)]
        best = sorted(found.values(), key=lambda choice: -choice.probability)[:count]
        least = best[-1].probability if len(best) == count else 0.0
        active = [prefix for prefix in active if np.exp(prefix.log_probability) > least]
        if not active:
            return best
    for prefix in active:
        if prefix.whole and prefix.text not in found:
            found[prefix.text] = _choice(prefix, prefix.log_probability)
    return sorted(found.values(), key=lambda choice: -choice.probability)[:count]


def after_word(engine: Engine, position: Position) -> Position:
    """The same place in a text, where its last word is complete: nothing that is written next goes on with it."""
    goes_on = symbols_of(cast(Hashable, engine.tokenizer)).goes_on
    return position._replace(logits=np.where(goes_on, NEVER, position.logits))


def in_word(character: str) -> bool:
    """Whether the character is a letter, a mark on one, or a digit."""
    return unicodedata.category(character)[0] in "LMN"


def _grown(engine: Engine, prefixes: list[_Prefix], width: int, ended: bool) -> list[_Prefix]:
    """The `width` most probable prefixes that are one symbol longer; `ended`: it does not go on with a word."""
    symbols = symbols_of(cast(Hashable, engine.tokenizer))
    log_p = log_softmax(np.stack([prefix.position.logits for prefix in prefixes]))
    scores = log_p + np.array([[prefix.log_probability] for prefix in prefixes])
    if ended:
        scores -= _log_end(engine, prefixes[0])
    begun = np.array([[_has_word(prefix.text)] for prefix in prefixes])
    allowed = symbols.text & ~symbols.goes_on if ended else np.where(begun, symbols.goes_on, symbols.text)
    scores = np.where(allowed, scores, -np.inf)
    best = np.argsort(-scores, axis=None, kind="stable")[:width]
    chosen = [divmod(int(i), scores.shape[1]) for i in best if scores.flat[i] > -np.inf]
    if not chosen:
        return []
    ids = np.array([id for _, id in chosen], np.int32)
    logits, state = engine.step(ids, stack([prefixes[b].position.state for b, _ in chosen]))
    grown = []
    for i, (b, id) in enumerate(chosen):
        recent = np.append(prefixes[b].position.recent, np.int32(id))[-RECENT:]
        data = prefixes[b].data + bytes(symbols.pieces[id])
        grown.append(_Prefix(data, float(scores[b, id]), Position(rows(state, [i]), logits[i], recent, b"")))
    return grown


def _finish(engine: Engine, prefix: _Prefix, found: dict[str, Choice]) -> None:
    """Add what the prefix is if its word ends here; of the ways to write one text the most probable."""
    text = prefix.text
    if not prefix.whole or not _has_word(text):
        return
    log_p = prefix.log_probability
    if in_word(text[-1]):
        log_p += _log_end(engine, prefix)
    choice = _choice(prefix, log_p)
    if text not in found or found[text].probability < choice.probability:
        found[text] = choice


def _log_end(engine: Engine, prefix: _Prefix) -> float:
    """The log-probability that nothing goes on with the word that the prefix ends in."""
    following = np.exp(log_softmax(prefix.position.logits))
    return float(
        np.log(max(following[~symbols_of(cast(Hashable, engine.tokenizer)).goes_on].sum(), np.finfo(float).tiny))
    )


def _choice(prefix: _Prefix, log_probability: float) -> Choice:
    return Choice(prefix.text, float(np.exp(log_probability)), prefix.position)


def _ended(prefix: _Prefix) -> bool:
    """Whether the word was ended by what stands behind it."""
    return prefix.whole and _has_word(prefix.text) and not in_word(prefix.text[-1])


def _has_word(text: str) -> bool:
    return any(map(in_word, text))


class Symbols:
    """Where words begin and end in a tokenizer's symbols."""

    def __init__(self, tokenizer: Any):
        known = vocabulary(tokenizer)
        self.pieces = known.pieces
        pieces = [known.pieces[id] for id in range(tokenizer.vocab_size)]
        self.text = np.array([piece != NO_TEXT and len(piece) > 0 for piece in pieces])
        """[V]: adds something to a text"""
        self.goes_on = self.text & [_is_in_word(piece, 0) for piece in pieces]
        """[V]: and may go on with a word; so may bytes that are no character yet"""
        self.in_word = self.text & [_is_in_word(piece, -1) for piece in pieces]
        """[V]: and a word may go on after it"""


def _is_in_word(piece: Any, place: int) -> bool:
    """Whether the character of the piece at this place is in a word, or no character yet."""
    if piece == NO_TEXT or not piece:
        return False
    character = bytes(piece).decode("utf-8", "replace")[place]
    return character == "\ufffd" or in_word(character)


@lru_cache(maxsize=8)
def symbols_of(tokenizer: Any) -> Symbols:
    """The symbols of a `Tokenizer`, worked out once."""
    return Symbols(tokenizer)
