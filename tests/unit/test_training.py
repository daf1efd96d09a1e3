"""The training loop: budgets, validation, early stopping, a loss that is not a number, the run folder."""

import dataclasses
import itertools
import json
import math
import signal
import threading

import numpy as np
import pytest

import rhapsode
from rhapsode.backends.base import StepResult
from rhapsode.backends.choose import make_learner
from rhapsode.config import CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError, CorpusError, RunError, SourceError, TrainingError
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.amount import counts
from rhapsode.text.batches import make_batches
from rhapsode.training.folder import default_folder
from rhapsode.training.loop import Loop
from rhapsode.training.progress import Budget
from rhapsode.training.schedule import learning_rate
from rhapsode.training.start import load_corpus, start
from rhapsode.training.validation import held_out_loss
from texts import small_corpus, verses

SMALL = {"hidden": 16, "batch_size": 4, "length": 8}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "verses.txt"
    path.write_text(verses(200))
    return str(path)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns(source, tmp_path):
    run = start((source,), tmp_path / "run", {"hidden": 32, "batch_size": 16, "length": 16, "steps": 150})
    outcome = run.go()
    figures = run.summary(outcome)
    counts = np.unique(run.corpus.held_out.tokens, return_counts=True)[1]
    unigrams = -np.sum(counts / counts.sum() * np.log(counts / counts.sum()))
    assert figures["val_nats_per_token"] < unigrams - 1
    assert figures["val_bits_per_char"] == pytest.approx(figures["val_nats_per_token"] / math.log(2))
    assert figures["steps"] == 150
    assert figures["tokens"] == 150 * 16 * 16
    assert (tmp_path / "run" / "loss.svg").read_text().startswith("<svg")


def test_minutes_end_the_run_and_bring_the_rate_down(source, tmp_path):
    run = start((source,), tmp_path / "run", SMALL | {"minutes": 0.03, "warmup": 0})
    outcome = run.go()
    assert outcome.reason == "budget"
    assert rows(tmp_path / "run")[0]["lr"] > 0.9 * 4e-3
    assert outcome.progress.seconds >= 1.8


def test_epochs_are_passes_over_the_text(tmp_path):
    corpus = small_corpus(tmp_path)
    config = TrainConfig(epochs=2, batch_size=4, length=8)
    batches = Loop(learner_for(corpus, config), corpus, config, tmp_path, {}).batches
    assert Budget.of(config, batches.steps_per_epoch).steps == 2 * batches.steps_per_epoch


class Steps:
    """A learner that keeps what each step told."""

    def __init__(self, learner):
        self.learner, self.told = learner, []

    def __getattr__(self, name):
        return getattr(self.learner, name)

    def step(self, batch, state, update):
        result, state = self.learner.step(batch, state, update)
        self.told.append(result.loss)
        return result, state


@pytest.mark.parametrize("more", [0, 3])
def test_the_loss_of_an_epoch_is_the_mean_over_its_steps(tmp_path, more):
    corpus = small_corpus(tmp_path)
    config = TrainConfig(batches="windows", targets="last", stride=7, batch_size=16, length=8, steps=1)
    epoch = make_batches(corpus.train, config).steps_per_epoch
    config = dataclasses.replace(config, steps=2 * epoch + more)
    steps = Steps(learner_for(corpus, config))
    progress = Loop(steps, corpus, config, tmp_path, {}).run().progress
    assert progress.epoch_loss == pytest.approx(np.mean(steps.told[epoch : 2 * epoch]))
    assert progress.epoch_sum == pytest.approx(sum(steps.told[2 * epoch :]))


def learner_for(corpus, config, **fields):
    tokenizer = corpus.tokenizer
    model = ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, **{"hidden": 16} | fields)
    return make_learner(model, config, initial_parameters(model))


@pytest.mark.parametrize("documents", [False, True])
def test_validation_counts_every_held_out_token_once(tmp_path, documents):
    corpus = small_corpus(tmp_path, verses(2000), documents="lines" if documents else "whole")
    learner = learner_for(corpus, TrainConfig(steps=1))
    tokens, state, total = corpus.held_out.tokens.astype(np.int32), learner.initial_state(1), 0.0
    for t in range(len(tokens) - 1):
        if documents and tokens[t] == corpus.tokenizer.boundary:
            state = learner.initial_state(1)
        nats, state = learner.losses(tokens[t : t + 1, None], tokens[t + 1 : t + 2, None], state)
        total += float(nats[0, 0])
    assert held_out_loss(learner, corpus.held_out, documents) == pytest.approx(total / (len(tokens) - 1), abs=2e-5)


@pytest.mark.parametrize(("every", "steps"), [(5, [5, 10]), (4, [4, 8, 10]), (20, [10])])
def test_the_weights_of_a_step_are_validated_once(source, tmp_path, every, steps):
    start((source,), tmp_path / "run", SMALL | {"steps": 10, "validate_every": every}).go()
    assert [row["step"] for row in rows(tmp_path / "run") if "val_nats_per_token" in row] == steps


