"""Which word of a command line is for which field, found by tyro, which also shows the help.

What tyro gets is a dataclass with the same fields, annotated with how to read them, that may all be left out. Types are
spelled such that tyro checks them without importing typeguard, which would take longer than all the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Optional

from rhapsode.cli.fields import (
    Field,
    config_fields,
    fields_of,
    is_many,
    is_positional,
    metavar_of,
    options_of,
    spelling,
)
from rhapsode.cli.options import CommandOptions, UsageError
from rhapsode.option import bounds_text, kind_of


def sorted_by_tyro(cls: type, words: Sequence[str], prog: str) -> dict[str, Any]:
    """Prints the help and exits (SystemExit 0) when asked for.

    Raises:
        UsageError: an option or argument is unknown, or an option lacks its value.
    """
    import tyro

    caught = io.StringIO()
    try:
        with contextlib.redirect_stderr(caught):
            found, unknown = tyro.cli(
                typing.cast(Any, _mirror(cls)),
                prog=prog,
                args=list(words),
                config=(tyro.conf.OmitArgPrefixes,),
                return_unknown_args=True,
            )
    except SystemExit as end:
        if end.code:
            raise UsageError(_complaint(cls, caught.getvalue(), words, prog)) from None
        raise
    if unknown:
        raise UsageError(_unknown(cls, unknown[0], prog))
    return vars(found)


def _mirror(cls: type) -> type:
    """The dataclass that tyro fills, with the words found for each field of `cls`; common options come last."""
    hints, common = typing.get_type_hints(cls), {field.name for field in fields_of(CommandOptions)}
    fields = sorted(fields_of(cls), key=lambda field: field.name in common)
    return _dataclass(inspect.getdoc(cls) or "", [_parameter(field, hints[field.name]) for field in fields])


def _dataclass(doc: str, fields: Sequence[tuple[str, Any, Any]]) -> type:
    """A dataclass with this docstring and these (name, annotation, `dataclasses.field`)."""
    made = dataclasses.make_dataclass("Found", fields, kw_only=True)
    made.__doc__ = doc
    return made


def _parameter(field: Field, hint: Any, pair: bool = False) -> tuple[str, Any, Any]:
    """Name, annotation and default of the mirror of `field`; the default means: not named.

    `pair` gives a flag its ``--no-`` form.
    """
    from tyro import conf

    if "config" in field.metadata:
        group = _dataclass("", [_parameter(f, h, pair=True) for f, h in config_fields(field)])
        return field.name, Annotated[group, conf.arg(name=field.metadata["title"])], dataclasses.field()
    absent = dataclasses.field(default=None)
    name, help = spelling(field.name).removeprefix("--"), field.metadata["help"]
    shown = conf.arg(name=name, help=help, help_behavior_hint=_hint(field, hint), metavar=metavar_of(field, hint))
    if kind_of(hint) is bool:
        flag = Annotated[Optional[bool], conf.DisallowNone, shown]  # noqa: UP045
        return field.name, flag if pair else Annotated[flag, conf.FlagCreatePairsOff], absent
    if is_many(hint) and not is_positional(field):
        return field.name, Annotated[list, conf.UseAppendAction, shown], dataclasses.field(default_factory=list)
    markers = (_reader(field, hint), shown, *([conf.Positional] if is_positional(field) else []))
    return field.name, Annotated[(object, *markers)], absent


def _reader(field: Field, hint: Any) -> Any:
    """How tyro reads the field: one word, or all that are left."""
    from tyro.constructors import PrimitiveConstructorSpec

    return PrimitiveConstructorSpec(
        nargs="*" if is_many(hint) else 1,
        metavar=metavar_of(field, hint) or "",
        instance_from_str=tuple if is_many(hint) else lambda words: words[0],
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


def _hint(field: Field, hint: Any) -> str:
    """What follows the help text: bounds and default."""
    parts = [bounds_text(field)]
    if field.metadata["planned"]:
        parts.append("default: planned")
    elif field.default is True:
        parts.append("default: yes")
    elif not any(field.default is nothing for nothing in (None, False, dataclasses.MISSING, ())):
        parts.append(f"default: {field.default}")
    if is_many(hint) and not is_positional(field):
        parts.append("repeatable")
    return f"({'; '.join(p for p in parts if p)})" if any(parts) else ""


def _complaint(cls: type, text: str, words: Sequence[str], prog: str) -> str:
    """One line for the boxed message that tyro prints, which only comes when an option lacks its value."""
    for field, hint in options_of(cls):
        name = spelling(field.name)
        if f"'{name}'" in text:
            hyphen = "" if words[-1] == name else f"; one that begins with a hyphen is given as {name}=..."
            return f"{name}: its value is missing: {metavar_of(field, hint)}{hyphen}"
    return " ".join(text.translate(dict.fromkeys(map(ord, "╭╮╰╯│─"))).split()) or f"see {prog} --help"


def _unknown(cls: type, word: str, prog: str) -> str:
    """One line about a word that is no option and no argument of the command."""
    if not word.startswith("-"):
        return f"{word!r}: unexpected argument; see {prog} --help"
    import difflib

    near = difflib.get_close_matches(word.split("=")[0], [spelling(f.name) for f, _ in options_of(cls)], n=1)
    return f"{word}: no such option; " + (f"did you mean {near[0]}?" if near else f"see {prog} --help")
