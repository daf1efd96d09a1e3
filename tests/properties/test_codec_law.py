"""Law 5: ids decode to the text they were made of, whole, in pieces, and one at a time. For every kind of tokenizer."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.config import CorpusConfig
from rhapsode.text.tokenizer import label_id, tokenizer_from_json, train_tokenizer
from rhapsode.text.tokenizers.base import normalise, safe_cut

TRAINING = "Häßliche Wörter, it's “quoted” -- 你好世界 مَرحَبًا 👍🏽👩‍👩‍👧 Σίσυφος İ\r\n\0 the then there\n" * 5
LABELS = ("the", "你好", "<boundary>", "\0 ")
KINDS = ("char", "byte", "word", "spaced", "bpe")
LOSSLESS = ("byte", "bpe")

words = st.sampled_from([*TRAINING.split(), " ", "  ", "\n", "\r\n", "\0", "\ufeff", "\u200d", "\u0301", "🇩🇪", "ΑΣ"])
texts = st.one_of(st.text(max_size=60), st.lists(words, max_size=30).map("".join))
kinds = pytest.mark.parametrize("kind", KINDS)


@lru_cache
def tokenizer(kind: str, lowercase: bool = False):
    config = CorpusConfig(tokenizer=kind, vocab_size=300, lowercase=lowercase)
    return tokenizer_from_json(train_tokenizer(config, [TRAINING], LABELS).to_json())


def read(kind: str, text: str) -> str:
    """What is encoded of a text in which nothing is unknown."""
    words = re.split(r"[ \t\n!-&(-/:-@\[-`{-~]+", text)
    return "".join(f" {word}" for word in words if word) if kind == "spaced" else text


def knowing(kind: str, text: str):
    """A tokenizer for which `text` holds nothing unknown."""
    if kind in LOSSLESS:
        return tokenizer(kind)
    return train_tokenizer(CorpusConfig(tokenizer=kind), [text])


@kinds
@given(text=texts)
@settings(deadline=None, max_examples=60)
def test_what_is_known_comes_back(kind, text):
    t = knowing(kind, text)
    ids = t.encode(text)
    assert t.decode(ids) == read(kind, text)
    assert len(ids) == 0 or (min(ids) >= 0 and max(ids) < t.vocab_size - t.specials)


@kinds
@given(text=texts)
@settings(deadline=None, max_examples=60)
def test_lower_case_comes_back(kind, text):
    t = tokenizer(kind, lowercase=True)
    expected = normalise(text, lowercase=True)
    assert t.encode(text).tolist() == t.encode(expected).tolist()
    if kind in LOSSLESS:
        assert t.decode(t.encode(text)) == expected


@kinds
@given(text=texts)
@settings(deadline=None, max_examples=60)
def test_what_is_unknown_is_one_replacement_character(kind, text):
    t = tokenizer(kind)
    known = [i for i in t.encode(text).tolist() if i != t.unknown]
    unknown = len(t.encode(text)) - len(known)
    assert t.decode(t.encode(text)).count("\ufffd") == t.decode(known).count("\ufffd") + unknown


@kinds
@given(text=texts, lowercase=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_text_is_split_into_a_part_for_each_id(kind, text, lowercase):
    t = tokenizer(kind, lowercase)
    parts, ids = t.split(text), t.encode(text)
    assert "".join(parts) == t.normalise(text) == read(kind, normalise(text, lowercase))
    assert len(parts) == len(ids)
    decoder = t.decoder()
    assert all(decoder.push(id) == part for part, id in zip(parts, ids.tolist(), strict=True) if id != t.unknown)


@kinds
def test_labels_are_no_text(kind):
    t, text = tokenizer(kind), TRAINING
    labels = np.arange(t.vocab_size - len(LABELS), t.vocab_size)
    assert [label_id(t, label) for label in LABELS] == labels.tolist()
    assert t.decode(labels) == ""
    assert t.decode(np.insert(t.encode(text), 3, labels)) == read(kind, text)
    assert list(t.decoder().pieces[-len(LABELS) :]) in ([""] * len(LABELS), [b""] * len(LABELS))
    shown = ["<label the>", "<label 你好>", "<label <boundary>>", "<label \\x00 >"]
    assert [t.symbol(int(id)) for id in labels] == shown
    assert t.to_json() == train_tokenizer(CorpusConfig(tokenizer=kind, vocab_size=300), [TRAINING], LABELS).to_json()
    assert "labels" not in train_tokenizer(CorpusConfig(tokenizer=kind, vocab_size=300), [TRAINING]).to_json()


@kinds
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_streamed_pieces_join_to_the_text(kind, data):
    t = tokenizer(kind)
    any_ids = st.lists(st.integers(0, t.vocab_size - 1), max_size=40)
    ids = data.draw(st.one_of(any_ids, texts.map(lambda text: t.encode(text).tolist())))
    decoder = t.decoder()
    for _ in range(2):  # flushed, it is as new
        assert "".join([*map(decoder.push, ids), decoder.flush()]) == t.decode(ids)


@pytest.mark.parametrize("kind", LOSSLESS)
@given(text=texts)
@settings(deadline=None, max_examples=60)
def test_streaming_never_emits_half_a_character(kind, text):
    t = tokenizer(kind)
    decoder, sent = t.decoder(), ""
    for id in t.encode(text).tolist():
        sent += decoder.push(id)
        assert text.startswith(sent)
    assert decoder.flush() == ""
    assert sent == text


@kinds
@given(text=texts.filter(bool))
@settings(deadline=None, max_examples=60)
def test_halves_cut_where_it_is_safe_encode_to_the_whole(kind, text):
    t, cut = knowing(kind, text), safe_cut(text)
    halves = [*t.encode(text[:cut]).tolist(), *t.encode(text[cut:]).tolist()]
    assert halves == t.encode(text).tolist()


@kinds
@given(text=st.text(st.characters(), max_size=20))
@settings(deadline=None, max_examples=60)
def test_unpaired_surrogates_do_no_harm(kind, text):
    t = tokenizer(kind)
    t.decode(t.encode(text)).encode("utf-8")
