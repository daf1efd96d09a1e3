"""A session whose model learns from what the session reads, and from that alone (see `rhapsode.adaptation`).

`read` predicts each segment of a text and then learns from it; what is written afterwards is written by the weights as
they are then. What the session writes itself it does not learn from. The weights are a copy, in fp32: the model and
every other session stay as they are, to the last bit.

Weights are values, like positions: forks and marks share them, and none is copied until one of them reads on. From the
first text that is read, each version that is alive holds four times the model's weights (two of these are what Adam
keeps), and as much again while it reads.

In a session file the head has ``dynamic``, an object with ``lr`` and ``segments`` (how many were learned from); where
that is not 0 there are tensors ``weights.NAME`` and ``optimizer.SLOT.NAME`` for each parameter, and
``optimizer.updates``.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from rhapsode.adaptation import LR, SEGMENT, Adaptation, Learned
from rhapsode.engine import Engine, nats_of, open_engine
from rhapsode.errors import ConfigError, SessionError
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import parameter_spec
from rhapsode.position import RECENT, Position, read
from rhapsode.sampling import log_softmax
from rhapsode.session import Mark, Session, check_mark
from rhapsode.tensorfile import TensorFile

SLOTS = ("exp_avg", "exp_avg_sq")
"""Arrays of the optimiser for each parameter."""


class Weights(NamedTuple):
    """What a session has learned, and the engine that runs it. A value."""

    engine: Engine
    learned: Learned | None
    """None: nothing yet"""


class DynamicSession(Session):
    """A session with weights of its own, in `engine`; `base` is the engine of the model it began with."""

    learns = True

    def __init__(
        self,
        base: Engine,
        position: Position | None = None,
        label: str | None = None,
        lr: float = LR,
        learned: Learned | None = None,
    ):
        """See `Session`.

        Args:
            lr: how far a segment of 32 symbols moves the weights; 0: not at all.
            learned: go on with these weights.

        Raises:
            ConfigError: lr is not a number from 0 on; there is no single model to learn (a blend); there is no such
                label.
        """
        if not hasattr(base, "model"):
            raise ConfigError("dynamic", True, "with one model; a blend of several does not learn")
        if not isinstance(lr, float | int) or not 0 <= lr < math.inf:
            raise ConfigError("dynamic_lr", lr, "at least 0")
        self.base, self.lr, self._learned = base, lr, learned
        super().__init__(_engine_of(base, learned), position, label)

    def read(self, text: str) -> np.ndarray:
        """Read `text` and learn from it; return how surprising each of its tokens was before, -ln p, [N] float64 nats.

        A segment ends where `text` does, and the first symbol of `text` is predicted but not learned from: so read
        lines or pages, not single symbols, which teach nothing.
        """
        ids, start = self._labelled(text)
        if len(ids) < 2:
            return super().read(text)
        adaptation = Adaptation(self.base.model, self.lr, self._learned, precision="fp32")
        state, nats = adaptation.state_of(start.state), [-log_softmax(start.logits)[ids[:1]]]
        for first in range(0, len(ids) - 1, SEGMENT):
            segment = ids[first : first + SEGMENT + 1]
            logits, state = adaptation.read(segment, state)
            nats.append(nats_of(logits, segment[1:]))
        learned = adaptation.learned()
        engine = _engine_of(self.base, learned)
        recent = np.concatenate([start.recent, ids[:-1]])[-RECENT:]
        before = start._replace(state=adaptation.state_to_numpy(state), recent=recent)
        position = read(engine, before, ids[-1:])[1]
        self.engine, self._learned, self.position = engine, learned, position
        return np.concatenate(nats)

    def skim(self, text: str) -> None:
        """Read `text` and learn from it: there is no shorter way."""
        self.read(text)

    def adapted(self) -> ModelFile:
        """The model as the session has it now, to be saved or loaded as any other."""
        training = self.base.training | {"dynamic": self._told()}
        return dataclasses.replace(self.engine.model, training=training)

    def mark(self) -> Mark:
        """This place in the text and the weights as they are here, to `rewind` to. Nothing is copied; a mark keeps
        both alive."""
        return Mark(self.base, self.position, Weights(self.engine, self._learned))

    def rewind(self, mark: Mark) -> None:
        """Go back to a place in the text, with the weights of then (or on to one: any dynamic session of the same model
        may go to any mark of one).

        Raises:
            SessionError: the mark was made by a session of another model, or by one that does not learn.
        """
        check_mark(mark, self.base, learns=True)
        assert mark.weights is not None
        self.position, (self.engine, self._learned) = mark.position, mark.weights

    def _told(self) -> dict[str, Any]:
        return {"lr": self.lr, "segments": self._learned.segments if self._learned else 0}

    def _contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        head, tensors = super()._contents()
        head |= {"model": self.base.digest, "dynamic": self._told()}
        if self._learned:
            tensors |= {f"weights.{name}": value for name, value in self._learned.parameters.items()}
            tensors |= {f"optimizer.{name}": value for name, value in self._learned.optimizer.items()}
        return head, tensors


def _engine_of(base: Engine, learned: Learned | None) -> Engine:
    """What runs the weights, in fp32."""
    if learned is None and base.precision == "fp32":
        return base
    own = dataclasses.replace(base.model, precision="fp32", packed=None)
    return open_engine(dataclasses.replace(own, parameters=learned.parameters) if learned else own)


def restored(base: Engine, position: Position, file: TensorFile) -> DynamicSession:
    """The session of a session file.

    Raises:
        SessionError: what the file says of its weights is damaged.
    """
    told = file.head["dynamic"]
    lr, segments = (told.get("lr"), told.get("segments")) if isinstance(told, dict) else (None, None)
    if not isinstance(lr, float | int) or not isinstance(segments, int) or not 0 <= lr < math.inf or segments < 0:
        raise SessionError(f"{file.path}: dynamic is {told!r}, expected lr and segments")
    return DynamicSession(base, position, None, lr, _learned(base, file, segments) if segments else None)


def _learned(base: Engine, file: TensorFile, segments: int) -> Learned:
    spec = parameter_spec(base.config)
    weights = {p.name: file.finite(f"weights.{p.name}", p.shape) for p in spec}
    names = [(f"{slot}.{p.name}", p.shape) for slot in SLOTS for p in spec]
    optimizer = {name: file.finite(f"optimizer.{name}", shape) for name, shape in names}
    updates = file.tensor("optimizer.updates", (1,), "I64")
    if updates[0] < 0 or any((optimizer[f"exp_avg_sq.{p.name}"] < 0).any() for p in spec):
        raise SessionError(f"{file.path}: what its optimiser remembers is below 0")
    return Learned(weights, optimizer | {"updates": updates}, segments)
