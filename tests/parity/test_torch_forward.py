"""The torch backend against the numpy reference (values), and against plain autograd in float64 (gradients)."""

# ruff: noqa: E402
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

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
    random_parameters,
    random_state,
    seeds,
)
from rhapsode.backends.torch import loss
from rhapsode.backends.torch.learner import product_dtype
from rhapsode.config import ModelConfig
from rhapsode.nn import masks
from rhapsode.nn.cells import CELLS
from rhapsode.nn.forward import forward
from rhapsode.nn.spec import (
    has_conv,
    has_norm,
    initial_state,
    is_residual,
    layer_width,
    make_state,
    output_weight,
)

SEED = 11


@settings(max_examples=80, deadline=None)
@given(model_configs(), st.integers(1, 7), st.integers(1, 5), seeds)
def test_values(config, steps, batch_size, seed):
    parameters, state = random_parameters(config, seed), random_state(config, batch_size, seed)
    learner = make("torch", config, parameters)
    ids, targets = (random_ids(config, steps, batch_size, seed=s) for s in (seed, seed + 1))
    expected, after = forward(config, parameters, ids, state)
    logits, final = learner.logits(ids, learner.state_from_numpy(state))
    assert logits.dtype == np.float32
    close(logits, expected)
    close_states(learner.state_to_numpy(final), after)

    nats, final = learner.losses(ids, targets, learner.state_from_numpy(state))
    assert nats.dtype == np.float32
    chosen = np.take_along_axis(expected, targets[..., None], -1)[..., 0]
    close(nats, np.logaddexp.reduce(expected, axis=-1) - chosen)
    close_states(learner.state_to_numpy(final), after)


@settings(max_examples=80, deadline=None)
@given(model_configs(dropout=True), st.integers(1, 6), st.integers(1, 5), seeds)
def test_gradients(config, steps, batch_size, seed):
    parameters, state = random_parameters(config, seed), random_state(config, batch_size, seed)
    batch, d_final = random_batch(config, steps, batch_size, seed), random_state(config, batch_size, seed + 1)
    found = make("torch", config, parameters, seed=SEED).gradients(batch, state, UPDATE, d_final)
    expected = Autograd(config, parameters, batch, state).gradients(d_final)
    close(found.loss, expected["loss"])
    close_states(found.final, expected["final"])
    close_parameters(found.parameters, expected["parameters"], rtol=2e-4, atol=5e-5)
    close_states(found.state, expected["state"], rtol=2e-4, atol=5e-5)


@settings(max_examples=25, deadline=None)
@given(model_configs(dropout=True), st.integers(1, 4), st.integers(1, 7), st.integers(2, 4), seeds)
def test_pieces_of_a_batch(config, steps, batch_size, pieces, seed):
    """A batch that is cut to save memory gives the step of the whole."""
    batch, state = random_batch(config, steps, batch_size, seed), random_state(config, batch_size, seed)
    steps_made = []
    for n in (1, pieces):
        learner = make("torch", config, batch_size=8, accumulate=n, optimizer="sgd", momentum=0.9, clip_norm=0.5)
        result, end = learner.step(batch, learner.state_from_numpy(state), UPDATE)
        steps_made.append((result, learner.state_to_numpy(end), learner.parameters()))
    (whole, end, parameters), (cut, cut_end, cut_parameters) = steps_made
    close(cut, whole)
    close_states(cut_end, end)
    close_parameters(cut_parameters, parameters, atol=1e-6)


@pytest.mark.parametrize("piece", [1, 40, 1000])
def test_pieces_of_the_output_layer(monkeypatch, piece):
    config = ModelConfig(vocab_size=20, hidden=8)
    batch, state = random_batch(config, 5, 3), random_state(config, 3)
    learner = make("torch", config)
    whole, own = learner.gradients(batch, state, UPDATE), learner.state_from_numpy(state)
    nats, _ = learner.losses(batch.inputs, batch.targets, own)
    monkeypatch.setattr(loss, "PIECE", piece)
    cut = learner.gradients(batch, state, UPDATE)
    close(cut.loss, whole.loss)
    close_parameters(cut.parameters, whole.parameters)
    close(learner.losses(batch.inputs, batch.targets, own)[0], nats)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_bf16(cell):
    """bfloat16 has 8 bits: products are off by up to 0.4 %, sums of them by less. The minimal cells' g has a kink: what
    rounding carries over it meets another slope."""
    tolerance = 0.06 if cell in ("mingru", "minlstm") else 0.02
    config = ModelConfig(vocab_size=30, hidden=64, cell=cell, layers=2)
    batch, state = random_batch(config, 12, 5), random_state(config, 5)
    exact, rough = (make("torch", config, precision=p).gradients(batch, state, UPDATE) for p in ("fp32", "bf16"))
    assert any((rough.parameters[name] != value).any() for name, value in exact.parameters.items())
    close(rough.loss, exact.loss, rtol=2e-3)
    for one, other in zip(arrays(rough.final), arrays(exact.final), strict=True):
        assert np.abs(one - other).max() < 0.03
    for name, value in exact.parameters.items():
        error = np.linalg.norm(rough.parameters[name] - value) / np.linalg.norm(value)
        assert error < tolerance, f"{name}: {error}"


