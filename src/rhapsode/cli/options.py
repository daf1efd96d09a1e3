"""A command's options, from typed dataclasses, parsed with tyro.

A command module has a frozen dataclass whose docstring is the command's description and whose fields are declared as
in `rhapsode.config`, by `option`; `argument` declares what is named by its place, `config_options` takes over all
fields of a configuration class:

    @dataclass(frozen=True, kw_only=True)
    class Options(CommandOptions):
        \"\"\"Write text with a trained model.\"\"\"

        model: str = argument("a run folder or a model file")
        samples: int = option(1, "how many texts to write", low=1)
        sampling: dict[str, Any] = config_options(SamplingConfig)

    options = parse(Options, ["austen", "--top-p", "0.9"], "rhapsode generate")
    options.sampling == {"top_p": 0.9}              # only what the user named

tyro finds the options in the words and shows the help. Words that leave no question open are sorted here, as tyro
would: importing it takes longer than writing a page of text. Values are converted and checked here in both cases, by
the same rules as in Python, so that a mistake is one line in the same words.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypeVar

from rhapsode.config import allowed, bounds_text, checked, option
from rhapsode.errors import ConfigError, RhapsodeError

T = TypeVar("T")
Field = Any
"""A field of a dataclass; mypy does not let `dataclasses.Field` be made by `option`."""


class UsageError(RhapsodeError):
    """The words of the command line do not fit the command."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """What every command takes."""

    json: bool = option(False, "print one JSON object, last, on stdout")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCommandOptions(CommandOptions):
    """What every command takes that runs a language model."""

    cell: str | None = option(
        None, "the Python file of the model's cell, where that is one of your own", metavar="FILE"
    )

    def __post_init__(self) -> None:
        if self.cell is not None:
            from rhapsode.backends.choose import load_cell

            load_cell(self.cell)


def argument(help: str, *, metavar: str, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that is named by its place. One of type tuple[str, ...] takes all words, at least one."""
    field = option(default, help, metavar=metavar)
    return dataclasses.field(default=default, metadata={**field.metadata, "positional": True})


def config_options(cls: type, title: str, *, omit: Sequence[str] = ()) -> Any:
    """Declare a field of type dict[str, Any] for the fields of the configuration class `cls`, without those in `omit`.

    It holds the values of those that the user named. `title` is the first word of their heading in the help.
    """
    return dataclasses.field(metadata={"config": cls, "title": title, "omit": tuple(omit)})


def precision_option() -> Any:
    """Declare the field `precision` of commands that run a model."""
    return option("auto", "what the model's weights are rounded to when it runs; auto: as its file has them")


def parse(cls: type[T], words: Sequence[str], prog: str) -> T:
    """The options that `words` name. Prints the help and exits (SystemExit 0) when asked for.

    Raises:
        ConfigError: a value is not allowed.
        UsageError: an option or argument is unknown or missing, or lacks its value.
    """
    found = sorted_plainly(cls, words)
    return cls(**_values(cls, sorted_by_tyro(cls, words, prog) if found is None else found))


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
    for field, hint in _options(cls):
        kind, help = _kind(hint), field.metadata["help"]
        choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
        found.append(Described(spelling(field.name), help, choices, kind is bool))
    return found


def spelling(name: str) -> str:
    """A field's name as an option of the command line; one that is a word of Python's has an underscore behind it. The
    name of an environment variable, in capitals, stays as it is."""
    return name if name.isupper() else "--" + name.rstrip("_").replace("_", "-")


# Which word is for which field: for each the word that was found; of a flag True or False, of what is repeatable or
# takes all words, all of them; for the fields of a configuration class an object that has each. Or one of `_NOTHING`.


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
    for outer in _fields(cls):
        pair = "config" in outer.metadata
        for field, hint in _config_fields(outer) if pair else [(outer, hints[outer.name])]:
            name = spelling(field.name)
            if _kind(hint) is bool:
                yield name, (field.name, True)
                if pair:
                    yield "--no-" + name.removeprefix("--"), (field.name, False)
            elif not _positional(field):
                yield name, (field.name, list if _many(hint) else str)