def test_validations_cost_a_small_part(tmp_path):
    corpus = small_corpus(tmp_path, verses(4000))
    config = TrainConfig(steps=1000, batch_size=4, length=8)
    loop = Loop(learner_for(corpus, config), corpus, config, tmp_path, {})
    forward_passes = len(corpus.held_out.tokens) / loop.validate_every
    assert 0.04 < 0.5 * forward_passes / (4 * 8) <= 0.05


def test_patience_stops_a_run_that_no_longer_improves(source, tmp_path):
    fields = SMALL | {"steps": 400, "validate_every": 5, "patience": 2, "lr": 1e-9, "weight_decay": 0.0}
    run = start((source,), tmp_path / "run", fields | {"schedule": "constant", "optimizer": "sgd"})
    outcome = run.go()
    assert outcome.reason == "patience"
    assert outcome.progress.step < 400


class Breaking:
    """A learner whose gradient is no number from some step on."""

    def __init__(self, learner, at):
        self.learner, self.at = learner, at

    def __getattr__(self, name):
        return getattr(self.learner, name)

    def step(self, batch, state, update):
        if update.number == self.at:
            return StepResult(2.0, math.nan), state
        return self.learner.step(batch, state, update)


def test_a_loss_that_is_no_number_stops_at_the_last_good_weights(tmp_path):
    corpus = small_corpus(tmp_path)
    config = TrainConfig(steps=20, batch_size=4, length=8)
    learner = learner_for(corpus, config)
    with pytest.raises(TrainingError, match=r"gradient became nan at step 8 .*--lr") as caught:
        Loop(Breaking(learner, 7), corpus, config, tmp_path, {}).run()
    assert caught.value.exit_status == 1
    saved = ModelFile.load(tmp_path / "last.safetensors")
    assert all(np.isfinite(value).all() for value in saved.parameters.values())
    assert all(np.array_equal(value, saved.parameters[name]) for name, value in learner.parameters().items())


def test_an_overflowing_run_stops_cleanly(source, tmp_path):
    fields = SMALL | {"steps": 200, "cell": "rnn", "nonlinearity": "relu", "lr": 1e18, "clip_norm": 0.0, "warmup": 0}
    run = start((source,), tmp_path / "run", fields | {"optimizer": "sgd", "schedule": "constant"})
    with pytest.raises(TrainingError, match="--lr"):
        run.go()
    model = ModelFile.load(tmp_path / "run" / "last.safetensors")
    assert all(np.isfinite(value).all() for value in model.parameters.values())


def test_the_public_call(source, tmp_path):
    model = rhapsode.train(source, steps=30, hidden=16)
    assert isinstance(model.generate("the", length=20, seed=1), str)
    model.save(tmp_path / "m.safetensors")
    assert rhapsode.load(tmp_path / "m.safetensors").generate("the", length=20, seed=1) == model.generate(
        "the", length=20, seed=1
    )


def test_it_runs_in_a_thread(source, tmp_path):
    done = []
    thread = threading.Thread(target=lambda: done.append(rhapsode.train(source, steps=3, hidden=8)))
    thread.start()
    thread.join()
    assert done


def test_a_field_that_does_not_exist_is_named_with_its_neighbour(source):
    with pytest.raises(ConfigError, match="did you mean hidden"):
        rhapsode.train(source, hiden=3)


@pytest.mark.parametrize("sources", [3, None, [3], ["a.txt", None]])
def test_what_names_no_text_is_one_line(sources, tmp_path):
    for call in (lambda: rhapsode.train(sources, steps=1), lambda: rhapsode.prepare(sources, CorpusConfig(), tmp_path)):
        with pytest.raises(SourceError, match="expected the name of a file, folder or glob, or several"):
            call()


def test_only_a_run_that_is_kept_can_be_resumed(source):
    with pytest.raises(ConfigError, match="resume: found True, allowed: only with out"):
        rhapsode.train(source, steps=1, resume=True)


def test_one_name_alone_is_prepared(source, tmp_path):
    assert rhapsode.prepare(source, CorpusConfig(), tmp_path / "corpus").train.chars > 0


