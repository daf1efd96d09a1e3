"""The Keras network with a generator: windows of 40, every 3 symbols, produced batch by batch for ever.

    python recipes/keras_generator.py                    # everything; some minutes
    python recipes/keras_generator.py --quick            # less of it, under a minute
    python recipes/keras_generator.py my.txt --tokenizers bpe --seed-text "It was" --temperatures 0.7 0.9

A generator makes batches of windows of the text, for ever, of a text of any size; an epoch is as many of them as
`steps_per_epoch` says. An embedding of 128, an LSTM of 256 and a softmax predict the one symbol after each window. Then
the text goes on from a seed, at four temperatures side by side; a seed may be shorter than the window. With characters,
words and sub-words. Last, rhapsode's own way, which has no windows.
"""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ancestors
import numpy as np

import rhapsode
from rhapsode.backends.base import Learner, Update
from rhapsode.backends.choose import make_learner
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.batches import Batch, make_batches

WINDOW = 40
WRITTEN = {"char": 160, "word": 40, "bpe": 60}
"""Symbols that are written at each temperature."""
READ = (1, 5, 10, 20, 40)
"""After so many symbols from nothing the loss is shown."""


class Size(NamedTuple):
    """How much to do."""

    epochs: int
    hidden: int
    embedding: int
    minutes: float
    """of rhapsode's own way"""
    chars: int
    """of the text, with --quick"""


FULL = Size(epochs=10, hidden=256, embedding=128, minutes=0.25, chars=0)
QUICK = Size(epochs=1, hidden=64, embedding=32, minutes=0.05, chars=40_000)


def recipe(options: argparse.Namespace, folder: Path) -> None:
    size = QUICK if options.quick else FULL
    source = ancestors.text(options, folder, size.chars)
    for kind in options.tokenizers:
        corpus = ancestors.prepared(source, folder / kind, tokenizer=kind, vocab_size=5_000)
        print(f"\n{kind}: {len(corpus.train.tokens):,} symbols, {corpus.tokenizer.vocab_size:,} different ones")
        model = ancestor(corpus, size, options)
        model.save(folder / f"{kind}.safetensors")
        show_writing(model, corpus, options)
        ours = rhapsode.train(corpus.path, minutes=size.minutes)
        compare(corpus, {"predicting after windows": model, f"rhapsode, {size.minutes * 60:.0f} s": ours})
        print(ours.generate(options.seed_text, length=200, temperature=0.8, seed=1))


def windows(corpus: rhapsode.Corpus, config: rhapsode.TrainConfig) -> Iterator[Batch]:
    """Batches for ever, every window once an epoch in a new order. The text stays on disk; windows are never stored."""
    return map(make_batches(corpus.train, config).at, itertools.count())


def ancestor(corpus: rhapsode.Corpus, size: Size, options: argparse.Namespace) -> rhapsode.Model:
    """Train on what the generator yields, as `fit_generator` does."""
    model = rhapsode.ModelConfig(
        **{"vocab_size": corpus.tokenizer.vocab_size, "specials": corpus.tokenizer.specials, "input": "embedding"},
        **{"embedding_size": size.embedding, "cell": "lstm", "hidden": size.hidden},
    )
    config = rhapsode.TrainConfig(
        **{"batches": "windows", "length": WINDOW, "stride": 3, "targets": "last", "batch_size": 128, "steps": 1},
        **{"optimizer": "adam", "beta2": 0.999, "eps": 1e-7, "weight_decay": 0, "clip_norm": 0},
    )
    learner = make_learner(model, config, initial_parameters(model))
    steps = options.steps_per_epoch or make_batches(corpus.train, config).steps_per_epoch
    generator, number = windows(corpus, config), itertools.count()
    for epoch in range(1, (options.epochs or size.epochs) + 1):
        losses = [step(learner, batch, next(number)) for batch in itertools.islice(generator, steps)]
        print(f"Epoch {epoch} - {steps} steps - loss: {np.mean(losses):.4f}", flush=True)
    return rhapsode.Model(rhapsode.ModelFile(model, corpus.tokenizer, learner.parameters()))


def step(learner: Learner, batch: Batch, number: int) -> float:
    """One optimiser step; the loss before it."""
    result, _ = learner.step(batch, learner.initial_state(len(batch.reset)), Update(number, lr=1e-3))
    return result.loss


def show_writing(model: rhapsode.Model, corpus: rhapsode.Corpus, options: argparse.Namespace) -> None:
    """What the model writes after the seed, at each temperature, side by side."""
    seed, columns, length = filled(options.seed_text, corpus), [], WRITTEN[corpus.tokenizer.kind]
    for temperature in options.temperatures:
        ids, _ = ancestors.continued(model, seed, length, WINDOW, temperature=temperature, seed=1)
        columns.append(
            [f"temperature {temperature:g}", *textwrap.wrap(options.seed_text + model.tokenizer.decode(ids), 27)]
        )
    for row in itertools.zip_longest(*columns, fillvalue=""):
        print(" ".join(f"{cell:28}" for cell in row).rstrip())


def filled(seed: str, corpus: rhapsode.Corpus) -> str:
    """The seed with lines of the text before it. A network that predicts after windows alone has never predicted after
    fewer symbols: zeros or blanks before a short seed would be a text that it has not seen either."""
    before = corpus.tokenizer.decode(corpus.train.tokens[1 : 100 * WINDOW])
    return before[: before.rfind("\n") + 1] + seed


def compare(corpus: rhapsode.Corpus, models: dict[str, rhapsode.Model]) -> None:
    """The loss on the part held out, after so many symbols read from nothing."""
    print(f"{'nats after symbols':26}" + "".join(f"{count:>8}" for count in READ))
    for name, model in models.items():
        by_position = losses(model, corpus.held_out)
        print(f"{name:26}" + "".join(f"{by_position[count - 1]:8.3f}" for count in READ))


def losses(model: rhapsode.Model, part) -> np.ndarray:
    """Mean nats [T] of what follows 1 … T symbols that are read from nothing, over windows of `part` end to end."""
    config = rhapsode.TrainConfig(batches="windows", length=WINDOW, stride=WINDOW, batch_size=64, steps=1)
    batches, total = make_batches(part, config), np.zeros((2, WINDOW))
    for batch in map(batches.at, range(batches.steps_per_epoch)):
        nats, _ = model.engine.losses(batch.inputs, batch.targets, model.engine.initial_state(64))
        total += [(nats * batch.weights).sum(1), batch.weights.sum(1)]
    return total[0] / total[1]


def main() -> None:
    kinds = ("char", "word", "bpe")
    parser = ancestors.arguments("Windows produced batch by batch for ever, as Keras's generators did it.")
    parser.add_argument("--tokenizers", nargs="+", choices=kinds, default=kinds, help="what a symbol is: one or more")
    parser.add_argument("--epochs", type=ancestors.count, help="how many (default 10)")
    parser.add_argument("--steps-per-epoch", type=ancestors.count, help="batches in an epoch (default: the whole text)")
    parser.add_argument("--seed-text", default="It is", help="what the text goes on from, of any length")
    parser.add_argument("--temperatures", nargs="+", type=ancestors.temperature, default=(0.2, 0.5, 1.0, 1.2))
    ancestors.run(recipe, parser.parse_args())


if __name__ == "__main__":
    main()