def _laid_out(cls: type, arguments: Sequence[str], named: dict[str, Any]) -> dict[str, Any] | None:
    """The words of all fields, from the arguments and those that were named by field; None if arguments are left."""
    hints, found = typing.get_type_hints(cls), dict[str, Any]()
    for field in _fields(cls):
        if "config" in field.metadata:
            found[field.name] = types.SimpleNamespace(**{f.name: named.get(f.name) for f, _ in _config_fields(field)})
        elif not _positional(field):
            found[field.name] = named.get(field.name)
        elif _many(hints[field.name]):
            found[field.name], arguments = tuple(arguments), ()
        else:
            found[field.name], arguments = arguments[0] if arguments else None, arguments[1:]
    return None if arguments else found


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


# What tyro gets: a dataclass with the same fields, annotated with how to read them, that may all be left out. Types
# are spelled such that tyro checks them without importing typeguard, which would take longer than all the rest.


def _mirror(cls: type) -> type:
    """The dataclass that tyro fills, with the words found for each field of `cls`; common options come last."""
    hints, common = typing.get_type_hints(cls), {field.name for field in _fields(CommandOptions)}
    fields = sorted(_fields(cls), key=lambda field: field.name in common)
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
        group = _dataclass("", [_parameter(f, h, pair=True) for f, h in _config_fields(field)])
        return field.name, Annotated[group, conf.arg(name=field.metadata["title"])], dataclasses.field()
    absent = dataclasses.field(default=None)
    name, help = spelling(field.name).removeprefix("--"), field.metadata["help"]
    shown = conf.arg(name=name, help=help, help_behavior_hint=_hint(field, hint), metavar=_metavar(field, hint))
    if _kind(hint) is bool:
        flag = Annotated[Optional[bool], conf.DisallowNone, shown]  # noqa: UP045
        return field.name, flag if pair else Annotated[flag, conf.FlagCreatePairsOff], absent
    if _many(hint) and not _positional(field):
        return field.name, Annotated[list, conf.UseAppendAction, shown], dataclasses.field(default_factory=list)
    markers = (_reader(field, hint), shown, *([conf.Positional] if _positional(field) else []))
    return field.name, Annotated[(object, *markers)], absent


