"""What a text that is being written may contain, and when it ends: a `SamplingConfig` worked out for one model.

    ban       never in the text, also not across the border to what was read before
    only      no other characters
    stop      the text ends before the first of these; looked for in what is written alone
    require   in the text before it ends. One that the model writes by itself counts. Where the model, at the beginning
              of a word, draws the first symbol of a missing one, the rest of it follows. When only as many symbols are
              left as the missing ones need, these are written, in the order given (one that the text has begun
              goes first, and on). Until none is missing, the text does not end: stop strings are avoided and
              do not count. A ban goes before a requirement.
    regex     what is written, by itself, matches as a whole when it ends. No symbol is written after which it could not
              be completed within the length, with symbols that the model has and the other rules allow. Where it is
              complete the model may end it, which it does by choosing a symbol that does not go on with the match
              (that symbol is not written). A stop string ends it too, complete or not.

Where nothing may be written, the text ends (a dead end).

Every rule is a `Table` over symbols, by name, so that engines can follow it: ban, only, stop, require (a required
string is completed), begin (a symbol that begins one is written where a word may begin) and regex.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rhapsode.completion import completion, known_table
from rhapsode.config import SamplingConfig
from rhapsode.errors import ConfigError
from rhapsode.matching import NO_TEXT, Automaton, Matcher, Piece, Pieces, Table, banned, encode, only, table_of
from rhapsode.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from rhapsode.regex import Regex

MAY_BEGIN = 1
"""State of the rule begin: a word may begin here; 0: one may go on."""


class Rules:
    """The rules of one configuration, shared by all texts that are written by them."""

    def __init__(self, settings: SamplingConfig, tokenizer: Tokenizer, ends: bool):
        """`ends`: the model knows ends of documents, so that it may end a text by itself.

        Raises:
            ConfigError: the model knows none of the characters of `only`, or not the symbol of a `bias`; a required
                string cannot be written: it has characters that the model does not know or `only` lacks, contains a
                banned string, or is too long; `regex` is none, or not one of those that can be followed.
        """
        self.settings, self.boundary = settings, tokenizer.boundary
        self.text = np.arange(tokenizer.vocab_size) < tokenizer.vocab_size - tokenizer.specials
        self.text_or_end = self.text.copy()
        self.text_or_end[self.boundary] = ends
        self.vocabulary = vocabulary(cast(Hashable, tokenizer))
        self.pieces = self.vocabulary.pieces
        self.bias = _bias(settings.bias, tokenizer)
        self.automata: dict[str, Automaton] = {}
        """of rules that look at the text before, too"""
        self.tables: dict[str, Table] = {}
        """of all rules but regex"""
        banned_strings = _encoded(settings.ban, tokenizer)
        if banned_strings:
            self._add("ban", banned(Matcher(banned_strings)))
        if settings.only is not None:
            self._add("only", only(settings.only))
        self.stops = _encoded(settings.stop, tokenizer)
        self.stop = Matcher(self.stops)
        if self.stops:
            self.tables["stop"] = table_of(banned(self.stop), self.pieces)
        self.required = _encoded(settings.require, tokenizer)
        self.required_ids = [tuple(map(int, tokenizer.encode(string))) for string in settings.require]
        self.requirement = Matcher(self.required)
        self._check(banned_strings, tokenizer.unknown)
        if self.required:
            self.tables["require"] = table_of(banned(self.requirement), self.pieces)
            self.tables["begin"] = self._beginnings()
        self.regex: Regex | None = None
        if settings.regex is not None:
            from rhapsode.regex import compile_regex

            self.regex = compile_regex(settings.regex)
        self._completions: dict[tuple[int, ...], Table] = {}

    def _add(self, name: str, automaton: Automaton) -> None:
        self.automata[name], self.tables[name] = automaton, table_of(automaton, self.pieces)

    def _beginnings(self) -> Table:
        """The rule begin."""
        after = np.where(self.vocabulary.ends_in_word, 0, MAY_BEGIN).astype(np.int32)
        begins = np.isin(np.arange(len(after)), [ids[0] for ids in self.required_ids])
        return known_table(np.stack([after, np.where(begins, ~after, after)]))

    def completion(self, pending: bytes, states: dict[str, int]) -> Table:
        """The rule regex, for a text that begins with `pending` bytes and where the other rules have these states.

        Raises:
            ConfigError: no text of the model matches, or only longer ones than allowed, or it is too complicated.
        """
        from rhapsode.regex import too_complicated

        assert self.regex is not None
        automaton, accepting = self.regex
        begun, objected = automaton.run([pending])
        others = [name for name in states if name in self.automata]
        starts = (begun, *(states[name] for name in others))
        if starts not in self._completions:
            fills = [lambda state: self.pieces.walk(automaton, state), *(self.tables[name].row for name in others)]
            table = completion(fills, starts, accepting)
            if table is None:
                raise too_complicated(self.settings.regex or "")
            self._completions[starts] = table
        table = self._completions[starts]
        assert table.steps is not None
        if objected or table.steps[0] > self.settings.length:
            said = f"an expression that at most {self.settings.length} (length) of the model's symbols match"
            raise ConfigError("regex", self.settings.regex, said + ", with nothing banned in it" * bool(others))
        return table

    def _check(self, banned: Sequence[bytes], unknown: int | None) -> None:
        """Every required string can be written."""
        length, only = self.settings.length, self.settings.only
        if only is not None and not (self.tables["only"].mask(0) & self.text).any():
            raise ConfigError("only", only, "at least one character that the model knows")
        for string, code, ids in zip(self.settings.require, self.required, self.required_ids, strict=True):
            if unknown in ids:
                raise ConfigError("require", string, "strings of characters that the model knows")
            if any(b in code for b in banned):
                raise ConfigError("require", string, "strings with no banned one in them")
            if only is not None and not set(string) <= set(only):
                raise ConfigError("require", string, f"strings of the characters {only!r}")
        if sum(map(len, self.required_ids)) > length:
            raise ConfigError("require", self.settings.require, f"at most {length} symbols together (length)")


def _encoded(strings: Sequence[str], tokenizer: Tokenizer) -> list[bytes]:
    """The strings as they would stand in the model's text."""
    return [encode(string.lower() if tokenizer.lowercase else string) for string in strings]


