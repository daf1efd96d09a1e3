"""Predictions at the beginning that weigh nothing are left out of the output layer; nothing else follows from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners import (
    UPDATE,
    close,
    close_parameters,
    close_states,
    make,
    model_configs,
    random_batch,
    random_state,
    seeds,
)
from rhapsode.config import ModelConfig
from rhapsode.text.batches import loss_weights

TINY = 1e-30
"""A weight that changes no gradient, but is one."""


def same_as_with_tiny_weights(backend, config, batch, begin, *, close, seed=0, **train):
    learner, state = make(backend, config, **train), random_state(config, batch.inputs.shape[1], seed)
    learner.gradients(batch, state, UPDATE)  # leaves its own gradients in whatever is used again
    weights = batch.weights * loss_weights(begin, len(batch.weights), len(batch.weights))
    found = learner.gradients(batch._replace(weights=weights), state, UPDATE)
    expected = learner.gradients(batch._replace(weights=np.maximum(weights, np.float32(TINY))), state, UPDATE)
    assert found.loss == pytest.approx(expected.loss)
    close(found, expected)


def close_in_fp32(found, expected):
    close_states(found.state, expected.state)
    close_parameters(found.parameters, expected.parameters)


@settings(max_examples=25, deadline=None)
@given(model_configs(dropout=True), st.integers(2, 9), st.integers(1, 40), seeds, st.integers(1, 2), st.data())
def test_gradients(backend, config, T, B, seed, accumulate, data):
    begin, batch = data.draw(st.integers(0, T - 1)), random_batch(config, T, B, seed)
    fields = {"accumulate": accumulate, "batch_size": 64}
    same_as_with_tiny_weights(backend, config, batch, begin, close=close_in_fp32, seed=seed, **fields)


@pytest.mark.parametrize(("V", "B", "begin"), [(7, 5, 8), (7, 33, 1), (5000, 70, 3)])
def test_gradients_in_bf16(V, B, begin):
    native = pytest.importorskip("rhapsode._native")
    if not native.supports_bf16():
        pytest.skip("no bf16 matrix units in use")

    def close_in_bf16(found, expected):
        for name, gradient in expected.parameters.items():
            close(found.parameters[name], gradient, rtol=0, atol=1e-3 * np.abs(gradient).max())

    config = ModelConfig(vocab_size=V, hidden=37, layers=2, dropout=0.2, dropout_output=0.3)
    same_as_with_tiny_weights(
        "native", config, random_batch(config, 9, B), begin, close=close_in_bf16, precision="bf16"
    )
