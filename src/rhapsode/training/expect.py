"""What to expect of a run: how long it will take on this machine, and between which bounds its held-out loss will be
(`rhapsode.training.ladder`)."""

from __future__ import annotations

import math

from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import parameter_spec
from rhapsode.text.batches import Batches, make_batches
from rhapsode.text.corpus import Corpus
from rhapsode.training.calibration import MOST
from rhapsode.training.counting import count
from rhapsode.training.expectation import Expectation
from rhapsode.training.ladder import loss_range
from rhapsode.training.progress import Budget
from rhapsode.training.speed import Speed, measure_speed
from rhapsode.training.validation import validation_interval

READINGS = 5
"""Of the held-out part, to calibrate the model at the end."""
START_SECONDS, FILE_SECONDS, DISK = 0.4, 0.02, 3e8
"""What starting the program takes; what writing a file takes, and bytes a second that go to it."""


def expect(corpus: Corpus, model: ModelConfig, train: TrainConfig, trained: bool = False) -> Expectation:
    """What to expect of training `model` from now on, on this machine, which is timed; of a model that has learned from
    other text, no loss."""
    counting, batches = count(corpus), make_batches(corpus.train, train)
    speed = measure_speed(model, train, batches)
    tokens = Budget.of(train, batches.steps_per_epoch).predictions(batches, lambda: speed.training)
    seconds, passes = _seconds(corpus, model, train, batches, speed), tokens / batches.predictions
    if counting is None:
        return Expectation(seconds, passes)
    error = None if math.isnan(counting.error) else counting.error
    if trained:
        return Expectation(seconds, passes, counting=counting.least, error=error)
    low, high = loss_range(counting, model, train, batches, tokens)
    return Expectation(seconds, passes, low, high, counting.least, error)


def _seconds(corpus: Corpus, model: ModelConfig, train: TrainConfig, batches: Batches, speed: Speed) -> float:
    """Training, validations, saving; and starting."""
    size = sum(p.size for p in parameter_spec(model)) * 4
    symbols = corpus.held_out.predictions
    validation = symbols / speed.reading + FILE_SECONDS + size / DISK
    calibration = READINGS * min(symbols, MOST) / speed.reading
    end = START_SECONDS + validation + calibration + 2 * FILE_SECONDS + 4 * size / DISK
    budget = Budget.of(train, batches.steps_per_epoch)
    if budget.steps is None:
        return end + (budget.seconds or 0.0)
    interval = train.validate_every or validation_interval(batches, corpus.held_out)
    a_step = batches.predictions / batches.steps_per_epoch / speed.training
    return end + budget.steps * a_step + (budget.steps - 1) // interval * validation
