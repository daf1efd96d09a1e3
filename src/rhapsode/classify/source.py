"""Texts with their classes from files.

    tables (.jsonl, .csv, .tsv)   each row is a text; its class is in the field or column that `label` names
    one folder                    each thing in it is a class, by its name
    several files and folders     likewise

The texts of a class that is a folder are its files; of a class that is a file, its lines where every such file looks
like a list of short entries or one has next to no blank lines, else what stands between those; `CorpusConfig.documents`
can say otherwise. The class ``Italian`` may be called ``Italian``, ``Italian.txt`` or ``Italian.txt.gz``.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rhapsode.config import CorpusConfig
from rhapsode.errors import SourceError
from rhapsode.text.documents import are_lists, documents, joined
from rhapsode.text.reading import Reader, new_decoder, unpacked
from rhapsode.text.source import Note, Source, find_sources

FEWEST_BLOCKS = 20
"""A longer text with fewer blocks between blank lines than this is not made of such blocks."""


class Labelled(NamedTuple):
    """Texts, and the class of each."""

    texts: list[str]
    labels: list[str]


def read_labelled(names: Sequence[str], config: CorpusConfig, label: str, note: Note) -> Labelled:
    """The texts that `names` mean, none of them empty, in order.

    Raises:
        SourceError: they cannot be read or decoded, have no label, or are tables and other files together.
    """
    new_decoder(config.encoding, config.errors)
    with tempfile.TemporaryDirectory(prefix="rhapsode-") as copies:
        found = {root: find_sources([root], config, Path(copies), note) for root in _roots(names)}
        sources = [source for own in found.values() for source in own]
        tables, others = ([s for s in sources if (s.kind != "text") == table] for table in (True, False))
        if tables and others:
            raise SourceError(f"{others[0].name}: no table, as {tables[0].name} is; expected all or none to be tables")
        pairs = _of_tables(tables, config, label, note) if tables else _of_classes(found, config)
    if not pairs:
        raise SourceError(f"{', '.join(names)}: no text in it")
    return Labelled([text for text, _ in pairs], [name for _, name in pairs])


def read_texts(names: Sequence[str], config: CorpusConfig, note: Note) -> list[str]:
    """The texts without classes that `names` mean, none of them empty: rows of tables, and lines of other files unless
    `config.documents` says otherwise.

    Raises:
        SourceError: they cannot be read or decoded, or there are none.
    """
    new_decoder(config.encoding, config.errors)
    mode = "lines" if config.documents == "auto" else config.documents
    texts = list[str]()
    with tempfile.TemporaryDirectory(prefix="rhapsode-") as copies:
        for source in find_sources(names, config, Path(copies), note):
            reader = Reader(source.path, source.name, config)
            texts += joined(documents([reader], mode if reader.kind == "text" else "rows"))
            _note_empty(reader, note)
    if not texts:
        raise SourceError(f"{', '.join(names)}: no text in it")
    return texts


def _of_tables(tables: list[Source], config: CorpusConfig, label: str, note: Note) -> list[tuple[str, str]]:
    pairs = list[tuple[str, str]]()
    for source in tables:
        reader = Reader(source.path, source.name, config)
        pairs += reader.labelled(label)
        _note_empty(reader, note)
    return pairs


def _note_empty(reader: Reader, note: Note) -> None:
    if reader.empty_records:
        note(f"{reader.name}: {reader.empty_records} rows without text were left out")


def _of_classes(found: dict[str, list[Source]], config: CorpusConfig) -> list[tuple[str, str]]:
    """The texts of a file or folder a class."""
    files = [source for root, own in found.items() for source in own if not Path(root).is_dir()]
    usual = "lines" if are_lists(files, config) or any(_is_one_block(file, config) for file in files) else "blank-lines"
    pairs = list[tuple[str, str]]()
    for root, own in found.items():
        mode = ("files" if Path(root).is_dir() else usual) if config.documents == "auto" else config.documents
        readers = [Reader(source.path, source.name, config) for source in own]
        pairs += [(text, _class_of(Path(root))) for text in joined(documents(readers, mode))]
    return pairs


def _is_one_block(source: Source, config: CorpusConfig) -> bool:
    """Whether a file has many lines, and next to no blank ones."""

    def many(mode: str) -> bool:
        found = joined(documents([Reader(source.path, source.name, config)], mode))
        return sum(1 for _ in islice(found, FEWEST_BLOCKS)) == FEWEST_BLOCKS

    return many("lines") and not many("blank-lines")


def _class_of(root: Path) -> str:
    """The name of the class that a file or folder stands for."""
    return root.resolve().name if root.is_dir() else unpacked(root).stem


def _roots(names: Sequence[str]) -> list[str]:
    """The files and folders that are a class each, where they are no tables."""
    if len(names) == 1 and Path(names[0]).is_dir():
        return [str(path) for path in sorted(Path(names[0]).iterdir()) if not path.name.startswith(".")] or list(names)
    globs = [[name] if Path(name).exists() else sorted(glob.glob(name)) or [name] for name in names]
    return [root for roots in globs for root in roots]
