"""Text for a model, read as its training text was, but for what the user names."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rhapsode.cli.options import config_options
from rhapsode.cli.output import note
from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, SourceError, listed

if TYPE_CHECKING:
    from rhapsode.modelfile import ModelFile
    from rhapsode.text.reading import Reader
    from rhapsode.text.tokenizer import Tokenizer

READING_FIELDS = ("documents", "field", "column", "encoding", "errors")


def reading_options() -> Any:
    """Options of how text is read; what is not named is as it was for the model's training text."""
    omit = [f.name for f in fields(CorpusConfig) if f.name not in READING_FIELDS]
    return config_options(CorpusConfig, "reading", omit=omit)


def trained_config(training: Mapping[str, Any], named: Mapping[str, Any]) -> CorpusConfig:
    """How the text was read that a model learned from, changed by what is `named`.

    Args:
        training: what the model's file says of its training; of a file that says nonsense only what is named counts.

    Raises:
        ConfigError: a named value is not allowed.
    """
    said = training.get("corpus")
    trained = {k: said[k] for k in (*READING_FIELDS, "label") if k in said} if isinstance(said, dict) else {}
    try:
        return CorpusConfig.from_json(trained | dict(named))
    except ConfigError:
        return CorpusConfig.from_json(dict(named))


class Text(NamedTuple):
    """The documents of one source."""

    name: str
    documents: list[str]
    labels: list[str]
    """of the documents; none where the model knows none, or the source has none"""


def read_texts(
    model: ModelFile,
    names: Sequence[str],
    reading: Mapping[str, Any],
    label: str | None = None,
    labels: Literal["needed", "found", "none"] = "needed",
) -> tuple[list[Text], str]:
    """The documents of each source that `names` mean, and what one document is (`text.documents`). They have the
    `label` if one is named; else, where the model knows labels, those of their tables, which all texts must have
    (`labels` needed), or only those that are found, or none.

    Raises:
        SourceError: text cannot be found, read or decoded, or lacks its label.
        ConfigError: the model knows no such label.
    """
    from rhapsode.text.documents import resolve
    from rhapsode.text.reading import Reader, new_decoder
    from rhapsode.text.source import find_sources
    from rhapsode.text.tokenizer import label_id

    if label is not None:
        label_id(model.tokenizer, label)
    config = trained_config(model.training, reading)
    new_decoder(config.encoding, config.errors)
    with tempfile.TemporaryDirectory(prefix="rhapsode-") as copies:
        sources = find_sources(names, config, Path(copies), note)
        mode = reading.get("documents", model.training.get("documents", "whole"))
        if mode == "auto":
            mode = resolve(sources, config)
        readers = [Reader(source.path, source.name, config) for source in sources]
        own = labels != "none" and label is None and bool(model.tokenizer.labels)
        return [
            _labelled(reader, model.tokenizer)
            if own and (labels == "needed" or _has_labels(reader))
            else _plain(reader, mode, label)
            for reader in readers
        ], mode


def _plain(reader: Reader, mode: str, label: str | None) -> Text:
    """The documents of a source, all with this label if there is one."""
    from rhapsode.text.documents import documents, joined

    found = list(joined(documents([reader], mode)))
    return Text(reader.name, found, [] if label is None else [label] * len(found))


def _has_labels(reader: Reader) -> bool:
    """Whether its texts are rows of a table, with labels among the columns."""
    return reader.kind != "text" and reader.config.label is not None


def _labelled(reader: Reader, tokenizer: Tokenizer) -> Text:
    """The rows of a table with the labels they have."""
    known = listed(tokenizer.labels)
    if not _has_labels(reader):
        raise SourceError(f"{reader.name}: its texts have no labels: name theirs with --label, one of {known}")
    pairs = list(reader.labelled(reader.config.label or ""))
    for number, (_, label) in enumerate(pairs, 1):
        if label not in tokenizer.labels:
            raise SourceError(f"{reader.name}: text {number}: found label {label!r}, the model knows {known}")
    return Text(reader.name, [text for text, _ in pairs], [label for _, label in pairs])
