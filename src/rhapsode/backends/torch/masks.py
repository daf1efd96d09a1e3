"""The dropout masks of `rhapsode.nn.masks` in torch: the same bits on every device.

torch has few operations on uint32, so the hash runs on int32, whose products wrap around alike; a logical shift is an
arithmetic one whose upper bits are cleared.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rhapsode.nn import masks


def keep(key: int, rows: Tensor, columns: int, p: float) -> Tensor:
    """The rows with these numbers, [R] int32, of the mask of `rhapsode.nn.masks.keep`: bool [R, columns]."""
    words = masks.pitch(columns) // 4
    counter = rows[:, None] * words + torch.arange(words, dtype=torch.int32, device=rows.device)
    return _mix(counter ^ _signed(key)).view(torch.uint8)[:, :columns] >= masks.threshold(p)


def keep_entry(key: int, rows: Tensor, entries: Tensor, columns: int, p: float) -> Tensor:
    """Of each of those rows only one entry: bool [R] for entries [R] int32."""
    bits = _mix((rows * (masks.pitch(columns) // 4) + entries // 4) ^ _signed(key))
    return (bits >> (entries % 4 * 8)) & 0xFF >= masks.threshold(p)


def _mix(x: Tensor) -> Tensor:
    x = x ^ _shift(x, 16)
    x = x * _signed(0x7FEB352D)
    x = x ^ _shift(x, 15)
    x = x * _signed(0x846CA68B)
    return x ^ _shift(x, 16)


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def _signed(x: int) -> int:
    """The int32 with the bits of this uint32."""
    return x - (1 << 32) if x >= 1 << 31 else x


@dataclass(frozen=True)
class Dropout:
    """The masks of one training step, for `rows` sequences from `first` on of a batch of `batch_size`."""

    seed: int
    step: int
    batch_size: int
    first: int
    rows: int
    each_step: bool
    """whether a time step draws masks of its own (`ModelConfig.dropout_mask`)"""
    part: float = 1.0
    """of every rate (`Update.dropout`)"""

    def vectors(self, site: str, x: Tensor, p: float) -> Tensor:
        """x [T, B, D] with its entries dropped at `site`."""
        p *= self.part
        if masks.threshold(p) == 0:
            return x
        T, B, D = x.shape
        kept = keep(self._key(site), self._rows(T, x.device).flatten(), D, p).view(-1, B, D)
        return x * (kept * masks.scale(p))

    def one_hot(self, site: str, ids: Tensor, vocab_size: int, p: float) -> Tensor:
        """What is left, [T, B, 1], of the one entry of the one-hot vectors of ids [T, B]: 0 or the scale."""
        p *= self.part
        rows = self._rows(len(ids), ids.device).expand_as(ids)
        kept = keep_entry(self._key(site), rows, ids, vocab_size, p)
        return (kept * masks.scale(p))[..., None]

    def recurrent(self, site: str, weight: Tensor, p: float) -> Tensor:
        """weight_hh [M*H, H] with its entries dropped at `site` (DropConnect)."""
        p *= self.part
        if masks.threshold(p) == 0:
            return weight
        MH, H = weight.shape
        kept = keep(self._key(site), torch.arange(MH, dtype=torch.int32, device=weight.device), H, p)
        by_unit = kept.view(H, MH // H, H).permute(1, 2, 0).reshape(MH, H)  # [k, m, u] -> [m, u, k]
        return weight * (by_unit * masks.scale(p))

    def _key(self, site: str) -> int:
        return masks.key(self.seed, self.step, site)

    def _rows(self, steps: int, device: torch.device) -> Tensor:
        """Row numbers [T, B], or [1, B] where all time steps share a mask."""
        times = torch.arange(steps if self.each_step else 1, dtype=torch.int32, device=device)
        own = torch.arange(self.first, self.first + self.rows, dtype=torch.int32, device=device)
        return times[:, None] * self.batch_size + own
