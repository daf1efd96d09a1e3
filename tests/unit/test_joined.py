"""Networks that are trained side by side and joined in one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import char_tokenizer, random_model
from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.engine import Engine
from rhapsode.errors import ConfigError, ModelFileError
from rhapsode.modelfile import ENTRY, ModelFile
from rhapsode.nn.cells import CELLS
from rhapsode.nn.joined import initial, join, part_config, seed_of, split
from rhapsode.nn.spec import parameter_spec
from rhapsode.tensorfile import TensorFile, write
from rhapsode.training.start import start
from texts import verses

IDS = np.random.default_rng(1).integers(0, 13, (9, 3)).astype(np.int32)


def config_of(**fields) -> ModelConfig:
    tokenizer = char_tokenizer()
    return ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, **fields)


@given(
    cell=st.sampled_from(sorted(CELLS)),
    source=st.sampled_from(["one-hot", "embedding", "scalar"]),
    layers=st.integers(1, 3),
    networks=st.integers(2, 4),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_logits_are_the_mean(cell, source, layers, networks, sizes, flags):
    fields = {"cell": cell, "input": source, "layers": layers, "residual": flags[0], "learned_state": flags[1]}
    parts = [
        random_model(hidden=sizes[0], embedding_size=sizes[1], seed=s, scale=0.3, **fields) for s in range(networks)
    ]
    config = dataclasses.replace(
        parts[0].config, hidden=sizes[0] * networks, embedding_size=sizes[1] * networks if source == "embedding" else 1
    )
    whole = join([part.parameters for part in parts], config)
    assert {name: value.shape for name, value in whole.items()} == {p.name: p.shape for p in parameter_spec(config)}

    def logits(model: ModelFile) -> np.ndarray:
        engine = Engine(model)
        return engine.read(IDS, engine.initial_state(3))[0]

    found = logits(ModelFile(config, char_tokenizer(), whole, {}))
    np.testing.assert_allclose(found, np.mean([logits(part) for part in parts], 0), rtol=1e-4, atol=1e-4)
    for part, own in zip(parts, split(whole, config, networks), strict=True):
        for name, value in own.items():
            expected = part.parameters[name] if name != "output.bias" else whole[name]
            np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_nothing_mixes_the_networks_and_widths_go_up():
    for fields in ({"norm": "rms"}, {"mlp": 1.0}, {"hidden": 33}, {"input": "embedding", "embedding_size": 7}):
        with pytest.raises(ConfigError, match=next(reversed(fields))):
            part_config(config_of(**fields), 2)


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_each_network_learns_by_itself(backend):
    """What it would have learned alone, from the same batches with its own seed."""
    pytest.importorskip(backend if backend == "torch" else "rhapsode._native")
    config = config_of(hidden=24, dropout_output=0.3, dropconnect=0.2)
    train = TrainConfig(steps=4, networks=2, seed=5, backend=backend, averaging=0.9, precision="fp32")
    together = make_learner(config, train, initial(config, 2, 5))
    alone = [
        make_learner(part_config(config, 2), dataclasses.replace(train, networks=1, seed=seed_of(5, number)), weights)
        for number, weights in enumerate(split(initial(config, 2, 5), config, 2))
    ]
    batch = Batch(IDS, IDS[::-1].copy(), None, np.zeros(3, bool), float(IDS.size))
    state, states = together.initial_state(3), [learner.initial_state(3) for learner in alone]
    for number in range(4):
        result, state = together.step(batch, state, Update(number, 0.01))
        results = []
        for i, learner in enumerate(alone):
            own, states[i] = learner.step(batch, states[i], Update(number, 0.01))
            results.append(own.loss)
        assert result.loss == pytest.approx(np.mean(results))
    for averaged in (False, True):
        whole = join([learner.parameters(averaged) for learner in alone], config)
        for name, value in together.parameters(averaged).items():
            np.testing.assert_array_equal(value, whole[name])
        single = make_learner(config, dataclasses.replace(train, networks=1), whole)
        losses = together.losses(IDS, IDS, together.initial_state(3), averaged)[0]
        np.testing.assert_array_equal(losses, single.losses(IDS, IDS, single.initial_state(3))[0])


def test_a_run_stopped_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "verses.txt").write_text(verses(200))
    source, fields = (str(tmp_path / "verses.txt"),), {"hidden": 33, "networks": 3, "batch_size": 4, "length": 8}
    whole = start(source, tmp_path / "whole", fields | {"steps": 12, "schedule": "constant"})
    whole.go()
    start(source, tmp_path / "cut", fields | {"steps": 5, "schedule": "constant"}).go()
    start(source, tmp_path / "cut", {"steps": 12}, resume=True).go()
    for name, value in ModelFile.load(tmp_path / "whole" / "last.safetensors").parameters.items():
        np.testing.assert_array_equal(value, ModelFile.load(tmp_path / "cut" / "last.safetensors").parameters[name])


def test_it_goes_on_from_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "verses.txt").write_text(verses(200))
    random_model(seed=1).save(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="networks"):
        start((str(tmp_path / "verses.txt"),), tmp_path / "run", {"networks": 2}, from_=tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="hidden"):
        start((str(tmp_path / "verses.txt"),), tmp_path / "run", {"networks": 2, "hidden": 33})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_file_has_no_room_for_zeros(tmp_path, precision):
    config = config_of(hidden=96, layers=2, cell="gru")
    joined = ModelFile(config, char_tokenizer(), initial(config, 3, 0), {"train": {"networks": 3}})
    mixed = dataclasses.replace(joined, training={})
    models = [dataclasses.replace(model.with_precision(precision), precision=precision) for model in (joined, mixed)]
    sizes = []
    for model in models:
        model.save(tmp_path / "model.safetensors")
        sizes.append((tmp_path / "model.safetensors").stat().st_size)
        again = ModelFile.load(tmp_path / "model.safetensors")
        assert again.digest() == model.digest()
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(again.parameters[name], value)
    assert sizes[0] < 0.6 * sizes[1]


def test_what_joins_the_networks_is_stored(tmp_path):
    """Weights that are not block-diagonal any more, whatever the model's history says."""
    config = config_of(hidden=32)
    model = ModelFile(config, char_tokenizer(), initial(config, 2, 0), {"train": {"networks": 2}})
    model.parameters["layers.0.weight_hh"][0, -1] = 0.5
    model.save(tmp_path / "model.safetensors")
    found = ModelFile.load(tmp_path / "model.safetensors").parameters["layers.0.weight_hh"]
    np.testing.assert_array_equal(found, model.parameters["layers.0.weight_hh"])


@pytest.mark.parametrize(
    "blocks",
    [3, {"networks": 0, "parameters": []}, {"networks": 7, "parameters": ["layers.0.weight_hh"]},
     {"networks": 2, "parameters": ["output.weight"]}, {"networks": 2, "parameters": ["layers.9.weight_hh"]},
     {"networks": 4, "parameters": ["layers.0.weight_hh"]}, {"networks": 2, "parameters": [["layers.0.weight_hh"]]}],
)  # fmt: skip
def test_blocks_that_cannot_be(tmp_path, blocks):
    config = config_of(hidden=32)
    path = tmp_path / "model.safetensors"
    ModelFile(config, char_tokenizer(), initial(config, 2, 0), {"train": {"networks": 2}}).save(path)
    file = TensorFile(path, ENTRY, "a model", ModelFileError)
    write(path, ENTRY, {**file.head, "blocks": blocks}, file.under(""))
    with pytest.raises(ModelFileError):
        ModelFile.load(path)
