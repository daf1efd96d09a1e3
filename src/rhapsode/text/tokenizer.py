"""Tokenizers by kind: trained on text, grown by more text, or read from JSON.

char    code points of the training text, an unknown symbol for the rest
byte    bytes of UTF-8: lossless on every text
word    words, marks and white space, the most frequent ones; an unknown symbol for the rest
bpe     parts of words, learned from the training text: lossless on every text
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rhapsode.config import CorpusConfig
from rhapsode.errors import TokenizerError
from rhapsode.text.tokenizers.base import Decoder, Tokenizer
from rhapsode.text.tokenizers.bpe import BpeTokenizer
from rhapsode.text.tokenizers.byte import ByteTokenizer
from rhapsode.text.tokenizers.char import CharTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer

__all__ = [
    "Decoder",
    "Tokenizer",
    "carried_over",
    "grown_tokenizer",
    "joined_tokenizer",
    "tokenizer_from_json",
    "train_tokenizer",
]

_KINDS = {kind.kind: kind for kind in (CharTokenizer, ByteTokenizer, WordTokenizer, BpeTokenizer)}


def train_tokenizer(config: CorpusConfig, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer that `config` asks for, made from `texts`: pieces of the training text, each read once.

    A character or word that only occurs outside `texts` is unknown to it.

    Raises:
        ConfigError: `vocab_size` has no room for the bytes and the boundary (bpe).
    """
    if config.tokenizer == "byte":
        return ByteTokenizer(config.lowercase)
    if config.tokenizer == "char":
        return CharTokenizer.train(texts, config.lowercase)
    kind = WordTokenizer if config.tokenizer == "word" else BpeTokenizer
    return kind.train(texts, config.vocab_size, config.lowercase)


def grown_tokenizer(base: Tokenizer, config: CorpusConfig, texts: Iterable[str]) -> Tokenizer:
    """`base` with the characters or words that `texts` add to it, those that `train_tokenizer` would find; byte and
    bpe lack nothing and stay as they are.

    Args:
        config: of the same kind and case as `base`.
    """
    return _joined(base, train_tokenizer(config, texts)) if base.unknown is not None else base


def joined_tokenizer(tokenizers: Sequence[Tokenizer]) -> Tokenizer:
    """The tokenizer of all symbols of these.

    Raises:
        TokenizerError: they differ in kind or case; or are of kind bpe, and differ: the same text has other parts.
    """
    joined = tokenizers[0]
    for other in tokenizers[1:]:
        if (other.kind, other.lowercase) != (joined.kind, joined.lowercase):
            raise TokenizerError(f"tokenizer: found {_described(other)}, expected {_described(joined)}")
        if other.kind == "bpe" and other.to_json() != joined.to_json():
            raise TokenizerError("tokenizer: found bpe symbols of another training, expected the same ones")
        joined = _joined(joined, other)
    return joined


def _joined(base: Tokenizer, added: Tokenizer) -> Tokenizer:
    """The tokenizer of the symbols of both, which are of one kind."""
    if isinstance(base, CharTokenizer) and isinstance(added, CharTokenizer):
        return base.joined(added)
    if isinstance(base, WordTokenizer) and isinstance(added, WordTokenizer):
        return base.joined(added)
    return base


def carried_over(old: Tokenizer, new: Tokenizer) -> np.ndarray:
    """Where each symbol of `new` was in `old`, by what it stands for, not by its id: [V], int64, -1 for new ones.

    Raises:
        TokenizerError: they differ in kind or case, or `new` lacks a symbol of `old`.
    """
    if (old.kind, old.lowercase) != (new.kind, new.lowercase):
        raise TokenizerError(f"tokenizer: found {_described(new)}, expected {_described(old)}")
    ids = {piece: id for id, piece in enumerate(old.decoder().pieces[: old.vocab_size - old.specials])}
    text = [ids.pop(piece, -1) for piece in new.decoder().pieces[: new.vocab_size - new.specials]]
    if ids:
        raise TokenizerError(f"tokenizer: {len(ids):,} symbols are missing, such as {old.symbol(min(ids.values()))!r}")
    return np.array([*text, *range(old.vocab_size - old.specials, old.vocab_size)], np.int64)


def _described(tokenizer: Tokenizer) -> str:
    return f"{tokenizer.kind} symbols{' in lower case' * tokenizer.lowercase}"


def tokenizer_from_json(value: Any) -> Tokenizer:
    """The tokenizer that `to_json` described. `value` may come from anywhere: all of it is checked.

    Raises:
        TokenizerError: it describes none.
    """
    if not isinstance(value, dict):
        raise TokenizerError(f"tokenizer: found {type(value).__name__}, expected an object of named fields")
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise TokenizerError(f"tokenizer: field 'kind': found {kind!r}, expected one of {', '.join(_KINDS)}")
    return _KINDS[kind].from_json(value)
