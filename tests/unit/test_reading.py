"""Long texts are read in segments: the same as in sequence, whatever the model remembers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import rhapsode.reading as reading
from learners import arrays
from models import random_model
from rhapsode.engine import Engine, open_engine
from rhapsode.evaluate import evaluate, losses, spans
from rhapsode.nn.spec import parameter_spec
from rhapsode.text.corpus import Part

CELLS = ["rnn", "gru", "lstm"]


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    for name, value in {"SEGMENT": 50, "SEGMENTS": 7, "WARM_UP": 60, "LONG": 400, "TAIL": 240, "PIECE": 23}.items():
        monkeypatch.setattr(reading, name, value)


class Counting(Engine):
    """The reference, which counts the symbols of lone sequences that it reads."""

    alone = 0

    def losses(self, ids, targets, state):
        self.alone += ids.size if ids.shape[1] == 1 else 0
        return super().losses(ids, targets, state)


def in_sequence(engine, ids, state):
    nats = []
    for t in range(len(ids) - 1):
        step, state = Engine.losses(engine, ids[t : t + 1, None], ids[t + 1 : t + 2, None], state)
        nats.append(step[0, 0])
    return np.array(nats), state


def assert_as_in_sequence(engine, ids):
    expected, end = in_sequence(engine, ids, engine.initial_state(1))
    nats, state = reading.losses(engine, ids, engine.initial_state(1))
    np.testing.assert_allclose(nats, expected, rtol=1e-3, atol=1e-3)
    for a, b in zip(arrays(state), arrays(end), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [400, 401, 402, 701, 1000])
def test_segments_agree_with_reading_in_sequence(cell, size):
    engine = Counting(random_model(cell=cell, hidden=20, layers=2, scale=0.15, learned_state=True))
    ids = np.random.default_rng(0).integers(0, engine.config.vocab_size, size).astype(np.int32)
    assert_as_in_sequence(engine, ids)
    assert engine.alone < size / 50 + 50 or size <= 400  # nothing was read again


def one_that_never_forgets():
    """An lstm whose forget gates stand open counts all it reads: what comes before a segment's warm-up matters."""
    file = random_model(cell="lstm", hidden=6, scale=0.2)
    table = next(p for p in parameter_spec(file.config) if p.role == "table")
    file.parameters[table.name][:, 6:12] = 30
    return file


def test_a_model_that_never_forgets_is_read_in_sequence():
    engine = Counting(one_that_never_forgets())
    ids = np.random.default_rng(0).integers(0, engine.config.vocab_size, 1000).astype(np.int32)
    assert_as_in_sequence(engine, ids)
    assert engine.alone > 800


class Rounded(Engine):
    """The reference, which has another that is somewhat off for its quick one, and counts what both of them read."""

    skimmed = 0

    def __init__(self, model, quick=None):
        super().__init__(model)
        self._quick = quick or self

    @property
    def quick(self):
        return self._quick

    def skim(self, ids, state):
        self.skimmed += ids.size
        return super().skim(ids, state)


def off(file):
    """A model whose weights are two thousandths off."""
    random = np.random.default_rng(1)
    parameters = {n: p + random.normal(0, 0.002, p.shape).astype(np.float32) for n, p in file.parameters.items()}
    return dataclasses.replace(file, parameters=parameters)


def skimmed(file, monkeypatch):
    """The states after a long text, skimmed and read in sequence, and how much of it the exact engine has skimmed."""
    monkeypatch.setattr(reading, "TAIL", 120)
    engine = Rounded(file, Rounded(off(file)))
    ids = np.random.default_rng(0).integers(0, engine.config.vocab_size, 1000).astype(np.int32)
    start = reading.skim(engine, ids[:50], engine.initial_state(1))  # goes on from a state that is not the initial one
    engine.skimmed = 0
    found = reading.skim(engine, ids[49:], start)
    return found, in_sequence(engine, ids, engine.initial_state(1))[1], engine.skimmed


@pytest.mark.parametrize("cell", CELLS)
def test_a_long_text_is_skimmed_quickly_and_ends_in_the_exact_state(cell, monkeypatch):
    file = random_model(cell=cell, hidden=20, layers=2, scale=0.15, learned_state=True)
    found, expected, skimmed_exactly = skimmed(file, monkeypatch)
    for a, b in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    assert skimmed_exactly == 2 * 120


def test_a_model_that_never_forgets_is_skimmed_exactly(monkeypatch):
    found, expected, skimmed_exactly = skimmed(one_that_never_forgets(), monkeypatch)
    for a, b in zip(arrays(found), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    assert skimmed_exactly > 950


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_text_read_twice_is_the_same_to_the_last_bit(precision):
    _native = pytest.importorskip("rhapsode._native", reason="the native core was not built")
    engine = open_engine(random_model(hidden=40, scale=0.15), precision)
    ids = np.random.default_rng(0).integers(0, engine.config.vocab_size, 1000).astype(np.int32)
    results, before = [], _native.threads()
    for threads in (1, 2, 3):
        _native.use_threads(threads)
        nats, state = reading.losses(engine, ids, engine.initial_state(1))
        results.append([nats, *arrays(state), *arrays(reading.skim(engine, ids, engine.initial_state(1)))])
    _native.use_threads(before)
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_long_spans_are_evaluated_as_short_ones_are(monkeypatch):
    engine = Engine(random_model(hidden=20, scale=0.15))
    tokens = np.random.default_rng(0).integers(0, engine.config.vocab_size, 2000).astype(np.uint16)
    part = Part(tokens, np.array([0, 30, 1200]), 2000, 2000)
    for mode in ("carried", "documents"):
        found = np.full(len(tokens), np.nan)
        monkeypatch.setattr("rhapsode.evaluate.LONG", 400)
        monkeypatch.setattr("rhapsode.evaluate.STRETCH", 600)
        for index, nats in losses(engine, tokens, spans(part, mode)):
            assert np.isnan(found[index]).all()
            found[index] = nats
        monkeypatch.setattr("rhapsode.evaluate.LONG", 10**9)
        expected = evaluate(engine, part, documents=mode == "documents")
        assert not np.isnan(found[:-1]).any()
        assert found[:-1].sum() == pytest.approx(expected.nats_total, rel=1e-4)
