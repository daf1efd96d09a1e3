"""A training step: the optimisers against their papers' formulas in numpy, clipping, averaging, saving and loading."""

import numpy as np
import pytest

from learners import UPDATE, arrays, close, close_parameters, make, random_batch, random_parameters, random_state, same
from rhapsode.backends.base import Batch, Update
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import DECAYED, parameter_spec

CONFIG = ModelConfig(vocab_size=11, hidden=10, layers=2, norm="layer", learned_state=True)
BATCHES = [random_batch(CONFIG, 5, 3, seed) for seed in range(10)]

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd"},
    "momentum": {"optimizer": "sgd", "momentum": 0.8},
    "nesterov": {"optimizer": "sgd", "momentum": 0.8, "nesterov": True},
    "adagrad": {"optimizer": "adagrad"},
    "adadelta": {"optimizer": "adadelta", "beta2": 0.9, "eps": 1e-6},
    "rmsprop": {"optimizer": "rmsprop", "beta2": 0.9},
    "rmsprop momentum": {"optimizer": "rmsprop", "beta2": 0.9, "momentum": 0.7},
    "adam": {"optimizer": "adam", "beta1": 0.8, "beta2": 0.95},
    "adamw": {"optimizer": "adamw", "beta1": 0.8, "beta2": 0.95},
}
by_name = pytest.mark.parametrize("train", OPTIMIZERS.values(), ids=OPTIMIZERS)


class Reference:
    """One parameter's optimiser in float64.

    SGD with momentum after Sutskever et al. (2013), Adagrad after Duchi et al. (2011), Adadelta after Zeiler
    (arXiv:1212.5701), RMSprop after Hinton's lecture 6e, Adam after Kingma & Ba (arXiv:1412.6980), AdamW after
    Loshchilov & Hutter (arXiv:1711.05101).
    """

    def __init__(self, c):
        self.c, self.n = c, 0
        self.m = self.v = self.u = 0.0

    def update(self, w, g, lr, decay):
        c, self.n = self.c, self.n + 1
        if c.optimizer == "adamw":
            w = w - lr * decay * w
        else:
            g = g + decay * w
        return w - lr * getattr(self, c.optimizer)(g)

    def sgd(self, g):
        self.m = self.c.momentum * self.m + g
        return g + self.c.momentum * self.m if self.c.nesterov else self.m

    def adagrad(self, g):
        self.v = self.v + g * g
        return g / (np.sqrt(self.v) + self.c.eps)

    def adadelta(self, g):
        rho, eps = self.c.beta2, self.c.eps
        self.v = rho * self.v + (1 - rho) * g * g
        step = np.sqrt(self.u + eps) / np.sqrt(self.v + eps) * g
        self.u = rho * self.u + (1 - rho) * step * step
        return step

    def rmsprop(self, g):
        self.v = self.c.beta2 * self.v + (1 - self.c.beta2) * g * g
        self.m = self.c.momentum * self.m + g / (np.sqrt(self.v) + self.c.eps)
        return self.m

    def adam(self, g):
        b1, b2 = self.c.beta1, self.c.beta2
        self.m = b1 * self.m + (1 - b1) * g
        self.v = b2 * self.v + (1 - b2) * g * g
        return self.m / (1 - b1**self.n) / (np.sqrt(self.v / (1 - b2**self.n)) + self.c.eps)

    adamw = adam


def follow(learner, c, steps):
    """The weights that the reference reaches from the learner's gradients, while the learner steps along."""
    weights = {n: v.astype(np.float64) for n, v in learner.parameters().items()}
    optimizers = {p.name: Reference(c) for p in parameter_spec(CONFIG)}
    state = random_state(CONFIG, 3)
    for number in range(steps):
        update, batch = Update(number, 0.01 * (number + 1)), BATCHES[number]
        found = learner.gradients(batch, state, update)
        total = np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in found.parameters.values()))
        clipped = clip(found.parameters, c.clip_value, c.clip_norm)
        for p in parameter_spec(CONFIG):
            lr = update.lr * {"table": c.table_lr, "output": c.output_lr}.get(p.role, 1)
            decay = c.weight_decay if p.role in DECAYED else 0
            weights[p.name] = optimizers[p.name].update(weights[p.name], clipped[p.name], lr, decay)
        result, _ = learner.step(batch, learner.state_from_numpy(state), update)
        close(result.grad_norm, total)
        close(result.loss, found.loss)
    return weights


def clip(gradients, max_value, max_norm):
    gradients = {name: g.astype(np.float64) for name, g in gradients.items()}
    if max_value:
        gradients = {name: np.clip(g, -max_value, max_value) for name, g in gradients.items()}
    total = np.sqrt(sum(np.sum(g * g) for g in gradients.values()))
    scale = max_norm / total if 0 < max_norm < total else 1
    return {name: scale * g for name, g in gradients.items()}


@by_name
@pytest.mark.parametrize("clipping", [{"clip_norm": 0.0}, {"clip_norm": 0.3}, {"clip_norm": 0.2, "clip_value": 0.02}])
def test_formulas(backend, train, clipping):
    options = {**train, **clipping, "table_lr": 3.0, "output_lr": 2.0, "weight_decay": 0.1}
    learner = make(backend, CONFIG, **options)
    expected = follow(learner, TrainConfig(**options), 4)
    close_parameters(learner.parameters(), expected, rtol=1e-4, atol=2e-5)


