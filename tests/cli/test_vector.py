"""Texts as vectors: the output of the last layer, for every cell and engine; and ``rhapsode vector``."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from models import random_model
from rhapsode import load
from rhapsode.cli.main import main
from rhapsode.model import Model, cosine
from rhapsode.nn.cells import CELLS


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    random_model().save(path)
    return str(path)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_the_output_layer_predicts_from_the_vector(cell, engine, monkeypatch):
    monkeypatch.setenv("RHAPSODE_ENGINE", engine)
    model = Model(random_model(cell=cell, layers=2, norm="layer", hidden=11))
    weights = model.file.parameters
    for text in ("", "a", "the bad rose\n" * 60):
        vector = model.vector(text)
        assert (vector.shape, vector.dtype) == ((11,), np.float32)
        logits = weights["output.weight"] @ vector + weights["output.bias"]
        np.testing.assert_allclose(logits, model.session(text).position.logits, rtol=1e-3, atol=1e-4)


def test_it_is_the_final_state_of_a_plain_lstm():
    model = Model(random_model(cell="lstm", layers=2))
    np.testing.assert_allclose(
        model.vector("bad rose"), model.session("bad rose").position.state.layers[-1].h[0], rtol=1e-4, atol=1e-6
    )


def test_similarity_is_the_cosine():
    model = Model(random_model())
    a, b = model.vector("bad"), model.vector("rose")
    assert model.similarity("bad", "rose") == pytest.approx(float(a @ b / np.sqrt((a @ a) * (b @ b))), rel=1e-5)
    assert model.similarity("bad", "bad") == pytest.approx(1)
    assert cosine(np.zeros(3), np.ones(3)) == 0


def run(capsys, monkeypatch, typed, *words):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
    status = main(["vector", *words])
    return status, *capsys.readouterr()


def test_a_line_of_json_a_line(file, capsys, monkeypatch):
    status, out, _ = run(capsys, monkeypatch, "bad\nrose end\n", file)
    told = [json.loads(line) for line in out.splitlines()]
    assert (status, [t["text"] for t in told]) == (0, ["bad", "rose end"])
    np.testing.assert_allclose(told[1]["vector"], load(file).vector("rose end"), rtol=1e-6)
    status, out, _ = run(capsys, monkeypatch, "bad\nrose end\n", file, "--json")
    assert json.loads(out) == {"model": file, "vectors": told}


def test_texts_are_ranked(file, capsys, monkeypatch):
    lines = ["rose", "bad", "and the end", "bed"]
    status, out, _ = run(capsys, monkeypatch, "\n".join(lines), file, "--similar-to", "bad")
    found = [(float(line[:7]), line[9:]) for line in out.splitlines()]
    assert (status, found[0]) == (0, (1.0, "bad"))
    model = load(file)
    assert [text for _, text in found] == sorted(lines, key=lambda line: -model.similarity("bad", line))
    status, out, _ = run(capsys, monkeypatch, "\n".join(lines), file, "--similar-to", "bad", "--json")
    assert [t["text"] for t in json.loads(out)["texts"]] == [text for _, text in found]


def test_no_text_is_one_line(file, capsys, monkeypatch):
    status, out, err = run(capsys, monkeypatch, "", file)
    assert (status, out, err) == (2, "", "rhapsode: -: no text in it\n")
