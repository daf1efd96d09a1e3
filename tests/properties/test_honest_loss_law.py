"""Law 9: a reported loss covers every token once; here against reading one token after the other."""

from __future__ import annotations

import math
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import random_model
from rhapsode import evaluate as module
from rhapsode.config import CorpusConfig, ModelConfig
from rhapsode.engine import Engine
from rhapsode.evaluate import evaluate, losses, spans
from rhapsode.scoring import score_all
from rhapsode.text.corpus import Part
from rhapsode.text.tokenizer import train_tokenizer

SAMPLE = "abc é cab\naé bc abc"


def make_engine(cell: str, kind: str) -> Engine:
    tokenizer = train_tokenizer(CorpusConfig(tokenizer=kind, vocab_size=300), [SAMPLE])
    return Engine(random_model(tokenizer, cell=cell, layers=2, hidden=6, learned_state=True))


ENGINES = {
    (cell, kind): make_engine(cell, kind)
    for cell in typing.get_args(typing.get_type_hints(ModelConfig)["cell"])
    for kind in typing.get_args(typing.get_type_hints(CorpusConfig)["tokenizer"])
}
engines = st.sampled_from(list(ENGINES.values()))
documents = st.lists(st.text("abcé x\n", max_size=9), min_size=1, max_size=6)


def part_of(tokenizer, texts: list[str]) -> Part:
    """Texts as a part of a corpus: boundary d1 boundary d2 … boundary."""
    pieces = [np.append(tokenizer.boundary, tokenizer.encode(text)) for text in texts]
    starts = np.cumsum([0, *(len(p) for p in pieces)])[:-1]
    tokens = np.append(np.concatenate(pieces), tokenizer.boundary).astype(np.int32)
    return Part(tokens, starts, sum(map(len, texts)), sum(len(t.encode()) for t in texts))


def one_by_one(engine: Engine, part: Part, starts: set[int]) -> list[float]:
    """Nats of each prediction, by single steps; the state starts anew at the places `starts`."""
    nats = []
    for i, (token, following) in enumerate(zip(part.tokens[:-1], part.tokens[1:], strict=True)):
        if i in starts:
            state = engine.initial_state(1)
        logits, state = engine.step(np.array([token], np.int32), state)
        x = logits[0].astype(np.float64)
        nats.append(math.log(np.exp(x - x.max()).sum()) + x.max() - x[following])
    return nats


def starts_of(part: Part, context: int | None, per_document: bool) -> set[int]:
    """Where the state starts anew."""
    if context:
        return set(range(0, len(part.tokens), context))
    return set(part.starts.tolist()) if per_document else {0}


modes = st.tuples(st.one_of(st.none(), st.integers(1, 12)), st.booleans())
"""context, documents"""


@settings(deadline=None, max_examples=60)
@given(engines, documents, modes)
def test_every_token_is_counted_once_with_what_came_before_it(engine, texts, mode):
    part = part_of(engine.tokenizer, texts)
    expected = one_by_one(engine, part, starts_of(part, *mode))
    found = evaluate(engine, part, context=mode[0], documents=mode[1])
    assert found.tokens == len(expected) == len(part.tokens) - 1
    assert found.nats_total == pytest.approx(sum(expected), rel=1e-4)
    assert found.nats_per_token == pytest.approx(sum(expected) / len(expected), rel=1e-4)


@settings(deadline=None, max_examples=60)
@given(engines, documents, st.sampled_from(["carried", "reset", "documents"]), st.integers(1, 12))
def test_each_prediction_is_made_once_and_is_right(engine, texts, mode, context):
    part, context = part_of(engine.tokenizer, texts), context if mode == "reset" else None
    pieces = list(losses(engine, part.tokens, spans(part, mode, context)))
    index = np.concatenate([i for i, _ in pieces])
    assert sorted(index) == list(range(len(part.tokens) - 1))
    found = np.concatenate([n for _, n in pieces])[np.argsort(index)]
    expected = one_by_one(engine, part, starts_of(part, context, mode == "documents"))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(engines, documents, modes, st.integers(1, 4), st.integers(1, 5))
def test_neither_pieces_nor_rows_matter(engine, texts, mode, rows, piece):
    part = part_of(engine.tokenizer, texts)
    expected = evaluate(engine, part, context=mode[0], documents=mode[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", rows)
        patch.setattr(module, "PIECE", piece)
        found = evaluate(engine, part, context=mode[0], documents=mode[1])
    assert found.tokens == expected.tokens
    assert found.nats_total == pytest.approx(expected.nats_total, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(engines, documents, st.booleans())
def test_scores_are_the_same_losses(engine, texts, per_document):
    scores = score_all(engine, texts, documents=per_document)
    for text, score in zip(texts, scores, strict=True):
        part = part_of(engine.tokenizer, [text])
        expected = one_by_one(engine, part, {0})[: None if per_document else -1]
        np.testing.assert_allclose([n for _, n in score.per_token], expected, rtol=1e-3, atol=1e-4)
        assert score.text in (text, engine.tokenizer.normalise(text)) or score.unknown
        assert "".join(piece for piece, _ in score.per_token) == score.text
        assert len(score.per_char) == len(score.text)
        assert score.end == pytest.approx(expected[-1] if per_document else 0, rel=1e-3, abs=1e-4)
        assert score.per_char.sum() + score.end == pytest.approx(sum(expected), rel=1e-3, abs=1e-3)


def test_every_document_is_read_from_the_initial_state():
    engine = ENGINES["lstm", "char"]
    texts = ["abc", "b", "cab", " "]
    together = evaluate(engine, part_of(engine.tokenizer, texts), documents=True).nats_total
    alone = sum(evaluate(engine, part_of(engine.tokenizer, [t])).nats_total for t in texts)
    assert together == pytest.approx(alone, rel=1e-5)
