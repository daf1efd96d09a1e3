"""A session: a model reading and writing one text. It can be forked at any point, saved and gone on with.

A saved session is a safetensors file: the state's arrays ``layers.L.FIELD`` [1, n], ``logits`` [V] and ``recent`` [N],
and one metadata entry, ``rhapsode_session``, a JSON object with ``format`` (1), ``model`` (the model's digest),
``pending`` (bytes in hexadecimal) and what `rhapsode.dynamic_session` adds. It is of use with that model only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from rhapsode.config import SamplingConfig
from rhapsode.engine import Engine
from rhapsode.errors import SessionError
from rhapsode.generate import Written, beam_search, fresh_seed, samples, write
from rhapsode.labels import label_of, likeliest, named
from rhapsode.nn.spec import State
from rhapsode.option import whole_number
from rhapsode.position import Position, beginning, read, skim
from rhapsode.rules import Rules
from rhapsode.tensorfile import write as write_file
from rhapsode.writer import Step, Token, Writer

if TYPE_CHECKING:
    from rhapsode.dynamic_session import Weights

FORMAT, ENTRY = 1, "rhapsode_session"


class Mark(NamedTuple):
    """A place in a session's text."""

    engine: Engine
    """of the model"""
    position: Position
    weights: Weights | None = None
    """those that a dynamic session had here"""


