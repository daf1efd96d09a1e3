"""One text being written: from the model's logits to a symbol, from the symbol to text that can be shown."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rhapsode.engine import Answer, Ask
from rhapsode.errors import ModelFileError
from rhapsode.matching import Piece
from rhapsode.nn.spec import State
from rhapsode.position import RECENT, Position
from rhapsode.rules import MAY_BEGIN, Rules
from rhapsode.sampling import choose, log_softmax, penalise, uniform


class Alternative(NamedTuple):
    """A symbol that might have been written."""

    id: int
    symbol: str
    log_probability: float


class Token(NamedTuple):
    """A written symbol, with the model's own opinion of it (before temperature and the like)."""

    id: int
    symbol: str
    """as people are shown it: `Tokenizer.symbol`"""
    log_probability: float
    """nats"""
    top: list[Alternative]
    """the most probable symbols there, the best first"""


class Step(NamedTuple):
    """The next symbol of one text, or the next few."""

    writer: int
    """which"""
    text: str
    """characters that are certain now"""
    tokens: list[Token]
    """what was written, where asked for; none at a dead end"""


class Writer:
    """Chooses the symbols of one text and gives out its characters as soon as they are certain.

    Every attribute is replaced when it changes, never written into, so that a shallow copy is an independent writer.
    """

    def __init__(self, rules: Rules, seed: int, position: Position):
        """Write on from `position`; `rules` are not changed and may be shared."""
        self.rules, self.seed, self.position = rules, seed, position
        self.count = 0
        """symbols written"""
        self._held = position.pending
        self._missing = tuple(range(len(rules.required)))
        self._following: tuple[int, ...] = ()
        self.tables = rules.tables
        self.states = {name: self._first_state(name) for name in rules.tables}
        """of the tables"""
        if rules.regex is not None:
            self.tables = {**rules.tables, "regex": rules.completion(position.pending, self.states)}
            self.states["regex"] = 0
        self.ended: str | None = "match" if self._complete() else None if rules.settings.length else "length"
        """why the text has ended: length, boundary, stop, match or dead end"""

    def _first_state(self, name: str) -> int:
        """The state of a rule after the text before. Bytes from further back than its automaton has states are nothing
        to it."""
        recent = self.position.recent
        if name == "begin":
            return MAY_BEGIN if not len(recent) or not self.rules.vocabulary.ends_in_word[recent[-1]] else 0
        if name not in self.rules.automata:
            return 0
        automaton = self.rules.automata[name]
        return automaton.run(self.rules.pieces[int(id)] for id in recent[-len(automaton.next) :])[0]

    def _followed(self) -> list[str]:
        """The rules that say anything still."""
        return [name for name in self.tables if self._missing or name not in ("require", "begin")]

    def _keeps_out(self, name: str) -> bool:
        """Whether a rule keeps out the symbols that it objects to; else something happens where one is written."""
        return name in ("ban", "only", "regex") or (name == "stop" and bool(self._missing))

    def allowed(self) -> np.ndarray:
        """Which symbols [V] may come next."""
        mask = self._unbanned()
        if self._missing and self.rules.stops:
            mask = mask & self.tables["stop"].mask(self.states["stop"])
        if "regex" in self.tables and not self._may_end():
            mask = mask & self._matching()
        return mask

    def _unbanned(self) -> np.ndarray:
        """Which symbols [V] may come next if they are required."""
        mask = self.rules.text if self._missing else self.rules.text_or_end
        for name in self.rules.automata:
            mask = mask & self.tables[name].mask(self.states[name])
        return mask

    def _matching(self) -> np.ndarray:
        """The symbols [V] from which the expression can be matched in the length that is left."""
        table, left = self.tables["regex"], self.rules.settings.length - self.count
        row = table.row(self.states["regex"])
        assert table.steps is not None
        return (row >= 0) & (table.steps[row] < left)

    def _may_end(self) -> bool:
        """Whether the expression matches what is written."""
        steps = self.tables["regex"].steps
        return steps is not None and steps[self.states["regex"]] == 0

    def _complete(self) -> bool:
        """Whether the expression matches, and would match nothing that goes on."""
        return "regex" in self.tables and self._may_end() and not self._matching().any()

    def choose(self) -> int | None:
        """The next symbol; None where none is allowed, which ends the text.

        Raises:
            ModelFileError: the model's logits are not finite.
        """
        if not np.isfinite(self.position.logits).all():
            raise damaged()
        if self._due() and self._unbanned()[self._following[0]]:
            return self._following[0]
        settings, allowed = self.rules.settings, self.allowed()
        if not allowed.any():
            self.ended = "dead end"
            return None
        recent = self.position.recent[-settings.repetition_window :]
        penalties = settings.repetition_penalty, settings.frequency_penalty, settings.presence_penalty
        x = penalise(self.position.logits.astype(np.float64), recent, *penalties)
        if self.rules.bias:
            x[list(self.rules.bias)] += list(self.rules.bias.values())
        id = choose(np.where(allowed, x, -np.inf), settings, uniform(self.seed, self.count), self.count)
        if "regex" in self.tables and id != self.rules.boundary and not self._matching()[id]:
            self.ended = "match"
            return None
        self._following = self._begun(id)
        return id

    def _due(self) -> bool:
        """Whether a required string is being written, or must be begun (or gone on with) now."""
        needed = [self.rules.required_ids[i] for i in self._missing]
        if not self._following and needed and self.rules.settings.length - self.count <= sum(map(len, needed)):
            nearest = max(needed, key=self._overlap)
            self._following = nearest[self._overlap(nearest) :]
        return bool(self._following)

    def _overlap(self, ids: tuple[int, ...]) -> int:
        """How many symbols of `ids`, not all, are written already at the end of the text."""
        written = self.position.recent[-self.count :].tolist() if self.count else []
        return next(
            k for k in range(min(len(ids) - 1, len(written)), -1, -1) if tuple(written[-k:]) == ids[:k] or k == 0
        )

    def _begun(self, id: int) -> tuple[int, ...]:
        """The required string that the symbol begins, if it does and stands where a word may begin."""
        if self._missing and self.states["begin"] == MAY_BEGIN:
            for i in self._missing:
                if self.rules.required_ids[i][0] == id:
                    return self.rules.required_ids[i]
        return ()

    def accept(self, id: int) -> str:
        """Take the symbol as written (the model has yet to read it); return the text that is now certain."""
        self.count += 1
        self._following = self._following[1:]
        if id == self.rules.boundary:
            self.ended = "boundary"
            return self._release(len(self._held), final=True)
        piece = self.rules.pieces[id]
        stopped, before = self._stops(piece), self.states
        self.states = self.states | {name: self.tables[name].after(before[name], id) for name in self._followed()}
        if stopped:
            self.ended = "stop"
            return self._release(len(self._held), final=True)
        self._tick_off(piece, before)
        return self._go_on()

    def _go_on(self) -> str:
        """Give out what is certain now, and see whether the text has ended."""
        if self._complete() or self.count == self.rules.settings.length:
            self.ended = "match" if "regex" in self.tables else "length"
            return self._release(len(self._held), final=False)
        waiting = self.rules.stop.depth[self.states["stop"]] if self.rules.stops else 0
        return self._release(len(self._held) - waiting, final=False)

    def _stops(self, piece: Piece) -> bool:
        """Add `piece` to what is held back; if a stop string ends in it, cut the text before that string."""
        stop, state = self.rules.stop, self.states.get("stop", 0)
        for byte in piece:
            self._held += bytes([byte])
            state = stop.step(state, byte)
            if stop.found[state] and not self._missing:
                self._held = self._held[: -len(self.rules.stops[stop.found[state][0]])]
                return True
        return False

    def _tick_off(self, piece: Piece, before: dict[str, int]) -> None:
        """Note which required strings are complete with `piece`. Stop strings begin to count after the last one.

        `before`: the rules' states before the piece.
        """
        if not self._missing:
            return
        state = before["require"]
        for byte in piece:
            state = self.rules.requirement.step(state, byte)
            found = self.rules.requirement.found[state]
            self._missing = tuple(i for i in self._missing if i not in found)
        if not self._missing and self.rules.stops:
            self.states = {**self.states, "stop": 0}

    def _release(self, size: int, final: bool) -> str:
        """The characters among the first `size` bytes held back; half a character stays, unless this is `final`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(self._held[:size], final)
        self._held = decoder.getstate()[0] + self._held[size:]
        return text

    def ask(self, most: int, top: int | None) -> Ask | None:
        """What an engine needs to write up to `most` symbols by itself, with `top` alternatives to each (None: without
        log-probabilities). None where a required string is being written."""
        if self._due():
            return None
        settings, left = self.rules.settings, self.rules.settings.length - self.count
        needed = sum(len(self.rules.required_ids[i]) for i in self._missing)
        return Ask(
            settings=settings,
            bias=self.rules.bias,
            seed=self.seed,
            written=self.count,
            most=min(most, left - needed),
            left=left,
            end=self.rules.boundary,
            allowed=self.rules.text if self._missing else self.rules.text_or_end,
            recent=self.position.recent[-settings.repetition_window :],
            rules=[(self.tables[name], self.states[name], self._keeps_out(name)) for name in self._followed()],
            top=top,
        )

    def accept_all(self, answer: Answer) -> str:
        """Like `accept` of one symbol after the other, for what an engine wrote when asked."""
        ids, closed = answer.ids, answer.ids[-1] == self.rules.boundary
        self.count += len(ids)
        self._held += b"".join([bytes(self.rules.pieces[id]) for id in (ids[:-1] if closed else ids)])
        self.states = self.states | dict(zip(self._followed(), answer.states, strict=True))
        if closed:
            self.ended = "boundary"
            return self._release(len(self._held), final=True)
        return self._go_on()

    def end(self) -> str:
        """What is still held back when nothing more can be written."""
        text = self._release(len(self._held), final=False)
        self.position = self.position._replace(pending=self._held)
        return text

    def moved(self, ids: Sequence[int], logits: np.ndarray, state: State) -> None:
        """The model has read the symbols: logits [V] and state [1, H] after them."""
        recent = np.append(self.position.recent, np.array(ids, np.int32))[-RECENT:]
        self.position = Position(state, logits, recent, self._held if self.ended in (None, "length", "match") else b"")

    def token(self, id: int, top: int) -> Token:
        """The model's opinion of the symbol `id` here, and of the `top` most probable ones."""
        log_p = log_softmax(self.position.logits)
        best = np.argsort(-log_p, kind="stable")[:top].tolist() if top else []
        return self.told(id, float(log_p[id]), [(i, float(log_p[i])) for i in best])

    def told(self, id: int, log_probability: float, best: Sequence[tuple[int, float]]) -> Token:
        """The token of these numbers."""
        symbols = self.rules.vocabulary.symbols
        return Token(id, symbols[id], log_probability, [Alternative(i, symbols[i], p) for i, p in best])


def damaged() -> ModelFileError:
    """What a prediction that is no number means."""
    return ModelFileError("the model predicts what is not a number: its weights are damaged")
