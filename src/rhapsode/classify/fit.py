"""The training loop of a classifier: epochs over examples that fit in memory, until the budget is used up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from rhapsode.backends.base import Update
from rhapsode.backends.classifier import ClassifierLearner
from rhapsode.classify.examples import Batches
from rhapsode.config import TrainConfig
from rhapsode.errors import TrainingError
from rhapsode.training.interrupt import Interrupt
from rhapsode.training.progress import Budget
from rhapsode.training.schedule import learning_rate


class Epoch(NamedTuple):
    """What is known during an epoch, or at its end; the last one may be a part of one."""

    number: int
    """from 1"""
    loss: float
    """mean training loss over the epoch so far, nats, with dropout as trained"""
    seconds: float
    """since the training began"""
    used: float
    """part of the budget that is used up, 0 to 1"""


Watch = Callable[[Epoch], None]


class Outcome(NamedTuple):
    """How the training ended."""

    steps: int
    seconds: float
    interrupted: bool


def fit(
    learner: ClassifierLearner, batches: Batches, config: TrainConfig, after_step: Watch, after_epoch: Watch
) -> Outcome:
    """Train; Ctrl-C ends it after the step at hand.

    Raises:
        TrainingError: loss or gradient is no longer finite.
    """
    budget, begun = Budget.of(config, batches.steps_per_epoch), time.perf_counter()
    step, losses = 0, 0.0
    with Interrupt() as stop:
        while (used := budget.used(step, time.perf_counter() - begun)) < 1 and not stop.requested:
            lr = learning_rate(config, step, used)
            result = learner.step(batches.at(step), Update(step, lr))
            if not result.is_finite:
                raise TrainingError(
                    f"loss {result.loss:.3g}, gradient {result.grad_norm:.3g} at step {step + 1} "
                    f"(learning rate {lr:.3g}): try a lower lr, or clip_norm 1 if clipping is off"
                )
            number, done = step // batches.steps_per_epoch + 1, step % batches.steps_per_epoch + 1
            step, losses = step + 1, result.loss + (losses if done > 1 else 0.0)
            seconds = time.perf_counter() - begun
            epoch = Epoch(number, losses / done, seconds, min(1.0, budget.used(step, seconds)))
            after_step(epoch)
            if done == batches.steps_per_epoch or epoch.used == 1:
                after_epoch(epoch)
    return Outcome(step, time.perf_counter() - begun, stop.requested)
