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
from rhapsode.analysis.mixing import PRIOR, Mixer, averaged, mixed
from rhapsode.analysis.predictions import log_softmax, predictions
from rhapsode.engine import Engine
from rhapsode.evaluate import evaluate, part_of, spans
from texts import verses

V = 4
ids = st.lists(st.integers(0, V - 1), min_size=2, max_size=80)


def cost_of(tokens, engine, ngram):
    """[5, N]: nats to the network, the n-gram, the cache, their product and the mixture."""
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
    network, counted, _, _, mixture = cost_of(part.tokens, engine, ngram)
    assert network.sum() == pytest.approx(evaluate(engine, part).nats_total, rel=1e-5)
    np.testing.assert_allclose(counted, ngram.nats(part.tokens), rtol=1e-9)
    assert mixture.mean() < min(network.mean(), counted.mean())


def test_the_future_changes_no_past_cost():
    """By brute force: whatever is replaced from a place on, all costs before it are the same to the last bit."""
    engine, rng = Engine(random_model(scale=0.3)), np.random.default_rng(0)
    size = engine.config.vocab_size
    ngram, one = NGram(3).fit(rng.integers(0, size, 200), size), rng.integers(0, size, 90)
    a = cost_of(one, engine, ngram)
    for cut in range(1, len(one)):
        other = np.append(one[:cut], rng.integers(0, size, len(one) - cut))
        np.testing.assert_array_equal(a[:, : cut - 1], cost_of(other, engine, ngram)[:, : cut - 1])


@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 300))
def test_the_average_is_bayes_and_loses_no_more_than_its_bound(seed, pieces, size):
    """Each piece goes on where the one before ended; the whole is the evidence of the definition."""
    rng, spent, costs = np.random.default_rng(seed), -np.log(list(PRIOR.values())), []
    nats = rng.exponential(rng.uniform(0.01, 5, (4, 1)), (4, size))
    for piece in np.array_split(nats, pieces, axis=1):
        cost, spent = averaged(piece, spent)
        costs.append(cost)
    whole = np.concatenate(costs)
    expected = -np.logaddexp.reduce(np.log(list(PRIOR.values())) - nats.sum(1))
    assert whole.sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert whole.sum() <= nats.sum(1).min() + math.log(10) + 1e-9
    assert (whole <= nats.max(0) + 1e-9).all()
    assert (whole >= nats.min(0) - 1e-9).all()


def test_a_part_that_is_always_right_is_hardly_lost_to():
    """A line over and over, which the n-gram knows and the network does not."""
    engine = Engine(random_model(scale=1.0))
    tokens = np.tile(np.arange(12), 90)
    ngram = NGram(5).fit(np.tile(tokens, 20), engine.config.vocab_size)
    found = dict(zip((*PRIOR, "mixture"), cost_of(tokens, engine, ngram).sum(1), strict=True))
    assert found["ngram"] < 2
    assert found["product"] > found["ngram"] + 3
    assert found["mixture"] <= found["ngram"] + math.log(10)


def test_parts_that_know_nothing_change_nothing():
    flat = np.full(V, -math.log(V))
    sure = log_softmax(np.array([3.0, 0, 0, 0]))
    mixer = Mixer()
    mixer.weights[:, 0] = 1
    np.testing.assert_allclose(mixer.predict(np.stack([sure, flat, flat]), 0), sure)
