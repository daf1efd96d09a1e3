"""Where prepared corpora are kept, by what key, and for how long."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rhapsode.config import CorpusConfig
from rhapsode.errors import SourceError
from rhapsode.files import make_folder
from rhapsode.text.source import Source
from rhapsode.text.tokenizer import Tokenizer

KEY = re.compile("[0-9a-f]{32}")
"""What `corpus_key` gives, and a corpus in the cache is called."""
PREFIX = ".rhapsode-prepare-"
STALE = 24 * 3600
"""Seconds after which a working folder is one that a killed run has left."""

BOUND = 5_000_000_000
"""Bytes that the corpora in the cache may have together."""
IN_USE = 3600
"""Seconds after a corpus was last asked for in which it is not removed."""


def cache_folder() -> Path:
    """Where corpora are kept: below $RHAPSODE_CACHE, else below the platform's folder for such things."""
    named = os.environ.get("RHAPSODE_CACHE")
    return (Path(named) if named else _platform_cache() / "rhapsode") / "corpora"


def _platform_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def fingerprint(source: Source) -> dict[str, Any]:
    """What tells whether a file has changed: place, size and time; of a stream, its content.

    Raises:
        SourceError: the file cannot be read.
    """
    try:
        stat = source.path.stat()
        if source.stream:
            with open(source.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"name": source.name, "size": stat.st_size, "sha256": digest}
    except OSError as error:
        raise SourceError(f"{source.name}: cannot be read: {error.strerror or error}") from None
    path = os.path.abspath(source.path)
    return {"name": source.name, "path": path, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def corpus_key(
    format: int, fingerprints: list[dict[str, Any]], config: CorpusConfig, base: Tokenizer | None = None
) -> str:
    """The same for the same files, unchanged, and the same settings, and the same tokenizer to begin with."""
    files = [{k: v for k, v in f.items() if k != "name"} for f in fingerprints]
    told = [format, files, config.to_json(), *([base.to_json()] if base else [])]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


@contextlib.contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` to work in, gone afterwards; those that killed runs have left are removed, too.

    Raises:
        OutputError: it cannot be made.
    """
    make_folder(parent)
    for left in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def touch(corpus: Path) -> None:
    """Note that the corpus in the cache is used now."""
    with contextlib.suppress(OSError):
        os.utime(corpus)


def trim() -> None:
    """Remove corpora from the cache, those that were not asked for for the longest time first, down to `BOUND`.

    Each is taken away whole, in one step, so that another process finds it or does not. One that has its files open
    keeps them where the system can remove open files; elsewhere the corpus stays.
    """
    found = []
    for folder in cache_folder().iterdir():
        with contextlib.suppress(OSError):
            if KEY.fullmatch(folder.name):
                found.append((folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()), folder))
    total = sum(size for _, size, _ in found)
    for used, size, folder in sorted(found):
        if total <= BOUND or time.time() - used < IN_USE:
            return
        with contextlib.suppress(OSError), working_folder(cache_folder()) as work:
            os.rename(folder, work / folder.name)
            total -= size
