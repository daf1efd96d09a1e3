"""Law 7 for classifiers: save → load → the same probabilities; a malformed file is an error that says what is wrong."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners import model_configs, seeds
from models import LETTERS, char_tokenizer
from rhapsode import ModelFile, SequenceClassifier
from rhapsode.classify.file import ClassifierFile
from rhapsode.config import ClassifierConfig, ModelConfig
from rhapsode.errors import ModelFileError, OutputError
from rhapsode.nn.classifier import classifier_spec

TOKENIZER = char_tokenizer()


def random_file(model, head, seed=0):
    rng = np.random.default_rng(seed)
    parameters = {p.name: rng.normal(0, 0.5, p.shape).astype(np.float32) for p in classifier_spec(model, head)}
    labels = ("é", "b", *range(head.classes - 2))
    return ClassifierFile(model, head, labels, 7, TOKENIZER, parameters, {"note": "ü"})


@settings(max_examples=25, deadline=None)
@given(
    model_configs(tied=False, vocab_size=TOKENIZER.vocab_size),
    st.integers(2, 5),
    st.booleans(),
    st.sampled_from(["last", "mean", "max", "attention"]),
    st.lists(st.text(LETTERS, min_size=1, max_size=20), min_size=1, max_size=5),
    seeds,
)
def test_what_is_saved_comes_back(tmp_path_factory, model, classes, bidirectional, pooling, texts, seed):
    path = tmp_path_factory.mktemp("file") / "c.safetensors"
    file = random_file(model, ClassifierConfig(classes=classes, bidirectional=bidirectional, pooling=pooling), seed)
    file.save(path)
    classifier = SequenceClassifier.load(path)
    assert (classifier.file.model, classifier.file.head, classifier.labels) == (file.model, file.head, file.labels)
    assert (classifier.file.length, classifier.file.training) == (7, {"note": "ü"})
    classifier.save(path)
    other = SequenceClassifier.load(path)
    np.testing.assert_array_equal(classifier.distributions(texts), other.distributions(texts))
    for name, value in file.parameters.items():
        np.testing.assert_array_equal(other.file.parameters[name], value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A classifier's file, as bytes, and a place for broken ones."""
    folder = tmp_path_factory.mktemp("whole")
    model = ModelConfig(vocab_size=TOKENIZER.vocab_size, specials=2, hidden=3)
    random_file(model, ClassifierConfig(classes=3)).save(folder / "whole.safetensors")
    return folder, (folder / "whole.safetensors").read_bytes()


def refused(folder, data, says=None):
    (folder / "broken.safetensors").write_bytes(data)
    with pytest.raises(ModelFileError, match=says) as caught:
        ClassifierFile.load(folder / "broken.safetensors")
    assert "broken.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def with_head(data, change):
    """The file with a changed description."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    head = json.loads(header["__metadata__"]["rhapsode"])
    change(head)
    header["__metadata__"]["rhapsode"] = json.dumps(head)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def test_a_file_cut_off_anywhere_is_refused(whole):
    folder, data = whole
    for size in range(0, len(data), 41):
        refused(folder, data[:size])


@given(st.integers(0), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_a_damaged_byte_is_refused_or_harmless(whole, place, flip):
    folder, data = whole
    place %= len(data)
    (folder / "broken.safetensors").write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
    try:
        classifier = SequenceClassifier.load(folder / "broken.safetensors")
    except ModelFileError:
        return
    if classifier.file.tokenizer:
        classifier.distributions(["a"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda head: head.update(format=99), "format 99"),
        (lambda head: head.pop("kind"), "no classifier"),
        (lambda head: head.pop("model"), "ModelConfig"),
        (lambda head: head.pop("classifier"), "ClassifierConfig"),
        (lambda head: head["model"].update(hidden=5), "expected"),
        (lambda head: head["model"].update(hidden=65_536, layers=64), "missing|expected"),
        (lambda head: head["model"].update(vocab_size=8), "symbols"),
        (lambda head: head["model"].update(tied=True, input="embedding", hidden=128), "tied"),
        (lambda head: head["classifier"].update(pooling="sum"), "pooling"),
        (lambda head: head["classifier"].update(pooling="mean"), "none of this configuration's"),
        (lambda head: head["classifier"].update(classes=1), "classes"),
        (lambda head: head["classifier"].update(classes=4), "labels: found 3"),
        (lambda head: head.update(labels=["a", "a", "b"]), "labels: found 2 different"),
        (lambda head: head.update(labels=["a", "b", None]), "labels"),
        (lambda head: head.update(labels=["a", "b", True]), "labels"),
        (lambda head: head.update(length=0), "length"),
        (lambda head: head.update(tokenizer={"kind": "magic"}), "magic"),
    ],
)
def test_a_description_that_does_not_fit_is_named(whole, change, says):
    folder, data = whole
    refused(folder, with_head(data, change), says)


def test_one_kind_of_model_is_not_taken_for_the_other(whole, tmp_path):
    from models import random_model

    folder, _ = whole
    with pytest.raises(ModelFileError, match="a classifier, which writes no text"):
        ModelFile.load(folder / "whole.safetensors")
    random_model(hidden=4).save(tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match="no classifier"):
        ClassifierFile.load(tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match="cannot be read"):
        ClassifierFile.load(tmp_path / "none.safetensors")
    with pytest.raises(OutputError, match="nowhere"):
        ClassifierFile.load(folder / "whole.safetensors").save(tmp_path / "nowhere" / "c.safetensors")
