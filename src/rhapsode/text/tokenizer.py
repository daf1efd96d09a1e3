"""Tokenizers by kind: trained on text, grown by more text, or read from JSON.

char    code points of the training text, an unknown symbol for the rest
byte    bytes of UTF-8: lossless on every text
word    words, marks and white space, the most frequent ones; an unknown symbol for the rest
spaced  words without the marks and line ends between them, as Keras' Tokenizer cuts text; likewise
bpe     parts of words, learned from the training text: lossless on every text
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, TokenizerError, listed
from rhapsode.text.tokenizers.base import Decoder, Tokenizer
from rhapsode.text.tokenizers.bpe import BpeTokenizer
from rhapsode.text.tokenizers.byte import ByteTokenizer
from rhapsode.text.tokenizers.char import CharTokenizer
from rhapsode.text.tokenizers.spaced import SpacedTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer

__all__ = [
    "Decoder",
    "Tokenizer",
    "carried_over",
    "grown_tokenizer",
    "joined_tokenizer",
    "label_id",
    "tokenizer_from_json",
    "train_tokenizer",
]

_KINDS = {kind.kind: kind for kind in (CharTokenizer, ByteTokenizer, WordTokenizer, SpacedTokenizer, BpeTokenizer)}


def train_tokenizer(config: CorpusConfig, texts: Iterable[str], labels: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer that `config` asks for, made from `texts`: pieces of the training text, each read once.

    A character or word that only occurs outside `texts` is unknown to it. `labels` are those that documents have; they
    come on top of `vocab_size`.

    Raises:
        ConfigError: `vocab_size` has no room for the bytes and the boundary (bpe).
    """
    if config.tokenizer == "byte":
        return ByteTokenizer(config.lowercase, tuple(labels))
    if config.tokenizer == "char":
        return _labelled(CharTokenizer.train(texts, config.lowercase), labels)
    others: dict[str, type[WordTokenizer | BpeTokenizer]] = {
        "word": WordTokenizer,
        "spaced": SpacedTokenizer,
        "bpe": BpeTokenizer,
    }
    return _labelled(others[config.tokenizer].train(texts, config.vocab_size, config.lowercase), labels)


def grown_tokenizer(
    base: Tokenizer, config: CorpusConfig, texts: Iterable[str], labels: Sequence[str] = ()
) -> Tokenizer:
    """`base` with the characters or words that `texts` add to it, those that `train_tokenizer` would find (byte and bpe
    lack nothing), and with these `labels` after its own.

    Args:
        config: of the same kind and case as `base`.
    """
    grown = _joined(base, train_tokenizer(config, texts)) if base.unknown is not None else base
    return _labelled(grown, list(dict.fromkeys([*base.labels, *labels])))


def joined_tokenizer(tokenizers: Sequence[Tokenizer]) -> Tokenizer:
    """The tokenizer of all symbols of these, and of the labels of those that have some.

    Raises:
        TokenizerError: they differ in kind, case or labels; or are of kind bpe, and differ: the same text has other
            parts.
    """
    joined, labels = tokenizers[0], next((t.labels for t in tokenizers if t.labels), ())
    for other in tokenizers[1:]:
        if (other.kind, other.lowercase) != (joined.kind, joined.lowercase):
            raise TokenizerError(f"tokenizer: found {_described(other)}, expected {_described(joined)}")
        if other.labels and set(other.labels) != set(labels):
            raise TokenizerError(f"tokenizer: found labels {listed(other.labels)}, expected {listed(labels)}, or none")
        if other.kind == "bpe" and _labelled(other, ()).to_json() != _labelled(joined, ()).to_json():
            raise TokenizerError("tokenizer: found bpe symbols of another training, expected the same ones")
        joined = _joined(joined, other)
    return _labelled(joined, labels)


def _joined(base: Tokenizer, added: Tokenizer) -> Tokenizer:
    """The tokenizer of the symbols of both, which are of one kind; only byte and bpe keep their labels."""
    if isinstance(base, CharTokenizer) and isinstance(added, CharTokenizer):
        return base.joined(added)
    if isinstance(base, WordTokenizer) and isinstance(added, WordTokenizer):
        return base.joined(added)
    return base


def _labelled(tokenizer: Tokenizer, labels: Sequence[str]) -> Tokenizer:
    """The same tokenizer with these labels.

    Raises:
        TokenizerError: they are too many.
    """
    return tokenizer_from_json(tokenizer.to_json() | {"labels": list(labels)})


def label_id(tokenizer: Tokenizer, label: str | None) -> int:
    """The id of a label.

    Raises:
        ConfigError: the tokenizer has no such label.
    """
    if label not in tokenizer.labels:
        raise ConfigError("label", label, listed(tokenizer.labels) or "none: the model's texts have no labels")
    return tokenizer.vocab_size - len(tokenizer.labels) + tokenizer.labels.index(label)


def carried_over(old: Tokenizer, new: Tokenizer) -> np.ndarray:
    """Where each symbol of `new` was in `old`, by what it stands for, not by its id: [V], int64, -1 for new ones.

    Raises:
        TokenizerError: they differ in kind or case, or `new` lacks a symbol or a label of `old`.
    """
    if (old.kind, old.lowercase) != (new.kind, new.lowercase):
        raise TokenizerError(f"tokenizer: found {_described(new)}, expected {_described(old)}")
    ids = {piece: id for id, piece in enumerate(old.decoder().pieces[: old.vocab_size - old.specials])}
    text = [ids.pop(piece, -1) for piece in new.decoder().pieces[: new.vocab_size - new.specials]]
    if ids:
        raise TokenizerError(f"tokenizer: {len(ids):,} symbols are missing, such as {old.symbol(min(ids.values()))!r}")
    first = old.vocab_size - len(old.labels)
    labels = {label: first + i for i, label in enumerate(old.labels)}
    if missing := labels.keys() - set(new.labels):
        raise TokenizerError(f"tokenizer: {len(missing):,} labels are missing, such as {min(missing)!r}")
    return np.array([*text, *range(old.boundary, first), *(labels.get(label, -1) for label in new.labels)], np.int64)


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
