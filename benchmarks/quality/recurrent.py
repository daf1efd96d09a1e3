"""The recurrent networks that one could take from torch or from PyPI instead."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .network import Network

State = tuple[Tensor, ...]


class LSTM(Network):
    """nn.LSTM over one-hot symbols and a linear layer, as char-rnn has it."""

    def __init__(self, vocab_size: int, layers: int = 2, width: int = 128):
        super().__init__()
        self.vocab_size = vocab_size
        self.recurrent, self.output = nn.LSTM(vocab_size, width, layers), nn.Linear(width, vocab_size)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, after = self.recurrent(functional.one_hot(ids, self.vocab_size).float(), state)
        return self.output(hidden), after


class MinGRU(Network):
    """minLM of minGRU-pytorch: blocks of a minGRU and an MLP (Feng et al. 2024, arXiv:2410.01201).

    The package carries a state for one symbol at a time only; its layers do for more, so they are called from here.
    """

    def __init__(self, vocab_size: int, layers: int = 4, width: int = 128):
        from minGRU_pytorch.minLM import minLM

        super().__init__()
        self.model = minLM(num_tokens=vocab_size, dim=width, depth=layers)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        x, after = self.model.token_emb(ids.t()), []
        for number, (_, norm, recurrent, mlp_norm, mlp, _) in enumerate(self.model.layers):
            hidden, last = recurrent(norm(x), state and state[number], return_next_prev_hidden=True)
            x = x + hidden
            x = x + mlp(mlp_norm(x))
            after.append(last)
        return self.model.to_logits(self.model.norm(x)).transpose(0, 1), tuple(after)


class XLSTM(Network):
    """xLSTM's large architecture (Beck et al. 2025, arXiv:2503.13427), small, in the package's plain torch kernels."""

    def __init__(self, vocab_size: int, layers: int = 4, width: int = 128, heads: int = 4, chunk: int = 64):
        from xlstm.xlstm_large.model import xLSTMLarge, xLSTMLargeConfig

        super().__init__()
        self.chunk = chunk
        config = xLSTMLargeConfig(
            embedding_dim=width,
            num_heads=heads,
            num_blocks=layers,
            vocab_size=vocab_size,
            chunkwise_kernel="chunkwise--native_autograd",
            sequence_kernel="native_sequence__native",
            step_kernel="native",
            chunk_size=chunk,
            return_last_states=True,
        )
        self.model = xLSTMLarge(config)

    def train(self, mode: bool = True) -> XLSTM:
        """For training the package reads whole chunks only."""
        for block in self.model.backbone.blocks:
            block.mlstm_layer.mlstm_backend.config.mode = "train" if mode else "inference"
        return super().train(mode)

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        length = len(ids)
        if self.training:  # what comes behind has no influence; the state after it is of no use
            ids = functional.pad(ids, (0, 0, 0, -length % self.chunk))
        x, after = self.model.embedding(ids.t()), []
        for number, block in enumerate(self.model.backbone.blocks):
            x, own = block(x, state and state[3 * number : 3 * number + 3])
            after += own
        logits, cap = self.model.lm_head(self.model.backbone.out_norm(x)), self.model.config.output_logit_soft_cap
        return (cap * torch.tanh(logits / cap)).transpose(0, 1)[:length], tuple(after)
