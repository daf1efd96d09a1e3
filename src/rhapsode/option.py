"""Fields of frozen dataclasses that are declared once, by `option`: default, help text and bounds.

The checks of `Config` classes, the command line and the documentation are all made from that declaration.
"""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from functools import lru_cache
from typing import Any, Literal

from rhapsode.errors import ConfigError

LARGEST_BIAS = 1000
"""Of a symbol's logit: more than any that a model gives."""


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    planned: bool = False,
    derived: bool = False,
    metavar: str | None = None,
    other: tuple[str, str] | None = None,
) -> Any:
    """Declare a field: `low`/`high` are inclusive bounds, `above`/`below` exclusive ones.

    `derived` fields follow from the data and are no options of the command line; `metavar` is the word that stands for
    the value in its help. `other`: a pattern of values that a field of named values may have beside them, and what they
    are in words.
    """
    bounds = {"low": low, "high": high, "above": above, "below": below}
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "bounds": bounds,
            "planned": planned,
            "derived": derived,
            "metavar": metavar,
            "other": other,
        },
    )


class Config:
    """Shared behaviour of the configuration classes: checking, and JSON in and out."""

    def __post_init__(self) -> None:
        hints = _hints(typing.cast(Any, type(self)))
        for field in dataclasses.fields(typing.cast(Any, self)):
            value = checked(field, hints[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Conditions between fields; overridden where there are any."""

    def to_json(self) -> dict[str, Any]:
        """Every field by name, as JSON can hold it."""
        return {
            k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(typing.cast(Any, self)).items()
        }

    @classmethod
    def from_json(cls, values: Any) -> typing.Self:
        """The configuration that `to_json` described.

        Raises:
            ConfigError: `values` is no object, or has a field that is unknown or out of bounds.
        """
        if not isinstance(values, dict):
            raise ConfigError(cls.__name__, values, "an object of named fields")
        known = {f.name for f in dataclasses.fields(typing.cast(Any, cls))}
        for name in values:
            if name not in known:
                raise ConfigError(str(name), values[name], f"only fields of {cls.__name__}")
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        except TypeError as error:
            raise ConfigError(cls.__name__, sorted(values), f"all required fields ({error})") from None


@lru_cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def checked(field: Any, hint: Any, value: Any) -> Any:
    """`value` if it is of the field's type and within its bounds; whole numbers become floats where floats go.

    Raises:
        ConfigError: it is not.
    """
    kind = kind_of(hint)
    if value is None and kind is not hint:
        return None
    if typing.get_origin(kind) is Literal:
        pattern, said = field.metadata["other"] or (None, None)
        if value in typing.get_args(kind) or (pattern and isinstance(value, str) and re.fullmatch(pattern, value)):
            return value
        raise ConfigError(field.name, value, ", ".join([*typing.get_args(kind), *([said] if said else [])]))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is int and hasattr(value, "__index__") and not isinstance(value, bool):
        value = value.__index__()
    if kind == tuple[str, ...]:
        return _checked_strings(field, value)
    if kind == tuple[float, ...]:
        return _checked_numbers(field, value)
    if kind == tuple[tuple[str | int, float], ...]:
        return _checked_pairs(field, value)
    if kind in (int, float, str, bool) and type(value) is not kind:
        raise ConfigError(field.name, value, allowed(field, kind))
    if kind in (int, float) and not _within(value, field.metadata["bounds"]):
        raise ConfigError(field.name, value, allowed(field, kind))
    return value


def kind_of(hint: Any) -> Any:
    """A field's type without its ``| None``."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in typing.get_args(hint) else hint


def whole_number(option: str, value: Any, low: int) -> int:
    """`value` if it is a whole number from `low` on.

    Raises:
        ConfigError: it is not.
    """
    number = value.__index__() if hasattr(value, "__index__") and not isinstance(value, bool) else low - 1
    if number < low:
        raise ConfigError(option, value, f"a whole number from {low}")
    return number


def _checked_strings(field: Any, value: Any) -> tuple[str, ...]:
    """`value` as a tuple of strings; one string stands for itself."""
    strings = (value,) if isinstance(value, str) else value
    if not isinstance(strings, tuple | list) or not all(isinstance(s, str) and s for s in strings):
        raise ConfigError(field.name, value, "strings that are not empty")
    return tuple(strings)


def _checked_numbers(field: Any, value: Any) -> tuple[float, ...]:
    """`value` as a tuple of numbers within the bounds: of numbers, of one, or of texts like ``1,0.5``."""
    said = f"numbers {bounds_text(field)}".strip()
    given = value if isinstance(value, tuple | list) else (value,)
    parts = [part for v in given for part in (v.split(",") if isinstance(v, str) else (v,))]
    try:
        numbers = tuple(map(float, parts))
    except (TypeError, ValueError):
        raise ConfigError(field.name, value, said) from None
    if any(isinstance(part, bool) for part in parts) or not all(_within(n, field.metadata["bounds"]) for n in numbers):
        raise ConfigError(field.name, value, said)
    return numbers


def _checked_pairs(field: Any, value: Any) -> tuple[tuple[str | int, float], ...]:
    """`value` as pairs of a symbol (text, or an id) and a number: of a dict, of pairs, or of texts like ``e=-1.5``."""
    said = f"a number from -{LARGEST_BIAS} to {LARGEST_BIAS} for each symbol: {field.metadata['metavar']}"
    pairs: list[tuple[str | int, float]] = []
    given = value.items() if isinstance(value, dict) else value if isinstance(value, tuple | list) else (None,)
    for pair in given:
        try:
            symbol, number = pair.rsplit("=", 1) if isinstance(pair, str) else typing.cast(Any, pair)
            number = float(number)
        except (TypeError, ValueError):
            raise ConfigError(field.name, value if pair is None else pair, said) from None
        if type(symbol) not in (str, int) or symbol == "" or not -LARGEST_BIAS <= number <= LARGEST_BIAS:
            raise ConfigError(field.name, pair, said)
        pairs.append((symbol, number))
    return tuple(pairs)


def _within(value: float, bounds: dict[str, float | None]) -> bool:
    low, high, above, below = bounds["low"], bounds["high"], bounds["above"], bounds["below"]
    return (
        math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
    )


def allowed(field: Any, kind: type) -> str:
    """What values of `kind` the field allows, in words."""
    name = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[kind]
    return f"{name} {bounds_text(field)}".rstrip()


def bounds_text(field: Any) -> str:
    """The field's bounds in words: ``from 0 to 1``, ``above 0``, or nothing."""
    words = {"low": "from", "above": "above", "high": "to", "below": "below"}
    given = {k: v for k, v in field.metadata["bounds"].items() if v is not None}
    parts = [f"{words[k]} {'2^63-1' if given[k] == 2**63 - 1 else given[k]}" for k in words if k in given]
    return (" " if {"low", "high"} <= given.keys() else ", ").join(parts)
