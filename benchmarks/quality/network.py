"""What a torch contestant is: a network that predicts, what it costs a text, and the check that this is true.

T symbols, B texts side by side, V symbols in the vocabulary. A state is a tuple of tensors, None the initial one.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rhapsode.errors import BenchmarkError
from rhapsode.evaluate import Mode, Spans, spans
from rhapsode.text.corpus import Part

PIECE, ROWS = 512, 64
"""Symbols of a text read in one go, and texts side by side, at most."""
TOLERANCE = 1e-3
"""Nats by which two ways to the same figure may differ."""


class Network(nn.Module):
    """A recurrent language model: forward(ids [T, B], state) gives logits [T, B, V] and the state after."""

    def seen(self, place: int) -> int:
        """How many symbols the prediction at `place` (from 0) of a text is made from: all so far."""
        return place + 1

    @torch.inference_mode()
    def nats(self, ids: Tensor, piece: int = PIECE) -> Tensor:
        """-log p [N, B] of ids [N + 1, B] but the first, from the initial state; `piece` symbols in one go."""
        found, state = [], None
        for first in range(0, len(ids) - 1, piece):
            inputs, targets = ids[first:-1][:piece], ids[first + 1 :][:piece]
            logits, state = self(inputs, state)
            found.append(nats_of(logits, targets))
        return torch.cat(found)


class Uniform(Network):
    """Every symbol is as probable as any other."""

    def __init__(self, vocab_size: int):
        super().__init__()
        self.vocab_size = vocab_size

    def forward(self, ids: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        return torch.zeros(*ids.shape, self.vocab_size), ()


def nats_of(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p [T, B] of targets."""
    flat = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return flat.view(targets.shape)


def nats_per_token(network: Network, part: Part, mode: Mode, context: int | None = None) -> float:
    """The mean over all of `part` after its first symbol, each predicted once (see `rhapsode.evaluate`)."""
    network.eval()
    found = np.full(len(part.tokens) - 1, np.nan)
    tokens = torch.tensor(np.asarray(part.tokens, np.int64))
    for starts, sizes in _groups(spans(part, mode, context)):
        index = starts + np.arange(int(sizes.max()) + 1)[:, None]
        nats = network.nats(tokens[np.minimum(index, len(found))]).numpy()
        inside = np.arange(len(nats))[:, None] < sizes
        found[index[:-1][inside]] = nats[inside]
    if not np.isfinite(found).all():
        raise BenchmarkError(f"{np.count_nonzero(~np.isfinite(found)):,} of {len(found):,} symbols were not predicted")
    return math.fsum(found) / len(found)


def _groups(cut: Spans) -> list[Spans]:
    """Spans of like size together."""
    order = np.argsort(cut.sizes, kind="stable")
    groups = [order[first : first + ROWS] for first in range(0, len(order), ROWS)]
    return [Spans(cut.starts[group], cut.sizes[group]) for group in groups]


def check(network: Network, part: Part, vocab_size: int) -> None:
    """That losses are what they seem: no prediction sees what it predicts; a text costs as much in pieces, with the
    state carried, as when each symbol is predicted by itself; where nothing is known each costs log V.

    Raises:
        BenchmarkError: one is not so.
    """
    network.eval()
    ids = torch.tensor(np.asarray(part.tokens[:151], np.int64))[:, None]
    with torch.inference_mode():
        whole, begun = network(ids[:64])[0], network(ids[:40])[0]
        by_itself = _one_by_one(network, ids)
    same = {
        "a logit, with later symbols and without": (whole[:40], begun),
        "nats": (network.nats(ids)[:, 0], by_itself),
        "nats, in pieces of 50": (network.nats(ids, 50)[:, 0], by_itself),
        "nats where nothing is known": (Uniform(vocab_size).nats(ids), torch.tensor(math.log(vocab_size))),
    }
    for what, (found, expected) in same.items():
        if (off := float((found - expected).abs().max())) > TOLERANCE:
            raise BenchmarkError(f"no parity: {type(network).__name__}: {what}: off by {off:.2g}")


def _one_by_one(network: Network, ids: Tensor) -> Tensor:
    """-log p [N] of ids [N + 1, 1] but the first, each in a call of its own."""
    places = range(len(ids) - 1)
    logits = torch.cat([network(ids[t + 1 - network.seen(t) : t + 1])[0][-1] for t in places])
    return -torch.log_softmax(logits, 1).gather(1, ids[1:])[:, 0]
