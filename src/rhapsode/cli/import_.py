"""``rhapsode import FILE``: a network that Keras or PyTorch has trained, as a model of rhapsode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rhapsode.cli.options import CommandOptions, argument
from rhapsode.cli.output import note, print_json
from rhapsode.option import option


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Turn a trained network into a model file that predicts the same and needs no framework.

    Keras: Sequential models (.keras, .h5) of Embedding, LSTM, GRU or SimpleRNN, Dropout, Dense. PyTorch: weights in
    .safetensors of nn.LSTM, nn.GRU or nn.RNN, nn.Linear, and nn.Embedding if there is one.
    """

    file: str = argument("a .keras, .h5 or .safetensors file", metavar="FILE")
    vocabulary: str | None = option(
        None,
        "which text each id stands for: a JSON list or object, such as the word_index of Keras' Tokenizer, or a symbol "
        "a line",
        metavar="FILE",
    )
    out: str | None = option(None, "the model file to write; default: NAME.rhapsode.safetensors", metavar="FILE")
    lowercase: bool = option(False, "the network was trained on text in lower case, though the vocabulary has capitals")
    nonlinearity: Literal["tanh", "relu"] = option("tanh", "of PyTorch's nn.RNN, whose file does not tell")


def run(options: Options) -> int:
    """Read, convert, write, say what it is."""
    from rhapsode.cli.options import UsageError
    from rhapsode.importing import import_model

    if options.vocabulary is None:
        raise UsageError("--vocabulary is missing: a file that tells which text each id stands for")
    out = Path(options.out) if options.out else Path(options.file).with_suffix(".rhapsode.safetensors")
    model = import_model(
        options.file, options.vocabulary, lowercase=options.lowercase, nonlinearity=options.nonlinearity
    )
    model.save(out)
    config = model.config
    if options.json:
        print_json({"model": str(out), "config": config.to_json(), "tokenizer": model.tokenizer.kind})
    else:
        note(f"rhapsode: wrote {out}: {config.cell}, {config.layers} x {config.hidden}, {config.vocab_size} symbols")
    return 0
