"""One process at a time trains in a run folder.

The operating system keeps the lock and lets go of it when the process ends, however it ends: a run that was killed
leaves a file behind, but locks nobody out.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from rhapsode.errors import OutputError, RunError

LOCK = "lock"

if os.name == "nt":
    import msvcrt

    def _taken(file: BinaryIO) -> bool:
        """Lock an open file; whether another has locked it."""
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return True
        return False
else:
    import fcntl

    def _taken(file: BinaryIO) -> bool:
        """Lock an open file; whether another has locked it. A file system without locks locks nobody out."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class FolderLock:
    """The right to train in `folder`. As a context manager it is acquired, if it is not yet, and released."""

    def __init__(self, folder: Path):
        self.path = folder / LOCK
        self._file: BinaryIO | None = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock; nothing happens if it is held already.

        Raises:
            RunError: another process, or another run of this one, holds it.
            OutputError: the folder cannot be written to.
        """
        while self._file is None:
            try:
                file = open(self.path, "ab")  # noqa: SIM115
            except OSError as error:
                raise OutputError(f"{self.path.parent}: cannot be written: {error.strerror or error}") from error
            if _taken(file):
                file.close()
                raise RunError(f"{self.path.parent}: another process trains there; choose another --out, or wait")
            if self._is_there(file):
                self._file = file
            else:  # whoever held it has just removed this file
                file.close()

    def release(self) -> None:
        """Give the lock back and remove its file."""
        file, self._file = self._file, None
        if file is not None:
            with file, contextlib.suppress(OSError):
                self.path.unlink()

    def _is_there(self, file: BinaryIO) -> bool:
        """Whether the locked file is still the one that has the name."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False
