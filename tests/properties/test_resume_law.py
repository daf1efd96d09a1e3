"""Law 6: a run that is killed at any moment and resumed ends with bit-identical weights to one that was not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.training import loop
from rhapsode.training.checkpoint import Checkpoint
from rhapsode.training.folder import CHECKPOINT
from rhapsode.training.start import start
from texts import verses

STEPS = 9
COMMON = {"steps": STEPS, "hidden": 12, "batch_size": 4, "length": 6, "validate_every": 4, "warmup": 2}
RUNS = {
    "lstm streams": {"cell": "lstm", "dropout_output": 0.3, "dropconnect": 0.2, "averaging": 0.9},
    "gru windows": {"cell": "gru", "batches": "windows", "stride": 2, "optimizer": "sgd", "momentum": 0.9, "lr": 0.1},
    "rnn documents": {"cell": "rnn", "batches": "documents", "documents": "lines", "optimizer": "adadelta"},
    "growing dropout": {"dropout_gap": 0.01, "dropout_output": 0.5, "dropconnect": 0.4, "validate_every": 2},
    "two layers": {"layers": 2, "dropout": 0.2, "learned_state": True, "input": "embedding", "optimizer": "rmsprop"},
    "accumulated": {"accumulate": 2, "optimizer": "adagrad", "dropout_input": 0.1, "dropout_mask": "sequence"},
}


class Killed(BaseException):
    """Stands for a kill: nothing of the run's own code handles it."""


class Killer:
    """An observer that ends the run, without any farewell, at a step."""

    def __init__(self, step):
        self.at = step

    def step(self, report):
        if report.progress.step >= self.at:
            raise Killed

    validation = sample = lambda self, *_: None

    def close(self):
        """Nothing to close."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "verses.txt"
    path.write_text(verses(40))
    return str(path)


@pytest.fixture(autouse=True)
def every_step_counts(monkeypatch, tmp_path):
    """Report every step, so that a kill can come after any, and keep caches here."""
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))


def final(folder, config):
    c = Checkpoint.load(folder / CHECKPOINT, config)
    arrays = {f"state.{i}.{k}": v for i, layer in enumerate(c.state.layers) for k, v in layer._asdict().items()}
    return {**c.parameters, **{f"optimizer.{k}": v for k, v in c.optimizer.items()}, **arrays}, c.progress


@pytest.mark.parametrize("name", RUNS)
@given(kills=st.lists(st.integers(1, STEPS), min_size=1, max_size=3), seconds=st.sampled_from([0.0, 0.02, math.inf]))
@settings(max_examples=5, deadline=None)
def test_killed_and_resumed_equals_never_stopped(name, kills, seconds, source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    fields = COMMON | RUNS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", seconds)
        whole = start((source,), folder / "whole", fields)
        whole.go()
        run = start((source,), folder / "killed", fields)
        for step in sorted(kills):
            try:
                run.go([Killer(step)])
            except Killed:
                run = start((source,), folder / "killed", {}, resume=True)
        run.go()
    expected, progress = final(folder / "whole", whole.description.model)
    found, resumed = final(folder / "killed", run.description.model)
    assert found.keys() == expected.keys()
    for key in expected:
        assert np.array_equal(found[key], expected[key]), key
    assert resumed.to_json() | {"seconds": 0} == progress.to_json() | {"seconds": 0}
    assert (folder / "whole" / "best.safetensors").exists()
