"""Picking up a run that was stopped: it goes on as if it never had been."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rhapsode.config import BUDGETS, CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError, RunError
from rhapsode.files import write_json
from rhapsode.modelfile import ModelFile
from rhapsode.text.corpus import Corpus, open_corpus, prepare
from rhapsode.text.source import Note, short_name
from rhapsode.training.checkpoint import Checkpoint
from rhapsode.training.fields import Groups
from rhapsode.training.folder import CHECKPOINT, DESCRIPTION, START, Description
from rhapsode.training.lock import FolderLock
from rhapsode.training.run import Run


def resumed(sources: tuple[str, ...], folder: Path, groups: Groups, note: Note) -> Run:
    """The run in `folder`, locked. Sources and options must be those it began with, except the budget, which may grow.

    Raises:
        RunError: there is no run, it is of other sources, its text has changed, or another process trains there.
        ConfigError: an option is not as the run began.
    """
    with ExitStack() as stack:
        d = Description.load(folder)
        lock = stack.enter_context(FolderLock(folder))
        described = _same_fields(sources, folder, d, groups)
        corpus = _same_corpus(folder, d, note)
        write_json(folder / DESCRIPTION, described.to_json())
        path = folder / CHECKPOINT
        checkpoint = Checkpoint.load(path, d.model) if path.exists() else None
        if checkpoint is None:
            note(f"{folder}: stopped before its first checkpoint; starting from the beginning")
        stack.pop_all()
    return Run(folder, corpus, described, checkpoint, lock)


def _same_fields(sources: tuple[str, ...], folder: Path, d: Description, groups: Groups) -> Description:
    """What the run began with, with the budget that is named now."""
    if [*map(short_name, sources)] != [*map(short_name, d.sources)]:
        raise RunError(f"{folder}: a run on {', '.join(d.sources)}, found {', '.join(sources)}")
    train = d.train
    budget = {name: value for name, value in groups[TrainConfig].items() if name in BUDGETS and value is not None}
    if budget:
        train = TrainConfig(**(vars(train) | dict.fromkeys(BUDGETS) | budget))
    for cls, begun in ((CorpusConfig, d.corpus), (ModelConfig, d.model), (TrainConfig, train)):
        for name, value in groups[cls].items():
            if getattr(begun, name) != value:
                raise ConfigError(name, value, f"{getattr(begun, name)!r}, as the run began, with resume")
    return d if train == d.train else replace(d, train=train, expected=None)


def _same_corpus(folder: Path, d: Description, note: Note) -> Corpus:
    """The corpus that the run began with, prepared again if it is gone."""
    path = Path(d.corpus_path)
    if path.is_dir():
        corpus = open_corpus(path)
    else:
        began = folder / START
        base = ModelFile.load(began).tokenizer if began.is_file() else None
        corpus = prepare(d.sources, d.corpus, note=note, base=base)
    if corpus.digest != d.corpus_digest:
        raise RunError(f"{', '.join(d.sources)}: the text has changed since the run began; it cannot be resumed")
    return corpus
