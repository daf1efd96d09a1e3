"""No memory growth: after ten thousand steps the process is as large as it was once it had warmed up."""

import gc
from pathlib import Path

import numpy as np
import pytest

from models import random_model
from rhapsode import _native
from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.model import Model
from rhapsode.nn.spec import initial_parameters

RESIDENT = Path("/proc/self/smaps_rollup")
STEPS = 10_000
GROWTH = 500
"""kB that are allowed: 50 bytes a step. What Python and malloc keep for themselves is less."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RESIDENT.exists(), reason="this system does not tell a process its size as Linux does"),
]


def resident():
    """kB of this process that are in memory and not shared with a file."""
    gc.collect()
    lines = (line.split() for line in RESIDENT.read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == "Anonymous:")


def growth(step, warm_up):
    """kB by which the process has grown after STEPS calls of step(number)."""
    for number in range(warm_up):
        step(number)
    before = resident()
    for number in range(STEPS):
        step(number)
    return resident() - before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_training_does_not_grow(precision, cell):
    if precision == "bf16" and not _native.supports_bf16():
        pytest.skip("no bf16 matrix units in use")
    config = ModelConfig(vocab_size=11, cell=cell, hidden=37, layers=2, norm="rms", learned_state=True, dropout=0.1)
    train = TrainConfig(backend="native", precision=precision, averaging=0.9)
    learner = make_learner(config, train, initial_parameters(config))
    ids = np.random.default_rng(0).integers(0, 11, (8, 5), dtype=np.int32)
    shapes = [(2, 5), (7, 5), (4, 3)]
    batches = [Batch(ids[:T, :B], ids[1 : T + 1, :B], None, np.arange(B) == 1) for T, B in shapes]
    states = [learner.initial_state(B) for _, B in shapes]

    def step(number):
        i = number // 10 % len(shapes)
        _, states[i] = learner.step(batches[i], states[i], Update(number, 1e-4))
        if number % 10 == 0:
            learner.losses(batches[i].inputs, batches[i].targets, states[i], averaged=True)

    assert growth(step, warm_up=300) < GROWTH


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_writing_does_not_grow(precision):
    model = Model(random_model(cell="lstm", hidden=37, layers=2), precision)
    texts, told = model.session("\n"), model.engine.initial_state(3)

    def step(number):
        nonlocal told
        session = texts.fork()
        session.read("not a rose ")
        session.generate(length=3, seed=number)
        if number % 10 == 0:
            session.samples(3, top=2, length=2, seed=number)
            _, told = model.engine.losses(np.full((4, 3), number % 10), np.full((4, 3), 2), told)

    assert growth(step, warm_up=300) < GROWTH


def test_a_session_does_not_grow_with_its_text():
    session = Model(random_model(cell="gru", hidden=37)).session()

    def step(number):
        session.read("a nest ")
        session.generate(length=5, seed=number)

    assert growth(step, warm_up=300) < GROWTH
