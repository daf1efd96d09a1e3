"""What one document is: all of the text, each file, each line, what stands between blank lines, each row of a table.

`auto` decides like this:

    rows     if there is a table (.jsonl, .csv, .tsv); a text file beside it is one document
    lines    if every file looks like a list of short entries, such as names (see `looks_like_list`)
    files    if there are several files
    whole    else

The end of a line (`rhapsode.text.reading`) is no part of a document that is a line. Blank lines and other empty
documents are none. Where a table is not read by rows, its rows are put together as lines.
"""

from __future__ import annotations

import statistics
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rhapsode.config import CorpusConfig
from rhapsode.errors import SourceError
from rhapsode.text.reading import LINE_ENDS, Reader, lines
from rhapsode.text.source import Source

SAMPLE = 1 << 16
"""Characters at the beginning of a file that decide whether it is a list."""
FEWEST_LINES = 200
LONGEST_ENTRY = 30

END = None
"""What follows the last piece of a document."""


class Label(NamedTuple):
    """What stands before the first piece of a document that has a label."""

    name: str


def resolve(sources: list[Source], config: CorpusConfig) -> str:
    """What one document is, where the configuration leaves it open."""
    if config.documents != "auto":
        return config.documents
    if any(source.kind != "text" for source in sources):
        return "rows"
    if are_lists(sources, config):
        return "lines"
    return "files" if len(sources) > 1 else "whole"


def are_lists(sources: Iterable[Source], config: CorpusConfig) -> bool:
    """Whether every file looks like a list of short entries."""
    return all(looks_like_list(_beginning(source, config)) for source in sources)


def looks_like_list(text: str) -> bool:
    """Whether the beginning of a text is one of a list of short entries, one a line.

    So it is if there are at least 200 lines; at least 95 % of them are not blank, do not begin with white space, and do
    not end in punctuation; half of them have at most 30 characters, and three of four at most three words; and half of
    them differ. Prose and plays have longer lines, verse has more words a line, code is indented and ends its lines in
    punctuation, a log repeats itself.
    """
    entries = [entry.rstrip() for entry in lines([text])]
    if len(entries) < FEWEST_LINES:
        return False
    plain = sum(bool(e) and not e[0].isspace() and not unicodedata.category(e[-1]).startswith("P") for e in entries)
    few_words = sum(len(entry.split()) <= 3 for entry in entries)
    return (
        plain >= 0.95 * len(entries)
        and few_words >= 0.75 * len(entries)
        and len(set(entries)) >= 0.5 * len(entries)
        and statistics.median(map(len, entries)) <= LONGEST_ENTRY
    )


def documents(readers: Iterable[Reader], mode: str) -> Iterator[str | None]:
    """All documents as pieces of text, each document followed by `END`. Empty ones may be among them."""
    for reader in readers:
        if mode == "whole":
            yield from _text(reader)
        elif mode == "rows" and reader.kind != "text":
            for row in reader.records():
                yield row
                yield END
        elif mode == "lines":
            for line in lines(_text(reader)):
                yield line.rstrip(LINE_ENDS)
                yield END
        elif mode == "blank-lines":
            yield from _paragraphs(lines(_text(reader)))
        else:
            yield from _text(reader)
            yield END
    yield END


def labelled_documents(readers: Iterable[Reader], label: str) -> Iterator[str | Label | None]:
    """The rows of tables, each with what it has in the field or column `label`: a `Label`, the text, `END`.

    Raises:
        SourceError: a file is no table, or a row has no label.
    """
    for reader in readers:
        if reader.kind == "text":
            raise SourceError(
                f"{reader.name}: its texts have no labels (--label), which .jsonl, .csv and .tsv can have"
            )
        for text, name in reader.labelled(label):
            yield Label(name)
            yield text
            yield END


def joined(pieces: Iterable[str | None]) -> Iterator[str]:
    """Whole documents from their pieces; empty ones are left out."""
    begun: list[str] = []
    for piece in pieces:
        if piece is not None:
            begun.append(piece)
        elif any(begun):
            yield "".join(begun)
            begun.clear()


def _text(reader: Reader) -> Iterator[str]:
    if reader.kind == "text":
        yield from reader.text()
    else:
        for row in reader.records():
            yield row + "\n"


def _paragraphs(lines: Iterator[str]) -> Iterator[str | None]:
    """What stands between blank lines, the last line without its end."""
    end_of_last = ""
    for line in lines:
        if line.isspace():
            yield END
            end_of_last = ""
        else:
            body = line.rstrip(LINE_ENDS)
            yield end_of_last + body
            end_of_last = line[len(body) :]
    yield END


def _beginning(source: Source, config: CorpusConfig) -> str:
    text = ""
    for piece in Reader(source.path, source.name, config).text():
        text += piece
        if len(text) >= SAMPLE:
            break
    return text[:SAMPLE]
