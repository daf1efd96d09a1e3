"""Tokenizers: what each kind makes of given text, odd text included, and what it refuses to be read from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, TokenizerError
from rhapsode.text.tokenizer import tokenizer_from_json, train_tokenizer
from rhapsode.text.tokenizers.word import split_words

KINDS = ("char", "byte", "word", "spaced", "bpe")


def trained(kind: str, *texts: str, **options):
    return train_tokenizer(CorpusConfig(tokenizer=kind, **options), texts)


def test_char_ids_are_the_sorted_code_points_then_boundary_then_unknown():
    tokenizer = trained("char", "hello", " world\n")
    assert tokenizer.characters == "\n dehlorw"
    assert tokenizer.encode("he\n?").tolist() == [4, 3, 0, 10]
    assert (tokenizer.boundary, tokenizer.unknown, tokenizer.vocab_size, tokenizer.specials) == (9, 10, 11, 2)
    assert tokenizer.decode([4, 3, 9, 0, 10]) == "he\n\ufffd"
    assert [tokenizer.symbol(i) for i in (0, 2, 9, 10)] == ["\\n", "d", "<boundary>", "<unknown>"]


def test_byte_ids_are_the_bytes_then_boundary():
    tokenizer = trained("byte")
    assert tokenizer.encode("aé").tolist() == [0x61, 0xC3, 0xA9]
    assert (tokenizer.boundary, tokenizer.unknown, tokenizer.vocab_size, tokenizer.specials) == (256, None, 257, 1)
    assert tokenizer.decode([0x61, 256, 0xC3, 0xA9, 0xC3]) == "aé\ufffd"
    assert [tokenizer.symbol(i) for i in (0x41, 0x0A, 256)] == ["A", "0x0A", "<boundary>"]


def test_byte_decoder_holds_a_character_back_until_it_is_whole():
    decoder = trained("byte").decoder()
    assert [decoder.push(b) for b in "你a".encode()] == ["", "", "你", "a"]
    assert decoder.push(0xE4) == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_int32(kind):
    tokenizer = trained(kind, "ab")
    assert tokenizer.encode("ab").dtype == np.int32
    assert tokenizer.encode("").dtype == np.int32
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_lower_case_is_applied_and_remembered(kind):
    tokenizer = tokenizer_from_json(trained(kind, "ABC ΟΔΟΣ", lowercase=True).to_json())
    assert tokenizer.decode(tokenizer.encode("aBC ΟΔΟΣ")).strip() == "abc οδοσ"


@pytest.mark.parametrize("kind", KINDS)
def test_unpaired_surrogates_are_replacement_characters(kind):
    tokenizer = trained(kind, "a\ud800b a\udfffb")
    assert tokenizer.decode(tokenizer.encode("a\udc00b")).strip() == "a\ufffdb"
    assert trained(kind, "😀").decode(trained(kind, "😀").encode("\ud83d\ude00")).strip() == "😀"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [[-1], [10**6], [[1, 2]], [0.5], ["a"]])
def test_ids_that_are_none_are_refused(kind, bad):
    with pytest.raises(TokenizerError):
        trained(kind, "ab").decode(bad)


@pytest.mark.parametrize("bad", [-1, 10**6])
@pytest.mark.parametrize("kind", KINDS)
def test_single_ids_that_are_none_are_refused(kind, bad):
    tokenizer = trained(kind, "ab")
    with pytest.raises(TokenizerError):
        tokenizer.decoder().push(bad)
    with pytest.raises(TokenizerError):
        tokenizer.symbol(bad)


@pytest.mark.parametrize("kind", KINDS)
def test_json_gives_the_same_tokenizer(kind):
    tokenizer = trained(kind, "Zoë 你好 👍🏽\0\r\n" * 3)
    again = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again.to_json() == tokenizer.to_json()
    assert again.encode("Zoë 你好!").tolist() == tokenizer.encode("Zoë 你好!").tolist()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (None, "NoneType"),
        ([], "list"),
        ({}, "kind"),
        ({"kind": 3}, "3"),
        ({"kind": ["char"]}, "char"),
        ({"kind": "morse"}, "morse"),
        ({"kind": "byte"}, "lowercase"),
        ({"kind": "byte", "lowercase": 0}, "int"),
        ({"kind": "byte", "lowercase": False, "labels": "ab"}, "str"),
        ({"kind": "byte", "lowercase": False, "labels": ["a", None]}, "no text"),
        ({"kind": "byte", "lowercase": False, "labels": ["a", ""]}, "empty"),
        ({"kind": "byte", "lowercase": False, "labels": ["a\ud800"]}, "no text"),
        ({"kind": "byte", "lowercase": False, "labels": ["a", "b", "a"]}, "twice"),
        ({"kind": "byte", "lowercase": False, "labels": [str(i) for i in range(1001)]}, "found 1,001, .* 1,000"),
        ({"kind": "char", "lowercase": False}, "characters"),
        ({"kind": "char", "lowercase": False, "characters": ["a"]}, "list"),
        ({"kind": "char", "lowercase": False, "characters": "ba"}, "order"),
        ({"kind": "char", "lowercase": False, "characters": "aa"}, "order"),
        ({"kind": "char", "lowercase": False, "characters": "a\ud800"}, "surrogate"),
        ({"kind": "word", "lowercase": False, "words": "ab"}, "str"),
        ({"kind": "word", "lowercase": False, "words": ["a", 1]}, "no text"),
        ({"kind": "word", "lowercase": False, "words": ["a", ""]}, "empty"),
        ({"kind": "word", "lowercase": False, "words": ["a", "b", "a"]}, "twice"),
        ({"kind": "word", "lowercase": False, "words": ["a\ud800"]}, "surrogate"),
        ({"kind": "word", "words": ["a"]}, "lowercase"),
        ({"kind": "spaced", "lowercase": False, "words": ["a"]}, "'a' is no word with one space before it"),
        ({"kind": "spaced", "lowercase": False, "words": [" "]}, "' ' is no word"),
        ({"kind": "spaced", "lowercase": False, "words": [" a b"]}, "' a b' is no word"),
        ({"kind": "bpe", "lowercase": False}, "merges"),
        ({"kind": "bpe", "lowercase": False, "merges": [[97, 98], [97]]}, "pair"),
        ({"kind": "bpe", "lowercase": False, "merges": [[97, True]]}, "pair"),
        ({"kind": "bpe", "lowercase": False, "merges": [[97, 256]]}, "below 256"),
        ({"kind": "bpe", "lowercase": False, "merges": [[-1, 97]]}, "-1"),
        ({"kind": "bpe", "lowercase": False, "merges": [[97, 98], [97, 98]]}, "twice"),
        (
            {"kind": "bpe", "lowercase": False, "merges": [[256 + i - 1 if i else 97] * 2 for i in range(40)]},
            "128 bytes",
        ),
    ],
)
def test_json_that_describes_none_is_refused(value, named):
    with pytest.raises(TokenizerError, match=named):
        tokenizer_from_json(value)


ODD = [
    "It's a well-known fact -- isn't it?  \"Yes,\" _she_ said...\r\n\n    def foo_bar(x):\n",
    "你好，世界！ hello",
    "السَّلامُ عَلَيْكُم می‌خواهم",
    "👍🏽👩‍👩‍👧‍👦🇩🇪🇫🇷 1️⃣ ❤️❤️",
    "\ufeffa\0b\rc\r\nd\n\re \u3000\x85\u2028f   ",
    " lead",
    "x" * 5000 + "." * 50 + " " * 50,
]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("kind", KINDS)
def test_odd_text_comes_back(kind, text):
    tokenizer = trained(kind, text)
    assert tokenizer.decode(tokenizer.encode(text)) == tokenizer.normalise(text)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("It's a well-known fact -- no?", ["It's", " a", " well-known", " fact", " --", " no", "?"]),
        ("_so_ foo_bar", ["_", "so", "_", " foo_bar"]),
        ("a\r\n\n    b \n", ["a", "\r\n", "\n", "   ", " b", " ", "\n"]),
        ("你好，世界", ["你", "好", "，", "世", "界"]),
        ("السَّلامُ عَلَيْكُم", ["السَّلامُ", " عَلَيْكُم"]),
        ("👍🏽👩‍👩‍👧‍👦 🇩🇪🇫🇷1️⃣❤️", ["👍🏽", "👩‍👩‍👧‍👦", " 🇩🇪", "🇫🇷", "1️⃣", "❤️"]),
        ("Wait.... 3.14", ["Wait", "...", ".", " 3", ".", "14"]),
    ],
)
def test_words_are_cut_like_this(text, pieces):
    assert split_words(text) == pieces


def test_word_keeps_the_most_frequent_and_orders_ties():
    tokenizer = trained("word", "c b a", " b b", vocab_size=4)
    assert tokenizer.words == [" b", " a"]
    assert tokenizer.encode("c a").tolist() == [tokenizer.unknown, 1]
    assert tokenizer.decode(tokenizer.encode("c a")) == "\ufffd a"
    assert [tokenizer.symbol(i) for i in range(4)] == [" b", " a", "<boundary>", "<unknown>"]


def test_spaced_words_leave_marks_out_unless_a_word_has_them():
    tokenizer = trained("spaced", "Yes, the sea: the\n\tsea's.", lowercase=True)
    assert tokenizer.words == [" the", " sea", " sea's", " yes"]
    assert tokenizer.encode("(The) sea -- land!\n").tolist() == [0, 1, tokenizer.unknown]
    assert tokenizer.split("(The) sea -- land!\n") == [" the", " sea", " land"]
    assert [*map(tokenizer.symbol, range(2))] == [" the", " sea"]
    value = {"kind": "spaced", "lowercase": False, "words": [" well-known", " a.m."]}
    assert tokenizer_from_json(value).split("well-known, 3 a.m.;x") == [" well-known", " 3", " a.m.", " x"]


def test_bpe_merges_frequent_pairs():
    tokenizer = trained("bpe", "abab " * 9, vocab_size=259)
    assert tokenizer.vocab_size == 259
    assert [tokenizer.symbol(i) for i in (256, 257, 258, 0xE4)] == ["ab", "abab", "<boundary>", "0xE4"]
    assert tokenizer.encode("abab").tolist() == [257]


def test_bpe_needs_room_for_the_bytes():
    with pytest.raises(ConfigError, match="257"):
        trained("bpe", "a", vocab_size=256)


def test_bpe_merges_that_make_the_same_bytes_share_an_id():
    value = {"kind": "bpe", "lowercase": False, "merges": [[97, 98], [98, 99], [256, 99], [97, 257], [258, 100]]}
    tokenizer = tokenizer_from_json(value)
    assert tokenizer.vocab_size == 256 + 4 + 1
    assert tokenizer.decode(tokenizer.encode("abcd bc")) == "abcd bc"
    assert tokenizer.symbol(259) == "abcd"


def test_bpe_learns_from_a_very_long_word():
    assert trained("bpe", "x" * 200_000, vocab_size=300).symbol(256) == "xx"
