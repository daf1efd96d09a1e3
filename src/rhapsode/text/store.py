"""A corpus on disk. Format 1: a folder of

    manifest.json                       settings, tokenizer, sources, counts, hashes; see `Manifest`
    train.tokens, held_out.tokens       ids, little-endian unsigned integers of the smallest size that fits
    train.starts, held_out.starts       positions of the boundaries that open documents, little-endian int64

Tokens of a part: boundary d1 boundary d2 … With several documents in the corpus, a boundary also closes the part,
unless the split cut its last document in two. So the first token is a boundary, and every later one is predicted once.
Where documents have labels, the symbol of its label is the first of each; the rest of a document that was cut has it
again.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, CorpusError, TokenizerError
from rhapsode.files import write_json
from rhapsode.text.spool import map_array
from rhapsode.text.tokenizer import Tokenizer, label_id, tokenizer_from_json

FORMAT = 1
MANIFEST = "manifest.json"
PARTS = ("train", "held_out")
BUFFER = 1 << 20
"""Tokens that are written at a time."""
STARTS = np.dtype("<i8")


@dataclass(frozen=True)
class Part:
    """The training or the held-out part of a corpus."""

    tokens: np.ndarray
    """ids [N], unsigned integers, memory-mapped; N = 0 where the part is empty"""
    starts: np.ndarray
    """positions in `tokens` of the boundary that opens each document [D], int64, memory-mapped"""
    chars: int
    """characters of its text, as encoded"""
    bytes: int
    """the same in UTF-8"""

    @property
    def predictions(self) -> int:
        """How many of its tokens are predicted: all but the first; 0 where the part is empty."""
        return max(0, len(self.tokens) - 1)


@dataclass(frozen=True)
class Counts:
    """What the manifest says of one part."""

    tokens: int
    documents: int
    chars: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a corpus is made of, and from what."""

    config: CorpusConfig
    documents: str
    """what one document is, resolved"""
    tokenizer: Tokenizer
    key: str
    """hash of where the text came from and of the settings: the same key, nothing to prepare again"""
    sources: list[dict[str, Any]]
    """name, path, size, mtime_ns and sha256 of each file, for people"""
    notes: list[str]
    """what was left out of the sources, for people"""
    parts: dict[str, Counts]
    sha256: dict[str, str]
    """of each file beside the manifest"""
    overlap: dict[str, Any] | None = None
    """what the parts have in common (`rhapsode.text.overlap`); None: nobody has looked"""

    def save(self, folder: Path) -> None:
        head = {"format": FORMAT, "dtype": token_type(self.tokenizer).str}
        parts = {name: asdict(counts) for name, counts in self.parts.items()}
        changed = {"config": self.config.to_json(), "tokenizer": self.tokenizer.to_json(), "parts": parts}
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        write_json(folder / MANIFEST, head | plain | changed)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read and check the manifest in `folder`.

        Raises:
            CorpusError: there is none, or it is damaged or of another format.
        """
        path = folder / MANIFEST
        value = _json(path)
        if value.get("format") != FORMAT:
            raise CorpusError(f"{path}: format {value.get('format')!r} is not known; this version reads {FORMAT}")
        try:
            config = CorpusConfig.from_json(value.get("config"))
            tokenizer = tokenizer_from_json(value.get("tokenizer"))
            parts = {name: Counts(**value["parts"][name]) for name in PARTS}
            sha256 = {name: str(value["sha256"][name]) for name in _files()}
            named = {name: value[name] for name in ("documents", "key", "sources", "notes")}
            named["overlap"] = value.get("overlap")
        except (ConfigError, TokenizerError) as error:
            raise CorpusError(f"{path}: {error}") from None
        except (KeyError, TypeError) as error:
            raise CorpusError(f"{path}: damaged: {error}") from None
        if any(type(n) is not int or n < 0 for counts in parts.values() for n in asdict(counts).values()):
            raise CorpusError(f"{path}: damaged: a count is no whole number")
        return cls(config=config, tokenizer=tokenizer, parts=parts, sha256=sha256, **named)


def token_type(tokenizer: Tokenizer) -> np.dtype:
    """The smallest unsigned integer that holds every id."""
    return np.min_scalar_type(tokenizer.vocab_size - 1).newbyteorder("<")


def is_corpus(path: str | Path) -> bool:
    """Whether `path` is a folder with a corpus's manifest."""
    return all(os.path.isfile(os.path.join(path, name)) for name in (MANIFEST, "train.tokens"))


