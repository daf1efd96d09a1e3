"""Writing: several texts side by side, symbol by symbol; or the most probable text, by beam search."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rhapsode.engine import Ask, Engine, rows, stack
from rhapsode.position import Position, read
from rhapsode.rules import Rules
from rhapsode.sampling import log_softmax
from rhapsode.writer import Token, Writer, damaged


@dataclass(frozen=True)
class Written:
    """A text that was generated, and how."""

    text: str
    """without the prompt"""
    seed: int | None
    """gives this text again; None after beam search, where nothing is left to chance"""
    ended_by: str
    """length, boundary (the document ended), stop (a stop string came), or dead end (nothing was allowed)"""
    symbols: int
    """tokens; those of a stop string and a closing boundary count"""
    log_probability: float
    """of these tokens in the model's own distribution, before temperature and the like; nats"""
    tokens: list[Token]
    """each of them with the most probable others, where asked for"""


FIRST, GROWTH, MOST = 1, 4, 256
"""Of a text that the engine writes by itself: symbols in the first step, how much longer the next is, at most."""


class Step(NamedTuple):
    """The next symbol of one text, or the next few."""

    writer: int
    """which"""
    text: str
    """characters that are certain now"""
    tokens: list[Token]
    """what was written, where asked for; none at a dead end"""


def write(engine: Engine, writers: Sequence[Writer], top: int | None = None) -> Iterator[Step]:
    """Run all writers to their ends, side by side; `top` alternatives are told with each token, None: no tokens.

    When a step is yielded the position of its writer is after it. A text does not depend on those beside it.
    """
    active, size = [i for i, writer in enumerate(writers) if writer.ended is None], FIRST
    while active:
        asks = {i: writers[i].ask(size) if engine.writes and not top else None for i in active}
        yield from _by_engine(engine, writers, {i: ask for i, ask in asks.items() if ask}, top)
        yield from _by_symbol(engine, writers, [i for i, ask in asks.items() if not ask], top)
        active = [i for i in active if writers[i].ended is None]
        size = min(MOST, size * GROWTH)


def _by_engine(engine: Engine, writers: Sequence[Writer], asks: dict[int, Ask], top: int | None) -> Iterator[Step]:
    """The engine writes on the texts as far as they ask."""
    if not asks:
        return
    positions = [writers[i].position for i in asks]
    logits, state = np.stack([p.logits for p in positions]), stack([p.state for p in positions])
    answers, logits, state = engine.write(list(asks.values()), state, logits, top is not None)
    for b, (i, answer) in enumerate(zip(asks, answers, strict=True)):
        if answer is None:
            raise damaged()
        (ids, log_p), writer = answer, writers[i]
        text, taken = writer.accept_all(ids)
        after = Position(rows(state, [b]), logits[b], *positions[b][2:])
        if taken < len(ids):  # a stop string came: read again, up to it
            after = read(engine, positions[b], np.array(ids[:taken], np.int32))[1]
        writer.moved(ids[:taken], after.logits, after.state)
        yield Step(i, text, [Token(id, p, []) for id, p in zip(ids[:taken], log_p, strict=False)])


def _by_symbol(engine: Engine, writers: Sequence[Writer], active: Sequence[int], top: int | None) -> list[Step]:
    """One symbol of each text, chosen here."""
    chosen = {i: writers[i].choose() for i in active}
    taken = {i: id for i, id in chosen.items() if id is not None}
    tokens = {i: [writers[i].token(id, top)] for i, id in taken.items() if top is not None}
    texts = {i: writers[i].accept(taken[i]) if i in taken else writers[i].end() for i in active}
    advance(engine, [writers[i] for i in taken], list(taken.values()))
    return [Step(i, texts[i], tokens.get(i, [])) for i in active]


def advance(engine: Engine, writers: Sequence[Writer], ids: Sequence[int]) -> None:
    """Let the model read the symbol that each writer has taken: one step of one batch."""
    if writers:
        logits, state = engine.step(np.array(ids, np.int32), stack([w.position.state for w in writers]))
        for b, (writer, id) in enumerate(zip(writers, ids, strict=True)):
            writer.moved([id], logits[b], rows(state, [b]))


