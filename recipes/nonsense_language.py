"""The nonsense language (after the tutorial of theano_lstm, 2015): learn a made-up language, and know how well.

    python recipes/nonsense_language.py             # everything, some minutes
    python recipes/nonsense_language.py --quick     # less of it, under a minute
    python recipes/nonsense_language.py --grammar my.grammar

First the tutorial's experiment: a plain recurrent network of 10 units, 100 sentences, all of them in every step,
Adadelta with clipped gradients, 10,000 passes; every 100 the error, every 500 the likeliest continuation of a first
word. Then rhapsode's own way: sentences that are seen once, an LSTM, the default optimiser. The cross-entropy on fresh
sentences is shown beside the language's entropy, which is known exactly: the difference is the Kullback-Leibler
divergence of the model from the language.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import ancestors
import numpy as np

import rhapsode
from rhapsode.languages import Language, Sample, nonsense
from rhapsode.scoring import score_all


class Size(NamedTuple):
    """How much to do."""

    passes: int
    sentences: int
    steps: int
    judged: int


FULL = Size(passes=10_000, sentences=400_000, steps=5_600, judged=10_000)
QUICK = Size(passes=500, sentences=120_000, steps=1_600, judged=1_000)
INPUT = {"input": "embedding", "learned_state": True}


def ancestor(lines: list[str], folder: Path, passes: int) -> rhapsode.Model:
    """The tutorial's network, trained the tutorial's way; prints what it prints."""
    corpus = prepared(lines, folder, held_out=0)
    predictions = sum(len(words(line)) + 1 for line in lines)
    openers = Counter(words(line)[0] for line in lines)
    first = "the" if "the" in openers else openers.most_common(1)[0][0]
    settings = {
        **INPUT,
        **{"cell": "rnn", "hidden": 10, "embedding_size": 10, "batches": "documents", "length": 4096},
        **{"batch_size": len(lines), "optimizer": "adadelta", "lr": 1.0, "beta2": 0.95, "schedule": "constant"},
        **{"warmup": 0, "weight_decay": 0, "clip_norm": 0, "dropout_output": 0, "dropconnect": 0},
        # The tutorial's loss is a sum over all predictions, rhapsode's their mean: what is compared with gradients
        # (clipping at 5, epsilon 1e-6 beside their squares) is divided accordingly.
        **{"clip_value": 5 / predictions, "eps": 1e-6 / predictions**2},
    }
    for done in range(100, passes + 1, 100):
        model = rhapsode.train(corpus, steps=done, out=folder / "ancestor", resume=done > 100, **settings)
        print(f"epoch {done}, error={nats(model, lines).sum():.2f}", flush=True)
        if done % 500 == 0:
            going_on = model.samples(first, greedy=True, length=200, stop=(".",))[0]
            print(first + going_on.text + "." * (going_on.ended_by == "stop"), flush=True)
    return model


def better(sentences: list[str], folder: Path, steps: int) -> rhapsode.Model:
    """A small LSTM, which sees each of very many sentences at most once."""
    corpus = prepared(sentences, folder)
    return rhapsode.train(corpus, steps=steps, hidden=64, embedding_size=32, lr=2e-2, batch_size=64, **INPUT)


def judge(name: str, model: rhapsode.Model, language: Language, fresh: list[Sample], seconds: float) -> None:
    """Compare the model with the language: its loss on fresh sentences, and whether what it writes belongs."""
    tokens = sum(len(words(sample.text)) + 1 for sample in fresh)
    own, true = nats(model, [sample.text for sample in fresh]), np.array([sample.nats for sample in fresh])
    gap, error = (own - true).sum() / tokens, (own - true).std() * len(fresh) ** 0.5 / tokens
    written = model.samples(count=len(fresh), temperature=1, length=2000, seed=0)
    share = np.mean([language.belongs(text.text) for text in written])
    print(f"{name:12} cross-entropy {own.sum() / tokens:.4f} nats per token on {len(fresh):,} fresh sentences")
    print(f"{'':12} divergence    {gap:.4f} ± {error:.4f} nats per token")
    print(f"{'':12} in the language {share:.2%} of {len(written):,} sentences it wrote, e.g. {written[0].text!r}")
    print(f"{'':12} trained for {seconds:.0f} s", flush=True)


def nats(model: rhapsode.Model, sentences: list[str]) -> np.ndarray:
    """How surprising each sentence is to the model, its end included."""
    return np.array([score.nats_total for score in score_all(model.engine, sentences, documents=True)])


def words(sentence: str) -> list[str]:
    return sentence.split()


def prepared(lines: list[str], folder: Path, held_out: float | None = None) -> Path:
    """The corpus of these lines, each a document of words."""
    source, out = folder / f"{len(lines)}.txt", folder / f"{len(lines)}-corpus"
    source.write_text("".join(line + "\n" for line in lines), "utf-8")
    config = rhapsode.CorpusConfig(documents="lines", tokenizer="word", held_out=held_out)
    return rhapsode.prepare([str(source)], config, out).path


def main() -> None:
    parser = ancestors.Parser(description="Learn a made-up language whose entropy is known.")
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("--grammar", help="a language of your own (default: the tutorial's)")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    try:
        language = Language.load(options.grammar) if options.grammar else nonsense()
        run(language, size)
    except rhapsode.RhapsodeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def run(language: Language, size: Size) -> None:
    if language.belongs(""):
        raise rhapsode.RhapsodeError("the language has an empty sentence, which no line of a text can be")
    entropy = language.entropy
    kind = "exactly" if entropy.exact else "at most"
    print(f"the language: {entropy.words:.4f} words a sentence, {kind} {entropy.sentence:.4f} nats a sentence,")
    print(f"{kind} {entropy.per_token:.4f} nats per token (a word, or the end)")
    fresh = language.samples(size.judged, seed=3)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        model = ancestor(language.sentences(100, seed=1), Path(folder), size.passes)
        judge("the ancestor", model, language, fresh, time.perf_counter() - begun)
        sentences, begun = language.sentences(size.sentences, seed=2), time.perf_counter()
        model = better(sentences, Path(folder), size.steps)
        judge("rhapsode", model, language, fresh, time.perf_counter() - begun)


if __name__ == "__main__":
    main()
