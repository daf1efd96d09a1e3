"""What the held-out part and the training part have in common, which makes a held-out loss look better than it is.

Documents on both sides are compared with each other: a held-out one is a near-duplicate if one training document has
at least half of its shingles, its stretches of about 16 characters. Each held-out document is known by the `SKETCH` of
its shingles with the smallest hashes (Broder 1997, doi:10.1109/SEQUEN.1997.666900), all shingles of the training
documents are looked up; so the likeness of two documents is known within 0.06, whatever their sizes. Shingles that
more than `SHARED` held-out documents have, such as a licence, do not count, nor do documents of fewer than `FEWEST`.

Where the text was cut in two, passages are looked for instead: stretches of about 64 characters of the held-out part
that the training part has word for word. Only those are looked at whose hash ends in zeros, the same on both sides.

Both go through the training part once, a block at a time, and need memory for a bounded number of hashes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from rhapsode.text.pages import Pages
from rhapsode.text.store import Part
from rhapsode.text.tokenizer import Tokenizer

SHINGLE, PASSAGE = 16, 64
"""Characters; in symbols a power of two."""
SKETCH, SHARED, FEWEST, LIKE = 64, 16, 4, 0.5
MOST_TOKENS = 1 << 21
"""Held-out symbols that are looked at: evenly spaced documents, or the first so many symbols."""
MOST_PASSAGES = 1 << 17
BLOCK = 1 << 17
TABLE_BITS = 22
FACTOR = 0x9E3779B97F4A7C15
EXCERPT = 60
"""Characters of an example."""
EXAMPLES = 256
"""Passages of which the one that shows most is the example: white space and rulers are found, too."""


@dataclass(frozen=True)
class Overlap:
    """How much of the held-out part the training part has, too."""

    unit: Literal["documents", "symbols"]
    found: int
    """near-duplicate documents, or symbols that stand in common passages (about)"""
    of: int
    """held-out documents or symbols that were looked at"""
    example: tuple[str, str] | None
    """how one of them begins: the held-out one, and what the training part has"""

    @property
    def share(self) -> float:
        return self.found / self.of if self.of else 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Overlap:
        """What `to_json` told (KeyError, TypeError: it is not that)."""
        example = value["example"]
        return cls(value["unit"], value["found"], value["of"], tuple(example) if example else None)

    def __str__(self) -> str:
        """One line, for people."""
        share = f"{self.found:,} of {self.of:,} held-out {self.unit} ({100 * self.share:.3g} %)"
        if self.example is None:
            return f"{share} are in the training part, too"
        held_out, other = (f"{text!r}" for text in self.example)
        if self.unit == "symbols":
            return f"{share} stand in passages that the training part has, too, such as {held_out}"
        return f"{share} are near-duplicates of training documents, such as {held_out} of {other}"


def find_overlap(train: Part, held_out: Part, tokenizer: Tokenizer, by_documents: bool) -> Overlap:
    """Compare the parts; `by_documents`: whole documents were held out, else the text was cut in two."""
    per_char = (len(held_out.tokens) + len(train.tokens)) / max(1, held_out.chars + train.chars)
    width = _power_of_two((SHINGLE if by_documents else PASSAGE) * min(1.0, per_char))
    compare = _documents if by_documents else _passages
    return compare(_Hashes(train, tokenizer, width), _Hashes(held_out, tokenizer, width))


def _power_of_two(size: float) -> int:
    return 1 << max(1, round(float(np.log2(size))))


class _Windows(NamedTuple):
    """Stretches of a part: where they begin [N], int64, and their hashes [N], uint64."""

    starts: np.ndarray
    hashes: np.ndarray


class _Hashes:
    """The hashes of all stretches of `width` symbols of a part that hold no boundary."""

    def __init__(self, part: Part, tokenizer: Tokenizer, width: int):
        self.part, self.tokenizer, self.width = part, tokenizer, width
        self.pages, self.codes = Pages(part.tokens), _mixed(np.arange(tokenizer.vocab_size))

    def of(self, start: int, end: int) -> _Windows:
        """Those within tokens[start:end]."""
        ids = self.pages.take(np.arange(start, end)[:, None])[:, 0]
        if len(ids) < self.width:
            return _Windows(np.empty(0, np.int64), np.empty(0, np.uint64))
        hashes, size = self.codes[ids], 1
        while size < self.width:  # a polynomial in `FACTOR`, twice as long each time
            hashes = hashes[:-size] * np.uint64(pow(FACTOR, size, 1 << 64)) + hashes[size:]
            size *= 2
        boundaries = np.append(0, np.cumsum(ids == self.tokenizer.boundary))
        inside = np.flatnonzero(boundaries[self.width :] == boundaries[: -self.width])
        return _Windows(inside + start, _mixed(hashes[inside]))

    def blocks(self, most: int | None = None) -> Iterator[_Windows]:
        """All of the part's, or those of its first `most` symbols, a block at a time; blocks end with documents, where
        those are shorter."""
        start, total = 0, len(self.part.tokens[:most])
        while start < total:
            end = min(start + BLOCK, total)
            last = int(np.searchsorted(self.part.starts, end, side="right")) - 1
            if end < total and self.part.starts[last] > start:
                end = int(self.part.starts[last])
            yield self.of(start, min(end + self.width - 1, total))
            start = end

    def document(self, starts: np.ndarray) -> np.ndarray:
        """The document that each of these places is in."""
        return np.searchsorted(self.part.starts, starts, side="right") - 1

    def excerpt(self, start: int, end: int | None = None) -> str:
        """How the text from here begins, without white space around it unless it is nothing else."""
        end = min(start + EXCERPT, len(self.part.tokens)) if end is None else end
        text = self.tokenizer.decode(self.part.tokens[start:end].astype(np.int64))[:EXCERPT]
        return text.strip() or text

    def opening(self, document: int) -> str:
        starts = self.part.starts
        end = int(starts[document + 1]) if document + 1 < len(starts) else len(self.part.tokens)
        return self.excerpt(int(starts[document]), min(end, int(starts[document]) + EXCERPT))


def _mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64 of whole numbers [N]: hashes [N], uint64, all of whose bits depend on all of the number's."""
    x = values.astype(np.uint64) + np.uint64(FACTOR)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class _Known:
    """Hashes that are looked for."""

    def __init__(self, hashes: np.ndarray):
        """`hashes` [N], sorted, each once."""
        self.hashes, self.shift = hashes, np.uint64(64 - TABLE_BITS)
        self.table = np.zeros(1 << TABLE_BITS, bool)
        self.table[hashes >> self.shift] = True

    def find(self, windows: _Windows) -> tuple[np.ndarray, np.ndarray]:
        """Of the windows that are known: where they begin, and the place of the hash."""
        starts, hashes = windows
        likely = np.flatnonzero(self.table[hashes >> self.shift])
        starts, hashes = starts[likely], hashes[likely]
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        known = self.hashes[at] == hashes
        return starts[known], at[known]


