"""What the recipes share: a text to learn from, training an epoch at a time, and one line when something is wrong."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

import rhapsode
from rhapsode.cli.demo import topics
from rhapsode.errors import SourceError
from rhapsode.files import make_folder, write_text
from rhapsode.modelfile import LAST
from rhapsode.sampling import choose, log_softmax, uniform
from rhapsode.text.batches import make_batches

NOVEL = Path(__file__).parents[2] / "shared" / "data" / "pride-and-prejudice.txt"
"""What the figures in README.md were measured on."""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with an option."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every recipe on a text has."""
    parser = Parser(description=description)
    parser.add_argument("text", nargs="?", help="a text file (default: Pride and Prejudice, else Python's own help)")
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("--out", help="folder to keep all in (default: nothing is kept)")
    return parser


def run(recipe: Callable[[argparse.Namespace, Path], None], options: argparse.Namespace) -> None:
    """Run a recipe in its folder; what is wrong with what was asked is one line, as on rhapsode's command line."""
    try:
        with contextlib.ExitStack() as stack:
            folder = options.out or stack.enter_context(tempfile.TemporaryDirectory(prefix="rhapsode-"))
            recipe(options, make_folder(folder))
    except rhapsode.RhapsodeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def text(options: argparse.Namespace, folder: Path, quick_chars: int) -> Path:
    """The file to learn from: the one that was named, the novel, or, where there is none, Python's help. With --quick
    only the beginning of it."""
    source = Path(options.text) if options.text else NOVEL
    if not options.text and not NOVEL.exists():
        print(f"no text was named, and {NOVEL.name} is not here: learning from Python's own help")
        source = folder / "python-help.txt"
        write_text(source, topics())
    if not options.quick:
        return source
    try:
        with source.open(encoding="utf-8") as file:
            beginning = file.read(quick_chars)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{source}: cannot be read: {getattr(error, 'strerror', error)}") from None
    write_text(folder / "beginning.txt", beginning)
    return folder / "beginning.txt"


def prepared(source: Path, folder: Path, **fields: Any) -> rhapsode.Corpus:
    """The text as tokens on disk, in `folder`."""
    return rhapsode.prepare([str(source)], rhapsode.CorpusConfig(**fields), folder)


class Epoch(NamedTuple):
    """A pass over the text."""

    number: int
    loss: float
    """average training loss, nats per prediction"""
    seconds: float
    """since the first epoch began"""
    model: rhapsode.Model
    """as it is now"""


def epochs(corpus: rhapsode.Corpus, folder: Path, count: int, **fields: Any) -> Iterator[Epoch]:
    """Train an epoch at a time. A run that is in `folder` already goes on; of the epochs that it has made, the last one
    is told again."""
    for number in range(1, count + 1):
        resume = (folder / "run.json").exists()
        rhapsode.train(corpus.path, out=folder, epochs=number, resume=resume, **fields)
        model = rhapsode.load(folder / LAST)
        progress, config = model.training["progress"], rhapsode.TrainConfig.from_json(model.training["train"])
        steps = make_batches(corpus.train, config).steps_per_epoch
        if progress["step"] == number * steps or number == count:
            yield Epoch(progress["step"] // steps, progress["epoch_loss"], progress["seconds"], model)


def continued(model: rhapsode.Model, begun: str, length: int, window: int, **sampling: Any) -> tuple[list[int], float]:
    """What networks on windows write: each symbol from the `window` before it alone, read from nothing.

    The ids, and the model's own surprise at each of them in the mean, in nats.
    """
    settings, ids, nats = rhapsode.SamplingConfig(**sampling), model.tokenizer.encode(begun).tolist(), 0.0
    text = model.config.vocab_size - model.config.specials
    for turn in range(length):
        read = np.array(ids[-window:], np.int32)[:, None]
        logits, _ = model.engine.read(read, model.engine.initial_state(1))
        x = logits[-1, 0, :text].astype(np.float64)
        ids.append(choose(x, settings, uniform(settings.seed or 0, turn)))
        nats -= log_softmax(x)[ids[-1]]
    return ids[-length:], nats / length


def count(value: str) -> int:
    """The type of options that count something."""
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"found {value!r}, allowed: a whole number from 1")
    return int(value)


def temperature(value: str) -> float:
    """The type of temperatures."""
    try:
        return rhapsode.SamplingConfig(temperature=float(value)).temperature
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {value!r}, allowed: a number from 0") from None
