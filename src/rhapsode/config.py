"""What to read, what to build, how to train it, how to sample from it: frozen, validated when made.

Each field is declared once (`rhapsode.option`). A field marked `planned` is chosen by `rhapsode.training.plan` to suit
the text and the time, unless the user names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rhapsode.errors import ConfigError
from rhapsode.option import Config, option

ELEMENTWISE = frozenset({"mingru", "minlstm", "sru", "rglru"})
"""Cells without a recurrent matrix: a unit sees its own state only."""


def is_own(cell: str) -> bool:
    """Whether it is a cell of the user's own, NAME@HASH (`rhapsode.backends.torch.own_cell`)."""
    return "@" in cell


def has_recurrent_matrix(cell: str) -> bool:
    """Whether it has weight_hh, on which DropConnect falls."""
    return cell not in ELEMENTWISE and not is_own(cell)


@dataclass(frozen=True)
class CorpusConfig(Config):
    """How text becomes tokens: reading, documents, tokenizer and held-out part."""

    documents: Literal["auto", "whole", "lines", "blank-lines", "files"] = option(
        "auto", "what one document is; auto: rows of a table, else lines if they are many and short, else files"
    )
    tokenizer: Literal["char", "byte", "word", "spaced", "bpe"] = option(
        "char", "what one symbol is; spaced: a word, marks and line ends being left out"
    )
    vocab_size: int = option(10_000, "largest vocabulary of the word, spaced and bpe tokenizers", low=2, high=1_000_000)
    lowercase: bool = option(False, "turn the text into lower case first")
    held_out: float | None = option(
        None,
        "part of the text that is kept for validation; from 1 on: a number of documents; without it a tenth, at most "
        "a million characters",
        low=0,
    )
    split: Literal["auto", "tail", "documents"] = option(
        "auto", "hold out the end of the text, or whole documents drawn at random; auto: documents from 100 on"
    )
    field: str = option("text", "field of .jsonl records that holds the text")
    column: str = option("text", "column of .csv and .tsv tables that holds the text: a name, or a number from 0")
    label: str | None = option(
        None, "field or column that holds each text's label: a name, or a number from 0; rows are documents then"
    )
    encoding: str = option("utf-8", "encoding of the text files")
    errors: Literal["strict", "replace"] = option("strict", "what to do with bytes that the encoding does not allow")
    split_seed: int = option(0, "seed of the draw of held-out documents", low=0)

    def check(self) -> None:
        if self.label is not None and self.documents != "auto":
            raise ConfigError("documents", self.documents, "auto, with label: each row of a table is a document")


@dataclass(frozen=True)
class ModelConfig(Config):
    """A recurrent language model, whole: a `LanguageModel` is built from this alone.

    Letters used everywhere: T time steps, B batch, V `vocab_size`, D a layer's input width, H `hidden`, G gates.
    """

    vocab_size: int = option(help="V, number of symbols", low=2, high=10_000_000, derived=True)
    specials: int = option(0, "how many of the last symbols are no text (boundary, unknown)", low=0, derived=True)
    input: Literal["one-hot", "embedding", "scalar"] = option(
        "one-hot", "how a symbol enters: a table row, a learned vector, or its index divided by V", planned=True
    )
    embedding_size: int = option(128, "width of the embedding", low=1, high=65_536, planned=True)
    cell: Literal["rnn", "gru", "lstm", "mlstm", "mogrifier", "mingru", "minlstm", "sru", "rglru"] = option(
        "lstm",
        "the recurrent cell, or a Python file that has one of your own",
        other=(r"[A-Za-z_][\w-]*@[0-9a-f]{16}|.*\.py", "a Python file"),
    )
    nonlinearity: Literal["tanh", "relu"] = option("tanh", "of the rnn cell")
    layers: int = option(1, "number of recurrent layers", low=1, high=64, planned=True)
    hidden: int = option(512, "H, width of a layer", low=1, high=65_536, planned=True)
    residual: bool = option(False, "add a layer's input to its output where the widths agree", planned=True)
    norm: Literal["none", "layer", "rms"] = option(
        "none",
        "normalise what each layer reads (where it reads a vector) and what the output layer reads",
        planned=True,
    )
    conv: int = option(
        0,
        "width of a short convolution over time of what each layer reads (where it reads a vector); 0 or 1: none",
        low=0,
        high=64,
        planned=True,
    )
    mlp: float = option(
        0.0, "inner width of a gated MLP after each layer, as a multiple of hidden; 0: none", low=0, high=16
    )
    learned_state: bool = option(False, "train the initial state instead of starting from zeros")
    tied: bool = option(False, "the output layer shares the embedding's matrix (embedding_size must equal hidden)")
    dropout_input: float = option(0.0, "dropout of the input vector's entries", low=0, below=1)
    dropout: float = option(0.0, "dropout between layers", low=0, below=1, planned=True)
    dropout_output: float = option(0.0, "dropout before the output layer", low=0, below=1, planned=True)
    dropout_mask: Literal["step", "sequence"] = option("step", "draw masks anew at each time step, or once a sequence")
    dropconnect: float = option(
        0.0, "dropout of recurrent weights, one mask a training step", low=0, below=1, planned=True
    )
    init: Literal["recipe", "normal"] = option(
        "recipe", "initial weights: orthogonal and N(0,1) table, or all N(0, init_std²)"
    )
    init_std: float = option(0.01, "standard deviation of init=normal", above=0)

    def check(self) -> None:
        if self.cell.endswith(".py"):
            raise ConfigError("cell", self.cell, "a cell by its name here")
        if self.specials >= self.vocab_size:
            raise ConfigError("specials", self.specials, f"fewer than vocab_size ({self.vocab_size})")
        if self.tied and (self.input != "embedding" or self.embedding_size != self.hidden):
            raise ConfigError("tied", True, "only with input embedding and embedding_size equal to hidden")
        if self.nonlinearity != "tanh" and self.cell != "rnn":
            raise ConfigError("nonlinearity", self.nonlinearity, f"tanh with cell {self.cell}")
        if self.dropconnect > 0 and not has_recurrent_matrix(self.cell):
            raise ConfigError("dropconnect", self.dropconnect, f"0 with cell {self.cell}: it has no recurrent matrix")


