"""Strings in text that is being written: found, kept out, or allowed, byte by byte.

Text is matched as UTF-8, so that tokens which are parts of characters can be followed too. UTF-8 synchronises itself:
a string occurs in a text exactly where its bytes occur in the text's bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np

Piece = Sequence[int]
"""What a symbol adds to a text: bytes, or `NO_TEXT`."""
NO_TEXT: Piece = (256,)
"""Of a symbol that is no text: more than any byte, so that no string goes across it."""


def encode(text: str) -> bytes:
    """UTF-8; unpaired surrogates become bytes that no text has."""
    return text.encode("utf-8", "surrogatepass")


class Matcher:
    """Where any of several strings ends: the automaton of Aho & Corasick (1975), doi:10.1145/360825.360855.

    A state is a number; 0 is the start. It stands for the longest end of the text so far that begins some string.
    """

    def __init__(self, strings: Sequence[bytes]):
        self._next: list[dict[int, int]] = [{}]
        self._fail = [0]
        self.depth = [0]
        """per state: how many of the last bytes may still become a string"""
        self.found: list[tuple[int, ...]] = [()]
        """per state: which strings end here, the longest first"""
        for number, string in enumerate(strings):
            state = self._insert(string)
            self.found[state] += (number,)
        self._link()

    def step(self, state: int, byte: int) -> int:
        """The state after one more byte."""
        while byte not in self._next[state]:
            if state == 0:
                return 0
            state = self._fail[state]
        return self._next[state][byte]

    def _insert(self, string: bytes) -> int:
        state = 0
        for byte in string:
            if byte not in self._next[state]:
                self._next[state][byte] = len(self._next)
                self._next.append({})
                self._fail.append(0)
                self.depth.append(self.depth[state] + 1)
                self.found.append(())
            state = self._next[state][byte]
        return state

    def _link(self) -> None:
        """Where to go on when no string goes on: the longest shorter end. Shallow states come first."""
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            self.found[state] += self.found[self._fail[state]]
            for byte, child in self._next[state].items():
                self._fail[child] = self.step(self._fail[state], byte)
                queue.append(child)


class Rule(Protocol):
    """What may be written, as an automaton over bytes."""

    def walk(self, state: int, piece: Piece) -> tuple[int, bool]:
        """The state after `piece`, and whether the rule allows to write it."""
        ...


class Banned:
    """No string may be completed."""

    def __init__(self, matcher: Matcher):
        self._matcher = matcher

    def walk(self, state: int, piece: Piece) -> tuple[int, bool]:
        allowed = True
        for byte in piece:
            state = self._matcher.step(state, byte)
            allowed = allowed and not self._matcher.found[state]
        return state, allowed


class Only:
    """No characters but these, and nothing that is no text within one. A state is a begun character; 0: none is."""

    def __init__(self, characters: str):
        self._next: dict[tuple[int, int], int] = {(0, NO_TEXT[0]): 0}
        for character in characters:
            state, code = 0, encode(character)
            for byte in code[:-1]:
                state = self._next.setdefault((state, byte), len(self._next) + 1)
            self._next[state, code[-1]] = 0

    def walk(self, state: int, piece: Piece) -> tuple[int, bool]:
        allowed = True
        for byte in piece:
            allowed = allowed and (state, byte) in self._next
            state = self._next.get((state, byte), self._next.get((0, byte), 0))
        return state, allowed


class Allowed:
    """For each state of a rule, which symbols it allows; worked out when first asked for."""

    def __init__(self, rule: Rule, pieces: Sequence[Piece]):
        self._rule, self._pieces = rule, pieces
        self._masks: dict[int, np.ndarray] = {}
        self._steady: dict[int, bool] = {}

    def mask(self, state: int) -> np.ndarray:
        """Allowed symbols [V], bool."""
        if state not in self._masks:
            self._masks[state] = np.array([self._rule.walk(state, piece)[1] for piece in self._pieces])
        return self._masks[state]

    def steady(self, state: int) -> bool:
        """Whether nothing that may be written leads to another state, so that the mask stays."""
        if state not in self._steady:
            self._steady[state] = all(self.after(state, int(id)) == state for id in np.flatnonzero(self.mask(state)))
        return self._steady[state]

    def after(self, state: int, id: int) -> int:
        """The state after the symbol `id`."""
        return self._rule.walk(state, self._pieces[id])[0]
