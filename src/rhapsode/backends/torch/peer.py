"""What people write in torch: nn.LSTM, nn.GRU or nn.RNN and nn.Linear, with the weights of a `ModelConfig`.

Not a part of the backend: the named peer that rhapsode's speed is compared with (`rhapsode.benchmark`).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rhapsode.config import ModelConfig
from rhapsode.nn.forward import of_layer
from rhapsode.nn.spec import Parameters, initial_parameters

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
SYMBOLS = 8
"""Of each text, in a piece of work."""
THREADS = int(os.environ.get("OMP_NUM_THREADS", 0)) or torch.get_num_threads()


class Network(nn.Module):
    """Symbols [T, B] to logits [T, B, V], with rhapsode's initial weights.

    torch has biases that rhapsode has not (a second one in each gate, and one beside the table): they rest at
    zero, so that both train the same model. `embedded` puts an embedding [V, H], at first rows of the identity
    matrix, where one-hot symbols would be.
    """

    def __init__(self, config: ModelConfig, embedded: bool):
        super().__init__()
        V, H = config.vocab_size, config.hidden
        self.one_hot = V if config.input == "one-hot" and not embedded else 0
        width = config.embedding_size if config.input == "embedding" else H
        self.embedding = None if self.one_hot else nn.Embedding(V, width)
        self.recurrent = KINDS[config.cell](self.one_hot or width, H, config.layers)
        self.output = nn.Linear(H, V)
        with torch.no_grad():
            self._load(config, initial_parameters(config))

    def forward(self, ids: Tensor, state):
        x = functional.one_hot(ids, self.one_hot).float() if self.embedding is None else self.embedding(ids)
        hidden, state = self.recurrent(x, state)
        return self.output(hidden), state

    def _load(self, config: ModelConfig, parameters: Parameters) -> None:
        if self.embedding is not None and config.input == "embedding":
            self.embedding.weight.copy_(torch.tensor(parameters["embedding.weight"]))
        elif self.embedding is not None:
            nn.init.eye_(self.embedding.weight)
        for name, weight in self.recurrent.named_parameters():
            kind, layer = name.rsplit("_l", 1)
            own = {name: torch.tensor(value) for name, value in of_layer(parameters, int(layer)).items()}
            if kind == "weight_ih" and "table" in own:
                weight.zero_()[:, : config.vocab_size] = own["table"].t()
            elif kind in ("weight_ih", "weight_hh"):
                weight.copy_(own[kind])
            elif kind == "bias_ih" and "bias" in own:
                weight.copy_(own["bias"])
            elif kind == "bias_hh" and config.cell == "gru":
                weight.zero_().register_hook(_candidate_only)
            else:
                weight.zero_().requires_grad_(False)
        self.output.weight.copy_(torch.tensor(parameters["output.weight"]))
        self.output.bias.copy_(torch.tensor(parameters["output.bias"]))


def _candidate_only(gradient: Tensor) -> Tensor:
    """Of the gradient of nn.GRU's second bias [3 * H], the part that rhapsode has too."""
    both = len(gradient) // 3 * 2
    return torch.cat([torch.zeros_like(gradient[:both]), gradient[both:]])


class Trainer:
    """Whole optimiser steps on symbols `ids` [T + 1, B], in fp32 or under bf16 autocast."""

    def __init__(self, config: ModelConfig, ids: np.ndarray, bf16: bool, embedded: bool):
        self._network, self._bf16 = Network(config, embedded), bf16
        self._weights = [w for w in self._network.parameters() if w.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.02, fused=True)
        self._inputs, self._targets = torch.tensor(ids[:-1]).long(), torch.tensor(ids[1:]).long()
        self._state: Any = None

    def probe(self) -> list[float]:
        """Loss and norm of the gradient of the first step."""
        return list(self._step())

    def work(self) -> int:
        self._step()
        return self._targets.numel()

    def _step(self) -> tuple[float, float]:
        torch.set_num_threads(THREADS)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            logits, state = self._network(self._inputs, self._state)
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), self._targets.flatten())
        self._state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        self._optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step()
        return loss.item(), norm.item()


class Writer:
    """`streams` texts side by side, symbol by symbol: the network, softmax, torch.multinomial."""

    def __init__(self, config: ModelConfig, streams: int, probe: np.ndarray):
        self._network, self._probe = Network(config, embedded=False), torch.tensor(probe).long()
        self._ids = torch.zeros(1, streams, dtype=torch.long)
        self._state: Any = None

    @torch.inference_mode()
    def probe(self) -> list[float]:
        """Logits after each of the probe's symbols [T, 1]."""
        return self._network(self._probe, None)[0].flatten().tolist()

    @torch.inference_mode()
    def work(self) -> int:
        streams = self._ids.numel()
        torch.set_num_threads(1 if streams == 1 else THREADS)  # for one text, more only slow the small products down
        for _ in range(SYMBOLS):
            logits, self._state = self._network(self._ids, self._state)
            self._ids = torch.multinomial(torch.softmax(logits[0], -1), 1).t()
        return SYMBOLS * streams
