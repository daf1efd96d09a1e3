"""``rhapsode export``: a model in another form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rhapsode.cli.options import ModelCommandOptions, Precision, argument, precision_option
from rhapsode.cli.output import note, print_json
from rhapsode.errors import ConfigError, MissingDependency
from rhapsode.option import option

if TYPE_CHECKING:
    from rhapsode.modelfile import ModelFile


@dataclass(frozen=True, kw_only=True)
class Options(ModelCommandOptions):
    """Write a model in another form, a model file that every command takes.

    int8: a quarter of the size; runs in int8, with losses within about 0.001 nats of the original's.
    packed: larger; the weights also lie in it as they are used, so that the file is not read but mapped, and all
    processes that run it share them. Runs in the precision that is named here.
    """

    model: str = argument("a run folder or a model file", metavar="MODEL")
    format: Literal["int8", "packed"] = option("int8", "what to write")
    precision: Precision = precision_option()
    out: str | None = option(
        None, "the file to write; default: the model's name with .int8.safetensors or the like", metavar="FILE"
    )


def run(options: Options) -> int:
    """Load, convert, write, say how large it became."""
    from rhapsode.modelfile import ModelFile, find

    if options.format == "int8" and options.precision not in ("auto", "int8"):
        raise ConfigError("precision", options.precision, "auto or int8 with --format int8")
    source = find(options.model)
    out = Path(options.out) if options.out else source.with_suffix(f".{options.format}.safetensors")
    model = ModelFile.load(source)
    (model.with_precision("int8") if options.format == "int8" else _packed(model, options.precision)).save(out)
    before, after = source.stat().st_size, out.stat().st_size
    if options.json:
        print_json({"model": str(out), "format": options.format, "bytes_before": before, "bytes": after})
    else:
        note(f"rhapsode: wrote {out}: {after:,} bytes, {after / before:.0%} of {source.name}")
    return 0


def _packed(model: ModelFile, precision: Precision) -> ModelFile:
    """The model with its weights as the native engine uses them."""
    from rhapsode.engine import open_engine

    try:
        from rhapsode.native_engine import NativeEngine
    except ImportError as error:
        raise MissingDependency(f"--format packed: the native core was not built: {error}") from None
    engine = open_engine(model, precision)
    if not isinstance(engine, NativeEngine):
        raise ConfigError("RHAPSODE_ENGINE", "numpy", "native, for --format packed")
    return engine.packed()
