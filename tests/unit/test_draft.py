"""Writing together: choices are the most probable continuations, and a draft finds back to where it was."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models import byte_tokenizer, char_tokenizer, random_model
from rhapsode import blend
from rhapsode.choices import choices, in_word
from rhapsode.draft import UNDO_LEARNED, Draft
from rhapsode.errors import ConfigError
from rhapsode.model import Model
from rhapsode.position import read
from rhapsode.sampling import log_softmax
from rhapsode.text.tokenizers.bpe import BpeTokenizer
from rhapsode.text.tokenizers.spaced import SpacedTokenizer
from rhapsode.text.tokenizers.word import WordTokenizer

TEXT = "the end, and the bad rose. No sand é – on the shore; "


def model_of(kind: str) -> Model:
    tokenizers = {
        "char": lambda: char_tokenizer("\n ,.abé–"),
        "byte": byte_tokenizer,
        "word": lambda: WordTokenizer.train([TEXT], 100),
        "spaced": lambda: SpacedTokenizer.train([TEXT], 100),
        "bpe": lambda: BpeTokenizer.train([TEXT] * 3, 280),
    }
    return Model(random_model(tokenizers[kind](), seed=3, hidden=12, scale=1.0))


def probability(model: Model, before: str, text: str) -> float:
    """Of `text` after `before`, and of its last word ending there, one symbol after the other."""
    position, p = model.session(before).position, 1.0
    for id in model.tokenizer.encode(text):
        p *= np.exp(log_softmax(position.logits)[id])
        _, position = read(model.engine, position, np.array([id], np.int32))
    after = np.exp(log_softmax(position.logits))
    return p * (1 - sum(after[i] for i, c in enumerate(model.tokenizer.characters) if in_word(c)))


@pytest.mark.parametrize("before", ["", "ab", "a "])
def test_choices_are_the_most_probable_of_all_continuations(before):
    model = model_of("char")
    words = ["".join(w) for n in (1, 2, 3) for w in itertools.product("abé", repeat=n)]
    heads = ["".join(h) for n in (0, 1, 2) for h in itertools.product("\n ,.–", repeat=n)]
    expected = sorted(((probability(model, before, h + w), h + w) for h in heads for w in words), reverse=True)
    found = model.session(before)
    found = choices(found.engine, found.position, 4)
    for choice, (p, text) in zip(found, expected, strict=False):
        assert choice.text == text
        assert choice.probability == pytest.approx(p, rel=1e-4)


@pytest.mark.parametrize("kind", ["char", "byte", "word", "spaced", "bpe"])
def test_every_choice_ends_where_its_word_does_and_can_be_gone_on_from(kind):
    draft = Draft(model_of(kind), "a")
    for _ in range(3):
        found = draft.choices(7)
        assert found
        assert len({choice.text for choice in found}) == len(found)
        assert [c.probability for c in found] == sorted((c.probability for c in found), reverse=True)
        for choice in found:
            seen = "".join("w" if in_word(c) else " " for c in choice.text).strip()
            assert seen, choice.text
            assert " " not in seen, choice.text
        draft.take(found[-1])
    assert draft.session.position.logits.shape == (draft.session.engine.config.vocab_size,)


def test_a_word_that_was_chosen_is_not_gone_on_with():
    draft = Draft(model_of("char"), "a ")
    draft.take(next(c for c in draft.choices(9) if in_word(c.text[-1])))
    found = draft.choices(5)
    assert not any(in_word(choice.text[0]) for choice in found)
    draft.undo()
    assert any(in_word(choice.text[0]) for choice in draft.choices(9))


@pytest.mark.parametrize("kind", ["char", "byte", "word", "bpe"])
@pytest.mark.parametrize("how", [{}, {"temperature": 0}, {"typical_p": 0.9}, {"beams": 2}])
def test_what_the_model_writes_leaves_a_chosen_word_as_it_is(kind, how):
    draft = Draft(model_of(kind), "a ")
    draft.take(next(c for c in draft.choices(9) if in_word(c.text[-1])))
    before = draft.text
    for seed in range(12):
        list(draft.write(length=3, seed=seed, **how))
        assert not in_word(draft.text[len(before) :][:1] or " ")
        draft.undo()
        assert draft.text == before


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_a_choice_that_is_taken_has_been_read(kind):
    model = model_of(kind)
    draft = Draft(model, "a")
    draft.take(draft.choices(3)[1])
    read_whole = model.session(draft.text).position
    np.testing.assert_allclose(draft.session.position.logits, read_whole.logits, rtol=1e-4, atol=1e-5)


def test_undo_goes_back_several_changes_of_any_kind():
    draft = Draft(model_of("char"), "b")
    places = [(draft.text, draft.session.position.logits)]
    for change in (
        lambda: draft.take(draft.choices(2)[0]),
        lambda: draft.add(" ab"),
        lambda: list(draft.write(length=9, seed=1)),
        lambda: list(itertools.islice(draft.write(length=50, seed=2), 1)),
    ):
        change()
        places.append((draft.text, draft.session.position.logits))
    assert draft.changes == 4
    assert draft.undo(2) == 2
    assert draft.text == places[2][0]
    np.testing.assert_array_equal(draft.session.position.logits, places[2][1])
    assert draft.undo(9) == 2
    assert draft.text == "b"
    np.testing.assert_array_equal(draft.session.position.logits, places[0][1])
    assert draft.undo() == 0


def test_undo_takes_back_what_was_learned():
    model, other = model_of("char"), "abé, ab – béa. " * 9
    learning = {"dynamic": True, "dynamic_lr": 1e-2}
    draft = Draft(model, other, **learning)
    weights, logits = draft.session.adapted().parameters, draft.session.position.logits
    assert any((weights[name] != array).any() for name, array in model.file.parameters.items())
    for change in (
        lambda: draft.take(draft.choices(2)[0]),
        lambda: list(draft.write(length=30, seed=1)),
    ):
        change()
        assert draft.session.adapted().parameters is weights, "what it writes teaches nothing"
    draft.add(other)
    after = draft.session.adapted().parameters
    assert any((after[name] != weights[name]).any() for name in weights)
    assert draft.undo(3) == 3
    assert draft.session.adapted().parameters is weights
    np.testing.assert_array_equal(draft.session.position.logits, logits)
    again = Draft(model, other, **learning)
    for one in (draft, again):
        one.add(" abéa")
    np.testing.assert_array_equal(draft.session.position.logits, again.session.position.logits)


def test_a_draft_that_learns_goes_back_only_so_far():
    draft = Draft(model_of("char"), "a", dynamic=True)
    for _ in range(UNDO_LEARNED + 5):
        draft.add(" b")
    assert draft.changes == UNDO_LEARNED
    assert draft.undo(99) == UNDO_LEARNED
    assert draft.text == "a" + " b" * 5
    assert draft.undo() == 0


def test_a_blend_cannot_learn():
    with pytest.raises(ConfigError, match="a blend of several does not learn"):
        Draft(blend([model_of("char")] * 2), dynamic=True)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None, True])
def test_less_than_one_choice_is_none(count):
    with pytest.raises(ConfigError, match=r"choices: found .* allowed: a whole number from 1"):
        Draft(model_of("char")).choices(count)


def test_what_is_no_model_no_text_or_no_choice_is_named_and_changes_nothing():
    model = model_of("char")
    for wrong in (None, "run", [model], model.file):
        with pytest.raises(ConfigError, match="model: found"):
            Draft(wrong)
    with pytest.raises(ConfigError, match="prompt: found None, allowed: text"):
        Draft(model, None)
    draft = Draft(model, "the")
    for what, change in (("text", draft.add), ("choice", draft.take), ("changes", draft.undo)):
        with pytest.raises(ConfigError, match=f"{what}: found -1"):
            change(-1)
    assert draft.text == "the"
    assert draft.changes == 0