def samples(engine: Engine, rules: Rules, position: Position, count: int = 1, top: int = 0) -> list[Written]:
    """`count` texts from `position`: of sample k the seed is the configuration's plus k."""
    if rules.settings.beams > 1:
        return [written for written, _ in beam_search(engine, rules, position, top)][:count]
    first = fresh_seed() if rules.settings.seed is None else rules.settings.seed
    writers = [Writer(rules, (first + k) % 2**63, position) for k in range(count)]
    steps: list[list[Step]] = [[] for _ in writers]
    for step in write(engine, writers, top):
        steps[step.writer].append(step)
    return [collect(writer, own, writer.seed) for writer, own in zip(writers, steps, strict=True)]


def collect(writer: Writer, steps: Sequence[Step], seed: int | None) -> Written:
    """The whole text of a writer that has ended."""
    tokens = [token for step in steps for token in step.tokens]
    return Written(
        text="".join(step.text for step in steps),
        seed=seed,
        ended_by=writer.ended or "",
        symbols=len(tokens),
        log_probability=float(sum(token.log_probability for token in tokens)),
        tokens=tokens,
    )


def fresh_seed() -> int:
    """A seed from the system's entropy, short enough to be typed again."""
    return secrets.randbelow(2**32)


class Beam(NamedTuple):
    """A text that beam search is following."""

    writer: Writer
    steps: tuple[Step, ...]
    log_probability: float

    @property
    def score(self) -> float:
        """Mean log-probability of the symbols."""
        return self.log_probability / max(1, len(self.steps))


def beam_search(engine: Engine, rules: Rules, position: Position, top: int = 0) -> list[tuple[Written, Writer]]:
    """The `beams` most probable texts that the search meets, best first, by the mean log-probability of their symbols.

    At each step every text that is being followed is continued by every allowed symbol, and the `beams` most probable
    results are followed on, until as many have ended. Bans, `only`, stop strings and the length hold; temperature,
    top-k and the like and the repetition penalty do not. Of equal ones the earlier and the smaller symbol wins.
    Length normalisation as in Wu et al. (2016), arXiv:1609.08144, section 7, with the plain length.
    """
    active, ended, width = [Beam(Writer(rules, 0, position), (), 0.0)], [], rules.settings.beams
    while active:
        ended += [beam for beam in active if beam.writer.ended]
        active = [beam for beam in active if not beam.writer.ended]
        if len(ended) >= width:
            break
        active = _grown(engine, active, width - len(ended), top) if active else []
    ranked = sorted(ended, key=lambda beam: -beam.score)
    return [(collect(beam.writer, beam.steps, None), beam.writer) for beam in ranked]


def _grown(engine: Engine, beams: Sequence[Beam], width: int, top: int) -> list[Beam]:
    """The `width` most probable texts that are one symbol longer, after those that cannot go on."""
    scores, dead = [], []
    for beam in beams:
        allowed = beam.writer.allowed()
        if not allowed.any():
            beam.writer.ended = "dead end"
            dead.append(beam._replace(steps=(*beam.steps, Step(0, beam.writer.end(), []))))
        log_p = log_softmax(beam.writer.position.logits)
        scores.append(np.where(allowed, beam.log_probability + log_p, -np.inf))
    flat, size = np.concatenate(scores), engine.config.vocab_size
    best = [divmod(int(i), size) for i in np.argsort(-flat, kind="stable")[:width] if flat[i] > -np.inf]
    grown = []
    for b, id in best:
        writer = copy.copy(beams[b].writer)
        token = writer.token(id, top)
        step = Step(0, writer.accept(id), [token])
        grown.append(Beam(writer, (*beams[b].steps, step), beams[b].log_probability + token.log_probability))
    advance(engine, [beam.writer for beam in grown], [id for _, id in best])
    return dead + grown
