"""Calibration: a trained network is made as sure as it is right ("temperature scaling": Guo et al. 2017,
arXiv:1706.04599).

    p(x) = softmax(s z)(x)          z [V] the logits, s one number for all predictions

After many passes over a text a network is too sure of what it predicts; the s that makes the held-out loss least is
below 1 then. The loss is convex in s, so that parabolas through three values find it. The output layer's weights and
biases take s in, and nothing that uses the model needs to know.
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
CLOSE = 0.005
"""Scales that differ by less are the same."""
TRIES = 3
"""Most parabolas."""
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


def calibrate(learner: Learner, parameters: Parameters, loss: Callable[[], float]) -> Calibration:
    """The scale of the logits at which `loss()`, the held-out loss of the learner's weights, is least for `parameters`.

    It is measured: the gain is never negative. Where a loss is no number, the scale is 1. The learner is left with
    weights of some scale.
    """

    def at(scale: float) -> tuple[float, float]:
        learner.load(scaled(parameters, scale))
        return scale, loss()

    found = [at(scale) for scale in PROBES]
    if not all(math.isfinite(nats) for _, nats in found):
        return Calibration(1.0, 0.0)
    for _ in range(TRIES):
        scale = _lowest_point(sorted(found, key=_nats)[:3])
        if not LOWEST <= scale <= HIGHEST or min(abs(scale - other) for other, _ in found) < CLOSE:
            break
        found.append(at(scale))
    scale, nats = min(found, key=_nats)
    return Calibration(scale, found[0][1] - nats)


def scaled(parameters: Parameters, scale: float) -> Parameters:
    """The weights of the same model with its logits times `scale`."""
    own = ("output.weight", "output.bias")
    return {name: value * np.float32(scale) if name in own else value for name, value in parameters.items()}


def _nats(found: tuple[float, float]) -> float:
    return found[1]


def _lowest_point(found: list[tuple[float, float]]) -> float:
    """Where the parabola through three points is lowest; not a number if it is nowhere."""
    (x, a), (y, b), (z, c) = found
    slope_xy, slope_yz = (b - a) / (y - x), (c - b) / (z - y)
    bend = (slope_yz - slope_xy) / (z - x)
    return (x + y) / 2 - slope_xy / (2 * bend) if bend > 0 else math.nan
