"""What commands share that write with one model or a blend of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rhapsode.cli.options import ModelCommandOptions, argument, precision_option
from rhapsode.config import option
from rhapsode.errors import ConfigError
from rhapsode.model import TextModel, load


@dataclass(frozen=True, kw_only=True)
class BlendOptions(ModelCommandOptions):
    """Which model, or which blend."""

    model: str = argument("a run folder or a model file", metavar="MODEL")
    blend: tuple[str, ...] = option((), "another model to write together with", metavar="MODEL")
    weights: tuple[float, ...] = option(
        (), "weights of MODEL's predictions and of those of each --blend; without: equal", metavar="X,X,..."
    )
    turns: int | None = option(
        None, "instead of mixing predictions, each model in turn writes so much of the text", low=1
    )
    turns_of: Literal["symbols", "words"] = option("symbols", "what --turns counts")
    precision: Literal["auto", "fp32", "bf16", "int8"] = precision_option()


def open_model(options: BlendOptions) -> TextModel:
    """The model, or the blend.

    Raises:
        ConfigError: there is nothing to blend with.
    """
    model = load(options.model, options.precision)
    if not options.blend:
        for name in ("weights", "turns"):
            if getattr(options, name):
                raise ConfigError(name, getattr(options, name), "only with --blend")
        return model
    from rhapsode.blending import blend

    models = [model, *(load(path, options.precision) for path in options.blend)]
    return blend(models, options.weights or None, options.turns, options.turns_of)