def test_precision():
    cpu = torch.device("cpu")
    assert product_dtype("fp32", cpu) is torch.float32
    assert product_dtype("bf16", cpu) is torch.bfloat16
    assert product_dtype("auto", cpu) in (torch.float32, torch.bfloat16)


def test_weights_of_a_batch():
    """No weights is all ones; a prediction of weight 0 does not count."""
    config = ModelConfig(vocab_size=9, hidden=8)
    learner, state = make("torch", config), random_state(config, 2)
    plain = random_batch(config, 4, 2, weighted=False)
    ones = plain._replace(weights=np.ones((4, 2), np.float32))
    close(learner.gradients(plain, state, UPDATE).loss, learner.gradients(ones, state, UPDATE).loss)
    ones.weights[3] = 0
    shorter = plain._replace(inputs=plain.inputs[:3], targets=plain.targets[:3])
    close(learner.gradients(ones, state, UPDATE).loss, learner.gradients(shorter, state, UPDATE).loss)
    ones.weights[:] = 0
    with pytest.raises(AssertionError, match="without a prediction"):
        learner.gradients(ones, state, UPDATE)


@pytest.mark.parametrize("learned_state", [False, True])
def test_reset_rows_start_anew(learned_state):
    config = ModelConfig(vocab_size=9, hidden=8, layers=2, learned_state=learned_state)
    parameters = random_parameters(config)
    learner = make("torch", config, parameters)
    batch = random_batch(config, 3, 2)._replace(reset=np.array([False, True]))
    state, fresh = random_state(config, 2), initial_state(config, parameters, 2)
    for layer, new in zip(state.layers, fresh.layers, strict=True):
        layer.h[1], layer.c[1] = new.h[1], new.c[1]
    _, after = forward(config, parameters, batch.inputs, state)
    found = learner.gradients(batch, random_state(config, 2), UPDATE)
    close_states(found.final, after)
    assert not any(d[1].any() for d in arrays(found.state))
    assert all(d[0].any() for d in arrays(found.state))
    close_states(learner.state_to_numpy(learner.initial_state(2)), fresh)


