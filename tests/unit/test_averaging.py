"""Averages of models: the mean by its definition, symbols matched by what they stand for, the greedy soup, mistakes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import rhapsode
from models import byte_tokenizer, char_tokenizer, random_model
from rhapsode.averaging import averaged, greedy
from rhapsode.cli.main import main
from rhapsode.errors import ConfigError, TokenizerError
from rhapsode.model import Model
from rhapsode.modelfile import ModelFile
from rhapsode.scoring import score
from rhapsode.text.tokenizer import carried_over
from rhapsode.text.tokenizers.word import WordTokenizer
from rhapsode.training.transfer import grown


def test_it_is_the_weighted_mean():
    models = [random_model(seed=seed, layers=2, cell="gru") for seed in range(3)]
    found = rhapsode.average([Model(models[0]), *models[1:]], weights=[2, 1, 1])
    for name, value in found.file.parameters.items():
        expected = 0.5 * models[0].parameters[name] + 0.25 * (models[1].parameters[name] + models[2].parameters[name])
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)
        assert value.dtype == np.float32
    even = averaged(models[:2]).parameters
    np.testing.assert_allclose(
        even["output.bias"], (models[0].parameters["output.bias"] + models[1].parameters["output.bias"]) / 2
    )
    assert found.generate(length=5, seed=1) is not None


@pytest.mark.parametrize("fields", [{}, {"input": "embedding", "embedding_size": 16, "tied": True}])
def test_symbols_are_matched_by_what_they_stand_for(fields):
    words = ["the", " sea", " king", " sings"]
    one, other = WordTokenizer(words), WordTokenizer(words[::-1])
    model = random_model(one, **fields)
    index = carried_over(one, other)
    turned = ModelFile(model.config, other, grown(model.parameters, index, one.specials))
    mean = averaged([model, turned])
    for name, value in mean.parameters.items():
        np.testing.assert_allclose(value, model.parameters[name], rtol=1e-6)
    assert mean.tokenizer.words == one.words
    assert averaged([turned, model]).tokenizer.words == other.words


def test_a_model_and_itself_is_that_model():
    model = random_model(dropout=0.3)
    dry = dataclasses.replace(model, config=dataclasses.replace(model.config, dropout=0.0))
    for others in ([model], [model, model], [model, dry, model.with_precision("int8")][:2]):
        found = averaged(others)
        assert Model(found).generate("bad", length=50, seed=2) == Model(model).generate("bad", length=50, seed=2)
        assert found.config == model.config
    assert averaged([model.with_precision("int8")]).precision == "fp32"


def test_the_greedy_soup_is_never_worse_than_the_best():
    base, text = random_model(scale=0.3), "the sea sends rest and bread"
    rng = np.random.default_rng(0)

    def near(size: float) -> ModelFile:
        moved = {name: value + rng.normal(0, size, value.shape) for name, value in base.parameters.items()}
        return dataclasses.replace(base, parameters={name: value.astype(np.float32) for name, value in moved.items()})

    def loss(model: ModelFile) -> float:
        return score(Model(model).engine, text).nats_total

    models = [near(size) for size in (0.05, 0.05, 2.0, 0.05)]
    soup, chosen = greedy(models, loss)
    assert loss(soup) <= min(map(loss, models))
    assert chosen[0] == int(np.argmin([loss(model) for model in models]))
    assert 2 not in chosen
    expected = averaged([models[i] for i in chosen])
    assert all(np.array_equal(soup.parameters[name], expected.parameters[name]) for name in soup.parameters)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (random_model(hidden=17), "hidden: found 17, allowed: 16, as the first model has"),
        (random_model(cell="gru"), "cell: found 'gru', allowed: 'lstm'"),
        (random_model(byte_tokenizer()), "tokenizer: found char symbols, expected byte symbols"),
        (random_model(char_tokenizer("\n ,.abdenors")), "tokenizer: 1 symbols are missing, such as 't'"),
        (
            random_model(char_tokenizer("\n ,.abdenorstx")),
            "models must have the same symbols to be averaged: tokenizer: 1 symbols are missing, such as 'x'",
        ),
        (random_model(char_tokenizer(labels=("a",))), "tokenizer: 1 labels are missing, such as 'a'"),
    ],
)
def test_models_that_do_not_go_together_are_one_line(other, said):
    with pytest.raises((ConfigError, TokenizerError), match=said):
        averaged([random_model(), other])


def test_wrong_weights_are_named():
    for weights in ([1], [1, 0], [1, float("nan")]):
        with pytest.raises(ConfigError, match="weights: found"):
            averaged([random_model(), random_model()], weights)
    for models in ([], None, "run", ["run"], Model(random_model()), [random_model(), None]):
        with pytest.raises(ConfigError, match=r"models: found .* allowed: a list of models"):
            rhapsode.average(models)


def test_on_the_command_line(tmp_path, capsys):
    paths = []
    for seed in range(2):
        random_model(seed=seed).save(tmp_path / f"m{seed}.safetensors")
        paths.append(str(tmp_path / f"m{seed}.safetensors"))
    out, text = str(tmp_path / "mean.safetensors"), tmp_path / "text.txt"
    text.write_text("bad bread and a rose")
    assert main(["average", *paths, "--weights", "3,1", "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": out, "averaged": paths}
    expected = averaged([ModelFile.load(path) for path in paths], [3, 1]).parameters
    assert all(np.array_equal(value, expected[name]) for name, value in ModelFile.load(out).parameters.items())
    assert main(["info", out]) == 0
    assert main(["average", *paths, "--greedy-on", str(text), "--out", out]) == 0
    assert "the mean of" in capsys.readouterr().err
    for words, said in (
        (["--weights", "1"], "--weights: found (1.0,), allowed: 2 numbers above 0"),
        (["--weights", "1,1", "--greedy-on", str(text)], "--weights: found (1.0, 1.0), allowed: only without"),
        (["--greedy-on", str(tmp_path / "none")], "none"),
    ):
        assert main(["average", *paths, *words, "--out", out]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
