"""Going on from a trained model: what it knew goes over by symbol, and what it lacked it learns."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rhapsode
from models import char_tokenizer, random_model
from rhapsode.config import CorpusConfig
from rhapsode.engine import Engine
from rhapsode.errors import ConfigError, CorpusError, ModelFileError, TokenizerError
from rhapsode.modelfile import ModelFile
from rhapsode.text.corpus import prepare
from rhapsode.text.tokenizer import carried_over, grown_tokenizer, tokenizer_from_json, train_tokenizer
from rhapsode.training.start import start
from rhapsode.training.transfer import grown
from texts import verses

KINDS = ["char", "byte", "word", "spaced", "bpe"]
text = st.text(st.sampled_from("abc dé\n'ß京.😀"), min_size=1, max_size=60)


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.txt").write_text(verses(100))
    (tmp_path / "new.txt").write_text(verses(60, seed=1).replace("sea", "Zéa"))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lowercase", [False, True])
@given(old=text, new=text)
def test_a_grown_vocabulary_keeps_every_symbol_and_gains_those_of_the_text(kind, lowercase, old, new):
    config = CorpusConfig(tokenizer=kind, lowercase=lowercase, vocab_size=300)
    base = train_tokenizer(config, [old])
    more = grown_tokenizer(base, config, [new])
    index = carried_over(base, more)
    assert sorted(index[index >= 0]) == list(range(base.vocab_size))
    before, after = base.decoder().pieces, more.decoder().pieces
    assert all(after[id] == before[place] for id, place in enumerate(index) if place >= 0)
    assert (index[more.boundary], more.specials) == (base.boundary, base.specials)
    if more.unknown is not None:
        assert index[more.unknown] == base.unknown
        assert more.unknown not in more.encode(old + new if kind == "char" else old)
    assert tokenizer_from_json(more.to_json()).to_json() == more.to_json()


def test_tokenizers_that_do_not_fit_are_told():
    with pytest.raises(TokenizerError, match="2 symbols are missing, such as 'a'"):
        carried_over(char_tokenizer("abc"), char_tokenizer("cd"))
    with pytest.raises(TokenizerError, match="found byte symbols, expected char symbols"):
        carried_over(char_tokenizer("abc"), tokenizer_from_json({"kind": "byte", "lowercase": False}))


@pytest.mark.parametrize("source", ["one-hot", "embedding"])
def test_what_the_model_knew_it_predicts_as_before(source):
    """With new symbols in the vocabulary the old ones keep their logits, and a new one is as rare as the rarest."""
    old, more = char_tokenizer("bdf"), char_tokenizer("abcdefg")
    model = random_model(old, input=source, embedding_size=16, tied=source == "embedding", layers=2)
    index = carried_over(old, more)
    parameters = grown(model.parameters, index, old.specials)
    larger = ModelFile(random_model(more, **_structure(model)).config, more, parameters)
    before, after = Engine(model), Engine(larger)
    ids = np.array([[old.encode("f")[0]], [old.encode("b")[0]]], np.int32)
    expected, _ = before.read(ids, before.initial_state(1))
    found, _ = after.read(np.argsort(index, kind="stable")[np.sum(index < 0) :][ids], after.initial_state(1))
    np.testing.assert_allclose(found[..., index >= 0], expected[..., index[index >= 0]], rtol=1e-5, atol=1e-6)
    assert parameters["output.bias"][more.encode("a")[0]] == model.parameters["output.bias"][: old.boundary].min()


def _structure(model):
    fields = ("input", "embedding_size", "tied", "layers", "hidden", "cell")
    return {name: getattr(model.config, name) for name in fields}


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_it_begins_where_the_model_was_and_learns_the_new_text(place, backend):
    """One step at hardly any rate leaves the old model; a real run learns symbols that it never had."""
    settings = {"hidden": 32, "batch_size": 8, "length": 16, "backend": backend, "precision": "fp32"}
    rhapsode.train("old.txt", out="old", steps=60, lr=2e-2, **settings)
    rest = {name: settings[name] for name in ("batch_size", "length", "backend", "precision")}
    start(("new.txt",), place / "first", {"steps": 1, "lr": 1e-9, "weight_decay": 0.0, **rest}, from_="old").go()
    old, first = ModelFile.load("old"), ModelFile.load("first/last.safetensors")
    index = carried_over(old.tokenizer, first.tokenizer)
    for name, expected in grown(old.parameters, index, old.tokenizer.specials).items():
        np.testing.assert_allclose(first.parameters[name], expected, atol=1e-6, err_msg=name)
    assert first.training["from"]["sources"] == ["old.txt"]
    tuned = rhapsode.train("new.txt", steps=150, lr=1e-2, from_="old", **rest)
    assert (
        tuned.score("the Zéa and the Zéa").bits_per_char
        < rhapsode.load("first").score("the Zéa and the Zéa").bits_per_char
    )


def test_a_model_at_hand_goes_on_as_its_file_does(place):
    model = rhapsode.train("old.txt", steps=2, hidden=8)
    model.save("old.safetensors")
    settings = {"steps": 2, "precision": "fp32"}
    by_name = rhapsode.train("new.txt", from_="old.safetensors", **settings)
    assert rhapsode.train("new.txt", from_=model, **settings).file.digest() == by_name.file.digest()


def test_dropout_may_be_chosen_anew_but_not_the_structure(place):
    rhapsode.train("old.txt", out="old", steps=2, hidden=8)
    run = start(("new.txt",), place / "new", {"steps": 2, "dropout_output": 0.25}, from_="old")
    assert (run.description.model.hidden, run.description.model.dropout_output) == (8, 0.25)
    with pytest.raises(ConfigError, match="hidden: found 16, allowed: 8, as the model has"):
        start(("new.txt",), place / "b", {"steps": 2, "hidden": 16}, from_="old")
    with pytest.raises(ConfigError, match="tokenizer: found 'word', allowed: 'char'"):
        start(("new.txt",), place / "b", {"steps": 2, "tokenizer": "word"}, from_="old")
    with pytest.raises(ModelFileError, match="nowhere: no such model file"):
        start(("new.txt",), place / "b", {"steps": 2}, from_="nowhere")
    with pytest.raises(ConfigError, match="not with resume"):
        start(("new.txt",), place / "new", {}, from_="old", resume=True)
    assert not (place / "b").exists()


def test_scalar_input_learns_no_new_symbols(place):
    rhapsode.train("old.txt", out="old", steps=2, hidden=8, input="scalar")
    with pytest.raises(CorpusError, match=r"symbols that the model lacks \(Z, é\)"):
        start(("new.txt",), place / "new", {"steps": 2}, from_="old")
    start(("old.txt",), place / "new", {"steps": 2}, from_="old").go()


def test_a_prepared_corpus_must_have_the_symbols_of_the_model(place):
    rhapsode.train("old.txt", out="old", steps=2, hidden=8)
    (place / "few.txt").write_text("the king\n" * 9)
    prepare(["few.txt"], CorpusConfig(), place / "corpus")
    with pytest.raises(CorpusError, match=r"corpus: not for this model: .* symbols are missing, such as 'a'"):
        start((str(place / "corpus"),), place / "new", {"steps": 2}, from_="old")
    prepare(["old.txt", "new.txt"], CorpusConfig(), place / "both")
    start((str(place / "both"),), place / "new", {"steps": 2}, from_="old").go()


def test_a_run_resumes_without_the_model_and_the_cache(place):
    """The run folder holds all that it needs, also before its first checkpoint."""
    rhapsode.train("old.txt", out="old", steps=2, hidden=8)
    fields = {"steps": 4, "batch_size": 4, "length": 8, "backend": "native"}
    start(("new.txt",), place / "whole", fields, from_="old").go()
    start(("new.txt",), place / "begun", fields, from_="old")
    shutil.rmtree("old")
    shutil.rmtree("cache")
    start(("new.txt",), place / "begun", {}, resume=True).go()
    one, other = ModelFile.load("whole").parameters, ModelFile.load("begun").parameters
    assert all(np.array_equal(one[name], other[name]) for name in one)
