"""Which text a training step sees, as a pure function of (seed, step): any step can be computed again.

    streams     the text is cut into B contiguous streams, read side by side, T symbols a step, with carried state
                (truncated back-propagation through time); each epoch cuts it at a new random place
    windows     single windows of T symbols every `stride` symbols in random order, each from the initial state; the
                target is what follows every symbol, or only what follows the last
    documents   whole documents, each from the initial state, from its boundary symbol to its closing one; documents of
                like length share a batch, shorter ones are padded and masked, longer ones than T are cut into pieces

Nothing here grows with the corpus: tokens stay on disk, orders are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from rhapsode.config import TrainConfig
from rhapsode.errors import ConfigError, CorpusError
from rhapsode.text.pages import Pages
from rhapsode.text.shuffle import permute

if TYPE_CHECKING:
    from rhapsode.text.corpus import Part


class Batch(NamedTuple):
    """One training step's text. Row b of time t+1 follows row b of time t."""

    inputs: np.ndarray
    """ids [T, B], int32"""
    targets: np.ndarray
    """ids [T, B], int32: what follows each input"""
    weights: np.ndarray | None
    """[T, B], float32: how much each prediction counts (0 for padding); None: all count 1"""
    reset: np.ndarray
    """[B], bool: rows that start from the initial state instead of the carried one"""
    predictions: float | None = None
    """how many an average batch makes, where batches differ; None: as many as this one"""

    @property
    def counted(self) -> int:
        """How many predictions of this batch count."""
        return self.targets.size if self.weights is None else int(np.count_nonzero(self.weights))

    @property
    def divisor(self) -> float:
        """What the sum of the weighted losses is divided by to give the batch's loss.

        Where batches differ it is the same for all of them, so that each prediction of an epoch counts alike: with the
        batch's own weights, those of batches of short documents would count more than those of long ones.
        """
        if self.predictions is not None:
            return self.predictions
        total = self.inputs.size if self.weights is None else float(self.weights.sum(dtype=np.float64))
        assert total > 0, "a batch without a prediction that counts"
        return total


