"""Tokenizers: what each kind makes of given text, odd text included, and what it refuses to be read from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rhapsode.config import CorpusConfig
from rhapsode.errors import TokenizerError
from rhapsode.text.tokenizer import tokenizer_from_json, train_tokenizer


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


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_ids_are_int32(kind):
    tokenizer = trained(kind, "ab")
    assert tokenizer.encode("ab").dtype == np.int32
    assert tokenizer.encode("").dtype == np.int32
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_lower_case_is_applied_and_remembered(kind):
    tokenizer = tokenizer_from_json(trained(kind, "ABC ΟΔΟΣ", lowercase=True).to_json())
    assert tokenizer.decode(tokenizer.encode("aBC ΟΔΟΣ")) == "abc οδοσ"


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_unpaired_surrogates_are_replacement_characters(kind):
    tokenizer = trained(kind, "a\ud800b\udfff")
    assert tokenizer.decode(tokenizer.encode("a\udc00b")) == "a\ufffdb"
    assert trained(kind, "😀").decode(trained(kind, "😀").encode("\ud83d\ude00")) == "😀"


@pytest.mark.parametrize("kind", ["char", "byte"])
@pytest.mark.parametrize("bad", [[-1], [10**6], [[1, 2]], [0.5], ["a"]])
def test_ids_that_are_none_are_refused(kind, bad):
    with pytest.raises(TokenizerError):
        trained(kind, "ab").decode(bad)


@pytest.mark.parametrize("bad", [-1, 10**6])
@pytest.mark.parametrize("kind", ["char", "byte"])
def test_single_ids_that_are_none_are_refused(kind, bad):
    tokenizer = trained(kind, "ab")
    with pytest.raises(TokenizerError):
        tokenizer.decoder().push(bad)
    with pytest.raises(TokenizerError):
        tokenizer.symbol(bad)


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_json_gives_the_same_tokenizer(kind):
    tokenizer = trained(kind, "Zoë 你好 👍🏽\0\r\n")
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
        ({"kind": "char", "lowercase": False}, "characters"),
        ({"kind": "char", "lowercase": False, "characters": ["a"]}, "list"),
        ({"kind": "char", "lowercase": False, "characters": "ba"}, "order"),
        ({"kind": "char", "lowercase": False, "characters": "aa"}, "order"),
        ({"kind": "char", "lowercase": False, "characters": "a\ud800"}, "surrogate"),
    ],
)
def test_json_that_describes_none_is_refused(value, named):
    with pytest.raises(TokenizerError, match=named):
        tokenizer_from_json(value)
