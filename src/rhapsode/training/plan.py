"""Choosing what the user did not: a configuration that suits the text and the budget, with a reason for each choice.

Only fields marked `planned` in config.py are chosen, and only where the user named no value; the rest have fixed
defaults. The rules come from experiments that docs/LOG.md tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rhapsode.config import BUDGETS, ELEMENTWISE, ModelConfig, TrainConfig, has_recurrent_matrix
from rhapsode.errors import ConfigError
from rhapsode.nn.joined import part_config
from rhapsode.text.batches import Batches, make_batches
from rhapsode.text.corpus import Corpus
from rhapsode.training.expectation import LITTLE_TEXT
from rhapsode.training.progress import Budget
from rhapsode.training.validation import validation_interval

DEFAULT_MINUTES = 1.0
SIZES = ((0.5e6, 256, 1.5e-2), (3.5e6, 384, 1e-2), (math.inf, 512, 6e-3))
"""Up to so many tokens: hidden, lr; see docs/LOG.md."""
TRAINED_LR, TRAINED_DROPOUT = 1e-3, 0.5
"""For a model that has learned from other text already: learning rate, part of the usual dropout; see docs/LOG.md."""
CELL_RATES = {"mlstm": 0.5, "mogrifier": 0.5}
"""Learning rate of a cell, as a part of the rates here, which suit the others; see docs/LOG.md."""
CELL_DECAYS = {"mlstm": 0.1, "mogrifier": 0.1}
"""Weight decay of a cell whose gradient explodes with the usual one; see docs/LOG.md."""
OUTPUT_LR, OUTPUT_SYMBOLS = 3.0, 1500
"""Learning rate of the output layer's matrix, as a multiple of the rates here, where there are so many symbols of text
for each one in the vocabulary: with fewer it learns them by heart; see docs/LOG.md."""
AVERAGING = 0.99
"""Decay of the running average of the weights, where few passes are expected; see docs/LOG.md."""
LITTLE_BATCH, LITTLE_LR, LITTLE_PASSES, LITTLE_STEPS = 8, 6e-3, 20, 200
"""Of little text: so small a batch, a rate that suits it, and no more passes than that, but so many steps; see
docs/LOG.md."""
STREAMS, STREAM, STREAM_STEPS = (128, 64), 60_000, 700
"""Batches for large corpora: the first that leaves so many symbols to each stream and so many steps to the time; see
docs/LOG.md."""
NETWORKS = (
    (LITTLE_TEXT, ((160, 4, 256, LITTLE_LR),)),
    (3e5, ((80, 2, 256, 1.2e-2), (250, 3, 256, 1.2e-2))),
    (math.inf, ((45, 2, 384, 8e-3), (100, 3, 384, 8e-3), (160, 3, 512, 6e-3))),
)
"""Of so many symbols to learn from at most, from so many passes on that one network of the first row's units makes in
the time there is: how many networks, units of each, lr; see docs/LOG.md."""
PART_DROPOUT = 0.8
"""Part of the usual dropout that networks have which are joined."""
FAST_DROPOUT = 0.75
"""Part of it that suits text other than lists where the output layer learns faster than the rest; see docs/LOG.md."""
DROPOUT = 0.28
"""Of the output, at most, for a million symbols: a tenth more for half as many; see docs/LOG.md."""
DROPOUT_GAP = 0.08
"""Of documents: what part of it the held-out loss is above the training loss with full dropout; see docs/LOG.md."""
LARGE_VOCABULARY = 1024
"""From this size on a table row for each symbol is too much, and an embedding is used."""

MOST_PASSES = 40
"""More passes over a text teach a network little, with whatever dropout."""
FEW_PASSES, FEW_SHARE = 4, 0.01
"""Up to so many passes over the text the last weights are the best: validations may cost this part of the time."""

Speed = Callable[[ModelConfig, TrainConfig, Batches], float]


class Choice(NamedTuple):
    """What a field was set to, and why."""

    name: str
    value: Any
    reason: str

    def __str__(self) -> str:
        value = f"{self.value:g}" if isinstance(self.value, float) else self.value
        return f"{self.name} {value}: {self.reason}"


@dataclass(frozen=True)
class Plan:
    """What will be trained, how, and why so."""

    model: ModelConfig
    train: TrainConfig
    choices: tuple[Choice, ...]


def make_plan(
    corpus: Corpus,
    model: Mapping[str, Any],
    train: Mapping[str, Any],
    speed: Speed,
    trained: bool = False,
) -> Plan:
    """Complete the named fields `model` and `train` to a plan for `corpus`.

    `speed` measures how many tokens a second this machine trains with a configuration and batches; `trained`: the
    model has learned from other text already, and `model` is its structure.

    Raises:
        ConfigError: a named value is not allowed, alone or together with another.
        CorpusError: there is too little text for these batches.
    """
    chooser = _Chooser(dict(model), dict(train))
    chooser.model |= {"vocab_size": corpus.tokenizer.vocab_size, "specials": corpus.tokenizer.specials}
    _choose_by_text(chooser, corpus, trained)
    _choose_streams(chooser, corpus, speed)
    batches = make_batches(corpus.train, TrainConfig(**chooser.train))
    if not trained and (_names_budget(train) or "networks" in train or not _is_little(corpus)):
        _choose_networks(chooser, batches, len(corpus.train.tokens), speed)
    tokens = _expected_tokens(chooser, batches, speed)
    most = max(LITTLE_PASSES, -(-LITTLE_STEPS // batches.steps_per_epoch)) if _is_little(corpus) else MOST_PASSES
    useful = min(tokens, most * batches.predictions)
    if useful < tokens and not _names_budget(train):
        _choose_passes(chooser, most)
        tokens = useful
    _choose_by_time(chooser, corpus, batches, tokens, useful, trained)
    plan = Plan(ModelConfig(**chooser.model), TrainConfig(**chooser.train), tuple(chooser.choices))
    _check_networks(plan, trained)
    return plan


def _choose_by_text(c: _Chooser, corpus: Corpus, trained: bool) -> None:
    """What the text and the named fields decide, whatever the machine."""
    _choose_budget(c)
    if trained:
        _choose_rate(c, TRAINED_LR, "goes on from a trained model")
    _choose_batches(c, corpus)
    _choose_depth(c)
    _choose_output_rate(c, corpus)
    _choose_decay(c)
    _choose_input(c, corpus)


def _choose_by_time(c: _Chooser, corpus: Corpus, batches: Batches, tokens: float, useful: float, trained: bool) -> None:
    """What it matters for how much is read: `tokens` in all, `useful` of them before many passes teach nothing new."""
    units, passes = c.model.get("hidden", ModelConfig.hidden), tokens / batches.predictions
    by = f" (by {units} units in this time)" if c.train.get("minutes") else ""
    planned = not ({"dropout", "dropout_output", "dropout_input", "dropconnect"} & c.model.keys())
    _choose_size(c, useful, by)
    _choose_dropout(c, passes, len(corpus.train.tokens), _dropout_part(c, trained), by)
    if planned:
        _choose_dropout_gap(c, corpus)
    _choose_validations(c, passes, batches, corpus)
    if not trained:
        _choose_averaging(c, passes)


def _check_networks(plan: Plan, trained: bool) -> None:
    networks = plan.train.networks
    if trained and networks > 1:
        raise ConfigError("networks", networks, "1, with a model to go on from")
    part_config(plan.model, networks)


class _Chooser:
    """The fields named so far; a choice never overrides one."""

    def __init__(self, model: dict[str, Any], train: dict[str, Any]):
        self.model, self.train, self.choices = model, train, list[Choice]()

    def choose(self, fields: dict[str, Any], name: str, value: Any, reason: str) -> None:
        if name not in fields:
            fields[name] = value
            self.choices.append(Choice(name, value, reason))


def _choose_budget(c: _Chooser) -> None:
    if not _names_budget(c.train):
        c.choose(c.train, "minutes", DEFAULT_MINUTES, "no budget was named")


def _names_budget(train: Mapping[str, Any]) -> bool:
    return any(train.get(name) is not None for name in BUDGETS)


def _is_little(corpus: Corpus) -> bool:
    return len(corpus.train.tokens) < LITTLE_TEXT


def _choose_passes(c: _Chooser, most: int) -> None:
    """A budget in passes instead of the usual minutes."""
    del c.train["minutes"]
    c.choices = [choice for choice in c.choices if choice.name != "minutes"]
    c.choose(c.train, "epochs", float(most), "no budget was named, and more passes over little text teach little")


def _choose_batches(c: _Chooser, corpus: Corpus) -> None:
    documents = len(corpus.train.starts)
    size = len(corpus.train.tokens) / max(1, documents)
    if documents >= 100 and size <= 256:
        c.choose(c.train, "batches", "documents", f"{documents:,} documents of {size:.0f} symbols on average")
    if _is_little(corpus) and c.train.get("batches") != "windows":
        if "batch_size" not in c.train and "hidden" not in c.model:
            _choose_rate(c, LITTLE_LR, f"suits a batch of {LITTLE_BATCH}")
        c.choose(c.train, "batch_size", LITTLE_BATCH, "little text: a smaller batch leaves more steps in a pass")
    if c.train.get("batches") == "documents":
        c.choose(c.train, "batch_size", 128, "documents are short")
        c.choose(c.train, "length", 256, "most documents are whole then")


def _choose_streams(c: _Chooser, corpus: Corpus, speed: Speed) -> None:
    """A stream is in one file for many steps, and the network leans towards the few that it reads at a time: many
    streams keep it to what the files have in common."""
    train, symbols = TrainConfig(**c.train), corpus.train.predictions
    if train.batches != "streams" or train.steps is not None or symbols < min(STREAMS) * STREAM:
        return
    steps = _expected_tokens(c, make_batches(corpus.train, train), speed) / train.length
    for size in STREAMS:
        if symbols >= size * STREAM and steps >= size * STREAM_STEPS:
            c.choose(c.train, "batch_size", size, f"{symbols:,} symbols are enough for streams of {STREAM:,}")
            return


def _choose_depth(c: _Chooser) -> None:
    """A cell without a recurrent matrix knows order from depth, and needs what makes depth learn."""
    if c.model.get("cell") in ELEMENTWISE:
        for name, value in (("layers", 2), ("residual", True), ("norm", "rms"), ("conv", 4)):
            c.choose(c.model, name, value, f"suits {c.model['cell']}, which has no recurrent matrix")


def _choose_rate(c: _Chooser, lr: float, reason: str) -> None:
    cell = c.model.get("cell", "lstm")
    part = CELL_RATES.get(cell, 1.0)
    c.choose(c.train, "lr", lr * part, reason if part == 1 else f"{reason}, times {part:g} for cell {cell}")


def _choose_output_rate(c: _Chooser, corpus: Corpus) -> None:
    """What a norm has not enlarged is small, and wants large weights of the layer that reads it."""
    usual = c.train.get("optimizer", TrainConfig.optimizer) == "adamw" and c.model.get("norm", "none") == "none"
    if usual and len(corpus.train.tokens) >= OUTPUT_SYMBOLS * corpus.tokenizer.vocab_size:
        c.choose(c.train, "output_lr", OUTPUT_LR, "what it reads is small, so its weights have a long way to go")


def _choose_decay(c: _Chooser) -> None:
    cell = c.model.get("cell", "lstm")
    if cell in CELL_DECAYS and c.train.get("optimizer", TrainConfig.optimizer) == "adamw":
        c.choose(c.train, "weight_decay", CELL_DECAYS[cell], f"holds the product of matrices of {cell} in bounds")


def _choose_validations(c: _Chooser, epochs: float, batches: Batches, corpus: Corpus) -> None:
    if epochs < FEW_PASSES and not c.train.get("patience"):
        interval = validation_interval(batches, corpus.held_out, FEW_SHARE)
        c.choose(c.train, "validate_every", interval, "with few passes over the text the last weights are the best")


def _choose_networks(c: _Chooser, batches: Batches, symbols: int, speed: Speed) -> None:
    """After many passes over a text one network learns little more of it; another, from other initial weights, adds to
    what it knows."""
    rows = next(rows for most, rows in NETWORKS if symbols <= most)
    _, _, units, lr = rows[0]
    named = {"norm", "mlp", "conv", "tied", "layers", "hidden", "input"} & c.model.keys()
    if c.train.get("minutes") and not named and has_recurrent_matrix(c.model.get("cell", "lstm")):
        usual = ModelConfig(**{**c.model, "hidden": units})
        passes = c.train["minutes"] * 60 * speed(usual, TrainConfig(**c.train), batches) / batches.predictions
        if suited := [row for row in rows if passes >= row[0]]:
            _, networks, units, lr = suited[-1]
            c.choose(c.train, "networks", networks, f"time for {passes:,.0f} passes of one; several know more together")
    if c.train.get("networks", 1) > 1:
        _choose_rate(c, lr, f"suits networks of {units} units")
        c.choose(c.model, "hidden", c.train["networks"] * units, f"{c.train['networks']} networks of {units}")


def _choose_size(c: _Chooser, tokens: float, by: str) -> None:
    """A smaller network learns faster at first: the width, and the rate that suits it, by the tokens to be seen; `by`
    says whom they are reckoned for."""
    few = f"suits about {float(f'{tokens:.2g}'):,.0f} symbols to learn from{by}"
    hidden, lr = next((hidden, lr) for limit, hidden, lr in SIZES if tokens < limit)
    if "hidden" not in c.model:
        _choose_rate(c, lr, f"suits hidden {hidden}")
    elif c.model.get("cell") in CELL_RATES:
        _choose_rate(c, TrainConfig.lr, "the usual")
    c.choose(c.model, "hidden", hidden, few)
    if c.model.get("tied"):
        c.choose(c.model, "embedding_size", c.model["hidden"], "as wide as the layer, to share its matrix")


def _choose_input(c: _Chooser, corpus: Corpus) -> None:
    V = corpus.tokenizer.vocab_size
    if c.model.get("tied"):
        c.choose(c.model, "input", "embedding", "its matrix is shared with the output layer")
    if V > LARGE_VOCABULARY:
        c.choose(c.model, "input", "embedding", f"{V:,} symbols are many")


def _choose_dropout(c: _Chooser, epochs: float, symbols: int, part: float, by: str) -> None:
    """More passes over the same text need more of it, up to what suits so much text; hardly less on the recurrent
    weights. All that times `part`."""
    most = DROPOUT + 0.1 * math.log2(1e6 / max(1, symbols))
    p = round(part * min(0.5, most, max(0.0, 0.1 * math.log2(max(epochs, 1) / 1.75))), 2)
    if p >= 0.07:
        c.choose(c.model, "dropout_output", p, f"suits about {epochs:.0f} passes over the text{by}")
        if c.model.get("layers", 1) > 1:
            c.choose(c.model, "dropout", p, "likewise, between the layers")
    if p >= 0.12 and has_recurrent_matrix(c.model.get("cell", "lstm")):
        c.choose(c.model, "dropconnect", round(p - 0.08, 2), "likewise, on the recurrent weights")


def _choose_dropout_gap(c: _Chooser, corpus: Corpus) -> None:
    drawn_alike = c.train.get("batches") == "documents" and corpus.held_out.predictions > 0
    if drawn_alike and c.model.get("dropout_output"):
        why = "held-out documents, drawn like the others, tell how much is learned by heart"
        c.choose(c.train, "dropout_gap", DROPOUT_GAP, why)


def _dropout_part(c: _Chooser, trained: bool) -> float:
    part = TRAINED_DROPOUT if trained else PART_DROPOUT if c.train.get("networks", 1) > 1 else 1.0
    is_fast = c.train.get("output_lr", 1.0) > 1 and c.train.get("batches") != "documents"
    return part * FAST_DROPOUT if is_fast else part


def _choose_averaging(c: _Chooser, epochs: float) -> None:
    """After few passes the mean of the last hundred steps' weights is better than the last; after many, no worse."""
    if epochs < FEW_PASSES:
        c.choose(c.train, "averaging", AVERAGING, "with few passes the last steps are better averaged than alone")


def _expected_tokens(c: _Chooser, batches: Batches, speed: Speed) -> float:
    """How many symbols the budget lets the usual network read."""
    train = TrainConfig(**c.train)
    usual = ModelConfig(**{name: value for name, value in c.model.items() if name != "tied"})
    return Budget.of(train, batches.steps_per_epoch).predictions(batches, lambda: speed(usual, train, batches))
