"""Between which bounds the held-out loss of a run will be.

How compressible the text is tells an n-gram of a sample of it (`rhapsode.training.counting`): H_n, nats per token with
contexts of n - 1 symbols. They are rungs of a ladder

    ln V,  H_1,  H_2,  H_3,  min(H_6, H_12)          V: size of the vocabulary; a rung is never above the one before

which a network climbs as it learns: it knows nothing, how frequent symbols are, what follows what, and so on, and goes
beyond the last rung, by a tenth of ln(H_1 / the last) in ln L for each rung's worth. Its place on the ladder is
expected at c . features, where the features say how many steps, passes and symbols there are to learn from; losses
between rungs are interpolated in ln L. The range about that is the wider, the more of the text is repeated in it, until
a network has had the passes to learn that by heart. docs/LOG.md tells from which runs the constants come.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.text.batches import Batches
from rhapsode.training.counting import Counting

PLACE = (3.201, 0.588, -0.679, -0.398, -0.254, 0.511, 0.646, 0.057, 0.578)
"""Constants c, in the order of `Features`."""
RUNGS, EARLY, PART = 0.4, 0.2, 0.07
"""The range reaches so many rungs up and down the ladder, more after few steps, and this part of the loss beyond;"""
REPEATED = 0.4
"""this part over (1 + passes), times the share of the text that stands in it elsewhere word for word: whether that has
been learned by heart is not known;"""
UNKNOWN, MOST_ERROR = 0.1, 0.15
"""and the standard error, as a part of the loss: this much where it is not known, and at most so much."""
VAST, SAMPLED = 0.1, 1.6
"""Of text beyond e^1.6 = 5 times the sample each e-fold may lower the loss by so much more, in ln L, than `PLACE` says:
the larger a corpus, the more of a file stands in other files, which a sample of it does not show."""
FAR, FLAT = 0.6, 0.06
"""Where contexts of more than two symbols tell an n-gram next to nothing more (this part of the loss) though the text
has structure, it may lie farther away (columns, counters): a network may find so much more, in ln L."""
BEYOND = 0.1
"""How far a rung's worth beyond the last rung goes, as a part of ln(H_1 / the last)."""
LEAST = 0.02
"""Nats that are added to all losses before their logarithm is taken: below it nothing is told apart."""


class Features(NamedTuple):
    """What decides how far a network climbs. Logarithms are natural, and those of sizes are from a usual one."""

    one: float
    steps: float
    early: float
    """steps again, where they are few"""
    passes: float
    little: float
    """how little text there is"""
    width: float
    rate: float
    """learning rate of Adam"""
    structure: float
    """what the best n-gram knows beyond how frequent symbols are"""
    unsampled: float
    """text beyond the sample"""


def loss_range(
    counting: Counting, model: ModelConfig, train: TrainConfig, batches: Batches, tokens: float
) -> tuple[float, float]:
    """The lowest and the highest held-out loss, nats per token, to expect of reading `tokens` symbols."""
    *rungs, six, twelve = counting.nats
    rungs = [math.log(model.vocab_size), *rungs, min(six, twelve)]
    ladder = np.minimum.accumulate(np.log(np.array(rungs) + LEAST))
    features = _features(counting, model, train, batches, tokens)
    place = float(np.dot(PLACE, features))
    error = UNKNOWN if math.isnan(counting.error) else min(MOST_ERROR, counting.error / (counting.least + LEAST))
    reach = RUNGS + EARLY * max(0.0, 0.5 - features.steps)
    by_heart = REPEATED * counting.repeated / (1 + tokens / batches.predictions)
    beyond = PART + by_heart + error
    vast = VAST * max(0.0, features.unsampled - SAMPLED)
    low = _loss(ladder, place + reach) - beyond - vast - (FAR if _is_flat(counting) else 0.0)
    high = _loss(ladder, place - reach) + beyond
    return max(0.0, math.exp(low) - LEAST), max(LEAST, math.exp(high) - LEAST)


def _features(counting: Counting, model: ModelConfig, train: TrainConfig, batches: Batches, tokens: float) -> Features:
    passes = tokens / batches.predictions
    # More streams than usual are planned where a step of them is worth several.
    wider = max(1.0, batches.batch_size / TrainConfig.batch_size) if train.batches == "streams" else 1.0
    steps = math.log(max(1.0, passes * batches.steps_per_epoch * wider))
    adaptive = train.optimizer in ("adam", "adamw")
    return Features(
        one=1.0,
        steps=steps - 5,
        early=max(4.6 - steps, 0.0),
        passes=math.log1p(passes / 10),
        little=min(math.log(batches.predictions / 1e5), 0.0),
        width=math.log(min(model.hidden, 512) / 256),
        rate=min(math.log(train.lr / 1e-2), 0.3) if adaptive else 0.0,
        structure=math.log((counting.nats[0] + LEAST) / (counting.least + LEAST)),
        unsampled=max(0.0, math.log(min(tokens, batches.predictions) / counting.learned)) if tokens else 0.0,
    )


def _is_flat(counting: Counting) -> bool:
    """Whether structure may lie farther away than an n-gram sees."""
    one, _, three, *_ = counting.nats
    least = counting.least + LEAST
    return least < 2 and one + LEAST > 1.35 * least and three + LEAST < (1 + FLAT) * least


def _loss(ladder: np.ndarray, place: float) -> float:
    """The logarithm of the loss at a place of the ladder."""
    last = len(ladder) - 1
    beyond = BEYOND * (ladder[1] - ladder[-1]) * max(0.0, place - last)
    return float(np.interp(place, np.arange(last + 1), ladder) - beyond)
