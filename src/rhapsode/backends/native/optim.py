"""The core's optimisers as `TrainConfig` names them, and their state as arrays by name."""

from __future__ import annotations

from typing import Any

import numpy as np

import rhapsode._native as _native
from rhapsode.config import TrainConfig
from rhapsode.nn.spec import DECAYED, Parameter, Parameters

AVERAGE = -1
"""The number under which the core keeps the running average beside the slots 0, 1, …"""


class Optimizer:
    """Over parameters of the core, in the order of their specification."""

    def __init__(self, train: TrainConfig, spec: list[Parameter], weights: dict[str, Any]):
        self._names = [p.name for p in spec]
        self._averaging = train.averaging > 0
        self._core = _native.Optimizer(
            train.optimizer,
            [(weights[p.name], p.role in DECAYED, train.rate_multiple(p.role)) for p in spec],
            momentum=train.momentum,
            nesterov=train.nesterov,
            beta1=train.beta1,
            beta2=train.beta2,
            eps=train.eps,
            weight_decay=train.weight_decay,
            clip_norm=train.clip_norm,
            clip_value=train.clip_value,
            averaging=train.averaging,
        )

    def step(self, lr: float) -> float:
        """Clip and update; the norm of the gradient before clipping. If that is not finite, nothing was changed."""
        return self._core.step(lr)

    def swap_average(self) -> None:
        """Exchange the weights with their running average."""
        self._core.swap_average()

    def averages(self) -> Parameters:
        """The running average of the weights by name; empty where none is kept."""
        return {name: self._core.array(i, AVERAGE) for i, name in enumerate(self._names)} if self._averaging else {}

    def state(self) -> Parameters:
        """As `Learner.optimizer_state` has it."""
        slots = {
            f"{slot}.{name}": self._core.array(i, which)
            for i, name in enumerate(self._names)
            for which, slot in enumerate(self._core.slot_names)
        }
        averages = {f"average.{name}": value for name, value in self.averages().items()}
        return {**slots, **averages, "updates": np.array([self._core.updates], np.int64)}

    def restore(self, state: Parameters) -> None:
        """Take over what `state` gave; slots that are missing are zero, as before the first update."""
        slots = {slot: which for which, slot in enumerate(self._core.slot_names)}
        if self._averaging:
            slots["average"] = AVERAGE
        for key, value in state.items():
            slot, _, name = key.partition(".")
            if slot in slots:
                self._core.set_array(self._names.index(name), slots[slot], value)
        self._core.updates = int(state["updates"][0])
