"""Law 3: the native backend and torch agree for every model: outputs, every gradient, the weights after 20 optimiser
steps; in fp32, on each instruction set that the machine has. Masks are the same bits on both, so dropout takes part."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
_native = pytest.importorskip("rhapsode._native")

from learners import (  # noqa: E402
    UPDATE,
    close,
    close_parameters,
    close_states,
    config_of,
    make,
    model_configs,
    random_batch,
    random_ids,
    random_state,
    same,
    seeds,
    weights_after,
)
from rhapsode.backends.base import Update  # noqa: E402
from rhapsode.config import ModelConfig  # noqa: E402
from rhapsode.nn.cells import CELLS  # noqa: E402
from rhapsode.nn.spec import initial_parameters  # noqa: E402


@pytest.fixture(scope="module", params=_native.available_isas())
def isa(request):
    before = _native.isa()
    _native.use_isa(request.param)
    yield request.param
    _native.use_isa(before)


def both(config, parameters=None, **train):
    return make("native", config, parameters, **train), make("torch", config, parameters, **train)


def same_gradients(config, T, B, seed=0, **train):
    native, torch = both(config, **train)
    batch, state = random_batch(config, T, B, seed), random_state(config, B, seed)
    found, expected = (x.gradients(batch, state, UPDATE, random_state(config, B, seed + 1)) for x in (native, torch))
    close(found.loss, expected.loss)
    close_states(found.final, expected.final)
    close_states(found.state, expected.state)
    close_parameters(found.parameters, expected.parameters, atol=5e-5)


@settings(max_examples=40, deadline=None)
@given(model_configs(), st.integers(1, 9), st.integers(1, 5), seeds)
def test_logits_and_losses(isa, config, T, B, seed):
    native, torch = both(config)
    ids, targets, state = random_ids(config, T, B, seed=seed), random_ids(config, T, B, seed=seed + 1), None
    state = random_state(config, B, seed)
    found, after = native.logits(ids, native.state_from_numpy(state))
    expected, after_torch = torch.logits(ids, torch.state_from_numpy(state))
    close(found, expected)
    close_states(native.state_to_numpy(after), torch.state_to_numpy(after_torch))
    losses, _ = native.losses(ids, targets, native.state_from_numpy(state))
    close(losses, torch.losses(ids, targets, torch.state_from_numpy(state))[0])


@settings(max_examples=60, deadline=None)
@given(model_configs(dropout=True), st.integers(1, 9), st.integers(1, 5), seeds, st.integers(1, 3))
def test_gradients(isa, config, T, B, seed, accumulate):
    """Of weights, table or embedding, initial and incoming state; whole batches and batches cut into pieces."""
    same_gradients(config, T, B, seed, accumulate=min(accumulate, 2), batch_size=8)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize(("hidden", "T", "B"), [(37, 63, 1), (100, 1, 33), (500, 3, 17)])
def test_awkward_sizes(isa, cell, hidden, T, B):
    config = config_of(cell, vocab_size=67, hidden=hidden, layers=2, dropconnect=0.3, dropout=0.3, norm="layer")
    same_gradients(config, T, B)


@pytest.mark.parametrize(("conv", "mlp"), [(2, 0.0), (4, 1.5), (9, 0.01), (40, 4.0)])
@pytest.mark.parametrize(("hidden", "T", "B"), [(37, 33, 1), (100, 1, 33), (66, 5, 17)])
def test_convolutions_and_mlps_of_awkward_sizes(isa, conv, mlp, hidden, T, B):
    """Convolutions that reach over the whole sequence and beyond, MLPs of one unit and of many."""
    config = ModelConfig(
        vocab_size=19, cell="gru", hidden=hidden, layers=2, conv=conv, mlp=mlp, norm="rms", dropout=0.2
    )
    same_gradients(config, T, B, accumulate=2, batch_size=64)


@pytest.mark.parametrize("V", [2, 5000])
def test_vocabularies(isa, V):
    """A large one goes through the output layer in pieces."""
    config = ModelConfig(vocab_size=V, input="embedding", embedding_size=24, hidden=24, tied=True, dropout_output=0.2)
    same_gradients(config, 9, 130)


OPTIMIZERS = [
    {"optimizer": "sgd", "lr": 0.1},
    {"optimizer": "sgd", "lr": 0.03, "momentum": 0.9},
    {"optimizer": "sgd", "lr": 0.03, "momentum": 0.9, "nesterov": True, "clip_value": 0.02},
    {"optimizer": "adagrad", "lr": 0.03},
    {"optimizer": "adadelta", "lr": 1.0},
    {"optimizer": "rmsprop", "lr": 3e-3},
    {"optimizer": "rmsprop", "lr": 1e-3, "momentum": 0.8},
    {"optimizer": "adam", "lr": 0.01, "clip_norm": 0},
    {"optimizer": "adamw", "lr": 0.01, "averaging": 0.9},
    {"optimizer": "adamw", "lr": 0.01, "accumulate": 3, "clip_norm": 0.1},
]


def smooth(config):
    """Whether rounding stays small over many steps: no kinks, no norms of vectors that may vanish."""
    return config.nonlinearity == "tanh" and config.hidden > 3


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(OPTIMIZERS), model_configs(dropout=True).filter(smooth), seeds)
def test_weights_after_20_steps(isa, optimizer, config, seed):
    """With an eps that is not small beside the gradient's noise, which a method that divides by it would magnify."""
    native, torch = both(config, eps=1e-3, table_lr=3.0, output_lr=0.5, weight_decay=0.1, **optimizer)
    states = native.initial_state(4), torch.initial_state(4)
    for step in range(20):
        batch = random_batch(config, 3, 4, [seed, step], reset=None if step % 3 else True)
        found, one = native.step(batch, states[0], Update(step, optimizer["lr"]))
        expected, two = torch.step(batch, states[1], Update(step, optimizer["lr"]))
        states = one, two
        close(found, expected, rtol=1e-3)
    tolerance = {"rtol": 1e-3, "atol": 2e-4}
    close_parameters(native.parameters(), torch.parameters(), **tolerance)
    close_parameters(native.parameters(averaged=True), torch.parameters(averaged=True), **tolerance)
    close_parameters(native.optimizer_state(), torch.optimizer_state(), **tolerance)
    ids = random_ids(config, 4, 4)
    averaged = [x.losses(ids, ids, x.initial_state(4), averaged=True)[0] for x in (native, torch)]
    close(*averaged, rtol=1e-3, atol=1e-3)
    assert native.parameters().keys() == torch.parameters().keys()


