"""What to expect of a run: how long it will take, and between which bounds its held-out loss will be.

How compressible the text is tells an n-gram (interpolated Kneser-Ney) of a sample of the training part, on a sample
of the held-out part: H_n, nats per token with contexts of n - 1 symbols. They are rungs of a ladder

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

from rhapsode.analysis.baselines import read_by_order
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import parameter_spec
from rhapsode.text.batches import Batches, make_batches
from rhapsode.text.blocks import Spread
from rhapsode.text.corpus import Corpus, Part
from rhapsode.training.calibration import MOST
from rhapsode.training.expectation import Expectation
from rhapsode.training.progress import Budget
from rhapsode.training.speed import Speed, measure_speed
from rhapsode.training.validation import validation_interval

ORDERS = (1, 2, 3, 6, 12)
LEARNED, MEASURED, PIECE = 200_000, 50_000, 5_000
"""Symbols of the samples, and of each of the pieces of a text that they consist of: where many files make one text, few
long pieces would tell more of some than of all."""
MANY = 1000
"""So many documents of a sample, or more, are drawn one by one: of a sorted list, pieces would miss how whole ranges of
its entries begin."""

PLACE = (3.201, 0.588, -0.679, -0.398, -0.254, 0.511, 0.646, 0.057, 0.578)
"""Constants c, in the order of `_features`."""
RUNGS, EARLY, PART = 0.4, 0.2, 0.07
"""The range reaches so many rungs up and down the ladder, more after few steps, and this part of the loss beyond;"""
REPEATED = 0.4
"""this part over (1 + passes), times the share of the text that stands in it elsewhere word for word: whether that has
been learned by heart is not known;"""
UNKNOWN, MOST_ERROR = 0.1, 0.15
"""and the standard error, as a part of the loss: this much where it is not known, and at most so much."""
FAR, FLAT = 0.6, 0.06
"""Where contexts of more than two symbols tell an n-gram next to nothing more (this part of the loss) though the text
has structure, it may lie farther away (columns, counters): a network may find so much more, in ln L."""
BEYOND = 0.1
LEAST = 0.02
"""Nats that are added to all losses before their logarithm is taken: below it nothing is told apart."""
READINGS = 5
"""Of the held-out part, to calibrate the model at the end."""
START_SECONDS, FILE_SECONDS, DISK = 0.4, 0.02, 3e8
"""What starting the program takes; what writing a file takes, and bytes a second that go to it."""


class Counting(NamedTuple):
    """What n-grams tell of a text."""

    nats: tuple[float, ...]
    """per token, for each of `ORDERS`"""
    repeated: float
    """share of held-out symbols that end a passage of the greatest of `ORDERS` that was counted"""
    learned: int
    """symbols counted"""
    error: float

    @property
    def least(self) -> float:
        return min(self.nats)


def count(corpus: Corpus) -> Counting | None:
    """Count a sample of the training part, measure a sample of the held-out part; None where nothing is held out."""
    if not corpus.held_out.predictions:
        return None
    many = len(corpus.train.starts) > 1
    boundary = corpus.tokenizer.boundary if many else None
    learned, measured = _sample(corpus.train, LEARNED), _sample(corpus.held_out, MEASURED)
    tokens = corpus.train.tokens[learned].astype(np.int64)
    others = corpus.held_out.tokens[measured].astype(np.int64)
    found = read_by_order(ORDERS, tokens, others, corpus.tokenizer.vocab_size, boundary)
    nats, longest = tuple(float(x.nats.mean()) for x in found), found[-1]
    spread = Spread(corpus.held_out)
    spread.add(measured[1:] - 1, longest.nats)
    share = len(others) / len(corpus.held_out.tokens)
    error = spread.standard_error() * math.sqrt(share)
    return Counting(nats, float(longest.seen.mean()), len(tokens), error)


def _sample(part: Part, size: int) -> np.ndarray:
    """Positions of at most `size` tokens, ascending: evenly spaced documents where they are many, else evenly spaced
    pieces."""
    total = len(part.tokens)
    if total <= size:
        return np.arange(total)
    if (many := size * len(part.starts) // total) >= MANY:
        chosen = np.linspace(0, len(part.starts) - 1, many).astype(np.int64)
        return _stretches(part.starts[chosen], np.diff(part.starts, append=total)[chosen])[:size]
    pieces = -(-size // PIECE)
    starts = np.linspace(0, total - size // pieces, pieces).astype(np.int64)
    return _stretches(starts, np.full(pieces, size // pieces))


def _stretches(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The positions in stretches [N] that begin at `starts` [N] and have these `sizes` [N]."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1])


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


def loss_range(
    counting: Counting, model: ModelConfig, train: TrainConfig, batches: Batches, tokens: float
) -> tuple[float, float]:
    """The lowest and the highest loss to expect of reading so many tokens."""
    *rungs, six, twelve = counting.nats
    rungs = [math.log(model.vocab_size), *rungs, min(six, twelve)]
    ladder = np.minimum.accumulate(np.log(np.array(rungs) + LEAST))
    features = _features(counting, model, train, batches, tokens)
    place = float(np.dot(PLACE, features))
    error = UNKNOWN if math.isnan(counting.error) else min(MOST_ERROR, counting.error / (counting.least + LEAST))
    reach = RUNGS + EARLY * max(0.0, 0.5 - features[1])
    by_heart = REPEATED * counting.repeated / (1 + tokens / batches.predictions)
    beyond = PART + by_heart + error
    low = _loss(ladder, place + reach) - beyond - (FAR if _is_flat(counting) else 0.0)
    high = _loss(ladder, place - reach) + beyond
    return max(0.0, math.exp(low) - LEAST), max(LEAST, math.exp(high) - LEAST)


def _features(
    counting: Counting, model: ModelConfig, train: TrainConfig, batches: Batches, tokens: float
) -> list[float]:
    """1; ln steps, and what differs where they are few; passes; how little text; width; a low learning rate;
    structure; text beyond the sample."""
    passes = tokens / batches.predictions
    steps = math.log(max(1.0, passes * batches.steps_per_epoch))
    adaptive = train.optimizer in ("adam", "adamw")
    return [
        1.0,
        steps - 5,
        max(4.6 - steps, 0.0),
        math.log1p(passes / 10),
        min(math.log(batches.predictions / 1e5), 0.0),
        math.log(min(model.hidden, 512) / 256),
        min(math.log(train.lr / 1e-2), 0.3) if adaptive else 0.0,
        math.log((counting.nats[0] + LEAST) / (counting.least + LEAST)),
        max(0.0, math.log(min(tokens, batches.predictions) / counting.learned)) if tokens else 0.0,
    ]


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


def _seconds(corpus: Corpus, model: ModelConfig, train: TrainConfig, batches: Batches, speed: Speed) -> float:
    """Training, validations, saving; and starting."""
    size = sum(p.size for p in parameter_spec(model)) * 4
    symbols = corpus.held_out.predictions
    reading = symbols / speed.reading
    validation = reading + FILE_SECONDS + size / DISK
    end = (
        START_SECONDS + validation + READINGS * min(symbols, MOST) / speed.reading + 2 * FILE_SECONDS + 4 * size / DISK
    )
    budget = Budget.of(train, batches.steps_per_epoch)
    if budget.steps is None:
        return end + (budget.seconds or 0.0)
    interval = train.validate_every or validation_interval(batches, corpus.held_out)
    a_step = batches.predictions / batches.steps_per_epoch / speed.training
    return end + budget.steps * a_step + (budget.steps - 1) // interval * validation