@dataclass(frozen=True)
class ClassifierConfig(Config):
    """What a sequence classifier makes of the outputs of its recurrent layers, which a `ModelConfig` describes."""

    classes: int = option(help="C, number of classes", low=2, high=1_000_000, derived=True)
    bidirectional: bool = option(True, "a second stack of layers reads the sequence from its end")
    pooling: Literal["last", "mean", "max", "attention"] = option(
        "attention", "how the outputs at all symbols become one vector; last: what each stack gives at its last step"
    )
    attention_size: int = option(64, "A, width of the attention's hidden layer", low=1, high=65_536)


NOT_OF_CLASSIFIERS = (
    *("label", "split", "tied", "batches", "stride", "targets"),
    *("accumulate", "averaging", "dropout_gap", "networks", "patience", "validate_every"),
)
"""Fields of the other configurations that classifiers do without."""


BUDGETS = ("minutes", "epochs", "steps")
"""Fields of `TrainConfig` that say when training ends: one of them."""


@dataclass(frozen=True)
class TrainConfig(Config):
    """How to train: budget, batches, optimiser, schedule, checks. The defaults are rhapsode's recipe."""

    minutes: float | None = option(None, "budget: stop after this time", above=0)
    epochs: float | None = option(None, "budget: stop after this many passes over the training text", above=0)
    steps: int | None = option(None, "budget: stop after this many optimiser steps", low=1)
    networks: int = option(
        1,
        "that are trained side by side and joined in the model, each with its part of hidden",
        low=1,
        high=64,
        planned=True,
    )
    batches: Literal["streams", "windows", "documents"] = option(
        "streams", "contiguous streams with carried state, single windows, or whole documents", planned=True
    )
    batch_size: int = option(32, "B, sequences side by side", low=1, high=65_536, planned=True)
    length: int = option(
        64, "T, symbols a step sees of each sequence; the longest piece of a document", low=1, high=65_536, planned=True
    )
    stride: int = option(1, "distance between the starts of windows", low=1)
    targets: Literal["all", "last"] = option("all", "windows: predict at all positions, or only after the last")
    optimizer: Literal["sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw"] = option("adamw", "the optimiser")
    lr: float = option(4e-3, "learning rate", above=0, planned=True)
    table_lr: float = option(12.0, "learning rate of the one-hot input table, as a multiple of lr", above=0)
    output_lr: float = option(
        1.0, "learning rate of the output layer's matrix, as a multiple of lr", above=0, planned=True
    )
    momentum: float = option(0.0, "of sgd and rmsprop", low=0, below=1)
    nesterov: bool = option(False, "Nesterov momentum (sgd)")
    beta1: float = option(0.9, "of adam and adamw", low=0, below=1)
    beta2: float = option(0.99, "of adam and adamw; the smoothing of rmsprop, rho of adadelta", low=0, below=1)
    eps: float = option(1e-8, "added to the denominator of the adaptive optimisers", above=0)
    weight_decay: float = option(
        0.02, "weight decay of matrices: decoupled in adamw, L2 elsewhere", low=0, planned=True
    )
    clip_norm: float = option(1.0, "largest norm of the whole gradient; 0: no limit", low=0)
    clip_value: float = option(0.0, "largest absolute value of a gradient's element; 0: no limit", low=0)
    schedule: Literal["constant", "linear", "cosine", "step"] = option("linear", "course of the learning rate")
    final_lr: float = option(0.02, "learning rate at the end, as a part of lr (linear, cosine)", low=0, high=1)
    step_every: float = option(0.25, "step schedule: part of the budget between two drops", above=0, high=1)
    step_factor: float = option(0.5, "step schedule: what each drop multiplies the rate with", above=0, high=1)
    warmup: int = option(50, "steps over which the learning rate rises from zero", low=0)
    accumulate: int = option(1, "pieces a batch is cut into to save memory; the result is the same", low=1)
    averaging: float = option(
        0.0, "decay of the running average of the weights that is kept and saved; 0: none", low=0, below=1, planned=True
    )
    dropout_gap: float = option(
        0.0,
        "dropout grows from none to full with what the held-out loss is above the training loss: full at this part; "
        "0: full from the start",
        low=0,
        planned=True,
    )
    patience: int = option(0, "stop after this many validations without a new best; 0: never", low=0)
    validate_every: int = option(
        0, "steps between validations; 0: as often as costs at most 5 % of the time", low=0, planned=True
    )
    seed: int = option(0, "seed of initial weights, batches and masks", low=0, high=2**63 - 1)
    backend: Literal["auto", "native", "torch"] = option("auto", "what computes")
    precision: Literal["auto", "fp32", "bf16"] = option("auto", "of matrix products; weights, state and sums are fp32")

    def check(self) -> None:
        named = [n for n in BUDGETS if getattr(self, n) is not None]
        if len(named) > 1:
            raise ConfigError(named[1], getattr(self, named[1]), f"one budget only, and {named[0]} is given")
        if self.nesterov and not (self.momentum > 0 and self.optimizer == "sgd"):
            raise ConfigError("nesterov", True, "only with optimizer sgd and momentum above 0")
        if self.accumulate > self.batch_size:
            raise ConfigError("accumulate", self.accumulate, f"at most batch_size ({self.batch_size})")
        if self.targets == "last" and self.batches != "windows":
            raise ConfigError("targets", "last", "only with batches windows")

    def rate_multiple(self, role: str) -> float:
        """Learning rate of parameters of a role (`rhapsode.nn.spec.Parameter`), as a multiple of `lr`."""
        return {"table": self.table_lr, "output": self.output_lr}.get(role, 1.0)