def test_checkpoints_pass_between_backends(isa):
    """Weights and optimiser state of one are taken up by the other."""
    config = ModelConfig(vocab_size=11, hidden=20, cell="gru", learned_state=True)
    train = {"averaging": 0.9, "eps": 1e-3}
    torch, native = make("torch", config, **train), make("native", config, **train)
    state = torch.initial_state(2)
    for step in range(3):
        _, state = torch.step(random_batch(config, 5, 2, step), state, Update(step, 0.01))
    native.load(torch.parameters(), torch.optimizer_state())
    same(native.parameters(), torch.parameters())
    same(native.optimizer_state(), torch.optimizer_state())
    here = native.state_from_numpy(torch.state_to_numpy(state))
    batch = random_batch(config, 5, 2, 9)
    found, _ = native.step(batch, here, Update(3, 0.01))
    expected, _ = torch.step(batch, state, Update(3, 0.01))
    close(found, expected)
    close_parameters(native.parameters(), torch.parameters())


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_steps_repeat_to_the_bit(isa, cell):
    config = config_of(cell, vocab_size=19, hidden=70, layers=2, dropconnect=0.2, dropout=0.2, conv=4, mlp=1.5)

    def run():
        return weights_after(make("native", config, initial_parameters(config)), config, 5)

    same(run(), run())


@pytest.mark.parametrize("threads", [1, 3, 5])
def test_any_number_of_threads(isa, threads):
    before = _native.threads()
    _native.use_threads(threads)
    try:
        for cell in CELLS:
            config = config_of(cell, vocab_size=30, hidden=150, layers=2, norm="rms", dropconnect=0.2)
            same_gradients(config, 4, 11)
            same_gradients(dataclasses.replace(config, conv=4, mlp=1.5), 4, 11)
    finally:
        _native.use_threads(before)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_weights_do_not_depend_on_the_number_of_threads(isa, cell):
    """So neither do they on how busy the machine is. Five threads divide the batch, too, of 70 units."""
    before = _native.threads()
    config = config_of(cell, vocab_size=19, hidden=70, layers=2, dropconnect=0.2, dropout=0.2, conv=4, mlp=1.5)
    weights = []
    try:
        for threads in (1, 2, 5):
            _native.use_threads(threads, threads)
            weights.append(weights_after(make("native", config, initial_parameters(config)), config, 3))
    finally:
        _native.use_threads(before)
    same(weights[0], weights[1])
    same(weights[0], weights[2])


def test_a_step_that_fails_changes_nothing(isa):
    config = ModelConfig(vocab_size=7, hidden=16)
    learner = make("native", config)
    state = learner.state_from_numpy(random_state(config, 2))
    before = learner.parameters(), learner.optimizer_state()
    state.layers[0].h[0, 0] = np.nan
    result, _ = learner.step(random_batch(config, 3, 2, reset=False), state, UPDATE)
    assert not np.isfinite(result.loss)
    same(learner.parameters(), before[0])
    same(learner.optimizer_state(), before[1])


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("mask", ["step", "sequence"])
def test_a_part_of_dropout_is_dropout_of_that_part(backend, mask):
    rates = {"dropout_input": 0.4, "dropout": 0.5, "dropout_output": 0.25, "dropconnect": 0.5}

    def weights(part, **fields):
        config = config_of("lstm", vocab_size=19, hidden=24, layers=2, dropout_mask=mask, **fields)
        learner = make(backend, config)
        learner.step(random_batch(config, 5, 7), learner.initial_state(7), Update(3, 0.01, part))
        return learner.parameters()

    same(weights(0.5, **rates), weights(1.0, **{name: rate / 2 for name, rate in rates.items()}))
    same(weights(0.0, **rates), weights(1.0))