def _passages(train: _Hashes, held_out: _Hashes) -> Overlap:
    looked_at = min(len(held_out.part.tokens), MOST_TOKENS)
    if not looked_at:
        return Overlap("symbols", 0, 0, None)
    zeros = max(0, int(np.ceil(np.log2(max(1, looked_at) / MOST_PASSAGES))))
    sampled = [_sampled(block, zeros) for block in held_out.blocks(looked_at)]
    wanted = _Windows(*(np.concatenate(arrays) for arrays in zip(*sampled, strict=True)))
    if not len(wanted.starts):
        return Overlap("symbols", 0, looked_at, None)
    hashes, slot = np.unique(wanted.hashes, return_inverse=True)
    known, place = _Known(hashes), np.full(len(hashes), -1, np.int64)
    for block in train.blocks():
        starts, at = known.find(_sampled(block, zeros))
        place[at] = starts
    found, there = wanted.starts[place[slot] >= 0], place[slot][place[slot] >= 0]
    if not len(found):
        return Overlap("symbols", 0, looked_at, None)
    some = np.linspace(0, len(found) - 1, min(EXAMPLES, len(found))).astype(np.int64)
    most = max(some, key=lambda i: len(set(held_out.excerpt(int(found[i])))))
    example = held_out.excerpt(int(found[most])), train.excerpt(int(there[most]))
    return Overlap("symbols", _covered(found, held_out.width), looked_at, example)


