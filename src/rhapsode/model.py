"""What `rhapsode.load` and `rhapsode.train` return: a model that writes, reads and scores text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from rhapsode.backends.choose import load_cell
from rhapsode.config import ModelConfig
from rhapsode.engine import Engine, open_engine
from rhapsode.errors import ConfigError
from rhapsode.generate import Written
from rhapsode.modelfile import ModelFile, Precision
from rhapsode.nn.forward import hidden
from rhapsode.reading import skim
from rhapsode.session import Session
from rhapsode.sessionfile import load_session
from rhapsode.text.tokenizer import Tokenizer
from rhapsode.writer import Token

if TYPE_CHECKING:
    from rhapsode.scoring import Score


M = TypeVar("M")


def load(path: str | Path, precision: Precision | Literal["auto"] = "auto", cell: str | Path | None = None) -> Model:
    """The model in a model file, or the best one of a run folder.

    Args:
        precision: of the weights it runs with: fp32, bf16 or int8 (less memory to read a symbol, so faster); auto: that
            of the file.
        cell: the Python file of the model's cell, where that is one of your own. It is run.

    Raises:
        ModelFileError: there is none, or it is damaged.
        ConfigError: the precision is not to be had here, or the file has no cell.
    """
    if cell is not None:
        load_cell(cell)
    return Model(ModelFile.load(path), precision)


class TextModel:
    """An engine that writes, reads and scores text. May be shared by threads: nothing in it changes."""

    def __init__(self, engine: Engine):
        self.engine = engine

    @property
    def tokenizer(self) -> Tokenizer:
        return self.engine.tokenizer

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that its texts may have; none where it was trained without."""
        return self.tokenizer.labels

    @property
    def training(self) -> dict[str, Any]:
        """How the model was trained, for people to read."""
        return self.engine.training

    def generate(self, prompt: str = "", label: str | None = None, **sampling: Any) -> str:
        """Text that goes on from `prompt`, without it, by the fields of `SamplingConfig`: length, temperature, seed …

        Without a prompt the text begins as a document does, or, where the model was trained on one long text, as a
        line does. `label` is one of `labels`; where none is named, it is drawn, or the prompt decides it.

        Raises:
            ConfigError: a field is unknown or its value is not allowed, or there is no such label.
        """
        return self.session(prompt, label).generate(**sampling)

    def stream(self, prompt: str = "", label: str | None = None, **sampling: Any) -> Iterator[str]:
        """Like `generate`, in pieces as they are written."""
        return self.session(prompt, label).stream(**sampling)

    def tokens(self, prompt: str = "", top: int = 0, label: str | None = None, **sampling: Any) -> Iterator[Token]:
        """Like `stream`, but the symbols one by one, with log-probabilities and alternatives (see `Session.tokens`)."""
        return self.session(prompt, label).tokens(top, **sampling)

    def samples(
        self, prompt: str = "", count: int = 1, top: int = 0, label: str | None = None, **sampling: Any
    ) -> list[Written]:
        """`count` texts at once, and what is known of each (see `Session.samples`)."""
        return self.session(prompt, label).samples(count, top, **sampling)

    def session(
        self, prompt: str = "", label: str | None = None, *, dynamic: bool = False, dynamic_lr: float | None = None
    ) -> Session:
        """A new session that has read `prompt`, or what stands before a text without one (see `generate`).

        Args:
            dynamic: a `rhapsode.dynamic_session.DynamicSession`, which learns from what it reads, the prompt too, in
                weights of its own; this model and its other sessions stay as they are.
            dynamic_lr: how far a segment of 32 symbols moves the weights; 0: not at all; None: 3e-4.

        Raises:
            ConfigError: there is no such label; `dynamic` with a blend; `dynamic_lr` below 0, or without `dynamic`.
        """
        session, start = self._begun(label, dynamic, dynamic_lr), self.training.get("start")
        if prompt:
            session.skim(prompt)
        elif isinstance(start, str) and not self.unknown(start):
            session.skim(start)
        return session

    def _begun(self, label: str | None, dynamic: bool, lr: float | None) -> Session:
        """A session at the beginning of a document."""
        if not dynamic:
            if lr is not None:
                raise ConfigError("dynamic_lr", lr, "only with dynamic")
            return Session(self.engine, label=label)
        from rhapsode.dynamic_session import LR, DynamicSession

        return DynamicSession(self.engine, label=label, lr=LR if lr is None else lr)

    def load_session(self, path: str | Path) -> Session:
        """The session of this model that was saved to `path`.

        Raises:
            SessionError: the file is missing, no session, damaged, or of another model.
        """
        return load_session(self.engine, path)

    def score(self, text: str, **options: Any) -> Score:
        """How surprising `text` is, by token and by character (see `rhapsode.scoring.score`)."""
        from rhapsode.scoring import score

        return score(self.engine, text, **options)

    def unknown(self, text: str) -> list[str]:
        """The distinct characters (or words) of `text` that the model has no symbol for, in order of appearance."""
        ids = self.tokenizer.encode(text)
        if self.tokenizer.unknown not in ids:
            return []
        parts = zip(self.tokenizer.split(text), ids, strict=True)
        return list(dict.fromkeys(part.strip() or part for part, id in parts if id == self.tokenizer.unknown))


class Model(TextModel):
    """A trained model, as a model file holds it."""

    def __init__(self, file: ModelFile, precision: Precision | Literal["auto"] = "auto"):
        super().__init__(open_engine(file, precision))
        self.file = file

    def __repr__(self) -> str:
        c, tokenizer = self.config, self.tokenizer
        return f"<Model: {c.cell}, {c.layers} x {c.hidden}, {tokenizer.vocab_size:,} {tokenizer.kind} symbols>"

    @property
    def config(self) -> ModelConfig:
        return self.file.config

    def vector(self, text: str) -> np.ndarray:
        """What the last layer gives after reading `text` as a document: [H], float32. It is what the model predicts the
        next symbol from, so it tells most of the end of the text, of its form and style."""
        ids = np.append(np.int32(self.tokenizer.boundary), self.tokenizer.encode(text))
        state = skim(self.engine, ids, self.engine.initial_state(1))
        return hidden(self.config, self.file.parameters, ids[-1:, None], state)[0][0, 0]

    def similarity(self, a: str, b: str) -> float:
        """The cosine of the angle between the vectors of two texts, from -1 to 1."""
        return cosine(self.vector(a), self.vector(b))

    def save(self, path: str | Path) -> None:
        """Write the model file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        self.file.save(path)


def models_of(models: Iterable[M], *kinds: type[M]) -> list[M]:
    """`models` as a list.

    Raises:
        ConfigError: they are not several of these kinds, or none.
    """
    found = list(models) if isinstance(models, Iterable) else []
    if not found or not all(isinstance(model, kinds) for model in found):
        raise ConfigError("models", models, "a list of models, as rhapsode.load gives them")
    return found


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the angle between two vectors; 0 where one of them is zero."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.clip(a @ b / lengths, -1, 1)) if lengths else 0.0
