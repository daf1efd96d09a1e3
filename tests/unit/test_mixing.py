"""The mixture of network, n-gram and cache: a distribution, learned from the past alone, better than its parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import random_model
from rhapsode.analysis.baselines import NGram
from rhapsode.analysis.cache import ORDER, SMOOTHING, RecencyCache
from rhapsode.analysis.mixing import Mixer, mixed
from rhapsode.analysis.predictions import log_softmax, predictions
from rhapsode.engine import Engine
from rhapsode.evaluate import evaluate, part_of, spans
from texts import verses

V = 4
ids = st.lists(st.integers(0, V - 1), min_size=2, max_size=80)


def cost_of(tokens, engine, ngram):
    """[4, N]: nats to the network, the n-gram, the cache and the mixture."""
    part = part_of(engine.tokenizer, [""], closed=False)
    part = type(part)(np.asarray(tokens), np.array([0]), len(tokens) - 1, len(tokens) - 1)
    found = mixed(predictions(engine, part.tokens, spans(part, "carried")), part.tokens, ngram)
    return np.concatenate([np.stack(list(nats.values())) for _, nats in found], axis=1)


def test_the_cache_is_its_formula():
    text, cache = [0, 1, 2, 0, 1, 3, 0, 1], RecencyCache(V)
    for symbol in text:
        cache.read(symbol)
    p = np.full(V, 1 / V)
    for k in range(1, ORDER + 1):
        context = text[-k:]
        followed = [text[i + k] for i in range(len(text) - k) if text[i : i + k] == context]
        counts = np.bincount(followed, minlength=V) if followed else np.zeros(V)
        p = (counts + SMOOTHING * p) / (counts.sum() + SMOOTHING)
    np.testing.assert_allclose(cache.distribution(), p, rtol=1e-12)


@settings(deadline=None)
@given(ids)
def test_the_cache_sums_to_one_and_none_is_zero(text):
    cache = RecencyCache(V)
    for symbol in text:
        cache.read(symbol)
        assert cache.distribution().sum() == pytest.approx(1, abs=1e-12)
        assert cache.distribution().min() > 0


def test_the_cache_forgets_what_was_met_longest_ago(monkeypatch):
    monkeypatch.setattr("rhapsode.analysis.cache.CONTEXTS", 2 * ORDER)
    cache = RecencyCache(V)
    for symbol in [0, 1] * 20 + [2, 3] * 20:
        cache.read(symbol)
    assert len(cache._counts) == 2 * ORDER
    assert cache.distribution()[2] > 0.9
    cache.read(0)
    np.testing.assert_allclose(cache.distribution(), 1 / V)


@settings(deadline=None)
@given(st.integers(0, 99), ids)
def test_a_mixture_is_a_distribution_whatever_it_learned(seed, text):
    rng, mixer = np.random.default_rng(seed), Mixer()
    for symbol in text:
        parts = log_softmax(rng.normal(0, 5, (3, V)))
        mixture = mixer.predict(parts, symbol)
        assert np.exp(mixture).sum() == pytest.approx(1, abs=1e-12)
        mixer.learn(parts, symbol, mixture, symbol)


def test_the_weights_go_down_the_gradient_of_the_loss():
    rng, mixer = np.random.default_rng(0), Mixer()
    parts, before, step = log_softmax(rng.normal(0, 2, (3, V))), mixer.weights.copy(), 1e-6
    slopes = []
    for i in range(3):
        mixer.weights = before + step * np.eye(3)[i]
        ahead = mixer.predict(parts, 2)[1]
        mixer.weights = before - step * np.eye(3)[i]
        slopes.append((ahead - mixer.predict(parts, 2)[1]) / (2 * step))
    mixer.weights = before.copy()
    mixer.learn(parts, 2, mixer.predict(parts, 2), 1)
    moved = mixer.weights - before
    np.testing.assert_allclose(moved[2] / np.array(slopes), moved[2, 0] / slopes[0], rtol=1e-6)
    assert moved[2, 0] / slopes[0] > 0
    assert not np.delete(moved, 2, 0).any()


def test_the_parts_are_what_they_are_alone():
    engine = Engine(random_model(scale=0.3))
    text = verses(30).translate({i: "e" for i in range(128) if chr(i) not in engine.tokenizer.split("\n ,.abdenorst")})
    part = part_of(engine.tokenizer, [text], closed=False)
    ngram = NGram(4).fit(part.tokens[:200], engine.config.vocab_size)
    network, counted, _, mixture = cost_of(part.tokens, engine, ngram)
    assert network.sum() == pytest.approx(evaluate(engine, part).nats_total, rel=1e-5)
    np.testing.assert_allclose(counted, ngram.nats(part.tokens), rtol=1e-9)
    assert mixture.mean() < min(network.mean(), counted.mean())


@settings(deadline=None, max_examples=15)
@given(ids, ids, ids)
def test_the_future_changes_no_past_cost(past, one, other):
    engine = Engine(random_model(scale=0.3))
    ngram = NGram(3).fit(np.array([0, 1, 2, 3, 0, 1]), engine.config.vocab_size)
    a, b = (cost_of(past + future, engine, ngram)[:, : len(past) - 1] for future in (one, other))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_parts_that_know_nothing_change_nothing():
    flat = np.full(V, -math.log(V))
    sure = log_softmax(np.array([3.0, 0, 0, 0]))
    mixer = Mixer()
    mixer.weights[:, 0] = 1
    np.testing.assert_allclose(mixer.predict(np.stack([sure, flat, flat]), 0), sure)
