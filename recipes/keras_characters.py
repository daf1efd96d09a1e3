"""The Keras character network (after a talk at PyData NYC): one next character for every window of 100.

    python recipes/keras_characters.py                   # everything; some epochs of each input
    python recipes/keras_characters.py --quick           # less of it, under a minute
    python recipes/keras_characters.py my.txt --inputs scalar --layers 2 --target 0 --out runs/scalar

The text in lower case is read through overlapping windows of 100 characters, one at each place; a stack of LSTMs of
256 with dropout reads a window from nothing and predicts the one character after it. Whenever an epoch's training loss
is the best so far, a checkpoint named by epoch and loss is saved. The ancestor fed each character as one number, its
index divided by the vocabulary's size; one-hot and embedded characters stand beside it here. Then the best checkpoint
goes on from a random window of the text: always with the likeliest character, as the ancestor did, and by sampling. The
same with words, as its author suggests; and rhapsode's own way.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import NamedTuple

import ancestors
import numpy as np

import rhapsode
from rhapsode.text.batches import make_batches

INPUTS = ("one-hot", "embedding", "scalar")
ANCESTOR = {
    **{"cell": "lstm", "batches": "windows", "stride": 1, "targets": "last", "dropout": 0.2, "dropout_output": 0.2},
    **{"optimizer": "adam", "lr": 1e-3, "beta2": 0.999, "eps": 1e-7, "clip_norm": 0, "weight_decay": 0},
    **{"schedule": "constant", "warmup": 0, "table_lr": 1, "dropconnect": 0, "accumulate": 4},
}
"""Keras's Adam, and nothing that Keras does not do by itself. A batch is computed in four parts, to save memory."""


class Size(NamedTuple):
    """How much to do."""

    hidden: int
    batch_size: int
    word_epochs: int
    minutes: float
    """of rhapsode's own way"""
    chars: int
    """of the text, with --quick"""


FULL = Size(hidden=256, batch_size=512, word_epochs=10, minutes=0.1, chars=0)
QUICK = Size(hidden=64, batch_size=128, word_epochs=2, minutes=0.05, chars=12_000)
CHARACTERS, WORDS = 100, 20
"""Symbols in a window."""


def recipe(options: argparse.Namespace, folder: Path) -> None:
    size = QUICK if options.quick else FULL
    source = ancestors.text(options, folder, size.chars)
    corpus = ancestors.prepared(source, folder / "characters", lowercase=True, held_out=0)
    print(f"Total characters: {corpus.train.chars:,}")
    print(f"Total vocabulary: {corpus.tokenizer.vocab_size - corpus.tokenizer.specials}")
    print(f"Total patterns:   {len(corpus.train.tokens) - CHARACTERS:,}")
    count, best = options.epochs or (2 if options.quick else 56), None
    for kind in options.inputs:
        print(f"\ninput {kind}")
        run = folder / kind
        fields = {"input": kind, "layers": options.layers, "hidden": size.hidden, "batch_size": size.batch_size}
        done = ancestor(corpus, run, count, options.target, length=CHARACTERS, **fields)
        best, count = best or checkpoints(run)[-1], done
    model = rhapsode.load(best)
    print(f"\n{best.name} goes on from a random window")
    show_writing(model, corpus, CHARACTERS, 250)
    words(source, folder, size)
    better(source, folder, size)


def ancestor(corpus: rhapsode.Corpus, folder: Path, count: int, target: float, **fields) -> int:
    """Train until the loss is at `target`, at most `count` epochs, and say how Keras would; the epochs made."""
    best = min((float(path.stem.split("-")[-1]) for path in checkpoints(folder)), default=float("inf"))
    windows = len(corpus.train.tokens) - fields["length"]
    for epoch in ancestors.epochs(corpus, folder, count, **ANCESTOR | fields):
        print(f"Epoch {epoch.number}/{count} - {epoch.seconds:.0f} s - loss: {epoch.loss:.4f}", end="")
        if round(epoch.loss, 4) < best:
            name = f"weights-improvement-{epoch.number:02}-{epoch.loss:.4f}"
            epoch.model.save(folder / f"{name}.safetensors")
            print(f" - improved from {best:.4f}, saved {name}", end="")
            best = epoch.loss
        print(flush=True)
        if epoch.loss <= target:
            break
    print(f"{epoch.number * windows / epoch.seconds:,.0f} windows a second")
    return epoch.number


