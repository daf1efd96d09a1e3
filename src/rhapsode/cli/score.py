"""``rhapsode score MODEL [FILE...]``: how surprising a text is to a model, piece by piece."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rhapsode.cli.measuring import Meter, note_unknown, read_texts, reading_options
from rhapsode.cli.options import CommandOptions, argument, precision_option
from rhapsode.cli.output import print_json
from rhapsode.config import option
from rhapsode.errors import CorpusError

if TYPE_CHECKING:
    from rhapsode.analysis.surprisal import Unit
    from rhapsode.evaluate import Score


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Show how surprising each line of a text is to a model, in bits a character and in nats. Every file begins with
    the model's initial state, and every document for a model trained on documents.

    Text is read as the model's training text was, but for the reading options that are named.
    """

    model: str = argument("a run folder or a model file", metavar="MODEL")
    file: tuple[str, ...] = argument("files, folders, globs, or - for stdin", metavar="[FILE...]", default=("-",))
    by: Literal["line", "char", "file"] = option("line", "what is scored")
    rank: bool = option(False, "from the least to the most surprising, instead of in order")
    precision: Literal["auto", "fp32", "bf16", "int8"] = precision_option()
    reading: dict[str, Any] = reading_options()


def run(options: Options) -> int:
    """Score and report."""
    from rhapsode.analysis.surprisal import units as cut
    from rhapsode.engine import open_engine
    from rhapsode.evaluate import score_all
    from rhapsode.modelfile import ModelFile

    model = ModelFile.load(options.model)
    texts, _ = read_texts(model, options.file, options.reading)
    documents = [document for text in texts for document in text.documents]
    if not documents:
        raise CorpusError(f"{', '.join(options.file)}: no text in it")
    scores = score_all(open_engine(model, options.precision), documents, progress=Meter("score"))
    names = [text.name for text in texts for _ in text.documents]
    units = list(cut(zip(names, scores, strict=True), options.by))
    if options.rank:
        units.sort(key=lambda unit: unit.bits_per_char)
    total = _total(scores)
    note_unknown(total["unknown"])
    if options.json:
        head = {"model": options.model, "files": options.file, "by": options.by}
        print_json(head | total | {"scores": [vars(unit) for unit in units]})
    else:
        _show(units, total, options.by, len(texts))
    return 0


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
    from rhapsode.text.tokenizers.base import shown

    print(f"{'bits/char':>9} {'nats':>10}  {by}")
    for unit in units:
        place = f"{shown(unit.file)}: " if files > 1 and by != "file" else ""
        text = {"file": unit.file, "char": unit.text or "<end>"}.get(by, unit.text)
        print(f"{unit.bits_per_char:9.3f} {unit.nats:10.2f}  {place}{shown(text)}")
    print(f"{total['bits_per_char']:9.3f} {total['nats_total']:10.2f}  total of {total['chars']:,} characters")