def _sampled(windows: _Windows, zeros: int) -> _Windows:
    chosen = windows.hashes & np.uint64((1 << zeros) - 1) == 0
    return _Windows(windows.starts[chosen], windows.hashes[chosen])


def _covered(starts: np.ndarray, width: int) -> int:
    """How many places stretches of `width` that begin at `starts`, ascending, cover."""
    return int(np.minimum(np.diff(starts, append=starts[-1:] + width), width).sum())


def _documents(train: _Hashes, held_out: _Hashes) -> Overlap:
    hashes, slots, owners, sizes = _sketches(held_out)
    judged = np.flatnonzero(sizes >= FEWEST)
    best, other = np.zeros(len(sizes)), np.full(len(sizes), -1, np.int64)
    if not len(judged):
        return Overlap("documents", 0, 0, None)
    first = np.searchsorted(slots, np.arange(len(hashes) + 1))
    known = _Known(hashes)
    for block in train.blocks():
        starts, at = known.find(block)
        pairs = np.unique(train.document(starts) * len(hashes) + at)
        document, at = pairs // len(hashes), pairs % len(hashes)
        count = first[at + 1] - first[at]
        owner = owners[np.repeat(first[at + 1] - np.cumsum(count), count) + np.arange(count.sum())]
        both, common = np.unique(owner * len(train.part.starts) + np.repeat(document, count), return_counts=True)
        owner, document = both // len(train.part.starts), both % len(train.part.starts)
        likeness = common / sizes[owner]
        order = np.argsort(likeness, kind="stable")
        order = order[likeness[order] > best[owner[order]]]
        best[owner[order]], other[owner[order]] = likeness[order], document[order]
    alike = judged[best[judged] >= LIKE]
    if not len(alike):
        return Overlap("documents", 0, len(judged), None)
    most = int(alike[np.argmax(best[alike])])
    return Overlap("documents", len(alike), len(judged), (held_out.opening(most), train.opening(int(other[most]))))


def _sketches(held_out: _Hashes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The sketches of the held-out documents.

    Returns: their hashes [H], sorted, each once; entries as two arrays [E], the place of a hash, ascending, and a
    document that has it; and how many entries each document has [D].
    """
    part = held_out.part
    ends = np.append(part.starts[1:], len(part.tokens))
    step = -(-len(part.tokens) // MOST_TOKENS)
    looked_at = [held_out.of(int(part.starts[d]), int(ends[d])) for d in range(0, len(part.starts), step)]
    owner = np.repeat(np.arange(0, len(part.starts), step), [len(w.starts) for w in looked_at])
    hashes = np.concatenate([w.hashes for w in looked_at])
    order = np.lexsort((owner, hashes))
    hashes, owner = hashes[order], owner[order]
    new = np.append(True, (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1]))[: len(hashes)]
    hashes, owner = hashes[new], owner[new]
    few = _rank(hashes) < SHARED
    hashes, owner = hashes[few], owner[few]
    order = np.argsort(owner, kind="stable")
    kept = np.sort(order[_rank(owner[order]) < SKETCH])
    hashes, slots = np.unique(hashes[kept], return_inverse=True)
    return hashes, slots, owner[kept], np.bincount(owner[kept], minlength=len(part.starts))


def _rank(values: np.ndarray) -> np.ndarray:
    """How many equal values stand right before each [N]."""
    opens = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else values[:0].astype(int)
    return np.arange(len(values)) - np.repeat(opens, np.diff(opens, append=len(values)))
