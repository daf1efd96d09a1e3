"""How far a run has come, and whether its budget is used up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rhapsode.config import TrainConfig
from rhapsode.text.batches import Batches


@dataclass
class Progress:
    """Counts that a checkpoint keeps. Losses are held-out nats per token."""

    step: int = 0
    """optimiser steps done"""
    tokens: int = 0
    """predictions trained on"""
    seconds: float = 0.0
    """time in the loop, validation included, over all sessions of the run"""
    train_loss: float = math.nan
    """running mean of the training loss over about 100 steps"""
    epoch_loss: float = math.nan
    """mean of the training loss over the latest whole epoch, as the steps found it (with dropout)"""
    epoch_sum: float = 0.0
    """of the losses of the steps since then"""
    val_loss: float = math.inf
    """at the latest validation"""
    best_loss: float = math.inf
    best_step: int = 0
    dropout: float = 1.0
    """part of the configured dropout that is in use"""
    stale: int = 0
    """validations since the best one"""

    def to_json(self) -> dict[str, Any]:
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in known and v is not None})

    def seen(self, loss: float, tokens: int, steps_per_epoch: int) -> None:
        """Count a step with this mean training loss over this many predictions."""
        self.step += 1
        self.tokens += tokens
        share = max(0.01, 1 / self.step)
        self.train_loss = loss if self.step == 1 else (1 - share) * self.train_loss + share * loss
        self.epoch_sum += loss
        if self.step % steps_per_epoch == 0:
            self.epoch_loss, self.epoch_sum = self.epoch_sum / steps_per_epoch, 0.0

    def validated(self, loss: float) -> bool:
        """Note a validation; whether it is the best so far."""
        self.val_loss = loss
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.stale = loss, self.step, 0
            return True
        self.stale += 1
        return False


@dataclass(frozen=True)
class Budget:
    """When a run ends: after so many steps, or so many seconds."""

    steps: int | None
    seconds: float | None

    @classmethod
    def of(cls, config: TrainConfig, steps_per_epoch: int) -> Budget:
        """The budget that `config` names; an epoch is a pass over the batches."""
        if config.minutes is not None:
            return cls(None, config.minutes * 60)
        if config.epochs is not None:
            return cls(max(1, round(config.epochs * steps_per_epoch)), None)
        assert config.steps is not None, "the plan names a budget"
        return cls(config.steps, None)

    def used(self, step: int, seconds: float) -> float:
        """The part that is used up, from 0; 1 or more: the run is over."""
        return step / self.steps if self.steps is not None else seconds / (self.seconds or 1)

    def predictions(self, batches: Batches, speed: Callable[[], float]) -> float:
        """How many symbols it lets a machine learn from that trains on so many a second, which is asked only where it
        matters."""
        if self.steps is not None:
            return self.steps * batches.predictions / batches.steps_per_epoch
        return (self.seconds or 0.0) * speed()