def cuts(rows: int, pieces: int) -> Iterator[slice]:
    """At most `pieces` nearly equal parts of a batch's rows, to be computed one after the other."""
    pieces = min(pieces, rows)
    return (slice(a, b) for a, b in pairwise(rows * i // pieces for i in range(pieces + 1)))


def loss_weights(starts: np.ndarray | int, ends: np.ndarray | int, length: int) -> np.ndarray:
    """`Batch.weights` [T, B], float32, for rows whose loss counts from a start to an end: 1 where starts <= t < ends.

    Args:
        starts, ends: positions in time [B], one of them may be a number for all rows; 0 <= start <= end <= T.
        length: T.

    Raises:
        ConfigError: a position is out of these bounds, or there is not one for each row.
    """
    try:
        first, last = np.broadcast_arrays(np.atleast_1d(starts), np.atleast_1d(ends))
    except ValueError:
        raise ConfigError("ends", f"{np.size(ends)} positions", f"as many as starts ({np.size(starts)})") from None
    wrong = (first < 0) | (first > last) | (last > length)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ConfigError("starts", f"{first[row]} to {last[row]} (row {row})", f"0 <= start <= end <= {length}")
    time = np.arange(length)[:, None]
    return ((time >= first) & (time < last)).astype(np.float32)


class Batches(Protocol):
    """All batches of a training run."""

    batch_size: int
    steps_per_epoch: int
    """steps in which every prediction of the text is made once (about once, where streams wrap around)"""
    predictions: int
    """predictions in an epoch"""

    def at(self, step: int) -> Batch:
        """The batch of `step`, from 0."""
        ...


def make_batches(part: Part, config: TrainConfig) -> Batches:
    """The batches that `config` asks for, over the tokens of `part`.

    Raises:
        CorpusError: there is too little text for even one prediction, or for one window.
    """
    if not part.predictions:
        raise CorpusError("the training text is empty")
    if config.batches == "windows":
        return Windows(part, config)
    if config.batches == "documents":
        return Documents(part, config)
    return Streams(part, config)


class Streams:
    """B contiguous streams. A text too short for B rows of T symbols gets fewer rows, then shorter ones.

    Of a single document the boundary symbol before it is left out: what stands, once an epoch, between the end of the
    text and its beginning teaches nothing, and may throw a network that meets it elsewhere into a state that it never
    leaves.
    """

    def __init__(self, part: Part, config: TrainConfig):
        self.tokens, self.seed = Pages(part.tokens), config.seed
        self.first = int(len(part.starts) == 1 and len(part.tokens) > 2)
        self.size = N = len(part.tokens) - self.first
        self.length = min(config.length, N - 1)
        self.batch_size = max(1, min(config.batch_size, N // self.length))
        self.span = N // self.batch_size
        self.steps_per_epoch = max(1, self.span // self.length)
        self.predictions = self.steps_per_epoch * self.batch_size * self.length

    def at(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        N = self.size
        start = np.random.default_rng((self.seed, epoch)).integers(N) + position * self.length
        rows = start + np.arange(self.batch_size) * self.span
        # Past the end the text begins anew.
        ids = self.tokens.take(self.first + (rows + np.arange(self.length + 1)[:, None]) % N)
        return Batch(ids[:-1], ids[1:], None, np.full(self.batch_size, position == 0))


class Windows:
    """Single windows; none is ever stored. The rows that the last batch of an epoch has too many count nothing."""

    def __init__(self, part: Part, config: TrainConfig):
        self.tokens, self.config = Pages(part.tokens), config
        self.batch_size, self.length = config.batch_size, config.length
        self.count = (part.predictions - self.length) // config.stride + 1
        if self.count < 1:
            raise CorpusError(
                f"the training text has {part.predictions} symbols, a window of length {self.length} needs more"
            )
        self.steps_per_epoch = -(-self.count // self.batch_size)
        self.predictions = self.count * (1 if config.targets == "last" else self.length)

    def at(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        index = position * self.batch_size + np.arange(self.batch_size)
        starts = permute(index % self.count, self.count, self.config.seed, epoch) * self.config.stride
        ids = self.tokens.take(starts + np.arange(self.length + 1)[:, None])
        first = self.length - 1 if self.config.targets == "last" else 0
        weights = loss_weights(first, np.where(index < self.count, self.length, first), self.length)
        mean = self.predictions / self.steps_per_epoch
        return Batch(ids[:-1], ids[1:], weights, np.ones(self.batch_size, bool), mean)


POOL = 128
"""Documents are sorted by length within pools of POOL * B of them."""


class Documents:
    """Whole documents. The order of the pools, of the batches in a pool and of equally long documents changes with
    every epoch; which documents share a pool does not, so that the number of batches in a pool is known."""

    def __init__(self, part: Part, config: TrainConfig):
        self.part, self.tokens, self.seed = part, Pages(part.tokens), config.seed
        self.batch_size, self.length = config.batch_size, config.length
        self.count = len(part.starts)
        self.pool = POOL * self.batch_size
        pools = range(-(-self.count // self.pool))
        sizes = [int(self._pieces(p)[1].size) for p in pools]
        self.batches_in_pool = np.array([-(-size // self.batch_size) for size in sizes])
        self.steps_per_epoch = int(self.batches_in_pool.sum())
        self.predictions = part.predictions
        self._layout: tuple[tuple[int, int], list[np.ndarray]] | None = None

    def at(self, step: int) -> Batch:
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.batches_in_pool))
        ends = np.cumsum(self.batches_in_pool[order])
        turn = int(np.searchsorted(ends, position, side="right"))
        within = position - (int(ends[turn - 1]) if turn else 0)
        starts, sizes = self._batches(epoch, int(order[turn]))[within]
        T = int(sizes.max())
        index = np.minimum(starts + np.arange(T + 1)[:, None], len(self.part.tokens) - 1)
        ids = self.tokens.take(index)
        weights = loss_weights(0, sizes, T)
        mean = self.predictions / self.steps_per_epoch
        return Batch(ids[:-1], ids[1:], weights, np.ones(self.batch_size, bool), mean)

    def _pieces(self, pool: int) -> tuple[np.ndarray, np.ndarray]:
        """Start and number of predictions of each piece of the pool's documents."""
        index = np.arange(pool * self.pool, min((pool + 1) * self.pool, self.count))
        documents = permute(index, self.count, self.seed)
        starts = self.part.starts[documents].astype(np.int64)
        following = np.minimum(documents + 1, self.count - 1)
        last = len(self.part.tokens) - 1
        ends = np.where(documents + 1 < self.count, self.part.starts[following], last).astype(np.int64)
        pieces = -(-(ends - starts) // self.length)
        rank = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        begin = np.repeat(starts, pieces) + rank * self.length
        return begin, np.minimum(np.repeat(ends, pieces) - begin, self.length)

    def _batches(self, epoch: int, pool: int) -> list[np.ndarray]:
        """The pool's batches in this epoch's order: starts and sizes [2, B] each; rows to fill up have size 0."""
        if self._layout is None or self._layout[0] != (epoch, pool):
            rng = np.random.default_rng((self.seed, epoch, pool))
            begin, size = self._pieces(pool)
            order = rng.permutation(size.size)
            order = order[np.argsort(size[order], kind="stable")]
            table = np.zeros((2, int(self.batches_in_pool[pool]) * self.batch_size), np.int64)
            table[:, : size.size] = begin[order], size[order]
            batches = np.split(table, int(self.batches_in_pool[pool]), axis=1)
            self._layout = (epoch, pool), [batches[i] for i in rng.permutation(len(batches))]
        return self._layout[1]
