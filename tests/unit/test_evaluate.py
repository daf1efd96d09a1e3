"""Evaluations and scores: the figures' arithmetic, and how nats are spread over characters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rhapsode.analysis.surprisal import units
from rhapsode.config import ModelConfig
from rhapsode.engine import Engine
from rhapsode.errors import CorpusError
from rhapsode.evaluate import Evaluation, evaluate, losses, part_of, reads_documents, spans
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import initial_parameters
from rhapsode.scoring import score, score_all
from rhapsode.text.tokenizers.byte import ByteTokenizer
from rhapsode.text.tokenizers.char import CharTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer
from texts import small_corpus

CHAR, BYTE = CharTokenizer("\nabcé"), ByteTokenizer()


def make_engine(tokenizer=CHAR, **training) -> Engine:
    config = ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, hidden=8)
    return Engine(ModelFile(config, tokenizer, initial_parameters(config), training))


class Uniform:
    """Stands in for an engine: every symbol is as likely as any other."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.model = make_engine(tokenizer).model

    def initial_state(self, batch_size):
        return None

    def losses(self, ids, targets, state):
        return np.full(ids.shape, np.log(self.tokenizer.vocab_size)), state


def test_the_figures_of_a_uniform_model():
    part = part_of(BYTE, ["aé", "b"], closed=True)
    found = evaluate(Uniform(BYTE), part, documents=True)
    nats = 6 * math.log(257)  # a, two bytes of é, end, b, end
    assert (found.tokens, found.chars, found.bytes, found.unknown) == (6, 3, 4, 0)
    assert found.nats_total == pytest.approx(nats)
    assert found.perplexity == pytest.approx(257)
    assert found.bits_per_char == pytest.approx(6 * math.log2(257) / 3)
    assert found.bits_per_byte == pytest.approx(6 * math.log2(257) / 4)


def test_json_has_the_promised_fields():
    report = Evaluation("reset", 256, 10, 8, 9, 1, 20.0).to_json()
    assert report == {
        "mode": "reset",
        "context": 256,
        "tokens": 10,
        "chars": 8,
        "bytes": 9,
        "unknown": 1,
        "nats_total": 20.0,
        "nats_per_token": 2.0,
        "bits_per_char": 20 / math.log(2) / 8,
        "bits_per_byte": 20 / math.log(2) / 9,
        "perplexity": pytest.approx(math.e**2),
        "standard_error": pytest.approx(math.nan, nan_ok=True),
    }


def test_a_perplexity_beyond_all_numbers_is_infinite():
    assert Evaluation("reset", 256, 10, 8, 9, 1, 1e9).perplexity == math.inf


def test_part_of_lays_documents_out_like_a_corpus(tmp_path):
    corpus = small_corpus(tmp_path, "abc\n\nb\ncab\n", documents="lines", held_out=0.0)
    part = part_of(corpus.tokenizer, ["abc", "b", "cab"], closed=True)
    np.testing.assert_array_equal(part.tokens, corpus.train.tokens)
    np.testing.assert_array_equal(part.starts, corpus.train.starts)
    assert part.tokens.dtype == corpus.train.tokens.dtype
    assert (part.chars, part.bytes) == (corpus.train.chars, corpus.train.bytes)


def test_one_whole_text_has_no_closing_boundary(tmp_path):
    corpus = small_corpus(tmp_path, "abc\ncab\n", documents="whole", held_out=0.0)
    part = part_of(corpus.tokenizer, ["abc\ncab\n"], closed=False)
    np.testing.assert_array_equal(part.tokens, corpus.train.tokens)


def test_unknown_symbols_are_counted():
    assert evaluate(make_engine(), part_of(CHAR, ["axbyc"], closed=False)).unknown == 2
    assert score(make_engine(), "axbyc").unknown == 2


@pytest.mark.parametrize("texts", [[], [""]])
def test_there_must_be_something_to_predict(texts):
    with pytest.raises(CorpusError, match="no text"):
        evaluate(make_engine(), part_of(CHAR, texts, closed=False))


def test_the_mode_follows_the_training():
    part = part_of(CHAR, ["abc", "cab"], closed=True)
    assert evaluate(make_engine(), part).mode == "carried"
    assert evaluate(make_engine(batches="streams"), part).mode == "carried"
    assert evaluate(make_engine(batches="documents"), part).mode == "documents"
    assert evaluate(make_engine(batches="documents"), part, documents=False).mode == "carried"
    assert evaluate(make_engine(batches="documents"), part, context=2).mode == "reset"
    assert reads_documents(make_engine(batches="documents").model)


