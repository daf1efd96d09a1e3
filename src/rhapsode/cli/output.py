"""What a command prints: its result on stdout (with --json one object, last), everything else on stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import Any


def note(text: str) -> None:
    """One line on stderr, beside the result."""
    print(text, file=sys.stderr, flush=True)


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
