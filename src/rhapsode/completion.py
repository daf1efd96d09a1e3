"""Texts that must match as a whole: which symbols leave a way to a match open, in how few more.

The rules that a text has to keep (regular expression, bans, alphabet) are followed together, from where the text begins
to wherever the model's symbols can lead. Going back from the places where the expression matches gives for each place
the fewest symbols to there: what leads nowhere, or too far for the length that is left, is never written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from rhapsode.matching import Table

ENTRIES = 2**25
"""Largest table: states times symbols."""
FAR = np.iinfo(np.int32).max
"""Steps where no text can be completed."""

Fill = Callable[[int], np.ndarray]
"""The row of a rule's state, as in `Table`."""


def completion(fills: Sequence[Fill], starts: Sequence[int], complete: np.ndarray) -> Table | None:
    """The table of all rules together, all of it known; None if it is too large.

    Args:
        fills: the rules.
        starts: their states at the beginning; state 0 of the table.
        complete: for each state of the first rule, whether a text may end there.
    """
    places, rows = [tuple(starts)], []
    numbers = {places[0]: 0}
    for place in places:  # grows meanwhile
        parts = np.stack([fill(state) for fill, state in zip(fills, place, strict=True)])
        rows.append(_numbered(parts, numbers, places))
        if len(places) * parts.shape[1] > ENTRIES:
            return None
    table = np.stack(rows)
    steps = _steps(table, np.array([complete[place[0]] for place in places]))
    table[(table >= 0) & (steps[table] == FAR)] = -1
    return known_table(table, steps)


def known_table(rows: np.ndarray, steps: np.ndarray | None = None) -> Table:
    """The table of these rows [S, V]."""
    table = Table(rows.__getitem__, len(rows), steps)
    table.rows, table.row_of = rows, np.arange(len(rows), dtype=np.int32)
    return table


def _numbered(parts: np.ndarray, numbers: dict[tuple[int, ...], int], places: list[tuple[int, ...]]) -> np.ndarray:
    """Where each symbol leads [V], from where it leads each rule [rules, V]: -1 if one of them objects."""
    row = np.full(parts.shape[1], -1, np.int32)
    allowed = np.flatnonzero((parts >= 0).all(0))
    found, where = np.unique(parts[:, allowed], axis=1, return_inverse=True)
    there = []
    for place in map(tuple, found.T.tolist()):
        if place not in numbers:
            numbers[place] = len(places)
            places.append(place)
        there.append(numbers[place])
    row[allowed] = np.array(there, np.int32)[where.reshape(-1)]
    return row


def _steps(table: np.ndarray, complete: np.ndarray) -> np.ndarray:
    """[S], int32: the fewest symbols to a state that is complete; breadth first, backwards."""
    before: list[list[int]] = [[] for _ in table]
    for state, row in enumerate(table):
        for there in set(row.tolist()) - {-1}:
            before[there].append(state)
    steps = np.where(complete, 0, FAR).astype(np.int32)
    queue = deque(np.flatnonzero(complete).tolist())
    while queue:
        there = queue.popleft()
        for state in before[there]:
            if steps[state] == FAR:
                steps[state] = steps[there] + 1
                queue.append(state)
    return steps
