"""Batches are functions of (seed, step), and an epoch makes every prediction."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.config import TrainConfig
from rhapsode.errors import ConfigError, CorpusError
from rhapsode.text.batches import loss_weights, make_batches
from rhapsode.text.corpus import Part
from rhapsode.text.shuffle import permute

BOUNDARY = 9


def text_of(documents):
    """Documents of symbols below BOUNDARY, laid out as a corpus does."""
    tokens, starts = [], []
    for document in documents:
        starts.append(len(tokens))
        tokens += [BOUNDARY, *document]
    size = sum(map(len, documents))
    return Part(np.array([*tokens, BOUNDARY], np.uint8), np.array(starts, np.int64), size, size)


documents = st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=30), min_size=1, max_size=60)


@given(st.integers(1, 5000), st.integers(0, 3))
def test_a_permutation_holds_everything_once(n, key):
    assert sorted(permute(np.arange(n), n, key)) == list(range(n))


def test_permutations_of_different_keys_differ():
    assert (permute(np.arange(100), 100, 1) != permute(np.arange(100), 100, 2)).any()


@pytest.mark.parametrize("kind", ["streams", "windows", "documents"])
@given(text=documents, step=st.integers(0, 50), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_a_batch_does_not_depend_on_what_was_asked_before(kind, text, step, seed):
    config = TrainConfig(batches=kind, batch_size=4, length=2, seed=seed)
    part = text_of(text)
    used = make_batches(part, config)
    for other in (0, 7, step + 3):
        used.at(other)
    fresh = make_batches(part, config).at(step)
    for a, b in zip(used.at(step), fresh, strict=True):
        assert (a is None and b is None) or np.array_equal(a, b)


@given(documents, st.integers(1, 6), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_streams_carry_on_and_cover_the_text(text, B, T):
    part = text_of(text)
    batches = make_batches(part, TrainConfig(batch_size=B, length=T))
    follows = {tuple(pair) for pair in zip(part.tokens, np.roll(part.tokens, -1), strict=True)}
    epoch = [batches.at(step) for step in range(batches.steps_per_epoch)]
    for before, after in pairwise(epoch):
        assert np.array_equal(before.targets[-1], after.inputs[0])
    for batch in epoch:
        assert np.array_equal(batch.inputs[1:], batch.targets[:-1])
        assert set(zip(batch.inputs.ravel(), batch.targets.ravel(), strict=True)) <= follows
    assert [batch.reset.all() for batch in epoch] == [True] + [False] * (len(epoch) - 1)
    assert sum(batch.targets.size for batch in epoch) > 0.5 * (part.predictions) - B * T


@given(documents, st.integers(1, 6), st.integers(1, 9), st.integers(1, 5), st.sampled_from(["all", "last"]))
@settings(max_examples=50, deadline=None)
def test_windows_are_each_seen_once(text, B, T, stride, targets):
    part = text_of(text)
    config = TrainConfig(batches="windows", batch_size=B, length=T, stride=stride, targets=targets)
    if part.predictions < T:
        with pytest.raises(CorpusError):
            make_batches(part, config)
        return
    batches = make_batches(part, config)
    seen = Counter()
    for step in range(batches.steps_per_epoch):
        batch = batches.at(step)
        assert batch.reset.all()
        rows = batch.weights.sum(0) > 0
        assert np.isin(batch.weights.sum(0), [0, 1 if targets == "last" else T]).all()
        windows = np.concatenate([batch.inputs, batch.targets[-1:]])[:, rows]
        seen.update(map(tuple, windows.T))
    expected = Counter(
        tuple(part.tokens[s : s + T + 1]) for s in range(0, len(part.tokens) - T, stride) if s + T < len(part.tokens)
    )
    assert seen == expected


@given(documents, st.integers(1, 6), st.integers(1, 12), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_documents_make_every_prediction_once_an_epoch(text, B, T, epoch):
    part = text_of(text)
    batches = make_batches(part, TrainConfig(batches="documents", batch_size=B, length=T, seed=1))
    seen, expected = Counter(), Counter()
    for step in range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch):
        batch = batches.at(step)
        assert batch.reset.all()
        for b in range(B):
            size = int(batch.weights[:, b].sum())
            assert (batch.weights[:size, b] == 1).all()
            if size:
                seen[tuple(batch.inputs[:size, b]), tuple(batch.targets[:size, b])] += 1
    for document in text:
        whole = [BOUNDARY, *document, BOUNDARY]
        for start in range(0, len(whole) - 1, T):
            end = min(start + T, len(whole) - 1)
            expected[tuple(whole[start:end]), tuple(whole[start + 1 : end + 1])] += 1
    assert seen == expected


def test_documents_of_like_length_share_a_batch():
    rng = np.random.default_rng(0)
    part = text_of([[1] * n for n in rng.integers(1, 60, 2000)])
    batches = make_batches(part, TrainConfig(batches="documents", batch_size=16, length=64))
    padded = sum(batches.at(step).targets.size for step in range(batches.steps_per_epoch))
    assert padded < 1.1 * batches.predictions
    assert {batches.at(step).inputs.shape[0] for step in range(20)} != {61}


@given(documents, st.integers(1, 6), st.integers(1, 12), st.sampled_from(["windows", "documents"]))
@settings(max_examples=50, deadline=None)
def test_every_prediction_of_an_epoch_counts_alike(text, B, T, kind):
    part = text_of([[1] * T, *text])
    batches = make_batches(part, TrainConfig(batches=kind, batch_size=B, length=T))
    epoch = [batches.at(step) for step in range(batches.steps_per_epoch)]
    assert len({batch.divisor for batch in epoch}) == 1
    assert sum(float(batch.weights.sum()) / batch.divisor for batch in epoch) == pytest.approx(len(epoch))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted), min_size=1, max_size=8))
def test_the_loss_counts_from_a_start_to_an_end(rows):
    starts, ends = np.array(rows).T
    weights = loss_weights(starts, ends, 9)
    assert weights.dtype == np.float32
    assert weights.T.tolist() == [[float(a <= t < b) for t in range(9)] for a, b in rows]


@pytest.mark.parametrize(
    ("starts", "ends", "message"),
    [
        ([0, 3], [1, 2], r"3 to 2 \(row 1\)"),
        ([0, -1], [1, 2], r"-1 to 2 \(row 1\)"),
        ([0, 1], [1, 6], r"1 to 6 \(row 1\).*end <= 5"),
        ([0, 1], [1, 2, 3], "found '3 positions', allowed: as many as starts"),
    ],
)
def test_positions_that_are_no_part_of_a_row(starts, ends, message):
    with pytest.raises(ConfigError, match=message):
        loss_weights(np.array(starts), np.array(ends), 5)
