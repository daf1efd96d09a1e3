"""Which part of the text is held out.

tail        the training part is the first (1 - held_out) of the characters, rounded down, as nanoGPT splits. The cut
            may fall into a document, whose rest then opens the held-out part.
documents   whole documents, drawn by a hash of seed and text: equal documents land on the same side, and no
            document's side depends on where it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, CorpusError
from rhapsode.text.spool import Spool

FROM_DOCUMENTS = 100
"""So many documents are split by documents, unless asked otherwise."""
MOST_CHARS = 1_000_000
"""Held out without being asked: enough for a loss that is certain to a thousandth."""
STRIDE = 1 << 16
"""Documents handled at a time."""


class Segment(NamedTuple):
    """Consecutive text of one document that goes to one part."""

    document: int
    chars: int
    held_out: bool
    ends_document: bool


def segments(spool: Spool, config: CorpusConfig) -> Iterator[Segment]:
    """All of the text, in order.

    Raises:
        ConfigError: `held_out` is a number of documents, but not whole, or the split is to be at the tail.
        CorpusError: there are not enough documents, or they are too much alike.
    """
    share = held_out_share(config, spool.chars)
    if splits_documents(spool, config):
        return _drawn(spool, _draw(spool.draws, _wanted(share, len(spool.lengths))))
    return _tail(spool, spool.chars if share == 0 else int((1 - share) * spool.chars))


def splits_documents(spool: Spool, config: CorpusConfig) -> bool:
    """Whether whole documents are held out (ConfigError: `held_out` is no number of documents, though it has to be)."""
    share = held_out_share(config, spool.chars)
    return share > 0 and _by_documents(config, share, len(spool.lengths))


def held_out_share(config: CorpusConfig, chars: int) -> Fraction:
    """The part of so many characters that is held out, or from 1 on the number of documents, exactly."""
    if config.held_out is not None:
        return Fraction(repr(config.held_out))
    return min(Fraction(1, 10), Fraction(MOST_CHARS, max(1, chars)))


def _by_documents(config: CorpusConfig, share: Fraction, count: int) -> bool:
    if share < 1:
        return config.split == "documents" or (config.split == "auto" and count >= FROM_DOCUMENTS)
    if config.split == "tail":
        raise ConfigError("held_out", config.held_out, "a part below 1 with split tail")
    if share.denominator != 1:
        raise ConfigError("held_out", config.held_out, "a part below 1 or a whole number of documents")
    return True


def _wanted(share: Fraction, count: int) -> int:
    """How many documents to hold out."""
    wanted = int(share) if share >= 1 else max(1, int(share * count))
    if wanted >= count:
        raise CorpusError(
            f"--held-out of {wanted:,} documents: expected at least {wanted + 1:,}, found {count:,} in the text "
            "(--documents says what one is)"
        )
    return wanted


def _tail(spool: Spool, cut: int) -> Iterator[Segment]:
    start = 0
    for low in range(0, len(spool.lengths), STRIDE):
        for document, length in enumerate(spool.lengths[low : low + STRIDE].tolist(), low):
            before = min(max(cut - start, 0), length)
            if before:
                yield Segment(document, before, False, before == length)
            if before < length:
                yield Segment(document, length - before, True, True)
            start += length


class _Draw(NamedTuple):
    """Documents whose draw is below `below`, or one of `others`, are held out."""

    below: int
    others: np.ndarray


def _drawn(spool: Spool, draw: _Draw) -> Iterator[Segment]:
    for low in range(0, len(spool.lengths), STRIDE):
        draws = spool.draws[low : low + STRIDE]
        held_out = (draws < np.uint64(draw.below)) | np.isin(draws, draw.others)
        lengths = spool.lengths[low : low + STRIDE].tolist()
        for document, (length, held) in enumerate(zip(lengths, held_out.tolist(), strict=True), low):
            yield Segment(document, length, held, True)


def _draw(draws: np.ndarray, wanted: int) -> _Draw:
    """Hold out the documents with the smallest draws: `wanted` of them, or as near below as equal documents allow.

    The range of draws is cut into bins of about `STRIDE` documents, so that no more are looked at together.
    """
    width = -(-(2**64) // max(1, len(draws) // STRIDE))
    below, left, others = 0, wanted, list[int]()
    for start in range(0, 2**64, width):
        values = _within(draws, start, min(start + width, 2**64) - 1)
        if below == start and len(values) <= left:
            below, left = start + width, left - len(values)
        else:
            chosen, left = _chosen(values, left)
            others += chosen
        if not left:
            break
    if left == wanted:
        raise CorpusError("no documents can be held out: too many are equal; use --split tail, or --held-out 0")
    return _Draw(below, np.array(others, np.uint64))


def _within(draws: np.ndarray, low: int, high: int) -> np.ndarray:
    """The draws from `low` to `high`."""
    found = []
    for at in range(0, len(draws), STRIDE):
        part = draws[at : at + STRIDE]
        found.append(part[(part >= np.uint64(low)) & (part <= np.uint64(high))])
    return np.concatenate(found)


def _chosen(values: np.ndarray, wanted: int) -> tuple[list[int], int]:
    """The smallest of `values`, whole groups of equal ones, that come to at most `wanted`; and what is left of it."""
    chosen = []
    groups, sizes = np.unique(values, return_counts=True)
    for group, size in zip(groups.tolist(), sizes.tolist(), strict=True):
        if size <= wanted:
            chosen.append(group)
            wanted -= size
    return chosen, wanted
