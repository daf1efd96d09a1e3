"""``rhapsode train-classifier SOURCE...``: texts with their classes in, a classifier's file out."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhapsode.cli.options import CommandOptions, UsageError, argument, config_options
from rhapsode.cli.output import note, print_json
from rhapsode.config import NOT_OF_CLASSIFIERS, ClassifierConfig, CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import SourceError, listed
from rhapsode.figures import figure
from rhapsode.option import option

if TYPE_CHECKING:
    from rhapsode.classify.file import ClassifierFile
    from rhapsode.classify.fit import Epoch
    from rhapsode.classify.report import Report

SECONDS = 2.0
"""Between two lines of progress."""


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Learn to tell the class of a text, such as its language or its author.

    SOURCE is a table with a text and its class in each row (.csv, .tsv, .jsonl), or a file or folder for each class, or
    one folder that holds these. The texts of a class are the lines or paragraphs of its file, or the files in its
    folder. What is not named is planned to suit the texts. Ctrl-C ends the training early and saves.
    """

    source: tuple[str, ...] = argument("tables, or a file or folder for each class", metavar="SOURCE...")
    out: str = option("classifier.safetensors", "the file to write", metavar="MODEL")
    overwrite: bool = option(False, "replace the file if there is one")
    label: str = option("label", "field or column of a table that holds the class: a name, or a number from 0")
    classifier: dict[str, Any] = config_options(ClassifierConfig, "classifier")
    model: dict[str, Any] = config_options(ModelConfig, "model", omit=NOT_OF_CLASSIFIERS)
    train: dict[str, Any] = config_options(TrainConfig, "training", omit=NOT_OF_CLASSIFIERS)
    corpus: dict[str, Any] = config_options(CorpusConfig, "text", omit=NOT_OF_CLASSIFIERS)


def run(options: Options) -> int:
    """Train; exit status 0, or 130 after Ctrl-C."""
    from rhapsode.classify.source import read_labelled
    from rhapsode.classify.split import hold_out
    from rhapsode.classify.training import classifier_fields, learn
    from rhapsode.text.source import short_name

    if Path(options.out).is_dir():
        raise UsageError(f"{options.out}: is a folder; --out names a file")
    if Path(options.out).exists() and not options.overwrite:
        raise UsageError(f"{options.out}: is there already; --overwrite replaces it, --out names another")
    if not Path(options.out).absolute().parent.is_dir():
        raise UsageError(f"{options.out}: there is no such folder to write it to")
    config = CorpusConfig(**options.corpus)
    fields = classifier_fields({**options.classifier, **options.model, **options.train, **options.corpus})
    texts, labels = read_labelled(options.source, config, options.label, note)
    if len(set(labels)) < 2:
        raise SourceError(f"all {len(texts):,} texts are of one class, {labels[0]!r}: expected at least two classes")
    learned, held_out = hold_out(texts, labels, config)
    note(f"text      {len(learned[0]):,} of {len(set(labels)):,} classes to learn from, {len(held_out[0]):,} held out")
    if held_out[0] and (unmeasured := sorted(set(labels) - set(held_out[1]))):
        note(f"too few texts to hold one out, so that nothing is measured: {listed(unmeasured)}")
    progress = Progress()
    file = learn(learned, held_out if held_out[0] else None, fields, progress.epoch, progress.step)
    file.training.update(sources=[*map(short_name, options.source)], corpus=config.to_json(), label=options.label)
    file.save(options.out)
    conclude(file, options.out, sys.stderr if options.json else sys.stdout)
    if options.json:
        print_json(summary(file, options.out))
    return 130 if file.training["interrupted"] else 0


class Progress:
    """Lines on stderr, not too often."""

    def __init__(self) -> None:
        self.said = self.measured = 0.0

    def step(self, epoch: Epoch) -> None:
        """Within an epoch."""
        if epoch.used < 1 and time.monotonic() - self.said >= SECONDS:
            self._say(epoch)

    def epoch(self, epoch: Epoch, report: Report | None) -> None:
        """At its end."""
        if epoch.used == 1 or (report and time.monotonic() - self.measured >= SECONDS):
            self.measured = time.monotonic()
            self._say(epoch, f"  held out {figure(report.nats)} nats, accuracy {report.accuracy:.4f}" if report else "")

    def _say(self, epoch: Epoch, found: str = "") -> None:
        self.said = time.monotonic()
        loss = figure(epoch.loss)
        note(f"{100 * epoch.used:3.0f} %  {epoch.seconds:.0f} s  epoch {epoch.number:,}  loss {loss}{found}")


def conclude(file: ClassifierFile, out: str, stream: Any) -> None:
    """Say how good it became, and what to do next."""
    from rhapsode.classify.report import Report

    if file.training["interrupted"]:
        note("interrupted: what was learned so far is saved")
    found = file.training.get("held_out")
    print(Report.from_json(found) if found else "no text was held out to measure it on", file=stream)
    print(f"model     {out}", file=stream)
    print(f"try       rhapsode classify {shlex.quote(Path(out).as_posix())} FILE", file=stream)


def summary(file: ClassifierFile, out: str) -> dict[str, Any]:
    """What --json reports."""
    told = file.training
    return {
        "model": out,
        "labels": file.labels,
        "parameters": sum(array.size for array in file.parameters.values()),
        **{name: told[name] for name in ("sequences", "steps", "seconds", "interrupted", "backend")},
        "accuracy": told["held_out"]["accuracy"] if "held_out" in told else None,
        "held_out": told.get("held_out"),
    }