@by_name
def test_saving_and_loading(backend, train):
    """Five steps, all of it into a fresh learner, five more: to the bit what ten steps give."""
    options = {**train, "averaging": 0.99, "clip_norm": 0.5, "seed": 4}
    config = ModelConfig(**{**CONFIG.to_json(), "dropout": 0.3, "dropout_output": 0.2, "dropconnect": 0.2})
    straight, before = (make(backend, config, **options) for _ in range(2))
    start = random_state(config, 3)
    _, whole = run(straight, straight.state_from_numpy(start), range(10))
    _, half = run(before, before.state_from_numpy(start), range(5))
    after = make(backend, config, random_parameters(config, seed=9), **options)
    after.load(before.parameters(), before.optimizer_state())
    same(after.parameters(averaged=True), before.parameters(averaged=True))
    _, end = run(after, after.state_from_numpy(before.state_to_numpy(half)), range(5, 10))
    same(after.parameters(), straight.parameters())
    same(after.parameters(averaged=True), straight.parameters(averaged=True))
    same(after.optimizer_state(), straight.optimizer_state())
    for one, other in zip(arrays(after.state_to_numpy(end)), arrays(straight.state_to_numpy(whole)), strict=True):
        np.testing.assert_array_equal(one, other)


def run(learner, state, numbers):
    for number in numbers:
        result, state = learner.step(BATCHES[number], state, Update(number, 0.01))
    return result, state


@by_name
def test_state_before_the_first_step(backend, train):
    learner, other = make(backend, CONFIG, **train), make(backend, CONFIG, **train)
    other.load(learner.parameters(), learner.optimizer_state())
    state = learner.state_from_numpy(random_state(CONFIG, 3))
    for each in (learner, other):
        run(each, state, range(2))
    same(other.parameters(), learner.parameters())


def test_names_of_the_state(backend):
    learner = make(backend, CONFIG, averaging=0.9)
    run(learner, learner.initial_state(3), range(2))
    found, names = learner.optimizer_state(), learner.parameters().keys()
    assert found.keys() == {"updates"} | {f"{s}.{n}" for s in ("exp_avg", "exp_avg_sq", "average") for n in names}
    assert found["updates"].tolist() == [2]
    assert found["updates"].dtype == np.int64
    assert found["exp_avg.layers.0.table"].dtype == np.float32


def test_weights_alone_can_be_loaded(backend):
    """The optimiser goes on from where it was."""
    learner, weights = make(backend, CONFIG), random_parameters(CONFIG, seed=5)
    run(learner, learner.initial_state(3), range(2))
    memory = learner.optimizer_state()
    learner.load(weights)
    same(learner.parameters(), weights)
    same(learner.optimizer_state(), memory)


def test_average(backend):
    learner = make(backend, CONFIG, averaging=0.3)
    average = learner.parameters(averaged=True)
    same(average, learner.parameters())
    state = learner.initial_state(3)
    for n in range(1, 6):
        _, state = learner.step(BATCHES[n], state, Update(n, 0.05))
        d = min(0.3, (1 + n) / (10 + n))
        average = {name: d * average[name] + (1 - d) * weight for name, weight in learner.parameters().items()}
        close_parameters(learner.parameters(averaged=True), average, atol=1e-6)
    fresh, batch = make(backend, CONFIG, average), BATCHES[0]
    losses = [l.losses(batch.inputs, batch.targets, state, averaged=a)[0] for l, a in [(learner, True), (fresh, False)]]
    close(*losses)
    assert np.abs(learner.losses(batch.inputs, batch.targets, state)[0] - losses[0]).max() > 1e-3


def test_without_averaging_there_is_only_one_set_of_weights(backend):
    learner = make(backend, CONFIG)
    same(learner.parameters(averaged=True), learner.parameters())


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_a_loss_that_is_not_a_number_changes_nothing(backend, spoilt):
    learner = make(backend, CONFIG, averaging=0.9)
    _, state = run(learner, learner.initial_state(3), range(2))
    weights, memory = learner.parameters(), learner.optimizer_state()
    bad = learner.state_to_numpy(state)
    bad.layers[0].c[0] = spoilt
    batch = BATCHES[3]._replace(reset=np.zeros(3, bool))
    result, _ = learner.step(batch, learner.state_from_numpy(bad), UPDATE)
    assert not (np.isfinite(result.loss) and np.isfinite(result.grad_norm))
    same(learner.parameters(), weights)
    same(learner.optimizer_state(), memory)
    run(learner, state, range(2, 4))
    assert all(np.isfinite(value).all() for value in learner.parameters().values())


def test_parameters_are_copies(backend):
    learner = make(backend, CONFIG)
    before = learner.parameters()
    for value in learner.parameters().values():
        value[:] = 0
    same(learner.parameters(), before)


def test_it_learns(backend):
    """A text of period 4 is learnt by heart."""
    config = ModelConfig(vocab_size=4, hidden=16)
    learner = make(backend, config, optimizer="adamw")
    ids = (np.arange(17, dtype=np.int32) % 4)[:, None].repeat(2, axis=1)
    batch = Batch(ids[:-1], ids[1:], None, np.zeros(2, bool))
    state = learner.initial_state(2)
    for number in range(60):
        result, state = learner.step(batch, state, Update(number, 0.02))
    assert result.loss < 0.05
