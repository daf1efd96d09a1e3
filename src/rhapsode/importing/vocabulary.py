"""The vocabulary file of an imported network: which text each of its ids stands for.

    a JSON list of symbols, in the order of their ids        ["\\n", " ", "a", …]
    a JSON object of symbols and ids, either way round       {"a": 0, …} or {"0": "a", …}
    what the to_json of Keras' Tokenizer gives               {"class_name": "Tokenizer", …}
    anything else                                            a symbol a line, in the order of their ids

Symbols are

    single characters
    words, no space in any of them                   as `rhapsode.text.tokenizers.spaced` cuts text
    words, each with the space that is before it     as `rhapsode.text.tokenizers.word` cuts text

Where no symbol has a capital letter, text is turned into lower case. Ids without a symbol, and the names in `UNKNOWN`
and `BOUNDARY`, become the symbols that are no text. Where ids begin at 1, as those of Keras' Tokenizer do, those that
the network has not are left out, as Keras does it from `num_words` on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.errors import SourceError
from rhapsode.text.tokenizer import Tokenizer
from rhapsode.text.tokenizers.base import normalise
from rhapsode.text.tokenizers.char import CharTokenizer
from rhapsode.text.tokenizers.spaced import SpacedTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer, split_words

UNKNOWN = frozenset({"<unknown>", "<unk>", "<UNK>", "[UNK]", "<OOV>", "<oov>"})
BOUNDARY = frozenset({"<boundary>", "<s>", "</s>", "<eos>", "<pad>", "[PAD]", ""})


def read_vocabulary(path: Path, size: int) -> list[str | None]:
    """The symbol of each id 0 … size-1; None where the file gives none.

    Raises:
        SourceError: the file cannot be read, or its ids are others.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 at byte {error.start}") from None
    symbols: list[str | None] = [None] * size
    pairs = _pairs(path, text)
    if min(pairs, default=(0, ""))[0] == 1:
        pairs = [(id, symbol) for id, symbol in pairs if id < size]
    for id, symbol in pairs:
        if not 0 <= id < size:
            raise SourceError(f"{path}: symbol {symbol!r} has id {id}; the network has ids 0 to {size - 1}")
        if symbols[id] is not None:
            raise SourceError(f"{path}: id {id} stands for {symbols[id]!r} and for {symbol!r}")
        symbols[id] = symbol
    return symbols


def _pairs(path: Path, text: str) -> list[tuple[int, str]]:
    """(id, symbol) of everything in the file."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        if path.suffix == ".json":
            raise SourceError(f"{path}: not JSON: {error}") from None
        value = text.removesuffix("\n").split("\n")
    value = _word_index(value)
    pairs = list(enumerate(value)) if isinstance(value, list) else None
    if isinstance(value, dict):
        turned = all(isinstance(symbol, str) for symbol in value.values())
        pairs = [(id, symbol) if turned else (symbol, id) for id, symbol in value.items()]
    try:
        return [(int(id), _checked(symbol)) for id, symbol in pairs or []]
    except (TypeError, ValueError):
        raise SourceError(f"{path}: expected a list of symbols, or an object of symbols and ids") from None


def _word_index(value: Any) -> Any:
    """The words and ids in what the to_json of Keras' Tokenizer gives, under a known name the one for unknown words;
    any other value as it is."""
    try:
        unknown, index = value["config"]["oov_token"], json.loads(value["config"]["word_index"])
        return {"<unknown>" if word == unknown else word: id for word, id in index.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return value


def _checked(symbol: Any) -> str:
    if not isinstance(symbol, str) or symbol != normalise(symbol, lowercase=False):
        raise TypeError
    return symbol


def tokenizer_of(path: Path, symbols: list[str | None], lowercase: bool) -> tuple[Tokenizer, np.ndarray]:
    """The tokenizer of these symbols, and for each of its ids the network's [V], -1 where the network has none.

    Raises:
        SourceError: they are no characters or words, one comes twice, or more than two are no text.
    """
    text = {symbol: id for id, symbol in enumerate(symbols) if symbol is not None and symbol not in UNKNOWN | BOUNDARY}
    named = [(id, symbol) for id, symbol in enumerate(symbols) if symbol is None or symbol in UNKNOWN | BOUNDARY]
    if len(text) + len(named) < len(symbols):
        twice = next(s for id, s in enumerate(symbols) if s in text and text[s] != id)
        raise SourceError(f"{path}: symbol {twice!r} has two ids")
    boundary, unknown = _without_text(path, named)
    lowercase = lowercase or all(symbol == normalise(symbol, lowercase=True) for symbol in text)
    tokenizer: Tokenizer
    if all(len(symbol) == 1 for symbol in text):
        tokenizer = CharTokenizer("".join(sorted(text)), lowercase)
    elif set(" \t\n").isdisjoint("".join(text)):
        text = {f" {symbol}": id for symbol, id in text.items()}
        tokenizer = SpacedTokenizer(list(text), lowercase)
    else:
        for symbol in text:
            if split_words(symbol) != [symbol]:
                raise SourceError(f"{path}: symbol {symbol!r} is no character, and no word with its space before it")
        tokenizer = WordTokenizer(list(text), lowercase)
    pieces = tokenizer.decoder().pieces[: tokenizer.vocab_size - tokenizer.specials]
    return tokenizer, np.array([*(text[str(piece)] for piece in pieces), boundary, unknown], np.int64)


def _without_text(path: Path, named: list[tuple[int, str | None]]) -> tuple[int, int]:
    """The ids of the boundary and of the unknown symbol, -1 for none."""
    unknown = [id for id, symbol in named if symbol in UNKNOWN]
    others = [id for id, symbol in named if symbol not in UNKNOWN]
    if not unknown and len(others) == 2:
        unknown = [others.pop()]
    if len(unknown) > 1 or len(others) > 1:
        shown = ", ".join(str(id) for id, _ in named[:5])
        raise SourceError(
            f"{path}: {len(named)} ids have no text ({shown}); at most two may: a boundary and an unknown symbol"
        )
    return (others or [-1])[0], (unknown or [-1])[0]
