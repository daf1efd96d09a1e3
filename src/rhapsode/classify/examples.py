"""Sequences as a classifier reads them: cut to pieces that are not too long, those of like length in one batch.

A sequence of more than `length` symbols is cut into the fewest pieces of nearly equal size. Each piece is trained on as
if it stood alone; the probabilities of the whole are the mean of those of its pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rhapsode.backends.classifier import LabelledBatch

POOL = 64
"""Batches whose sequences are sorted by length together; what a batch holds is random otherwise."""
POSITIONS = 8192
"""Most time steps times sequences that are read at once outside training, to bound the memory of activations."""


class Pieces(NamedTuple):
    """The pieces of many sequences."""

    ids: list[np.ndarray]
    """[N] each, int32"""
    of: np.ndarray
    """[P]: which sequence each belongs to"""


def cut(sequences: Sequence[np.ndarray], length: int) -> Pieces:
    """The pieces of sequences, none of them empty, of at most `length` symbols."""
    pieces = [np.array_split(ids, -(-len(ids) // length)) for ids in sequences]
    of = np.repeat(np.arange(len(sequences)), [len(own) for own in pieces])
    return Pieces([piece for own in pieces for piece in own], of)


def padded(pieces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """ids [T, B], filled up with zeros, and lengths [B]."""
    lengths = np.array([len(piece) for piece in pieces])
    ids = np.zeros((lengths.max(), len(pieces)), np.int32)
    for b, piece in enumerate(pieces):
        ids[: len(piece), b] = piece
    return ids, lengths


class Batches:
    """Training batches as a function of the step: every epoch reads each piece once, in an order of its own."""

    def __init__(self, pieces: Pieces, classes: np.ndarray, batch_size: int, seed: int):
        """`classes` [N] are those of the sequences."""
        self._pieces, self._classes = pieces.ids, classes[pieces.of].astype(np.int32)
        self._lengths = np.array([len(piece) for piece in pieces.ids])
        self._batch_size, self._seed = batch_size, seed
        self.steps_per_epoch = -(-len(pieces.ids) // batch_size)
        self._order: tuple[int, list[np.ndarray]] = (-1, [])

    def at(self, step: int) -> LabelledBatch:
        """The batch of this step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, self._epoch(epoch)
        chosen = self._order[1][position]
        ids, lengths = padded([self._pieces[i] for i in chosen])
        return LabelledBatch(ids, lengths, self._classes[chosen])

    def _epoch(self, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch, as numbers of pieces."""
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(len(self._pieces))
        batches = []
        for start in range(0, len(order), POOL * self._batch_size):
            pool = order[start : start + POOL * self._batch_size]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[i : i + self._batch_size] for i in range(0, len(pool), self._batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]


def by_length(pieces: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """All pieces, as numbers, in groups to be read at once."""
    lengths = np.array([len(piece) for piece in pieces])
    group: list[int] = []
    for i in np.argsort(lengths, kind="stable"):
        if group and (len(group) + 1) * lengths[i] > POSITIONS:
            yield np.array(group)
            group = []
        group.append(int(i))
    if group:
        yield np.array(group)
