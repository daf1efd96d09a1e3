"""The word-level generator (after a blog post on Theano): the 10,000 most frequent words, 128 units, a hundred epochs.

    python recipes/word_level.py                         # everything; some minutes
    python recipes/word_level.py --quick                 # less of it, under a minute
    python recipes/word_level.py my.txt --cells lstm --optimizers adam --seed-text "It was" --num-words 100

The ancestor's experiment: the text becomes words, all but the most frequent ones one unknown word, the words
sequences; a plain recurrent network or an LSTM reads them, its weights drawn from N(0, 0.01²), batches of 32, plain
gradient descent at a rate of 0.01 or Adam. After each epoch the average loss; at the end a text whose every word is
drawn from the prediction. A tenth of the text is held out, which the ancestor did not do. Then rhapsode's own way, on
the same words.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import ancestors
import numpy as np

import rhapsode

ANCESTOR = {
    **{"input": "one-hot", "init": "normal", "init_std": 0.01, "batches": "windows", "length": 20, "stride": 20},
    **{"batch_size": 32, "schedule": "constant", "warmup": 0, "table_lr": 1, "weight_decay": 0, "clip_norm": 0},
    **{"dropout_output": 0, "dropconnect": 0},
}
OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "lr": 0.01},
    "adam": {"optimizer": "adam", "lr": 0.001, "beta2": 0.999},
}


class Size(NamedTuple):
    """How much to do."""

    epochs: int
    hidden: int
    minutes: float
    """of rhapsode's own way"""
    chars: int
    """of the text, with --quick"""


FULL = Size(epochs=100, hidden=128, minutes=1, chars=0)
QUICK = Size(epochs=2, hidden=128, minutes=0.05, chars=40_000)


def recipe(options: argparse.Namespace, folder: Path) -> None:
    size = QUICK if options.quick else FULL
    source = ancestors.text(options, folder, size.chars)
    corpus = ancestors.prepared(source, folder / "words", tokenizer="word", vocab_size=10_000)
    tokens, unknown = corpus.train.tokens, corpus.tokenizer.unknown
    print(f"{len(tokens):,} words, the {corpus.tokenizer.vocab_size:,} most frequent symbols known, ", end="")
    print(f"{np.mean(tokens == unknown):.2%} of the text unknown")
    print(f"knowing nothing but how frequent they are costs {frequencies(corpus):.4f} nats a word of the part held out")
    for cell in options.cells:
        for optimizer in options.optimizers:
            print(f"\n{cell}, {optimizer}")
            fields = {**ANCESTOR, **OPTIMIZERS[optimizer], "cell": cell, "hidden": size.hidden}
            model = ancestor(corpus, folder / f"{cell}-{optimizer}", options.epochs or size.epochs, **fields)
            write(model, options)
    model = rhapsode.train(corpus.path, minutes=size.minutes)
    print(f"\nrhapsode's own way, {size.minutes * 60:.0f} s:")
    print(f"held out: {model.training['progress']['best_loss']:.4f} nats a word")
    write(model, options)


def ancestor(corpus: rhapsode.Corpus, folder: Path, count: int, **fields) -> rhapsode.Model:
    """Train for `count` epochs, and say what the blog post's program says."""
    for epoch in ancestors.epochs(corpus, folder, count, **fields):
        print(f"Epoch {epoch.number}: Average Loss = {epoch.loss:.4f}", flush=True)
    model = rhapsode.load(folder / "last.safetensors")
    progress = model.training["progress"]
    print(f"held out: {progress['val_loss']:.4f} nats a word, {progress['best_loss']:.4f} at best", end="")
    print(f"; {progress['seconds']:.0f} s")
    return model


def write(model: rhapsode.Model, options: argparse.Namespace) -> None:
    """A text that goes on from the seed, each word drawn from the prediction."""
    text = model.generate(options.seed_text, length=options.num_words, temperature=1, seed=1)
    print(f"{options.seed_text}{text}")


def frequencies(corpus: rhapsode.Corpus) -> float:
    """The cross-entropy of the held-out words under the training part's word frequencies, each counted once more."""
    size = corpus.tokenizer.vocab_size
    counts = np.bincount(corpus.train.tokens[1:], minlength=size) + 1
    return float(math.log(counts.sum()) - np.log(counts)[corpus.held_out.tokens[1:]].mean())


def main() -> None:
    parser = ancestors.arguments("A word-level recurrent network, as a blog post on Theano built it.")
    parser.add_argument("--cells", nargs="+", choices=("rnn", "lstm"), default=("rnn", "lstm"), help="one or both")
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=tuple(OPTIMIZERS), help="one or both")
    parser.add_argument("--epochs", type=ancestors.count, help="passes over the text (default 100)")
    parser.add_argument("--seed-text", default="It is", help="what the text goes on from")
    parser.add_argument("--num-words", type=ancestors.count, default=50, help="how long the text is (default 50)")
    ancestors.run(recipe, parser.parse_args())


if __name__ == "__main__":
    main()
