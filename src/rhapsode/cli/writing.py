"""What commands share that write: with one model or a blend of several, after a text, learning from it or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rhapsode.cli.options import ModelCommandOptions, Precision, argument, precision_option
from rhapsode.errors import ConfigError, SourceError
from rhapsode.model import TextModel, load
from rhapsode.option import option


@dataclass(frozen=True, kw_only=True)
class WritingOptions(ModelCommandOptions):
    """Which model, or which blend, and what it reads first."""

    model: str = argument("a run folder or a model file", metavar="MODEL")
    blend: tuple[str, ...] = option((), "another model to write together with", metavar="MODEL")
    weights: tuple[float, ...] = option(
        (), "weights of MODEL's predictions and of those of each --blend; without: equal", metavar="X,X,..."
    )
    turns: int | None = option(
        None, "instead of mixing predictions, each model in turn writes so much of the text", low=1
    )
    turns_of: Literal["symbols", "words"] | None = option(None, "what --turns counts; without: symbols")
    precision: Precision = precision_option()
    prompt: str | None = option(None, "the text to go on from")
    prompt_file: str | None = option(None, "a file with the text to go on from (UTF-8)", metavar="FILE")
    dynamic: bool = option(
        False, "learn from the prompt (write: and from your own words), in weights of this text's own (Krause et al.)"
    )
    dynamic_lr: float | None = option(None, "learning rate of --dynamic; none: 3e-4", low=0)


def open_model(options: WritingOptions) -> TextModel:
    """The model, or the blend.

    Raises:
        ConfigError: there is nothing to blend with.
    """
    model = load(options.model, options.precision)
    if not options.blend:
        for name in ("weights", "turns", "turns_of"):
            if getattr(options, name):
                raise ConfigError(name, getattr(options, name), "only with --blend")
        return model
    from rhapsode.blending import blend

    models = [model, *(load(path, options.precision) for path in options.blend)]
    return blend(models, options.weights or None, options.turns, options.turns_of or "symbols")


def read_prompt(prompt: str | None, file: str | None) -> str:
    """The text to go on from: as it was given, or what is in the file.

    Raises:
        ConfigError: both are given.
        SourceError: the file cannot be read.
    """
    if file is None:
        return prompt or ""
    if prompt is not None:
        raise ConfigError("prompt_file", file, "only without --prompt")
    try:
        return decoded(Path(file).read_bytes(), file)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror or error}") from None


def decoded(data: bytes, name: str) -> str:
    """The text of these bytes.

    Raises:
        SourceError: they are no UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name}: not UTF-8 at byte {error.start}") from None
