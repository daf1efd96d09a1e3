"""Which word of a command line is for which field, where the words leave no question open.

They are sorted as tyro would (`rhapsode.cli.by_tyro`): importing it takes longer than writing a page of text.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from rhapsode.cli.fields import config_fields, fields_of, is_many, is_positional, spelling
from rhapsode.option import kind_of


def sorted_plainly(cls: type, words: Sequence[str]) -> dict[str, Any] | None:
    """What `sorted_by_tyro` finds, where the words are arguments, then options in full, repeated only if they may be,
    with values that begin with no hyphen; else None."""
    takes, named = dict(_takes(cls)), dict[str, Any]()
    options = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    rest = iter(words[options:])
    for word in rest:
        option, equals, value = word.partition("=")
        name, kind = takes.get(option, ("", None))
        if kind is str or kind is list:
            value = value if equals else next(rest, "-")
            if (kind is str and name in named) or (not equals and value.startswith("-")):
                return None
            named[name] = value if kind is str else [*named.get(name, []), value]
        elif kind is None or equals or name in named:
            return None
        else:
            named[name] = kind
    return _laid_out(cls, words[:options], named)


def _takes(cls: type) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Each option as it is spelled, with the field that it is for, and what it takes: a word (str), one more each time
    (list), or none, as it stands for True or False."""
    hints = typing.get_type_hints(cls)
    for outer in fields_of(cls):
        pair = "config" in outer.metadata
        for field, hint in config_fields(outer) if pair else [(outer, hints[outer.name])]:
            name = spelling(field.name)
            if kind_of(hint) is bool:
                yield name, (field.name, True)
                if pair:
                    yield "--no-" + name.removeprefix("--"), (field.name, False)
            elif not is_positional(field):
                yield name, (field.name, list if is_many(hint) else str)


def _laid_out(cls: type, arguments: Sequence[str], named: dict[str, Any]) -> dict[str, Any] | None:
    """The words of all fields, from the arguments and those that were named by field; None if arguments are left."""
    hints, found = typing.get_type_hints(cls), dict[str, Any]()
    for field in fields_of(cls):
        if "config" in field.metadata:
            found[field.name] = types.SimpleNamespace(**{f.name: named.get(f.name) for f, _ in config_fields(field)})
        elif not is_positional(field):
            found[field.name] = named.get(field.name)
        elif is_many(hints[field.name]):
            found[field.name], arguments = tuple(arguments), ()
        else:
            found[field.name], arguments = arguments[0] if arguments else None, arguments[1:]
    return None if arguments else found