@dataclass(frozen=True)
class SamplingConfig(Config):
    """How the next symbol is drawn from the model's distribution, and when to stop."""

    length: int = option(500, "most symbols to write", low=0)
    temperature: float = option(0.8, "divides the logits: below 1 is tamer, above 1 is wilder; 0 is greedy", low=0)
    temperatures: tuple[float, ...] = option(
        (), "temperatures of the symbols in turn, such as 1,0.5,0.2, instead of one", low=0, metavar="X,X,..."
    )
    top_k: int = option(0, "keep only the k most probable symbols; 0: all", low=0)
    top_p: float = option(1.0, "keep the fewest symbols that together have this probability", above=0, high=1)
    min_p: float = option(0.0, "drop symbols less probable than this part of the most probable one", low=0, high=1)
    typical_p: float = option(
        1.0, "keep the symbols of nearly typical surprisal that together have this probability", above=0, high=1
    )
    repetition_penalty: float = option(
        1.0, "divides (multiplies, if negative) logits of symbols of the recent text", low=0.01, high=100
    )
    frequency_penalty: float = option(
        0.0, "taken off a symbol's logit for each time it occurs in the recent text", low=-100, high=100
    )
    presence_penalty: float = option(
        0.0, "taken off the logit of a symbol that occurs in the recent text", low=-100, high=100
    )
    repetition_window: int = option(64, "recent symbols, read or written, that penalties look at", low=1, high=4096)
    bias: tuple[tuple[str | int, float], ...] = option(
        (), "add this to the logit of a symbol, such as e=-1.5", metavar="SYMBOL=X"
    )
    greedy: bool = option(False, "always take the most probable symbol")
    beams: int = option(1, "beam search with this many beams instead of sampling; 1: off", low=1, high=1024)
    seed: int | None = option(None, "same seed, same text; none: another text each time", low=0, high=2**63 - 1)
    stop: tuple[str, ...] = option((), "end before this string appears")
    ban: tuple[str, ...] = option((), "never write these strings")
    require: tuple[str, ...] = option((), "strings that must appear, placed where the model finds them likely")
    only: str | None = option(None, "write no other characters than these")
    regex: str | None = option(
        None, "write text that this regular expression matches as a whole; it ends where the model would leave it"
    )

    def check(self) -> None:
        for name, plain in (("greedy", False), ("beams", 1), ("temperature", type(self).temperature)):
            if self.temperatures and getattr(self, name) != plain:
                raise ConfigError(name, getattr(self, name), f"{plain}, with temperatures")
        if self.only == "":
            raise ConfigError("only", self.only, "at least one character")
        for name in ("require", "regex"):
            if self.beams > 1 and getattr(self, name):
                raise ConfigError("beams", self.beams, f"1, with {name}")
        if self.regex is not None and self.require:
            raise ConfigError("require", self.require, "nothing, with regex")

    def temperature_at(self, written: int) -> float:
        """The temperature of the symbol that follows `written` others of the text."""
        return self.temperatures[written % len(self.temperatures)] if self.temperatures else self.temperature