class Vocabulary:
    """What rules need to know of a tokenizer's symbols."""

    def __init__(self, tokenizer: Tokenizer):
        added = [piece if isinstance(piece, bytes) else encode(piece) for piece in tokenizer.decoder().pieces]
        text: list[Piece] = [*added[: len(added) - tokenizer.specials]]
        self.pieces = Pieces(text + [NO_TEXT] * tokenizer.specials)
        """what each symbol adds to a text"""
        self.ends_in_word = np.array([ends_in_word(self.pieces[id]) for id in range(len(added))])
        """[V], bool"""
        self._tokenizer = tokenizer

    @cached_property
    def symbols(self) -> list[str]:
        """How to show each symbol to people."""
        return [self._tokenizer.symbol(id) for id in range(len(self.pieces))]


@lru_cache(maxsize=8)
def vocabulary(tokenizer: Any) -> Vocabulary:
    """The symbols of a `Tokenizer`, worked out once."""
    return Vocabulary(tokenizer)


def ends_in_word(piece: Piece) -> bool:
    """Whether a word may go on after `piece`."""
    return piece != NO_TEXT and bytes(piece).decode("utf-8", "ignore")[-1:].isalnum()


def _bias(pairs: Sequence[tuple[str | int, float]], tokenizer: Tokenizer) -> dict[int, float]:
    """What is added to the logit of each id."""
    bias: dict[int, float] = {}
    for symbol, value in pairs:
        id = _id_of(symbol, tokenizer)
        bias[id] = bias.get(id, 0.0) + value
    return bias


def _id_of(symbol: str | int, tokenizer: Tokenizer) -> int:
    """The id that is meant by itself, by its text, or by the name of the boundary."""
    if isinstance(symbol, int):
        ids = [symbol]
    elif symbol == tokenizer.symbol(tokenizer.boundary):
        ids = [tokenizer.boundary]
    else:
        ids = tokenizer.encode(symbol).tolist()
    if len(ids) != 1 or not 0 <= ids[0] < tokenizer.vocab_size or ids[0] == tokenizer.unknown:
        raise ConfigError("bias", symbol, "a single symbol of the model (`rhapsode info` shows them), or its number")
    return ids[0]
