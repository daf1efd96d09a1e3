"""Law 1: for any cut k, running x[:k] and then x[k:] with the returned state equals one run: outputs, final state and
gradients, of the weights (among them the inputs' table or vectors) and of the initial state."""

import numpy as np
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
    random_ids,
    random_state,
    seeds,
)
from rhapsode.backends.base import Batch
from rhapsode.nn.spec import State

steps_and_cut = st.integers(2, 9).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T - 1)))


@settings(max_examples=40, deadline=None)
@given(model_configs(), steps_and_cut, st.integers(1, 4), seeds)
def test_outputs_and_state(backend, config, cut, batch_size, seed):
    (T, k), learner = cut, make(backend, config)
    ids = random_ids(config, T, batch_size, seed=seed)
    state = learner.state_from_numpy(random_state(config, batch_size, seed))
    whole, final = learner.logits(ids, state)
    first, middle = learner.logits(ids[:k], state)
    second, end = learner.logits(ids[k:], middle)
    close(np.concatenate([first, second]), whole)
    close_states(learner.state_to_numpy(end), learner.state_to_numpy(final))


@settings(max_examples=40, deadline=None)
@given(
    model_configs(dropconnect=0.3, dropout_mask="sequence", dropout_input=0.2, dropout=0.2, dropout_output=0.2),
    steps_and_cut,
    st.integers(1, 4),
    seeds,
)
def test_gradients(backend, config, cut, batch_size, seed):
    """Masks that are drawn once a sequence are the same in both parts."""
    (T, k), learner = cut, make(backend, config)
    batch = random_batch(config, T, batch_size, seed)
    state, d_final = random_state(config, batch_size, seed), random_state(config, batch_size, seed + 1)
    whole = learner.gradients(batch, state, UPDATE, d_final)

    part_1 = Batch(batch.inputs[:k], batch.targets[:k], batch.weights[:k], batch.reset)
    part_2 = Batch(batch.inputs[k:], batch.targets[k:], batch.weights[k:], np.zeros(batch_size, bool))
    share_1, share_2 = (part.weights.sum() / batch.weights.sum() for part in (part_1, part_2))
    middle = learner.gradients(part_1, state, UPDATE).final
    second = learner.gradients(part_2, middle, UPDATE, scaled(d_final, 1 / share_2))
    first = learner.gradients(part_1, state, UPDATE, scaled(second.state, share_2 / share_1))

    close(share_1 * first.loss + share_2 * second.loss, whole.loss)
    close_states(second.final, whole.final)
    close_states(scaled(first.state, share_1), whole.state)
    joined = {name: share_1 * first.parameters[name] + share_2 * second.parameters[name] for name in whole.parameters}
    close_parameters(joined, whole.parameters, atol=1e-4)


def scaled(state, factor):
    return State(tuple(type(layer)(*(np.float32(factor) * array for array in layer)) for layer in state.layers))
