"""``rhapsode average MODEL MODEL... --out FILE``: one model of the mean weights of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rhapsode.cli.options import ModelCommandOptions, argument
from rhapsode.cli.output import note, print_json
from rhapsode.errors import ConfigError
from rhapsode.option import option

if TYPE_CHECKING:
    from rhapsode.modelfile import ModelFile


@dataclass(frozen=True, kw_only=True)
class Options(ModelCommandOptions):
    """Average the weights of models of the same structure and symbols into one model file (a "model soup").

    For checkpoints of one run, or models fine-tuned from the same one. Models trained apart, from other seeds, know
    nothing when averaged: write with them by generate --blend.
    """

    model: tuple[str, ...] = argument("run folders or model files", metavar="MODEL...")
    out: str = option("average.safetensors", "the model file to write", metavar="FILE")
    weights: tuple[float, ...] = option((), "a weight for each MODEL; without: equal", metavar="X,X,...")
    greedy_on: str | None = option(
        None, "add a model only where that lowers the loss on this text, the best models first", metavar="FILE"
    )


def run(options: Options) -> int:
    """Load, average, write."""
    from rhapsode.averaging import averaged, greedy
    from rhapsode.modelfile import ModelFile

    if options.greedy_on is not None and options.weights:
        raise ConfigError("weights", options.weights, "only without --greedy-on")
    models, chosen = [ModelFile.load(path) for path in options.model], list(range(len(options.model)))
    if options.greedy_on is None:
        average = averaged(models, options.weights or None)
    else:
        average, chosen = greedy(models, lambda model: _loss(model, options.greedy_on or ""))
    average.save(options.out)
    if options.json:
        print_json({"model": options.out, "averaged": [options.model[i] for i in chosen]})
    else:
        note(f"rhapsode: wrote {options.out}: the mean of {', '.join(options.model[i] for i in chosen)}")
    return 0


def _loss(model: ModelFile, text: str) -> float:
    """Nats per token on a text, read as the model's training text was."""
    from rhapsode.cli.evaluated import held_out, named_corpus, text_part
    from rhapsode.engine import open_engine
    from rhapsode.evaluate import evaluate

    corpus = named_corpus([text], model)
    part = held_out(corpus) if corpus else text_part([text], {}, None, model)
    return evaluate(open_engine(model, "fp32"), part).nats_per_token
