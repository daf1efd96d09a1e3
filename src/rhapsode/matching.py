"""Strings in text that is being written: found, kept out, or allowed, byte by byte.

Text is matched as UTF-8, so that tokens which are parts of characters can be followed too. UTF-8 synchronises itself:
a string occurs in a text exactly where its bytes occur in the text's bytes.

Rules are automata over bytes (`Automaton`); of these come automata over a model's symbols (`Table`), which both engines
follow while they write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

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

    def table(self) -> np.ndarray:
        """The state after each byte [S, 257], int32; no string goes across what is no text."""
        table = np.zeros((len(self._next), 257), np.int32)
        for state in sorted(range(len(self._next)), key=self.depth.__getitem__):
            if state:
                table[state] = table[self._fail[state]]
            for byte, child in self._next[state].items():
                table[state, byte] = child
        return table

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


class Automaton(NamedTuple):
    """A rule over the bytes of a text, as a table. State 0 is the start; column 256 is what is no text."""

    next: np.ndarray
    """[S, 257], int32: the state after each byte"""
    objects: np.ndarray
    """[S, 257], bool: whether the rule forbids it there"""

    def run(self, pieces: Iterable[Piece], state: int = 0) -> tuple[int, bool]:
        """The state after all bytes of `pieces`, and whether the rule objected to any."""
        objected = False
        for piece in pieces:
            for byte in piece:
                objected = objected or bool(self.objects[state, byte])
                state = int(self.next[state, byte])
        return state, objected


def banned(matcher: Matcher) -> Automaton:
    """No string may be completed. States are the matcher's."""
    return Automaton(table := matcher.table(), np.array([bool(found) for found in matcher.found])[table])


def only(characters: str) -> Automaton:
    """No characters but these, and nothing that is no text within one. A state is a begun character; 0: none is."""
    children: list[dict[int, int]] = [{NO_TEXT[0]: 0}]
    for character in characters:
        state, code = 0, encode(character)
        for byte in code[:-1]:
            if byte not in children[state]:
                children[state][byte] = len(children)
                children.append({})
            state = children[state][byte]
        children[state][code[-1]] = 0
    return from_arcs(children, elsewhere=children[0])


def from_arcs(arcs: Sequence[Mapping[int, int]], elsewhere: Mapping[int, int]) -> Automaton:
    """The automaton that goes from state s with a byte b to arcs[s][b], and objects to bytes that have no arc there.

    After one of those it is where `elsewhere` says, or at the start.
    """
    next, objects = np.zeros((len(arcs), 257), np.int32), np.ones((len(arcs), 257), bool)
    for byte, state in elsewhere.items():
        next[:, byte] = state
    for state, own in enumerate(arcs):
        bytes_ = list(own)
        next[state, bytes_], objects[state, bytes_] = list(own.values()), False
    return Automaton(next, objects)


class Pieces:
    """What each of V symbols adds to a text, for walking an automaton over all of them at once."""

    def __init__(self, pieces: Sequence[Piece]):
        self._pieces = pieces
        sizes = np.array([len(piece) for piece in pieces])
        self._order = np.argsort(-sizes, kind="stable")
        self._longer = [int(np.count_nonzero(sizes > j)) for j in range(sizes.max(initial=0))]
        self._bytes = np.zeros((len(pieces), len(self._longer)), np.int16)
        for place, id in enumerate(self._order):
            self._bytes[place, : sizes[id]] = list(pieces[id])

    def __getitem__(self, id: int) -> Piece:
        return self._pieces[id]

    def __len__(self) -> int:
        return len(self._pieces)

    def walk(self, automaton: Automaton, state: int) -> np.ndarray:
        """A row of a `Table`: where each symbol leads from `state`."""
        states, objected = np.full(len(self), state, np.int32), np.zeros(len(self), bool)
        for j, n in enumerate(self._longer):
            here, byte = states[:n], self._bytes[:n, j]
            objected[:n] |= automaton.objects[here, byte]
            states[:n] = automaton.next[here, byte]
        row = np.empty_like(states)
        row[self._order] = np.where(objected, ~states, states)
        return row


class Table:
    """A rule over symbols. States are numbers from 0; the row of one is worked out when it is first asked for.

    A row says for each symbol which state it leads to: s, or ~s (negative) where the rule objects to the symbol.
    """

    def __init__(self, fill: Callable[[int], np.ndarray], states: int, steps: np.ndarray | None = None):
        """`fill` makes the row [V], int32, of a state; `steps` as below."""
        self._fill, self._size = fill, 0
        self.rows = np.empty((0, 0), np.int32)
        """[R, V]: the rows that are known, and room for more"""
        self.row_of = np.full(states, -1, np.int32)
        """[S]: which of them is a state's; -1: it is not known yet"""
        self.steps = steps
        """[S], int32: the fewest symbols from there to a text that is complete; None: there is no such thing"""

    def row(self, state: int) -> np.ndarray:
        """[V], int32: where each symbol leads."""
        if self.row_of[state] < 0:
            row = self._fill(state)
            if self._size == len(self.rows):
                self.rows = np.concatenate(
                    [self.rows.reshape(-1, len(row)), np.zeros((self._size + 4, len(row)), np.int32)]
                )
            self.rows[self._size] = row
            self.row_of[state] = self._size
            self._size += 1
        return self.rows[self.row_of[state]]

    def mask(self, state: int) -> np.ndarray:
        """[V], bool: the symbols that the rule does not object to."""
        return self.row(state) >= 0

    def after(self, state: int, id: int) -> int:
        """The state after the symbol `id`."""
        there = int(self.row(state)[id])
        return max(there, ~there)


def table_of(automaton: Automaton, pieces: Pieces) -> Table:
    """The automaton, over symbols instead of bytes."""
    return Table(lambda state: pieces.walk(automaton, state), len(automaton.next))
