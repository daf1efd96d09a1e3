"""The n-gram baseline against the formula, written out over dictionaries, and against the figure on record."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.analysis.baselines import NGram, read_by_order
from texts import real_text

V, BOUNDARY = 5, 4
texts = st.lists(st.integers(0, V - 1), max_size=60).map(lambda ids: np.array([BOUNDARY, *ids]))
orders = st.integers(1, 4)
boundaries = st.sampled_from([None, BOUNDARY])


class Formula:
    """Interpolated modified Kneser-Ney (Chen & Goodman 1999), as slow as it is plain."""

    def __init__(self, order: int, tokens: list[int], boundary: int | None):
        self.order, self.boundary = order, boundary
        grams = [(*self.history(tokens[:i]), tokens[i]) for i in range(1, len(tokens))]
        self.tables = [self.adjusted(grams, k) for k in range(1, order + 1)]
        self.discounts = [self.estimated(table) for table in self.tables]

    def history(self, before: list[int]) -> tuple[int, ...]:
        """All that precedes a symbol in its document."""
        before = tuple(before)
        if self.boundary is None:
            return before
        return before[max(i for i, x in enumerate(before) if x == self.boundary) :]

    def adjusted(self, grams: list[tuple[int, ...]], k: int) -> Counter:
        """a of each gram of k symbols."""
        counts: Counter = Counter()
        if k == self.order:
            counts.update(g[-k:] for g in grams if len(g) >= k)
            return counts
        counts.update(g for g in grams if len(g) == k)
        counts.update(g[1:] for g in {g[-k - 1 :] for g in grams if len(g) > k})
        return counts

    @staticmethod
    def estimated(table: Counter) -> list[float]:
        n = [sum(a == j for a in table.values()) for j in (1, 2, 3, 4)]
        if all(n):
            y = n[0] / (n[0] + 2 * n[1])
            found = [1 - 2 * y * n[1] / n[0], 2 - 3 * y * n[2] / n[1], 3 - 4 * y * n[3] / n[2]]
            if min(found) > 0:
                return found
        return [0.5, 1.0, 1.5]

    def probability(self, symbol: int, context: tuple[int, ...]) -> float:
        k = len(context) + 1
        table, discounts = self.tables[k - 1], self.discounts[k - 1]
        shorter = self.probability(symbol, context[1:]) if context else 1 / V
        following = {g[-1]: a for g, a in table.items() if g[:-1] == context}
        total = sum(following.values())
        if not total:
            return shorter
        freed = sum(discounts[min(a, 3) - 1] for a in following.values())
        a = following.get(symbol, 0)
        return (a - (discounts[min(a, 3) - 1] if a else 0)) / total + freed / total * shorter


@settings(deadline=None, max_examples=60)
@given(orders, texts, texts, boundaries)
def test_it_is_the_formula(order, train, held_out, boundary):
    formula = Formula(order, train.tolist(), boundary)
    expected = []
    for i in range(1, len(held_out)):
        context = formula.history(held_out[:i].tolist())
        expected.append(-math.log(formula.probability(int(held_out[i]), context[max(0, len(context) - order + 1) :])))
    found = NGram(order).fit(train, V, boundary).nats(held_out)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.sets(orders, min_size=1).map(sorted), texts, texts, boundaries)
def test_several_orders_counted_once_are_each_on_its_own(several, train, held_out, boundary):
    found = read_by_order(several, train, held_out, V, boundary)
    assert len(found) == len(several)
    for order, (nats, seen) in zip(several, found, strict=True):
        np.testing.assert_array_equal(nats, NGram(order).fit(train, V, boundary).nats(held_out))
        formula = Formula(order, train.tolist(), boundary)
        ends = [(*formula.history(held_out[:i].tolist()), int(held_out[i]))[-order:] for i in range(1, len(held_out))]
        # The place of the first symbol is counted for single symbols, though it is context only.
        known = formula.tables[-1].keys() | ({(int(train[0]),)} if order == 1 else set())
        assert seen.tolist() == [gram in known for gram in ends]


@settings(deadline=None, max_examples=60)
@given(orders, texts, st.lists(st.integers(0, V - 1), max_size=6), boundaries)
def test_probabilities_sum_to_one_and_none_is_zero(order, train, context, boundary):
    p = NGram(order).fit(train, V, boundary).distribution(np.array(context))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert p.min() > 0


@settings(deadline=None, max_examples=30)
@given(orders, texts, texts)
def test_nats_are_those_of_the_distributions(order, train, held_out):
    model = NGram(order).fit(train, V)
    one_by_one = [model.distribution(held_out[:i])[held_out[i]] for i in range(1, len(held_out))]
    np.testing.assert_allclose(np.exp(-model.nats(held_out)), one_by_one, rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(orders, texts, texts, boundaries)
def test_distributions_are_those_of_every_place(order, train, held_out, boundary):
    model = NGram(order).fit(train, V, boundary)
    found = model.distributions(held_out)
    assert found.shape == (len(held_out) + 1, V)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(found[np.arange(len(held_out)), held_out][1:], np.exp(-model.nats(held_out)), rtol=1e-12)


def test_a_text_of_one_symbol_and_an_unseen_one():
    model = NGram(3).fit(np.array([1, 0, 0, 0, 0, 0, 0]), 3)
    seen, unseen = model.nats(np.array([0, 0])), model.nats(np.array([0, 2]))
    assert seen < 0.2
    assert 2 < unseen < 10


def test_no_text_at_all_predicts_evenly():
    np.testing.assert_allclose(NGram(4).fit(np.array([0]), 8).nats(np.array([0, 3, 3])), math.log(8))


def test_contexts_stay_within_their_document():
    documents = np.array([2, 0, 1, 2, 1, 0, 2])
    model = NGram(5).fit(documents, 3, boundary=2)
    after_first, alone = model.distribution(np.array([2, 0, 1, 2])), model.distribution(np.array([2]))
    np.testing.assert_array_equal(after_first, alone)


@pytest.mark.parametrize(("order", "expected"), [(1, 3.3473), (3, 2.0381), (7, 1.5165)])
def test_tiny_shakespeare_figure(order, expected):
    """The figures of the README: first 90 % for training, last 10 % (111,540 characters) held out."""
    text = np.frombuffer(real_text("tinyshakespeare.txt").read_bytes(), np.uint8)
    alphabet, ids = np.unique(text[: len(text) * 9 // 10], return_inverse=True)
    boundary, size = len(alphabet), len(alphabet) + 2
    held_out = np.searchsorted(alphabet, text[len(ids) :])
    nats = NGram(order).fit(np.append(boundary, ids), size, boundary).nats(np.append(boundary, held_out))
    assert len(nats) == 111_540
    assert nats.mean() == pytest.approx(expected, abs=1e-4)
