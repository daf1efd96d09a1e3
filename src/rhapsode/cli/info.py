"""``rhapsode info``: everything a model file tells about itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.cli.options import ModelCommandOptions, argument
from rhapsode.cli.output import print_json
from rhapsode.errors import RhapsodeError
from rhapsode.modelfile import BEST, FORMAT, LAST, ModelFile, find, is_classifier
from rhapsode.nn.spec import parameter_spec
from rhapsode.text.tokenizer import Tokenizer
from rhapsode.text.tokenizers.base import labels_json

SYMBOLS = 40
"""How many symbols of the vocabulary people are shown."""


@dataclass(frozen=True, kw_only=True)
class Options(ModelCommandOptions):
    """Show what a model file holds: configuration, parameters, tokenizer, and how it was trained."""

    model: str = argument("a run folder or a model file", metavar="MODEL")


def run(options: Options) -> int:
    """Read the model file and print what it says."""
    path = find(options.model)
    told = describe_classifier(path) if is_classifier(path) else describe(path, ModelFile.load(path))
    if Path(options.model).is_dir():
        told["run"] = _checkpoints(Path(options.model))
    if options.json:
        print_json(told)
    else:
        print("\n".join(_lines(told)))
    return 0


def describe(path: Path, model: ModelFile) -> dict[str, Any]:
    """All about one model file."""
    spec = parameter_spec(model.config)
    return {
        "model": str(path),
        "format": FORMAT,
        "file_bytes": path.stat().st_size,
        "precision": model.precision,
        "digest": model.digest(),
        "parameters": sum(p.size for p in spec),
        "config": model.config.to_json(),
        "tensors": {p.name: list(p.shape) for p in spec},
        "tokenizer": _tokenizer(model.tokenizer),
        "training": model.training,
    }


def describe_classifier(path: Path) -> dict[str, Any]:
    """All about the file of a classifier."""
    from rhapsode.classify.file import ClassifierFile

    file = ClassifierFile.load(path)
    return {
        "classifier": str(path),
        "file_bytes": path.stat().st_size,
        "labels": list(file.labels),
        "parameters": sum(array.size for array in file.parameters.values()),
        "config": file.head.to_json(),
        "layers": file.model.to_json(),
        "tensors": {name: list(array.shape) for name, array in file.parameters.items()},
        "tokenizer": _tokenizer(file.tokenizer) if file.tokenizer else None,
        "training": file.training,
    }


def _tokenizer(tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "lowercase": tokenizer.lowercase,
        **labels_json(tokenizer.labels),
        "symbols": [tokenizer.symbol(i) for i in range(tokenizer.vocab_size)],
    }


def _checkpoints(folder: Path) -> dict[str, Any]:
    """Step and loss of the model files in a run folder."""
    found = {}
    for name in (BEST, LAST):
        if (folder / name).is_file():
            try:
                progress = ModelFile.load(folder / name).training.get("progress")
                progress = progress if isinstance(progress, dict) else {}
                found[name] = {"step": progress.get("step"), "val_nats_per_token": progress.get("val_loss")}
            except RhapsodeError as error:
                found[name] = {"error": str(error)}
    return found


def _lines(told: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A line an entry; the entries of an object one level deeper."""
    for name, value in told.items():
        title = name.replace("_", " ") if not indent else name
        if isinstance(value, dict) and value:
            yield from ("", f"{title}:") if not indent else (f"{indent}{title}:",)
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{title:<22} {_shown(name, value)}"


def _shown(name: str, value: Any) -> str:
    if name == "symbols":
        return " ".join(value[:SYMBOLS]) + (" …" if len(value) > SYMBOLS else "")
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int) and name != "seed":
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " x ".join(map(str, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(str, value))
    return repr(value) if isinstance(value, str) and not value.isprintable() else str(value)
