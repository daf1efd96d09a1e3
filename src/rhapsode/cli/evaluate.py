"""``rhapsode evaluate MODEL FILE...``: what a text costs a model, and what it costs plain counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rhapsode.cli.measuring import Meter, note_unknown, read_texts, reading_options
from rhapsode.cli.options import CommandOptions, argument, precision_option
from rhapsode.cli.output import print_json
from rhapsode.config import option
from rhapsode.errors import ConfigError, CorpusError, RunError

if TYPE_CHECKING:
    from rhapsode.evaluate import Evaluation
    from rhapsode.modelfile import ModelFile
    from rhapsode.text.corpus import Corpus, Part

MODES = {
    "carried": "state carried through the whole text",
    "reset": "state starts anew every {} tokens",
    "documents": "state starts anew with every document",
}
FIGURES = ("nats_per_token", "bits_per_char", "bits_per_byte", "perplexity")


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
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
    baseline: bool = option(False, "also measure an n-gram of the model's training text (interpolated Kneser-Ney)")
    order: int = option(7, "n of the n-gram", low=1, high=64)
    baseline_text: tuple[str, ...] = option((), "training text for the n-gram: a file, or a prepared corpus")
    precision: Literal["auto", "fp32", "bf16", "int8"] = precision_option()
    reading: dict[str, Any] = reading_options()


def run(options: Options) -> int:
    """Measure and report."""
    from rhapsode.engine import open_engine
    from rhapsode.evaluate import evaluate
    from rhapsode.modelfile import ModelFile

    model = ModelFile.load(options.model)
    corpus = _corpus(options.file, model) if options.file else _corpus_of_run(options.model, model)
    for name, value in options.reading.items() if corpus else ():
        raise ConfigError(name, value, "not with a prepared corpus, which has its own")
    training = _training_part(options, model, corpus)
    part = _held_out(corpus) if corpus else _text_part(options.file, options.reading, model)
    result = evaluate(open_engine(model, options.precision), part, context=options.context, progress=Meter("evaluate"))
    counted = _count(training, part, options.order, model) if training else None
    note_unknown(result.unknown)
    if options.json:
        report = {"model": options.model, "files": options.file} | result.to_json()
        print_json(report | {"baseline": _figures(counted) | {"order": options.order} if counted else None})
    else:
        _show(result, counted, options.order)
    return 0


def _corpus(names: Sequence[str], model: ModelFile) -> Corpus | None:
    """The prepared corpus that is named, if one is.

    Raises:
        CorpusError: its tokens are not the model's.
    """
    from rhapsode.text.corpus import is_corpus, open_corpus

    if len(names) != 1 or not is_corpus(names[0]):
        return None
    corpus = open_corpus(names[0])
    if corpus.tokenizer.to_json() != model.tokenizer.to_json():
        raise CorpusError(f"{names[0]}: prepared with another tokenizer than the model's; name the text itself")
    return corpus


def _held_out(corpus: Corpus) -> Part:
    if len(corpus.held_out.tokens) < 2:
        raise CorpusError(f"{corpus.path}: nothing was held out; name the text to measure")
    return corpus.held_out


def _text_part(names: Sequence[str], reading: dict[str, Any], model: ModelFile) -> Part:
    """All of the text that is named, as tokens of the model."""
    from rhapsode.evaluate import part_of

    texts, mode = read_texts(model, names, reading)
    documents = [document for text in texts for document in text.documents]
    if not documents:
        raise CorpusError(f"{', '.join(names)}: no text in it")
    if mode == "whole":
        return part_of(model.tokenizer, ["".join(documents)], closed=False)
    return part_of(model.tokenizer, documents, closed=True)


def _training_part(options: Options, model: ModelFile, corpus: Corpus | None) -> Part | None:
    """What the n-gram learns from; None where none is asked for.

    Raises:
        RunError: the text that the model was trained on is not at hand.
    """
    if options.baseline_text:
        named = _corpus(options.baseline_text, model)
        return named.train if named else _text_part(options.baseline_text, options.reading, model)
    if not options.baseline:
        return None
    trained = model.training.get("corpus")
    same = corpus and isinstance(trained, dict) and corpus.digest == trained.get("digest")
    return corpus.train if corpus and same else _corpus_of_run(options.model, model).train


def _corpus_of_run(name: str, model: ModelFile) -> Corpus:
    """The corpus that the run of this model was trained on.

    Raises:
        RunError: it is not there any more, or the model is in no run folder.
    """
    from rhapsode.training.folder import DESCRIPTION, Description

    folder = Path(name) if Path(name).is_dir() else Path(name).parent
    if (folder / DESCRIPTION).is_file():
        description = Description.load(folder)
        corpus = _corpus([description.corpus_path], model)
        if corpus and corpus.digest == description.corpus_digest:
            return corpus
    raise RunError(
        f"{name}: the corpus it was trained on is not at hand; name a FILE, and for --baseline the --baseline-text"
    )


def _count(training: Part, part: Part, order: int, model: ModelFile) -> Evaluation:
    """The n-gram's loss on `part`."""
    from rhapsode.analysis.baselines import NGram
    from rhapsode.evaluate import measured

    tokenizer = model.tokenizer
    ngram = NGram(order).fit(training.tokens, tokenizer.vocab_size, tokenizer.boundary)
    return measured(part, float(ngram.nats(part.tokens).sum()), tokenizer)


def _figures(evaluation: Evaluation) -> dict[str, float]:
    return {name: getattr(evaluation, name) for name in FIGURES}


def _show(result: Evaluation, counted: Evaluation | None, order: int) -> None:
    """The figures for people: a line each, one column a model."""
    print(f"{result.tokens:,} tokens, {result.chars:,} characters, {result.bytes:,} bytes")
    print(MODES[result.mode].format(result.context))
    columns = [result, counted] if counted else [result]
    rows = [["", "model", f"{order}-gram"][: len(columns) + 1]]
    for name in FIGURES:
        rows.append([name.replace("_", " "), *(f"{_figures(column)[name]:.4f}" for column in columns)])
    for label, *figures in rows:
        print(f"{label:<16}" + "".join(f"{figure:>12}" for figure in figures))
