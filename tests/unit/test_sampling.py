"""Sampling functions against their definitions, and against frequencies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import random_model
from rhapsode.config import SamplingConfig
from rhapsode.errors import ConfigError
from rhapsode.model import Model
from rhapsode.sampling import (
    choose,
    draw,
    log_softmax,
    min_p,
    penalise,
    softmax,
    temperature,
    top_k,
    top_p,
    typical,
    uniform,
)

logits = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=20).map(lambda x: np.array(x, np.float64))
units = st.floats(0, 1, exclude_max=True)


def kept(x: np.ndarray) -> list[int]:
    return np.flatnonzero(x > -np.inf).tolist()


@settings(deadline=None)
@given(logits)
def test_softmax_sums_to_one_and_agrees_with_its_logarithm(x):
    assert softmax(x).sum() == pytest.approx(1)
    np.testing.assert_allclose(np.exp(log_softmax(x)), softmax(x), rtol=1e-12)


@settings(deadline=None)
@given(logits, st.floats(0.1, 10))
def test_temperature_is_a_power_of_the_probabilities(x, t):
    expected = softmax(x) ** (1 / t)
    np.testing.assert_allclose(softmax(temperature(x, t)), expected / expected.sum(), rtol=1e-9)


@settings(deadline=None)
@given(logits, st.integers(1, 25))
def test_top_k_keeps_the_k_largest_and_of_equal_ones_the_first(x, k):
    order = sorted(range(len(x)), key=lambda i: (-x[i], i))
    assert kept(top_k(x, k)) == sorted(order[:k])


@settings(deadline=None)
@given(logits, st.floats(0.01, 0.99))
def test_top_p_keeps_the_fewest_that_reach_p(x, p):
    q, keep = softmax(x), kept(top_p(x, p))
    assert q[keep].sum() >= p * (1 - 1e-9)
    least = min(keep, key=lambda i: (q[i], -i))
    assert q[keep].sum() - q[least] < p * (1 + 1e-9)
    assert all(q[i] <= q[least] for i in set(range(len(x))) - set(keep))


def test_top_p_on_given_probabilities():
    x = np.log([0.1, 0.5, 0.25, 0.15])
    assert kept(top_p(x, 0.5)) == [1]
    assert kept(top_p(x, 0.51)) == [1, 2]
    assert kept(top_p(x, 0.8)) == [1, 2, 3]
    assert kept(top_p(x, 1.0)) == [0, 1, 2, 3]


def test_min_p_on_given_probabilities():
    x = np.log([0.1, 0.5, 0.25, 0.15])
    assert kept(min_p(x, 0.4)) == [1, 2]
    assert kept(min_p(x, 1.0)) == [1]
    assert kept(min_p(x, 0.0)) == [0, 1, 2, 3]


def test_filters_never_bring_back_what_is_masked():
    x = np.array([-np.inf, 0.0, -np.inf, 1.0])
    for y in (temperature(x, 0.5), top_k(x, 3), top_p(x, 0.999), min_p(x, 0.001), typical(x, 0.999)):
        assert not set(kept(y)) & {0, 2}
    assert {draw(x, u) for u in np.linspace(0, 0.999999, 500)} == {1, 3}


@settings(deadline=None)
@given(logits, st.floats(0.01, 0.99))
def test_typical_keeps_the_fewest_nearest_to_the_entropy(x, p):
    q, keep = softmax(x), kept(typical(x, p))
    with np.errstate(divide="ignore"):
        surprisal = -np.log(q)
    entropy = sum(a * b for a, b in zip(q, surprisal, strict=True) if a > 0)
    far = np.abs(surprisal - entropy)
    assert q[keep].sum() >= p * (1 - 1e-9)
    assert all(far[i] >= far[keep].max() - 1e-6 for i in set(range(len(x))) - set(keep))
    last = max(keep, key=lambda i: (far[i], i))
    assert len(keep) == 1 or q[keep].sum() - q[last] < p + 1e-6 or far[keep].max() - np.sort(far[keep])[-2] < 1e-6


def test_typical_may_drop_the_most_probable():
    x = np.log([0.5, 0.22, 0.2, 0.08])  # entropy 1.20 nats; surprisals 0.69, 1.51, 1.61, 2.53
    assert kept(typical(x, 0.2)) == [1]
    assert kept(typical(x, 0.4)) == [1, 2]
    assert kept(typical(x, 0.9)) == [0, 1, 2]


def test_frequency_and_presence_penalties_are_those_of_the_definition():
    x = penalise(np.array([2.0, -2.0, 1.0]), np.array([0, 1, 0, 0]), 1.0, 0.5, 0.25)
    assert x.tolist() == [2.0 - 3 * 0.5 - 0.25, -2.0 - 0.5 - 0.25, 1.0]
    both = penalise(np.array([2.0, -2.0, 1.0]), np.array([0, 1, 0, 0]), 2.0, 0.5, 0.25)
    assert both.tolist() == [1.0 - 1.75, -4.0 - 0.75, 1.0]


def test_repetition_penalty_lowers_both_signs_and_counts_a_symbol_once():
    x = penalise(np.array([2.0, -2.0, 1.0]), np.array([0, 1, 0, 0]), 2.0)
    assert x.tolist() == [1.0, -4.0, 1.0]


@settings(deadline=None)
@given(logits, units)
def test_draw_inverts_the_cumulative_distribution(x, u):
    i, total = draw(x, u), np.cumsum(softmax(x))
    assert total[i] > u * total[-1]
    assert i == 0 or total[i - 1] <= u * total[-1]


def test_draws_have_the_frequencies_of_the_distribution():
    x = np.log([0.5, 0.3, 0.15, 0.05])
    drawn = np.bincount([draw(x, uniform(7, t)) for t in range(20_000)], minlength=4) / 20_000
    np.testing.assert_allclose(drawn, softmax(x), atol=4 * math.sqrt(0.25 / 20_000))


def test_the_stream_is_uniform_and_neighbouring_seeds_share_nothing():
    numbers = np.array([[uniform(seed, t) for t in range(2000)] for seed in range(4)])
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    assert len(np.unique(numbers)) == numbers.size
    counts = np.histogram(numbers, 10, (0, 1))[0]
    assert ((counts - 800) ** 2 / 800).sum() < 28  # chi-squared of 9 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(numbers)[np.triu_indices(4, 1)]).max() < 0.1


def test_the_stream_is_fixed_for_good():
    """Saved seeds must give the same text in every version, and in the native engine: golden values of SplitMix64."""
    assert [uniform(seed, t) for seed, t in [(0, 0), (0, 1), (1, 0), (2**63 - 1, 10**6)]] == [
        0.6524484863740322,
        0.7012121095215252,
        0.36818951565166946,
        0.39854775898749717,
    ]


def mixed(z: int) -> int:
    """SplitMix64's finaliser, written from the paper independently of the code under test, in numpy's 64-bit words."""
    z = np.array(z % 2**64, np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(13787848793156543929)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(10723151780598845931)
    return int(z ^ (z >> np.uint64(31)))


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_the_stream_is_splitmix64(seed, index):
    gamma = 11400714819323198485
    with np.errstate(over="ignore"):
        expected = mixed(mixed(seed + gamma) + (index + 1) * gamma)
    assert uniform(seed, index) == (expected >> 11) / 2**53


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_temperatures_take_turns_symbol_by_symbol(monkeypatch, engine):
    monkeypatch.setenv("RHAPSODE_ENGINE", engine)
    model, cycle = Model(random_model(training={"start": "\n"}, scale=1.0)), [1.0, 0.0, 2.0]
    text = model.generate("bad", length=30, seed=4, temperatures=cycle)
    session = model.session("bad")
    for written, character in enumerate(text):
        x, t = session.position.logits.astype(np.float64), cycle[written % 3]
        x[-2:] = -np.inf  # no text
        id = int(np.argmax(x)) if t == 0 else draw(temperature(x, t), uniform(4, written))
        assert model.tokenizer.decode([id]) == character
        session.read(character)
    assert text == model.generate("bad", length=30, seed=4, temperatures="1,0,2")
    assert model.generate(length=30, seed=4, temperatures=[0.7]) == model.generate(length=30, seed=4, temperature=0.7)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperatures": [1, -0.5]}, "temperatures: found .* from 0"),
        ({"temperatures": "1,x"}, "temperatures: found '1,x'"),
        ({"temperatures": [1, True]}, "temperatures: found"),
        ({"temperatures": [float("nan")]}, "temperatures: found"),
        ({"temperatures": [1, 0.5], "greedy": True}, "greedy: found True, allowed: False, with temperatures"),
        ({"temperatures": [1, 0.5], "beams": 2}, "beams: found 2, allowed: 1, with temperatures"),
        ({"temperatures": [1, 0.5], "temperature": 1.0}, "temperature: found 1.0, allowed: 0.8, with temperatures"),
    ],
)
def test_temperatures_that_are_none_or_not_alone_are_refused(fields, said):
    with pytest.raises(ConfigError, match=said):
        SamplingConfig(**fields)


@settings(deadline=None)
@given(logits, units)
def test_greedy_and_temperature_zero_take_the_first_of_the_largest(x, u):
    for fields in ({"greedy": True}, {"temperature": 0.0}):
        assert choose(x, SamplingConfig(**fields), u) == int(np.argmax(x))


@settings(deadline=None)
@given(logits, units)
def test_tight_filters_are_greedy(x, u):
    for fields in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0, "top_k": 1}):
        assert choose(x, SamplingConfig(temperature=1.0, **fields), u) == int(np.argmax(x))
