"""Parameters: their names, shapes, roles and initial values."""

import numpy as np
import pytest
from hypothesis import given, settings

from learners import model_configs
from rhapsode.config import ModelConfig
from rhapsode.errors import ConfigError
from rhapsode.nn import spec as spec_module
from rhapsode.nn.cells import CELLS
from rhapsode.nn.forward import forward
from rhapsode.nn.spec import initial_parameters, initial_state, parameter_spec, state_fields


def shapes(**fields):
    return {p.name: p.shape for p in parameter_spec(ModelConfig(vocab_size=9, hidden=4, **fields))}


def test_one_hot_lstm():
    assert shapes(layers=2) == {
        "layers.0.table": (9, 16),
        "layers.0.weight_hh": (16, 4),
        "layers.1.weight_ih": (16, 4),
        "layers.1.bias": (16,),
        "layers.1.weight_hh": (16, 4),
        "output.weight": (9, 4),
        "output.bias": (9,),
    }


def test_tied_gru_with_everything():
    found = shapes(cell="gru", input="embedding", embedding_size=4, tied=True, norm="layer", learned_state=True)
    assert found == {
        "embedding.weight": (9, 4),
        "layers.0.norm.weight": (4,),
        "layers.0.norm.bias": (4,),
        "layers.0.weight_ih": (12, 4),
        "layers.0.bias": (12,),
        "layers.0.weight_hh": (12, 4),
        "layers.0.bias_hn": (4,),
        "layers.0.initial.h": (4,),
        "norm.weight": (4,),
        "norm.bias": (4,),
        "output.bias": (9,),
    }


def test_scalar_rnn_with_rms_norm():
    assert shapes(cell="rnn", input="scalar", norm="rms") == {
        "layers.0.weight_ih": (4, 1),
        "layers.0.bias": (4,),
        "layers.0.weight_hh": (4, 4),
        "norm.weight": (4,),
        "output.weight": (9, 4),
        "output.bias": (9,),
    }


def test_short_convolution_and_gated_mlp():
    """A layer that reads a table has no convolution; every layer has an MLP."""
    found = shapes(layers=2, conv=3, mlp=1.5, norm="rms", learned_state=True)
    assert {name: shape for name, shape in found.items() if ".conv." in name or ".mlp." in name} == {
        "layers.0.mlp.norm.weight": (4,),
        "layers.0.mlp.weight_in": (12, 4),
        "layers.0.mlp.weight_out": (4, 6),
        "layers.1.conv.weight": (4, 3),
        "layers.1.conv.bias": (4,),
        "layers.1.mlp.norm.weight": (4,),
        "layers.1.mlp.weight_in": (12, 4),
        "layers.1.mlp.weight_out": (4, 6),
    }
    assert not any("initial.conv" in name for name in found)
    assert shapes(mlp=0.01)["layers.0.mlp.weight_out"] == (4, 1)
    assert shapes(layers=2, conv=1) == shapes(layers=2)
    embedded = {"input": "embedding", "embedding_size": 7}
    assert shapes(conv=3, **embedded)["layers.0.conv.weight"] == (7, 3)
    config = ModelConfig(vocab_size=9, hidden=4, layers=2, conv=3, **embedded)
    assert [state_fields(config, layer) for layer in (0, 1)] == [
        {"h": 4, "c": 4, "conv": 14},
        {"h": 4, "c": 4, "conv": 8},
    ]


def test_a_new_convolution_changes_nothing():
    plain, convolved = (ModelConfig(vocab_size=9, hidden=4, layers=3, conv=conv) for conv in (0, 4))
    ids = np.arange(9, dtype=np.int32)[:, None]
    one, other = (
        forward(c, p, ids, initial_state(c, p, 1))[0] for c in (plain, convolved) for p in [initial_parameters(c)]
    )
    np.testing.assert_array_equal(one, other)


