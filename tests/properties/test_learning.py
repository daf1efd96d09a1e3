"""Every cell learns, at the size and the rate that the planner chooses for it."""

import numpy as np
import pytest

from rhapsode.backends.base import Update
from rhapsode.backends.choose import make_learner
from rhapsode.nn.cells import CELLS
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.batches import make_batches
from rhapsode.training.plan import make_plan
from rhapsode.training.schedule import learning_rate
from rhapsode.training.validation import held_out_loss
from texts import real_text, small_corpus, verses

STEPS = 100


def trained(corpus, cell, steps, budget, **train):
    """A learner after the first `steps` of a planned run of `budget` steps, and the gradient's norm at each."""
    plan = make_plan(corpus, {"cell": cell}, {"steps": budget, **train}, lambda *_: 1e5)
    batches = make_batches(corpus.train, plan.train)
    learner = make_learner(plan.model, plan.train, initial_parameters(plan.model))
    state, norms = learner.initial_state(batches.batch_size), []
    for step in range(steps):
        update = Update(step, learning_rate(plan.train, step, step / budget))
        result, state = learner.step(batches.at(step), state, update)
        norms.append(result.grad_norm)
    return learner, norms


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("corpus"), verses(6000), documents="whole")


def loss_of(corpus, cell):
    learner, _ = trained(corpus, cell, STEPS, STEPS, batch_size=16, length=32)
    return held_out_loss(learner, corpus.held_out, False)


@pytest.fixture(scope="module")
def usual(corpus):
    return loss_of(corpus, "lstm")


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_cell_learns_about_as_well_as_the_lstm(corpus, usual, cell):
    counts = np.unique(corpus.held_out.tokens, return_counts=True)[1]
    unigrams = -np.sum(counts / counts.sum() * np.log(counts / counts.sum()))
    loss = loss_of(corpus, cell)
    assert loss < unigrams / 2
    assert loss < usual + 0.1


def test_the_gradient_of_the_multiplicative_lstm_does_not_explode(tmp_path):
    """At twice the rate, with the usual draw and decay, it does so after 150 steps: its norm is 100 and more then."""
    text = real_text("tinyshakespeare.txt").read_text()
    corpus = small_corpus(tmp_path, text[: len(text) * 9 // 10], documents="whole")
    _, norms = trained(corpus, "mlstm", 240, 1300)
    assert max(norms) < 2
