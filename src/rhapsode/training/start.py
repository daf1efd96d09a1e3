"""Setting up a run: the corpus, the plan, the folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rhapsode import __version__
from rhapsode.backends.choose import resolve_backend
from rhapsode.config import CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError
from rhapsode.modelfile import ModelFile
from rhapsode.text.corpus import Corpus, is_corpus, open_corpus, prepare
from rhapsode.text.source import Note
from rhapsode.text.tokenizer import Tokenizer
from rhapsode.training.expect import expect
from rhapsode.training.expectation import Expectation
from rhapsode.training.fields import Groups, split_fields, with_cell
from rhapsode.training.folder import START, Description, new_run
from rhapsode.training.plan import Plan, make_plan
from rhapsode.training.resume import resumed
from rhapsode.training.run import Run
from rhapsode.training.speed import Stopwatch
from rhapsode.training.transfer import check_corpus, corpus_fields, model_fields, starting_model


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
    groups = split_fields(with_cell(fields))
    if resume:
        if from_ is not None:
            raise ConfigError("from", str(from_), "not with resume: the run knows what it began with")
        return resumed(sources, folder, groups, note)
    begun = time.perf_counter()
    base = from_ if from_ is None or isinstance(from_, ModelFile) else ModelFile.load(from_)
    corpus = _corpus_for(sources, groups[CorpusConfig], base, note)
    plan, expected = _planned(corpus, groups, base, begun)
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
    groups = split_fields(with_cell(fields))
    base = None if from_ is None else ModelFile.load(from_)
    corpus = _corpus_for(sources, groups[CorpusConfig], base, note)
    return corpus, *_planned(corpus, groups, base, time.perf_counter())


def _corpus_for(sources: tuple[str, ...], fields: Mapping[str, Any], base: ModelFile | None, note: Note) -> Corpus:
    """The corpus of `sources`, which the model `base` can go on with, if there is one."""
    if base is None:
        return load_corpus(sources, fields, note)
    if len(sources) == 1 and is_corpus(sources[0]):
        corpus = load_corpus(sources, fields)
    else:
        corpus = load_corpus(sources, corpus_fields(base, fields), note, base.tokenizer)
    check_corpus(base, corpus)
    return corpus


def _planned(corpus: Corpus, groups: Groups, base: ModelFile | None, begun: float) -> tuple[Plan, Expectation]:
    """The plan, and what to expect; `begun`: when the command was, by `time.perf_counter`."""
    of_model = groups[ModelConfig] if base is None else model_fields(base, groups[ModelConfig])
    plan = make_plan(corpus, of_model, groups[TrainConfig], Stopwatch().training, trained=base is not None)
    expected = expect(corpus, plan.model, plan.train, trained=base is not None)
    return plan, replace(expected, seconds=expected.seconds + time.perf_counter() - begun)
