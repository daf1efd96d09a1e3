"""Writing: several texts side by side, symbol by symbol; or the most probable text, by beam search."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rhapsode.engine import Engine, rows, stack
from rhapsode.position import Position
from rhapsode.rules import Rules
from rhapsode.sampling import log_softmax
from rhapsode.writer import Token, Writer


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


class Step(NamedTuple):
    """One symbol of one text."""

    writer: int
    """which"""
    text: str
    """characters that are certain now"""
    token: Token | None
    """what was written; None at a dead end"""


def write(engine: Engine, writers: Sequence[Writer], top: int = 0) -> Iterator[Step]:
    """Run all writers to their ends, side by side; `top` alternatives are told with each token.

    When a step is yielded the position of its writer is after it. A text does not depend on those beside it.
    """
    active = [i for i, writer in enumerate(writers) if writer.ended is None]
    while active:
        chosen = {i: writers[i].choose() for i in active}
        taken = {i: id for i, id in chosen.items() if id is not None}
        tokens = {i: writers[i].token(id, top) for i, id in taken.items()}
        texts = {i: writers[i].accept(taken[i]) if i in taken else writers[i].end() for i in active}
        advance(engine, [writers[i] for i in taken], list(taken.values()))
        for i in active:
            yield Step(i, texts[i], tokens.get(i))
        active = [i for i in active if writers[i].ended is None]


def advance(engine: Engine, writers: Sequence[Writer], ids: Sequence[int]) -> None:
    """Let the model read the symbol that each writer has taken: one step of one batch."""
    if writers:
        logits, state = engine.step(np.array(ids, np.int32), stack([w.position.state for w in writers]))
        for b, (writer, id) in enumerate(zip(writers, ids, strict=True)):
            writer.moved(id, logits[b], rows(state, [b]))


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
    tokens = [step.token for step in steps if step.token is not None]
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
            dead.append(beam._replace(steps=(*beam.steps, Step(0, beam.writer.end(), None))))
        log_p = log_softmax(beam.writer.position.logits)
        scores.append(np.where(allowed, beam.log_probability + log_p, -np.inf))
    flat, size = np.concatenate(scores), engine.config.vocab_size
    best = [divmod(int(i), size) for i in np.argsort(-flat, kind="stable")[:width] if flat[i] > -np.inf]
    grown = []
    for b, id in best:
        writer = copy.copy(beams[b].writer)
        token = writer.token(id, top)
        step = Step(0, writer.accept(id), token)
        grown.append(Beam(writer, (*beams[b].steps, step), beams[b].log_probability + token.log_probability))
    advance(engine, [beam.writer for beam in grown], [id for _, id in best])
    return dead + grown
