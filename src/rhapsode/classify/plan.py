"""The fields of a classifier that the user did not name (docs/LOG.md tells of the experiments behind them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rhapsode.config import BUDGETS, ModelConfig, TrainConfig
from rhapsode.training.plan import LARGE_VOCABULARY

STEPS, EPOCHS = 1000, (5, 50)
"""So many steps, but no fewer and no more passes than these."""


def planned_model(named: Mapping[str, Any], vocab_size: int, specials: int) -> ModelConfig:
    """The model with `named` fields."""
    large = vocab_size > LARGE_VOCABULARY
    planned = {"hidden": 128, "input": "embedding" if large else "one-hot", "embedding_size": 64, "dropout_output": 0.3}
    return ModelConfig(vocab_size=vocab_size, specials=specials, **planned | dict(named))


def planned_training(named: Mapping[str, Any], pieces: int) -> TrainConfig:
    """The training with `named` fields on so many sequences."""
    planned: dict[str, Any] = {"batch_size": 32, "length": 400, "lr": 4e-3}
    if all(named.get(budget) is None for budget in BUDGETS):
        steps_per_epoch = -(-pieces // int(named.get("batch_size", planned["batch_size"])))
        least, most = EPOCHS
        planned["epochs"] = float(min(most, max(least, round(STEPS / steps_per_epoch))))
    return TrainConfig(**planned | dict(named))
