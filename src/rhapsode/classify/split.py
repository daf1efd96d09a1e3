"""Which texts are held out to measure on: of every class its share, drawn by a hash of seed and text.

Equal texts always stand on one side, whatever their labels, so that nothing that is measured on was trained on.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import compress

from rhapsode.config import CorpusConfig
from rhapsode.text.tokenizers.base import normalise

Examples = tuple[list[str], list[str]]
"""Texts, and the class of each."""


def hold_out(texts: Sequence[str], labels: Sequence[str], config: CorpusConfig) -> tuple[Examples, Examples]:
    """What is learned from, and what is held out: `config.held_out` (a tenth, if it is not said) of the texts of every
    class, from 1 on about so many texts in all. A class keeps at least one text to learn from.

    A text that comes with several classes is drawn as one of the first.
    """
    same = [normalise(text, config.lowercase) for text in texts]
    by_class: dict[str, list[str]] = defaultdict(list)
    for text, label in dict(zip(reversed(same), reversed(labels), strict=True)).items():
        by_class[label].append(text)
    share = 0.1 if config.held_out is None else config.held_out
    part = share if share < 1 else min(1.0, share / sum(map(len, by_class.values())))
    out: set[str] = set()
    for own in by_class.values():
        own.sort(key=lambda text: _draw(text, config.split_seed))
        out.update(own[: min(round(part * len(own)), len(own) - 1)])
    return _where(texts, labels, [s not in out for s in same]), _where(texts, labels, [s in out for s in same])


def _where(texts: Sequence[str], labels: Sequence[str], chosen: list[bool]) -> Examples:
    return list(compress(texts, chosen)), list(compress(labels, chosen))


def _draw(text: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\n{text}".encode(), digest_size=16).digest()
