"""Regular expressions as automata, compared with Python's `re`; and texts that are written by them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import byte_tokenizer, char_tokenizer, random_model
from rhapsode.completion import FAR, completion
from rhapsode.errors import ConfigError
from rhapsode.matching import Pieces, encode
from rhapsode.model import Model
from rhapsode.regex import compile_regex
from rhapsode.text.tokenizers.bpe import BpeTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer

law = settings(deadline=None, max_examples=60)
TOKENIZERS = {
    "char": lambda: char_tokenizer("\n abcé☃"),
    "byte": byte_tokenizer,
    "word": lambda: WordTokenizer(["a", " b", "é", "☃", " ", "abc", "b", "c", "\n", "ca"]),
    "bpe": lambda: BpeTokenizer.train(["abc abc aé bé☃ aé☃ bc bc ab aab "] * 3, 280),
}

atoms = st.sampled_from(["a", "b", "é", "☃", ".", "[^a]", "[a-c]", r"\w", r"\s", "(?i:É)", r"\d", "𝄞", "[é-☃]"])
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{,2}", "*?"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=6,
)


def matches(pattern: str, text: str) -> bool:
    automaton, accepting = compile_regex(pattern)
    state, objected = automaton.run([encode(text)])
    return not objected and bool(accepting[state])


@law
@given(patterns, st.lists(st.text("abcéÉ☃𝄞 \n1", max_size=6), min_size=1, max_size=10))
def test_the_automaton_matches_what_re_matches(pattern, texts):
    for text in texts:
        assert matches(pattern, text) == bool(re.fullmatch(pattern, text)), (pattern, text)


@law
@given(st.data(), patterns)
def test_texts_made_from_the_expression_match(data, pattern):
    text = data.draw(st.from_regex(pattern, fullmatch=True))
    assert matches(pattern, text) == all(not "\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize("one", [r"\w", r"[^\W\d_]", r"\s", r"(?i)[k-sß]", r"(?a)\w", r"[^\n]", r"(?i)[^é]", r"(?s)."])
def test_classes_of_characters_are_those_of_re(one):
    """Every 7th code point, and all that are near a border of UTF-8's lengths or in the first planes' letters."""
    codes = [*range(0x600), *range(0x7F0, 0x810), *range(0xFFF0, 0x10010), *range(0x600, 0x110000, 97)]
    automaton, accepting = compile_regex(one)
    for character in map(chr, codes):
        if not "\ud800" <= character <= "\udfff":
            state, objected = automaton.run([encode(character)])
            assert (not objected and accepting[state]) == bool(re.fullmatch(one, character)), hex(ord(character))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?=a)b", "without lookaround"),
        ("(?!a)b", "without lookaround"),
        ("(?!)", "without lookaround"),
        (r"(a)\1", "without backreferences"),
        (r"(a)(?(1)b|c)", "without conditions on groups"),
        ("(?>a)b", "without atomic groups"),
        ("a++b", "without possessive repeats"),
        (r"\bfoo", "word boundaries"),
        ("a^b", "anchors inside"),
        ("a(", "unterminated subpattern"),
        ("[a", "unterminated character set"),
        ("*a", "nothing to repeat"),
        ("(a|b)*a(a|b){25}", "at most 20,000 states"),
        ("((a{100}){100}){100}", "at most 20,000 states"),
        ("(){1000000000}", "at most 20,000 states"),
        (r".*coder.{0,300}", "at most 20,000 states"),
        ("(" * 5000 + ")" * 5000, "groups in each other"),
    ],
)
def test_what_no_automaton_can_follow_is_named(pattern, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        compile_regex(pattern)
    assert error.value.option == "regex"


def test_steps_are_the_fewest_symbols_to_a_match():
    pieces = Pieces([b"a", b"ab", b"b", b"c"])
    automaton, accepting = compile_regex("(ab){3}c?|aaaa|x")
    table = completion([lambda state: pieces.walk(automaton, state)], [0], accepting)
    assert table.steps[0] == 3
    assert table.steps[table.after(0, 1)] == 2
    after_a = table.after(0, 0)
    assert table.steps[after_a] == 3  # b ab ab, or aaa
    assert sorted(set(table.steps.tolist()) - {FAR}) == [0, 1, 2, 3]
    assert table.mask(0).tolist() == [True, True, False, False]


@pytest.fixture(scope="module", params=["numpy", "native"])
def model_of(request):
    """A function from a kind of tokenizer to a model on either engine."""
    if request.param == "native":
        pytest.importorskip("rhapsode._native", reason="the native core was not built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_ENGINE", request.param)
        yield {
            (kind, start): Model(random_model(make(), training={"start": start} if start else {}, scale=0.3))
            for kind, make in TOKENIZERS.items()
            for start in (None, "\n")
        }


@law
@given(
    st.sampled_from(list(TOKENIZERS)),
    st.sampled_from([None, "\n"]),
    st.sampled_from(
        ["[abc]{3,9}", "(a|b c)+é?", "é☃*", "(a[^a]|☃){2}", "(abc ?)*", r"[a-c]+(\n|é)", ".{0,7}", "a|b|c"]
    ),
    st.sampled_from(["", "b", "é", "abc "]),
    st.integers(0, 2**40),
    st.integers(6, 20),
    st.sampled_from(
        [{}, {"greedy": True}, {"temperature": 2.0}, {"top_k": 1}, {"ban": ["cc", "aa"]}, {"only": "abc é"}]
    ),
)
def test_what_is_written_matches_as_a_whole(model_of, kind, start, pattern, prompt, seed, length, sampling):
    """Whatever the length and the rules beside it: never stuck half-way, never too long, streamed or in a batch."""
    model = model_of[kind, start]
    try:
        written = model.samples(prompt, 3, seed=seed, length=length, regex=pattern, **sampling)
    except ConfigError:
        if kind != "word" and "only" not in sampling:  # those may lack the symbols
            raise
        return
    for text in written:
        assert re.fullmatch(pattern, text.text), (pattern, text.text)
        assert text.symbols <= length
        assert text.ended_by in ("match", "boundary")
        assert model.generate(prompt, seed=text.seed, length=length, regex=pattern, **sampling) == text.text
    for string in sampling.get("ban", []):
        assert string not in written[0].text


def test_both_engines_write_the_same_matches(monkeypatch):
    pytest.importorskip("rhapsode._native", reason="the native core was not built")
    found = []
    for engine in ("numpy", "native"):
        monkeypatch.setenv("RHAPSODE_ENGINE", engine)
        model = Model(random_model(char_tokenizer(), scale=0.2))
        found.append([t.text for t in model.samples("bad", 20, seed=1, length=60, regex="([a-z]{2,5} )+[aeo]+\n?")])
    assert found[0] == found[1]
    assert len(set(found[0])) > 5


def test_a_match_ends_where_the_model_would_leave_it(model_of):
    """Without a closing symbol the model ends a word by wanting to write what does not belong to it."""
    texts = model_of["char", "\n"].samples("a", 50, seed=3, length=200, temperature=1.0, regex="[abc]+")
    assert {text.ended_by for text in texts} == {"match"}
    assert len({len(text.text) for text in texts}) > 2
    assert max(len(text.text) for text in texts) < 200


def test_what_cannot_be_matched_is_told(model_of):
    model = model_of["char", None]
    for fields in ({"regex": "x+"}, {"regex": "a{30}", "length": 20}, {"regex": "aa", "ban": ["a"]}, {"regex": "[a"}):
        with pytest.raises(ConfigError) as error:
            model.generate("", **fields)
        assert error.value.option == "regex"
    for fields in ({"beams": 2}, {"require": ["a"]}):
        with pytest.raises(ConfigError) as error:
            model.generate("", regex="a+", **fields)
        assert error.value.option in fields


def test_half_a_character_before_belongs_to_the_match(monkeypatch):
    model = Model(random_model(byte_tokenizer(), training={"start": "\n"}))
    session = model.session("a")
    session.generate(length=1, seed=0, only="☃")
    assert session.fork().generate(regex="☃a", length=9) == "☃a"
    with pytest.raises(ConfigError):
        session.generate(regex="a", length=9)


def test_a_table_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("rhapsode.completion.ENTRIES", 2000)
    with pytest.raises(ConfigError, match="states"):
        Model(random_model(byte_tokenizer())).generate(regex="[a-z]{200}")
    assert np.isfinite(Model(random_model(byte_tokenizer())).session().position.logits).all()
