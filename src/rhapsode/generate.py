"""Writing: several texts side by side, symbol by symbol; or the most probable text, by beam search."""

from __future__ import annotations

import copy
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rhapsode.engine import Answer, Ask, Engine, rows, stack
from rhapsode.labels import drawn, is_due, label_of
from rhapsode.position import Position
from rhapsode.rules import Rules
from rhapsode.sampling import log_softmax
from rhapsode.writer import Step, Token, Writer, damaged


@dataclass(frozen=True)
class Written:
    """A text that was generated, and how."""

    text: str
    """without the prompt"""
    seed: int | None
    """gives this text again; None after beam search, where nothing is left to chance"""
    ended_by: str
    """length, boundary (the document ended), stop (a stop string came), match (of the regular expression), or dead end
    (nothing was allowed)"""
    symbols: int
    """tokens; those of a stop string and a closing boundary count"""
    log_probability: float
    """of these tokens in the model's own distribution, before temperature and the like; nats"""
    tokens: list[Token]
    """each of them with the most probable others, where asked for"""
    label: str | None = None
    """of the text, named or drawn; None where it has none, or stands more than `RECENT` symbols before its end"""

    @classmethod
    def of(cls, steps: Sequence[Step], seed: int | None, ended_by: str | None, label: str | None) -> Written:
        """The whole text that was written in these steps."""
        tokens = [token for step in steps for token in step.tokens]
        return cls(
            text="".join(step.text for step in steps),
            seed=seed,
            ended_by=ended_by or "",
            symbols=len(tokens),
            log_probability=float(sum(token.log_probability for token in tokens)),
            tokens=tokens,
            label=label,
        )


FIRST, GROWTH, MOST = 1, 4, 256
"""Of a text that the engine writes by itself: symbols in the first step, how much longer the next is, at most."""


def write(engine: Engine, writers: Sequence[Writer], top: int | None = None) -> Iterator[Step]:
    """Run all writers to their ends, side by side; `top` alternatives are told with each token, None: no tokens.

    When a step is yielded the position of its writer is after it. A text does not depend on those beside it.
    """
    active, size = [i for i, writer in enumerate(writers) if writer.ended is None], FIRST
    while active:
        yield from write_some(engine, writers, active, size, top)
        active = [i for i in active if writers[i].ended is None]
        size = min(MOST, size * GROWTH)


def write_some(
    engine: Engine, writers: Sequence[Writer], active: Sequence[int], most: int, top: int | None = None
) -> Iterator[Step]:
    """Write from one to `most` symbols on each of the `active` writers' texts, none of which has ended."""
    draw_labels(engine, [writers[i] for i in active])
    asks = {i: writers[i].ask(most, top) if engine.writes else None for i in active}
    by_symbol = [i for i, ask in asks.items() if not ask]
    by_symbol += yield from _by_engine(engine, writers, {i: ask for i, ask in asks.items() if ask})
    yield from _by_symbol(engine, writers, by_symbol, top)


def _by_engine(engine: Engine, writers: Sequence[Writer], asks: dict[int, Ask]) -> Generator[Step, None, list[int]]:
    """The engine writes on the texts as far as they ask; returns those whose next symbol it leaves to us."""
    if not asks:
        return []
    positions = [writers[i].position for i in asks]
    logits, state = np.stack([p.logits for p in positions]), stack([p.state for p in positions])
    answers, logits, state = engine.write(list(asks.values()), state, logits)
    left = []
    for b, (i, answer) in enumerate(zip(asks, answers, strict=True)):
        if answer is None:
            raise damaged()
        if answer.ids:
            text = writers[i].accept_all(answer)
            writers[i].moved(answer.ids, logits[b], rows(state, [b]))
            yield Step(i, text, _tokens(writers[i], answer, asks[i].top))
        else:
            left.append(i)
    return left


def _tokens(writer: Writer, answer: Answer, top: int | None) -> list[Token]:
    """What the engine says of each symbol."""
    size = min(top or 0, len(writer.rules.pieces))
    best = (answer.best[i * size : (i + 1) * size] for i in range(len(answer.log_p)))
    return [writer.told(*told) for told in zip(answer.ids, answer.log_p, best, strict=False)]


def _by_symbol(engine: Engine, writers: Sequence[Writer], active: Sequence[int], top: int | None) -> list[Step]:
    """One symbol of each text, chosen here."""
    chosen = {i: writers[i].choose() for i in active}
    taken = {i: id for i, id in chosen.items() if id is not None}
    tokens = {i: [writers[i].token(id, top)] for i, id in taken.items() if top is not None}
    texts = {i: writers[i].accept(taken[i]) if i in taken else writers[i].end() for i in active}
    advance(engine, [writers[i] for i in taken], list(taken.values()))
    return [Step(i, texts[i], tokens.get(i, [])) for i in active]


def draw_labels(engine: Engine, writers: Sequence[Writer]) -> None:
    """Begin the texts that have to begin with a label (see `rhapsode.labels`)."""
    due = [writer for writer in writers if is_due(engine.tokenizer, writer.position)]
    if not all(np.isfinite(writer.position.logits).all() for writer in due):
        raise damaged()
    ids = [drawn(engine.tokenizer, writer.position, writer.rules.settings, writer.seed) for writer in due]
    advance(engine, due, ids)


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
    labels = [label_of(engine.tokenizer, writer.position) for writer in writers]
    whole = zip(writers, steps, labels, strict=True)
    return [Written.of(own, writer.seed, writer.ended, label) for writer, own, label in whole]


def fresh_seed() -> int:
    """A seed from the system's entropy, short enough to be typed again."""
    return int.from_bytes(os.urandom(4), "little")


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
    writer = Writer(rules, 0, position)
    draw_labels(engine, [writer])
    active, ended, width = [Beam(writer, (), 0.0)], [], rules.settings.beams
    while active:
        ended += [beam for beam in active if beam.writer.ended]
        active = [beam for beam in active if not beam.writer.ended]
        if len(ended) >= width:
            break
        active = _grown(engine, active, width - len(ended), top) if active else []
    ranked, label = sorted(ended, key=lambda beam: -beam.score), label_of(engine.tokenizer, writer.position)
    return [(Written.of(beam.steps, None, beam.writer.ended, label), beam.writer) for beam in ranked]


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
    flat, size = np.concatenate(scores), engine.tokenizer.vocab_size
    best = [divmod(int(i), size) for i in np.argsort(-flat, kind="stable")[:width] if flat[i] > -np.inf]
    grown = []
    for b, id in best:
        writer = copy.copy(beams[b].writer)
        token = writer.token(id, top)
        step = Step(0, writer.accept(id), [token])
        grown.append(Beam(writer, (*beams[b].steps, step), beams[b].log_probability + token.log_probability))
    advance(engine, [beam.writer for beam in grown], [id for _, id in best])
    return dead + grown
