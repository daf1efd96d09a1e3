"""``rhapsode train SOURCE...``: text in, a run folder with a model file out."""

from __future__ import annotations

import math
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhapsode.cli.options import CommandOptions, argument, config_options
from rhapsode.cli.output import note, paragraph, print_json
from rhapsode.config import BUDGETS, CorpusConfig, ModelConfig, TrainConfig, is_own
from rhapsode.figures import figure
from rhapsode.option import option

if TYPE_CHECKING:
    from rhapsode.modelfile import ModelFile
    from rhapsode.training.loop import Outcome
    from rhapsode.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Learn from text. What is not named is planned to suit the text and the time (see rhapsode plan).

    The run folder holds best.safetensors, the model to use, and everything needed to go on. Ctrl-C saves; the same
    command with --resume goes on.
    """

    source: tuple[str, ...] = argument("files, folders, globs, - for stdin, or a prepared corpus", metavar="SOURCE...")
    out: str | None = option(None, "the run folder; without it runs/NAME after the source", metavar="RUN")
    resume: bool = option(False, "go on with the run in the folder")
    overwrite: bool = option(False, "replace the run in the folder")
    from_: str | None = option(None, "go on from this model: fine-tune it on the text", metavar="MODEL")
    no_samples: bool = option(False, "show no samples of the model's text on the way")
    model: dict[str, Any] = config_options(ModelConfig, "model")
    train: dict[str, Any] = config_options(TrainConfig, "training")
    corpus: dict[str, Any] = config_options(CorpusConfig, "text")


def run(options: Options) -> int:
    """Train; exit status 0, or 130 after Ctrl-C."""
    begun = time.perf_counter()
    from rhapsode.text.amount import bits_per_char_of_a_nat
    from rhapsode.training.console import console_observer
    from rhapsode.training.folder import default_folder
    from rhapsode.training.start import start

    folder = Path(options.out) if options.out else default_folder(options.source, resume=options.resume)
    fields = {**options.model, **options.train, **options.corpus}
    run = start(
        options.source,
        folder,
        fields,
        resume=options.resume,
        overwrite=options.overwrite,
        from_=options.from_,
        note=note,
    )
    describe(run)
    try:
        console = console_observer(bits_per_char_of_a_nat(run.corpus))
        outcome = run.go([console], None if options.no_samples else sample)
    except KeyboardInterrupt:
        note(f"interrupted at once; the same command with --resume goes on from what {folder} holds")
        raise
    seconds = time.perf_counter() - begun
    conclude(options, run, outcome, seconds)
    if options.json:
        print_json(run.summary(outcome) | {"command_seconds": round(seconds, 3), "interrupted": outcome.interrupted})
    return 130 if outcome.interrupted else 0


def describe(run: Run) -> None:
    """Say on stderr what is about to be trained on what, with the plan's reasons."""
    from rhapsode.text import amount

    columns = None if sys.stderr.isatty() else sys.maxsize  # of a log each line stays one

    def tell(label: str, text: str) -> None:
        note(paragraph(label, text, columns=columns))

    d, corpus = run.description, run.corpus
    tell("text", amount.describe(corpus))
    if corpus.overlap and corpus.overlap.found:
        tell("overlap", str(corpus.overlap))
    m, t = d.model, d.train
    tell("model", f"{m.cell}, {m.layers} x {m.hidden}, {run.parameter_count():,} parameters; backend {d.backend}")
    budget = next(f"{getattr(t, n):g} {n}" for n in BUDGETS if getattr(t, n) is not None)
    tell("training", f"{budget}; {t.batches}, {t.batch_size} x {t.length} symbols a step; {t.optimizer}, lr {t.lr:g}")
    for reason in d.reasons:
        tell("planned", reason)
    if d.expected:
        for line in d.expected.describe(corpus.train.chars, amount.bits_per_char_of_a_nat(corpus)):
            tell("expected", line)
    if run.checkpoint:
        tell("resuming", f"at step {run.checkpoint.progress.step:,}")
    tell("run", str(run.folder))


def sample(model: ModelFile) -> str:
    """A short text by the model as it stands."""
    from rhapsode.model import Model

    return Model(model).generate(length=240, temperature=0.8, seed=0).strip("\n")


def conclude(options: Options, run: Run, outcome: Outcome, seconds: float) -> None:
    """Say how it ended, after so many seconds in all, and what to do next."""
    from rhapsode.text.amount import bits_per_char_of_a_nat

    p, stream = outcome.progress, sys.stderr if options.json else sys.stdout
    if outcome.interrupted:
        note(f"interrupted at step {p.step:,}; saved in {run.folder}; the same command with --resume goes on")
        return
    if outcome.reason == "patience":
        note(f"stopped early: {p.stale} validations without a new best")
    loss = outcome.loss
    bits = figure(loss * bits_per_char_of_a_nat(run.corpus), 3)
    figures = f"{figure(loss)} nats/token, {bits} bits/char held out, at step {p.best_step:,}"
    if outcome.calibration:
        figures += f", its logits times {outcome.calibration.scale:.2f}"
    print(f"model     {run.summary(outcome)['model']}", file=stream)
    print(f"loss      {figures if math.isfinite(loss) else 'no held-out text to measure it on'}", file=stream)
    expected = run.description.expected
    if expected and not run.checkpoint:
        print(f"took      {expected.compare(seconds, loss)}", file=stream)
    own = ("--cell", options.model["cell"]) if is_own(run.description.model.cell) else ()
    print(f"try       {shlex.join(['rhapsode', 'generate', run.folder.as_posix(), *own])}", file=stream)
