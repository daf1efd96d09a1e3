"""One symbol a code point: those that the training text has, in order, then the specials."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from typing import Any

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

CODE_POINTS = sys.maxunicode + 1
CHUNK = 1 << 16
"""Characters encoded at a time, few enough for the cache."""


class CharTokenizer:
    """Code points `characters` (in increasing order) are the ids 0, 1, …; every other one is unknown."""

    kind = "char"

    def __init__(self, characters: str, lowercase: bool = False, labels: tuple[str, ...] = ()):
        self.characters, self.lowercase, self.labels = characters, lowercase, labels
        self.boundary = len(characters)
        self.unknown: int | None = len(characters) + 1
        self.specials = 2 + len(labels)
        self.vocab_size = len(characters) + self.specials
        self._codes = np.array([*_codes(characters), 0, ord(REPLACEMENT)], "<u4")
        self._ids = np.full(CODE_POINTS, self.unknown, np.int32)
        self._ids[self._codes[: self.boundary]] = np.arange(self.boundary, dtype=np.int32)

    @classmethod
    def train(cls, texts: Iterable[str], lowercase: bool = False) -> CharTokenizer:
        """The tokenizer of every code point in `texts`."""
        seen = np.zeros(CODE_POINTS, bool)
        for text in texts:
            seen[_codes(normalise(text, lowercase))] = True
        return cls("".join(map(chr, np.flatnonzero(seen))), lowercase)

    def joined(self, other: CharTokenizer) -> CharTokenizer:
        """The tokenizer of the characters of both."""
        return CharTokenizer("".join(sorted({*self.characters, *other.characters})), self.lowercase)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CharTokenizer:
        characters = read_field(value, "characters", str)
        if any(a >= b for a, b in itertools.pairwise(characters)):
            raise TokenizerError("tokenizer: field 'characters': not in increasing order of code points")
        if characters != normalise(characters, lowercase=False):
            raise TokenizerError("tokenizer: field 'characters': holds an unpaired surrogate")
        return cls(characters, read_field(value, "lowercase", bool), read_labels(value))

    def to_json(self) -> dict[str, Any]:
        own = {"kind": self.kind, "lowercase": self.lowercase, "characters": self.characters}
        return own | labels_json(self.labels)

    def normalise(self, text: str) -> str:
        return normalise(text, self.lowercase)

    def encode(self, text: str) -> np.ndarray:
        text = self.normalise(text)
        ids = np.empty(len(text), np.int32)
        for at in range(0, len(text), CHUNK):
            ids[at : at + CHUNK] = self._ids[_codes(text[at : at + CHUNK])]
        return ids

    def split(self, text: str) -> list[str]:
        return list(self.normalise(text))

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        ids = checked_ids(ids, self.vocab_size)
        return self._codes[ids[(ids < self.boundary) | (ids == self.unknown)]].tobytes().decode("utf-32-le")

    def decoder(self) -> PieceDecoder:
        return PieceDecoder([*self.characters, "", REPLACEMENT, *[""] * len(self.labels)])

    def symbol(self, id: int) -> str:
        if checked_id(id, self.vocab_size) < self.boundary:
            return shown(self.characters[id])
        return special_symbol(self, id)


def _codes(text: str) -> np.ndarray:
    """The code points of `text` [N], uint32."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
