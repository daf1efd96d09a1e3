"""What there is to measure, the most telling first, and the results so far."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rhapsode.files import write_text

from .contestants import runner
from .texts import corpus_of


class Job(NamedTuple):
    """One contestant on one text. An n-gram has no budget and no seed: 0."""

    contestant: str
    text: str
    seconds: float
    seed: int


Results = dict[Job, dict[str, Any]]


def planned(
    contestants: Iterable[str], texts: Iterable[str], budgets: Iterable[float], seeds: Iterable[int]
) -> list[Job]:
    """All jobs, the most telling first."""
    texts, seeds = list(texts), list(seeds)
    jobs = [
        Job(contestant, text, seconds, seed)
        for contestant in contestants
        for text in texts
        for seconds, seed in ([(0.0, 0)] if contestant == "ngram" else [(b, s) for b in budgets for s in seeds])
    ]
    return sorted(jobs, key=_turn)  # sorted is stable: within a turn they keep the order in which they were named


def _turn(job: Job) -> tuple[float, ...]:
    """rhapsode on tiny-shakespeare up to three minutes; n-grams; rhapsode's minute on the other texts; then all the
    rest, from the shorter budgets to the longer ones, the first seed before the others. What is shorter than a minute,
    except rhapsode's, comes after the minute."""
    if job.contestant == "rhapsode" and job.text == "shakespeare" and job.seconds <= 180:
        return 0, job.seed, job.seconds
    if job.contestant == "ngram":
        return (1,)
    if job.contestant == "rhapsode" and job.seconds == 60:
        return 2, job.seed
    return 3, abs(job.seconds - 60) if job.seconds <= 60 else job.seconds, job.seed


def read(path: Path) -> Results:
    """The results in a file; of the same job the last one."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {Job(*(row[name] for name in Job._fields)): row for row in rows}


def keep(path: Path, results: Results) -> None:
    """Write all results, or none of them anew."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in results.values()))


def measured(job: Job, adapt: bool) -> dict[str, Any]:
    """The result of a job, with what turns its nats into bits and shows which text it is of."""
    corpus = corpus_of(job.text)
    found, part = runner(job.contestant)(corpus, job.seconds, job.seed, adapt), corpus.held_out
    size = {"learned": len(corpus.train.tokens) - 1, "tokens": len(part.tokens) - 1}
    text = {**size, "chars": part.chars, "bytes": part.bytes, "symbols": corpus.tokenizer.vocab_size}
    return {**job._asdict(), "digest": corpus.digest, "held_out": text, "nats": found.nats, "facts": found.facts}
