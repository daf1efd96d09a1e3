"""Training a torch contestant for so many seconds: AdamW, its learning rate by the clock, gradients clipped by norm.

The clock runs from the first step and stands still while the network is validated: ten times, on the beginning of
the held-out part. The weights of the best validation are the result, as they are of `rhapsode train`.
"""

from __future__ import annotations

import copy
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rhapsode.config import TrainConfig
from rhapsode.text.batches import Batch, Batches, make_batches
from rhapsode.text.corpus import Corpus, Part
from rhapsode.training.schedule import learning_rate

from .network import Network, nats_of, nats_per_token

VALIDATIONS, VALIDATED = 10, 20_000
"""How often, and on how many symbols."""
TRIAL_STEPS = 5


class Trained(NamedTuple):
    """How it went."""

    steps: int
    symbols: int
    """read, repeated ones counted again"""
    best_at: float
    """part of the budget after which the weights were best"""
    precision: str
    """fp32 or bf16 (autocast), whichever was faster"""


def train(network: Network, corpus: Corpus, config: TrainConfig) -> Trained:
    """Train for `config.minutes`; the network is left with its best weights."""
    assert config.minutes
    batches, budget = make_batches(corpus.train, config), 60 * config.minutes
    precision = _faster(network, batches, config)
    trainer = _Trainer(network, batches, config, precision)
    best, used, checked = (np.inf, 0.0, network.state_dict()), 0.0, 0
    while used < budget:
        begun = time.perf_counter()
        trainer.step(used / budget)
        used += time.perf_counter() - begun
        if used >= budget * (checked + 1) / VALIDATIONS:
            checked = int(used / budget * VALIDATIONS)
            if (loss := _validated(network, corpus.held_out, config)) < best[0]:
                best = loss, min(1.0, used / budget), copy.deepcopy(network.state_dict())
    network.load_state_dict(best[2])
    return Trained(trainer.number, trainer.symbols, best[1], precision)


class _Trainer:
    """Optimiser steps on one batch after the other."""

    def __init__(self, network: Network, batches: Batches, config: TrainConfig, precision: str):
        self.network, self.batches, self.config, self.bf16 = network, batches, config, precision == "bf16"
        self.weights = list(network.parameters())
        groups = [
            {"params": [w for w in self.weights if w.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [w for w in self.weights if w.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)
        self.number = self.symbols = 0
        self.state: tuple[Tensor, ...] | None = None

    def step(self, progress: float) -> None:
        """The next one, when the part `progress` of the budget is used up."""
        self.network.train()
        batch = self.batches.at(self.number)
        loss = self._loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, self.config.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.number, progress)
        self.optimizer.step()
        self.number += 1
        self.symbols += batch.counted

    def _loss(self, batch: Batch) -> Tensor:
        inputs, targets = torch.tensor(batch.inputs).long(), torch.tensor(batch.targets).long()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits, state = self.network(inputs, None if batch.reset.all() else self.state)
        self.state = tuple(tensor.detach() for tensor in state)
        nats = nats_of(logits, targets)
        return (nats if batch.weights is None else nats * torch.tensor(batch.weights)).sum() / batch.divisor


def _faster(network: Network, batches: Batches, config: TrainConfig) -> str:
    """The precision in which the first steps take less time, after one to warm up; of a copy."""
    seconds = {}
    for precision in ("fp32", "bf16"):
        trainer = _Trainer(copy.deepcopy(network), batches, config, precision)
        trainer.step(0)
        begun = time.perf_counter()
        for _ in range(TRIAL_STEPS):
            trainer.step(0)
        seconds[precision] = time.perf_counter() - begun
    return min(seconds, key=lambda precision: seconds[precision])


def _validated(network: Network, part: Part, config: TrainConfig) -> float:
    if config.batches == "documents":
        return nats_per_token(network, part, "documents")
    beginning = Part(part.tokens[: VALIDATED + 1], part.starts, part.chars, part.bytes)
    return nats_per_token(network, beginning, "reset", 1024)
