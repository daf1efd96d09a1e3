"""What contestants do, and who they are."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol

from rhapsode.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Task:
    """A model with random weights, and what is done with it: the same for all contestants that are compared."""

    work: str
    """`training`: whole optimiser steps; `writing`: symbol after symbol"""
    model: ModelConfig
    batch_size: int
    """B sequences side by side"""
    length: int = 64
    """T symbols a step; of no meaning for writing"""

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "model": self.model.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Task:
        return cls(**{**values, "model": ModelConfig.from_json(values["model"])})


class Entry(NamedTuple):
    """How a contestant does a task."""

    backend: str
    """native or torch"""
    precision: str
    """fp32 or bf16; int8 for the native engine; bf16 is autocast for torch"""
    embedded: bool = False
    """torch, training: an embedding as wide as the layer in place of one-hot symbols"""

    @property
    def name(self) -> str:
        return f"{self.backend} {self.precision}" + " embedded" * self.embedded


class Contestant(Protocol):
    """An entry at work on a task."""

    def probe(self) -> list[float]:
        """Figures that show what it computes. Called once, before any work."""
        ...

    def work(self) -> int:
        """Do a piece of the work; the tokens it came to."""
        ...
