"""What a command prints: its result on stdout (with --json one object, last), everything else on stderr."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from typing import Any

NBSP = "\N{NO-BREAK SPACE}"
"""In a `paragraph`, between words that stay on one line."""


def note(text: str) -> None:
    """One line on stderr, beside the result."""
    print(text, file=sys.stderr, flush=True)


def paragraph(label: str, text: str, width: int = 10, columns: int | None = None) -> str:
    """`text` behind `label`, which has a column of at least `width` characters, in lines of at most `columns`: without
    it, those of the terminal (80 where there is none). `NBSP` becomes a space."""
    columns = shutil.get_terminal_size().columns if columns is None else columns
    first = f"{label:<{width}}" if len(label) < width else f"{label}  "
    lines = textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )
    return "\n".join(lines).replace(NBSP, " ")


def print_json(value: dict[str, Any]) -> None:
    """`value` as one line of JSON on stdout. Numbers that JSON does not know (infinite, not a number) become null."""
    print(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    """`value` of what JSON has: dicts, lists, text, finite numbers; numpy's scalars and paths are converted."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
