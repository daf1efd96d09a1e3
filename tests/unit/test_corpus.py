"""Corpora: documents, split, store, cache; what is refused, and that nothing is left half-written."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, CorpusError, OutputError, SourceError
from rhapsode.text import cache, split, spool
from rhapsode.text.corpus import Corpus, Part, open_corpus, prepare
from rhapsode.text.documents import documents, looks_like_list
from rhapsode.text.reading import Reader, lines
from rhapsode.text.tokenizer import Tokenizer

DATA = Path(__file__).parents[3] / "shared" / "data"
KINDS = ("char", "byte", "word", "bpe")
real_text = pytest.mark.skipif(not DATA.is_dir(), reason="the texts for tests (../shared/data) are not here")
NAMES = "".join(
    f"{a}{b}{c}\n" for a in ("an", "be", "ca", "do", "el") for b in ("ra", "mo", "ni") for c in "abcdefghijklmn"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))


def write(path: Path, text: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def made(tmp_path: Path, text: str | bytes, name: str = "a.txt", **options) -> Corpus:
    return prepare([write(tmp_path / name, text)], CorpusConfig(**options))


def texts(part: Part, tokenizer: Tokenizer) -> list[str]:
    """The documents of a part."""
    return [tokenizer.decode(tokens) for tokens in np.split(part.tokens, part.starts)[1:]]


def split_text(corpus: Corpus) -> tuple[list[str], list[str]]:
    return texts(corpus.train, corpus.tokenizer), texts(corpus.held_out, corpus.tokenizer)


@real_text
@pytest.mark.parametrize(
    ("name", "mode"), [("tinyshakespeare", "whole"), ("pride-and-prejudice", "whole"), ("names", "lines")]
)
def test_what_a_document_is_in_real_text(name, mode):
    assert prepare([str(DATA / f"{name}.txt")], CorpusConfig(tokenizer="byte")).documents == mode


@real_text
def test_shakespeare_is_split_as_nanogpt_does():
    corpus = prepare([str(DATA / "tinyshakespeare.txt")], CorpusConfig())
    assert (corpus.train.chars, corpus.held_out.chars) == (1_003_854, 111_540)
    assert (len(corpus.train.tokens), len(corpus.held_out.tokens)) == (1_003_855, 111_541)
    assert corpus.tokenizer.vocab_size == 65 + 2
    assert corpus.train.tokens.dtype == np.uint8


@real_text
def test_a_thousand_names_are_held_out():
    corpus = prepare([str(DATA / "names.txt")], CorpusConfig(held_out=1000))
    train, held_out = split_text(corpus)
    assert (len(train), len(held_out)) == (31_033, 1000)
    assert not set(train) & set(held_out)


def test_source_code_and_verse_are_no_lists():
    verse = "I wandered lonely as a cloud\nThat floats on high o'er vales and hills\n" * 200
    assert not looks_like_list(verse)
    assert not looks_like_list(Path(json.__file__).read_text("utf-8") * 3)
    assert not looks_like_list("人生不相見\n動如參與商。\n" * 200)
    assert not looks_like_list("".join(f"anna {n}\n" for n in range(199)))
    assert looks_like_list("".join(f"Anna Maria {n}\nbob {n}\r\n" for n in range(100)))
    assert looks_like_list("".join(f"李{chr(0x4E00 + n)}\n" for n in range(200)))
    assert looks_like_list("\n".join(f"anna {n}" for n in range(200)))


def test_a_text_that_repeats_itself_is_no_list():
    assert not looks_like_list("line one\r\nline two\r\n" * 300)


def test_unasked_at_most_a_million_characters_are_held_out(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("abcde fghij " * 100)
    monkeypatch.setattr("rhapsode.text.split.MOST_CHARS", 50)
    sources = [str(tmp_path / "a.txt")]
    assert prepare(sources, CorpusConfig(), tmp_path / "unasked").held_out.chars == 50
    assert prepare(sources, CorpusConfig(held_out=0.1), tmp_path / "asked").held_out.chars == 120


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("whole", ["one\r\n\r\n\ntwo\nthree\n \n"]),
        ("files", ["one\r\n\r\n\ntwo\nthree\n \n"]),
        ("lines", ["one", "", "", "two", "three", " "]),
        ("blank-lines", ["one", "two\nthree"]),
    ],
)
def test_modes_of_documents(tmp_path, mode, expected):
    reader = Reader(Path(write(tmp_path / "a", "one\r\n\r\n\ntwo\nthree\n \n")), "a", CorpusConfig())
    found, begun = [], []
    for piece in documents([reader], mode):
        if piece is None:
            found.append("".join(begun))
            begun.clear()
        else:
            begun.append(piece)
    assert list(filter(str.strip, found)) == list(filter(str.strip, expected))
    assert not begun


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_their_system_has_it(tmp_path, end):
    def documents_of(text: str, name: str = "a.txt", **options) -> list[str]:
        return split_text(made(tmp_path, text.replace("\n", end), name, held_out=0, **options))[0]

    assert documents_of("one\ntwo\n\n", documents="lines") == ["one", "two"]
    assert documents_of("one\ntwo\n\nthree\n", documents="blank-lines") == [f"one{end}two", "three"]
    assert documents_of("one\ntwo\n\n", documents="whole") == [f"one{end}two{end}{end}"]
    assert documents_of('text,n\n"one\ntwo",1\nthree,2', "a.csv") == [f"one{end}two", "three"]
    assert documents_of("sep=;\nn;text\n1;one\n", "b.csv") == ["one"]
    assert documents_of('{"text": "one"}\n\n{"text": "two"}\n', "a.jsonl") == ["one", "two"]
    assert looks_like_list(NAMES.replace("\n", end))


@given(st.lists(st.text("ab\r\n\x0b\u2028", max_size=4), max_size=8))
def test_lines_are_those_of_a_file_however_it_comes_in_pieces(pieces):
    expected = list(io.TextIOWrapper(io.BytesIO("".join(pieces).encode()), "utf-8", newline=""))
    assert list(lines(pieces)) == expected


def test_layout_of_tokens(tmp_path):
    whole = made(tmp_path, "abc", held_out=0)
    assert whole.train.tokens.tolist() == [3, 0, 1, 2]
    assert whole.train.starts.tolist() == [0]
    assert (len(whole.held_out.tokens), len(whole.held_out.starts), whole.held_out.chars) == (0, 0, 0)
    two = made(tmp_path, "ab\n\nc\r\n", documents="lines", held_out=0)
    assert two.train.tokens.tolist() == [3, 0, 1, 3, 2, 3]
    assert two.train.starts.tolist() == [0, 3]


def test_a_cut_document_goes_on_in_the_held_out_part(tmp_path):
    corpus = made(tmp_path, "abcd\nefgh\nijkl", documents="lines", held_out=0.5, split="tail", tokenizer="byte")
    assert split_text(corpus) == (["abcd", "ef"], ["gh", "ijkl"])
    assert corpus.train.tokens[-1] == ord("f")
    assert corpus.held_out.tokens[-1] == corpus.tokenizer.boundary


@pytest.mark.parametrize("n", [10, 30, 1000, 1_115_394])
@pytest.mark.parametrize("held_out", [0.1, 0.2, 0.3, 0.7])
def test_the_tail_is_exact(n, held_out):
    tail = spool.Spool(Path(), n, np.array([n]), np.array([0], np.uint64), (), np.empty(0, np.int64))
    first = next(iter(split.segments(tail, CorpusConfig(held_out=held_out))))
    assert first.chars == n * (10 - round(held_out * 10)) // 10


def test_auto_splits_by_documents_from_100_on(tmp_path):
    many = made(tmp_path, NAMES)
    train, held_out = split_text(many)
    assert (len(train), len(held_out)) == (189, 21)
    assert train != NAMES.split()[:189]
    few = NAMES.split()[:99]
    train, held_out = split_text(made(tmp_path, "\n".join(few), documents="lines"))
    assert "".join(train + held_out) == "".join(few)


def test_the_draw_depends_on_the_seed_alone(tmp_path):
    one = made(tmp_path, NAMES)
    shuffled = random.Random(1).sample(NAMES.split(), 210)
    other = made(tmp_path, "\n".join(shuffled), name="b.txt", documents="lines")
    seeded = made(tmp_path, NAMES, split_seed=1)
    assert sorted(split_text(one)[1]) == sorted(split_text(other)[1])
    assert split_text(one)[1] != split_text(seeded)[1]


@given(
    groups=st.lists(st.tuples(st.text("abc", min_size=1, max_size=4), st.integers(1, 5)), min_size=4, max_size=40),
    held_out=st.one_of(st.integers(1, 3), st.sampled_from([0.1, 0.5])),
    stride=st.sampled_from([4, 16, 1 << 16]),
)
@settings(deadline=None, max_examples=80)
def test_no_document_is_on_both_sides_and_none_is_lost(tmp_path_factory, groups, held_out, stride):
    folder, listed = tmp_path_factory.mktemp("law9"), [text for text, count in groups for _ in range(count)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "STRIDE", stride)
        patch.setenv("RHAPSODE_CACHE", str(folder))
        try:
            corpus = made(
                folder, "\n".join(listed), tokenizer="byte", documents="lines", split="documents", held_out=held_out
            )
        except CorpusError as error:
            assert "equal" in str(error)  # noqa: PT017
            return
    train, held = split_text(corpus)
    assert sorted(train + held) == sorted(listed)
    assert not set(train) & set(held)
    assert 0 < len(held) <= (held_out if held_out >= 1 else max(1, int(held_out * len(listed))))


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(min_size=12, max_size=80), cut=st.sampled_from([0.1, 0.25, 0.5]))
@settings(deadline=None, max_examples=15)
def test_the_parts_cover_all_of_the_text_once(tmp_path_factory, kind, text, cut):
    folder = tmp_path_factory.mktemp("cover")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_CACHE", str(folder))
        corpus = made(folder, text, tokenizer=kind, documents="whole", held_out=cut, errors="replace")
    text = text.removeprefix("\ufeff")
    n = int((1 - cut) * len(text))
    for part, expected in ((corpus.train, text[:n]), (corpus.held_out, text[n:])):
        assert (part.chars, part.bytes) == (len(expected), len(expected.encode()))
        assert part.tokens.astype(np.int32).tolist() == [
            corpus.tokenizer.boundary,
            *corpus.tokenizer.encode(expected).tolist(),
        ]
        assert part.starts.tolist() == [0]


@pytest.mark.parametrize("kind", KINDS)
def test_text_in_many_pieces_is_the_text(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(spool, "BLOCK", 64)
    text = "It was 你好, the best of times.\r\n\r\n  So 👍🏽 they said\n" * 40
    corpus = made(tmp_path, text, tokenizer=kind, held_out=0, vocab_size=400)
    assert split_text(corpus)[0] == [text]
    assert corpus.train.tokens.astype(np.int32)[1:].tolist() == corpus.tokenizer.encode(text).tolist()


def test_a_long_line_without_a_place_to_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "BLOCK", 1000)
    for kind in KINDS:
        corpus = made(tmp_path, "你x" * 20_000, tokenizer=kind, held_out=0, vocab_size=300)
        assert split_text(corpus)[0] == ["你x" * 20_000]


def test_characters_of_the_held_out_part_alone_are_unknown(tmp_path):
    corpus = made(tmp_path, "abc" * 6 + "z" * 2)
    assert corpus.tokenizer.encode("z").tolist() == [corpus.tokenizer.unknown]
    assert corpus.held_out.tokens[-1] == corpus.tokenizer.unknown


def test_lower_case_counts_are_of_the_text_as_encoded(tmp_path):
    corpus = made(tmp_path, "İSTANBUL", lowercase=True, held_out=0)
    assert split_text(corpus)[0] == ["i̇stanbul"]
    assert (corpus.train.chars, corpus.train.bytes) == (9, 10)


def test_what_is_said_of_the_sources_is_said_of_those_that_were_named(tmp_path, monkeypatch):
    """Not of what another command had named when it prepared the same text."""
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    text, notes = write(tmp_path / "t.txt", "three\nfour"), list[str]()
    for _ in range(2):
        prepare([text, text], CorpusConfig(), note=notes.append)
    prepare([text], CorpusConfig(), note=notes.append)
    assert notes == [f"{text}: named twice, read once"] * 2


def test_rows_files_and_their_mixture(tmp_path):
    rows = write(tmp_path / "r.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in ("one\n", "", "\ud800two")))
    text = write(tmp_path / "t.txt", "three\nfour")
    notes: list[str] = []
    by_rows = prepare([rows, text], CorpusConfig(held_out=0), note=notes.append)
    assert by_rows.documents == "rows"
    assert split_text(by_rows)[0] == ["one\n", "\ufffdtwo", "three\nfour"]
    assert notes == [f"{rows}: 1 rows without text were left out"]
    by_files = prepare([rows, text], CorpusConfig(held_out=0, documents="files"))
    assert split_text(by_files)[0] == ["one\n\n\ufffdtwo\n", "three\nfour"]
    assert prepare([text, write(tmp_path / "u.txt", "five")], CorpusConfig(held_out=0)).documents == "files"


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        ("", {}, SourceError, "no text in it"),
        ("\ufeff", {}, SourceError, "no text in it"),
        ("\n\n", {"documents": "lines"}, SourceError, "no text in it"),
        ("x", {}, CorpusError, "1 characters, 0 of them left"),
        ("x", {"held_out": 0}, CorpusError, "expected at least 2"),
        ("a\nb", {"documents": "lines", "held_out": 2}, CorpusError, "expected at least 3, found 2"),
        ("a\nb", {"documents": "lines", "held_out": 1.5}, ConfigError, "whole number"),
        ("a\nb", {"documents": "lines", "held_out": 1, "split": "tail"}, ConfigError, "below 1"),
        ("a\n" * 200, {"documents": "lines"}, CorpusError, "too many are equal"),
        ("abcdef", {"tokenizer": "bpe", "vocab_size": 100}, ConfigError, "from 257"),
        ("ab", {"encoding": "klingon"}, ConfigError, "klingon"),
        (b"abc\xff", {}, SourceError, "byte 3"),
    ],
)
def test_text_that_makes_no_corpus_is_refused_and_leaves_nothing(tmp_path, text, options, error, said):
    with pytest.raises(error, match=said) as caught:
        made(tmp_path, text, **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("cache/**/*")) == list(tmp_path.glob("cache/corpora"))


def test_a_corpus_is_reused_until_text_or_settings_change(tmp_path):
    source = write(tmp_path / "a.txt", "some text")
    first = prepare([source], CorpusConfig())
    written = (first.path / "manifest.json").stat().st_mtime_ns
    again = prepare([source], CorpusConfig())
    assert (again.path, again.digest) == (first.path, first.digest)
    assert (again.path / "manifest.json").stat().st_mtime_ns == written
    other = prepare([source], CorpusConfig(lowercase=True))
    assert other.path != first.path
    assert other.digest != first.digest
    write(tmp_path / "a.txt", "some other text")
    assert prepare([source], CorpusConfig()).path != first.path


def sizes(corpora: list[Corpus]) -> int:
    return sum(file.stat().st_size for corpus in corpora for file in corpus.path.iterdir())


def test_the_cache_keeps_what_was_used_last(tmp_path, monkeypatch):
    corpora = [made(tmp_path, NAMES + str(i), f"{i}.txt") for i in range(4)]
    foreign = tmp_path / "cache" / "corpora" / "notes"
    write(foreign / "mine.txt", "x" * 99_999)
    hours = {0: 4, 1: 7, 2: 5, 3: 6}
    for i, age in hours.items():
        used = time.time() - age * 3600
        os.utime(corpora[i].path, (used, used))
    again = prepare([str(tmp_path / "1.txt")], CorpusConfig())  # the oldest is used again
    monkeypatch.setattr(cache, "BOUND", sizes([corpora[0], corpora[1]]) + 10)
    tokens = np.array(corpora[3].train.tokens)
    new = made(tmp_path, NAMES + "new", "new.txt")
    left = {path.name for path in new.path.parent.iterdir()}
    assert left == {again.path.name, new.path.name, "notes"}
    np.testing.assert_array_equal(corpora[3].train.tokens, tokens)  # it was open
    assert made(tmp_path, NAMES + "0", "0.txt").digest == corpora[0].digest


def test_what_was_just_used_stays_in_a_full_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "BOUND", 0)
    corpora = [made(tmp_path, NAMES + str(i), f"{i}.txt") for i in range(3)]
    assert all(corpus.path.exists() for corpus in corpora)


def test_many_prepare_in_a_full_cache_at_once(tmp_path, monkeypatch):
    """Whoever loses what it had just found makes it anew."""
    monkeypatch.setattr(cache, "BOUND", 0)
    for i in range(6):
        write(tmp_path / f"{i}.txt", NAMES + str(i))

    def prepared(turn: int) -> str:
        corpus = prepare([str(tmp_path / f"{turn % 6}.txt")], CorpusConfig())
        return corpus.tokenizer.decode(corpus.train.tokens) + corpus.tokenizer.decode(corpus.held_out.tokens)

    with ThreadPoolExecutor(4) as pool:
        found = []
        for turn in range(6):
            for path in tmp_path.glob("cache/corpora/*"):
                os.utime(path, (0, 0))
            found += pool.map(prepared, range(4 * turn, 4 * turn + 4))
    assert [len(set(found[i::6])) for i in range(6)] == [1] * 6


def test_a_damaged_corpus_in_the_cache_is_made_again(tmp_path):
    first = made(tmp_path, "some text")
    (first.path / "train.tokens").write_bytes(b"")
    again = prepare([str(tmp_path / "a.txt")], CorpusConfig())
    assert split_text(again) == split_text(made(tmp_path, "some text", name="b.txt"))


def test_a_corpus_in_a_named_folder(tmp_path):
    source, out = write(tmp_path / "a.txt", "some text"), tmp_path / "deep" / "corpus"
    assert prepare([source], CorpusConfig(), out).path == out
    assert prepare([source], CorpusConfig(tokenizer="byte"), out, overwrite=True).tokenizer.kind == "byte"
    assert open_corpus(out, check_hashes=True).tokenizer.kind == "byte"
    assert [p.name for p in out.parent.iterdir()] == ["corpus"]
    with pytest.raises(CorpusError, match="goes alone"):
        prepare([source, str(out)], CorpusConfig())


def test_another_corpus_is_replaced_only_where_that_is_asked_for(tmp_path):
    source, out = write(tmp_path / "a.txt", "some text"), tmp_path / "corpus"
    first = prepare([source], CorpusConfig(), out)
    assert prepare([source], CorpusConfig(), out).digest == first.digest
    other = write(tmp_path / "b.txt", "some text")
    for sources, config in (([other], {}), ([source, other], {}), ([source], {"lowercase": True})):
        with pytest.raises(CorpusError, match="holds a corpus of other files or settings; --overwrite replaces it"):
            prepare(sources, CorpusConfig(**config), out)
    assert open_corpus(out, check_hashes=True).digest == first.digest
    assert prepare([other], CorpusConfig(), out, overwrite=True).path == out


@pytest.mark.parametrize("sources", [None, [3], [{}], {}])
def test_a_damaged_corpus_in_a_named_folder_is_not_replaced_unasked(tmp_path, sources):
    source, out = write(tmp_path / "a.txt", "some text"), tmp_path / "corpus"
    prepare([source], CorpusConfig(), out)
    manifest = json.loads((out / "manifest.json").read_text())
    write(out / "manifest.json", json.dumps(manifest | {"sources": sources, "key": ""}))
    with pytest.raises(CorpusError, match="--overwrite replaces it"):
        prepare([source], CorpusConfig(), out)
    assert prepare([source], CorpusConfig(), out, overwrite=True).path == out


def test_a_corpus_in_a_named_folder_follows_its_files(tmp_path):
    source, out = write(tmp_path / "a.txt", "some text"), tmp_path / "corpus"
    prepare([source], CorpusConfig(held_out=0), out)
    write(tmp_path / "a.txt", "other text, longer")
    assert split_text(prepare([source], CorpusConfig(held_out=0), out)) == (["other text, longer"], [])


def test_a_stream_is_known_by_its_text(tmp_path, monkeypatch):
    def prepared(text: bytes):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
        return prepare(["-"], CorpusConfig(), tmp_path / "corpus")

    assert prepared(b"some text").digest == prepared(b"some text").digest
    with pytest.raises(CorpusError, match="other files or settings"):
        prepared(b"other text")


def test_what_is_no_corpus_is_not_written_over(tmp_path):
    source = write(tmp_path / "a.txt", "some text")
    kept = write(tmp_path / "mine" / "diary.txt", "dear diary")
    for out in (tmp_path / "mine", Path(kept)):
        with pytest.raises(CorpusError, match="exists and is no corpus"):
            prepare([source], CorpusConfig(), out)
    with pytest.raises(OutputError, match="cannot be made"):
        prepare([source], CorpusConfig(), Path(source) / "corpus")
    assert Path(kept).read_text() == "dear diary"


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        prepare([write(tmp_path / "a.txt", "some text")], CorpusConfig(), tmp_path / "out" / "corpus")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_killed_runs_left_is_removed(tmp_path):
    folder = tmp_path / "cache" / "corpora"
    old, new = folder / f"{cache.PREFIX}old", folder / f"{cache.PREFIX}new"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (0, 0))
    made(tmp_path, "some text")
    assert not old.exists()
    assert new.exists()


def test_many_at_once_make_the_same_corpus(tmp_path):
    source = write(tmp_path / "a.txt", "some text " * 1000)
    with ThreadPoolExecutor(8) as pool:
        corpora = list(pool.map(lambda _: prepare([source], CorpusConfig()), range(16)))
    assert len({c.path for c in corpora}) == len({c.digest for c in corpora}) == 1
    assert [p.name for p in corpora[0].path.parent.iterdir()] == [corpora[0].path.name]


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("train.tokens", lambda p: p.write_bytes(p.read_bytes()[:-1]), r"train.tokens: \d+ bytes, expected \d+"),
        ("held_out.starts", Path.unlink, "held_out.starts: cannot be read"),
        ("manifest.json", Path.unlink, "no prepared corpus"),
        ("manifest.json", lambda p: p.write_text("{"), "manifest.json: damaged"),
        ("manifest.json", lambda p: p.write_text("[]"), "damaged: found list"),
        ("manifest.json", lambda p: p.write_text('{"format": 99}'), "format 99 is not known"),
        ("manifest.json", lambda p: p.write_text('{"format": 1}'), "CorpusConfig"),
        ("manifest.json", lambda p: p.write_text(p.read_text().replace('"chars": ', '"chars": -')), "no whole number"),
        (
            "manifest.json",
            lambda p: p.write_text(p.read_text().replace('"train": {', '"drain": {')),
            "damaged: 'train'",
        ),
        ("manifest.json", lambda p: p.write_text(p.read_text().replace('"kind": "char"', '"kind": 1')), "'kind'"),
    ],
)
def test_a_damaged_corpus_says_what_is_wrong(tmp_path, file, change, said):
    corpus = made(tmp_path, "some text")
    change(corpus.path / file)
    with pytest.raises(CorpusError, match=said):
        open_corpus(corpus.path)


def test_changed_content_is_found_when_asked_for(tmp_path):
    corpus = made(tmp_path, "some text")
    data = (corpus.path / "train.tokens").read_bytes()
    (corpus.path / "train.tokens").write_bytes(data[:-1] + b"\0")
    open_corpus(corpus.path)
    with pytest.raises(CorpusError, match="its hash is"):
        open_corpus(corpus.path, check_hashes=True)


MEASURE = """
import re, sys
from rhapsode.config import CorpusConfig
from rhapsode.text.corpus import prepare
prepare([sys.argv[1]], CorpusConfig(tokenizer=sys.argv[2], vocab_size=1000))
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize(
    ("kind", "line_end"), [("char", "\n"), ("char", " "), ("byte", "\n"), ("word", " "), ("bpe", "\n")]
)
def test_memory_does_not_grow_with_the_corpus(tmp_path, kind, line_end):
    line = "the quick brown fox jumps over the lazy dog and the cat sat on the mat" + line_end
    peaks = []
    for megabytes in (4, 60):
        source = write(tmp_path / "a.txt", line * (megabytes * 2**20 // len(line)))
        done = subprocess.run([sys.executable, "-c", MEASURE, source, kind], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 25, "megabytes; the text has grown by 56"
