"""The decoded text on disk, as UTF-8, with the length of each document: read once, gone through as often as needed.

The text is in the form that is encoded: lower case where asked for, unpaired surrogates replaced.
"""

from __future__ import annotations

import codecs
import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rhapsode.errors import SourceError
from rhapsode.text.documents import Label
from rhapsode.text.tokenizers.base import MOST_LABELS, normalise, safe_cut

BLOCK = 1 << 20
"""Bytes read at a time; the longest piece of text that is handled at once."""


@dataclass(frozen=True)
class Spool:
    """The whole text, on disk."""

    path: Path
    chars: int
    lengths: np.ndarray
    """characters of each document [D], int64, memory-mapped"""
    draws: np.ndarray
    """a number of each document [D], uint64, memory-mapped: a hash of seed and text, the same for equal documents"""
    labels: tuple[str, ...]
    """the different labels, in the order in which they came; none where documents have none"""
    label_of: np.ndarray
    """place in `labels` of each document's label [D], int64, memory-mapped; [0] where documents have none"""

    def label(self, document: int) -> str | None:
        """The label of a document, None where documents have none."""
        return self.labels[self.label_of[document]] if self.labels else None

    def read(self, lengths: Iterable[int]) -> Iterator[Iterator[str]]:
        """The text, cut into stretches of these lengths; each comes in pieces, to be used up before the next."""
        with open(self.path, "rb") as file:
            reader = _Pieces(file)
            for length in lengths:
                yield reader.take(length)


def write_spool(folder: Path, documents: Iterable[str | Label | None], lowercase: bool, seed: int) -> Spool:
    """Write the pieces of `documents`, each followed by None, all or none of them after a label; empty documents are
    left out.

    Raises:
        SourceError: there are more than `MOST_LABELS` labels.
    """
    text, lengths, draws, label_of = (folder / name for name in ("text", "lengths", "draws", "labels"))
    chars = length = 0
    labels = dict[str, int]()
    fresh = hashlib.blake2b(digest_size=8, salt=hashlib.blake2b(str(seed).encode(), digest_size=16).digest())
    digest = fresh.copy()
    with (
        open(text, "wb") as text_file,
        _Numbers(lengths, "q") as length_file,
        _Numbers(draws, "Q") as draw_file,
        _Numbers(label_of, "q") as label_file,
    ):
        for piece in documents:
            if isinstance(piece, Label):
                label_file.add(_number(labels, normalise(piece.name, lowercase=False)))
            elif piece is not None:
                piece = normalise(piece, lowercase)
                data = piece.encode("utf-8")
                text_file.write(data)
                digest.update(data)
                length += len(piece)
            elif length:
                length_file.add(length)
                draw_file.add(int.from_bytes(digest.digest(), "little"))
                chars, length, digest = chars + length, 0, fresh.copy()
    return Spool(
        text,
        chars,
        map_array(lengths, np.dtype(np.int64)),
        map_array(draws, np.dtype(np.uint64)),
        tuple(labels),
        map_array(label_of, np.dtype(np.int64)),
    )


def _number(labels: dict[str, int], name: str) -> int:
    """The number of the label, a new one where it is new."""
    number = labels.setdefault(name, len(labels))
    if number == MOST_LABELS:
        raise SourceError(f"--label: found more than {MOST_LABELS:,} different labels, such as {name!r}: too many")
    return number


def map_array(path: Path, dtype: np.dtype) -> np.ndarray:
    """The numbers in a file [N], memory-mapped, not writeable."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r")


class _Numbers:
    """A file of 64-bit numbers that are added one at a time."""

    def __init__(self, path: Path, code: str):
        self._file, self._pending = open(path, "wb"), array(code)  # noqa: SIM115

    def add(self, number: int) -> None:
        self._pending.append(number)
        if len(self._pending) == BLOCK // 8:
            self._write()

    def _write(self) -> None:
        self._pending.tofile(self._file)
        del self._pending[:]

    def __enter__(self) -> _Numbers:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._write()


class _Pieces:
    """Takes text from a UTF-8 file, a given number of characters at a time."""

    def __init__(self, file: BinaryIO):
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0

    def take(self, count: int) -> Iterator[str]:
        """The next `count` characters, in pieces that end where no token is cut."""
        while count > len(self._text) - self._at:
            self._refill()
            if count > len(self._text):
                piece = self._text[: safe_cut(self._text)]
                self._at, count = len(piece), count - len(piece)
                yield piece
        self._at += count
        yield self._text[self._at - count : self._at]

    def _refill(self) -> None:
        self._text, self._at = self._text[self._at :] + self._decoder.decode(self._file.read(BLOCK)), 0
