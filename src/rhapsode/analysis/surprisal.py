"""Where a text surprises a model: its cost by line, by character, by file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rhapsode.evaluate import bits
from rhapsode.scoring import Score
from rhapsode.text.reading import LINE_ENDS, lines

Piece = tuple[str, int, float]
"""Text, characters, nats."""


@dataclass(frozen=True)
class Unit:
    """A line, a character or a file, and what it costs."""

    file: str
    number: int
    """within the file, from 1"""
    text: str
    """without its line end; empty for a file and for the end of a document"""
    chars: int
    """line end included"""
    nats: float
    bits_per_char: float


def units(scores: Iterable[tuple[str, Score]], by: str) -> Iterator[Unit]:
    """Cut the scores of files' documents, (file, score) in order, into units by `line`, `char` or `file`."""
    for file, same in itertools.groupby(scores, key=lambda pair: pair[0]):
        pieces: Iterator[Piece] = (piece for _, score in same for piece in _CUTS[by](score))
        if by == "file":
            pieces = iter([_together(pieces)])
        for number, (text, chars, nats) in enumerate(pieces, 1):
            yield Unit(file, number, text, chars, nats, bits(nats, max(1, chars)))


def _lines(score: Score) -> Iterator[Piece]:
    """The end of a document counts with its last line."""
    found = list(lines([score.text])) or [""]
    ends = np.cumsum([len(line) for line in found])
    costs = np.diff(np.append(0.0, np.cumsum(score.per_char))[ends], prepend=0.0)
    costs[-1] += score.end
    for line, cost in zip(found, costs.tolist(), strict=True):
        yield line.rstrip(LINE_ENDS), len(line), cost


def _chars(score: Score) -> Iterator[Piece]:
    """The end of a document is a unit without a character."""
    for char, cost in zip(score.text, score.per_char.tolist(), strict=True):
        yield char, 1, cost
    if score.end:
        yield "", 0, score.end


def _whole(score: Score) -> Iterator[Piece]:
    yield "", score.chars, score.nats_total


def _together(pieces: Iterable[Piece]) -> Piece:
    _, chars, nats = zip(*pieces, strict=True)
    return "", sum(chars), math.fsum(nats)


_CUTS: dict[str, Callable[[Score], Iterator[Piece]]] = {"line": _lines, "char": _chars, "file": _whole}
