"""A trained model's logits are scaled so that its held-out loss is least."""

import math

import numpy as np
import pytest

import rhapsode
from rhapsode.evaluate import evaluate
from rhapsode.modelfile import ModelFile
from rhapsode.sampling import log_softmax
from rhapsode.training.calibration import HIGHEST, LOWEST, calibrate, scaled
from rhapsode.training.run import Run
from rhapsode.training.start import start
from texts import verses

OVERFIT = {"hidden": 48, "batch_size": 4, "length": 16, "steps": 600, "lr": 0.02, "validate_every": 10_000}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verses.txt").write_text(verses(60))


class Sure:
    """A learner whose logits, times `right`, are those that the targets were drawn from."""

    def __init__(self, right: float):
        rng = np.random.default_rng(0)
        true = rng.normal(0, 2, (60_000, 12)).astype(np.float32)
        self.logits = true / right
        self.targets = (log_softmax(true) + rng.gumbel(size=true.shape)).argmax(1)
        self.parameters = {"output.weight": np.ones((1, 1), np.float32), "other": np.ones(1, np.float32)}

    def load(self, parameters):
        assert parameters["other"] == 1
        self.parameters = parameters

    def loss(self) -> float:
        nats = -log_softmax(self.logits * self.parameters["output.weight"][0, 0])
        return float(nats[np.arange(len(nats)), self.targets].mean())


@pytest.mark.parametrize("right", [0.35, 0.5, 0.6, 0.75, 0.88, 0.97, 1.0, 1.1, 1.25])
def test_the_scale_is_found(right):
    learner, weights = Sure(right), Sure(right).parameters
    found = calibrate(learner, weights, learner.loss, 60_000)
    assert found.scale == pytest.approx(right, abs=0.03)
    learner.load(scaled(weights, found.scale))
    reached = learner.loss()
    learner.load(scaled(weights, right))
    assert reached < learner.loss() + 1e-3
    learner.load(weights)
    assert found.gain == learner.loss() - reached


def test_a_loss_that_is_no_number_changes_nothing():
    learner = Sure(0.8)
    assert calibrate(learner, learner.parameters, lambda: math.nan, 60_000) == (1, 0)


@pytest.mark.parametrize(("right", "bound"), [(0.1, LOWEST), (2.0, HIGHEST)])
def test_a_scale_beyond_the_bounds_is_the_bound(right, bound):
    learner = Sure(right)
    assert calibrate(learner, learner.parameters, learner.loss, 60_000).scale == bound


def test_few_symbols_move_the_scale_little():
    learner, weights = Sure(0.5), Sure(0.5).parameters
    scales = [calibrate(learner, weights, learner.loss, count).scale for count in (1, 10, 100, 60_000)]
    assert scales == sorted(scales, reverse=True)
    assert scales[0] > 0.9
    assert scales[-1] == pytest.approx(0.5, abs=0.03)


def best_and_last(run: Run) -> tuple[ModelFile, ModelFile]:
    return ModelFile.load(run.folder / "best.safetensors"), ModelFile.load(run.folder / "last.safetensors")


def test_a_run_keeps_the_calibrated_model(tmp_path):
    """An overfitted model is too sure; what the run tells is the loss of the model that it leaves."""
    run = start(("verses.txt",), tmp_path / "run", OVERFIT)
    outcome = run.go()
    assert outcome.calibration.scale < 0.95
    assert outcome.loss < outcome.progress.best_loss - 0.01
    assert ModelFile.load(run.folder).training["calibration"] == outcome.calibration._asdict()
    summary = run.summary(outcome)
    assert (summary["val_nats_per_token"], summary["logits_times"]) == (outcome.loss, outcome.calibration.scale)
    assert summary["val_nats_as_trained"] == outcome.progress.best_loss
    told = evaluate(rhapsode.load(run.folder, "fp32").engine, run.corpus.held_out).nats_per_token
    assert outcome.loss == pytest.approx(told, abs=2e-3)  # trained in bf16, where the machine has it


def test_only_the_output_layer_changes(tmp_path):
    run = start(("verses.txt",), tmp_path / "run", OVERFIT)
    scale = run.go().calibration.scale
    best, last = best_and_last(run)
    for name, value in last.parameters.items():
        expected = value * np.float32(scale) if name.startswith("output.") else value
        np.testing.assert_array_equal(best.parameters[name], expected)


@pytest.mark.parametrize("fields", [{"held_out": 0}, {"tied": True, "input": "embedding", "embedding_size": 48}])
def test_what_cannot_be_calibrated_stays_as_it_is(tmp_path, fields):
    run = start(("verses.txt",), tmp_path / "run", OVERFIT | fields | {"steps": 20})
    outcome = run.go()
    assert outcome.calibration is None
    assert outcome.loss == outcome.progress.best_loss
    assert "calibration" not in ModelFile.load(run.folder).training


def test_a_run_that_goes_on_and_finds_nothing_better_keeps_its_figures(tmp_path):
    first = start(("verses.txt",), tmp_path / "run", OVERFIT).go()
    outcome = start(("verses.txt",), tmp_path / "run", {}, resume=True).go()
    assert outcome.loss == pytest.approx(first.loss, abs=1e-3)
    assert outcome.calibration.scale == pytest.approx(first.calibration.scale, abs=0.02)
