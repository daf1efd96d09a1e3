"""What commands share that measure text: the label it is read after, warnings, and lines of progress."""

from __future__ import annotations

import time
from typing import Any

from rhapsode.cli.output import note
from rhapsode.option import option

SECONDS = 5.0
"""Between two lines of progress."""


def label_option() -> Any:
    """Declare the field `label` of commands that measure text."""
    return option(None, "label of all texts, for a model with labels; without it tables are read with those they have")


def note_unknown(count: int) -> None:
    """Warn of figures that cannot be compared."""
    if count:
        note(
            f"tokens that stand for text the model has no symbol for: {count:,}; do not compare these bits per "
            f"character with those of a model that knows all of the text"
        )


class Meter:
    """Says on stderr how far a long piece of work has come."""

    def __init__(self, what: str):
        self.what, self.begun = what, time.monotonic()
        self.said = self.begun

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.said >= SECONDS:
            self.said = now
            speed = done / (now - self.begun)
            left = round((total - done) / speed)
            note(f"{self.what}: {100 * done / total:.0f} %, {speed:,.0f} tokens/s, {left:,} s left")
