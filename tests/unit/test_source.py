"""Sources: which files an argument means, how they become text, and what is said of those that do not."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import lzma
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, MissingDependency, SourceError
from rhapsode.text import reading
from rhapsode.text.reading import Reader
from rhapsode.text.source import find_sources


def write(path, data: bytes | str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def found(tmp_path, *arguments, stdin=None, **options):
    """Names relative to tmp_path, texts, notes."""
    config, copies = CorpusConfig(**options), tmp_path / "copies"
    copies.mkdir(exist_ok=True)
    notes = []
    sources = find_sources([str(a) for a in arguments], config, copies, notes.append, stdin)
    texts = ["".join(Reader(s.path, s.name, config).text()) for s in sources]
    return [s.name.removeprefix(f"{tmp_path}/") for s in sources], texts, notes


def text_of(path, **options) -> str:
    return "".join(Reader(path, path.name, CorpusConfig(**options)).text())


def records_of(path, **options) -> list[str]:
    return list(Reader(path, path.name, CorpusConfig(**options)).records())


def test_a_folder_is_its_visible_text_files_sorted(tmp_path):
    for name in ("d/b.txt", "d/a/z.txt", "d/c", "d/.hidden", "d/.git/config"):
        write(tmp_path / name, name)
    write(tmp_path / "d/picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    write(tmp_path / "d/nul.txt", b"a\0b")
    names, texts, notes = found(tmp_path, tmp_path / "d")
    assert names == ["d/b.txt", "d/c", "d/nul.txt", "d/a/z.txt"]
    assert texts == ["d/b.txt", "d/c", "a\0b", "d/a/z.txt"]
    assert len(notes) == 1
    assert "picture.png" in notes[0]


def test_runs_and_corpora_in_a_folder_are_no_text(tmp_path):
    made = ("runs/a/run.json", "runs/a/metrics.jsonl", "runs/a/more/x.txt", "c/manifest.json", "c/train.tokens")
    for name in (*made, "site/manifest.json", "site/run.json", "a.txt"):
        write(tmp_path / "d" / name, name)
    names, _, notes = found(tmp_path, tmp_path / "d")
    assert names == ["d/a.txt", "d/site/manifest.json", "d/site/run.json"]
    assert notes == [f"{tmp_path / 'd' / name}: skipped, rhapsode made it" for name in ("c", "runs/a")]


def test_what_rhapsode_has_made_is_no_text_and_the_error_says_what_it_is(tmp_path):
    for name in ("run/run.json", "run/metrics.jsonl", "c/manifest.json", "c/train.tokens", "m.safetensors"):
        write(tmp_path / name, name)
    for name, what in (("run", "a run"), ("c", "a prepared corpus"), ("m.safetensors", "a model file")):
        with pytest.raises(SourceError, match=f"{name}: {what}"):
            found(tmp_path, tmp_path / name)
    with pytest.raises(SourceError, match=r"without text files; .*looks binary; .*c: skipped, rhapsode made it"):
        found(tmp_path, tmp_path)


def test_globs_are_expanded_and_arguments_keep_their_order(tmp_path):
    for name in ("b.txt", "a.txt", "s/c.txt", "[x].txt"):
        write(tmp_path / name, name)
    assert found(tmp_path, tmp_path / "s", tmp_path / "?.txt")[0] == ["s/c.txt", "a.txt", "b.txt"]
    assert found(tmp_path, tmp_path / "**" / "*.txt")[0] == ["[x].txt", "a.txt", "b.txt", "s/c.txt"]
    assert found(tmp_path, tmp_path / "[x].txt")[0] == ["[x].txt"]


def test_a_file_named_twice_is_read_once(tmp_path):
    path = write(tmp_path / "a.txt", "a")
    names, _, notes = found(tmp_path, path, tmp_path / "*.txt")
    assert names == ["a.txt"]
    assert "twice" in notes[0]


def test_standard_input(tmp_path):
    names, texts, _ = found(tmp_path, "-", stdin=io.BytesIO("Zoë\n".encode()))
    assert (names, texts) == (["<stdin>"], ["Zoë\n"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(write, pipe, "through a pipe")
        names, texts, _ = found(tmp_path, pipe)
    assert (names, texts) == (["pipe"], ["through a pipe"])


@pytest.mark.parametrize(
    ("argument", "said"), [("missing.txt", "no such file"), ("*.nothing", "no file matches"), ("empty", "without text")]
)
def test_what_means_no_file_is_refused(tmp_path, argument, said):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=said):
        found(tmp_path, tmp_path / argument)
    with pytest.raises(SourceError, match="no text named"):
        found(tmp_path)


def _zstd(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").compress(data)


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("zst", _zstd)])
def test_packed_files_are_unpacked(tmp_path, suffix, pack):
    text = "Zoë 你好\r\n" * 10_000
    whole = pack(text.encode())
    assert text_of(write(tmp_path / f"a.txt.{suffix}", whole)) == text
    assert text_of(write(tmp_path / f"two.{suffix}", whole + whole)) == text * 2
    rows = pack(b'{"text": "a"}\n')
    assert records_of(write(tmp_path / f"a.jsonl.{suffix}", rows)) == ["a"]


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress)])
def test_packed_files_that_are_cut_off_or_no_such_are_refused(tmp_path, suffix, pack):
    for data in (pack(b"text" * 1000)[:-9], b"plain text"):
        with pytest.raises(SourceError, match="damaged"):
            text_of(write(tmp_path / f"a.{suffix}", data))


def test_a_packed_file_that_is_no_zstd_is_refused(tmp_path):
    pytest.importorskip("zstandard")
    with pytest.raises(SourceError, match="damaged"):
        text_of(write(tmp_path / "a.zst", b"plain text"))


def test_zstd_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(MissingDependency, match=r"rhapsode\[data\]"):
        text_of(write(tmp_path / "a.zst", b"x"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_byte_order_marks_are_understood_and_removed(tmp_path, encoding):
    mark = "\ufeff" if encoding.endswith("be") else ""
    assert text_of(write(tmp_path / "a", (mark + "Zoë\r\n\0").encode(encoding))) == "Zoë\r\n\0"


def test_a_file_that_looks_binary_is_said_to(tmp_path):
    with pytest.raises(SourceError, match=r"byte 2 \(0xFF\) is not utf-8, and the file looks binary: if it is text"):
        text_of(write(tmp_path / "a.docx", b"PK\xff\0\0"))


def test_another_encoding(tmp_path):
    path = write(tmp_path / "a", "Zoë".encode("cp1252"))
    assert text_of(path, encoding="cp1252") == "Zoë"
    assert text_of(path, errors="replace") == "Zo\ufffd"
    for bad in ("klingon", "rot13", "a\0b", "base64"):
        with pytest.raises(ConfigError, match="encoding"):
            text_of(path, encoding=bad)


@pytest.mark.parametrize("before", [0, 5, reading.BLOCK - 1, reading.BLOCK, 3 * reading.BLOCK + 7])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bad_bytes_are_named_with_file_and_offset(tmp_path, before, mark):
    path = write(tmp_path / "bad.txt", mark + b"a" * before + b"\x92" + b"b" * 9)
    with pytest.raises(
        SourceError, match=rf"bad.txt: byte {len(mark) + before} \(0x92\).*--encoding.*--errors replace"
    ):
        text_of(path)


def test_a_character_across_blocks_and_one_cut_off_at_the_end(tmp_path):
    text = "a" * (reading.BLOCK - 1) + "你" * 10
    assert text_of(write(tmp_path / "a", text)) == text
    with pytest.raises(SourceError, match=f"byte {reading.BLOCK - 1} "):
        text_of(write(tmp_path / "b", text.encode()[: reading.BLOCK + 1]))


def test_bytes_are_hashed_and_counted_whole(tmp_path):
    data = gzip.compress(b"text") + b"\0\0\0"
    reader = Reader(write(tmp_path / "a.gz", data), "a.gz", CorpusConfig())
    assert "".join(reader.text()) == "text"
    assert (reader.bytes_read, reader.sha256.hexdigest()) == (len(data), hashlib.sha256(data).hexdigest())


def test_json_lines(tmp_path):
    rows = [{"text": "a\nb"}, {"text": ""}, {"text": None}, {"text": "ü\u2028", "n": 1}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(r, ensure_ascii=False) for r in rows))
    reader = Reader(path, "a.jsonl", CorpusConfig())
    assert list(reader.records()) == ["a\nb", "ü\u2028"]
    assert reader.empty_records == 2
    assert records_of(write(tmp_path / "b.ndjson", '{"body": "x"}'), field="body") == ["x"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[1]", "no object"),
        ('{"body": "x", "id": 1}', "no field 'text'.*'body', 'id'.*--field"),
        ('{"text": 3}', "field 'text' is int"),
    ],
)
def test_json_lines_that_hold_no_text_are_refused(tmp_path, line, said):
    with pytest.raises(SourceError, match=said):
        records_of(write(tmp_path / "a.jsonl", '{"text": "a"}\n' + line))


def test_tables(tmp_path):
    comma = write(tmp_path / "a.csv", 'id,text\r\n1,"a ""b"",\nc"\r\n\r\n2,\r\n3,d')
    assert records_of(comma) == ['a "b",\nc', "d"]
    assert records_of(comma, column="0") == ["id", "1", "2", "3"]
    assert records_of(write(tmp_path / "a.tsv", "id\ttext\n1\ta, b\n")) == ["a, b"]
    assert records_of(write(tmp_path / "numbers.csv", "0,1\na,b"), column="1") == ["b"]
    assert records_of(write(tmp_path / "empty.csv", "")) == []


SPREADSHEET = 'Nr;text;Preis\r\n1;"Ach, so; ""ja"",\nnein";3,50\r\n2;Grüße, Welt;1,00\r\n'


@pytest.mark.parametrize(
    ("table", "options", "texts"),
    [
        (SPREADSHEET, {}, ['Ach, so; "ja",\nnein', "Grüße, Welt"]),
        ("\ufeff" + SPREADSHEET, {"column": "Preis"}, ["3,50", "1,00"]),
        (SPREADSHEET, {"column": "1"}, ["text", 'Ach, so; "ja",\nnein', "Grüße, Welt"]),
        ("sep=;\r\n" + SPREADSHEET, {"column": "2"}, ["Preis", "3,50", "1,00"]),
        ("sep=|\ntext|n\na, b|1;2\n", {}, ["a, b"]),
        ("id\ttext\n1\ta, b; c\n2\tb\n", {}, ["a, b; c", "b"]),
        ("a;x\nb;y\n", {"column": "0"}, ["a", "b"]),
        ("a; b,x\nc; d,y\n", {"column": "0"}, ["a; b", "c; d"]),
        ("a; b\nc\n", {"column": "0"}, ["a; b", "c"]),
        ("text\na; b, c\n", {}, ["a; b"]),
        ('text\n"a; b, c"\n', {}, ["a; b, c"]),
        ("text;n\n" + "a, b;1\n" * 500, {}, ["a, b"] * 500),
    ],
)
def test_a_table_is_cut_at_what_separates_its_columns(tmp_path, table, options, texts):
    assert records_of(write(tmp_path / "a.csv", table), **options) == texts


def test_a_long_cell_works(tmp_path):
    cell = "x" * (csv.field_size_limit() + 1 if csv.field_size_limit() < 10**6 else 200_000)
    assert records_of(write(tmp_path / "a.csv", f"text\n{cell}\n")) == [cell]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("id,body\n1,a", {}, "no column 'text'; it has 'id', 'body': choose one with --column"),
        ("id;body\n1;a", {}, "no column 'text'; it has 'id', 'body': choose one with --column"),
        ("sep=;\ntext;n\n1\n", {"column": "n"}, "line 3 has 1 columns"),
        ("a,b\nc", {"column": "1"}, "line 2 has 1 columns"),
        ("text,b\n1,2\n", {"column": "x"}, "no column 'x'"),
        ("text,b,text\n1,2,3\n", {}, "2 columns are called 'text'; --column must name one"),
        ('text\n"a"b\n', {}, "line 2 is no row"),
        ('text\n"a', {}, "no row"),
    ],
)
def test_tables_that_hold_no_text_are_refused(tmp_path, text, options, said):
    with pytest.raises(SourceError, match=said):
        records_of(write(tmp_path / "a.csv", text), **options)


def test_a_name_that_the_system_refuses(tmp_path):
    with pytest.raises(SourceError, match="cannot be read: File name too long"):
        found(tmp_path, "x" * 300)
    with pytest.raises(SourceError, match="null"):
        found(tmp_path, "a\0b")
