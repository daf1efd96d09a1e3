"""The course of a run: the learning rate, as a part of `TrainConfig.lr`, and how much of the dropout is in use."""

from __future__ import annotations

import math

from rhapsode.config import TrainConfig

FOLLOWING = 0.3
"""How much of the way to the part that suits the latest losses the dropout goes at a validation."""


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


def dropout_part(config: TrainConfig, before: float, train_loss: float, held_out_loss: float) -> float:
    """The part of the configured dropout, 0 to 1, after a validation; `before` it was so much of it.

    What is learned by heart shows in the training loss and not in the held-out loss: dropout is in full use where the
    latter is `dropout_gap` (a part of the loss) above the former, in proportion below that. It begins with none, since
    at first nothing is known by heart (Morerio et al. 2017, arXiv:1703.06229, let dropout grow with the steps).
    """
    if not config.dropout_gap:
        return 1.0
    gap = held_out_loss / max(train_loss, 1e-9) - 1
    return before + FOLLOWING * (min(1.0, max(0.0, gap / config.dropout_gap)) - before)