class Session:
    """An engine and a position in a text. Not to be used by two threads at once; forks are independent."""

    learns = False
    """whether its weights are its own, and learn from what it reads"""

    def __init__(self, engine: Engine, position: Position | None = None, label: str | None = None):
        """Begin a document with this label, or go on from a `position` that another session of the same model was at.

        Without a label, where the model knows some, what is read first decides it, and what is written begins with
        one that is drawn (see `rhapsode.labels`).

        Raises:
            ConfigError: the model knows no such label.
        """
        self.engine = engine
        self.position = beginning(engine) if position is None else position
        if label is not None:
            self.position = named(engine, self.position, label)
        self.ended_by: str | None = None
        """why the text that was generated last has ended: see `Written.ended_by`"""

    @property
    def label(self) -> str | None:
        """The label of the text (see `Written.label`)."""
        return label_of(self.engine.tokenizer, self.position)

    def read(self, text: str) -> np.ndarray:
        """Read `text`; return how surprising each of its tokens was, -ln p, [N] float64 nats."""
        ids, start = self._labelled(text)
        surprisals, self.position = read(self.engine, start, ids)
        return surprisals

    def skim(self, text: str) -> None:
        """Read `text` without measuring it, a long one several times faster: what is written after it is what would be
        written after `read`, but for rounding (see `rhapsode.reading`)."""
        ids, start = self._labelled(text)
        self.position = skim(self.engine, start, ids)

    def _labelled(self, text: str) -> tuple[np.ndarray, Position]:
        """The symbols of `text` and the position before them, after the label that they suit where one is due."""
        ids = self.engine.tokenizer.encode(text)
        return ids, likeliest(self.engine, self.position, ids) if len(ids) else self.position

    def generate(self, **sampling: Any) -> str:
        """Write on, by the fields of `SamplingConfig`; the session has then read what it wrote.

        That includes a stop string and a closing boundary, which are not part of the text.

        Raises:
            ConfigError: a field is unknown or its value is not allowed.
        """
        return "".join(self.stream(**sampling))

    def stream(self, **sampling: Any) -> Iterator[str]:
        """Like `generate`, in pieces as they are written. The session is always after what was written so far."""
        return (step.text for step in self._steps(self.rules(sampling)) if step.text)

    def tokens(self, top: int = 0, **sampling: Any) -> Iterator[Token]:
        """Like `stream`, but the symbols one by one: each with its log-probability in the model's own distribution and
        the `top` most probable alternatives. Those of a stop string and a closing boundary come, too."""
        steps = self._steps(self.rules(sampling), whole_number("top", top, 0))
        return (token for step in steps for token in step.tokens)

    def write(self, top: int = 0, **sampling: Any) -> Written:
        """Like `generate`, with all that is known of the text: seed, ending, tokens with `top` alternatives."""
        seed = fresh_seed() if sampling.get("seed") is None else sampling["seed"]
        rules = self.rules(sampling | {"seed": seed})
        steps = list(self._steps(rules, whole_number("top", top, 0)))
        return Written.of(steps, seed if rules.settings.beams == 1 else None, self.ended_by, self.label)

    def _steps(self, rules: Rules, top: int | None = None) -> Iterator[Step]:
        """Write on; the session moves along. What cannot be written is told at once."""
        settings = rules.settings
        if settings.beams > 1:
            return self._best(rules, top or 0)
        writer = Writer(rules, fresh_seed() if settings.seed is None else settings.seed, self.position)
        return self._follow(writer, top)

    def _best(self, rules: Rules, top: int) -> Iterator[Step]:
        written, writer = beam_search(self.engine, rules, self.position, top)[0]
        self.position, self.ended_by = writer.position, written.ended_by
        yield Step(0, written.text, written.tokens)

    def _follow(self, writer: Writer, top: int | None) -> Iterator[Step]:
        self.ended_by = writer.ended
        for step in write(self.engine, [writer], top):
            self.position, self.ended_by = writer.position, writer.ended
            yield step

    def samples(self, count: int, top: int = 0, **sampling: Any) -> list[Written]:
        """`count` ways to go on, each with its log-probability and the `top` alternatives to each token.

        Sample k has the seed `seed` + k, and is what `generate` gives with that seed. The session stays where it is.
        """
        count, top = whole_number("count", count, 0), whole_number("top", top, 0)
        return samples(self.engine, self.rules(sampling), self.position, count, top)

    def rules(self, sampling: dict[str, Any]) -> Rules:
        """The rules that these fields of `SamplingConfig` make for this model."""
        ends = not self.engine.training.get("start")
        return Rules(SamplingConfig.from_json(sampling), self.engine.tokenizer, ends)

    def fork(self) -> Self:
        """Another session at the same position. Nothing is copied."""
        twin = copy.copy(self)
        twin.ended_by = None
        return twin

    def mark(self) -> Mark:
        """This place in the text, to `rewind` to. Nothing is copied; a mark keeps its state alive, some kilobytes."""
        return Mark(self.engine, self.position)

    def rewind(self, mark: Mark) -> None:
        """Go back to a place in the text (or on to one: any session of the same model may go to any mark).

        Raises:
            SessionError: the mark was made by a session of another model.
        """
        check_mark(mark, self.engine, learns=False)
        self.position = mark.position

    def save(self, path: str | Path) -> None:
        """Write the session to a file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        write_file(path, ENTRY, *self._contents())

    def _contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The head and the tensors of its file."""
        p = self.position
        head = {"format": FORMAT, "model": self.engine.digest, "pending": p.pending.hex()}
        return head, _state_arrays(p.state) | {"logits": p.logits, "recent": p.recent}


def check_mark(mark: Mark, engine: Engine, learns: bool) -> None:
    """Whether a session of this engine's model may go to the mark.

    Raises:
        SessionError: it is none, or was made by a session of another model, or by one that learns and this one does
            not, or the other way round.
    """
    if not isinstance(mark, Mark):
        raise SessionError(f"found {mark!r:.50}, expected a mark of a session")
    if mark.engine is not engine and mark.engine.digest != engine.digest:
        raise SessionError("the mark was made by a session of another model")
    if (mark.weights is not None) != learns:
        raise SessionError(f"the mark was made by a session that {'does not learn' if learns else 'learns'}")


def _state_arrays(state: State) -> dict[str, np.ndarray]:
    """The state's arrays by name."""
    return {
        f"layers.{number}.{field}": array
        for number, layer in enumerate(state.layers)
        for field, array in zip(layer._fields, layer, strict=True)
    }
