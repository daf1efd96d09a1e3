"""What watches a run. The loop tells its observers what happened; it never depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rhapsode.training.progress import Progress


@dataclass(frozen=True)
class Report:
    """One moment of a run."""

    progress: Progress
    used: float
    """part of the budget that is used up, 0 to 1"""
    lr: float
    epoch: float
    grad_norm: float
    tokens_per_second: float
    """since the report before"""
    seconds_left: float


class Observer(Protocol):
    """Sees a run: about once a second a step, every validation, now and then a sample of the model's text."""

    def step(self, report: Report) -> None: ...

    def validation(self, report: Report, best: bool) -> None: ...

    def sample(self, report: Report, text: str) -> None: ...

    def close(self) -> None: ...
