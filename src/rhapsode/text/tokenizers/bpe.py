"""Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) on bytes of UTF-8, as in GPT-2: lossless on every text.

Ids 0 … 255 are the bytes; each merge (a, b) then makes the symbol whose bytes are those of a and b, with the next id
unless there is one of these bytes already; last come the specials. Merges stay within words and the like, as GPT-2
cuts a text. The merges are all there is to save. Learning them and applying them is Hugging Face's `tokenizers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from rhapsode.errors import ConfigError, TokenizerError
from rhapsode.text.tokenizers.base import (
    ByteDecoder,
    checked_id,
    checked_ids,
    labels_json,
    normalise,
    read_field,
    read_labels,
    safe_cut,
    shown,
    special_symbol,
)

LONGEST = 64
"""Bytes of the longest symbol."""
RAREST = 2
"""Times that a pair must occur in the training text to be merged."""
CHUNK = 1 << 14
"""Characters that are encoded at a time; the chunks of a text are shared out between the cores."""
SHORT_CHUNK = 1 << 10
"""The same while learning, which takes time with the square of the longest word."""

Merge = tuple[int, int]


class BpeTokenizer:
    """`merges` are pairs of ids, in the order in which they are applied."""

    kind = "bpe"
    unknown: int | None = None

    def __init__(self, merges: list[Merge], lowercase: bool = False, labels: tuple[str, ...] = ()):
        self.merges, self.lowercase, self.labels = merges, lowercase, labels
        symbols = _symbols(merges)
        self.boundary = len(symbols)
        self.specials = 1 + len(labels)
        self.vocab_size = len(symbols) + self.specials
        self._pieces = symbols + [b""] * self.specials

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, lowercase: bool = False) -> BpeTokenizer:
        """The tokenizer with at most `vocab_size` symbols that the most frequent pairs in `texts` make."""
        if vocab_size < 257:
            raise ConfigError("vocab_size", vocab_size, "from 257 on with tokenizer bpe: all bytes and the boundary")
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            min_frequency=RAREST,
            initial_alphabet=list(_LETTERS),
            max_token_length=LONGEST,
            show_progress=False,
        )
        chunks = (chunk for text in texts for chunk in _chunks(normalise(text, lowercase), SHORT_CHUNK))
        tokenizer.train_from_iterator(chunks, trainer)
        return cls(_merges(json.loads(tokenizer.to_str())["model"]["merges"]), lowercase)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> BpeTokenizer:
        merges = read_field(value, "merges", list)
        if not all(isinstance(m, list) and len(m) == 2 and all(type(id) is int for id in m) for m in merges):
            raise TokenizerError("tokenizer: field 'merges': an entry is no pair of ids")
        return cls([(a, b) for a, b in merges], read_field(value, "lowercase", bool), read_labels(value))

    def to_json(self) -> dict[str, Any]:
        merges = [list(merge) for merge in self.merges]
        return {"kind": self.kind, "lowercase": self.lowercase, "merges": merges} | labels_json(self.labels)

    def normalise(self, text: str) -> str:
        return normalise(text, self.lowercase)

    def encode(self, text: str) -> np.ndarray:
        chunks = list(_chunks(self.normalise(text), CHUNK))
        ids = [np.array(e.ids, np.int32) for e in self._encoder.encode_batch_fast(chunks, add_special_tokens=False)]
        return np.concatenate(ids) if ids else np.empty(0, np.int32)

    def split(self, text: str) -> list[str]:
        return list(map(self.decoder().push, self.encode(text).tolist()))

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        return b"".join([self._pieces[id] for id in checked_ids(ids, self.vocab_size).tolist()]).decode(
            "utf-8", "replace"
        )

    def decoder(self) -> ByteDecoder:
        return ByteDecoder(self._pieces)

    def symbol(self, id: int) -> str:
        if checked_id(id, self.vocab_size) >= self.boundary:
            return special_symbol(self, id)
        try:
            return shown(self._pieces[id].decode("utf-8"))
        except UnicodeDecodeError:
            return " ".join(f"0x{byte:02X}" for byte in self._pieces[id])

    @cached_property
    def _encoder(self) -> Any:
        """The merges as Hugging Face's tokenizer applies them."""
        from tokenizers import Tokenizer, models, pre_tokenizers

        names = ["".join(_LETTERS[byte] for byte in piece) for piece in self._pieces[: self.boundary]]
        vocabulary = {name: id for id, name in enumerate(names)}
        encoder = Tokenizer(models.BPE(vocabulary, [(names[a], names[b]) for a, b in self.merges]))
        encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return encoder


def _symbols(merges: list[Merge]) -> list[bytes]:
    """The bytes of each id.

    Raises:
        TokenizerError: a merge is of symbols that are not there yet, is there twice, or makes too long a symbol.
    """
    symbols = dict.fromkeys(bytes([byte]) for byte in range(256))
    listed = list(symbols)
    for number, (a, b) in enumerate(merges):
        if not (0 <= a < len(listed) and 0 <= b < len(listed)):
            raise TokenizerError(f"tokenizer: merge {number}: found ids {a} and {b}, expected ids below {len(listed)}")
        made = listed[a] + listed[b]
        if len(made) > LONGEST:
            raise TokenizerError(f"tokenizer: merge {number}: makes {len(made)} bytes, expected at most {LONGEST}")
        if made not in symbols:
            symbols[made] = None
            listed.append(made)
    if len(set(merges)) < len(merges):
        raise TokenizerError("tokenizer: field 'merges': a merge is there twice")
    return listed


def _merges(named: list[Any]) -> list[Merge]:
    """Merges of ids, from merges of names in the letters that stand for bytes: pairs, or texts with a space between."""
    bytes_of = {letter: bytes([byte]) for byte, letter in enumerate(_LETTERS)}
    ids = {bytes([byte]): byte for byte in range(256)}
    merges = []
    for pair in named:
        a, b = (b"".join(bytes_of[c] for c in name) for name in (pair.split(" ") if isinstance(pair, str) else pair))
        merges.append((ids[a], ids[b]))
        ids.setdefault(a + b, len(ids))
    return merges


def _byte_letters() -> str:
    """The letters that stand for the 256 bytes inside `tokenizers`: a byte that prints in Latin-1 is its own letter,
    the others are U+0100, U+0101, … in turn."""
    prints = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in prints else next(others)) for byte in range(256))


_LETTERS = _byte_letters()


def _chunks(text: str, size: int) -> Iterator[str]:
    """`text` in chunks of at most `size` characters that can be encoded by themselves."""
    at = 0
    while at < len(text):
        chunk = text[at : at + size]
        if at + size < len(text):
            chunk = chunk[: safe_cut(chunk)]
        yield chunk
        at += len(chunk)
