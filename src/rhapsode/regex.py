"""Regular expressions as automata over the bytes of UTF-8: what a text that is written may be.

The syntax is that of Python's `re`, whose own parser reads it, and so is the meaning: the language of
``re.fullmatch``. What no automaton can follow (lookaround, backreferences) is refused. Thompson's construction
(doi:10.1145/363347.363387), with a character as its bytes, makes an automaton with many states at a time; the subset
construction of Rabin & Scott (doi:10.1147/rd.32.0114) one with a single state at a time. That one may be exponentially
larger, and is given up at a limit.
"""

from __future__ import annotations

import re
import re._constants as op
import re._parser as parser
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from rhapsode.errors import ConfigError
from rhapsode.matching import Automaton, from_arcs

NODES, STATES, POSITIONS = 100_000, 20_000, 2_000_000
"""Limits: the first automaton's states, the second one's, and those of the first that these stand for together."""
LAST, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)

Ranges = tuple[tuple[int, int], ...]
"""A set of code points: first and last of each run, in order, none touching the next."""
Tree = tuple[tuple[int, int, Any], ...]
"""A set of texts of bytes: (first byte, last byte, what follows: another tree; None: nothing) of each branch."""

UNSUPPORTED = {
    op.ASSERT: "lookaround",
    op.ASSERT_NOT: "lookaround",
    op.FAILURE: "lookaround",
    op.GROUPREF: "backreferences",
    op.GROUPREF_EXISTS: "conditions on groups",
    op.ATOMIC_GROUP: "atomic groups",
    op.POSSESSIVE_REPEAT: "possessive repeats",
    op.AT: "word boundaries or anchors inside (^ may only begin it, $ end it)",
}
CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}


class Regex(NamedTuple):
    """The automaton of a regular expression."""

    automaton: Automaton
    accepting: np.ndarray
    """[S], bool: whether the text so far matches as a whole"""


@lru_cache(maxsize=16)
def compile_regex(pattern: str) -> Regex:
    """The automaton of `pattern`.

    Raises:
        ConfigError: it is no regular expression, has something in it that is not supported, or is too complicated.
    """
    nodes = _Nodes(pattern)
    try:
        return _subsets(nodes, nodes.sequence(*_parsed(pattern), nodes.new()))
    except RecursionError:
        raise ConfigError("regex", pattern, "an expression with fewer groups in each other") from None


def _parsed(pattern: str) -> tuple[list[Any], int]:
    """The parts of the expression, but for anchors around all of it; and its flags."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse(pattern)
    except (re.error, OverflowError) as error:
        raise ConfigError("regex", pattern, f"a regular expression ({error})") from None
    parts = list(parsed)
    while parts and parts[0] in ((op.AT, op.AT_BEGINNING), (op.AT, op.AT_BEGINNING_STRING)):
        parts.pop(0)
    while parts and parts[-1] in ((op.AT, op.AT_END), (op.AT, op.AT_END_STRING)):
        parts.pop()
    return parts, parsed.state.flags


class _Nodes:
    """The first automaton, being built: node 0 is the start."""

    def __init__(self, pattern: str):
        self.pattern = pattern
        self.jumps: list[list[int]] = []
        """per node: where one may go without a byte"""
        self.arcs: list[list[tuple[int, int, int]]] = []
        """per node: (first byte, last byte, node)"""

    def new(self, *sources: int) -> int:
        """A new node, to which one may jump from `sources`."""
        if len(self.jumps) == NODES:
            raise too_complicated(self.pattern)
        self.jumps.append([])
        self.arcs.append([])
        for source in sources:
            self.jumps[source].append(len(self.jumps) - 1)
        return len(self.jumps) - 1

    def sequence(self, parts: Iterable[Any], flags: int, start: int) -> int:
        """The node after all parts, one after another, from node `start`."""
        for kind, value in parts:
            start = self._part(kind, value, flags, start)
        return start

    def _part(self, kind: Any, value: Any, flags: int, start: int) -> int:
        if kind in UNSUPPORTED:
            raise ConfigError("regex", self.pattern, f"a regular expression without {UNSUPPORTED[kind]}")
        if kind is op.BRANCH:
            return self.new(*[self.sequence(parts, flags, self.new(start)) for parts in value[1]])
        if kind is op.SUBPATTERN:
            _, added, removed, parts = value
            return self.sequence(parts, (flags | added) & ~removed, start)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, parts = value
            return self._repeat(least, most, parts, flags, start)
        return self._character(_tree(_ranges(kind, value, flags)), start)

    def _repeat(self, least: int, most: int, parts: Any, flags: int, start: int) -> int:
        for _ in range(least):
            start = self.sequence(parts, flags, self.new(start))
        if most is op.MAXREPEAT:
            loop = self.new(start)
            self.jumps[self.sequence(parts, flags, loop)].append(loop)
            return loop
        ways_out = [start]
        for _ in range(most - least):
            start = self.sequence(parts, flags, self.new(start))
            ways_out.append(start)
        return self.new(*ways_out)

    def _character(self, tree: Tree, start: int) -> int:
        """One character, whose bytes are one of the tree's texts."""
        end = self.new()
        made: dict[Any, int] = {None: end}

        def node(tree: Any) -> int:
            if tree not in made:
                made[tree] = self.new()
                self.arcs[made[tree]] = [(first, last, node(rest)) for first, last, rest in tree]
            return made[tree]

        self.jumps[start].append(node(tree))
        return end


