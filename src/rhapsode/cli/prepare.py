"""``rhapsode prepare SOURCE... --out CORPUS``: text in, tokens on disk out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhapsode.cli.options import CommandOptions, argument, config_options
from rhapsode.cli.output import note, print_json
from rhapsode.config import CorpusConfig
from rhapsode.option import option


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Turn text into a corpus of tokens on disk, which train takes as a SOURCE. Without --out it goes to the cache,
    where train finds it by itself."""

    source: tuple[str, ...] = argument("files, folders, globs, or - for stdin", metavar="SOURCE...")
    out: str | None = option(None, "folder to make", metavar="CORPUS")
    overwrite: bool = option(False, "replace a corpus of other files or settings that is in the folder")
    corpus: dict[str, Any] = config_options(CorpusConfig, "text")


def run(options: Options) -> int:
    """Prepare and say what is there."""
    from rhapsode.text.amount import counts
    from rhapsode.text.corpus import prepare

    out = Path(options.out) if options.out else None
    corpus = prepare(options.source, CorpusConfig(**options.corpus), out, note=note, overwrite=options.overwrite)
    parts = {"train": counts(corpus.train), "held_out": counts(corpus.held_out)}
    if options.json:
        tokenizer = {"kind": corpus.tokenizer.kind, "vocab_size": corpus.tokenizer.vocab_size}
        about = {"corpus": str(corpus.path), "documents": corpus.documents, "tokenizer": tokenizer}
        print_json(about | parts | {"overlap": corpus.overlap and corpus.overlap.to_json()})
        return 0
    print(f"corpus    {corpus.path}")
    print(f"tokens    {corpus.tokenizer.kind}, vocabulary of {corpus.tokenizer.vocab_size:,}")
    for name, part in parts.items():
        documents = f"{part['documents']:,} document{'s' * (part['documents'] != 1)}"
        print(f"{name:<9} {part['chars']:,} characters, {part['tokens']:,} tokens, {documents}")
    if corpus.overlap and corpus.overlap.found:
        print(f"overlap   {corpus.overlap}")
    return 0
