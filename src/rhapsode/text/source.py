"""Which files to read: files, folders, globs, standard input.

Nothing is left out in silence: what is skipped is said in a note.
"""

from __future__ import annotations

import glob
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from rhapsode.config import CorpusConfig
from rhapsode.errors import SourceError
from rhapsode.text.reading import is_binary, kind_of

Note = Callable[[str], None]
"""Called with each thing that the user should know, such as a file that was skipped."""
STDIN = "-"
OWN = (
    (
        ("run.json", "metrics.jsonl"),
        "a run that train made, no text: name the text, and the run where a MODEL is asked for, or as --out with "
        "--resume to go on",
    ),
    (("manifest.json", "train.tokens"), "a prepared corpus, which goes alone"),
)
"""Files that tell a folder which rhapsode has made, and what it is."""
MODEL_FILE = ".safetensors"
FEW = 3
"""Of what was skipped, where nothing is left."""


@dataclass(frozen=True)
class Source:
    """One file to read."""

    name: str
    """as it is shown to people"""
    path: Path
    kind: Literal["text", "jsonl", "table"]
    stream: bool = False
    """a copy of something that can be read only once: standard input, a pipe"""


def named(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """The names of one source or of several.

    Raises:
        SourceError: they are no names.
    """
    several = [sources] if isinstance(sources, str | os.PathLike) else sources
    try:
        return tuple([os.fspath(name) for name in several])
    except TypeError:
        raise SourceError(f"found {sources!r:.50}, expected the name of a file, folder or glob, or several") from None


def short_name(argument: str) -> str:
    """What a source is called where it was learned from: its name without folders."""
    return "<stdin>" if argument == STDIN else Path(argument).name


def find_sources(
    arguments: Sequence[str], config: CorpusConfig, copies: Path, note: Note, stdin: BinaryIO | None = None
) -> list[Source]:
    """The files that `arguments` mean, in their order; what is skipped is said in a `note`.

    A folder means all files in it and below, sorted, but for hidden ones, those that are clearly binary, and those of
    runs and prepared corpora. A name with ``*``, ``?`` or ``[`` that no file has is a glob (``**`` goes through
    folders). ``-`` is standard input; it and other pipes are copied into the folder `copies`.

    Raises:
        SourceError: an argument means no file, or a model, a run or a corpus; or a file cannot be read.
    """
    if not arguments:
        raise SourceError("no text named: expected files, folders, globs, or - for standard input")
    sources: dict[Path, Source] = {}
    for argument in arguments:
        for source in _of_argument(os.fspath(argument), config, copies, stdin, note):
            key = source.path.resolve()
            if key in sources:
                note(f"{source.name}: named twice, read once")
            sources.setdefault(key, source)
    return list(sources.values())


def _of_argument(
    argument: str, config: CorpusConfig, copies: Path, stdin: BinaryIO | None, note: Note
) -> Iterator[Source]:
    if argument == STDIN:
        yield _copied(stdin or _stdin(), short_name(argument), "stdin", copies)
        return
    path, mode = Path(argument), _mode(argument)
    if mode is None:
        yield from _of_glob(argument, config, copies, note)
    elif stat.S_ISDIR(mode):
        yield from _of_folder(path, config, note)
    elif path.suffix == MODEL_FILE:
        raise SourceError(f"{argument}: a model file, no text: name the text, and the file where a MODEL is asked for")
    elif stat.S_ISREG(mode):
        yield Source(argument, path, kind_of(path))
    else:
        with _opened(path) as file:
            yield _copied(file, argument, path.name, copies)


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise SourceError("<stdin>: cannot be read: it is closed")
    return sys.stdin.buffer


def _mode(name: str) -> int | None:
    """What kind of file has this name; None: none has."""
    try:
        return os.stat(name).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise SourceError(f"{name}: cannot be read: {getattr(error, 'strerror', error)}") from None


def _of_glob(argument: str, config: CorpusConfig, copies: Path, note: Note) -> Iterator[Source]:
    if not glob.has_magic(argument):
        raise SourceError(f"{argument}: no such file or folder")
    found = sorted(glob.glob(argument, recursive=True))
    if not found:
        raise SourceError(f"{argument}: no file matches")
    for name in found:
        if not (os.path.isdir(name) and "**" in argument):  # ** names the files in a folder, too
            yield from _of_argument(name, config, copies, None, note)


def _of_folder(folder: Path, config: CorpusConfig, note: Note) -> Iterator[Source]:
    if made := _made_here(folder):
        raise SourceError(f"{folder}: {made}")
    found, skipped = False, list[str]()
    for path in _walk(folder, skipped.append):
        if path.suffix == MODEL_FILE or is_binary(path, config):
            skipped.append(f"{path}: skipped, it looks binary")
            continue
        found = True
        yield Source(str(path), path, kind_of(path))
    if not found:
        raise SourceError("; ".join([f"{folder}: a folder without text files", *skipped[:FEW]]))
    for text in skipped:
        note(text)


def _made_here(folder: Path | str) -> str | None:
    """What the folder is, if rhapsode has made it."""
    return next((what for names, what in OWN if all(os.path.isfile(os.path.join(folder, n)) for n in names)), None)


def _walk(folder: Path, note: Note) -> Iterator[Path]:
    """The regular files below `folder` that are not hidden, sorted; none in folders that rhapsode has made."""

    def refused(error: OSError) -> None:
        raise SourceError(f"{error.filename}: cannot be read: {error.strerror}") from None

    for parent, folders, files in os.walk(folder, onerror=refused):
        if _made_here(parent):
            note(f"{parent}: skipped, rhapsode made it")
            folders.clear()
            continue
        folders[:] = _visible(folders)
        for name in _visible(files):
            path = Path(parent, name)
            if path.is_file():
                yield path


def _visible(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("."))


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None


def _copied(stream: BinaryIO, name: str, file_name: str, copies: Path) -> Source:
    """The rest of `stream`, as a file."""
    path = copies / f"{len(os.listdir(copies))}-{file_name}"
    with open(path, "wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    return Source(name, path, kind_of(path), stream=True)
