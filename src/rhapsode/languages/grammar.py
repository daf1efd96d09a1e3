"""Weighted context-free grammars: what they are. What can be asked of them is told by the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rhapsode.errors import LanguageError
from rhapsode.languages.sampler import normalised


@dataclass(frozen=True, order=True, slots=True)
class Nonterminal:
    """A symbol that is replaced by one of its alternatives."""

    name: str

    def __str__(self) -> str:
        return f"<{self.name}>"


Symbol = Nonterminal | str
"""Terminals are words: text that is not empty and has no white space in it."""
Right = tuple[Symbol, ...]


class Rule(NamedTuple):
    """`left` is replaced by the symbols of `right` with this probability, above 0."""

    left: Nonterminal
    right: Right
    probability: float


@dataclass(frozen=True)
class Grammar:
    """The rules of each nonterminal that can be reached from `start`; their probabilities sum to 1."""

    start: Nonterminal
    rules: Mapping[Nonterminal, tuple[Rule, ...]]

    def __iter__(self) -> Iterator[Rule]:
        """All rules."""
        return (rule for rules in self.rules.values() for rule in rules)

    @classmethod
    def of(cls, start: Nonterminal, weighted: Mapping[Nonterminal, Mapping[Right, float]]) -> Grammar:
        """The grammar of these alternatives and weights, which are numbers from 0. One of weight 0 is none.

        Raises:
            LanguageError: all alternatives of a nonterminal have weight 0, or a nonterminal has none.
        """
        rules = {left: _rules(left, alternatives) for left, alternatives in weighted.items()}
        for rule in (rule for several in rules.values() for rule in several):
            for symbol in nonterminals(rule.right):
                if symbol not in rules:
                    raise LanguageError(f"{symbol} is used by {rule.left} and has no rule")
        reached, waiting = {start: rules[start]}, [start]
        while waiting:
            for symbol in (symbol for rule in rules[waiting.pop()] for symbol in nonterminals(rule.right)):
                if symbol not in reached:
                    reached[symbol] = rules[symbol]
                    waiting.append(symbol)
        return cls(start, reached)


def _rules(left: Nonterminal, alternatives: Mapping[Right, float]) -> tuple[Rule, ...]:
    """The rules of one nonterminal."""
    if not any(alternatives.values()):
        raise LanguageError(f"{left} has only alternatives of weight 0, allowed: at least one above 0")
    probabilities = normalised(list(alternatives.values()))
    return tuple(Rule(left, right, p) for right, p in zip(alternatives, probabilities, strict=True) if p > 0)


def nonterminals(right: Right) -> list[Nonterminal]:
    """Those among the symbols, in order, as often as they are there."""
    return [symbol for symbol in right if isinstance(symbol, Nonterminal)]


def some_derivation(grammar: Grammar, allowed: Callable[[str], bool]) -> set[Nonterminal]:
    """The nonterminals from which some derivation leads to allowed terminals only, or to nothing."""
    found: set[Nonterminal] = set()
    while True:
        more = {
            rule.left
            for rule in grammar
            if rule.left not in found
            and all(s in found if isinstance(s, Nonterminal) else allowed(s) for s in rule.right)
        }
        if not more:
            return found
        found |= more


def nullable(grammar: Grammar) -> set[Nonterminal]:
    """The nonterminals that may become nothing."""
    return some_derivation(grammar, lambda terminal: False)
