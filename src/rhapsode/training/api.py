"""From text to a trained model in one call."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhapsode import __version__
from rhapsode.backends.base import make_learner, resolve_backend
from rhapsode.config import CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError, RunError
from rhapsode.modelfile import ModelFile, find
from rhapsode.nn.spec import initial_parameters, parameter_spec
from rhapsode.text.corpus import Corpus, Part, is_corpus, open_corpus, prepare
from rhapsode.training.checkpoint import Checkpoint
from rhapsode.training.loop import Loop, Outcome
from rhapsode.training.metrics import file_observers
from rhapsode.training.observer import Observer
from rhapsode.training.plan import Plan, make_plan
from rhapsode.training.run import CHECKPOINT, Description, new_run
from rhapsode.training.speed import measure_speed

if TYPE_CHECKING:
    from rhapsode.model import Model

Note = Callable[[str], None]
BUDGETS = ("minutes", "epochs", "steps")


def train(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **fields: Any) -> Model:
    """Train a model on text and return it.

    Args:
        source: a file, a folder, a glob, a prepared corpus, or several of these.
        fields: any field of `TrainConfig`, `ModelConfig` and `CorpusConfig` by name, e.g. ``minutes=3, hidden=256``;
            what is not named is planned to suit the text and the time. `out` keeps the run in that folder, `resume`
            goes on with the run that is there, `overwrite` replaces it.

    Ctrl-C ends the training early and returns what has been learned so far; a second one raises KeyboardInterrupt.

    Raises:
        ConfigError: a field is unknown or its value is not allowed.
        SourceError, CorpusError: the text cannot be read, or is too little.
        TrainingError: the loss is no longer finite.
    """
    from rhapsode.model import Model

    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    out = fields.pop("out", None)
    resume, overwrite = fields.pop("resume", False), fields.pop("overwrite", False)
    with tempfile.TemporaryDirectory(prefix="rhapsode-") as temporary:
        folder = Path(out) if out is not None else Path(temporary) / "run"
        run = start(tuple(os.fspath(s) for s in sources), folder, fields, resume=resume, overwrite=overwrite)
        run.go()
        return Model(ModelFile.load(folder))


@dataclass
class Run:
    """A training run that is set up: `go` trains it."""

    folder: Path
    corpus: Corpus
    description: Description
    checkpoint: Checkpoint | None

    def go(
        self, observers: Sequence[Observer] = (), sampler: Callable[[ModelFile], str] | None = None, **loop: Any
    ) -> Outcome:
        """Train to the end of the budget (see `Loop.run`)."""
        d = self.description
        learner = make_learner(d.model, d.train, initial_parameters(d.model, d.train.seed))
        step = self.checkpoint.progress.step if self.checkpoint else None
        title = ", ".join(Path(source).name for source in d.sources)
        watching = [*file_observers(self.folder, title, self.bits_per_char(), step), *observers]
        run = Loop(learner, self.corpus, d.train, self.folder, self.history(), watching, sampler, **loop)
        if self.checkpoint:
            run.resume(self.checkpoint)
        return run.run()

    def bits_per_char(self) -> float:
        """What turns nats per token into bits per character, on the held-out part (the training part without one)."""
        part = self.corpus.held_out if len(self.corpus.held_out.tokens) > 1 else self.corpus.train
        return bits_per_char(part)

    def history(self) -> dict[str, Any]:
        """What a model file says of how it was trained."""
        d, whole = self.description, len(self.corpus.train.starts) == 1
        return {
            "rhapsode": d.version,
            "sources": [Path(s).name for s in d.sources],
            "documents": self.corpus.documents,
            "batches": d.train.batches,
            "start": "\n" if whole else "",
            "corpus": d.corpus.to_json() | {"digest": d.corpus_digest},
            "text": {"train": counts(self.corpus.train), "held_out": counts(self.corpus.held_out)},
            "train": d.train.to_json(),
            "backend": d.backend,
            "bits_per_char_of_a_nat": self.bits_per_char(),
        }

    def parameter_count(self) -> int:
        return sum(p.size for p in parameter_spec(self.description.model))

    def summary(self, outcome: Outcome) -> dict[str, Any]:
        """What `rhapsode train --json` reports. The validation figures are those of the best model, which is saved."""
        p = outcome.progress
        loss = p.best_loss if math.isfinite(p.best_loss) else None
        return {
            "model": str(find(self.folder)),
            "run": str(self.folder),
            "steps": p.step,
            "seconds": round(p.seconds, 3),
            "tokens": p.tokens,
            "tokens_per_second": round(p.tokens / p.seconds) if p.seconds else 0,
            "parameters": self.parameter_count(),
            "train_nats_per_token": p.train_loss if math.isfinite(p.train_loss) else None,
            "val_nats_per_token": loss,
            "val_bits_per_char": None if loss is None else loss * self.bits_per_char(),
            "best_step": p.best_step,
            "ended_by": outcome.reason,
            "backend": self.description.backend,
        }


def counts(part: Part) -> dict[str, int]:
    """How much text a part of a corpus holds."""
    return {
        "tokens": max(0, len(part.tokens) - 1),
        "chars": part.chars,
        "bytes": part.bytes,
        "documents": len(part.starts),
    }


def bits_per_char(part: Part) -> float:
    """Tokens per character, in bits per nat: nats per token times this are bits per character."""
    return (len(part.tokens) - 1) / max(1, part.chars) / math.log(2)


def start(
    sources: tuple[str, ...],
    folder: Path,
    fields: Mapping[str, Any],
    *,
    resume: bool = False,
    overwrite: bool = False,
    note: Note = lambda text: None,
) -> Run:
    """Prepare the corpus, make the plan and the run folder; or pick up the run in `folder` with `resume`."""
    groups = split_fields(fields)
    if resume:
        return _resumed(sources, folder, groups, note)
    corpus = load_corpus(sources, groups[CorpusConfig], note)
    plan = make_plan(corpus, groups[ModelConfig], groups[TrainConfig], measure_speed)
    backend = resolve_backend(plan.train.backend)
    description = Description(
        sources,
        corpus.config,
        str(corpus.path),
        corpus.digest,
        plan.model,
        plan.train,
        backend,
        plan.reasons,
        __version__,
    )
    new_run(folder, description, overwrite)
    return Run(folder, corpus, description, None)


def load_corpus(sources: tuple[str, ...], fields: Mapping[str, Any], note: Note = lambda text: None) -> Corpus:
    """The corpus of `sources`: prepared already, or prepared now (and kept for the next time)."""
    if len(sources) == 1 and is_corpus(sources[0]):
        if fields:
            name = next(iter(fields))
            raise ConfigError(name, fields[name], "not with a prepared corpus, which has its own")
        return open_corpus(Path(sources[0]))
    return prepare(sources, CorpusConfig(**fields), note=note)


def plan_for(
    sources: tuple[str, ...], fields: Mapping[str, Any], note: Note = lambda text: None
) -> tuple[Corpus, Plan]:
    """What `start` would train, without training it."""
    groups = split_fields(fields)
    corpus = load_corpus(sources, groups[CorpusConfig], note)
    return corpus, make_plan(corpus, groups[ModelConfig], groups[TrainConfig], measure_speed)


def split_fields(fields: Mapping[str, Any]) -> dict[type, dict[str, Any]]:
    """Sort named fields by the configuration that has them.

    Raises:
        ConfigError: none has it; names the nearest one that exists.
    """
    groups: dict[type, dict[str, Any]] = {CorpusConfig: {}, ModelConfig: {}, TrainConfig: {}}
    owners = {f.name: cls for cls in groups for f in dataclasses.fields(cls) if not f.metadata["derived"]}
    for name, value in fields.items():
        if name not in owners:
            near = difflib.get_close_matches(name, owners, 1)
            raise ConfigError(name, value, f"only known fields{f'; did you mean {near[0]}?' if near else ''}")
        groups[owners[name]][name] = value
    return groups


def _resumed(sources: tuple[str, ...], folder: Path, groups: dict[type, dict[str, Any]], note: Note) -> Run:
    """The run in `folder`. Sources and options must be those it began with, except the budget, which may grow."""
    d = Description.load(folder)
    if [Path(s).name for s in sources] != [Path(s).name for s in d.sources]:
        raise RunError(f"{folder}: a run on {', '.join(d.sources)}, found {', '.join(sources)}")
    train = d.train
    budget = {name: value for name, value in groups[TrainConfig].items() if name in BUDGETS and value is not None}
    if budget:
        train = TrainConfig(**(vars(train) | dict.fromkeys(BUDGETS) | budget))
    for cls, begun in ((CorpusConfig, d.corpus), (ModelConfig, d.model), (TrainConfig, train)):
        for name, value in groups[cls].items():
            if getattr(begun, name) != value:
                raise ConfigError(name, value, f"{getattr(begun, name)!r}, as the run began, with resume")
    corpus = _same_corpus(d, note)
    path = folder / CHECKPOINT
    checkpoint = Checkpoint.load(path, d.model) if path.exists() else None
    if checkpoint is None:
        note(f"{folder}: stopped before its first checkpoint; starting from the beginning")
    return Run(folder, corpus, dataclasses.replace(d, train=train), checkpoint)


def _same_corpus(d: Description, note: Note) -> Corpus:
    """The corpus that the run began with, prepared again if it is gone."""
    path = Path(d.corpus_path)
    corpus = open_corpus(path) if path.is_dir() else prepare(d.sources, d.corpus, note=note)
    if corpus.digest != d.corpus_digest:
        raise RunError(f"{', '.join(d.sources)}: the text has changed since the run began; it cannot be resumed")
    return corpus