def open_parts(folder: Path, manifest: Manifest) -> list[Part]:
    """The training and the held-out part, memory-mapped.

    Raises:
        CorpusError: a file is missing or has not the size that the manifest says.
    """
    dtype, parts = token_type(manifest.tokenizer), []
    for name in PARTS:
        counts = manifest.parts[name]
        tokens = _mapped(folder / f"{name}.tokens", dtype, counts.tokens)
        starts = _mapped(folder / f"{name}.starts", STARTS, counts.documents)
        parts.append(Part(tokens, starts, counts.chars, counts.bytes))
    return parts


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare every file with its hash.

    Raises:
        CorpusError: one differs, or is missing.
    """
    for name, expected in manifest.sha256.items():
        try:
            with open(folder / name, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CorpusError(f"{folder / name}: cannot be read: {error.strerror or error}") from None
        if found != expected:
            raise CorpusError(f"{folder / name}: damaged: its hash is {found}, expected {expected}")


def opening(tokenizer: Tokenizer, label: str | None = None) -> np.ndarray:
    """What a document begins with [1 or 2], int32: the boundary and, where the tokenizer has labels, its label.

    Raises:
        ConfigError: the label is missing, or none of the tokenizer's.
    """
    if label is None and not tokenizer.labels:
        return np.array([tokenizer.boundary], np.int32)
    return np.array([tokenizer.boundary, label_id(tokenizer, label)], np.int32)


class PartWriter:
    """Writes one part, a piece of text at a time."""

    def __init__(self, folder: Path, name: str, tokenizer: Tokenizer):
        self.name, self._tokenizer, self._type = name, tokenizer, token_type(tokenizer)
        self._tokens, self._starts = _Hashed(folder / f"{name}.tokens"), _Hashed(folder / f"{name}.starts")
        self._new_tokens: list[np.ndarray] = []
        self._new_starts: list[int] = []
        self._pending = self._count = self._documents = self._chars = self._bytes = 0

    def open_document(self, label: str | None = None) -> None:
        """Begin another document, or what the split has left of one, which has the same label."""
        self._documents += 1
        self._new_starts.append(self._count)
        self._add(opening(self._tokenizer, label))

    def write(self, text: str) -> None:
        """Go on with the document. Pieces are to be cut where no token is."""
        text = self._tokenizer.normalise(text)
        self._chars += len(text)
        self._bytes += len(text) if text.isascii() else len(text.encode("utf-8"))
        self._add(self._tokenizer.encode(text))

    def close_document(self) -> None:
        """Write the boundary that closes the part."""
        self._add(np.array([self._tokenizer.boundary], np.int32))

    def finish(self) -> tuple[Counts, dict[str, str]]:
        """Write what is left; returns the counts and the hash of each file."""
        self._flush()
        sha256 = {file.name: file.close() for file in (self._tokens, self._starts)}
        return Counts(self._count, self._documents, self._chars, self._bytes), sha256

    def _add(self, ids: np.ndarray) -> None:
        self._new_tokens.append(ids)
        self._count += len(ids)
        self._pending += len(ids)
        if self._pending >= BUFFER:
            self._flush()

    def _flush(self) -> None:
        if self._new_tokens:
            self._tokens.write(np.concatenate(self._new_tokens).astype(self._type).tobytes())
        self._starts.write(np.array(self._new_starts, STARTS).tobytes())
        self._new_tokens, self._new_starts, self._pending = [], [], 0


class _Hashed:
    """A file that is hashed as it is written, and on the disk when it is closed."""

    def __init__(self, path: Path):
        self.name, self._file, self._sha256 = path.name, open(path, "wb"), hashlib.sha256()  # noqa: SIM115

    def write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._file.write(data)

    def close(self) -> str:
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        return self._sha256.hexdigest()


def _files() -> list[str]:
    return [f"{name}.{kind}" for name in PARTS for kind in ("tokens", "starts")]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CorpusError(f"{path.parent}: no prepared corpus (it has no {path.name})") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: damaged: {error}") from None
    if not isinstance(value, dict):
        raise CorpusError(f"{path}: damaged: found {type(value).__name__}, expected an object")
    return value


def _mapped(path: Path, dtype: np.dtype, count: int) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size != count * dtype.itemsize:
            raise CorpusError(f"{path}: {size} bytes, expected {count * dtype.itemsize}")
        return map_array(path, dtype)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from None
