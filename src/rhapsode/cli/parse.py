"""From the words of a command line to a command's options.

Words are sorted by field (`rhapsode.cli.plainly`, else `rhapsode.cli.by_tyro`): for each the word that was found; of a
flag True or False, of what is repeatable or takes all words, all of them; for the fields of a configuration class an
object that has each. Their values are converted and checked here, by the same rules as in Python, so that a mistake is
one line in the same words.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from rhapsode.cli.fields import Field, config_fields, fields_of, is_many, is_positional, metavar_of
from rhapsode.cli.options import UsageError
from rhapsode.cli.plainly import sorted_plainly
from rhapsode.errors import ConfigError
from rhapsode.option import allowed, checked, kind_of

T = TypeVar("T")
NOTHING: tuple[Any, ...] = (None, [], ())
"""What is found for a field that was not named."""


def parse(cls: type[T], words: Sequence[str], prog: str) -> T:
    """The options that `words` name. Prints the help and exits (SystemExit 0) when asked for.

    Raises:
        ConfigError: a value is not allowed.
        UsageError: an option or argument is unknown or missing, or lacks its value.
    """
    found = sorted_plainly(cls, words)
    if found is None:
        from rhapsode.cli.by_tyro import sorted_by_tyro

        found = sorted_by_tyro(cls, words, prog)
    return cls(**_values(cls, found))


def _values(cls: type, found: dict[str, Any]) -> dict[str, Any]:
    """The dataclass's fields from the words that were found for them."""
    hints, values = typing.get_type_hints(cls), {}
    for field in fields_of(cls):
        words = found[field.name]
        if "config" in field.metadata:
            group = {f.name: (f, h, getattr(words, f.name)) for f, h in config_fields(field)}
            values[field.name] = {n: _value(f, h, w) for n, (f, h, w) in group.items() if w not in NOTHING}
        elif words not in NOTHING:
            values[field.name] = _named(field, hints[field.name], words)
        elif field.default is dataclasses.MISSING:
            name = str(metavar_of(field, hints[field.name])).rstrip(".")
            raise UsageError(f"{name} is missing: {field.metadata['help']}")
    return values


def _named(field: Field, hint: Any, words: Any) -> Any:
    """The value of a field of the command itself; an argument goes by its word in the help."""
    try:
        return _value(field, hint, words)
    except ConfigError as error:
        if is_positional(field):
            raise UsageError(f"{metavar_of(field, hint)}: found {error.found!r}, allowed: {error.allowed}") from None
        raise


def _value(field: Field, hint: Any, words: Any) -> Any:
    """The value that the words mean, checked."""
    kind = kind_of(hint)
    if kind == tuple[float, ...]:
        return checked(field, hint, words[0] if len(words) == 1 else tuple(words))
    if is_many(hint):
        return tuple(words)
    if kind in (int, float):
        try:
            words = kind(words)
        except ValueError:
            raise ConfigError(field.name, words, allowed(field, kind)) from None
    return checked(field, hint, words)
