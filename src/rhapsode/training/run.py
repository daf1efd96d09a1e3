"""A training run that is set up: training it, and what is told of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.backends.choose import make_learner
from rhapsode.modelfile import ModelFile, find
from rhapsode.nn.joined import initial
from rhapsode.nn.spec import parameter_spec
from rhapsode.text.corpus import Corpus, Part
from rhapsode.text.source import short_name
from rhapsode.text.tokenizer import Tokenizer, label_id
from rhapsode.training.checkpoint import Checkpoint
from rhapsode.training.folder import START, Description
from rhapsode.training.lock import FolderLock
from rhapsode.training.loop import Loop, Outcome
from rhapsode.training.metrics import file_observers
from rhapsode.training.observer import Observer

STRIDE = 1 << 16
"""Documents looked at together."""


@dataclass
class Run:
    """A training run that is set up: `go` trains it."""

    folder: Path
    corpus: Corpus
    description: Description
    checkpoint: Checkpoint | None
    lock: FolderLock
    """of the folder, held since the run was set up, given back when it ends"""

    def go(
        self, observers: Sequence[Observer] = (), sampler: Callable[[ModelFile], str] | None = None, **loop: Any
    ) -> Outcome:
        """Train to the end of the budget (see `Loop.run`)."""
        with self.lock:
            return self._loop(observers, sampler, **loop).run()

    def _loop(self, observers: Sequence[Observer], sampler: Callable[[ModelFile], str] | None, **options: Any) -> Loop:
        d, began = self.description, self.began_with()
        first = began.parameters if began else initial(d.model, d.train.networks, d.train.seed)
        learner = make_learner(d.model, d.train, first)
        step = self.checkpoint.progress.step if self.checkpoint else None
        title = ", ".join(map(short_name, d.sources))
        watching = [*file_observers(self.folder, title, self.bits_per_char(), step), *observers]
        loop = Loop(learner, self.corpus, d.train, self.folder, self.history(began), watching, sampler, **options)
        if self.checkpoint:
            loop.resume(self.checkpoint)
        return loop

    def began_with(self) -> ModelFile | None:
        """The model that the run went on from, its vocabulary grown; None for a run that began from nothing."""
        path = self.folder / START
        return ModelFile.load(path) if path.is_file() else None

    def bits_per_char(self) -> float:
        """What turns nats per token into bits per character, on the held-out part (the training part without one)."""
        part = self.corpus.held_out if len(self.corpus.held_out.tokens) > 1 else self.corpus.train
        return bits_per_char(part)

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
            "bits_per_char_of_a_nat": self.bits_per_char(),
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
            "val_bits_per_char": None if loss is None else loss * self.bits_per_char(),
            "best_step": p.best_step,
            "val_nats_as_trained": p.best_loss if math.isfinite(p.best_loss) else None,
            "logits_times": outcome.calibration.scale if outcome.calibration else None,
            "expected": self.description.expected and self.description.expected.to_json(),
            "overlap": self.corpus.overlap and self.corpus.overlap.to_json(),
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


def described(corpus: Corpus) -> str:
    """How much text there is, of how many symbols."""
    tokenizer = corpus.tokenizer
    labels = f", {len(tokenizer.labels):,} of them labels" if tokenizer.labels else ""
    return (
        f"{corpus.train.chars:,} characters to learn from, {corpus.held_out.chars:,} held out; "
        f"{tokenizer.vocab_size:,} {tokenizer.kind} symbols{labels}"
    )


def label_counts(part: Part, tokenizer: Tokenizer) -> dict[str, int]:
    """How many documents of a part have each label."""
    counts = Counter[int]()
    for at in range(0, len(part.starts), STRIDE):
        counts.update(part.tokens[part.starts[at : at + STRIDE] + 1].tolist())
    return {label: counts[label_id(tokenizer, label)] for label in tokenizer.labels}


def bits_per_char(part: Part) -> float:
    """Tokens per character, in bits per nat: nats per token times this are bits per character."""
    return (len(part.tokens) - 1) / max(1, part.chars) / math.log(2)