def _reader(field: Field, hint: Any) -> Any:
    """How tyro reads the field: one word, or all that are left."""
    from tyro.constructors import PrimitiveConstructorSpec

    return PrimitiveConstructorSpec(
        nargs="*" if _many(hint) else 1,
        metavar=_metavar(field, hint) or "",
        instance_from_str=tuple if _many(hint) else lambda words: words[0],
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


# What comes back.


def _values(cls: type, found: dict[str, Any]) -> dict[str, Any]:
    """The dataclass's fields from the words that were found for them."""
    hints, values = typing.get_type_hints(cls), {}
    for field in _fields(cls):
        words = found[field.name]
        if "config" in field.metadata:
            group = {f.name: (f, h, getattr(words, f.name)) for f, h in _config_fields(field)}
            values[field.name] = {n: _value(f, h, w) for n, (f, h, w) in group.items() if w not in _NOTHING}
        elif words not in _NOTHING:
            values[field.name] = _named(field, hints[field.name], words)
        elif field.default is dataclasses.MISSING:
            name = str(_metavar(field, hints[field.name])).rstrip(".")
            raise UsageError(f"{name} is missing: {field.metadata['help']}")
    return values


_NOTHING: tuple[Any, ...] = (None, [], ())
"""What is found for a field that was not named."""


def _named(field: Field, hint: Any, words: Any) -> Any:
    """The value of a field of the command itself; an argument goes by its word in the help."""
    try:
        return _value(field, hint, words)
    except ConfigError as error:
        if _positional(field):
            raise UsageError(f"{_metavar(field, hint)}: found {error.found!r}, allowed: {error.allowed}") from None
        raise


def _value(field: Field, hint: Any, words: Any) -> Any:
    """The value that the words mean, checked."""
    kind = _kind(hint)
    if kind == tuple[float, ...]:
        return checked(field, hint, words[0] if len(words) == 1 else tuple(words))
    if _many(hint):
        return tuple(words)
    if kind in (int, float):
        try:
            words = kind(words)
        except ValueError:
            raise ConfigError(field.name, words, allowed(field, kind)) from None
    return checked(field, hint, words)


# What is said about a field, and about mistakes.


def _hint(field: Field, hint: Any) -> str:
    """What follows the help text: bounds and default."""
    parts = [bounds_text(field)]
    if field.metadata["planned"]:
        parts.append("default: planned")
    elif field.default is True:
        parts.append("default: yes")
    elif not any(field.default is nothing for nothing in (None, False, dataclasses.MISSING, ())):
        parts.append(f"default: {field.default}")
    if _many(hint) and not _positional(field):
        parts.append("repeatable")
    return f"({'; '.join(p for p in parts if p)})" if any(parts) else ""


def _metavar(field: Field, hint: Any) -> str | None:
    """The word for the value: as declared, or the choices, or by its type. None for a flag."""
    kind = _kind(hint)
    if field.metadata["metavar"]:
        return field.metadata["metavar"]
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(typing.get_args(kind)) + "}"
    return {int: "N", float: "X", bool: None}.get(kind, "TEXT")


def _complaint(cls: type, text: str, words: Sequence[str], prog: str) -> str:
    """One line for the boxed message that tyro prints, which only comes when an option lacks its value."""
    for field, hint in _options(cls):
        name = spelling(field.name)
        if f"'{name}'" in text:
            hyphen = "" if words[-1] == name else f"; one that begins with a hyphen is given as {name}=..."
            return f"{name}: its value is missing: {_metavar(field, hint)}{hyphen}"
    return " ".join(text.translate(dict.fromkeys(map(ord, "╭╮╰╯│─"))).split()) or f"see {prog} --help"


def _unknown(cls: type, word: str, prog: str) -> str:
    """One line about a word that is no option and no argument of the command."""
    if not word.startswith("-"):
        return f"{word!r}: unexpected argument; see {prog} --help"
    import difflib

    near = difflib.get_close_matches(word.split("=")[0], [spelling(f.name) for f, _ in _options(cls)], n=1)
    return f"{word}: no such option; " + (f"did you mean {near[0]}?" if near else f"see {prog} --help")


# Small questions about fields.


def _fields(cls: type) -> tuple[Field, ...]:
    return dataclasses.fields(typing.cast(Any, cls))


def _config_fields(field: Field) -> Iterator[tuple[Field, Any]]:
    """The fields, with their types, of the configuration class that `field` takes over."""
    cls = field.metadata["config"]
    hints = typing.get_type_hints(cls)
    for inner in _fields(cls):
        if not inner.metadata["derived"] and inner.name not in field.metadata["omit"]:
            yield inner, hints[inner.name]


def _options(cls: type) -> Iterator[tuple[Field, Any]]:
    """All fields of a command that are options, with their types, those of configuration classes among them."""
    hints = typing.get_type_hints(cls)
    for field in _fields(cls):
        if "config" in field.metadata:
            yield from _config_fields(field)
        elif not _positional(field):
            yield field, hints[field.name]


def _positional(field: Field) -> bool:
    return field.metadata.get("positional", False)


def _kind(hint: Any) -> Any:
    """The type without its ``| None``."""
    options = [a for a in typing.get_args(hint) if a is not type(None)]
    return options[0] if type(None) in typing.get_args(hint) else hint


def _many(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple
