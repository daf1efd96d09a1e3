"""Sessions and the model object: what they read and write, and what is said of wrong files and options."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rhapsode
from models import byte_tokenizer, char_tokenizer, random_model
from rhapsode.errors import ConfigError, ModelFileError, OutputError, SessionError, TokenizerError
from rhapsode.model import Model
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import parameter_spec
from rhapsode.position import read
from rhapsode.text.tokenizers.word import WordTokenizer


@pytest.fixture(scope="module")
def model():
    return Model(random_model(hidden=24))


@pytest.fixture(scope="module")
def bytes_model():
    return Model(random_model(byte_tokenizer(), hidden=24))


@pytest.mark.parametrize("text", [3, b"ab", ["a"]])
@pytest.mark.parametrize("use", ["generate", "samples", "session", "score", "vector", "unknown"])
def test_what_is_no_text_is_one_line(model, use, text):
    with pytest.raises(TokenizerError, match="expected text"):
        getattr(model, use)(text)


def fixed_model(text: str, **training) -> Model:
    """A model that writes `text` over and over, whatever it reads: it goes round in a ring of symbols, all different.

    Hidden unit i says that symbol i was read last; the output layer then asks for the next one of the ring.
    """
    assert len(set(text)) == len(text)
    tokenizer = char_tokenizer(text)
    size = tokenizer.vocab_size
    file = random_model(tokenizer, cell="rnn", hidden=size, training=training)
    weights = {p.name: np.zeros(p.shape, np.float32) for p in parameter_spec(file.config)}
    weights["layers.0.table"] = 10 * np.eye(size, dtype=np.float32)
    ring = [*tokenizer.encode(text).tolist()]
    for here, there in zip(ring, [*ring[1:], ring[0]], strict=True):
        weights["output.weight"][there, here] = 20
    weights["output.weight"][ring[0], tokenizer.boundary] = 20
    return Model(ModelFile(file.config, tokenizer, weights, training))


def test_generation_follows_the_model():
    assert fixed_model("abcde").generate(length=12) == "abcdeabcdeab"
    assert fixed_model("abcde").generate("c", length=4) == "deab"


def test_stop_strings_end_the_text_before_them():
    ring = fixed_model("abcde")
    assert ring.generate(length=50, stop=["dea"]) == "abc"
    assert ring.generate(length=50, stop="cd") == "ab"
    assert ring.generate(length=50, stop=["bcdx", "e"]) == "abcd"
    assert ring.generate(length=50, stop=["a"]) == ""
    assert ring.generate(length=4, stop=["de"]) == "abcd"
    written = ring.samples(length=50, stop=["dea"])[0]
    assert (written.ended_by, written.symbols) == ("stop", 6)


def test_what_may_begin_a_stop_string_is_held_back(monkeypatch):
    monkeypatch.setattr("rhapsode.generate.MOST", 1)  # a piece a symbol
    pieces = list(fixed_model("abcde").stream(length=9, stop=["cdx", "dec"]))
    assert pieces == ["a", "b", "c", "dea", "b", "cd"]


def test_a_required_string_comes_where_it_begins_likely_or_at_the_last_moment():
    assert fixed_model("abcde").generate(length=8, require=["aa"]) == "aabcdeab"
    assert fixed_model("abcde").generate(length=8, require=["dd"]) == "abcdeadd"
    assert fixed_model("abc d").generate(length=8, require=["db", "cc"]) == "abc dbcc"
    text = fixed_model("abcde").generate(length=9, require=["dd"], stop=["e"])
    assert text.startswith("abcd")
    assert "dd" in text
    assert "e" not in text
    assert fixed_model("abcde").generate(length=5, require=["bcd"]) == "abcde"


def test_bans_hold_across_the_prompt():
    assert not fixed_model("abcde").generate("ab", length=3, ban=["abc"], greedy=True).startswith("c")


def test_a_dead_end_ends_the_text():
    written = fixed_model("abcde", start="\n").samples("", length=9, only="a", ban=["aaa"])[0]
    assert (written.text, written.ended_by) == ("aa", "dead end")


def test_specials_are_never_written(model):
    """The boundary ends a document; a model of one long text has no ends."""
    parameters = dict(model.file.parameters)
    parameters["output.bias"] = np.zeros_like(parameters["output.bias"])
    parameters["output.bias"][-2:] = 100
    always = Model(ModelFile(model.config, model.tokenizer, parameters, {"start": "\n"}))
    assert len(always.generate(length=30)) == 30
    always.file.training.clear()
    assert [w.ended_by for w in always.samples(length=30)] == ["boundary"]
    assert always.generate(length=30) == ""


def test_without_a_prompt_one_long_text_begins_as_a_line(model):
    lines = Model(ModelFile(model.config, model.tokenizer, model.file.parameters, {"start": "\n"}))
    assert lines.generate(length=9, seed=0) == lines.generate("\n", length=9, seed=0)
    assert model.generate(length=9, seed=0) != lines.generate(length=9, seed=0)


def test_half_a_character_waits_for_its_other_half(bytes_model):
    long_text = Model(
        ModelFile(bytes_model.config, bytes_model.tokenizer, bytes_model.file.parameters, {"start": "\n"})
    )
    session = long_text.session("é")
    assert session.generate(length=1, seed=0, only="☃") == ""
    assert session.position.pending
    twin = session.fork()
    assert session.generate(length=2, seed=0, only="☃") == "☃"
    twin.read("a")
    assert not twin.position.pending


def test_unknown_characters_of_a_prompt_are_read_and_told(model, bytes_model):
    assert model.unknown("aéb☃é") == ["é", "☃"]
    assert bytes_model.unknown("aéb☃é") == []
    assert len(model.generate("é☃", length=5, seed=1, ban=["a"])) <= 5


def test_reading_tells_surprisals_and_changes_what_follows(model):
    session = model.session()
    assert session.read("bad end").shape == (7,)
    assert session.read("").shape == (0,)
    assert (session.read("and") > 0).all()
    assert session.generate(length=20, seed=1) == model.generate("bad endand", length=20, seed=1)


def test_a_text_that_is_skimmed_leads_where_one_that_is_read_does(model, bytes_model):
    for each in (model, bytes_model):
        reader, skimmer = each.session("ab"), each.session("ab")
        skimmer.skim("")
        skimmer.skim("cab")
        assert len(reader.read("cab")) == 3
        assert skimmer.generate(length=30, seed=1) == reader.generate(length=30, seed=1)
        np.testing.assert_array_equal(skimmer.position.logits, reader.position.logits)
        np.testing.assert_array_equal(skimmer.position.recent, reader.position.recent)


def test_a_session_has_read_what_it_wrote(model):
    session, other = model.session("bad"), model.session("bad")
    other.read(session.generate(length=15, seed=2, require=["end"]))
    ended = session.position.recent[-1] == model.tokenizer.boundary
    if ended:
        other.position = read(model.engine, other.position, session.position.recent[-1:])[1]
    np.testing.assert_allclose(session.position.logits, other.position.logits, rtol=1e-4, atol=1e-4)
    assert session.position.recent.tolist() == other.position.recent.tolist()


def test_a_stream_that_is_left_leaves_the_session_after_what_was_written(monkeypatch):
    monkeypatch.setattr("rhapsode.generate.MOST", 1)  # a piece a symbol
    session = fixed_model("abcde").session()
    stream = session.stream(length=50)
    assert [next(stream), next(stream)] == ["a", "b"]
    stream.close()
    assert session.generate(length=3) == "cde"


def test_a_fresh_seed_is_told_and_gives_the_text_again(model):
    written = model.samples("a", length=30)[0]
    assert model.generate("a", length=30, seed=written.seed) == written.text


@pytest.mark.parametrize(
    "fields",
    [
        {"length": -1},
        {"temperature": "hot"},
        {"top_q": 3},
        {"stop": [""]},
        {"ban": [3]},
        {"only": ""},
        {"only": "é☃"},
        {"require": ["é"]},
        {"require": ["bad"], "ban": ["a"]},
        {"require": ["bad"], "only": "ba"},
        {"require": ["bad"], "length": 2},
        {"require": ["bad"], "beams": 2},
        {"regex": "[A-Z]"},
        {"regex": "a{9}", "length": 8},
    ],
)
def test_wrong_options_are_named_before_anything_is_written(model, fields):
    with pytest.raises(ConfigError) as error:
        model.stream("a", **fields)
    assert error.value.option in fields


def test_weights_that_are_not_numbers_are_an_error(model):
    broken = {name: np.full_like(array, np.nan) for name, array in model.file.parameters.items()}
    with pytest.raises(ModelFileError, match="not a number"):
        Model(ModelFile(model.config, model.tokenizer, broken)).generate(length=3)


def test_saved_sessions(model, tmp_path):
    session = model.session("bad")
    session.save(tmp_path / "s")
    assert model.load_session(tmp_path / "s").generate(length=9, seed=1) == session.generate(length=9, seed=1)
    assert (tmp_path / "s").stat().st_size < 4000
    with pytest.raises(OutputError):
        session.save(tmp_path / "missing" / "s")


def damaged(arrays=None, **head) -> bytes:
    """A session file with other contents than it should have."""
    from safetensors.numpy import save

    return save(arrays or {}, metadata={"rhapsode_session": json.dumps(head)})


def saved(model, pending="", **arrays) -> bytes:
    """A session file of the model, with these arrays in place of its own."""
    H, V = model.config.hidden, model.config.vocab_size
    state = {name: np.zeros((1, H), np.float32) for name in ("layers.0.h", "layers.0.c")}
    whole = state | {"logits": np.zeros(V, np.float32), "recent": np.zeros(3, np.int32)} | arrays
    return damaged(whole, format=1, model=model.engine.digest, pending=pending)


def test_wrong_session_files_are_named(model, tmp_path):
    path, other = tmp_path / "s", Model(random_model(hidden=24, seed=5))
    model.session("bad").save(path)
    whole = path.read_bytes()
    digest = model.engine.digest
    cases = {
        "session of another model": None,
        "not a whole safetensors file": whole[:-10],
        "not a session": damaged() and damaged().replace(b"rhapsode_session", b"rhapsode_sessiom"),
        "format 7 is not known": damaged(format=7),
        "tensor layers.0.h is missing": damaged(format=1, model=digest, pending=""),
        "pending is None, expected hexadecimal": saved(model, pending=None),
        "pending is 'zz', expected hexadecimal": saved(model, pending="zz"),
        "is F64 .3,., expected F32 .1, 24.": damaged({"layers.0.h": np.zeros(3)}, format=1, model=digest, pending=""),
        "tensor logits holds what is not a number": saved(model, logits=np.full(15, np.nan, np.float32)),
        "recent symbols are none": saved(model, recent=np.array([99], np.int32)),
        "recent is I32 .1, 2., expected I32 .'any',.": saved(model, recent=np.array([[1, 2]], np.int32)),
    }
    for message, data in cases.items():
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(SessionError, match=message):
            (other if data is None else model).load_session(path)
    path.write_bytes(saved(model))
    assert model.load_session(path).generate(length=3) is not None
    with pytest.raises(SessionError, match="cannot be read"):
        model.load_session(tmp_path / "none")
    with pytest.raises(SessionError):
        model.load_session(tmp_path)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_session_file_with_any_bytes_changed_is_refused_or_works(model, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("s") / "s"
    model.session("bad").save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content))) or None])
    with contextlib.suppress(SessionError):
        model.load_session(path).generate(length=2)


def test_public_names_exist():
    for name in rhapsode.__all__:
        if name not in ("train",):
            assert getattr(rhapsode, name) is not None
    with pytest.raises(AttributeError, match="no_such"):
        _ = rhapsode.no_such


def test_load_save_load(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    loaded = rhapsode.load(tmp_path / "m.safetensors")
    assert loaded.generate("a", length=20, seed=1) == model.generate("a", length=20, seed=1)
    assert loaded.score("bad").nats_total == pytest.approx(model.session().read("bad").sum(), rel=1e-5)


def test_unknown_words_are_told_as_they_stand_in_the_prompt():
    tokenizer = WordTokenizer(["the", " sea"])
    model = Model(random_model(tokenizer))
    assert model.unknown("the sea xanadu the sea") == ["xanadu", "the"]


def test_a_session_knows_why_its_text_ended():
    session = Model(random_model(training={"start": "\n"})).session()
    session.generate(length=3)
    assert session.ended_by == "length"
    session.generate(length=3, only="a", ban="a")
    assert session.ended_by == "dead end"
    session.generate(length=3, beams=2)
    assert session.ended_by == "length"


def test_bias_is_by_symbol_or_id_and_adds_up(model):
    ring = fixed_model("abcde")
    assert ring.generate(length=4, greedy=True, bias={"c": 1000}) == "cccc"
    assert ring.generate(length=4, greedy=True, bias={2: 1000}) == "cccc"
    assert ring.generate(length=4, greedy=True, bias=["c=600", ("c", 400)]) == "cccc"
    assert ring.generate(length=4, greedy=True, bias={"b": -1000})[:2] != "ab"
    assert ring.samples(length=9, bias={"<boundary>": 1000})[0].ended_by == "boundary"


@pytest.mark.parametrize("bias", [{"é": 1}, {"ab": 1}, {99: 1}, {-1: 1}, {"a": 1e9}, ["a"], ["a=x"], [3], "a", {"": 1}])
def test_a_wrong_bias_is_named(model, bias):
    with pytest.raises(ConfigError) as error:
        model.generate(bias=bias)
    assert error.value.option == "bias"


def test_penalties_look_at_what_was_read_and_written():
    ring = fixed_model("abcde")
    assert ring.generate("a", length=3, greedy=True) == "bcd"
    assert "b" not in ring.generate("ab", length=9, greedy=True, presence_penalty=100, repetition_window=4096)[:3]
    assert ring.generate("b" * 50 + "a", length=1, greedy=True, frequency_penalty=10) != "b"
    assert ring.generate("b" * 50 + "a", length=1, greedy=True, frequency_penalty=10, repetition_window=1) == "b"


def test_tokens_come_with_log_probabilities_and_alternatives(model):
    session = model.session("bad")
    tokens = list(session.tokens(3, length=20, seed=4))
    assert model.tokenizer.decode([t.id for t in tokens]) == model.generate("bad", length=20, seed=4)
    reader = model.session("bad")
    for token in tokens:
        log_p = np.log(np.exp(reader.position.logits) / np.exp(reader.position.logits).sum())
        assert token.symbol == model.tokenizer.symbol(token.id)
        assert token.log_probability == pytest.approx(log_p[token.id], abs=1e-4)
        assert [other.log_probability for other in token.top] == pytest.approx(
            np.sort(log_p)[:-4:-1].tolist(), abs=1e-4
        )
        reader.position = read(model.engine, reader.position, np.array([token.id], np.int32))[1]
    assert [t.id for t in model.tokens("bad", length=20, seed=4)] == [t.id for t in tokens]
    assert len(next(model.tokens("bad", top=1000, length=1)).top) == model.config.vocab_size


def test_a_session_goes_back_to_its_marks(model, bytes_model):
    session = model.session("bad")
    marks, texts = [], []
    for seed in range(3):
        marks.append(session.mark())
        texts.append(session.generate(length=9, seed=seed))
    for seed in (1, 2, 0):
        session.rewind(marks[seed])
        assert session.generate(length=9, seed=seed) == texts[seed]
    other = Model(model.file).session()
    other.rewind(marks[1])
    assert other.generate(length=9, seed=1) == texts[1]
    with pytest.raises(SessionError, match="another model"):
        bytes_model.session().rewind(marks[0])
    with pytest.raises(SessionError, match="found None, expected a mark"):
        session.rewind(None)


def test_what_is_no_number_of_texts_or_alternatives_is_named(model):
    with pytest.raises(ConfigError, match="count: found '2'"):
        model.samples(count="2")
    with pytest.raises(ConfigError, match=r"top: found 1\.5"):
        next(model.tokens(top=1.5))
    with pytest.raises(ConfigError, match="top: found -1"):
        model.session().write(top=-1)
