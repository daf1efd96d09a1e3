"""A language made by a weighted grammar: sentences drawn from it, and what is known of it exactly."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

from rhapsode.errors import LanguageError
from rhapsode.languages.ambiguity import distribution, is_ll1
from rhapsode.languages.earley import Parser
from rhapsode.languages.expectation import check_ends, derivation_entropy, expected_words
from rhapsode.languages.grammar import Grammar, Nonterminal, Symbol
from rhapsode.languages.inside import Inside
from rhapsode.languages.notation import parse
from rhapsode.languages.sampler import Sampler


class Sample(NamedTuple):
    """A sentence that was drawn."""

    text: str
    nats: float
    """-ln of the probability of its derivation; of the sentence itself, where sentences have one derivation each"""


@dataclass(frozen=True)
class Entropy:
    """How uncertain the sentences of a language are, in nats. The end of a sentence counts as a token."""

    derivation: float
    """of a sentence together with its derivation"""
    sentence: float
    """of a sentence: exact, or, where `known_by` is bound, at most this"""
    words: float
    """expected number of words of a sentence"""
    known_by: Literal["LL(1)", "finite", "bound"]
    """how the sentence's is known: each sentence has one derivation (see `ambiguity`), so that it equals the
    derivation's; all sentences were listed; or it is not, and the derivation's is an upper bound"""

    @property
    def exact(self) -> bool:
        return self.known_by != "bound"

    @property
    def per_token(self) -> float:
        """Of a sentence, over its expected number of words and its end: what a perfect model's loss tends to."""
        return self.sentence / (self.words + 1)


class Language:
    """Sentences are words with one space between two. Every question about one takes it as text."""

    def __init__(self, grammar: str):
        """
        Args:
            grammar: as `rhapsode.languages.notation` describes it.

        Raises:
            LanguageError: it is no grammar, or one without end: sentences of infinite expected length, or none at all.
        """
        self.grammar: Grammar = parse(grammar)
        check_ends(self.grammar)

    @classmethod
    def load(cls, path: str | Path) -> Language:
        """The language of the grammar in a file.

        Raises:
            LanguageError: the file cannot be read, or see above; names the file.
        """
        try:
            return cls(Path(path).read_text("utf-8-sig"))
        except OSError as error:
            raise LanguageError(f"{path}: cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise LanguageError(f"{path}: is no UTF-8 text") from None
        except LanguageError as error:
            raise LanguageError(f"{path}: {error}") from None

    def samples(self, count: int, seed: int | None = None) -> list[Sample]:
        """`count` sentences drawn from the language, and the probabilities of how they came about."""
        derive = _deriver(self.grammar, random.Random(seed))
        return [next(derive) for _ in range(count)]

    def sentences(self, count: int, seed: int | None = None) -> list[str]:
        """`count` sentences drawn from the language."""
        return [sample.text for sample in self.samples(count, seed)]

    def belongs(self, sentence: str) -> bool:
        """Whether the sentence is one of the language."""
        return self._parser.belongs(_words(sentence))

    def log_probability(self, sentence: str) -> float:
        """ln of the probability that the language gives to the sentence; -inf if it is none of it."""
        return self._inside.log_probability(_words(sentence))

    @cached_property
    def entropy(self) -> Entropy:
        """Of its sentences, exactly."""
        derivation, words = derivation_entropy(self.grammar), expected_words(self.grammar)
        if is_ll1(self.grammar):
            return Entropy(derivation, derivation, words, "LL(1)")
        listed = distribution(self.grammar)
        if listed is None:
            return Entropy(derivation, derivation, words, "bound")
        return Entropy(derivation, -math.fsum(p * math.log(p) for p in listed.values()), words, "finite")

    @cached_property
    def _parser(self) -> Parser:
        return Parser(self.grammar)

    @cached_property
    def _inside(self) -> Inside:
        return Inside(self.grammar)


def nonsense() -> Language:
    """The made-up English of the theano_lstm tutorial: clauses strung together by marks, up to a full stop."""
    return Language(resources.files("rhapsode.languages").joinpath("nonsense.grammar").read_text("utf-8"))


def _words(sentence: str) -> list[str]:
    return sentence.split(" ") if sentence else []


def _deriver(grammar: Grammar, source: random.Random) -> Iterator[Sample]:
    """Endless samples. The symbols still to be replaced wait on a stack, so that no depth is too deep."""
    choose = {
        left: Sampler({rule: rule.probability for rule in rules}, source) for left, rules in grammar.rules.items()
    }
    while True:
        words, nats, stack = list[str](), 0.0, list[Symbol]([grammar.start])
        while stack:
            symbol = stack.pop()
            if isinstance(symbol, Nonterminal):
                rule = choose[symbol]()
                nats -= math.log(rule.probability)
                stack.extend(reversed(rule.right))
            else:
                words.append(symbol)
        yield Sample(" ".join(words), nats)
