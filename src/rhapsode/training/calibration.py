"""Calibration: a trained network is made as sure as it is right ("temperature scaling": Guo et al. 2017,
arXiv:1706.04599).

    p(x) = softmax(s z)(x)          z [V] the logits, s one number for all predictions

After many passes over a text a network is too sure of what it predicts; the s that makes the held-out loss least is
below 1 then. The loss is convex in s. It is measured at a few s, of which three, the best and its neighbours, decide on
the next one: where a + b s - c ln s through them is lowest. Few held-out symbols tell little, so that what is lowest is
the loss of all n of them together with that of s itself under a normal distribution of ln s:

    loss(s) + (ln s / SPREAD)² / 2n

The output layer's weights and biases take s in, and nothing that uses the model needs to know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rhapsode.backends.base import Learner
from rhapsode.config import ModelConfig
from rhapsode.nn.spec import Parameters

PROBES = (1.0, 0.9, 0.8)
"""Scales whose losses are measured first; of equal losses the first counts."""
LOWEST, HIGHEST = 0.3, 1.3
SPREAD = 0.2
"""Standard deviation of ln s before anything is measured."""
CLOSE = 0.005
"""Scales that differ by less are the same."""
TRIES = 3
"""Scales that are measured then, at most."""
MOST = 1 << 18
"""Symbols of the held-out part that are enough to tell the scale."""


class Calibration(NamedTuple):
    """What was found."""

    scale: float
    """of the logits"""
    gain: float
    """nats per token by which it lowers the held-out loss"""


def can_be_calibrated(config: ModelConfig) -> bool:
    """Whether the output layer can take a scale in: a tied one is the embedding, too."""
    return not config.tied


def calibrate(learner: Learner, parameters: Parameters, loss: Callable[[], float], count: int) -> Calibration:
    """The scale of the logits that suits the held-out part, whose loss is `loss()` for the learner's weights and is a
    mean over `count` symbols, best for `parameters`.

    It is measured: the gain is never negative. Where a loss is no number, the scale is 1. The learner is left with
    weights of some scale.
    """
    losses = dict[float, float]()

    def at(scale: float) -> tuple[float, float]:
        learner.load(scaled(parameters, scale))
        losses[scale] = loss()
        return scale, losses[scale] + (math.log(scale) / SPREAD) ** 2 / (2 * count)

    found = [at(scale) for scale in PROBES]
    if not all(map(math.isfinite, losses.values())):
        return Calibration(1.0, 0.0)
    for _ in range(TRIES):
        scale = _lowest_point(_around_best(found))
        if math.isnan(scale) or min(abs(scale - other) for other in losses) < CLOSE:
            break
        found.append(at(scale))
    scale = min(found, key=_cost)[0]
    return Calibration(scale, losses[1.0] - losses[scale])


def scaled(parameters: Parameters, scale: float) -> Parameters:
    """The weights of the same model with its logits times `scale`."""
    own = ("output.weight", "output.bias")
    return {name: value * np.float32(scale) if name in own else value for name, value in parameters.items()}


def _cost(found: tuple[float, float]) -> float:
    return found[1]


def _around_best(found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The point of least cost and its two neighbours; at an end, the next two."""
    ordered = sorted(found)
    best = ordered.index(min(found, key=_cost))
    first = min(max(best - 1, 0), len(ordered) - 3)
    return ordered[first : first + 3]


def _lowest_point(found: list[tuple[float, float]]) -> float:
    """Where a + b s - c ln s through three points is lowest, from LOWEST to HIGHEST; nan: it has no lowest point."""
    s, cost = np.array(found).T
    _, b, c = np.linalg.solve(np.stack([np.ones(3), s, -np.log(s)], axis=1), cost)
    if not c > 0:
        return math.nan
    return float(np.clip(c / b, LOWEST, HIGHEST)) if b > 0 else HIGHEST
