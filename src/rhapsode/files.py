"""Files are written whole or not at all.

A reader never sees half a file: bytes go to a temporary file beside the target, are flushed to the disk, and take
the target's name in one step. What the operating system refuses becomes an `OutputError` that names the file.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rhapsode.errors import OutputError, RhapsodeError


def named_path(name: str | os.PathLike[str], error: type[RhapsodeError]) -> Path:
    """The path of this name.

    Raises:
        `error`: it is no name.
    """
    try:
        return Path(name)
    except TypeError:
        raise error(f"found {name!r:.50}, expected the name of a file or folder") from None


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; it appears, whole, when the block ends without an exception.

    Raises:
        OutputError: this is no name, the folder is missing or read-only, or the disk is full. The old file, if any, is
            untouched.
    """
    import tempfile  # imports much, and most commands write no file

    path = named_path(path, OutputError)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def make_folder(path: str | Path) -> Path:
    """Make the folder `path` and its parents if they are missing.

    Raises:
        OutputError: it cannot be made, or something that is no folder has its name.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made: {error.strerror or error}") from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut (where the platform lets a folder be opened)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
