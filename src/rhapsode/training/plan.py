"""Choosing what the user did not: a configuration that suits the text and the budget, with a reason for each choice.

Only fields marked `planned` in config.py are chosen, and only where the user named no value; the rest have fixed
defaults. The rules come from experiments that docs/LOG.md tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.text.batches import make_batches
from rhapsode.text.corpus import Corpus

DEFAULT_MINUTES = 1.0
LARGE_VOCABULARY = 1024
"""From this size on a table row for each symbol is too much, and an embedding is used."""


@dataclass(frozen=True)
class Plan:
    """What will be trained, how, and why so: one line a choice."""

    model: ModelConfig
    train: TrainConfig
    reasons: tuple[str, ...]


def make_plan(
    corpus: Corpus,
    model: Mapping[str, Any],
    train: Mapping[str, Any],
    speed: Callable[[ModelConfig, TrainConfig], float],
) -> Plan:
    """Complete the named fields `model` and `train` to a plan for `corpus`.

    `speed` measures how many tokens a second this machine trains with a configuration.

    Raises:
        ConfigError: a named value is not allowed, alone or together with another.
        CorpusError: there is too little text for these batches.
    """
    chooser = _Chooser(dict(model), dict(train))
    chooser.model |= {"vocab_size": corpus.tokenizer.vocab_size, "specials": corpus.tokenizer.specials}
    _choose_budget(chooser)
    _choose_batches(chooser, corpus)
    _choose_model(chooser, corpus)
    make_batches(corpus.train, TrainConfig(**chooser.train))  # too little text is said before anything is measured
    _choose_dropout(chooser, corpus, speed)
    return Plan(ModelConfig(**chooser.model), TrainConfig(**chooser.train), tuple(chooser.reasons))


class _Chooser:
    """The fields named so far; a choice never overrides one."""

    def __init__(self, model: dict[str, Any], train: dict[str, Any]):
        self.model, self.train, self.reasons = model, train, list[str]()

    def choose(self, fields: dict[str, Any], name: str, value: Any, reason: str) -> None:
        if name not in fields:
            fields[name] = value
            self.reasons.append(
                f"{name} {value:g}: {reason}" if isinstance(value, float) else f"{name} {value}: {reason}"
            )


def _choose_budget(c: _Chooser) -> None:
    if not any(c.train.get(name) is not None for name in ("minutes", "epochs", "steps")):
        c.choose(c.train, "minutes", DEFAULT_MINUTES, "no budget was named")


def _choose_batches(c: _Chooser, corpus: Corpus) -> None:
    documents = len(corpus.train.starts)
    size = len(corpus.train.tokens) / max(1, documents)
    if documents >= 100 and size <= 256:
        c.choose(c.train, "batches", "documents", f"{documents:,} documents of {size:.0f} symbols on average")
    if c.train.get("batches") == "documents":
        c.choose(c.train, "batch_size", 128, "documents are short")


def _choose_model(c: _Chooser, corpus: Corpus) -> None:
    V = corpus.tokenizer.vocab_size
    if V > LARGE_VOCABULARY:
        c.choose(c.model, "input", "embedding", f"{V:,} symbols are many")
    if c.model.get("tied"):
        c.choose(c.model, "embedding_size", c.model.get("hidden", 512), "as wide as the layer, to share its matrix")


def _choose_dropout(c: _Chooser, corpus: Corpus, speed: Callable[[ModelConfig, TrainConfig], float]) -> None:
    """More passes over the same text need more of it: nothing up to two, then a tenth for every doubling."""
    epochs = _expected_epochs(c, corpus, speed)
    p = round(min(0.5, max(0.0, 0.1 * math.log2(max(epochs, 1) / 1.75))), 2)
    if p >= 0.1:
        c.choose(c.model, "dropout_output", p, f"about {epochs:.0f} passes over the text are expected")
        if c.model.get("layers", 1) > 1:
            c.choose(c.model, "dropout", p, "likewise, between the layers")
    if p >= 0.25:
        c.choose(c.model, "dropconnect", p, "likewise, on the recurrent weights")


def _expected_epochs(c: _Chooser, corpus: Corpus, speed: Callable[[ModelConfig, TrainConfig], float]) -> float:
    train, tokens = TrainConfig(**c.train), len(corpus.train.tokens)
    if train.epochs is not None:
        return train.epochs
    if train.steps is not None:
        return train.steps * train.batch_size * train.length / tokens
    return (train.minutes or 0) * 60 * speed(ModelConfig(**c.model), train) / tokens
