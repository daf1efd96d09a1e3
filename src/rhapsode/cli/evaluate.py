"""``rhapsode evaluate MODEL FILE...``: what a text costs a model, and what it costs plain counting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rhapsode.cli.evaluated import corpus_of_run, held_out, named_corpus, text_part, training_part
from rhapsode.cli.measuring import Meter, label_option, note_unknown
from rhapsode.cli.options import ModelCommandOptions, Precision, argument, precision_option
from rhapsode.cli.output import print_json
from rhapsode.cli.texts import reading_options
from rhapsode.errors import ConfigError
from rhapsode.figures import figure
from rhapsode.option import option

if TYPE_CHECKING:
    from rhapsode.analysis.baselines import NGram
    from rhapsode.analysis.predictions import Predictions
    from rhapsode.engine import Engine
    from rhapsode.evaluate import Evaluation
    from rhapsode.modelfile import ModelFile
    from rhapsode.text.corpus import Part

MODES = {
    "carried": "state carried through the whole text",
    "reset": "state starts anew every {} tokens",
    "documents": "state starts anew with every document",
}
FIGURES = ("nats_per_token", "bits_per_char", "bits_per_byte", "perplexity")
OTHERS = {"dynamic": "dynamic", "baseline": "{}-gram", "cache": "cache", "mixture": "mixture"}
"""What else may be measured, and its heading."""


@dataclass(frozen=True, kw_only=True)
class Options(ModelCommandOptions):
    """Measure a model's loss on a text: exactly, over all of it, every token once. Of a prepared corpus the held-out
    part is measured. The state is carried through the whole text; a model trained on documents starts each anew.

    Text is read as the model's training text was, but for the reading options that are named.
    """

    model: str = argument("a run folder or a model file", metavar="MODEL")
    file: tuple[str, ...] = argument(
        "files, folders, globs, - for stdin, or a prepared corpus; none: what the run of the model held out",
        metavar="[FILE...]",
        default=(),
    )
    context: int | None = option(None, "start the state anew every N tokens", low=1)
    dynamic: bool = option(
        False, "also measure the model learning from the text: from each segment after it was predicted (Krause et al.)"
    )
    dynamic_lr: float | None = option(None, "learning rate of --dynamic; 0: it learns nothing; none: 3e-4", low=0)
    baseline: bool = option(False, "also measure an n-gram of the model's training text (interpolated Kneser-Ney)")
    mix: bool = option(
        False,
        "also measure the model mixed with that n-gram and a cache of the text so far, by learned weights",
    )
    order: int = option(7, "n of the n-gram", low=1, high=64)
    baseline_text: tuple[str, ...] = option((), "training text for the n-gram: a file, or a prepared corpus")
    label: str | None = label_option()
    precision: Precision = precision_option()
    reading: dict[str, Any] = reading_options()


def run(options: Options) -> int:
    """Measure and report."""
    from rhapsode.engine import open_engine
    from rhapsode.evaluate import evaluate
    from rhapsode.modelfile import ModelFile

    _check(options)
    model = ModelFile.load(options.model)
    corpus = named_corpus(options.file, model) if options.file else corpus_of_run(options.model, model)
    named = options.reading | ({} if options.label is None else {"label": options.label})
    if corpus and named:
        raise ConfigError(*next(iter(named.items())), "not with a prepared corpus, which has its own")
    counts = options.baseline or options.mix or bool(options.baseline_text)
    reading, label = options.reading, options.label
    training = training_part(options.baseline_text, options.model, reading, label, model, corpus) if counts else None
    part = held_out(corpus) if corpus else text_part(options.file, reading, label, model)
    engine = open_engine(model, options.precision)
    result = evaluate(engine, part, context=options.context, progress=Meter("evaluate"))
    ngram = _ngram(training, options.order, model) if training else None
    totals = _other_costs(options, engine, part, result, ngram)
    others = {name: replace(result, nats_total=total) for name, total in totals.items()}
    note_unknown(result.unknown)
    if options.json:
        figures: dict[str, Any] = {name: _figures(others[name]) if name in others else None for name in OTHERS}
        if ngram:
            figures["baseline"] |= {"order": options.order}
        print_json({"model": options.model, "files": options.file} | result.to_json() | figures)
    else:
        _show(result, {OTHERS[name].format(options.order): found for name, found in others.items()})
    return 0


def _ngram(training: Part, order: int, model: ModelFile) -> NGram:
    from rhapsode.analysis.baselines import NGram

    return NGram(order).fit(training.tokens, model.tokenizer.vocab_size, model.tokenizer.boundary)


def _check(options: Options) -> None:
    """Whether the options go together.

    Raises:
        ConfigError: they do not.
    """
    if options.dynamic_lr is not None and not options.dynamic:
        raise ConfigError("dynamic_lr", options.dynamic_lr, "only with --dynamic")
    if options.dynamic and options.precision == "int8":
        raise ConfigError("precision", options.precision, "auto, fp32, bf16 (with --dynamic, which learns)")


def _other_costs(
    options: Options, engine: Engine, part: Part, result: Evaluation, ngram: NGram | None
) -> dict[str, float]:
    """Nats in all to each of `OTHERS` that is asked for."""
    from rhapsode.analysis.mixing import mixed
    from rhapsode.analysis.predictions import costs

    totals = {"baseline": float(ngram.nats(part.tokens).sum())} if ngram else {}
    names = {"network": "dynamic"} if options.dynamic else {}
    if options.mix:
        names |= {"cache": "cache", "mixture": "mixture"}
    if names:
        found, progress = _predictions(options, engine, part, result), Meter("evaluate")
        pieces = mixed(found, part.tokens, ngram) if ngram and options.mix else costs(found, part.tokens)
        totals |= dict.fromkeys(names.values(), 0.0)
        for first, nats in pieces:
            for source, name in names.items():
                totals[name] += float(nats[source].sum())
            progress(first + len(nats["network"]), result.tokens)
    return totals


def _predictions(options: Options, engine: Engine, part: Part, result: Evaluation) -> Iterator[Predictions]:
    """The model's in the order of the text, adapting to it if that is asked for."""
    from rhapsode.analysis.dynamic import LR, dynamic_predictions
    from rhapsode.analysis.predictions import predictions
    from rhapsode.evaluate import spans

    pieces = spans(part, result.mode, result.context)
    if not options.dynamic:
        return predictions(engine, part.tokens, pieces)
    lr = LR if options.dynamic_lr is None else options.dynamic_lr
    precision = "fp32" if options.precision == "auto" else options.precision
    return dynamic_predictions(engine.model, part.tokens, pieces, lr, precision=precision)


def _figures(evaluation: Evaluation) -> dict[str, float]:
    return {name: getattr(evaluation, name) for name in FIGURES}


def _show(result: Evaluation, others: dict[str, Evaluation]) -> None:
    """The figures for people: a line each, one column a model."""
    from rhapsode.text.blocks import certainty

    print(f"{result.tokens:,} tokens, {result.chars:,} characters, {result.bytes:,} bytes")
    print(MODES[result.mode].format(result.context))
    rows = [["", "model", *others]]
    for name in FIGURES:
        rows.append([name.replace("_", " "), *(figure(getattr(found, name)) for found in (result, *others.values()))])
    for label, *cells in rows:
        print(f"{label:<16}" + "".join(f"{cell:>12}" for cell in cells))
    print(certainty(result.nats_per_token, result.standard_error))
