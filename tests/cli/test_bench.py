"""``rhapsode bench``, made small: what it measures, compares and refuses."""

import importlib.util
import itertools
import json
import math

import pytest

from rhapsode import _native
from rhapsode.benchmark import summary, training, writing
from rhapsode.benchmark.contest import Side, contest
from rhapsode.benchmark.task import Entry, Task
from rhapsode.cli.main import main
from rhapsode.config import ModelConfig
from rhapsode.errors import BenchmarkError, ConfigError
from rhapsode.nn.spec import parameter_spec


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(summary, "CELLS", ("gru",))
    monkeypatch.setattr(summary, "WIDTHS", (40,))
    monkeypatch.setattr(summary, "WRITER", 40)
    monkeypatch.setattr(summary, "STREAMS", (1, 3))


@pytest.fixture
def without_torch(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))


def test_json_has_every_figure(small, capsys):
    pytest.importorskip("torch")
    assert main(["bench", "--seconds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["isa"] == _native.isa()
    precisions = {"fp32", "bf16"} if _native.supports_bf16() else {"fp32"}
    assert set(found["peak"]) == {row["precision"] for row in found["training"]} == precisions
    assert {(row["streams"], row["precision"]) for row in found["writing"]} == {
        (streams, precision) for streams in (1, 3) for precision in ("fp32", "bf16", "int8")
    }
    for row in found["training"]:
        assert math.isclose(row["ratio"], row["tokens_per_second"] / row["torch_tokens_per_second"])
        assert 0 < row["of_peak"] < 1.5
    for row in found["writing"]:
        assert math.isclose(row["ratio"], row["characters_per_second"] / row["torch_characters_per_second"])


def test_without_torch_there_is_nothing_to_compare_with(small, without_torch, capsys):
    assert main(["bench", "--seconds", "1"]) == 0
    told = capsys.readouterr()
    assert "torch is not installed" in told.err
    assert "training, tokens/s" in told.out
    assert "fp32" in told.out


@pytest.mark.parametrize("words", [["--seconds", "0"], ["--hidden", "3"]])
def test_wrong_options_are_one_line(words, capsys):
    assert main(["bench", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_wrong_instruction_set_is_one_line(small, monkeypatch, capsys):
    monkeypatch.setenv("RHAPSODE_ISA", "mmx")
    assert main(["bench", "--seconds", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "RHAPSODE_ISA: found 'mmx'" in line


@pytest.fixture(scope="module")
def torch_side():
    pytest.importorskip("torch")
    with Side("torch") as side:
        yield side


@pytest.mark.parametrize("isa", _native.available_isas())
def test_torchs_layers_compute_the_same(isa, torch_side):
    """One-hot symbols and an embedding, several layers; every precision that the instruction set trains in."""
    with Side("native", isa) as native:
        precisions = ["fp32", "bf16"] if native.machine()["bf16"] else ["fp32"]
        for cell, source in itertools.product(["lstm", "gru", "rnn"], ["one-hot", "embedding"]):
            model = ModelConfig(vocab_size=30, cell=cell, layers=2, hidden=40, input=source, embedding_size=40)
            entries = {Entry("native", precision): native for precision in precisions}
            entries |= {Entry("torch", "fp32", embedded): torch_side for embedded in (False, True)}
            speeds = contest(Task("training", model, batch_size=5, length=7), entries, turns=1, seconds=0.001)
            assert all(speed > 0 for speed in speeds.values())


def test_a_different_gradient_is_no_parity():
    task = Task("training", ModelConfig(vocab_size=30, hidden=40), 5)
    probes = {Entry("torch", "fp32"): [3.4, 1.0], Entry("native", "fp32"): [3.4, 1.01]}
    with pytest.raises(BenchmarkError, match="no parity: native fp32"):
        training.require_parity(task, probes)
    training.require_parity(task, {**probes, Entry("native", "fp32"): [3.4, 1.0005]})
    training.require_parity(
        task, {**probes, Entry("native", "fp32"): [3.4, 1.0], Entry("torch", "fp32", True): [3.4, 9]}
    )


def test_different_logits_are_no_parity():
    task = Task("writing", writing.character_model(hidden=8), 1)
    right = writing.Writer(task, "fp32").probe()
    writing.require_parity(task, {Entry("native", "fp32"): right})
    with pytest.raises(BenchmarkError, match="no parity: torch fp32"):
        writing.require_parity(task, {Entry("torch", "fp32"): [right[0] + 0.01, *right[1:]]})


def test_what_fails_in_a_side_is_told():
    with Side("native") as side, pytest.raises(BenchmarkError, match="native: KeyError"):
        side.run(7, 0.1)
    with Side("native", "mmx") as side, pytest.raises(ConfigError, match="RHAPSODE_ISA"):
        side.machine()


def test_work_is_that_of_the_matrices():
    model = ModelConfig(vocab_size=100, cell="lstm", layers=2, hidden=32)
    assert training.work_per_token(model) == 6 * (3 * 4 * 32 * 32 + 100 * 32)
    tied = ModelConfig(vocab_size=100, cell="gru", hidden=32, input="embedding", embedding_size=32, tied=True)
    assert training.work_per_token(tied) == 6 * (2 * 3 * 32 * 32 + 100 * 32)
    assert not any(p.name == "output.weight" for p in parameter_spec(tied))


def test_the_peak_of_each_instruction_set():
    before = _native.isa()
    try:
        for isa in _native.available_isas():
            _native.use_isa(isa)
            for precision in ["fp32", "bf16"] if _native.supports_bf16() else ["fp32"]:
                assert 1e6 < _native.measured_peak(precision, 0.01) < 1e15
    finally:
        _native.use_isa(before)
    for precision, seconds in (("int8", 0.01), ("fp32", 0.0), ("fp32", math.nan)):
        with pytest.raises(ValueError, match=r"precision|seconds"):
            _native.measured_peak(precision, seconds)
