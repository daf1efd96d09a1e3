"""What a derivation holds on average, exactly: words, nats; and whether it ends at all.

M[A, B] is the expected number of B in what replaces A. If every use of a rule r adds `gain(r)` to some total, the
expected totals x of derivations from each nonterminal obey x = g + M x, where g[A] = Σ_r p(r) gain(r) over the rules of
A, so that

    x = (I - M)^-1 g.

With the gain 1 for each terminal x is the expected number of words; with -ln p(r), g[A] is the entropy of A's choice
and x the entropy of whole derivations, by the chain rule (Grenander, 1967). The sum I + M + M² + … that the inverse
stands for is finite if and only if the spectral radius of M is below 1 (Booth and Thompson, 1973,
doi:10.1109/T-C.1973.223746).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rhapsode.errors import LanguageError, listed
from rhapsode.languages.grammar import Grammar, Rule, nonterminals, some_derivation

MARGIN = 1e-9
"""A spectral radius this close to 1 counts as 1."""


def derivation_entropy(grammar: Grammar) -> float:
    """Nats: the expected -ln of a derivation's probability."""
    return expected(grammar, lambda rule: -math.log(rule.probability))


def expected_words(grammar: Grammar) -> float:
    """Words of a sentence."""
    return expected(grammar, lambda rule: len(rule.right) - len(nonterminals(rule.right)))


def expected(grammar: Grammar, gain: Callable[[Rule], float]) -> float:
    """The expected sum of `gain` over the rules used in a derivation."""
    gains = [math.fsum(rule.probability * gain(rule) for rule in rules) for rules in grammar.rules.values()]
    matrix = expectation_matrix(grammar)
    return float(np.linalg.solve(np.eye(len(matrix)) - matrix, gains)[0])


def expectation_matrix(grammar: Grammar) -> np.ndarray:
    """M, [N, N], in the order of `grammar.rules`, of which the start is the first."""
    place = {left: i for i, left in enumerate(grammar.rules)}
    matrix = np.zeros((len(place), len(place)))
    for rule in grammar:
        for symbol in nonterminals(rule.right):
            matrix[place[rule.left], place[symbol]] += rule.probability
    return matrix


def check_ends(grammar: Grammar) -> None:
    """Every derivation can end, and ends after finitely many steps on average.

    Raises:
        LanguageError: not so; names nonterminals at fault.
    """
    ending = some_derivation(grammar, lambda terminal: True)
    for left in grammar.rules:
        if left not in ending:
            raise LanguageError(f"a grammar without end: {left} never becomes words, whatever alternatives are taken")
    matrix, names = expectation_matrix(grammar), list(grammar.rules)
    for group in recursive_groups(matrix):
        radius = max(abs(np.linalg.eigvals(matrix[np.ix_(group, group)])))
        if radius >= 1 - MARGIN:
            raise LanguageError(
                f"a grammar without end: {listed((names[i] for i in group), 3)} leads back to itself "
                f"{radius:.4g} times on average, allowed: less than once"
            )


def recursive_groups(matrix: np.ndarray) -> list[np.ndarray]:
    """The groups of nonterminals that lead to one another, or one to itself (strong components with a cycle)."""
    reach = reachable(matrix)
    recursive = np.flatnonzero(reach.diagonal())
    mutual = reach & reach.T
    return [np.flatnonzero(mutual[i]) for i in recursive if np.flatnonzero(mutual[i])[0] == i]


def reachable(matrix: np.ndarray) -> np.ndarray:
    """Whether B can be reached from A in one step or more, [N, N], where matrix[A, B] > 0 is a step."""
    reach = matrix > 0
    for _ in range(len(matrix).bit_length()):  # paths of up to twice the length
        reach |= reach.astype(np.float32) @ reach.astype(np.float32) > 0
    return reach
