"""The training loop: steps, validations, checkpoints, until the budget is used up.

It holds no arithmetic and no files of its own: the learner computes, the run folder keeps, observers watch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rhapsode.backends.base import Learner, StepResult, Update
from rhapsode.config import TrainConfig
from rhapsode.errors import TrainingError
from rhapsode.modelfile import BEST, LAST, ModelFile
from rhapsode.text.batches import make_batches
from rhapsode.text.corpus import Corpus
from rhapsode.training.calibration import MOST, Calibration, calibrate, can_be_calibrated, scaled
from rhapsode.training.checkpoint import Checkpoint
from rhapsode.training.folder import CHECKPOINT
from rhapsode.training.interrupt import Interrupt
from rhapsode.training.observer import Observer, Report
from rhapsode.training.progress import Budget, Progress
from rhapsode.training.schedule import dropout_part, learning_rate
from rhapsode.training.validation import held_out_loss, validation_interval

REPORT_SECONDS, SAMPLE_SECONDS, CHECKPOINT_SECONDS = 1.0, 15.0, 30.0
"""Between two of each."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    progress: Progress
    interrupted: bool
    reason: str
    """budget, patience or interrupt"""
    calibration: Calibration | None = None
    """of the best model, at the end of a run with a held-out part"""

    @property
    def loss(self) -> float:
        """The held-out loss of the model that is kept, nats per token; infinite where nothing is held out."""
        return self.progress.best_loss - (self.calibration.gain if self.calibration else 0.0)


