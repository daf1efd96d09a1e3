"""How a file becomes text: unpacked, decoded, and taken out of its records; in pieces, so that its size is no matter.

    .gz .xz .zst            unpacked first; the rest of the name then says what is inside
    .jsonl .ndjson          one JSON object a line; the text is its field `CorpusConfig.field`
    .csv .tsv               the text is the column `CorpusConfig.column`: a name that the first row has, which then is
                            a header; else a number from 0, and there is no header (unless it names a label's column);
                            columns are separated as `rhapsode.text.separator` says
    anything else           text, kept as it is: line ends too

A line ends with a line feed, a carriage return and a line feed, or, in files of old, a carriage return alone.
Bytes are decoded strictly unless the user asks otherwise. A byte order mark (of UTF-8, UTF-16 or UTF-32) is removed,
and names the encoding of its file.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, cast

from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, MissingDependency, SourceError, listed
from rhapsode.text.separator import LOOKED_AT, separator, stated

BLOCK = 1 << 20
"""Bytes read at a time."""
SNIFF = 8192
"""Bytes that tell what a file is."""
LONGEST_FIELD = 2**31 - 1
LINE_ENDS = "\r\n"
"""A line ends with the second, the first, or both."""

_MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_TABLES = (".csv", ".tsv")
_PACKED = (".gz", ".xz", ".zst")


class Reader:
    """One file, read once from start to end.

    Raises (while it is read):
        SourceError: the file cannot be read, unpacked or decoded, or a record lacks its text.
        ConfigError: there is no such encoding.
        MissingDependency: .zst without the package that unpacks it.
    """

    def __init__(self, path: Path, name: str, config: CorpusConfig):
        self.path, self.name, self.config = path, name, config
        self.kind = kind_of(path)
        self.sha256 = hashlib.sha256()
        """of the bytes of the file, once it was read to its end"""
        self.bytes_read = 0
        self.empty_records = 0

    def text(self) -> Iterator[str]:
        """The decoded text in pieces. A table's is its source, too."""
        with _refusals(self.name), open(self.path, "rb", buffering=0) as file:
            counted = io.BufferedReader(_Counted(file, self), BLOCK)
            with _unpacked(counted, self.path) as stream:
                yield from self._decoded(stream)
                while counted.read(BLOCK):  # what follows a packed stream is part of the file
                    pass

    def records(self) -> Iterator[str]:
        """The texts of the rows of a .jsonl, .csv or .tsv file; empty ones are counted and left out."""
        return (text for (text,) in self._records({}))

    def labelled(self, label: str) -> Iterator[tuple[str, str]]:
        """Likewise, each with what the row has in the field or column `label`.

        Raises:
            SourceError: a row has no label, or an empty one.
        """
        for number, (text, found) in enumerate(self._records({"--label": label}), 1):
            if not found:
                raise SourceError(f"{self.name}: text {number} has an empty label ({label!r})")
            yield text, found

    def _records(self, others: dict[str, str]) -> Iterator[tuple[str, ...]]:
        """The rows that have text: the text, and the fields or columns that the options in `others` name."""
        own = {"--field": self.config.field} if self.kind == "jsonl" else {"--column": self.config.column}
        rows = self._json_rows(own | others) if self.kind == "jsonl" else self._table_rows(own | others)
        for row in rows:
            if row[0]:
                yield row
            else:
                self.empty_records += 1

    def _decoded(self, stream: IO[bytes]) -> Iterator[str]:
        block = stream.read(BLOCK)
        mark, encoding = next((m for m in _MARKS if block.startswith(m[0])), (b"", self.config.encoding))
        decoder = new_decoder(encoding, self.config.errors)
        position, block = len(mark), block[len(mark) :]
        while block:
            position += len(block)
            yield self._decode(decoder, block, position, encoding)
            block = stream.read(BLOCK)
        yield self._decode(decoder, b"", position, encoding)

    def _decode(self, decoder: codecs.IncrementalDecoder, block: bytes, end: int, encoding: str) -> str:
        """Decode one block that ends at byte `end`; an empty one is the last."""
        try:
            return decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            offset = end - len(error.object) + error.start
            looks = ", and the file looks binary: if it is text," if 0 in error.object else ";"
            raise SourceError(
                f"{self.name}: byte {offset} (0x{error.object[error.start]:02X}) is not {encoding}{looks} "
                f"name the right one with --encoding (cp1252, utf-16, …) or use --errors replace"
            ) from None

    def _json_rows(self, fields: dict[str, str]) -> Iterator[tuple[str, ...]]:
        for number, line in enumerate(lines(self.text()), 1):
            if not line.isspace():
                yield self._json_fields(line, fields, f"{self.name}: line {number}")

    def _json_fields(self, line: str, fields: dict[str, str], where: str) -> tuple[str, ...]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{where} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise SourceError(f"{where} is JSON, but no object")
        return tuple(self._json_text(row, field, option, where) for option, field in fields.items())

    def _json_text(self, row: dict[str, Any], field: str, option: str, where: str) -> str:
        """A field's text; a label may be a number or a truth value, too."""
        if field not in row:
            names = listed(map(repr, row)) or "none"
            raise SourceError(f"{where} has no field {field!r}; it has {names}: choose one with {option}")
        value = row[field]
        if option == "--label" and isinstance(value, int | float):
            return json.dumps(value)
        if value is not None and not isinstance(value, str):
            raise SourceError(f"{where}: field {field!r} is {type(value).__name__}, expected text")
        return value or ""

    def _table_rows(self, names: dict[str, str]) -> Iterator[tuple[str, ...]]:
        csv.field_size_limit(LONGEST_FIELD)
        text = lines(self.text())
        head = list(itertools.islice(text, LOOKED_AT))
        told = stated(head[0]) if head else None
        mark = "\t" if _suffix(self.path) == ".tsv" else told or separator(head, names.values())
        table = csv.reader(itertools.chain(head, text), delimiter=mark, strict=True)
        rows = filter(None, table)
        try:
            if told:
                next(table)
            first = next(rows, [])
            columns = [self._column(first, name, option) for option, name in names.items()] if first else []
            if first and not any(name in first for name in names.values()):
                yield self._cells(first, columns, table.line_num)
            for row in rows:
                yield self._cells(row, columns, table.line_num)
        except csv.Error as error:
            raise SourceError(f"{self.name}: line {table.line_num} is no row of a table: {error}") from None

    def _column(self, first: list[str], name: str, option: str) -> int:
        """Which column has this name, or number."""
        if first.count(name) > 1:
            raise SourceError(f"{self.name}: {first.count(name)} columns are called {name!r}; {option} must name one")
        if name in first:
            return first.index(name)
        if name.isdecimal() and len(name) < 10:
            return int(name)
        raise SourceError(
            f"{self.name}: no column {name!r}; it has {listed(map(repr, first))}: choose one with {option}"
        )

    def _cells(self, row: list[str], columns: list[int], line: int) -> tuple[str, ...]:
        if max(columns) >= len(row):
            raise SourceError(f"{self.name}: line {line} has {len(row)} columns, expected more than {max(columns)}")
        return tuple(row[column] for column in columns)