def _subsets(nodes: _Nodes, end: int) -> Regex:
    """The second automaton: a state is a set of the first one's nodes, together with those that one may jump to."""
    numbers: dict[frozenset[int], int] = {}
    sets: list[frozenset[int]] = []
    positions = 0

    def number(targets: Iterable[int]) -> int:
        nonlocal positions
        reached = _closure(nodes, targets)
        if reached not in numbers:
            numbers[reached] = len(sets)
            sets.append(reached)
            positions += len(reached)
            if len(sets) > STATES or positions > POSITIONS:
                raise too_complicated(nodes.pattern)
        return numbers[reached]

    number([0])
    arcs: list[dict[int, int]] = []
    for reached in sets:  # grows meanwhile
        own: dict[int, int] = {}
        for first, last, targets in _ways([arc for node in reached for arc in nodes.arcs[node]]):
            own |= dict.fromkeys(range(first, last + 1), number(targets))
        arcs.append(own)
    return Regex(from_arcs(arcs, {}), np.array([end in reached for reached in sets]))


def _ways(arcs: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, frozenset[int]]]:
    """The runs of bytes that lead to the same nodes: (first, last, nodes)."""
    cuts = sorted({first for first, _, _ in arcs} | {last + 1 for _, last, _ in arcs})
    place = {cut: i for i, cut in enumerate(cuts)}
    targets: list[list[int]] = [[] for _ in cuts]
    for first, last, node in arcs:
        for i in range(place[first], place[last + 1]):
            targets[i].append(node)
    for i, there in enumerate(targets):
        if there:
            yield cuts[i], cuts[i + 1] - 1, frozenset(there)


def _closure(nodes: _Nodes, starts: Iterable[int]) -> frozenset[int]:
    """The nodes themselves and all that one may jump to from them."""
    reached = set(starts)
    waiting = list(reached)
    while waiting:
        for there in nodes.jumps[waiting.pop()]:
            if there not in reached:
                reached.add(there)
                waiting.append(there)
    return frozenset(reached)


def too_complicated(pattern: str) -> ConfigError:
    """What is said of an expression whose automaton passes a limit."""
    return ConfigError("regex", pattern, f"an expression that needs at most {STATES:,} states: with fewer repetitions")


# Characters: sets of code points, and their bytes.


def _ranges(kind: Any, value: Any, flags: int) -> Ranges:
    """The characters that a part of the expression stands for."""
    if kind is op.ANY:
        return ((0, LAST),) if flags & re.DOTALL else ((0, 9), (11, LAST))
    if kind is op.NOT_LITERAL:
        return _complement(_ranges(op.LITERAL, value, flags))
    if kind is op.LITERAL:
        kind, value = op.IN, [(op.LITERAL, value)]
    if kind is not op.IN:
        raise AssertionError(f"unknown part of a regular expression: {kind}")
    negated = value[0][0] is op.NEGATE
    runs: list[tuple[int, int]] = []
    for inner, item in value[negated:]:
        if inner is op.CATEGORY:
            runs += _scanned(CATEGORIES[item], flags & re.ASCII)
        else:
            runs.append((item, item) if inner is op.LITERAL else item)
    ranges = _joined(runs)
    if flags & re.IGNORECASE:
        inside = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
        ranges = _scanned(f"[{inside}]", flags & (re.IGNORECASE | re.ASCII))
    return _complement(ranges) if negated else ranges


@lru_cache(maxsize=64)
def _scanned(one: str, flags: int) -> Ranges:
    """The characters that the expression `one` matches, found by trying each."""
    runs = re.finditer(f"{one}+", _characters(), flags)
    return _joined((ord(run[0][0]), ord(run[0][-1])) for run in runs)


@lru_cache(maxsize=1)
def _characters() -> str:
    return "".join(map(chr, range(LAST + 1)))


def _joined(runs: Iterable[tuple[int, int]]) -> Ranges:
    """The same set, in order and with nothing twice."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)


def _complement(ranges: Ranges) -> Ranges:
    """All other code points."""
    edges = [0, *(edge for first, last in ranges for edge in (first - 1, last + 1)), LAST]
    return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a <= b)


@lru_cache(maxsize=256)
def _tree(ranges: Ranges) -> Tree:
    """The characters' bytes; surrogates, which have none, are left out."""
    low, high = SURROGATES
    halves = [(a, min(b, low - 1)) for a, b in ranges] + [(max(a, high + 1), b) for a, b in ranges]
    return _branches([bytes_ for a, b in sorted(halves) if a <= b for bytes_ in _encoded(a, b)])


def _branches(texts: Sequence[tuple[tuple[int, int], ...]]) -> Any:
    """The tree of texts whose bytes are given as ranges. Ranges at one place are equal or have nothing in common."""
    if texts == [()]:
        return None
    groups = groupby(texts, key=lambda text: text[0])
    return tuple((*byte, _branches([text[1:] for text in group])) for byte, group in groups)


def _encoded(first: int, last: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """UTF-8 of the characters from `first` to `last`: runs of characters, as the range of each of their bytes."""
    for bound in (0x7F, 0x7FF, 0xFFFF):
        if first <= bound < last:
            yield from _encoded(first, bound)
            yield from _encoded(bound + 1, last)
            return
    low, high = chr(first).encode(), chr(last).encode()
    for i in range(1, len(low)):
        block = (1 << 6 * i) - 1  # characters that differ in their last i bytes alone
        if first & ~block != last & ~block:
            if first & block:
                yield from _encoded(first, first | block)
                yield from _encoded((first | block) + 1, last)
                return
            if last & block != block:
                yield from _encoded(first, (last & ~block) - 1)
                yield from _encoded(last & ~block, last)
                return
    yield tuple(zip(low, high, strict=True))
