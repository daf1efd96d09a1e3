"""Whether a sentence has only one derivation, as far as that can be known (in general nothing can decide it).

Two ways to know more of the sentences than of their derivations:

    LL(1)    once common beginnings of alternatives are put together, the next word, or the end, always tells which
             alternative was taken: every sentence has one derivation (Aho, Sethi and Ullman, Compilers, section 4.4)
    finite   a grammar without recursion: its sentences are listed with their probabilities, ambiguous or not
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from itertools import chain, product

from rhapsode.languages.expectation import expectation_matrix, recursive_groups
from rhapsode.languages.grammar import Grammar, Nonterminal, Right, nonterminals, nullable

MOST = 100_000
"""Ways to derive the nonterminals that are listed at most, all together."""
END = ""
"""What follows the last word."""

Words = tuple[str, ...]


def distribution(grammar: Grammar) -> dict[Words, float] | None:
    """All sentences with their probabilities; None where the grammar is recursive or has too many derivations."""
    if recursive_groups(expectation_matrix(grammar)):
        return None
    known: dict[Nonterminal, dict[Words, float]] = {}
    left_to_list = MOST
    for left in _innermost_first(grammar):
        found = defaultdict[Words, float](float)
        for rule in grammar.rules[left]:
            parts: list[Collection[tuple[Words, float]]] = [
                known[s].items() if isinstance(s, Nonterminal) else [((s,), 1.0)] for s in rule.right
            ]
            left_to_list -= math.prod(map(len, parts))
            if left_to_list < 0:
                return None
            for choice in product(*parts):
                words = tuple(chain.from_iterable(words for words, _ in choice))
                found[words] += rule.probability * math.prod(p for _, p in choice)
        known[left] = found
    return known[grammar.start]


def _innermost_first(grammar: Grammar) -> list[Nonterminal]:
    """The nonterminals of a grammar without recursion, each after those that its alternatives hold."""
    order: dict[Nonterminal, None] = {}
    while len(order) < len(grammar.rules):
        order |= {
            left: None
            for left, rules in grammar.rules.items()
            if all(symbol in order for rule in rules for symbol in nonterminals(rule.right))
        }
    return list(order)


def is_ll1(grammar: Grammar) -> bool:
    """Whether the next word, or the end, always tells how to go on, common beginnings of alternatives put together."""
    grammar = factored(grammar)
    empty, first = nullable(grammar), _first(grammar)
    follow = _follow(grammar, empty, first)
    for left, rules in grammar.rules.items():
        after = follow[left]
        openings = [_openings(r.right, empty, first) | (after if empty.issuperset(r.right) else set()) for r in rules]
        if len(set().union(*openings)) < sum(map(len, openings)):
            return False
    return True


def factored(grammar: Grammar) -> Grammar:
    """The grammar with `A -> X Y` and `A -> X Z` replaced by `A -> X B`, `B -> Y`, `B -> Z`, as often as can be. Its
    derivations are those of the grammar, one for one; its weights mean nothing."""
    todo = {left: [rule.right for rule in rules] for left, rules in grammar.rules.items()}
    done: dict[Nonterminal, dict[Right, float]] = {}
    while todo:
        left, rights = todo.popitem()
        groups = defaultdict[Right, list[Right]](list)
        for right in rights:
            groups[right[:1]].append(right)
        done[left] = {}
        for begin, alike in groups.items():
            if len(alike) == 1:
                done[left][alike[0]] = 1.0
            else:
                rest = Nonterminal(f"{left.name} {len(done) + len(todo)}")  # no name that is written has a space
                todo[rest] = [right[1:] for right in alike]
                done[left][(*begin, rest)] = 1.0
    return Grammar.of(grammar.start, done)


def _openings(right: Right, empty: set[Nonterminal], first: dict[Nonterminal, set[str]]) -> set[str]:
    """The words that may come first in what becomes of `right`."""
    found: set[str] = set()
    for symbol in right:
        found |= first[symbol] if isinstance(symbol, Nonterminal) else {symbol}
        if symbol not in empty:
            break
    return found


def _first(grammar: Grammar) -> dict[Nonterminal, set[str]]:
    """The words that each nonterminal may begin with."""
    empty, first = nullable(grammar), {left: set[str]() for left in grammar.rules}
    size = -1
    while size != (size := sum(map(len, first.values()))):
        for rule in grammar:
            first[rule.left] |= _openings(rule.right, empty, first)
    return first


def _follow(
    grammar: Grammar, empty: set[Nonterminal], first: dict[Nonterminal, set[str]]
) -> dict[Nonterminal, set[str]]:
    """The words that may come after each nonterminal, or the end."""
    follow = {left: {END} if left == grammar.start else set[str]() for left in grammar.rules}
    size = -1
    while size != (size := sum(map(len, follow.values()))):
        for rule in grammar:
            for i, symbol in enumerate(rule.right):
                if isinstance(symbol, Nonterminal):
                    rest = rule.right[i + 1 :]
                    follow[symbol] |= _openings(rest, empty, first)
                    if empty.issuperset(rest):
                        follow[symbol] |= follow[rule.left]
    return follow
