"""What was expected of a run before it, and how it is told to people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rhapsode.figures import duration, figure
from rhapsode.text.blocks import certainty

LITTLE_TEXT = 40_000
"""Symbols below which a network learns spelling and layout, and little more."""


@dataclass(frozen=True)
class Expectation:
    """Before a run. What is about the held-out loss is None where nothing is held out; of a model that has learned from
    other text already, no loss is expected."""

    seconds: float
    """of the whole command"""
    passes: float | None = None
    """over the training part; None: an older version did not tell"""
    low: float | None = None
    """held-out nats per token, at least"""
    high: float | None = None
    """and at most"""
    counting: float | None = None
    """nats per token of an n-gram of a sample of the text"""
    error: float | None = None
    """standard error of a loss on the held-out part; None also where that is too small to tell"""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self, chars: int, bits_per_char: float) -> Iterator[str]:
        """Lines for people.

        Args:
            chars: of the training part.
            bits_per_char: what turns nats per token into bits per character.
        """
        goes_on = self.low is None and self.counting is not None
        if chars < LITTLE_TEXT and not goes_on:
            yield (
                f"little text ({chars:,} characters): the model will learn its spelling and layout and repeat much of "
                "it; for more it needs a hundred times as much, or to go on --from a model of similar text"
            )
        passes = "" if self.passes is None else f", {_rounded(self.passes)} passes over the text"
        yield f"about {duration(self.seconds)} in all{passes}{self._loss(bits_per_char)}"
        if self.counting is not None:
            certain = certainty(self.counting, math.nan if self.error is None else self.error)
            yield f"held-out part: {certain}"

    def _loss(self, bits_per_char: float) -> str:
        if self.low is None or self.high is None:
            why = "nothing is held out" if self.counting is None else "it depends on the model that learns on"
            return f"; no held-out loss is expected: {why}"
        bits = f"{self.low * bits_per_char:.2f} to {self.high * bits_per_char:.2f} bits/char"
        return (
            f"; held-out loss {self.low:.3g} to {self.high:.3g} nats/token, {bits} (counting: {self.counting:.3g} nats)"
        )

    def compare(self, seconds: float, loss: float) -> str:
        """What came beside what was expected, in one line."""
        time = f"{duration(seconds)} (expected {duration(self.seconds)})"
        if self.low is None or self.high is None or not math.isfinite(loss):
            return time
        where = "below" if loss < self.low else "above" if loss > self.high else "within"
        return f"{time}; loss {figure(loss)}, {where} the expected {self.low:.3g} to {self.high:.3g}"


def _rounded(passes: float) -> str:
    """So exact as it can be known: 0.04, 3.7, 52."""
    return f"{passes:.0f}" if passes >= 10 else f"{passes:.2g}"
