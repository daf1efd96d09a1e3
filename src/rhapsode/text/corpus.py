"""A corpus: text as tokens on disk, memory-mapped, split into a training and a held-out part.

Preparing goes through the text three times, piece by piece, so that its size is no matter: read it (`spool`), train the
tokenizer on the training part, encode; and once through the tokens, for what the parts have in common. The result
appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any

from rhapsode.config import CorpusConfig
from rhapsode.errors import CorpusError, OutputError, SourceError, listed
from rhapsode.text.cache import cache_folder, corpus_key, fingerprint, touch, trim, working_folder
from rhapsode.text.documents import documents, labelled_documents, resolve
from rhapsode.text.overlap import Overlap, find_overlap
from rhapsode.text.reading import Reader, new_decoder
from rhapsode.text.source import Note, Source, find_sources, named
from rhapsode.text.split import Segment, held_out_share, segments, splits_documents
from rhapsode.text.spool import Spool, write_spool
from rhapsode.text.store import (
    FORMAT,
    MANIFEST,
    Manifest,
    Part,
    PartWriter,
    is_corpus,
    open_parts,
    verify,
)
from rhapsode.text.tokenizer import Tokenizer, grown_tokenizer, train_tokenizer

__all__ = ["Corpus", "Part", "is_corpus", "open_corpus", "prepare"]

FEWEST_CHARS = 2
"""Characters that must be left to train on."""
LARGE = 100_000_000
"""Bytes of files that take so long to prepare that it is said."""
VOCABULARY_CHARS = 64 << 20
"""A word or bpe vocabulary is learned from about so many characters, evenly spread pieces of a longer text."""


@dataclass(frozen=True)
class Corpus:
    """Tokens on disk."""

    path: Path
    config: CorpusConfig
    """as it was asked for"""
    documents: str
    """what one document is: whole, files, lines, blank-lines, rows"""
    tokenizer: Tokenizer
    train: Part
    held_out: Part
    digest: str
    """hash of content and settings"""
    overlap: Overlap | None = None
    """what the parts have in common; None: an older version prepared it, which did not look, or nothing is held out"""


def open_corpus(path: str | Path, check_hashes: bool = False) -> Corpus:
    """Open a prepared corpus. Sizes are checked always, the content if `check_hashes`.

    Raises:
        CorpusError: there is none, or it is damaged; names the file, what was found and what was expected.
    """
    path = Path(path)
    manifest = Manifest.load(path)
    if check_hashes:
        verify(path, manifest)
    return _opened(path, manifest)


def _opened(path: Path, manifest: Manifest) -> Corpus:
    train, held_out = open_parts(path, manifest)
    content = [FORMAT, manifest.config.to_json(), manifest.tokenizer.to_json(), manifest.documents, manifest.sha256]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    try:
        overlap = Overlap.from_json(manifest.overlap) if manifest.overlap else None
    except (KeyError, TypeError) as error:
        raise CorpusError(f"{path / MANIFEST}: damaged: {error}") from None
    return Corpus(path, manifest.config, manifest.documents, manifest.tokenizer, train, held_out, digest, overlap)


def prepare(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    config: CorpusConfig,
    out: Path | None = None,
    note: Note = lambda text: None,
    base: Tokenizer | None = None,
    overwrite: bool = False,
) -> Corpus:
    """Turn text into a corpus in the folder `out`, or in the cache; one that is there already and whose text and
    settings have not changed is taken as it is, one whose files have changed is made again.

    Args:
        sources: files, folders, globs, or ``-`` for standard input (see `rhapsode.text.source`).
        note: called with each thing that the user should know, such as a file that was skipped.
        base: a tokenizer, of the kind and case of `config`, to which the text adds what it lacks.
        overwrite: replace a corpus of other files or settings that is in `out`.

    Raises:
        SourceError: text cannot be found, read or decoded.
        CorpusError: there is too little text, or a source is a corpus itself, or in `out` is a corpus of other files or
            settings, or something else.
        ConfigError: the settings do not fit the text.
        MissingDependency: a package is needed to read the text.
        OutputError: the corpus cannot be written; nothing is left behind.
    """
    new_decoder(config.encoding, config.errors)
    paths = named(sources)
    for name in filter(is_corpus, paths):
        raise CorpusError(f"{name}: a prepared corpus, no text; to train on, it goes alone and with its own settings")
    target = None if out is None else Path(out)
    if target is not None and target.exists() and not is_corpus(target) and not _is_empty_folder(target):
        raise CorpusError(f"{target}: exists and is no corpus; it is left as it is: choose another folder with --out")
    try:
        with working_folder(target.absolute().parent if target else cache_folder()) as work:
            return _prepare(paths, config, base, target, overwrite, note, work)
    except OSError as error:
        raise OutputError(f"{target or cache_folder()}: cannot be written: {error.strerror or error}") from error


def _prepare(
    sources: Sequence[str],
    config: CorpusConfig,
    base: Tokenizer | None,
    target: Path | None,
    overwrite: bool,
    note: Note,
    work: Path,
) -> Corpus:
    copies = work / "streams"
    copies.mkdir()
    found = find_sources(sources, config, copies, note)
    prints = [fingerprint(source) for source in found]
    key = corpus_key(FORMAT, prints, config, base)
    cached = target is None
    target = target or cache_folder() / key
    if cached:
        touch(target)
    corpus = _existing(target, key, note)
    if corpus is None:
        if not (cached or overwrite):
            _check_replaced(target, prints, config)
        size = sum(p["size"] for p in prints)
        if size >= LARGE:
            note(f"preparing {size / 1e6:,.0f} MB of text")
        _install(_build(found, config, base, key, prints, work), target, key, work)
        corpus = _existing(target, key, note)
        if cached:
            trim()
    if corpus is None:
        raise OutputError(f"{target}: another program has just changed it")
    return corpus


def _existing(target: Path, key: str, note: Note) -> Corpus | None:
    """The corpus in `target`, if it has this key and is whole."""
    with contextlib.suppress(CorpusError):
        manifest = Manifest.load(target)
        if manifest.key == key:
            corpus = _opened(target, manifest)
            for text in manifest.notes:
                note(text)
            return corpus
    return None


def _check_replaced(target: Path, prints: list[dict[str, Any]], config: CorpusConfig) -> None:
    """Refuse to replace a corpus unless it was made of the same files with the same settings."""
    if not is_corpus(target):
        return
    with contextlib.suppress(CorpusError, AttributeError, TypeError):  # where the manifest is damaged
        manifest = Manifest.load(target)
        if manifest.config == config and _places(manifest.sources) == _places(prints):
            return
    raise CorpusError(f"{target}: holds a corpus of other files or settings; --overwrite replaces it")


def _places(prints: list[dict[str, Any]]) -> list[Any]:
    """Where text came from; of a stream, what it was."""
    return [p.get("path", p.get("sha256")) for p in prints]


def _build(
    sources: list[Source],
    config: CorpusConfig,
    base: Tokenizer | None,
    key: str,
    prints: list[dict[str, Any]],
    work: Path,
) -> Path:
    """Make the corpus in a folder in `work`."""
    built = work / "corpus"
    built.mkdir()
    mode = resolve(sources, config)
    readers = [Reader(source.path, source.name, config) for source in sources]
    found = labelled_documents(readers, config.label) if config.label is not None else documents(readers, mode)
    spool = write_spool(work, found, config.lowercase, config.split_seed)
    _check_amount(spool, config, sources)
    text, labels = _training_text(spool, config), sorted(spool.labels)
    tokenizer = grown_tokenizer(base, config, text, labels) if base else train_tokenizer(config, text, labels)
    parts, sha256 = {}, dict[str, str]()
    for writer in _encode(spool, config, tokenizer, built):
        parts[writer.name], hashes = writer.finish()
        sha256 |= hashes
    listed = [p | {"sha256": reader.sha256.hexdigest()} for p, reader in zip(prints, readers, strict=True)]
    notes = [text for reader in readers for text in _notes(reader)]
    manifest = Manifest(config, mode, tokenizer, key, listed, notes, parts, sha256)
    replace(manifest, overlap=_overlap(built, manifest, drawn=splits_documents(spool, config))).save(built)
    return built


def _overlap(built: Path, manifest: Manifest, drawn: bool) -> dict[str, Any] | None:
    """What the parts have in common; None where one of them is empty."""
    train, held_out = open_parts(built, manifest)
    if not held_out.chars:
        return None
    return find_overlap(train, held_out, manifest.tokenizer, drawn).to_json()


def _notes(reader: Reader) -> Iterator[str]:
    if reader.bytes_read == 0:
        yield f"{reader.name}: empty"
    if reader.empty_records:
        yield f"{reader.name}: {reader.empty_records} rows without text were left out"


def _check_amount(spool: Spool, config: CorpusConfig, sources: list[Source]) -> None:
    names = listed((source.name for source in sources), 3)
    if spool.chars == 0:
        raise SourceError(f"{names}: no text in it")
    left = sum(segment.chars for segment in segments(spool, config) if not segment.held_out)
    if left < FEWEST_CHARS:
        raise CorpusError(
            f"{names}: too little text: {spool.chars} characters, {left} of them left to train on (--held-out is "
            f"{float(held_out_share(config, spool.chars)):g}), expected at least {FEWEST_CHARS}"
        )


def _pieces(spool: Spool, config: CorpusConfig) -> Iterator[tuple[Segment, Iterator[str]]]:
    """The segments, each with its text."""
    one, other = tee(segments(spool, config))
    return zip(one, spool.read(segment.chars for segment in other), strict=True)


def _training_text(spool: Spool, config: CorpusConfig) -> Iterator[str]:
    """What the tokenizer is trained on: pieces of the training part, all of them for a char tokenizer."""
    share = 1.0 if config.tokenizer == "char" else min(1.0, VOCABULARY_CHARS / spool.chars)
    number = 0
    for segment, pieces in _pieces(spool, config):
        for piece in pieces:
            number += not segment.held_out
            if not segment.held_out and int(number * share) > int((number - 1) * share):
                yield piece


def _encode(spool: Spool, config: CorpusConfig, tokenizer: Tokenizer, folder: Path) -> list[PartWriter]:
    writers = [PartWriter(folder, "train", tokenizer), PartWriter(folder, "held_out", tokenizer)]
    last: dict[bool, Segment] = {}
    for segment, pieces in _pieces(spool, config):
        writer = writers[segment.held_out]
        writer.open_document(spool.label(segment.document))
        for piece in pieces:
            writer.write(piece)
        last[segment.held_out] = segment
    for held_out, segment in last.items():
        if len(spool.lengths) > 1 and segment.ends_document:
            writers[held_out].close_document()
    return writers


def _install(built: Path, target: Path, key: str, work: Path) -> None:
    """Give the finished corpus its name; what has it so far is taken away, unless it is the same corpus, which
    another process was faster to make."""
    with contextlib.suppress(OSError):
        os.rename(built, target)
        return
    if _existing(target, key, note=lambda text: None) is None:
        with contextlib.suppress(FileNotFoundError):
            os.rename(target, work / "replaced")
        os.rename(built, target)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
