"""Tokenizers by kind: trained on text, or read from JSON.

char    code points of the training text, an unknown symbol for the rest
byte    bytes of UTF-8: lossless on every text
word    words, marks and white space, the most frequent ones; an unknown symbol for the rest
bpe     parts of words, learned from the training text: lossless on every text
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rhapsode.config import CorpusConfig
from rhapsode.errors import TokenizerError
from rhapsode.text.tokenizers.base import Decoder, Tokenizer
from rhapsode.text.tokenizers.bpe import BpeTokenizer
from rhapsode.text.tokenizers.byte import ByteTokenizer
from rhapsode.text.tokenizers.char import CharTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer

__all__ = ["Decoder", "Tokenizer", "tokenizer_from_json", "train_tokenizer"]

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
