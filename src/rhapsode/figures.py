"""Numbers as people read them."""

from __future__ import annotations

import math


def figure(value: float, digits: int = 4, width: int = 10) -> str:
    """`value` with so many digits after the point; in short, as 1.2e+30, where that has more than `width` characters:
    a training that diverges comes to losses of thirty digits."""
    text = f"{value:.{digits}f}"
    return text if len(text) <= width else f"{value:.2g}"


def clock(seconds: float) -> str:
    """1:05, 2:03:10; ? where it is not finite."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def duration(seconds: float) -> str:
    """8.2 s, 1:05 minutes, 2:03:10 hours."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{clock(seconds)} {'hours' if round(seconds) >= 3600 else 'minutes'}"
