"""What a run is told to expect: losses that fit the text, times that follow from the speed, and all of it kept."""

import math
import random
from dataclasses import replace
from pydoc_data.topics import topics

import numpy as np
import pytest

from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.text.batches import make_batches
from rhapsode.text.corpus import Part
from rhapsode.training import speed
from rhapsode.training.counting import PIECE, Counting, _sample, count
from rhapsode.training.expect import expect
from rhapsode.training.expectation import Expectation
from rhapsode.training.folder import Description
from rhapsode.training.ladder import loss_range
from rhapsode.training.speed import Speed, Stopwatch, measure_speed
from rhapsode.training.start import start
from texts import small_corpus, verses


@pytest.fixture
def clock(monkeypatch):
    """A machine of known speed."""
    monkeypatch.setattr("rhapsode.training.expect.measure_speed", lambda *_: Speed(10_000.0, 50_000.0))


def expected(corpus, trained=False, **fields):
    model = {k: fields.pop(k) for k in ("hidden", "cell") if k in fields}
    config = ModelConfig(vocab_size=corpus.tokenizer.vocab_size, specials=corpus.tokenizer.specials, **model)
    return expect(corpus, config, TrainConfig(**({"lr": 1e-2} | fields)), trained)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("corpus"), verses(3000))


def test_what_a_run_reaches_is_in_the_range(tmp_path, monkeypatch):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path))
    (tmp_path / "topics.txt").write_text("\n".join(topics.values())[:60_000])
    run = start((str(tmp_path / "topics.txt"),), tmp_path / "run", {"steps": 60, "hidden": 128, "lr": 0.012})
    loss = run.go().progress.best_loss
    assert run.description.expected.low < loss < run.description.expected.high
    assert run.description.expected.high < 3 * run.description.expected.low
    assert Description.load(tmp_path / "run").expected == run.description.expected
    assert f"loss {loss:.4f}, within the expected" in run.description.expected.compare(3.0, loss)


def test_noise_is_not_expected_to_be_learned(tmp_path, clock):
    rng = random.Random(0)
    noise = small_corpus(tmp_path, "".join(rng.choice("abcdefgh") for _ in range(40_000)))
    found = expected(noise, epochs=3)
    assert found.low < math.log(8) < found.high < 1.2 * math.log(8)
    assert found.counting == pytest.approx(math.log(8), abs=0.02)


def test_more_steps_mean_a_lower_loss_and_more_time(corpus, clock):
    few, some, many = (expected(corpus, steps=steps) for steps in (5, 60, 600))
    assert few.high > some.high > many.high > many.low
    assert few.low > some.low > many.low
    assert few.seconds < some.seconds < many.seconds
    assert many.seconds == pytest.approx(600 * 2048 / 10_000, rel=0.15)
    assert expected(corpus, minutes=2).seconds == pytest.approx(120, abs=5)
    assert expected(corpus, steps=600, validate_every=1).seconds > 1.5 * many.seconds


def test_a_range_is_one_whatever_the_figures():
    rng = np.random.default_rng(0)
    for _ in range(300):
        nats = tuple(rng.gamma(1, 2, 5))
        vocabulary, length = int(rng.integers(2, 50_000)), int(rng.integers(2, 10**6))
        text = Part(np.zeros(length, np.uint8), np.zeros(1, np.int64), length, length)
        train = TrainConfig(steps=1, lr=float(10 ** rng.uniform(-6, 1)))
        model = ModelConfig(vocab_size=vocabulary, hidden=int(rng.integers(1, 2000)))
        counting = Counting(nats, float(rng.uniform()), min(length, 200_000), 0.1)
        low, high = loss_range(counting, model, train, make_batches(text, train), float(10 ** rng.uniform(0, 9)))
        assert 0 <= low < high
        assert math.isfinite(high)


@pytest.fixture
def told(corpus):
    """The range for a text of which n-grams tell so much."""

    def told(longest=1.2, repeated=0.0, passes=1.0):
        train = TrainConfig(steps=1, lr=1e-2)
        batches = make_batches(corpus.train, train)
        counting = Counting((3.3, 2.4, 1.7, 1.2, longest), repeated, 80_000, 0.01)
        return loss_range(counting, ModelConfig(vocab_size=80), train, batches, passes * batches.predictions)

    return told


