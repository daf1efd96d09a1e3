"""What `evaluate` and `score` share: text that is read as the model's training text was, and lines of progress."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rhapsode.cli.options import config_options
from rhapsode.cli.output import note
from rhapsode.config import CorpusConfig, option
from rhapsode.errors import ConfigError, SourceError, listed

if TYPE_CHECKING:
    from rhapsode.modelfile import ModelFile
    from rhapsode.text.reading import Reader
    from rhapsode.text.tokenizer import Tokenizer

READING_FIELDS = ("documents", "field", "column", "encoding", "errors")
SECONDS = 5.0
"""Between two lines of progress."""


def reading_options() -> Any:
    """Options of how text is read; what is not named is as it was for the model's training text."""
    omit = [f.name for f in fields(CorpusConfig) if f.name not in READING_FIELDS]
    return config_options(CorpusConfig, "reading", omit=omit)


class Text(NamedTuple):
    """The documents of one source."""

    name: str
    documents: list[str]
    labels: list[str]
    """of the documents; none where the model knows none, or the source has none"""


def label_option() -> Any:
    """Declare the field `label` of commands that measure text."""
    return option(None, "label of all texts, for a model with labels; without it tables are read with those they have")


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
    config = _trained_config(model, reading)
    new_decoder(config.encoding, config.errors)
    with tempfile.TemporaryDirectory(prefix="rhapsode-") as copies:
        sources, notes = find_sources(names, config, Path(copies))
        for line in notes:
            note(line)
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


def _trained_config(model: ModelFile, reading: Mapping[str, Any]) -> CorpusConfig:
    """How the model's training text was read, changed by `reading`."""
    said = model.training.get("corpus")
    trained = {k: said[k] for k in (*READING_FIELDS, "label") if k in said} if isinstance(said, dict) else {}
    try:
        return CorpusConfig.from_json(trained | dict(reading))
    except ConfigError:
        return CorpusConfig.from_json(dict(reading))


def note_unknown(count: int) -> None:
    """Warn of figures that cannot be compared."""
    if count:
        note(
            f"tokens that stand for text the model has no symbol for: {count:,}; do not compare these bits per "
            f"character with those of a model that knows all of the text"
        )


class Meter:
    """Says on stderr how far a long piece of work has come."""

    def __init__(self, what: str):
        self.what, self.begun = what, time.monotonic()
        self.said = self.begun

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.said >= SECONDS:
            self.said = now
            speed = done / (now - self.begun)
            left = round((total - done) / speed)
            note(f"{self.what}: {100 * done / total:.0f} %, {speed:,.0f} tokens/s, {left:,} s left")
