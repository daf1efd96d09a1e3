"""The probability of a sentence, summed over all its derivations: the inside algorithm (Baker, 1979), for any grammar.

Long rules are cut in two, A -> X (rest), and the rest again. Then in(A, i, j), the probability that A becomes the words
from i up to j, is for at least one word

    in(A, i, j) = Σ_B C[A, B] (p(B -> word, if j = i + 1) + Σ_{B -> X Y} p Σ_k in(X, i, k) in(Y, k, j))

C = (I - U)^-1 sums the endless ways from A to B without a word: by rules A -> B, and by rules with a part that becomes
nothing, U[A, X] = p(A -> X Y) e(Y), so that left recursion and empty alternatives are exact (Stolcke, 1995,
arXiv:cmp-lg/9411029, section 4.5). The probabilities e of becoming nothing are the least solution of
e(A) = Σ_r p(r) Π e(B in r), found by Newton's method from 0. The time is cubic in the number of words.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from rhapsode.languages.expectation import reachable
from rhapsode.languages.grammar import Grammar, Nonterminal, Right, Symbol, nullable

NEWTON = 64
"""Steps of Newton's method at most; it doubles the number of right digits with each."""


class Inside:
    """Probabilities of sentences. K symbols (nonterminals, rests of rules, words within longer rules), R cut rules."""

    def __init__(self, grammar: Grammar):
        self._place: dict[Hashable, int] = {left: i for i, left in enumerate(grammar.rules)}
        self._words = defaultdict[str, list[tuple[int, float]]](list)
        self._pairs: list[tuple[int, int, int, float]] = []
        self._single: list[tuple[int, int, float]] = []
        for left, right, p in grammar:
            self._add(self._place[left], right, p)
        self._empty = np.zeros(len(self._place))
        for left, e in empty_probabilities(grammar).items():
            self._empty[self._place[left]] = e
        for key, place in self._place.items():
            if isinstance(key, tuple):
                self._empty[place] = math.prod(self._empty[self._place[symbol]] for symbol in key)
        self._closure = _closure(self._units())
        self._rules = np.array([pair[:3] for pair in self._pairs], np.intp).reshape(-1, 3).T
        self._p = np.array([pair[3] for pair in self._pairs])

    def _add(self, left: int, right: Right, p: float) -> None:
        """Cut a rule into parts of at most two symbols."""
        if len(right) == 1 and not isinstance(right[0], Nonterminal):
            self._words[right[0]].append((left, p))
        elif len(right) == 1:
            self._single.append((left, self._place[right[0]], p))
        elif right:
            self._pairs.append((left, self._symbol(right[0]), self._rest(right[1:]), p))

    def _symbol(self, symbol: Symbol) -> int:
        """The place of a symbol within a longer rule."""
        if symbol not in self._place:
            self._place[symbol] = len(self._place)
            self._words[str(symbol)].append((self._place[symbol], 1.0))
        return self._place[symbol]

    def _rest(self, right: Right) -> int:
        """The place of what is left of a rule."""
        if len(right) == 1:
            return self._symbol(right[0])
        if right not in self._place:
            self._place[right] = len(self._place)
            self._add(self._place[right], right, 1.0)
        return self._place[right]

    def _units(self) -> np.ndarray:
        """U [K, K]: one step from a symbol to another without a word."""
        units = np.zeros((len(self._place), len(self._place)))
        for a, x, p in self._single:
            units[a, x] += p
        for a, x, y, p in self._pairs:
            units[a, x] += p * self._empty[y]
            units[a, y] += p * self._empty[x]
        return units

    def log_probability(self, words: Sequence[str]) -> float:
        """ln of the probability of the sentence; -inf if it is none."""
        if not words:
            return math.log(self._empty[0]) if self._empty[0] else -math.inf
        if not all(word in self._words for word in words):
            return -math.inf
        N, K = len(words), len(self._place)
        values, logs = np.zeros((N, N + 1, K)), np.full((N, N + 1), -math.inf)
        for width in range(1, N + 1):
            for i in range(N - width + 1):
                self._fill(values, logs, i, i + width, words)
        top = values[0, N, 0]
        return float(np.log(top) + logs[0, N]) if top else -math.inf

    def _fill(self, values: np.ndarray, logs: np.ndarray, i: int, j: int, words: Sequence[str]) -> None:
        """in(·, i, j) = values[i, j] exp(logs[i, j]), the largest value 1, so that long sentences do not underflow."""
        K, log = values.shape[2], 0.0
        direct: np.ndarray = np.zeros(K)
        if j == i + 1:
            for place, p in self._words[words[i]]:
                direct[place] += p
        else:
            scales = logs[i, i + 1 : j] + logs[i + 1 : j, j]
            log = float(scales.max())
            if log == -math.inf:
                return
            left, x, y = self._rules
            ways = np.exp(scales - log)[:, None] * values[i, i + 1 : j][:, x] * values[i + 1 : j, j][:, y]
            direct = np.bincount(left, self._p * ways.sum(0), K)
        inside = self._closure @ direct
        top = inside.max()
        if top > 0:
            values[i, j], logs[i, j] = inside / top, log + math.log(top)


def _closure(units: np.ndarray) -> np.ndarray:
    """(I - U)^-1 [K, K], with true zeros where no way leads."""
    one = np.eye(len(units))
    return np.where(reachable(units) | (one > 0), np.linalg.inv(one - units), 0.0)


def empty_probabilities(grammar: Grammar) -> dict[Nonterminal, float]:
    """The probability of becoming nothing, of the nonterminals where it is above 0."""
    place = {left: i for i, left in enumerate(sorted(nullable(grammar)))}
    rules = [rule for rule in grammar if rule.left in place and all(symbol in place for symbol in rule.right)]
    e = np.zeros(len(place))
    for _ in range(NEWTON):
        value, slope = -e, -np.eye(len(place))
        for left, right, p in rules:
            parts = [e[place[symbol]] for symbol in right]  # type: ignore[index]
            value[place[left]] += p * math.prod(parts)
            for i, symbol in enumerate(right):
                slope[place[left], place[symbol]] += p * math.prod(parts[:i] + parts[i + 1 :])  # type: ignore[index]
        step = np.linalg.solve(slope, -value)
        e += step
        if np.abs(step).max(initial=0.0) < 1e-15:
            break
    return {left: float(e[i]) for left, i in place.items()}
