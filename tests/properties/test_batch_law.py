"""Law 4, of the backends: a sequence alone and the same sequence among others give the same numbers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learners import (
    UPDATE,
    arrays,
    close,
    close_parameters,
    close_states,
    make,
    model_configs,
    random_batch,
    random_ids,
    random_state,
    seeds,
)
from rhapsode.backends.base import Batch
from rhapsode.nn.spec import State


def row(state, b):
    return State(tuple(type(layer)(*(array[b : b + 1] for array in layer)) for layer in state.layers))


@settings(max_examples=40, deadline=None)
@given(model_configs(), st.integers(1, 6), st.integers(2, 5), seeds)
def test_a_sequence_alone(backend, config, steps, batch_size, seed):
    learner = make(backend, config)
    ids, targets = (random_ids(config, steps, batch_size, seed=s) for s in (seed, seed + 1))
    state = random_state(config, batch_size, seed)
    logits, final = learner.logits(ids, learner.state_from_numpy(state))
    losses, _ = learner.losses(ids, targets, learner.state_from_numpy(state))
    for b in range(batch_size):
        alone, end = learner.logits(ids[:, b : b + 1], learner.state_from_numpy(row(state, b)))
        close(alone[:, 0], logits[:, b])
        close_states(learner.state_to_numpy(end), row(learner.state_to_numpy(final), b))
        nats, _ = learner.losses(ids[:, b : b + 1], targets[:, b : b + 1], learner.state_from_numpy(row(state, b)))
        close(nats[:, 0], losses[:, b])


@settings(max_examples=30, deadline=None)
@given(model_configs(), st.integers(1, 6), st.integers(2, 4), seeds)
def test_gradients_add_up(backend, config, steps, batch_size, seed):
    learner = make(backend, config)
    batch, state = random_batch(config, steps, batch_size, seed), random_state(config, batch_size, seed)
    together = learner.gradients(batch, state, UPDATE)
    total = {name: np.zeros_like(value) for name, value in together.parameters.items()}
    for b in range(batch_size):
        own = Batch(*(array[:, b : b + 1] for array in batch[:3]), batch.reset[b : b + 1])
        share = own.weights.sum() / batch.weights.sum()
        alone = learner.gradients(own, row(state, b), UPDATE)
        total = {name: total[name] + share * alone.parameters[name] for name in total}
        for one, other in zip(arrays(alone.state), arrays(row(together.state, b)), strict=True):
            close(share * one, other)
    close_parameters(total, together.parameters, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(model_configs(), st.integers(1, 6), seeds)
def test_a_spoilt_neighbour(backend, config, steps, seed):
    """A neighbour whose state is not a number changes nothing, and a reset row forgets such a state."""
    learner, state = make(backend, config), random_state(config, 3, seed)
    ids = random_ids(config, steps, 3, seed=seed)
    clean, _ = learner.logits(ids, learner.state_from_numpy(state))
    for array in arrays(state):
        array[1] = np.nan
    logits, _ = learner.logits(ids, learner.state_from_numpy(state))
    assert np.isnan(logits[:, 1]).all()
    close(logits[:, [0, 2]], clean[:, [0, 2]])
    batch = random_batch(config, steps, 3, seed)._replace(reset=np.array([False, True, False]))
    found = learner.gradients(batch, state, UPDATE)
    assert np.isfinite(found.loss)
    assert all(np.isfinite(value).all() for value in found.parameters.values())
