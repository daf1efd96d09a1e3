"""Whether a sentence belongs to a language: Earley's parser (1970, doi:10.1145/362007.362035), for any grammar.

An item (rule, dot, origin) says: from word `origin` to here, the symbols of `rule` before `dot` have been found. A
nonterminal that may become nothing is stepped over as soon as it is predicted (Aycock and Horspool, 2002,
doi:10.1093/comjnl/45.6.620). The time is at most cubic in the number of words, linear for most grammars in use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from rhapsode.languages.grammar import Grammar, Nonterminal, Right, nullable


class _Item(NamedTuple):
    rule: int
    dot: int
    origin: int


_Waiting = dict[Nonterminal, list[_Item]]
"""The items of one place that wait for a nonterminal."""


class Parser:
    """Decides what belongs to the language of a grammar."""

    def __init__(self, grammar: Grammar):
        self.grammar, self._empty = grammar, nullable(grammar)
        self._left = [rule.left for rule in grammar]
        self._right: list[Right] = [rule.right for rule in grammar]
        self._by_word = defaultdict[tuple[Nonterminal, str], list[int]](list)
        self._others = defaultdict[Nonterminal, list[int]](list)
        for number, rule in enumerate(grammar):
            if rule.right and isinstance(rule.right[0], str):
                self._by_word[rule.left, rule.right[0]].append(number)
            else:
                self._others[rule.left].append(number)

    def belongs(self, words: Sequence[str]) -> bool:
        """Whether the words are a sentence."""
        waiting: list[_Waiting] = []
        scanned: list[_Item] = []
        for place, word in enumerate([*words, None]):
            waiting.append(defaultdict(list))
            if place == 0:
                scanned = self._predicted(self.grammar.start, word, 0)
            items = self._closure(scanned, waiting, word)
            scanned = [item._replace(dot=item.dot + 1) for item in items if word and self._next(item) == word]
            if not scanned:
                break
        return place == len(words) and any(self._is_whole(item) for item in items)

    def _closure(self, scanned: list[_Item], waiting: list[_Waiting], word: str | None) -> list[_Item]:
        """All items of a place, from those that follow from reading the word before it."""
        items, seen, place = list(scanned), set(scanned), len(waiting) - 1
        for item in items:  # grows
            symbol, new = self._next(item), list[_Item]()
            if symbol is None:
                new = [one._replace(dot=one.dot + 1) for one in waiting[item.origin][self._left[item.rule]]]
            elif isinstance(symbol, Nonterminal):
                waiting[place][symbol].append(item)
                new = self._predicted(symbol, word, place)
                if symbol in self._empty:
                    new.append(item._replace(dot=item.dot + 1))
            items += [one for one in new if one not in seen]
            seen.update(new)
        return items

    def _next(self, item: _Item) -> Nonterminal | str | None:
        """The symbol after the dot."""
        right = self._right[item.rule]
        return right[item.dot] if item.dot < len(right) else None

    def _predicted(self, left: Nonterminal, word: str | None, place: int) -> list[_Item]:
        """The beginnings of all rules of `left`, but those that begin with another word than comes next."""
        fitting = self._by_word.get((left, word), []) if word is not None else []
        return [_Item(rule, 0, place) for rule in (*fitting, *self._others.get(left, ()))]

    def _is_whole(self, item: _Item) -> bool:
        """Whether the item says that all words so far are a sentence."""
        return item.origin == 0 and self._next(item) is None and self._left[item.rule] == self.grammar.start
