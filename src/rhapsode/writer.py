"""One text being written: from the model's logits to a symbol, from the symbol to text that can be shown."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rhapsode.engine import Ask
from rhapsode.errors import ModelFileError
from rhapsode.matching import NO_TEXT, Allowed, Piece
from rhapsode.nn.spec import State
from rhapsode.position import RECENT, Position
from rhapsode.rules import Rules
from rhapsode.sampling import choose, log_softmax, penalise, uniform


class Token(NamedTuple):
    """A written symbol, with the model's own opinion of it (before temperature and the like)."""

    id: int
    log_probability: float
    top: list[tuple[int, float]]
    """the most probable symbols there, with their log-probabilities"""


class Writer:
    """Chooses the symbols of one text and gives out its characters as soon as they are certain.

    Every attribute is replaced when it changes, never written into, so that a shallow copy is an independent writer.
    """

    def __init__(self, rules: Rules, seed: int, position: Position):
        """Write on from `position`; `rules` are not changed and may be shared."""
        self.rules, self.seed, self.position = rules, seed, position
        self.count = 0
        """symbols written"""
        self.ended: str | None = None if rules.settings.length else "length"
        """why the text has ended: length, boundary, stop or dead end"""
        self._held = position.pending
        self._stop = self._requirement = 0
        self._missing = tuple(range(len(rules.required)))
        self._following: tuple[int, ...] = ()
        self._states = tuple(self._warm(rule) for rule in rules.allowed)
        self._word_begins = not _ends_in_word(rules.pieces[position.recent[-1]]) if len(position.recent) else True

    def _warm(self, rule: Allowed) -> int:
        """The rule's state after the text before."""
        state = 0
        for id in self.position.recent:
            state = rule.after(state, int(id))
        return state

    def allowed(self) -> np.ndarray:
        """Which symbols [V] may come next."""
        mask = self._unbanned()
        if self._missing and self.rules.stops:
            mask = mask & self.rules.before_stop.mask(self._stop)
        return mask

    def _unbanned(self) -> np.ndarray:
        """Which symbols [V] may come next if they are required."""
        mask = self.rules.text if self._missing else self.rules.text_or_end
        for rule, state in zip(self.rules.allowed, self._states, strict=True):
            mask = mask & rule.mask(state)
        return mask

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
        x = penalise(self.position.logits.astype(np.float64), recent, settings.repetition_penalty)
        id = choose(np.where(allowed, x, -np.inf), settings, uniform(self.seed, self.count))
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
        if self._word_begins:
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
        self._word_begins = not _ends_in_word(piece)
        self._states = tuple(
            rule.after(state, id) for rule, state in zip(self.rules.allowed, self._states, strict=True)
        )
        if self._stops(piece):
            self.ended = "stop"
            return self._release(len(self._held), final=True)
        self._tick_off(piece)
        if self.count == self.rules.settings.length:
            self.ended = "length"
            return self._release(len(self._held), final=False)
        return self._release(len(self._held) - self.rules.stop.depth[self._stop], final=False)

    def _stops(self, piece: Piece) -> bool:
        """Add `piece` to what is held back; if a stop string ends in it, cut the text before that string."""
        stop = self.rules.stop
        for byte in piece:
            self._held += bytes([byte])
            self._stop = stop.step(self._stop, byte)
            if stop.found[self._stop] and not self._missing:
                self._held = self._held[: -len(self.rules.stops[stop.found[self._stop][0]])]
                return True
        return False

    def _tick_off(self, piece: Piece) -> None:
        """Note which required strings are complete with `piece`. Stop strings begin to count after the last one."""
        if not self._missing:
            return
        for byte in piece:
            self._requirement = self.rules.requirement.step(self._requirement, byte)
            found = self.rules.requirement.found[self._requirement]
            self._missing = tuple(i for i in self._missing if i not in found)
        if not self._missing:
            self._stop = 0

    def _release(self, size: int, final: bool) -> str:
        """The characters among the first `size` bytes held back; half a character stays, unless this is `final`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(self._held[:size], final)
        self._held = decoder.getstate()[0] + self._held[size:]
        return text

    def ask(self, most: int) -> Ask | None:
        """What an engine needs to write up to `most` symbols by itself.

        None where what may be written depends on what is: strings that are required, or banned and longer than a
        symbol. A stop string may come, and what follows it is not taken.
        """
        rules = self.rules
        rest = all(rule.steady(state) for rule, state in zip(rules.allowed, self._states, strict=True))
        if self._missing or not rest:
            return None
        allowed, left = self.allowed(), rules.settings.length - self.count
        if not allowed.any():
            return None
        recent = self.position.recent[-rules.settings.repetition_window :]
        return Ask(rules.settings, self.seed, self.count, min(most, left), rules.boundary, allowed, recent)

    def accept_all(self, ids: Sequence[int]) -> tuple[str, int]:
        """Like `accept` of one after the other, after `ask`: the text that is certain, and how many were taken."""
        if not self.rules.stops:
            return self._accept_plain(ids), len(ids)
        text = ""
        for taken, id in enumerate(ids, 1):
            text += self.accept(id)
            if self.ended:
                return text, taken
        return text, len(ids)

    def _accept_plain(self, ids: Sequence[int]) -> str:
        """Without stop strings or rules that change."""
        closed = ids[-1] == self.rules.boundary
        pieces = [bytes(self.rules.pieces[id]) for id in (ids[:-1] if closed else ids)]
        self.count += len(ids)
        self._held += b"".join(pieces)
        self._word_begins = closed or not _ends_in_word(pieces[-1])
        if closed:
            self.ended = "boundary"
        elif self.count == self.rules.settings.length:
            self.ended = "length"
        return self._release(len(self._held), final=closed)

    def end(self) -> str:
        """What is still held back when nothing more can be written."""
        text = self._release(len(self._held), final=False)
        self.position = self.position._replace(pending=self._held)
        return text

    def moved(self, ids: Sequence[int], logits: np.ndarray, state: State) -> None:
        """The model has read the symbols: logits [V] and state [1, H] after them."""
        recent = np.append(self.position.recent, np.array(ids, np.int32))[-RECENT:]
        self.position = Position(state, logits, recent, self._held if self.ended in (None, "length") else b"")

    def token(self, id: int, top: int) -> Token:
        """The model's opinion of the symbol `id` here, and of the `top` most probable ones."""
        log_p = log_softmax(self.position.logits)
        best = np.argsort(-log_p, kind="stable")[:top].tolist() if top else []
        return Token(id, float(log_p[id]), [(i, float(log_p[i])) for i in best])


def damaged() -> ModelFileError:
    """What a prediction that is no number means."""
    return ModelFileError("the model predicts what is not a number: its weights are damaged")


def _ends_in_word(piece: Piece) -> bool:
    """Whether a word may go on after `piece`."""
    return piece != NO_TEXT and bytes(piece).decode("utf-8", "ignore")[-1:].isalnum()