def checkpoints(folder: Path) -> list[Path]:
    """What was saved, the best last."""
    return sorted(folder.glob("weights-improvement-*"))


def show_writing(model: rhapsode.Model, corpus: rhapsode.Corpus, window: int, length: int) -> None:
    """The greedy text and why it goes in circles, and what sampling writes instead."""
    start, decode = random.Random(1).randrange(len(corpus.train.tokens) - window), model.tokenizer.decode
    seed = decode(corpus.train.tokens[start + 1 : start + 1 + window])
    print(f"Seed: {seed!r}")
    for name, settings in (("greedy", {"greedy": True}), ("sampled", {"temperature": 1, "seed": 1})):
        ids, nats = ancestors.continued(model, seed, length, window, **settings)
        print(f"\n{name}, {nats:.2f} nats a symbol to the model itself:\n{decode(ids)}")
    ids, _ = ancestors.continued(model, seed, 8 * length, window, greedy=True)
    if turn := circle(model.tokenizer.encode(seed).tolist() + ids, window):
        print(f"\nThe likeliest symbol depends on the last {window} alone: the first window that comes again closes a")
        print(f"circle. Here one does after {turn[0]} symbols, and these come for ever: {decode(turn[1])!r}")


def circle(ids: list[int], window: int) -> tuple[int, list[int]] | None:
    """How many symbols after the first window one comes that was there before, and what came in between."""
    seen: dict[tuple[int, ...], int] = {}
    for end in range(window, len(ids) + 1):
        before = seen.setdefault(tuple(ids[end - window : end]), end)
        if before < end:
            return end - window, ids[before:end]
    return None


def words(source: Path, folder: Path, size: Size) -> None:
    """The same with words."""
    corpus = ancestors.prepared(source, folder / "words", lowercase=True, held_out=0, tokenizer="word")
    print(f"\nwords: {len(corpus.train.tokens):,} of them, {corpus.tokenizer.vocab_size:,} different ones")
    fields = {"input": "embedding", "hidden": size.hidden, "batch_size": size.batch_size}
    ancestor(corpus, folder / "word-run", size.word_epochs, 0, length=WORDS, **fields)
    show_writing(rhapsode.load(checkpoints(folder / "word-run")[-1]), corpus, WORDS, 50)


def better(source: Path, folder: Path, size: Size) -> None:
    """Whole streams of text with carried state, 64 predictions where a window makes one, and a plan for the rest."""
    corpus = ancestors.prepared(source, folder / "rhapsode", lowercase=True)
    model = rhapsode.train(corpus.path, minutes=size.minutes)
    progress = model.training["progress"]
    print(f"\nrhapsode's own way, {progress['seconds']:.0f} s:")
    print(f"{window_loss(model, corpus.train):.4f} nats on windows of the training text, dropout off")
    print(f"{progress['best_loss']:.4f} nats on the tenth of the text that was held out")
    print(model.generate(length=250, temperature=0.8, seed=1))


def window_loss(model: rhapsode.Model, part, every: int = 25) -> float:
    """The ancestor's loss: of the character after a window that is read from nothing; over every 25th window."""
    settings = rhapsode.TrainConfig(batches="windows", length=CHARACTERS, targets="last", stride=every, batch_size=256)
    batches, total, count = make_batches(part, settings), 0.0, 0.0
    for step in range(batches.steps_per_epoch):
        batch = batches.at(step)
        nats, _ = model.engine.losses(batch.inputs, batch.targets, model.engine.initial_state(batches.batch_size))
        total, count = total + float(np.sum(nats * batch.weights)), count + float(batch.weights.sum())
    return total / count


def main() -> None:
    parser = ancestors.arguments("One next character for every window of 100, as Keras's tutorials did it.")
    parser.add_argument(
        "--inputs", nargs="+", choices=INPUTS, default=INPUTS, help="how characters are fed, one or more"
    )
    parser.add_argument("--layers", type=ancestors.count, default=1, help="LSTMs on top of each other (default 1)")
    parser.add_argument("--epochs", type=ancestors.count, help="at most so many (default 56)")
    parser.add_argument("--target", type=float, default=1.7114, help="loss to stop at (default 1.7114, the tutorial's)")
    ancestors.run(recipe, parser.parse_args())


if __name__ == "__main__":
    main()
