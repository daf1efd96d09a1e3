"""The learning rate over a run, as a part of `TrainConfig.lr`."""

from __future__ import annotations

import math

from rhapsode.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """The rate of `step` (from 0) when the part `progress` (0 to 1) of the budget is used up.

    The budget may be time: then the schedule follows the clock. Warm-up counts steps: the rate rises linearly to its
    full value over the first `warmup` of them.
    """
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    return config.lr * rise * _shape(config, min(1.0, max(0.0, progress)))


def _shape(config: TrainConfig, progress: float) -> float:
    floor = config.final_lr
    if config.schedule == "linear":
        return floor + (1 - floor) * (1 - progress)
    if config.schedule == "cosine":
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "step":
        return config.step_factor ** int(progress / config.step_every)
    return 1.0