def test_what_long_contexts_tell_is_expected_to_be_learned(told):
    much, none, worse = (told(longest=nats, passes=30) for nats in (0.9, 1.2, 1.5))
    assert all(lower < 0.85 * higher for lower, higher in zip(much, none, strict=True))
    assert worse == none


def test_repetition_widens_the_range_until_it_can_have_been_learned_by_heart(told):
    def width(repeated, passes):
        low, high = told(repeated=repeated, passes=passes)
        return high / low

    assert width(0.6, 1) > 1.1 * width(0.3, 1) > 1.1**2 * width(0.0, 1)
    assert width(0.6, 1) / width(0.0, 1) > 1.1 * width(0.6, 9) / width(0.0, 9) > 1.1


def test_more_streams_are_no_fewer_steps(corpus):
    def told(batch_size, **fields):
        train = TrainConfig(steps=1, lr=1e-2, batch_size=batch_size, **fields)
        counting = Counting((3.3, 2.4, 1.7, 1.2, 1.2), 0.0, 80_000, 0.01)
        return loss_range(counting, ModelConfig(vocab_size=80), train, make_batches(corpus.train, train), 1e5)

    assert told(64) == pytest.approx(told(32), rel=0.02)
    assert min(told(16)) < 0.95 * min(told(32))
    assert min(told(32, batches="windows")) < 0.95 * min(told(64, batches="windows"))


def test_what_a_sample_of_a_large_corpus_does_not_show_lowers_the_range():
    def told(size):
        text = Part(np.zeros(size, np.uint8), np.zeros(1, np.int64), size, size)
        train = TrainConfig(steps=1, lr=1e-2)
        counting = Counting((3.3, 2.4, 1.7, 1.2, 1.2), 0.0, 200_000, 0.01)
        return loss_range(counting, ModelConfig(vocab_size=80), train, make_batches(text, train), float(size))

    (low, high), (lower, higher) = told(900_000), told(9_000_000)
    assert higher / lower > 1.15 * high / low


def test_repeated_passages_are_told_from_new_text(tmp_path):
    rng = random.Random(0)
    lines = ["".join(rng.choice("abcdefgh ") for _ in range(100)) for _ in range(200)]
    fresh = count(small_corpus(tmp_path, "\n".join(lines[:100])))
    half = count(small_corpus(tmp_path, "\n".join(f"{new}\n{lines[0]}" for new in lines[:60])))
    assert fresh.repeated < 0.01
    assert 0.4 < half.repeated < 0.5


