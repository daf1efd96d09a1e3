"""Arrays and a JSON head in one safetensors file (https://github.com/huggingface/safetensors): nothing in it can run.

The head is one metadata entry. Models, sessions and checkpoints are such files; each names its entry and its own error.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.errors import RhapsodeError
from rhapsode.files import atomic, named_path


class TensorFile:
    """A file that is open for reading: its head, and its tensors, each read and checked when asked for.

    Raises `error`, naming the file, for whatever is wrong with it.
    """

    def __init__(self, path: str | Path, entry: str, what: str, error: type[RhapsodeError]):
        """Open `path`, which should be `what` ("a model"), with its head in the metadata entry `entry`."""
        from safetensors import SafetensorError, safe_open

        self.path, self._error = named_path(path, error), error
        try:
            open(path, "rb").close()  # what the system refuses it says better than safetensors does
            self._file = safe_open(path, framework="numpy")
            head = json.loads((self._file.metadata() or {}).get(entry, "null"))
        except SafetensorError as reason:
            raise error(f"{path}: expected {what}, found what is not a whole safetensors file: {reason}") from None
        except OSError as reason:
            raise error(f"{path}: cannot be read: {reason.strerror or reason}") from None
        except (ValueError, RecursionError) as reason:
            raise error(f"{path}: its description is damaged: {reason}") from None
        if not isinstance(head, dict):
            raise error(f"{path}: a safetensors file, but not {what} of rhapsode")
        self.head: dict[str, Any] = head
        self.names = frozenset(self._file.keys())
        self._mapped: mmap.mmap | None = None
        self._offsets: dict[str, int] = {}

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """All tensors whose names begin with `prefix`, by the rest of the name."""
        return {n[len(prefix) :]: self._file.get_tensor(n) for n in sorted(self.names) if n.startswith(prefix)}

    def tensor(self, name: str, shape: tuple[int | None, ...], dtype: str = "F32") -> np.ndarray:
        """The tensor `name`, if it is of this type and shape (None: any size). Nothing is allocated before."""
        if name not in self.names:
            raise self._error(f"{self.path}: tensor {name} is missing")
        piece = self._file.get_slice(name)
        found, kind = tuple(piece.get_shape()), piece.get_dtype()
        fits = len(found) == len(shape) and all(b in (None, a) for a, b in zip(found, shape, strict=True))
        if not fits or kind != dtype:
            expected = tuple("any" if n is None else n for n in shape)
            raise self._error(f"{self.path}: tensor {name} is {kind} {found}, expected {dtype} {expected}")
        return self._file.get_tensor(name) if self._mapped is None else self._view(name, found, kind)

    def finite(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The tensor `name` of float32, if all of it is numbers."""
        if not np.isfinite(array := self.tensor(name, shape)).all():
            raise self._error(f"{self.path}: tensor {name} holds what is not a number")
        return array

    def map(self) -> None:
        """From now on `tensor` gives views of the file, which no process can write into and all processes share.

        They are lost if somebody writes into the file (programs that replace it as a whole do not).
        """
        with open(self.path, "rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        size = int.from_bytes(self._mapped[:8], "little")
        header = json.loads(self._mapped[8 : 8 + size])
        self._offsets = {n: 8 + size + t["data_offsets"][0] for n, t in header.items() if n != "__metadata__"}

    def _view(self, name: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
        size, dtype = math.prod(shape), np.dtype(_TYPES[kind])
        assert self._mapped is not None
        return np.frombuffer(self._mapped, dtype, size, self._offsets[name]).reshape(shape)


_TYPES = {"I64": "<i8", "F32": "<f4", "I32": "<i4", "I8": "i1", "U8": "u1"}
"""numpy's names of the types there are in files, in the order in which tensors are laid down."""


def write(path: str | Path, entry: str, head: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Write the file, whole or not at all, one tensor after the other. One of bytes, or else the first, begins
    at a multiple of `ALIGNED`.

    Raises:
        OutputError: it cannot be written.
    """
    types = {np.dtype(numpys): name for name, numpys in _TYPES.items()}
    order = sorted(tensors, key=lambda name: ([*_TYPES].index(types[tensors[name].dtype]), name))
    parts: dict[str, Any] = {"__metadata__": {entry: json.dumps(head, ensure_ascii=False)}}
    end = 0
    for name in order:
        begin, end = end, end + tensors[name].nbytes
        parts[name] = {"dtype": types[tensors[name].dtype], "shape": tensors[name].shape, "data_offsets": (begin, end)}
    sizes = [tensor.nbytes for tensor in tensors.values() if tensor.dtype != np.uint8]
    header = _header(parts, sum(sizes) if len(sizes) < len(tensors) else 0)
    with atomic(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name]).data)


def _header(parts: dict[str, Any], before: int) -> bytes:
    """The header, so long that what comes after `before` bytes of data begins at a multiple of `ALIGNED`."""
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    return text + b" " * (-(8 + len(text) + before) % ALIGNED)  # the format lets it end in blanks


ALIGNED = 64
"""Bytes of a line of a processor's cache."""
