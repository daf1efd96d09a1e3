"""The batch law, at length: texts of random prompts, lengths and settings that join a batch and leave it at any step
are what each is alone; and what 8 threads write with one model is what one thread writes."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models import LETTERS, byte_tokenizer, char_tokenizer, random_model
from rhapsode.generate import write_some
from rhapsode.model import Model
from rhapsode.text.tokenizers.bpe import BpeTokenizer
from rhapsode.writer import Writer

QUICK, MANY = 25, 1000
"""Mixes for each engine."""


@pytest.fixture(scope="module", params=["numpy", "native"])
def pool(request):
    """Models of several kinds, on either engine."""
    if request.param == "native":
        pytest.importorskip("rhapsode._native", reason="the native core was not built")
    bpe = BpeTokenizer.train(["bad end bad rose and the end of no sand "] * 3, 300)
    kinds: list[dict[str, Any]] = [
        {"cell": "lstm", "hidden": 33, "layers": 2, "norm": "layer"},
        {"cell": "gru", "hidden": 20, "input": "embedding", "embedding_size": 9},
        {"cell": "rnn", "hidden": 17, "learned_state": True},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_ENGINE", request.param)
        yield [
            Model(random_model(tokenizer, seed, {"start": "\n"} if seed % 2 else {}, scale=0.3, **kind))
            for seed, (tokenizer, kind) in enumerate(
                (tokenizer, kind) for tokenizer in (char_tokenizer(), byte_tokenizer(), bpe) for kind in kinds
            )
        ]


def random_job(rng: random.Random) -> tuple[str, int, dict[str, Any]]:
    """A prompt, a seed and fields of a `SamplingConfig`."""

    def word(longest: int) -> str:
        return "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, longest)))

    sampling: dict[str, Any] = {
        "length": rng.choice([0, 1, 5, 30, 60]),
        "temperature": rng.choice([0.0, 0.5, 1.0, 1.5]),
        "top_k": rng.choice([0, 0, 3]),
        "top_p": rng.choice([1.0, 0.8]),
        "min_p": rng.choice([0.0, 0.1]),
        "typical_p": rng.choice([1.0, 0.9]),
        "repetition_penalty": rng.choice([1.0, 1.3]),
        "frequency_penalty": rng.choice([0.0, 0.2]),
        "presence_penalty": rng.choice([0.0, 0.5]),
        "repetition_window": rng.choice([3, 64]),
        "bias": rng.choice([{}, {"e": 2.0, "a": -2.0}]),
    }
    if rng.random() < 0.3:
        sampling |= {"temperature": 0.8, "temperatures": rng.choice([[1.0, 0.5, 0.2, 0.2], [2.0, 0.0]])}
    rule = rng.choice(["none", "none", "stop", "ban", "only", "regex", "require"])
    if rule in ("stop", "ban"):
        sampling[rule] = [word(3) for _ in range(rng.randint(1, 3))]
    elif rule == "only":
        sampling[rule] = "abden "
    elif rule == "regex":
        sampling |= {"regex": rng.choice(["([a-e]+ )*", "[^a]{1,9}\n?", "(bad|end)+"]), "length": 30}
    elif rule == "require":
        sampling |= {"require": ["bad", "es"], "length": 30}
    return word(12) if rng.random() < 0.8 else "", rng.getrandbits(63), sampling


def written_together(model: Model, jobs: list[tuple[str, int, dict[str, Any]]], rng: random.Random) -> list[str]:
    """The jobs' texts; each step is taken by some of them, drawn anew."""
    writers: list[Writer] = []
    for prompt, seed, sampling in jobs:
        session = model.session(prompt)
        writers.append(Writer(session.rules(sampling), seed, session.position))
    texts = [""] * len(jobs)
    while active := [i for i, writer in enumerate(writers) if writer.ended is None]:
        some = rng.sample(active, rng.randint(1, len(active)))
        for step in write_some(model.engine, writers, some, rng.choice([1, 2, 7, 64])):
            texts[step.writer] += step.text
    return texts


def check_mixes(pool: list[Model], seeds: range) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        model = rng.choice(pool)
        jobs = [random_job(rng) for _ in range(rng.randint(2, 7))]
        alone = [model.generate(prompt, seed=own, **sampling) for prompt, own, sampling in jobs]
        assert written_together(model, jobs, rng) == alone, f"mix {seed}: {jobs}"


def test_texts_that_join_and_leave_are_what_they_are_alone(pool):
    check_mixes(pool, range(QUICK))


@pytest.mark.slow
def test_a_thousand_mixes(pool):
    check_mixes(pool, range(QUICK, QUICK + MANY))


def test_eight_threads_write_what_one_does(pool):
    rng = random.Random(0)
    jobs = [(rng.choice(pool), *random_job(rng)) for _ in range(48)]

    def write(job: tuple[Model, str, int, dict[str, Any]]) -> tuple[str, list[int]]:
        model, prompt, seed, sampling = job
        session = model.session(prompt)
        text = session.generate(seed=seed, **sampling)
        fork = session.fork()
        fork.read("end")
        return text + session.generate(seed=seed, length=9), fork.position.recent.tolist()

    expected = [write(job) for job in jobs]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(write, jobs)) == expected
