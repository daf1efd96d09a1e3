"""Blends: the mixture by its definition, symbols matched by what they stand for, turns; and the laws of engines."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from models import byte_tokenizer, char_tokenizer, random_model
from rhapsode import blend
from rhapsode.errors import ConfigError, SessionError, TokenizerError
from rhapsode.model import Model
from rhapsode.sampling import log_softmax
from rhapsode.text.tokenizer import tokenizer_from_json
from rhapsode.text.tokenizers.bpe import BpeTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer

ENDLESS = {"start": "\n"}


def char_model(letters: str, seed: int, **fields) -> Model:
    return Model(random_model(char_tokenizer(letters), seed, ENDLESS, scale=1.0, **fields))


@pytest.fixture(scope="module", params=["numpy", "native"])
def three(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_ENGINE", request.param)
        yield [
            char_model("\n abcd", 1, hidden=9, layers=2),
            char_model("\n aexyz", 2, hidden=17, cell="gru"),
            char_model("\n dcb", 3, hidden=5, cell="rnn"),
        ]


def opinions(model: Model, text: str, symbols: list[str]) -> dict[str, float]:
    """What the model thinks follows `text`, p by symbol, from its own session alone: what it does not know of the
    `symbols` shares the probability of its unknown symbol."""
    p = np.exp(log_softmax(model.session(text).position.logits))
    own = {c: p[i] for i, c in enumerate(model.tokenizer.characters)} | {"end": p[model.tokenizer.boundary]}
    lacks = [c for c in symbols if c not in own]
    return own | dict.fromkeys(lacks, p[model.tokenizer.unknown] / len(lacks))


def predicted(blended, text: str) -> dict[str, float]:
    p = np.exp(log_softmax(blended.session(text).position.logits))
    names = [*blended.tokenizer.characters, "end", "unknown"]
    return dict(zip(names, p.tolist(), strict=True))


def test_a_mixture_is_the_weighted_sum_by_symbol(three):
    blended = blend(three, weights=[5, 3, 2])
    assert blended.tokenizer.characters == "\n abcdexyz"
    symbols = [*blended.tokenizer.characters, "end", "unknown"]
    for text in ("a", "zebra d", "\n\nxyz"):
        found = predicted(blended, text)
        assert sum(found.values()) == pytest.approx(1)
        each = [opinions(model, text, symbols) for model in three]
        for symbol in symbols:
            expected = sum(w * p[symbol] for w, p in zip((0.5, 0.3, 0.2), each, strict=True))
            assert found[symbol] == pytest.approx(expected, rel=1e-4), symbol


def test_a_blend_of_one_model_is_that_model(three):
    model = three[0]
    assert blend([model]).generate("ab", length=60, seed=3) == model.generate("ab", length=60, seed=3)
    assert blend([model, model]).score("abcd abc").nats_total == pytest.approx(
        model.score("abcd abc").nats_total, rel=1e-5
    )


def test_a_score_is_that_of_the_predictions(three):
    blended, text = blend(three[:2]), "zad b\nex"
    expected = [-math.log(predicted(blended, text[:i])[text[i]]) for i in range(1, len(text))]
    np.testing.assert_allclose([nats for _, nats in blended.score(text).per_token[1:]], expected, rtol=1e-4)


@pytest.mark.parametrize("turns_of", ["symbols", "words"])
def test_models_take_turns(three, turns_of):
    blended = blend(three, turns=2, turns_of=turns_of)
    symbols = [*blended.tokenizer.characters, "end", "unknown"]
    text = "ab cd e xyz\na b c d"
    for size in range(1, len(text)):
        before = text[:size]
        words = sum(a.isalpha() and not b.isalpha() for a, b in itertools.pairwise(before))
        whose = (size if turns_of == "symbols" else words) // 2 % 3
        found, expected = predicted(blended, before), opinions(three[whose], before, symbols)
        for symbol in symbols:
            assert found[symbol] == pytest.approx(expected[symbol], rel=1e-4), (before, symbol)


@pytest.mark.parametrize("how", [{"weights": [0.7, 0.2, 0.1]}, {"turns": 3}, {"turns": 1, "turns_of": "words"}])
def test_the_laws_of_engines_hold(three, how, tmp_path):
    blended = blend(three, **how)
    alone = [blended.generate("ab", length=40, seed=seed) for seed in range(4)]
    assert [written.text for written in blended.samples("ab", 4, length=40, seed=0)] == alone
    assert "".join(blended.stream("ab", length=40, seed=0)) == alone[0]

    session = blended.session("ab")
    first = session.generate(length=7, seed=1)
    mark = session.mark()
    rest = session.generate(length=9, seed=2)
    session.rewind(mark)
    assert session.fork().generate(length=9, seed=2) == rest
    session.save(tmp_path / "s")
    assert blended.load_session(tmp_path / "s").generate(length=9, seed=2) == rest
    with pytest.raises(SessionError, match="another model"):
        blend(three, weights=[1, 2, 3]).load_session(tmp_path / "s")

    ids = blended.tokenizer.encode("ab" + first + rest)[:, None]
    engine, state = blended.engine, blended.engine.initial_state(1)
    logits, after = engine.read(ids, state)
    half, between = engine.read(ids[:5], state)
    np.testing.assert_allclose(half, logits[:5], rtol=1e-4, atol=1e-5)
    for end in (engine.read(ids[5:], between)[1], engine.skim(ids, state)):
        for one, other in zip(end.layers, after.layers, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_words_are_matched_by_the_word():
    texts = ("the sea and the end", "a sea of sand")
    models = [Model(random_model(WordTokenizer.train([text], 50), seed, ENDLESS)) for seed, text in enumerate(texts)]
    blended = blend(models)
    assert blended.unknown("the end of sand") == []
    joint = blended.tokenizer
    for text in ("the", "a sea"):
        found = np.exp(log_softmax(blended.session(text).position.logits))
        each = [np.exp(log_softmax(m.session(text).position.logits)) for m in models]
        own = [m.tokenizer.words.index(" sea") for m in models]
        assert found[joint.words.index(" sea")] == pytest.approx(sum(p[i] for p, i in zip(each, own, strict=True)) / 2)


def test_a_blend_of_bytes_or_of_equal_bpe_writes():
    bpe = BpeTokenizer.train(["the sea and the end "] * 3, 280)
    for tokenizer in (byte_tokenizer(), bpe):
        models = [Model(random_model(tokenizer, seed)) for seed in (1, 2)]
        assert blend(models, turns=3).generate(length=20, seed=1)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"weights": [1.0]}, r"weights: found \[1\.0\], allowed: 2 numbers above 0"),
        ({"weights": [1, 0]}, "weights: found"),
        ({"weights": [1, -1]}, "weights: found"),
        ({"weights": [1, math.nan]}, "weights: found"),
        ({"weights": [1, math.inf]}, "weights: found"),
        ({"weights": [1, "x"]}, "weights: found"),
        ({"turns": 0}, "turns: found 0, allowed: a whole number from 1"),
        ({"turns": 2, "weights": [1, 1]}, "weights: found .*, allowed: none, with turns"),
        ({"turns": 2, "turns_of": "lines"}, "turns_of: found 'lines'"),
        ({"turns_of": "words"}, "turns_of: found 'words', allowed: only with turns"),
    ],
)
def test_what_does_not_fit_is_one_line(how, said):
    models = [char_model("ab", 1), char_model("bc", 2)]
    with pytest.raises(ConfigError, match=said):
        blend(models, **how)


def test_tokenizers_that_do_not_go_together():
    lower = tokenizer_from_json({"kind": "char", "characters": "ab", "lowercase": True})
    bpe = [BpeTokenizer.train([text] * 3, 270) for text in ("the sea and the end ", "no sand on the shore ")]
    tokenizers = {"c": char_tokenizer(), "l": lower, "b": byte_tokenizer(), "d": bpe[0], "e": bpe[1]}
    models = {name: Model(random_model(tokenizer)) for name, tokenizer in tokenizers.items()}
    for pair in ("cl", "cb", "bd", "de"):
        with pytest.raises(TokenizerError, match=r"tokenizer: found .* symbols.* expected"):
            blend([models[name] for name in pair])


def test_what_is_no_list_of_models_is_named():
    model = char_model("ab", 1)
    for models in ([], None, 3, "runs/a", ["runs/a"], [model, None], model):
        with pytest.raises(ConfigError, match=r"models: found .* allowed: a list of models"):
            blend(models)


def test_weights_may_be_any_numbers_and_nothing_else():
    models = [char_model("ab", 1), char_model("bc", 2)]
    weights = blend(models, np.array([3, 1], np.float32)).engine.weights
    np.testing.assert_array_equal(blend(models, [np.int64(3), 1.0]).engine.weights, weights)
    for wrong in (3, "12", ["1", "2"], [1, None]):
        with pytest.raises(ConfigError, match="weights: found"):
            blend(models, wrong)
    for wrong in (0, 1.5, "1"):
        with pytest.raises(ConfigError, match="turns: found"):
            blend(models, turns=wrong)
