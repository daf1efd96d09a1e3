"""Random models, states and batches for the laws, and learners on a named backend."""

import numpy as np
from hypothesis import strategies as st

from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.cells import CELLS
from rhapsode.nn.spec import make_state, parameter_spec

UPDATE = Update(number=3, lr=0.01)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def model_configs(draw, *, cell=None, dropout=False, **fixed):
    """Any model of awkward sizes; with `dropout`, all kinds of it. `fixed` fields are as given."""
    kind = cell or draw(st.sampled_from(sorted(CELLS)))
    hidden = draw(st.sampled_from([3, 16, 37]))
    entry = draw(st.sampled_from(["one-hot", "embedding", "scalar"]))
    tied = entry == "embedding" and draw(st.booleans())
    rate = st.sampled_from([0.0, 0.1, 0.5]) if dropout else st.just(0.0)
    fields = {
        "vocab_size": draw(st.sampled_from([2, 7, 67])),
        "input": entry,
        "embedding_size": hidden if tied else draw(st.sampled_from([3, 8, 37])),
        "nonlinearity": draw(st.sampled_from(["tanh", "relu"])) if kind == "rnn" else "tanh",
        "layers": draw(st.integers(1, 3)),
        "hidden": hidden,
        "residual": draw(st.booleans()),
        "norm": draw(st.sampled_from(["none", "layer", "rms"])),
        "conv": draw(st.sampled_from([0, 0, 1, 2, 4, 7])),
        "mlp": draw(st.sampled_from([0.0, 0.0, 0.1, 1.0, 1.5])),
        "learned_state": draw(st.booleans()),
        "tied": tied,
        "dropout_mask": draw(st.sampled_from(["step", "sequence"])),
    }
    rates = {name: draw(rate) for name in ("dropout_input", "dropout", "dropout_output", "dropconnect")}
    return config_of(kind, **fields | rates | fixed)


def config_of(cell, **fields):
    """A configuration, without DropConnect where the cell has no recurrent matrix."""
    return ModelConfig(cell=cell, **fields if CELLS[cell].matrices else {**fields, "dropconnect": 0.0})


def random_parameters(config, seed=0):
    """Weights of which none is zero, of a size at which the gates are neither shut nor open."""
    rng = np.random.default_rng(seed)
    return {
        p.name: (rng.uniform(0.3, 1, p.shape) * rng.choice([-1, 1], p.shape) * p.shape[-1] ** -0.5).astype(np.float32)
        for p in parameter_spec(config)
    }


def random_state(config, batch_size, seed=0, scale=0.5):
    rng = np.random.default_rng([seed, 1])
    return make_state(config, lambda _, __, n: (scale * rng.standard_normal((batch_size, n))).astype(np.float32))


def random_ids(config, *shape, seed=0):
    return np.random.default_rng([seed, 2]).integers(0, config.vocab_size, shape).astype(np.int32)


def random_batch(config, steps, batch_size, seed=0, reset=None, weighted=True):
    ids, rng = random_ids(config, steps + 1, batch_size, seed=seed), np.random.default_rng([seed, 3])
    weights = rng.uniform(0.1, 1, (steps, batch_size)).astype(np.float32) if weighted else None
    reset = rng.random(batch_size) < 0.5 if reset is None else np.full(batch_size, reset)
    return Batch(ids[:-1], ids[1:], weights, reset)


def make(backend, config, parameters=None, **train):
    """A learner in fp32, by default with random weights."""
    settings = TrainConfig(**{"backend": backend, "precision": "fp32", **train})
    return make_learner(config, settings, parameters or random_parameters(config))


def weights_after(learner, config, steps, batch_size=9):
    """The weights after some steps on random batches, the state carried on."""
    state = learner.initial_state(batch_size)
    for step in range(steps):
        _, state = learner.step(random_batch(config, 7, batch_size, step), state, Update(step, 0.01))
    return learner.parameters()


def arrays(state):
    """The arrays of a state, layer by layer."""
    return [array for layer in state.layers for array in layer]


def close(found, expected, rtol=1e-4, atol=2e-5):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def close_states(found, expected, **tolerance):
    for one, other in zip(arrays(found), arrays(expected), strict=True):
        close(one, other, **tolerance)


def close_parameters(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(
            found[name], expected[name], err_msg=name, **{"rtol": 1e-4, "atol": 2e-5, **tolerance}
        )


def same(found, expected):
    """To the bit."""
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
