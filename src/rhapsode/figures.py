"""Numbers as people read them."""

from __future__ import annotations


def figure(value: float, digits: int = 4, width: int = 10) -> str:
    """`value` with so many digits after the point; in short, as 1.2e+30, where that has more than `width` characters:
    a training that diverges comes to losses of thirty digits."""
    text = f"{value:.{digits}f}"
    return text if len(text) <= width else f"{value:.2g}"
