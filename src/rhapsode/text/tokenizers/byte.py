"""One symbol a byte of UTF-8: ids 0 … 255, then the specials. Every text can be written, in any script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from rhapsode.text.tokenizers.base import (
    ByteDecoder,
    checked_id,
    checked_ids,
    labels_json,
    normalise,
    read_field,
    read_labels,
    special_symbol,
)


class ByteTokenizer:
    """Bytes are their own ids."""

    kind = "byte"
    boundary = 256
    unknown: int | None = None

    def __init__(self, lowercase: bool = False, labels: tuple[str, ...] = ()):
        self.lowercase, self.labels = lowercase, labels
        self.specials = 1 + len(labels)
        self.vocab_size = 256 + self.specials
        self._pieces = [bytes([b]) for b in range(256)] + [b""] * self.specials

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ByteTokenizer:
        return cls(read_field(value, "lowercase", bool), read_labels(value))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "lowercase": self.lowercase} | labels_json(self.labels)

    def normalise(self, text: str) -> str:
        return normalise(text, self.lowercase)

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(self.normalise(text).encode("utf-8"), np.uint8).astype(np.int32)

    def split(self, text: str) -> list[str]:
        return list(map(self.decoder().push, self.encode(text).tolist()))

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        ids = checked_ids(ids, self.vocab_size)
        return ids[ids < self.boundary].astype(np.uint8).tobytes().decode("utf-8", "replace")

    def decoder(self) -> ByteDecoder:
        return ByteDecoder(self._pieces)

    def symbol(self, id: int) -> str:
        if checked_id(id, self.vocab_size) >= self.boundary:
            return special_symbol(self, id)
        return chr(id) if 0x20 < id < 0x7F else f"0x{id:02X}"
