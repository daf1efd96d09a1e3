"""The native classifier, torch's and the equations in numpy agree: logits, loss, every gradient, the weights after some
steps; and what stands in the padding, or beside a sequence in its batch, changes nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("rhapsode._native")

from learners import UPDATE, close, close_parameters, model_configs, seeds
from rhapsode.backends.base import Update
from rhapsode.backends.choose import make_classifier_learner
from rhapsode.backends.classifier import LabelledBatch
from rhapsode.config import ClassifierConfig, ModelConfig, TrainConfig
from rhapsode.nn.classifier import classifier_spec, logits

POOLINGS = ["last", "mean", "max", "attention"]


@st.composite
def heads(draw):
    return ClassifierConfig(
        classes=draw(st.sampled_from([2, 5, 70])),
        bidirectional=draw(st.booleans()),
        pooling=draw(st.sampled_from(POOLINGS)),
        attention_size=draw(st.sampled_from([1, 7, 33])),
    )


def random_parameters(config, head, seed=0):
    """None is zero."""
    rng = np.random.default_rng([seed, 5])
    return {
        p.name: (rng.uniform(0.3, 1, p.shape) * rng.choice([-1, 1], p.shape) * p.shape[-1] ** -0.5).astype(np.float32)
        for p in classifier_spec(config, head)
    }


def random_batch(config, head, lengths, seed=0):
    rng, T, B = np.random.default_rng([seed, 6]), max(lengths), len(lengths)
    ids = rng.integers(0, config.vocab_size, (T, B)).astype(np.int32)
    return LabelledBatch(ids, np.array(lengths), rng.integers(0, head.classes, B).astype(np.int32))


def make(backend, config, head, seed=0, **train):
    settings = TrainConfig(**{"backend": backend, "precision": "fp32", **train})
    return make_classifier_learner(config, head, settings, random_parameters(config, head, seed))


lengths_of_a_batch = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(model_configs(dropout=True, tied=False), heads(), lengths_of_a_batch, seeds)
def test_loss_and_gradients(config, head, lengths, seed):
    batch = random_batch(config, head, lengths, seed)
    native, torch = (make(backend, config, head, seed).gradients(batch, UPDATE) for backend in ("native", "torch"))
    close(native[0], torch[0])
    close_parameters(native[1], torch[1], atol=5e-5)


@settings(max_examples=40, deadline=None)
@given(model_configs(tied=False), heads(), lengths_of_a_batch, seeds)
def test_logits(config, head, lengths, seed):
    batch = random_batch(config, head, lengths, seed)
    expected = logits(config, head, random_parameters(config, head, seed), batch.ids, batch.lengths)
    for backend in ("native", "torch"):
        close(make(backend, config, head, seed).logits(batch.ids, batch.lengths), expected)


@settings(max_examples=15, deadline=None)
@given(model_configs(dropout=True, tied=False, nonlinearity="tanh", hidden=16), heads(), seeds)
def test_weights_after_some_steps(config, head, seed):
    """Batches of different sizes; with an eps that is not small beside the gradient's noise."""
    learners = [
        make(b, config, head, seed, eps=1e-3, table_lr=3.0, output_lr=0.5, weight_decay=0.1)
        for b in ("native", "torch")
    ]
    for step in range(8):
        batch = random_batch(config, head, [[3, 1, 4], [7], [2, 2, 2, 9]][step % 3], seed + step)
        found, expected = (learner.step(batch, Update(step, 0.01)) for learner in learners)
        close(found, expected, rtol=1e-3)
    close_parameters(*(learner.parameters() for learner in learners), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("precision", ["auto", "fp32"])
@settings(max_examples=15, deadline=None)
@given(model_configs(tied=False), heads(), lengths_of_a_batch, st.integers(1, 6), seeds)
def test_padding_changes_nothing(backend, precision, config, head, lengths, extra, seed):
    """Neither what the padding holds, nor how much of it there is."""
    batch = random_batch(config, head, lengths, seed)
    learner = make(backend, config, head, seed, precision=precision)
    other = np.concatenate([batch.ids, np.zeros((extra, len(lengths)), np.int32)])
    other = np.where(np.arange(len(other))[:, None] < batch.lengths, other, config.vocab_size - 1).astype(np.int32)
    padded = batch._replace(ids=other)
    close(learner.logits(*padded[:2]), learner.logits(*batch[:2]), rtol=1e-5, atol=1e-6)
    found, expected = learner.gradients(padded, UPDATE), learner.gradients(batch, UPDATE)
    close(found[0], expected[0], rtol=1e-5, atol=1e-6)
    close_parameters(found[1], expected[1], rtol=1e-4, atol=1e-5)


def test_padding_after_one_step_changes_nothing():
    """Of a gated MLP after a norm, whose sums were rounded to bf16 where there was one time step alone."""
    config = ModelConfig(vocab_size=2, cell="gru", hidden=3, norm="layer", mlp=1.0)
    head = ClassifierConfig(classes=2, bidirectional=False, pooling="last")
    batch = random_batch(config, head, [1], 0)
    learner = make("native", config, head, 0, precision="auto")
    padded = batch._replace(ids=np.concatenate([batch.ids, batch.ids]))
    close(learner.logits(*padded[:2]), learner.logits(*batch[:2]), rtol=1e-5, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(model_configs(tied=False), heads(), st.lists(st.integers(1, 9), min_size=2, max_size=5), seeds)
def test_a_sequence_alone_and_among_others(config, head, lengths, seed):
    batch = random_batch(config, head, lengths, seed)
    learner = make("native", config, head, seed)
    together = learner.logits(batch.ids, batch.lengths)
    for b, length in enumerate(lengths):
        alone = learner.logits(np.ascontiguousarray(batch.ids[:length, b : b + 1]), np.array([length]))
        close(alone[0], together[b], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_a_step_that_fails_changes_nothing(backend):
    config, head = ModelConfig(vocab_size=7, hidden=5), ClassifierConfig(classes=3)
    parameters = random_parameters(config, head) | {"output.bias": np.full(3, np.nan, np.float32)}
    learner = make_classifier_learner(config, head, TrainConfig(backend=backend, precision="fp32"), parameters)
    assert not learner.step(random_batch(config, head, [3, 2]), UPDATE).is_finite
    for name, value in learner.parameters().items():
        np.testing.assert_array_equal(value, parameters[name])
