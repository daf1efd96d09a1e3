"""A small GPT, as nanoGPT sets it for a CPU: learned positions, pre-norm blocks without biases, tied embedding.

    x = wte[id] + wpe[position];   for each block: x += attention(norm(x)); x += mlp(norm(x));   logits = norm(x) wteᵀ

Weights are drawn from N(0, 0.02), those that end a residual branch from N(0, 0.02 / √(2 layers)) (Radford et al. 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .network import Network, nats_of

WINDOW, STRIDE = 64, 16
"""Symbols a prediction can see at most, and by how many the windows of a long text lie apart: each symbol of it is
predicted from the last 49 to 64, or from all there are at its beginning."""


class GPT(Network):
    """Reads no more than `WINDOW` symbols; has no state."""

    def __init__(self, vocab_size: int, layers: int = 4, heads: int = 4, width: int = 128):
        super().__init__()
        self.symbols, self.positions = nn.Embedding(vocab_size, width), nn.Embedding(WINDOW, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                ends_branch = name.endswith(("down.weight", "project.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if ends_branch else 0.02)

    def forward(self, ids: Tensor, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = self.symbols(ids.t()) + self.positions.weight[: len(ids)]
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.symbols.weight).transpose(0, 1), ()

    def seen(self, place: int) -> int:
        return place + 1 if place < WINDOW else WINDOW - STRIDE + 1 + place % STRIDE

    @torch.inference_mode()
    def nats(self, ids: Tensor, piece: int = 256) -> Tensor:
        """The first window predicts all it holds, each further one only its last `STRIDE` symbols; `piece` windows
        side by side."""
        T, B = len(ids) - 1, ids.shape[1]
        ids = functional.pad(ids, (0, 0, 0, -T % STRIDE))
        inputs, targets = ids[:-1], ids[1:]
        found = torch.empty(inputs.shape)
        found[:WINDOW] = nats_of(self(inputs[:WINDOW])[0], targets[:WINDOW])
        starts = torch.arange(WINDOW, max(WINDOW, len(inputs)), STRIDE)
        rows = torch.arange(B).repeat_interleave(len(starts))
        for start, row in zip(starts.repeat(B).split(piece), rows.split(piece), strict=True) if len(rows) else ():
            place = start + torch.arange(STRIDE - WINDOW, STRIDE)[:, None]
            new = place[-STRIDE:]
            found[new, row] = nats_of(self(inputs[place, row])[0][-STRIDE:], targets[new, row])
        return found[:T]


class Block(nn.Module):
    """Attention to what was before, then an MLP of four times the width: [B, T, D] to [B, T, D]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.attend, self.project = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        q, k, v = self.attend(self.norm_1(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(B, T, D))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))
