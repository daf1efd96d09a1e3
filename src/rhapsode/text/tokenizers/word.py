"""One symbol a word: the most frequent words, marks and white spaces of the training text, then the specials.

A text is cut into pieces, which join to the text again:

    word        letters, digits and the marks on them; apostrophes, hyphens, underscores and middle dots inside
    character   of a script that is written without spaces (Chinese, Japanese, Thai, …), with the marks on it
    emoji       with its modifiers and what is joined to it; a flag
    mark        anything else that is seen; up to three dots, dashes and the like together
    white space one character; carriage return and line feed together; up to 16 spaces

One space before a piece that is seen belongs to it (" word"), which halves the number of symbols.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import repeat
from typing import Any, Self

import numpy as np

from rhapsode.errors import TokenizerError
from rhapsode.text.tokenizers.base import (
    REPLACEMENT,
    PieceDecoder,
    checked_id,
    checked_ids,
    labels_json,
    normalise,
    read_field,
    read_labels,
    shown,
    special_symbol,
)

LAST_LETTER = 0x323AF
"""The last code point of a letter, as of Unicode 15."""
SOLITARY = (  # first and last code points of the scripts that are written without spaces
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029)),
    *((0x3040, 0x312F), (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)),
    *((0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, LAST_LETTER)),
)
JOINERS = "\u200c\u200d"
MODIFIERS = "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef"
FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
REPEATED = ".-!?*=~#"
INNER = "'’_·-"


class WordTokenizer:
    """`words` are the ids 0, 1, …, from the most frequent on."""

    kind = "word"

    def __init__(self, words: list[str], lowercase: bool = False, labels: tuple[str, ...] = ()):
        self.words, self.lowercase, self.labels = words, lowercase, labels
        self.boundary = len(words)
        self.unknown: int | None = len(words) + 1
        self.specials = 2 + len(labels)
        self.vocab_size = len(words) + self.specials
        self._ids = {word: id for id, word in enumerate(words)}
        self._pieces = [*words, "", REPLACEMENT, *[""] * len(labels)]

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, lowercase: bool = False) -> Self:
        """The tokenizer of the most frequent pieces of `texts`; equally frequent ones in code point order."""
        counts: Counter[str] = Counter()
        split = cls([], lowercase).split
        for text in texts:
            counts.update(split(text))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, _ in ranked[: vocab_size - 2]], lowercase)

    def joined(self, other: Self) -> Self:
        """The tokenizer of the words of both, its own first."""
        return type(self)(list(dict.fromkeys([*self.words, *other.words])), self.lowercase)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        words = read_field(value, "words", list)
        if not all(isinstance(word, str) and word for word in words):
            raise TokenizerError("tokenizer: field 'words': an entry is no text, or empty")
        if len(set(words)) < len(words):
            raise TokenizerError("tokenizer: field 'words': a word is there twice")
        joined = "".join(words)
        if joined != normalise(joined, lowercase=False):
            raise TokenizerError("tokenizer: field 'words': holds an unpaired surrogate")
        return cls(words, read_field(value, "lowercase", bool), read_labels(value))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "lowercase": self.lowercase, "words": self.words} | labels_json(self.labels)

    def normalise(self, text: str) -> str:
        return normalise(text, self.lowercase)

    def encode(self, text: str) -> np.ndarray:
        pieces = self.split(text)
        return np.fromiter(map(self._ids.get, pieces, repeat(self.unknown)), np.int32, len(pieces))

    def split(self, text: str) -> list[str]:
        return split_words(self.normalise(text))

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        return "".join([self._pieces[id] for id in checked_ids(ids, self.vocab_size).tolist()])

    def decoder(self) -> PieceDecoder:
        return PieceDecoder(self._pieces)

    def symbol(self, id: int) -> str:
        if checked_id(id, self.vocab_size) < self.boundary:
            return shown(self.words[id])
        return special_symbol(self, id)


def split_words(text: str) -> list[str]:
    """The pieces of `text`; they join to it."""
    return _pattern().findall(text)


@lru_cache
def _pattern() -> re.Pattern[str]:
    """One match a piece. Repetitions are bounded, so that no piece is longer than a few hundred characters."""
    solitary = "".join(f"{chr(a)}-{chr(b)}" for a, b in SOLITARY)
    marks = _char_class("M") + JOINERS
    letters = _char_class("LN", without=SOLITARY)
    letter, inside = f"[{letters}]", f"[{letters}{marks}]"
    word = f"{letter}{inside}{{0,63}}(?:[{INNER}]{letter}{inside}{{0,63}}){{0,4}}"
    character = f"[{solitary}][{marks}]{{0,16}}"
    run = "|".join(f"{re.escape(mark)}{{2,3}}" for mark in REPEATED)
    emoji = rf"\S[{marks}{MODIFIERS}]{{0,16}}(?:(?<=\u200d)[^\w\s][{marks}{MODIFIERS}]{{0,16}}){{0,8}}"
    return re.compile(rf" ?(?:{word}|{character}|{run}|{FLAG}|{emoji})|\r\n| {{1,16}}(?= )|\s")


def _char_class(categories: str, without: tuple[tuple[int, int], ...] = ()) -> str:
    """The inside of a regular expression's set: all characters of these general categories but those in `without`."""
    skipped = {code for first, last in without for code in range(first, last + 1)}
    ranges: list[list[int]] = []
    for code in range(LAST_LETTER + 1):
        if unicodedata.category(chr(code))[0] in categories and code not in skipped:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in ranges)
