"""Whose style is it? Two models' opinions of one text, line by line: which of them finds it likelier, and by how much.

The log-likelihood ratio of a piece of text is ln p(text) under the one model minus that under the other: above 0 the
first finds it likelier. It compares models with different tokenizers, as the text is the same. Text that a model has no
symbol for is cheap to it, so a piece with any is not compared, and counts in no sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from rhapsode.analysis.surprisal import Unit
from rhapsode.errors import ConfigError
from rhapsode.evaluate import bits
from rhapsode.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Compared(Unit):
    """A line, a character or a file, and what it costs the first model and, `against_`, the second one."""

    against_nats: float
    against_bits_per_char: float
    comparable: bool
    """both models know all of it"""

    @property
    def log_ratio(self) -> float:
        """The log-likelihood ratio, nats."""
        return self.against_nats - self.nats

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"log_ratio": self.log_ratio if self.comparable else None}


def compare(
    units: Sequence[Unit], against: Sequence[Unit], texts: Sequence[str], tokenizers: Sequence[Tokenizer]
) -> list[Compared]:
    """The same units as two models, with these tokenizers, score them; `texts`: that of each unit.

    Raises:
        ConfigError: they are not the same units: characters, of which one model's lower case has more.
    """
    if len(units) != len(against):
        raise ConfigError("by", "char", "line, file: one of the models reads lower case, which is longer in this text")
    knows = [_knowledge(tokenizer) for tokenizer in tokenizers]
    return [
        Compared(
            **vars(a), against_nats=b.nats, against_bits_per_char=b.bits_per_char, comparable=all(k(t) for k in knows)
        )
        for a, b, t in zip(units, against, texts, strict=True)
    ]


def _knowledge(tokenizer: Tokenizer) -> Any:
    """A function that tells whether a text has a symbol for everything."""
    return lru_cache(maxsize=4096)(lambda text: tokenizer.unknown not in cast(Any, tokenizer.encode(text)))


def verdict(units: Sequence[Compared]) -> dict[str, Any]:
    """The figures of all that can be compared, together."""
    both = [unit for unit in units if unit.comparable]
    chars = sum(unit.chars for unit in both)
    nats, against = math.fsum(unit.nats for unit in both), math.fsum(unit.against_nats for unit in both)
    return {
        "compared": len(both),
        "compared_chars": chars,
        "compared_nats": nats,
        "against_nats": against,
        "compared_bits_per_char": bits(nats, chars),
        "against_bits_per_char": bits(against, chars),
        "log_ratio": against - nats,
        "likelier": sum(unit.log_ratio > 0 for unit in both),
        "against_likelier": sum(unit.log_ratio < 0 for unit in both),
    }
