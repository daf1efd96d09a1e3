"""``rhapsode score MODEL [FILE...]``: how surprising a text is to a model, piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

from rhapsode.cli.measuring import Meter, label_option, note_unknown
from rhapsode.cli.options import ModelCommandOptions, Precision, argument, precision_option
from rhapsode.cli.output import note, print_json
from rhapsode.cli.texts import Text, read_texts, reading_options
from rhapsode.errors import CorpusError
from rhapsode.figures import figure
from rhapsode.option import option

if TYPE_CHECKING:
    from rhapsode.analysis.comparison import Compared
    from rhapsode.analysis.surprisal import Unit
    from rhapsode.modelfile import ModelFile
    from rhapsode.scoring import Score


@dataclass(frozen=True, kw_only=True)
class Options(ModelCommandOptions):
    """Show how surprising each line of a text is to a model, in bits a character and in nats. Every file begins with
    the model's initial state, and every document for a model trained on documents.

    With --against: whose style is it? What each line costs both models, and the log-likelihood ratio: above 0 MODEL
    finds it likelier, below 0 the other. Lines with text that one of them has no symbol for are not compared.

    Text is read as the model's training text was, but for the reading options that are named.
    """

    model: str = argument("a run folder or a model file", metavar="MODEL")
    file: tuple[str, ...] = argument("files, folders, globs, or - for stdin", metavar="[FILE...]", default=("-",))
    by: Literal["line", "char", "file"] = option("line", "what is scored")
    rank: bool = option(
        False, "from the least to the most surprising, or from MODEL's style to the other's, instead of in order"
    )
    against: str | None = option(None, "another model: which of both finds each line likelier?", metavar="MODEL")
    label: str | None = label_option()
    precision: Precision = precision_option()
    reading: dict[str, Any] = reading_options()


def run(options: Options) -> int:
    """Score and report."""
    from rhapsode.modelfile import ModelFile

    model = ModelFile.load(options.model)
    other = None if options.against is None else ModelFile.load(options.against)
    texts, _ = read_texts(model, options.file, options.reading, options.label, labels="found")
    if not any(text.documents for text in texts):
        raise CorpusError(f"{', '.join(options.file)}: no text in it")
    if other is None:
        _score(options, model, texts)
    else:
        _compare(options, model, other, texts)
    return 0


def _score(options: Options, model: ModelFile, texts: list[Text]) -> None:
    """What the text costs one model."""
    units, total = _scored(model, texts, options)
    if options.rank:
        units.sort(key=lambda unit: unit.bits_per_char)
    note_unknown(total["unknown"])
    if options.json:
        head = {"model": options.model, "files": options.file, "by": options.by}
        print_json(head | total | {"scores": [vars(unit) for unit in units]})
    else:
        _show(units, total, options.by, len(texts))


def _compare(options: Options, model: ModelFile, other: ModelFile, texts: list[Text]) -> None:
    """What the text costs two models. Ends of documents are predicted if both know them."""
    from rhapsode.analysis.comparison import compare, verdict
    from rhapsode.evaluate import reads_documents

    documents = reads_documents(model) and reads_documents(other)
    mine, total = _scored(model, texts, options, documents)
    theirs, _ = _scored(other, texts, options, documents)
    whole = ["".join(text.documents) for text in texts if text.documents]
    shown = whole if options.by == "file" else [unit.text for unit in mine]
    units = compare(mine, theirs, shown, (model.tokenizer, other.tokenizer))
    if options.rank:
        units.sort(key=lambda unit: (not unit.comparable, -unit.log_ratio / max(1, unit.chars)))
    found = verdict(units)
    if options.json:
        head = {"model": options.model, "against": options.against, "files": options.file, "by": options.by}
        print_json(head | total | found | {"scores": [unit.to_json() for unit in units]})
    else:
        _show_compared(units, found, options, len(texts))


def _scored(
    model: ModelFile, texts: list[Text], options: Options, documents: bool | None = None
) -> tuple[list[Unit], dict[str, Any]]:
    """The units of the text, and the figures of all together."""
    from rhapsode.analysis.surprisal import units
    from rhapsode.engine import open_engine
    from rhapsode.scoring import score_all

    pieces = [document for text in texts for document in text.documents]
    names = [text.name for text in texts for _ in text.documents]
    engine = open_engine(model, options.precision)
    labels: list[str | None] = [label for text in texts for label in text.labels or repeat(None, len(text.documents))]
    scores = score_all(
        engine, pieces, labels=labels if model.tokenizer.labels else None, documents=documents, progress=Meter("score")
    )
    return list(units(zip(names, scores, strict=True), options.by)), _total(scores)


def _total(scores: list[Score]) -> dict[str, Any]:
    """The figures of everything together."""
    from rhapsode.evaluate import bits

    tokens, chars = sum(len(score.per_token) for score in scores), sum(score.chars for score in scores)
    nats = math.fsum(score.nats_total for score in scores)
    return {
        "tokens": tokens,
        "chars": chars,
        "bytes": sum(score.bytes for score in scores),
        "unknown": sum(score.unknown for score in scores),
        "nats_total": nats,
        "nats_per_token": nats / tokens,
        "bits_per_char": bits(nats, chars),
    }


def _show(units: list[Unit], total: dict[str, Any], by: str, files: int) -> None:
    """A line for each unit, and one for the total."""
    print(f"{'bits/char':>9} {'nats':>10}  {by}")
    for unit in units:
        print(f"{_costs(unit.bits_per_char)} {_nats(unit.nats)}  {_named(unit, by, files)}")
    costs = f"{_costs(total['bits_per_char'])} {_nats(total['nats_total'])}"
    print(f"{costs}  total of {total['chars']:,} characters")


def _show_compared(units: list[Compared], found: dict[str, Any], options: Options, files: int) -> None:
    """The same for two models, and who finds the text likelier."""
    print(f"{'bits/char':>9} {'against':>9} {'log ratio':>10}  {options.by}")
    for unit in units:
        ratio = _ratio(unit.log_ratio) if unit.comparable else f"{'unknown':>10}"
        costs = _costs(unit.bits_per_char, unit.against_bits_per_char)
        print(f"{costs} {ratio}  {_named(unit, options.by, files)}")
    costs = _costs(found["compared_bits_per_char"], found["against_bits_per_char"])
    print(f"{costs} {_ratio(found['log_ratio'])}  total of {found['compared_chars']:,} characters")
    if len(units) > found["compared"]:
        note(f"not compared, for text that one of the models has no symbol for: {len(units) - found['compared']:,}")
    if not found["compared"] or found["log_ratio"] == 0:
        print("neither model finds the text likelier")
        return
    first = found["log_ratio"] > 0
    wins = found["likelier" if first else "against_likelier"]
    print(f"likelier: {options.model if first else options.against}, in {wins:,} of {found['compared']:,}")


def _costs(*bits_per_char: float) -> str:
    """A column for each."""
    return " ".join(f"{figure(bits, 3, 9):>9}" for bits in bits_per_char)


def _nats(nats: float) -> str:
    return f"{figure(nats, 2, 15):>10}"


def _ratio(nats: float) -> str:
    return f"{'+' * (nats >= 0) + figure(nats, 2, 15):>10}"


def _named(unit: Unit, by: str, files: int) -> str:
    """Which unit it is, for people."""
    from rhapsode.text.tokenizers.base import shown

    place = f"{shown(unit.file)}: " if files > 1 and by != "file" else ""
    text = {"file": unit.file, "char": unit.text or "<end>"}.get(by, unit.text)
    return f"{place}{shown(text)}"
