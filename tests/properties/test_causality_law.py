"""Law 2: changing the future changes no past logit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners import make, model_configs, random_ids, random_state, seeds
from rhapsode.config import ModelConfig
from rhapsode.nn.cells import CELLS


@settings(max_examples=40, deadline=None)
@given(model_configs(), st.integers(1, 8), st.integers(1, 4), seeds, st.data())
def test_the_past_does_not_see_the_future(backend, config, steps, batch_size, seed, data):
    t, learner = data.draw(st.integers(0, steps - 1)), make(backend, config)
    ids = random_ids(config, steps, batch_size, seed=seed)
    changed = ids.copy()
    changed[t:] = (changed[t:] + 1) % config.vocab_size
    state = learner.state_from_numpy(random_state(config, batch_size, seed))
    before, after = (learner.logits(x, state)[0] for x in (ids, changed))
    np.testing.assert_array_equal(after[:t], before[:t])


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("entry", ["one-hot", "embedding", "scalar"])
def test_the_future_sees_the_past(backend, cell, entry):
    config = ModelConfig(vocab_size=5, cell=cell, input=entry, hidden=16, layers=2)
    learner = make(backend, config)
    ids = random_ids(config, 6, 2)
    changed = ids.copy()
    changed[2, 1] = (changed[2, 1] + 1) % 5
    before, after = (learner.logits(x, learner.initial_state(2))[0] for x in (ids, changed))
    assert (after[2:, 1] != before[2:, 1]).any(axis=-1).all()
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