def test_a_run_is_never_overwritten_by_accident(source, tmp_path):
    start((source,), tmp_path / "run", SMALL | {"steps": 2}).go()
    with pytest.raises(RunError, match="--resume"):
        start((source,), tmp_path / "run", SMALL | {"steps": 2})
    start((source,), tmp_path / "run", SMALL | {"steps": 2}, overwrite=True)
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_a_folder_with_other_things_is_left_alone(source, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("x")
    with pytest.raises(RunError, match="not a run"):
        start((source,), tmp_path / "mine", SMALL | {"steps": 2}, overwrite=True)
    assert (tmp_path / "mine" / "diary.txt").exists()


def test_resume_keeps_what_the_run_began_with_but_may_go_on_longer(source, tmp_path):
    start((source,), tmp_path / "run", SMALL | {"steps": 4}).go()
    with pytest.raises(ConfigError, match="hidden"):
        start((source,), tmp_path / "run", {"hidden": 32}, resume=True)
    outcome = start((source,), tmp_path / "run", {"hidden": 16, "steps": 6}, resume=True).go()
    assert outcome.progress.step == 6
    assert [row["step"] for row in rows(tmp_path / "run")][-1] == 6
    assert start((source,), tmp_path / "run", {}, resume=True).description.train.steps == 6


def test_resume_with_another_text_is_refused(source, tmp_path):
    start((source,), tmp_path / "run", SMALL | {"steps": 2}).go()
    (tmp_path / "other.txt").write_text(verses(200, seed=3))
    with pytest.raises(RunError, match=r"a run on .*verses.txt, found other.txt"):
        start(("other.txt",), tmp_path / "run", {}, resume=True)


def test_a_held_out_loss_that_is_no_number_is_never_the_best(source, tmp_path, monkeypatch):
    run = start((source,), tmp_path / "run", SMALL | {"steps": 4, "validate_every": 2})
    losses = itertools.chain([2.0], itertools.repeat(math.nan))
    monkeypatch.setattr("rhapsode.training.loop.held_out_loss", lambda *_: next(losses))
    outcome = run.go()
    assert (outcome.progress.best_loss, outcome.progress.best_step) == (2.0, 2)
    assert ModelFile.load(tmp_path / "run").training["progress"]["step"] == 2


def test_a_folder_with_some_manifest_is_text(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"name": "a web page"}\n' * 9)
    corpus = load_corpus((str(tmp_path / "site"),), {})
    assert corpus.train.chars > 100


def test_nothing_held_out_counts_as_nothing(source):
    assert counts(load_corpus((source,), {"held_out": 0}).held_out) == dict.fromkeys(
        ("tokens", "chars", "bytes", "documents"), 0
    )


def test_resume_without_a_run(tmp_path, source):
    with pytest.raises(RunError, match="no run to resume"):
        start((source,), tmp_path / "run", {}, resume=True)


def test_resume_after_the_text_changed(tmp_path, source):
    import shutil

    start((source,), tmp_path / "run", SMALL | {"steps": 2}).go()
    (tmp_path / "verses.txt").write_text(verses(150, seed=5))
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(RunError, match="has changed"):
        start((source,), tmp_path / "run", {}, resume=True)


def test_a_damaged_checkpoint_is_one_line(tmp_path, source):
    start((source,), tmp_path / "run", SMALL | {"steps": 2}).go()
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="not a whole safetensors file"):
        start((source,), tmp_path / "run", {}, resume=True)


def test_too_little_text(tmp_path):
    (tmp_path / "one.txt").write_text("x")
    with pytest.raises(CorpusError):
        start((str(tmp_path / "one.txt"),), tmp_path / "run", {"steps": 2})


@pytest.mark.parametrize("size", [2, 5, 40, 300])
def test_a_tiny_text_is_trained_on_all_the_same(tmp_path, size):
    (tmp_path / "tiny.txt").write_text(("abcdefg, " * 40)[:size])
    try:
        run = start((str(tmp_path / "tiny.txt"),), tmp_path / "run", {"steps": 3, "hidden": 8})
    except CorpusError as error:
        assert size < 10, error  # noqa: PT017
    else:
        assert run.go().progress.step == 3


def test_default_folders_are_numbered(tmp_path):
    assert str(default_folder(("a/b/book.txt",), resume=False)) == "runs/book"
    (tmp_path / "runs" / "book").mkdir(parents=True)
    assert str(default_folder(("a/b/book.txt",), resume=False)) == "runs/book-2"
    assert str(default_folder(("a/b/book.txt",), resume=True)) == "runs/book"


def test_an_interrupt_is_raised_with_what_was_learned(source, monkeypatch):
    """`rhapsode.train` under a signal, with a folder and without one; a second run goes on from the folder."""
    before = signal.getsignal(signal.SIGINT)

    def at_step_twenty(config, step, used):
        if step == 20:
            signal.raise_signal(signal.SIGINT)
        return learning_rate(config, step, used)

    monkeypatch.setattr("rhapsode.training.loop.learning_rate", at_step_twenty)
    for out in (None, "run"):
        with pytest.raises(rhapsode.TrainingInterrupted, match="the model so far is in") as stopped:
            rhapsode.train(source, minutes=5, out=out, **SMALL)
        assert isinstance(stopped.value, KeyboardInterrupt)
        assert stopped.value.model.generate(length=9, seed=1)
        assert ("resume=True" in str(stopped.value)) == (out is not None)
        assert signal.getsignal(signal.SIGINT) == before
    assert rhapsode.load("run/last.safetensors").training["progress"]["step"] == 21
    rhapsode.train(source, steps=40, out="run", resume=True, **SMALL)
    assert rhapsode.load("run/last.safetensors").training["progress"]["step"] == 40
