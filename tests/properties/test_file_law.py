"""Law 7: save → load → the same logits; a malformed model file is an error that says what is wrong, never a crash."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import models, random_model
from rhapsode.engine import Engine
from rhapsode.errors import ModelFileError, OutputError
from rhapsode.modelfile import BEST, LAST, ModelFile


@given(model=models())
@settings(max_examples=25, deadline=None)
def test_what_is_saved_comes_back_with_the_same_logits(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "m.safetensors"
    model.save(path)
    back = ModelFile.load(path)
    assert (back.config, back.training) == (model.config, model.training)
    assert back.tokenizer.to_json() == model.tokenizer.to_json()
    assert back.digest() == model.digest()
    ids = np.array([0, 1], np.int32)
    logits = [Engine(m).step(ids, Engine(m).initial_state(2))[0] for m in (model, back)]
    assert np.array_equal(*logits)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model file, as bytes, and a place for broken ones."""
    folder = tmp_path_factory.mktemp("whole")
    random_model(hidden=4).save(folder / "whole.safetensors")
    return folder, (folder / "whole.safetensors").read_bytes()


def load(folder, data):
    path = folder / "broken.safetensors"
    path.write_bytes(data)
    return ModelFile.load(path)


def refused(folder, data, says=None):
    with pytest.raises(ModelFileError, match=says) as caught:
        load(folder, data)
    assert "broken.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def parts(data):
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header, body):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def with_head(data, change):
    """The file with a changed description."""
    header, body = parts(data)
    head = json.loads(header["__metadata__"]["rhapsode"])
    change(head)
    header["__metadata__"]["rhapsode"] = json.dumps(head)
    return joined(header, body)


def test_a_file_cut_off_anywhere_is_refused(whole):
    folder, data = whole
    for size in [*range(0, min(len(data), 1200), 7), *range(1200, len(data), 97), len(data) - 1]:
        refused(folder, data[:size])


@given(st.integers(0), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_byte_is_refused_or_harmless(whole, place, flip):
    folder, data = whole
    place %= len(data)
    try:
        model = load(folder, data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
    except ModelFileError:
        return
    Engine(model).step(np.zeros(1, np.int32), Engine(model).initial_state(1))


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_no_bytes_at_all_crash_it(whole, data):
    refused(whole[0], data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda head: head.update(format=99), "format 99"),
        (lambda head: head.pop("format"), "format None"),
        (lambda head: head.pop("config"), "ModelConfig"),
        (lambda head: head["config"].update(hidden=5), "expected"),
        (lambda head: head["config"].update(hidden=-1), "hidden"),
        (lambda head: head["config"].update(hidden=65_536, layers=64), "missing|expected"),
        (lambda head: head["config"].update(cell="magic"), "cell"),
        (lambda head: head["config"].update(cell=["lstm"]), "cell"),
        (lambda head: head["config"].update(surprise=1), "surprise"),
        (lambda head: head["config"].update(vocab_size=8), "symbols"),
        (lambda head: head.pop("tokenizer"), "okenizer"),
        (lambda head: head.update(tokenizer={"kind": "magic"}), "magic"),
        (lambda head: head.update(tokenizer=[1, 2]), "okenizer"),
    ],
)
def test_a_description_that_does_not_fit_is_named(whole, change, says):
    folder, data = whole
    tracemalloc.start()
    refused(folder, with_head(data, change), says)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_each_wrong_tensor_is_named(whole):
    folder, data = whole
    header, body = parts(data)
    missing = {name: value for name, value in header.items() if name != "output.bias"}
    size = header["output.bias"]["data_offsets"]
    renamed = {("other" if name == "output.bias" else name): value for name, value in header.items()}
    refused(folder, joined(renamed, body), "output.bias is missing|other is none")
    refused(folder, joined(missing, body))
    typed = header | {"output.bias": {"dtype": "I32", "shape": header["output.bias"]["shape"], "data_offsets": size}}
    refused(folder, joined(typed, body), "output.bias is I32")
    shape = [1, *header["output.bias"]["shape"]]
    shaped = header | {"output.bias": {"dtype": "F32", "shape": shape, "data_offsets": size}}
    refused(folder, joined(shaped, body), "output.bias is F32")


def test_a_safetensors_file_of_others(whole):
    from safetensors.numpy import save

    refused(whole[0], save({"x": np.zeros(3, np.float32)}), "not a model of rhapsode")


@pytest.mark.parametrize("text", ["null", "3", "[]", "{", '"x"', "[" * 100_000])
def test_a_description_that_is_no_object(whole, text):
    folder, data = whole
    header, body = parts(data)
    header["__metadata__"]["rhapsode"] = text
    refused(folder, joined(header, body))


def test_a_run_folder_means_its_best_model(whole, tmp_path):
    _, data = whole
    with pytest.raises(ModelFileError, match="without a model file"):
        ModelFile.load(tmp_path)
    (tmp_path / LAST).write_bytes(data)
    assert ModelFile.load(tmp_path).config.hidden == 4
    (tmp_path / BEST).write_bytes(data[:50])
    with pytest.raises(ModelFileError, match=BEST):
        ModelFile.load(tmp_path)


def test_missing_files_and_places(whole, tmp_path):
    folder, data = whole
    with pytest.raises(ModelFileError, match="no such"):
        ModelFile.load(tmp_path / "none.safetensors")
    with pytest.raises(OutputError, match="nowhere"):
        load(folder, data).save(tmp_path / "nowhere" / "m.safetensors")


def test_a_name_that_the_system_refuses():
    with pytest.raises(ModelFileError, match=r"cannot be read|no such model"):
        ModelFile.load("x" * 300)
