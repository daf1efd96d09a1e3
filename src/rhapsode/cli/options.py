"""How a command declares its options: a frozen dataclass whose docstring is the command's description.

Its fields are declared as in `rhapsode.config`, by `rhapsode.option`; `argument` declares what is named by its place,
`config_options` takes over all fields of a configuration class:

    @dataclass(frozen=True, kw_only=True)
    class Options(CommandOptions):
        \"\"\"Write text with a trained model.\"\"\"

        model: str = argument("a run folder or a model file")
        samples: int = option(1, "how many texts to write", low=1)
        sampling: dict[str, Any] = config_options(SamplingConfig)

    options = parse(Options, ["austen", "--top-p", "0.9"], "rhapsode generate")      # rhapsode.cli.parse
    options.sampling == {"top_p": 0.9}              # only what the user named
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from rhapsode.errors import RhapsodeError
from rhapsode.option import option

Precision = Literal["auto", "fp32", "bf16", "int8"]


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
