"""A training run that is set up: training it, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.backends.choose import make_learner
from rhapsode.modelfile import ModelFile, find
from rhapsode.nn.joined import initial
from rhapsode.nn.spec import parameter_spec
from rhapsode.text.amount import bits_per_char_of_a_nat, counts, label_counts
from rhapsode.text.corpus import Corpus
from rhapsode.text.source import short_name
from rhapsode.training.checkpoint import Checkpoint
from rhapsode.training.folder import START, Description
from rhapsode.training.lock import FolderLock
from rhapsode.training.loop import Loop, Outcome
from rhapsode.training.metrics import file_observers
from rhapsode.training.observer import Observer


@dataclass
class Run:
    """A training run that is set up: `go` trains it."""

    folder: Path
    corpus: Corpus
    description: Description
    checkpoint: Checkpoint | None
    lock: FolderLock
    """of the folder, held since the run was set up, given back when it ends"""

    def go(self, observers: Sequence[Observer] = (), sampler: Callable[[ModelFile], str] | None = None) -> Outcome:
        """Train to the end of the budget (see `Loop.run`); `sampler` writes a sample of text to show now and then."""
        with self.lock:
            return self._loop(observers, sampler).run()

    def _loop(self, observers: Sequence[Observer], sampler: Callable[[ModelFile], str] | None) -> Loop:
        d, began = self.description, self.began_with()
        first = began.parameters if began else initial(d.model, d.train.networks, d.train.seed)
        learner = make_learner(d.model, d.train, first)
        step = self.checkpoint.progress.step if self.checkpoint else None
        title = ", ".join(map(short_name, d.sources))
        watching = [*file_observers(self.folder, title, bits_per_char_of_a_nat(self.corpus), step), *observers]
        loop = Loop(learner, self.corpus, d.train, self.folder, self.history(began), watching, sampler)
        if self.checkpoint:
            loop.resume(self.checkpoint)
        return loop

    def began_with(self) -> ModelFile | None:
        """The model that the run went on from, its vocabulary grown; None for a run that began from nothing."""
        path = self.folder / START
        return ModelFile.load(path) if path.is_file() else None

    def history(self, began: ModelFile | None) -> dict[str, Any]:
        """What a model file says of how it was trained; `began` is the model that the run went on from."""
        d, tokenizer = self.description, self.corpus.tokenizer
        whole = len(self.corpus.train.starts) == 1 and not tokenizer.labels
        before = began.training if began else {}
        return {name: value for name, value in before.items() if name != "calibration"} | {
            "rhapsode": d.version,
            "sources": [short_name(source) for source in d.sources],
            "documents": self.corpus.documents,
            "batches": d.train.batches,
            "start": "\n" if whole else "",
            "corpus": d.corpus.to_json() | {"digest": d.corpus_digest},
            "text": {"train": counts(self.corpus.train), "held_out": counts(self.corpus.held_out)},
            **({"labels": label_counts(self.corpus.train, tokenizer)} if tokenizer.labels else {}),
            "train": d.train.to_json(),
            "backend": d.backend,
            "bits_per_char_of_a_nat": bits_per_char_of_a_nat(self.corpus),
        }

    def parameter_count(self) -> int:
        return sum(p.size for p in parameter_spec(self.description.model))

    def summary(self, outcome: Outcome) -> dict[str, Any]:
        """What `rhapsode train --json` reports. The validation figures are those of the best model, which is saved."""
        p = outcome.progress
        loss = outcome.loss if math.isfinite(outcome.loss) else None
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
            "val_bits_per_char": None if loss is None else loss * bits_per_char_of_a_nat(self.corpus),
            "best_step": p.best_step,
            "val_nats_as_trained": p.best_loss if math.isfinite(p.best_loss) else None,
            "logits_times": outcome.calibration.scale if outcome.calibration else None,
            "expected": self.description.expected and self.description.expected.to_json(),
            "overlap": self.corpus.overlap and self.corpus.overlap.to_json(),
            "ended_by": outcome.reason,
            "backend": self.description.backend,
        }