class _Counted(io.RawIOBase):
    """A file whose bytes are counted and hashed as they are read."""

    def __init__(self, file: IO[bytes], reader: Reader):
        self._file, self._reader = file, reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = cast(Any, self._file).readinto(buffer)
        self._reader.sha256.update(memoryview(buffer)[:count])
        self._reader.bytes_read += count
        return count


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """What the system or an unpacker refuses, as a `SourceError` that names the file."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, _zstd_error()) as error:
        raise SourceError(f"{name}: the packed file is damaged or cut off: {error}") from None
    except OSError as error:
        raise SourceError(f"{name}: cannot be read: {error.strerror or error}") from None


def kind_of(path: Path) -> Literal["text", "jsonl", "table"]:
    """What the name says is in the file."""
    suffix = _suffix(path)
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    return "table" if suffix in _TABLES else "text"


def is_binary(path: Path, config: CorpusConfig) -> bool:
    """Whether the file's beginning has NUL bytes and is no text of the encoding."""
    with _refusals(str(path)), open(path, "rb") as file, _unpacked(file, path) as stream:
        head = stream.read(SNIFF)
    if b"\0" not in head or head.startswith(tuple(mark for mark, _ in _MARKS)):
        return False
    try:
        new_decoder(config.encoding, "strict").decode(head)
    except UnicodeDecodeError:
        return True
    return False


def new_decoder(encoding: str, errors: str) -> codecs.IncrementalDecoder:
    """A streaming decoder.

    Raises:
        ConfigError: there is no such encoding of text.
    """
    try:
        "".encode(encoding)
        return codecs.getincrementaldecoder(encoding)(errors)
    except (LookupError, ValueError):
        raise ConfigError(
            "encoding", encoding, "an encoding that Python knows, such as utf-8, cp1252, utf-16"
        ) from None


def _suffix(path: Path) -> str:
    """The last suffix in lower case, that of the packing apart."""
    return unpacked(path).suffix.lower()


def unpacked(path: Path) -> Path:
    """The path without the suffix of its packing."""
    return path.with_suffix("") if path.suffix.lower() in _PACKED else path


def _unpacked(file: IO[bytes], path: Path) -> IO[bytes]:
    opener: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".xz": lzma.open, ".zst": _open_zstd}
    if path.suffix.lower() in opener:
        return cast(IO[bytes], opener[path.suffix.lower()](file))
    return file


def _open_zstd(file: IO[bytes]) -> IO[bytes]:
    with contextlib.suppress(ImportError):  # from Python 3.14 on
        from compression import zstd

        return cast(IO[bytes], zstd.open(file))
    try:
        import zstandard
    except ImportError:
        raise MissingDependency("reading .zst needs a package: pip install 'rhapsode[data]'") from None
    return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))


def _zstd_error() -> type[Exception]:
    """What the package that unpacks .zst raises, if there is one."""
    with contextlib.suppress(ImportError):
        from compression import zstd

        return zstd.ZstdError
    with contextlib.suppress(ImportError):
        import zstandard

        return zstandard.ZstdError
    return EOFError


def lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, with their ends."""
    begun: list[str] = []
    for line in (line for piece in pieces for line in io.StringIO(piece, newline="")):
        if begun and begun[-1][-1] in LINE_ENDS and not (line == "\n" and begun[-1][-1] == "\r"):
            yield "".join(begun)
            begun.clear()
        begun.append(line)
    if begun:
        yield "".join(begun)