def test_a_sample_consists_of_small_pieces_from_everywhere():
    text = Part(np.zeros(1_000_003, np.uint8), np.zeros(1, np.int64), 1_000_003, 1_000_003)
    sample = _sample(text, 200_000)
    gaps = np.diff(sample)
    assert len(sample) == 200_000
    assert (sample[0], sample[-1]) == (0, 1_000_002)
    assert np.count_nonzero(gaps > 1) == 200_000 // PIECE - 1
    assert gaps.min() == 1
    assert gaps.max() < 1_000_003 / (200_000 // PIECE)


def test_nothing_held_out_and_models_that_go_on(corpus, tmp_path, clock):
    nothing = expected(small_corpus(tmp_path, verses(50), held_out=0), steps=3)
    assert (nothing.low, nothing.counting, nothing.error) == (None, None, None)
    assert "nothing is held out" in " ".join(nothing.describe(2000, 1.4))
    further = expected(corpus, trained=True, steps=3)
    assert further.low is None
    said = " ".join(further.describe(2000, 1.4))
    assert "it depends on the model that learns on" in said
    assert "nothing is held out" not in said
    assert "little text" not in said


def test_a_sample_of_a_large_text_tells_what_all_of_it_tells(corpus, monkeypatch):
    whole = count(corpus)
    monkeypatch.setattr("rhapsode.training.counting.LEARNED", 20_000)
    monkeypatch.setattr("rhapsode.training.counting.MEASURED", 2_000)
    sample = count(corpus)
    assert sample.learned == 20_000
    assert sample.nats == pytest.approx(whole.nats, rel=0.1)
    assert sample.error == pytest.approx(whole.error, rel=1)


def test_a_sample_of_a_sorted_list_tells_what_all_of_it_tells(tmp_path, monkeypatch):
    rng = random.Random(0)
    roots = ["".join(rng.choice("aeioustrn") for _ in range(6)) for _ in range(300)]
    words = {rng.choice(roots) + rng.choice(("", "s", "er", "ing")) + rng.choice("aeioustrn") for _ in range(12_000)}
    listed = small_corpus(tmp_path, "\n".join(sorted(words)), documents="lines")
    whole = count(listed)
    monkeypatch.setattr("rhapsode.training.counting.LEARNED", 15_000)
    monkeypatch.setattr("rhapsode.training.counting.MEASURED", 4_000)
    monkeypatch.setattr("rhapsode.training.counting.MANY", 100)
    sample = count(listed)
    assert 14_900 < sample.learned <= 15_000
    # Of contexts of eleven symbols more text always tells more.
    assert sample.nats[:4] == pytest.approx(whole.nats[:4], rel=0.1)


def test_lines_for_people():
    lines = list(Expectation(75.0, 52.3, 1.38, 1.44, 1.5, 0.004).describe(900_000, 1 / math.log(2)))
    assert lines[0].startswith("about 1:15 minutes in all, 52 passes over the text; held-out loss 1.38 to 1.44 nats")
    assert "1.99 to 2.08 bits" in lines[0]
    assert "± 0.004 nats" in lines[1]
    assert next(Expectation(3.0).describe(4000, 1.4)).startswith("little text (4,000 characters)")


@pytest.mark.parametrize("batches", ["streams", "windows", "documents"])
def test_speed_is_measured_on_batches_of_every_kind(tmp_path, batches):
    lines = small_corpus(tmp_path, verses(300), documents="lines")
    train = TrainConfig(steps=1, batches=batches, batch_size=16, length=16, accumulate=2)
    model = ModelConfig(vocab_size=lines.tokenizer.vocab_size, specials=lines.tokenizer.specials, hidden=8)
    assert min(measure_speed(model, train, make_batches(lines.train, train), 0.02)) > 0


def test_for_a_plan_one_width_is_measured_and_others_are_reckoned(corpus, monkeypatch):
    measured = []
    monkeypatch.setattr(speed, "measure_speed", lambda model, *_: measured.append(model.hidden) or Speed(1e3, 4e3))
    watch, train = Stopwatch(), TrainConfig(steps=1)
    batches = make_batches(corpus.train, train)
    wide, masked, narrow, deep = (
        watch.training(ModelConfig(vocab_size=9, **fields), train, batches)
        for fields in ({"hidden": 512}, {"hidden": 512, "dropconnect": 0.2}, {"hidden": 256}, {"layers": 2})
    )
    assert wide == masked == deep == 1e3
    assert 2e3 < narrow < 4e3
    assert watch.training(ModelConfig(vocab_size=9, hidden=512), replace(train, networks=2), batches) == narrow / 2
    assert measured == [512, 512]


def test_what_is_expected_is_timed_on_what_will_be_trained(corpus, monkeypatch):
    timed = []
    monkeypatch.setattr("rhapsode.training.expect.measure_speed", lambda *of: timed.append(of) or Speed(10_000.0, 5e4))
    config = ModelConfig(vocab_size=corpus.tokenizer.vocab_size, hidden=64, dropout_output=0.3, dropconnect=0.2)
    train = TrainConfig(minutes=0.5, networks=2)
    found = expect(corpus, config, train)
    assert [of[:2] for of in timed] == [(config, train)]
    assert found.passes == pytest.approx(30 * 10_000 / make_batches(corpus.train, train).predictions)
    assert f"{found.passes:.2g} passes over the text" in next(found.describe(10**6, 1.4))


def test_joined_networks_are_timed_together(corpus):
    model = ModelConfig(vocab_size=corpus.tokenizer.vocab_size, specials=2, hidden=16)
    train = TrainConfig(steps=1, networks=2, batch_size=4, length=8)
    assert min(measure_speed(model, train, make_batches(corpus.train, train), 0.02)) > 0


@pytest.mark.parametrize(("first", "calls", "rate"), [(0.5, 104, 1000), (0.001, 203, 1000), (3.0, 2, 1 / 3)])
def test_what_another_program_takes_for_a_moment_is_no_speed(monkeypatch, first, calls, rate):
    now, called = [0.0], [0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])

    def go():
        now[0] += first if called[0] == 1 else 0.001
        called[0] += 1
        return 1

    assert speed._rate(go, 0.2) == pytest.approx(rate, rel=0.05)
    assert called[0] == pytest.approx(calls, rel=0.3)
