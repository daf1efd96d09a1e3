"""Setting up a run: the corpus, the plan, the folder; or picking up one that was stopped."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rhapsode import __version__
from rhapsode.backends.choose import load_cell, resolve_backend
from rhapsode.config import BUDGETS, CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError, RunError
from rhapsode.files import write_json
from rhapsode.modelfile import ModelFile
from rhapsode.text.corpus import Corpus, is_corpus, open_corpus, prepare
from rhapsode.text.source import short_name
from rhapsode.text.tokenizer import Tokenizer
from rhapsode.training.checkpoint import Checkpoint
from rhapsode.training.expect import expect
from rhapsode.training.expectation import Expectation
from rhapsode.training.folder import CHECKPOINT, DESCRIPTION, START, Description, new_run
from rhapsode.training.lock import FolderLock
from rhapsode.training.plan import Plan, make_plan
from rhapsode.training.run import Run
from rhapsode.training.speed import Stopwatch
from rhapsode.training.transfer import check_corpus, corpus_fields, model_fields, starting_model

Note = Callable[[str], None]


def start(
    sources: tuple[str, ...],
    folder: Path,
    fields: Mapping[str, Any],
    *,
    resume: bool = False,
    overwrite: bool = False,
    from_: str | Path | ModelFile | None = None,
    note: Note = lambda text: None,
) -> Run:
    """Prepare the corpus, make the plan and the run folder; or pick up the run in `folder` with `resume`. `from_`: a
    model to go on from."""
    fields = with_cell(fields)
    if resume:
        if from_ is not None:
            raise ConfigError("from", str(from_), "not with resume: the run knows what it began with")
        return _resumed(sources, folder, split_fields(fields), note)
    begun = time.perf_counter()
    base = from_ if from_ is None or isinstance(from_, ModelFile) else ModelFile.load(from_)
    corpus = _corpus_for(sources, split_fields(fields), base, note)
    plan, expected = _planned(corpus, fields, base, begun)
    description = Description(
        sources=sources,
        corpus=corpus.config,
        corpus_path=str(corpus.path),
        corpus_digest=corpus.digest,
        model=plan.model,
        train=plan.train,
        backend=resolve_backend(plan.train.backend, plan.model.cell),
        reasons=tuple(map(str, plan.choices)),
        version=__version__,
        expected=expected,
    )
    lock = new_run(folder, description, overwrite)
    if base:
        starting_model(base, plan.model, corpus).save(folder / START)
    return Run(folder, corpus, description, None, lock)


def with_cell(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with the name of a cell of the user's own where its file was named, which is run."""
    cell = fields.get("cell")
    if isinstance(cell, str | Path) and Path(cell).suffix == ".py":
        return {**fields, "cell": load_cell(cell)}
    return {**fields}


def load_corpus(
    sources: tuple[str, ...],
    fields: Mapping[str, Any],
    note: Note = lambda text: None,
    base: Tokenizer | None = None,
) -> Corpus:
    """The corpus of `sources`: prepared already, or prepared now (and kept for the next time), with the symbols of
    `base` and what the text adds to them."""
    if len(sources) == 1 and is_corpus(sources[0]):
        if fields:
            raise ConfigError(*next(iter(fields.items())), "not with a prepared corpus, which has its own")
        return open_corpus(Path(sources[0]))
    return prepare(sources, CorpusConfig(**fields), note=note, base=base)


def plan_for(
    sources: tuple[str, ...],
    fields: Mapping[str, Any],
    note: Note = lambda text: None,
    from_: str | Path | None = None,
) -> tuple[Corpus, Plan, Expectation]:
    """What `start` would train, without training it, and what to expect of `start` now that the text is prepared."""
    fields = with_cell(fields)
    base = None if from_ is None else ModelFile.load(from_)
    corpus = _corpus_for(sources, split_fields(fields), base, note)
    return corpus, *_planned(corpus, fields, base, time.perf_counter())


def _corpus_for(
    sources: tuple[str, ...], groups: dict[type, dict[str, Any]], base: ModelFile | None, note: Note
) -> Corpus:
    of_text = groups[CorpusConfig]
    if base is None:
        return load_corpus(sources, of_text, note)
    if len(sources) == 1 and is_corpus(sources[0]):
        corpus = load_corpus(sources, of_text)
    else:
        corpus = load_corpus(sources, corpus_fields(base, of_text), note, base.tokenizer)
    check_corpus(base, corpus)
    return corpus


def _planned(
    corpus: Corpus, fields: Mapping[str, Any], base: ModelFile | None, begun: float
) -> tuple[Plan, Expectation]:
    """The plan, and what to expect; `begun`: when the command was."""
    groups = split_fields(fields)
    of_model = groups[ModelConfig] if base is None else model_fields(base, groups[ModelConfig])
    plan = make_plan(corpus, of_model, groups[TrainConfig], Stopwatch().training, trained=base is not None)
    expected = expect(corpus, plan.model, plan.train, trained=base is not None)
    return plan, replace(expected, seconds=expected.seconds + time.perf_counter() - begun)


def split_fields(
    fields: Mapping[str, Any], configs: Sequence[type] = (CorpusConfig, ModelConfig, TrainConfig)
) -> dict[type, dict[str, Any]]:
    """Sort named fields by the configuration that has them.

    Raises:
        ConfigError: none has it; names the nearest one that exists.
    """
    groups: dict[type, dict[str, Any]] = {cls: {} for cls in configs}
    owners = {f.name: cls for cls in configs for f in dataclasses.fields(cls) if not f.metadata["derived"]}
    for name, value in fields.items():
        if name not in owners:
            near = difflib.get_close_matches(name, owners, 1)
            raise ConfigError(name, value, f"only known fields{f'; did you mean {near[0]}?' if near else ''}")
        groups[owners[name]][name] = value
    return groups


def _resumed(sources: tuple[str, ...], folder: Path, groups: dict[type, dict[str, Any]], note: Note) -> Run:
    """The run in `folder`. Sources and options must be those it began with, except the budget, which may grow."""
    with ExitStack() as stack:
        d = Description.load(folder)
        lock = stack.enter_context(FolderLock(folder))
        resumed = _same_fields(sources, folder, d, groups)
        corpus = _same_corpus(folder, d, note)
        write_json(folder / DESCRIPTION, resumed.to_json())
        path = folder / CHECKPOINT
        checkpoint = Checkpoint.load(path, d.model) if path.exists() else None
        if checkpoint is None:
            note(f"{folder}: stopped before its first checkpoint; starting from the beginning")
        stack.pop_all()
    return Run(folder, corpus, resumed, checkpoint, lock)


def _same_fields(
    sources: tuple[str, ...], folder: Path, d: Description, groups: dict[type, dict[str, Any]]
) -> Description:
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
