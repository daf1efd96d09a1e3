"""What can be asked of the fields of a command's options (`rhapsode.cli.options`): how they are spelled, what they
take."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from rhapsode.option import kind_of

Field = Any
"""A field of a dataclass; mypy does not let `dataclasses.Field` be made by `rhapsode.option.option`."""


def spelling(name: str) -> str:
    """A field's name as an option of the command line; one that is a word of Python's has an underscore behind it. The
    name of an environment variable, in capitals, stays as it is."""
    return name if name.isupper() else "--" + name.rstrip("_").replace("_", "-")


class Described(NamedTuple):
    """An option, for completion."""

    name: str
    """as typed: ``--top-p``"""
    help: str
    choices: tuple[str, ...]
    """its values, where they are few and named"""
    flag: bool
    """it takes no value"""


def describe(cls: type) -> list[Described]:
    """All options of a command, ``--json`` among them."""
    found = []
    for field, hint in options_of(cls):
        kind, help = kind_of(hint), field.metadata["help"]
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
        found.append(Described(spelling(field.name), help, choices, kind is bool))
    return found


def fields_of(cls: type) -> tuple[Field, ...]:
    """All fields of a dataclass."""
    return dataclasses.fields(typing.cast(Any, cls))


def config_fields(field: Field) -> Iterator[tuple[Field, Any]]:
    """The fields, with their types, of the configuration class that `field` takes over."""
    cls = field.metadata["config"]
    hints = typing.get_type_hints(cls)
    for inner in fields_of(cls):
        if not inner.metadata["derived"] and inner.name not in field.metadata["omit"]:
            yield inner, hints[inner.name]


def options_of(cls: type) -> Iterator[tuple[Field, Any]]:
    """All fields of a command that are options, with their types, those of configuration classes among them."""
    hints = typing.get_type_hints(cls)
    for field in fields_of(cls):
        if "config" in field.metadata:
            yield from config_fields(field)
        elif not is_positional(field):
            yield field, hints[field.name]


def is_positional(field: Field) -> bool:
    """Whether the field is named by its place, not as an option."""
    return field.metadata.get("positional", False)


def is_many(hint: Any) -> bool:
    """Whether the field takes several words."""
    return typing.get_origin(hint) is tuple


def metavar_of(field: Field, hint: Any) -> str | None:
    """The word for the value: as declared, or the choices, or by its type. None for a flag."""
    kind = kind_of(hint)
    if field.metadata["metavar"]:
        return field.metadata["metavar"]
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(typing.get_args(kind)) + "}"
    return {int: "N", float: "X", bool: None}.get(kind, "TEXT")