def leaf(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


class Autograd:
    """The equations of `rhapsode.nn` with dropout, in float64, one time step after the other, one-hot vectors and all.

    Masks come from the numpy reference; torch's autograd finds the gradients.
    """

    def __init__(self, config, parameters, batch, state):
        self.config, self.batch = config, batch
        self.p = {name: leaf(value) for name, value in parameters.items()}
        self.start = [[leaf(array) for array in layer] for layer in state.layers]

    def gradients(self, d_final):
        value, final = self.loss()
        extra = [(f * torch.tensor(d)).sum() for f, d in zip(chain(*final), arrays(d_final), strict=True)]
        (value + sum(extra)).backward()
        return {
            "loss": value.item(),
            "final": self.state([a.detach().numpy() for a in layer] for layer in final),
            "parameters": {name: v.grad.numpy() for name, v in self.p.items()},
            "state": self.state([a.grad.numpy() for a in layer] for layer in self.start),
        }

    def state(self, layers):
        rest = chain(*layers)
        return make_state(self.config, lambda *_: next(rest))

    def loss(self):
        c, batch = self.config, self.batch
        B, ids = batch.inputs.shape[1], torch.tensor(batch.inputs).long()
        v, final, reset = self.dropped("input", self.vectors(ids), c.dropout_input), [], torch.tensor(batch.reset)
        for layer in range(c.layers):
            p = {n.removeprefix(f"layers.{layer}."): w for n, w in self.p.items() if n.startswith(f"layers.{layer}.")}
            if layer > 0:
                v = self.dropped(f"layers.{layer}.input", v, c.dropout)
            if "table" in p:
                a = v @ p["table"]
            else:
                z = self.norm(v, f"layers.{layer}.norm.") if has_norm(c, layer) else v
                if has_conv(c, layer):
                    past = torch.where(reset[:, None], torch.zeros_like(self.start[layer][-1]), self.start[layer][-1])
                    z, past = self.convolved(z, past, p["conv.weight"], p["conv.bias"])
                a = z @ p["weight_ih"].T + p["bias"]
            fields = CELLS[c.cell].state._fields
            state = self.start[layer][: len(fields)]
            if c.learned_state:
                new = [p[f"initial.{f}"].expand(B, -1) for f in fields]
            else:
                new = [torch.zeros_like(s) for s in state]
            state = [torch.where(reset[:, None], n, s) for n, s in zip(new, state, strict=True)]
            W, outputs = self.recurrent(layer, p["weight_hh"]) if CELLS[c.cell].matrices else None, []
            for t in range(len(ids)):
                output, *state = getattr(self, c.cell)(a[t], W, p, *state)
                outputs.append(output)
            final.append([*state, past] if has_conv(c, layer) else state)
            h = torch.stack(outputs)
            v = v + h if is_residual(c, layer) else h
            if c.mlp:
                gate, up = (self.norm(v, f"layers.{layer}.mlp.norm.") @ p["mlp.weight_in"].T).chunk(2, dim=-1)
                v = v + (torch.nn.functional.gelu(gate, approximate="tanh") * up) @ p["mlp.weight_out"].T
        v = self.dropped("output", self.norm(v, "norm."), c.dropout_output)
        logits = v @ self.p[output_weight(c)].T + self.p["output.bias"]
        targets = torch.tensor(batch.targets).long()
        nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        weights = torch.tensor(batch.weights, dtype=torch.float64).flatten()
        return (weights * nats).sum() / weights.sum(), final

    def vectors(self, ids):
        c = self.config
        if c.input == "scalar":
            return (ids.double() / c.vocab_size)[..., None]
        if c.input == "embedding":
            return self.p["embedding.weight"][ids]
        return torch.nn.functional.one_hot(ids, layer_width(c, 0)).double()

    def convolved(self, z, past, weight, bias):
        """By torch's convolution, over [B, D, time]."""
        D, K = weight.shape
        read = torch.cat([past.view(-1, K - 1, D).mT, z.permute(1, 2, 0)], dim=2)
        u = torch.nn.functional.conv1d(read, weight[:, None], bias, groups=D)
        return u.permute(2, 0, 1), read[:, :, len(z) :].mT.flatten(1)

    def norm(self, x, prefix):
        if self.config.norm == "none":
            return x
        if self.config.norm == "layer":
            x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.p[f"{prefix}weight"]
        return x + self.p[f"{prefix}bias"] if self.config.norm == "layer" else x

    def dropped(self, site, x, p):
        T, B, D = x.shape
        rows = T * B if self.config.dropout_mask == "step" else B
        return x * self.mask(site, rows, D, p).view(-1, B, D)

    def recurrent(self, layer, W):
        H = W.shape[1]
        mask = self.mask(f"layers.{layer}.weight_hh", len(W), H, self.config.dropconnect)
        G = len(W) // H
        entries = [[mask[k * G + g] for k in range(H)] for g in range(G)]
        return W * torch.cat([torch.stack(gate, dim=1) for gate in entries])

    def mask(self, site, rows, columns, p):
        kept = masks.keep(masks.key(SEED, UPDATE.number, site), rows, columns, p)
        return torch.tensor(kept).double() * masks.scale(p)

    def rnn(self, a, W, p, h):
        h = (torch.tanh if self.config.nonlinearity == "tanh" else torch.relu)(a + h @ W.T)
        return h, h

    def gru(self, a, W, p, h):
        (a_r, a_z, a_n), (W_r, W_z, W_n) = a.chunk(3, dim=1), W.chunk(3)
        r, z = torch.sigmoid(a_r + h @ W_r.T), torch.sigmoid(a_z + h @ W_z.T)
        n = torch.tanh(a_n + r * (h @ W_n.T + p["bias_hn"]))
        h = (1 - z) * n + z * h
        return h, h

    def lstm(self, a, W, p, h, c):
        i, f, g, o = (a + h @ W.T).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, h, c

    def mlstm(self, a, W, p, h, c):
        (i, f, g, o, x), (*W_hm, W_mh) = a.chunk(5, dim=1), W.chunk(5)
        m = x * (h @ W_mh.T)
        i, f, g, o = (gate + m @ w.T for gate, w in zip((i, f, g, o), W_hm, strict=True))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, h, c

    def mogrifier(self, x, W, p, h, c):
        W_h, W_x, *rounds = W.split([4 * h.shape[1], 4 * h.shape[1], *[h.shape[1]] * 5])
        for i, M in enumerate(rounds, 1):
            if i % 2:
                x = 2 * torch.sigmoid(h @ M.T) * x
            else:
                h = 2 * torch.sigmoid(x @ M.T) * h
        i, f, g, o = (x @ W_x.T + h @ W_h.T + p["bias_hh"]).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, h, c

    def mingru(self, a, W, p, h):
        z, n = a.chunk(2, dim=1)
        z, n = torch.sigmoid(z), torch.where(n >= 0, n + 0.5, torch.sigmoid(n))
        h = (1 - z) * h + z * n
        return h, h

    def minlstm(self, a, W, p, h):
        f, i, n = a.chunk(3, dim=1)
        f, i, n = torch.sigmoid(f), torch.sigmoid(i), torch.where(n >= 0, n + 0.5, torch.sigmoid(n))
        h = f / (f + i) * h + i / (f + i) * n
        return h, h

    def sru(self, a, W, p, c):
        w, f, r, x = a.chunk(4, dim=1)
        f, r = torch.sigmoid(f + p["v_f"] * c), torch.sigmoid(r + p["v_r"] * c)
        c = f * c + (1 - f) * w
        return r * c + (1 - r) * x, c

    def rglru(self, a, W, p, c):
        r, i, x, y = a.chunk(4, dim=1)
        alpha = torch.sigmoid(p["decay"]) ** (8 * torch.sigmoid(r))
        c = alpha * c + torch.sqrt(1 - alpha**2) * torch.sigmoid(i) * x
        gelu = 0.5 * y * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (y + 0.044715 * y**3)))
        return gelu * c, c
