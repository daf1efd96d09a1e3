"""What a text that is being written may contain, and when it ends: a `SamplingConfig` worked out for one model.

    ban       never in the text, also not across the border to what was read before
    only      no other characters
    stop      the text ends before the first of these; looked for in what is written alone
    require   in the text before it ends. One that the model writes by itself counts. Where the model, at the beginning
              of a word, draws the first symbol of a missing one, the rest of it follows. When only as many symbols are
              left as the missing ones need, these are written, in the order given (one that the text has begun
              goes first, and on). Until none is missing, the text does not end: stop strings are avoided and
              do not count. A ban goes before a requirement.

Where nothing may be written, the text ends (a dead end).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rhapsode.config import SamplingConfig
from rhapsode.errors import ConfigError
from rhapsode.matching import NO_TEXT, Allowed, Banned, Matcher, Only, Piece, encode
from rhapsode.text.tokenizer import Tokenizer


class Rules:
    """The rules of one configuration, shared by all texts that are written by them."""

    def __init__(self, settings: SamplingConfig, tokenizer: Tokenizer, ends: bool):
        """`ends`: the model knows ends of documents, so that it may end a text by itself.

        Raises:
            ConfigError: the model knows none of the characters of `only`; or a required string cannot be written: it
                has characters that the model does not know or `only` lacks, contains a banned string, or is too long.
        """
        self.settings, self.boundary = settings, tokenizer.boundary
        self.text = np.arange(tokenizer.vocab_size) < tokenizer.vocab_size - tokenizer.specials
        self.text_or_end = self.text.copy()
        self.text_or_end[self.boundary] = ends
        self.pieces = _pieces(tokenizer)
        self.stops = _encoded(settings.stop, tokenizer)
        self.stop = Matcher(self.stops)
        self.before_stop = Allowed(Banned(self.stop), self.pieces)
        self.required = _encoded(settings.require, tokenizer)
        self.required_ids = [tuple(map(int, tokenizer.encode(string))) for string in settings.require]
        self.requirement = Matcher(self.required)
        self.allowed: list[Allowed] = []
        banned = _encoded(settings.ban, tokenizer)
        if banned:
            self.allowed.append(Allowed(Banned(Matcher(banned)), self.pieces))
        if settings.only is not None:
            self.allowed.append(Allowed(Only(settings.only), self.pieces))
        self._check(banned, tokenizer.unknown)

    def _check(self, banned: Sequence[bytes], unknown: int | None) -> None:
        """Every required string can be written."""
        length, only = self.settings.length, self.settings.only
        if only is not None and not (self.allowed[-1].mask(0) & self.text).any():
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


def _pieces(tokenizer: Tokenizer) -> list[Piece]:
    """What each symbol adds to a text."""
    pieces: list[Piece] = [piece if isinstance(piece, bytes) else encode(piece) for piece in tokenizer.decoder().pieces]
    return pieces[: len(pieces) - tokenizer.specials] + [NO_TEXT] * tokenizer.specials
