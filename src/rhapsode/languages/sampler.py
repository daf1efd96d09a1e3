"""A weighted table to draw from."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from numbers import Real
from typing import Any, Generic, TypeVar

from rhapsode.errors import LanguageError

Entry = TypeVar("Entry")


class Sampler(Generic[Entry]):
    """Calling it draws an entry.

    >>> coin = Sampler({"heads": 1, "tails": 1}, seed=0)
    >>> coin()
    'tails'
    """

    def __init__(
        self, table: Mapping[Entry, float] | list[Entry] | tuple[Entry, ...], seed: int | random.Random | None = None
    ):
        """
        Args:
            table: entries with their weights, which need not sum to anything; or a list of equally likely ones.
            seed: same seed, same draws; none: others each time; or the source of random numbers itself.

        Raises:
            LanguageError: the table is empty, a weight is negative or no number, or all are zero.
        """
        if not isinstance(table, Mapping | list | tuple):
            raise LanguageError(f"sampler: found {type(table).__name__}, allowed: entries with weights, or a list")
        weights = list(table.values()) if isinstance(table, Mapping) else [1.0] * len(table)
        self.entries = tuple(table)
        for entry, weight in zip(self.entries, weights, strict=True):
            if not is_weight(weight):
                raise LanguageError(f"sampler: weight of {entry!r}: found {weight!r}, allowed: a number from 0")
        self.probabilities = normalised(weights)
        self._ends = list(accumulate(self.probabilities))
        self._last = max(i for i, p in enumerate(self.probabilities) if p > 0)
        self._random = seed if isinstance(seed, random.Random) else random.Random(seed)

    def __call__(self) -> Entry:
        return self.entries[bisect_right(self._ends, self._random.random(), 0, self._last)]

    @property
    def entropy(self) -> float:
        """Nats a draw."""
        return -math.fsum(p * math.log(p) for p in self.probabilities if p > 0)


def is_weight(value: Any) -> bool:
    """Whether `value` is a finite number from 0."""
    return issubclass(type(value), Real) and not isinstance(value, bool) and 0 <= value < math.inf


def normalised(weights: list[float]) -> tuple[float, ...]:
    """The weights over their sum.

    Raises:
        LanguageError: there are none, or all are zero.
    """
    if not any(weights):
        found = "only weights of zero" if weights else "an empty table"
        raise LanguageError(f"sampler: found {found}, allowed: at least one entry of a weight above 0")
    largest = max(weights)
    scaled = [float(weight / largest) for weight in weights]  # so that the sum cannot overflow
    total = math.fsum(scaled)
    return tuple(weight / total for weight in scaled)
