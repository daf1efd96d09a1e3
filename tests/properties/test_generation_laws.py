"""Laws of generation, over every cell and configuration: the same seed gives the same text, alone or in a batch, before
or after anything else, in one go or through a saved session; what is banned never comes, what is required does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import LETTERS, byte_tokenizer, char_tokenizer, models, random_model
from rhapsode.engine import open_engine, rows, stack
from rhapsode.generate import write
from rhapsode.model import Model
from rhapsode.position import beginning, read
from rhapsode.writer import Writer

ENGINES = ["numpy", "native"]


@pytest.fixture(scope="module", params=ENGINES, autouse=True)
def engine_in_use(request):
    """The engine that models get."""
    if request.param == "native":
        pytest.importorskip("rhapsode._native", reason="the native core was not built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_ENGINE", request.param)
        yield


law = settings(deadline=None, max_examples=40)
prompts = st.text(LETTERS, max_size=12)
seeds = st.integers(0, 2**63 - 1)


@st.composite
def samplings(draw: st.DrawFn) -> dict:
    """Fields of a `SamplingConfig` of every kind, without a seed."""
    return {
        "length": draw(st.integers(0, 25)),
        "temperature": draw(st.sampled_from([0.0, 1e-320, 0.3, 1.0, 1.7, 1e300])),
        "top_k": draw(st.sampled_from([0, 1, 3, 1000])),
        "top_p": draw(st.sampled_from([0.1, 0.7, 1.0])),
        "min_p": draw(st.sampled_from([0.0, 0.2, 1.0])),
        "typical_p": draw(st.sampled_from([0.2, 0.9, 1.0, 1.0])),
        "frequency_penalty": draw(st.sampled_from([0.0, 0.0, 0.3, -1.0])),
        "presence_penalty": draw(st.sampled_from([0.0, 0.0, 1.5])),
        "bias": draw(st.sampled_from([{}, {}, {"e": 3, 2: -1.5}, {"<boundary>": 4, "a": -1000}])),
        "repetition_penalty": draw(st.sampled_from([0.01, 1.0, 1.5, 100])),
        "repetition_window": draw(st.sampled_from([1, 5, 64])),
        "stop": draw(st.lists(st.text("abno", min_size=1, max_size=3), max_size=2)),
        "ban": draw(st.lists(st.text("adeno ", min_size=1, max_size=2), max_size=2)),
        "only": draw(st.sampled_from([None, None, "abdeno r", "é☃ab"])),
    }


@law
@given(models(), st.integers(1, 9), st.data())
def test_step_depends_on_its_row_alone_to_the_last_bit(file, batch, data):
    engine = open_engine(file)
    ids = np.array(data.draw(st.lists(st.integers(0, file.config.vocab_size - 1), min_size=batch, max_size=batch)))
    alone, state = [], engine.initial_state(batch)
    for b in range(batch):
        one = rows(state, [b])
        logits, one = engine.step(ids[[b]], one)
        alone.append((*engine.step(ids[[b]], one), logits))
    first, state = engine.step(ids, state)
    second, state = engine.step(ids, state)
    np.testing.assert_array_equal(first, np.concatenate([logits for _, _, logits in alone]))
    np.testing.assert_array_equal(second, np.concatenate([logits for logits, _, _ in alone]))
    for together, own in zip(state.layers, stack([one for _, one, _ in alone]).layers, strict=True):
        for a, b in zip(together, own, strict=True):
            np.testing.assert_array_equal(a, b)


@law
@given(models(), st.lists(st.integers(0, 14), min_size=1, max_size=40), st.data())
def test_reading_at_once_equals_reading_in_pieces_and_stepping(file, ids, data):
    engine, ids = open_engine(file), np.array(ids, np.int32)
    cut = data.draw(st.integers(0, len(ids)))
    whole, end = read(engine, beginning(engine), ids)
    first, position = read(engine, beginning(engine), ids[:cut])
    second, position = read(engine, position, ids[cut:])
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-4, atol=1e-4)
    logits, state = engine.step(np.array([engine.tokenizer.boundary]), engine.initial_state(1))
    for id in ids:
        logits, state = engine.step(np.array([id]), state)
    np.testing.assert_allclose(logits[0], end.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(position.logits, end.logits, rtol=1e-4, atol=1e-4)


@law
@given(models(), st.lists(st.tuples(prompts, samplings(), seeds), min_size=1, max_size=6))
def test_a_text_alone_equals_the_same_text_in_a_batch(file, jobs):
    model = Model(file)
    alone = [model.generate(prompt, seed=seed, **sampling) for prompt, sampling, seed in jobs]
    writers = []
    for prompt, sampling, seed in jobs:
        session = model.session(prompt)
        writers.append(Writer(session.rules(sampling), seed, session.position))
    together = [""] * len(jobs)
    for step in write(model.engine, writers):
        together[step.writer] += step.text
    assert together == alone


@law
@given(models(), prompts, prompts, samplings(), seeds)
def test_p_then_x_then_p_again_is_the_same(file, prompt, other, sampling, seed):
    model = Model(file)
    first = model.generate(prompt, seed=seed, **sampling)
    model.generate(other, seed=seed + 1 if seed < 2**62 else 0, **sampling)
    assert model.generate(prompt, seed=seed, **sampling) == first
    assert Model(file).generate(prompt, seed=seed, **sampling) == first


@law
@given(models(), prompts, samplings(), st.integers(0, 2**62), st.integers(1, 4))
def test_sample_k_is_the_text_of_seed_plus_k(file, prompt, sampling, seed, count):
    model = Model(file)
    texts = model.samples(prompt, count, seed=seed, **sampling)
    assert [t.seed for t in texts] == [seed + k for k in range(count)]
    assert [t.text for t in texts] == [model.generate(prompt, seed=seed + k, **sampling) for k in range(count)]


@law
@given(models(), prompts, samplings(), samplings(), seeds)
def test_a_saved_session_goes_on_as_the_session_itself(file, prompt, before, after, seed):
    model = Model(file)
    session = model.session(prompt)
    session.generate(seed=seed, **before)
    with tempfile.TemporaryDirectory() as folder:
        session.save(Path(folder) / "session")
        loaded = model.load_session(Path(folder) / "session")
    assert session.generate(seed=seed, **after) == loaded.generate(seed=seed, **after)
    np.testing.assert_array_equal(session.read("bad end"), loaded.read("bad end"))


@law
@given(models(), prompts, prompts, samplings(), seeds)
def test_forks_are_independent(file, prompt, other, sampling, seed):
    session = Model(file).session(prompt)
    fork = session.fork()
    fork.read(other)
    fork.generate(**sampling)
    assert session.generate(seed=seed, **sampling) == Model(file).generate(prompt, seed=seed, **sampling)


@law
@given(models(), prompts, samplings(), seeds)
def test_what_is_banned_or_not_allowed_or_a_stop_never_appears(file, prompt, sampling, seed):
    text = Model(file).generate(prompt, seed=seed, **sampling)
    whole = prompt + text
    for string in sampling["ban"]:
        assert all(whole.find(string, i) < 0 for i in range(max(0, len(prompt) - len(string) + 1), len(whole)))
    for string in sampling["stop"]:
        assert string not in text
    if sampling["only"] is not None:
        assert set(text) <= set(sampling["only"])


@law
@given(
    st.sampled_from([char_tokenizer, byte_tokenizer]),
    st.lists(st.text("abden", min_size=1, max_size=4), min_size=1, max_size=3),
    samplings(),
    st.integers(0, 8),
    seeds,
)
def test_what_is_required_appears(tokenizer, required, sampling, slack, seed):
    sampling |= {"ban": [], "only": None, "length": sum(map(len, required)) + slack}
    text = Model(random_model(tokenizer())).generate("bad", seed=seed, require=required, **sampling)
    for string in required:
        assert string in text


@law
@given(models(), prompts, samplings(), seeds)
def test_streamed_pieces_join_to_the_text_and_are_whole_characters(file, prompt, sampling, seed):
    model = Model(file)
    pieces = list(model.stream(prompt, seed=seed, **sampling))
    assert "".join(pieces) == model.generate(prompt, seed=seed, **sampling)
    assert all(pieces)


@law
@given(models(), prompts, seeds, st.integers(0, 30))
def test_text_is_what_the_tokenizer_makes_of_the_tokens(file, prompt, seed, length):
    """Without rules: the ids decode to the text, but for half a character at the end."""
    model = Model(file)
    written = model.samples(prompt, 1, seed=seed, length=length)[0]
    assert written.symbols == len(written.tokens) <= length
    decoded = model.tokenizer.decode([token.id for token in written.tokens])
    if written.ended_by == "boundary":
        assert written.text == decoded
    else:
        assert decoded.startswith(written.text)
        held_back = decoded[len(written.text) :]  # at most three bytes, each of which is no character by itself
        assert len(held_back) <= 3
        assert set(held_back) <= {"\ufffd"}


@law
@given(models(), prompts, st.integers(1, 6), st.integers(0, 8))
def test_the_log_probability_of_a_beam_is_what_reading_it_costs(file, prompt, beams, length):
    model = Model(file)
    texts = model.samples(prompt, beams, beams=beams, length=length)
    means = [t.log_probability / max(1, t.symbols) for t in texts]
    assert means == sorted(means, reverse=True)
    session = model.session(prompt, texts[0].label)
    surprisals, _ = read(model.engine, session.position, np.array([t.id for t in texts[0].tokens], np.int32))
    assert texts[0].log_probability == pytest.approx(-surprisals.sum(), abs=1e-3)


def test_a_beam_as_wide_as_all_texts_finds_the_best_one():
    """Three characters, three symbols: 27 texts and those that end earlier, compared with trying each."""
    model = Model(random_model(char_tokenizer("abc"), seed=3, training={"start": "\n"}))
    best = model.samples("a", 1, beams=27, length=3)[0]
    costs = {}
    for text in (a + b + c for a in "abc" for b in "abc" for c in "abc"):
        costs[text] = model.session("a").read(text).sum()
    assert best.text == min(costs, key=lambda text: costs[text])


def test_a_long_session_remembers_only_so_much():
    session = Model(random_model(hidden=4)).session()
    session.read("a" * 10_000)
    assert len(session.position.recent) == 4096
    assert all(array.shape == (1, 4) for layer in session.position.state.layers for array in layer)