def test_progress_reaches_the_whole():
    told = []
    evaluate(make_engine(), part_of(CHAR, ["abc" * 200], closed=False), progress=lambda *counts: told.append(counts))
    assert len(told) > 1
    assert told[-1] == (600, 600)
    assert told == sorted(told)


def test_logits_never_fill_the_memory(monkeypatch):
    """However many symbols there are, a piece has a bounded number of logits."""
    from rhapsode import evaluate as module

    monkeypatch.setattr(module, "LOGITS", 5 * BYTE.vocab_size)
    sizes = []
    part = part_of(BYTE, ["abcdefgh"] * 3, closed=True)
    for index, _ in losses(make_engine(BYTE), part.tokens, spans(part, "documents")):
        sizes.append(len(index))
    assert max(sizes) <= 5
    assert sum(sizes) == 27


def test_bytes_of_a_character_add_up():
    found = score(make_engine(BYTE), "aé")
    nats = [n for _, n in found.per_token]
    assert [piece for piece, _ in found.per_token] == ["a", "", "é"]
    np.testing.assert_allclose(found.per_char, [nats[0], nats[1] + nats[2]])


class Pairs(CharTokenizer):
    """Two characters a symbol, as a tokenizer of longer pieces has them."""

    def encode(self, text):
        return super().encode(text)[::2]

    def split(self, text):
        return [text[i : i + 2] for i in range(0, len(text), 2)]


def test_a_token_is_spread_evenly_over_its_characters():
    found = score(make_engine(Pairs("\nabcé")), "aabb")
    (first, a), (second, b) = found.per_token
    assert (first, second) == ("aa", "bb")
    np.testing.assert_allclose(found.per_char, [a / 2, a / 2, b / 2, b / 2])


def test_unknown_characters_keep_their_own_face():
    found = score(make_engine(), "axb")
    assert found.text == "axb"
    assert [piece for piece, _ in found.per_token] == ["a", "x", "b"]


def test_unknown_words_keep_their_own_face():
    tokenizer = WordTokenizer([" the", "the", "\n"], lowercase=True)
    found = score(make_engine(tokenizer), "The Xanadu the")
    assert found.text == "The Xanadu the"
    assert [piece for piece, _ in found.per_token] == ["The", " Xanadu", " the"]
    assert found.unknown == 1
    assert found.per_char.sum() == pytest.approx(found.nats_total)


def test_lower_case_is_shown_as_it_was_written():
    found = score(make_engine(CharTokenizer("abc", lowercase=True)), "aBc")
    assert (found.text, found.unknown) == ("aBc", 0)


def test_a_text_that_changes_its_length_is_shown_as_it_is_read():
    found = score(make_engine(CharTokenizer("abci\u0307", lowercase=True)), "aİc")
    assert found.text == "ai\u0307c"
    assert (found.chars, len(found.per_char)) == (3, 4)


def test_the_end_of_a_document_counts_for_models_of_documents():
    engine = make_engine(batches="documents")
    found = score(engine, "abc")
    assert len(found.per_token) == 4
    assert found.per_token[-1] == ("", found.end)
    assert found.nats_total == pytest.approx(found.per_char.sum() + found.end)
    assert score(engine, "abc", document=False).end == 0
    assert score(engine, "").nats_total == score(engine, "").end > 0


def test_nothing_scores_nothing():
    found = score(make_engine(), "")
    assert (found.nats_total, found.per_token, len(found.per_char)) == (0, [], 0)
    assert math.isnan(found.bits_per_char)


@pytest.mark.parametrize("by", ["line", "char", "file"])
@pytest.mark.parametrize("documents", [False, True])
def test_units_add_up_to_the_text(by, documents):
    texts = ["ab\n\ncab\r\n", "b", "\n"]
    scores = score_all(make_engine(), texts, documents=documents)
    found = list(units(zip(["one", "one", "two"], scores, strict=True), by))
    assert sum(unit.chars for unit in found) == sum(map(len, texts))
    assert math.fsum(unit.nats for unit in found) == pytest.approx(math.fsum(s.nats_total for s in scores))
    if by == "line":
        expected = [("one", 1, "ab"), ("one", 2, ""), ("one", 3, "cab"), ("one", 4, "b"), ("two", 1, "")]
        assert [(unit.file, unit.number, unit.text) for unit in found] == expected
        assert found[0].nats == pytest.approx(scores[0].per_char[:3].sum())
        assert found[0].bits_per_char == pytest.approx(found[0].nats / 3 / math.log(2))
    if by == "file":
        assert [unit.file for unit in found] == ["one", "two"]
