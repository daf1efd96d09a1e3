"""The engine against the equations, and its batches against lone rows at awkward sizes."""

from __future__ import annotations

import numpy as np
import pytest

from learners import arrays
from models import random_model
from rhapsode.engine import Engine, open_engine, rows, stack
from rhapsode.errors import ConfigError
from rhapsode.modelfile import ModelFile
from rhapsode.nn.cells import CELLS
from rhapsode.nn.forward import forward
from rhapsode.position import beginning, read
from rhapsode.sampling import log_softmax


@pytest.mark.parametrize("name", ["native", "numpy"])
def test_an_unknown_precision_is_refused(monkeypatch, name):
    monkeypatch.setenv("RHAPSODE_ENGINE", name)
    with pytest.raises(ConfigError, match="precision: found 'fp64', allowed: auto, fp32"):
        open_engine(random_model(), "fp64")


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_steps_agree_with_reading_at_once(cell):
    engine = Engine(random_model(cell=cell, hidden=50, layers=2, norm="layer", scale=0.15))
    ids = np.random.default_rng(0).integers(0, engine.config.vocab_size, (63, 5))
    expected, end = engine.read(ids, engine.initial_state(5))
    state = engine.initial_state(5)
    for t, row in enumerate(ids):
        logits, state = engine.step(row, state)
        np.testing.assert_allclose(logits, expected[t], rtol=1e-4, atol=1e-5)
    for a, b in zip(arrays(state), arrays(end), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("hidden", [257, 512])
def test_wide_rows_do_not_depend_on_the_batch_to_the_last_bit(cell, hidden):
    engine = Engine(random_model(cell=cell, hidden=hidden, layers=2))
    ids = np.random.default_rng(0).integers(0, engine.config.vocab_size, 33)
    _, state = engine.step(ids, engine.initial_state(33))
    logits, _ = engine.step(ids, state)
    for chosen in ([0], [32], [7, 3], list(range(16))):
        np.testing.assert_array_equal(engine.step(ids[chosen], rows(state, chosen))[0], logits[chosen])


def test_a_state_that_was_given_is_not_written_into():
    engine = Engine(random_model(layers=2))
    _, state = engine.step(np.array([1, 2]), engine.initial_state(2))
    before = [array.copy() for array in arrays(state)]
    engine.step(np.array([3, 4]), state)
    engine.read(np.array([[3, 4]] * 5), state)
    for a, b in zip(before, arrays(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_and_stack_are_inverse():
    engine = Engine(random_model(cell="lstm", layers=3))
    _, state = engine.step(np.array([1, 2, 3]), engine.initial_state(3))
    again = stack([rows(state, [b]) for b in range(3)])
    for a, b in zip(arrays(state), arrays(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_surprisals_are_the_losses_of_the_forward_pass(monkeypatch):
    model = random_model(hidden=20)
    engine, ids = Engine(model), np.random.default_rng(1).integers(0, 13, 50).astype(np.int32)
    boundary = engine.tokenizer.boundary
    logits, _ = forward(model.config, model.parameters, np.array([boundary, *ids])[:, None], engine.initial_state(1))
    expected = -log_softmax(logits[:-1, 0])[np.arange(50), ids]
    monkeypatch.setattr("rhapsode.reading.PIECE", 7)
    surprisals, position = read(engine, beginning(engine), ids)
    np.testing.assert_allclose(surprisals, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(position.logits, logits[-1, 0], rtol=1e-4, atol=1e-4)
    assert position.recent.tolist() == ids.tolist()


def test_a_model_file_gives_the_same_logits_after_a_round_trip(tmp_path):
    model = random_model(cell="gru", layers=2, norm="rms", input="embedding", embedding_size=9)
    model.save(tmp_path / "model.safetensors")
    loaded = ModelFile.load(tmp_path / "model.safetensors")
    assert loaded.digest() == model.digest()
    ids = np.arange(10)[:, None]
    expected, _ = Engine(model).read(ids, Engine(model).initial_state(1))
    found, _ = Engine(loaded).read(ids, Engine(loaded).initial_state(1))
    np.testing.assert_array_equal(found, expected)