@settings(max_examples=40, deadline=None)
@given(model_configs())
def test_the_forward_pass_needs_exactly_these(config):
    """With any one missing it fails; names are unique, initial values have the shapes."""
    spec, parameters = parameter_spec(config), initial_parameters(config)
    assert len({p.name for p in spec}) == len(spec)
    assert {p.name: p.shape for p in spec} == {name: value.shape for name, value in parameters.items()}
    assert all(value.dtype == np.float32 for value in parameters.values())
    ids = np.zeros((1, 1), np.int32)
    for name in parameters:
        fewer = {n: v for n, v in parameters.items() if n != name}
        with pytest.raises(KeyError):
            forward(config, fewer, ids, initial_state(config, fewer, 1))


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_recipe(cell):
    config = ModelConfig(vocab_size=300, hidden=64, cell=cell, layers=2, specials=2)
    p = initial_parameters(config, seed=5)
    if CELLS[cell].matrices:
        for block in np.split(p["layers.0.weight_hh"], CELLS[cell].matrices):
            np.testing.assert_allclose(block @ block.T, np.eye(64), atol=1e-5)
    table = p["layers.0.table"]
    for gate, scale in zip(
        np.split(table[:-2], CELLS[cell].gates, axis=1),
        CELLS[cell].table_scales or (1,) * CELLS[cell].gates,
        strict=True,
    ):
        assert abs(gate.std() / scale - 1) < 0.03
    assert not table[-2:].any()
    assert np.abs(p["layers.1.weight_ih"]).max() <= 1 / 8
    assert np.abs(p["layers.1.weight_ih"]).max() > 0.12
    assert not p["layers.1.bias"].any()


def test_normal():
    config = ModelConfig(vocab_size=300, hidden=64, init="normal", init_std=0.02, norm="rms")
    p = initial_parameters(config)
    for name in ("layers.0.table", "layers.0.weight_hh", "output.weight"):
        assert abs(p[name].std() / 0.02 - 1) < 0.03
    assert (p["norm.weight"] == 1).all()


def test_draws_depend_on_seed_and_name_only():
    small, large = (ModelConfig(vocab_size=9, hidden=8, layers=n) for n in (1, 3))
    one, other, reseeded = initial_parameters(small, 1), initial_parameters(large, 1), initial_parameters(small, 2)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
    assert (one["layers.0.weight_hh"] != reseeded["layers.0.weight_hh"]).any()
    assert (other["layers.1.weight_hh"] != other["layers.2.weight_hh"]).any()


def test_initial_state():
    config = ModelConfig(vocab_size=9, hidden=4, layers=2)
    assert not any(array.any() for layer in initial_state(config, {}, 3).layers for array in layer)
    trained = ModelConfig(vocab_size=9, hidden=4, learned_state=True)
    parameters = {"layers.0.initial.h": np.arange(4.0), "layers.0.initial.c": -np.arange(4.0)}
    (layer,) = initial_state(trained, parameters, 3).layers
    np.testing.assert_array_equal(layer.h, [[0, 1, 2, 3]] * 3)
    np.testing.assert_array_equal(layer.c, [[0, -1, -2, -3]] * 3)


def test_what_cannot_be_trained_in_the_memory_there_is_is_told_before_it_is_drawn(monkeypatch):
    huge = ModelConfig(vocab_size=9, hidden=65_536, layers=64)
    with pytest.raises(ConfigError, match=r"hidden: found 65536, allowed: a smaller network: .* GB to be trained"):
        initial_parameters(huge)
    small = ModelConfig(vocab_size=9, hidden=4)
    room = 16 * sum(p.size for p in parameter_spec(small))
    monkeypatch.setattr(spec_module, "memory", lambda: room)
    initial_parameters(small)
    monkeypatch.setattr(spec_module, "memory", lambda: room - 1)
    with pytest.raises(ConfigError, match="smaller network"):
        initial_parameters(small)
    monkeypatch.setattr(spec_module, "memory", lambda: None)
    initial_parameters(small)