class Loop:
    """One run of one learner over one corpus, kept in `folder`."""

    def __init__(
        self,
        learner: Learner,
        corpus: Corpus,
        config: TrainConfig,
        folder: Path,
        training: dict[str, Any],
        observers: Sequence[Observer] = (),
        sampler: Callable[[ModelFile], str] | None = None,
    ):
        """`training` is what the model files say of the run beside its progress; `sampler` writes a sample of text."""
        self.learner, self.corpus, self.config, self.folder = learner, corpus, config, folder
        self.training, self.observers, self.sampler = training, observers, sampler
        self.batches = make_batches(corpus.train, config)
        self.budget = Budget.of(config, self.batches.steps_per_epoch)
        self.validate_every = config.validate_every or validation_interval(self.batches, corpus.held_out)
        self.progress = Progress(dropout=0.0 if config.dropout_gap and self._holds_out() else 1.0)
        self.state = learner.initial_state(self.batches.batch_size)
        self._told, self._told_tokens, self._sampled = 0.0, 0, 0.0

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint` instead of from the beginning."""
        self.learner.load(checkpoint.parameters, checkpoint.optimizer)
        self.state = self.learner.state_from_numpy(checkpoint.state)
        self.progress = checkpoint.progress

    def run(self) -> Outcome:
        """Train until the budget is used up, patience ends, or an interrupt.

        Raises:
            TrainingError: the loss or the gradient is no longer finite; the last good weights are saved.
            OutputError: a file cannot be written.
        """
        with Interrupt() as stop:
            try:
                reason = self._steps(stop)
                calibration = None if reason == "interrupt" else self._calibrate()
            finally:
                for observer in self.observers:
                    observer.close()
        return Outcome(self.progress, reason == "interrupt", reason, calibration)

    def _steps(self, stop: Interrupt) -> str:
        """Steps until there is a reason to end: which."""
        progress, begun = self.progress, time.perf_counter() - self.progress.seconds
        self._told, self._told_tokens = time.perf_counter(), progress.tokens
        self._sampled = saved = self._told
        validated = -1
        while (used := self._used(begun)) < 1:
            if stop.requested:
                self._save()
                return "interrupt"
            lr = learning_rate(self.config, progress.step, used)
            result = self._step(lr)
            progress.seconds = time.perf_counter() - begun
            self._tell(lr, result)
            if progress.step % self.validate_every == 0:
                self._validate(lr, result)
                validated = progress.step
                if self.config.patience and progress.stale >= self.config.patience:
                    self._save()
                    return "patience"
            if time.perf_counter() - saved >= CHECKPOINT_SECONDS:
                self._save()
                saved = time.perf_counter()
        if validated < progress.step:
            self._validate(0.0, None)
        progress.seconds = time.perf_counter() - begun
        self._save()
        return "budget"

    def _used(self, begun: float) -> float:
        """The part of the budget that is used up now, of a run that has begun then."""
        self.progress.seconds = time.perf_counter() - begun
        return self.budget.used(self.progress.step, self.progress.seconds)

    def _step(self, lr: float) -> StepResult:
        """One step of the learner, counted."""
        batch = self.batches.at(self.progress.step)
        result, state = self.learner.step(batch, self.state, Update(self.progress.step, lr, self.progress.dropout))
        if not result.is_finite:
            self._fail(result, lr)
        self.state = state
        self.progress.seen(result.loss, batch.counted, self.batches.steps_per_epoch)
        return result

    def _tell(self, lr: float, result: StepResult) -> None:
        """Tell the observers of the first step, then of about one a second; now and then show them a sample."""
        progress, now = self.progress, time.perf_counter()
        if progress.step > 1 and now - self._told < REPORT_SECONDS:
            return
        report = self._report(lr, result, (progress.tokens - self._told_tokens) / (now - self._told))
        self._told, self._told_tokens = now, progress.tokens
        for observer in self.observers:
            observer.step(report)
        if self.sampler and now - self._sampled >= SAMPLE_SECONDS:
            self._sampled = now
            text = self.sampler(self._model())
            for observer in self.observers:
                observer.sample(report, text)

    def _report(self, lr: float, result: StepResult | None, speed: float) -> Report:
        p = self.progress
        used = self.budget.used(p.step, p.seconds)
        left = p.seconds * (1 - used) / used if used > 0 else math.inf
        norm = result.grad_norm if result else math.nan
        return Report(p, min(1.0, used), lr, p.step / self.batches.steps_per_epoch, norm, speed, max(0.0, left))

    def _validate(self, lr: float, result: StepResult | None) -> None:
        """Measure the held-out loss; keep the model if it is the best. Without a held-out part the latest is kept."""
        loss = self._held_out_loss(self.config.averaging > 0)
        best = True
        if self._holds_out():
            best = self.progress.validated(loss)
            self.progress.dropout = dropout_part(self.config, self.progress.dropout, self.progress.train_loss, loss)
        if best:
            self._model().save(self.folder / BEST)
        for observer in self.observers:
            observer.validation(self._report(lr, result, 0.0), best)

    def _holds_out(self) -> bool:
        return self.corpus.held_out.predictions > 0

    def _held_out_loss(self, averaged: bool, most: int | None = None) -> float:
        return held_out_loss(self.learner, self.corpus.held_out, self.config.batches == "documents", averaged, most)

    def _calibrate(self) -> Calibration | None:
        """Let the best model be as sure as it is right. The learner's own weights are gone after it."""
        path = self.folder / BEST
        if not (self._holds_out() and path.is_file() and can_be_calibrated(self.learner.config)):
            return None
        best = ModelFile.load(path)
        before = best.training.get("calibration")  # of a run that had ended, and goes on without a better model
        trained = scaled(best.parameters, 1 / before["scale"]) if before else best.parameters
        count = min(MOST, self.corpus.held_out.predictions)
        found = calibrate(self.learner, trained, lambda: self._held_out_loss(averaged=False, most=MOST), count)
        training = best.training | {"calibration": found._asdict()}
        replace(best, parameters=scaled(trained, found.scale), training=training).save(path)
        return found

    def _model(self) -> ModelFile:
        """The model as it stands, with its history."""
        training = self.training | {"progress": self.progress.to_json()}
        parameters = self.learner.parameters(averaged=self.config.averaging > 0)
        return ModelFile(self.learner.config, self.corpus.tokenizer, parameters, training)

    def _save(self) -> None:
        """Write the latest model file and the checkpoint."""
        self._model().save(self.folder / LAST)
        Checkpoint(
            self.learner.parameters(),
            self.learner.optimizer_state(),
            self.learner.state_to_numpy(self.state),
            self.progress,
        ).save(self.folder / CHECKPOINT)

    def _fail(self, result: StepResult, lr: float) -> None:
        """The step was not taken: save what was before it, and say what may help."""
        self._save()
        what = "loss" if not math.isfinite(result.loss) else "gradient"
        value = result.loss if what == "loss" else result.grad_norm
        raise TrainingError(
            f"the {what} became {value:.3g} at step {self.progress.step + 1} (learning rate {lr:.3g}); the weights "
            f"before it are in {self.folder / LAST}. Try a lower --lr, or --clip-norm 1 if clipping is off"
        )
