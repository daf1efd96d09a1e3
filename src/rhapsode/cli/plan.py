"""``rhapsode plan SOURCE...``: what train would do, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rhapsode.cli.options import CommandOptions, argument, config_options
from rhapsode.cli.output import note, print_json
from rhapsode.config import CorpusConfig, ModelConfig, TrainConfig, option


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Show what train would do with this text and budget, with the reason for each choice, without training."""

    source: tuple[str, ...] = argument("files, folders, globs, - for stdin, or a prepared corpus", metavar="SOURCE...")
    from_: str | None = option(None, "go on from this model", metavar="MODEL")
    model: dict[str, Any] = config_options(ModelConfig, "model")
    train: dict[str, Any] = config_options(TrainConfig, "training")
    corpus: dict[str, Any] = config_options(CorpusConfig, "text")


def run(options: Options) -> int:
    """Print the plan."""
    from rhapsode.training.run import bits_per_char, counts
    from rhapsode.training.start import plan_for

    fields = {**options.model, **options.train, **options.corpus}
    corpus, plan, expected = plan_for(options.source, fields, note, options.from_)
    part = corpus.held_out if len(corpus.held_out.tokens) > 1 else corpus.train
    if options.json:
        text = {"train": counts(corpus.train), "held_out": counts(corpus.held_out)}
        figures = {"text": text, "model": plan.model.to_json(), "train": plan.train.to_json()}
        overlap = corpus.overlap and corpus.overlap.to_json()
        print_json(figures | {"reasons": list(plan.reasons), "expected": expected.to_json(), "overlap": overlap})
        return 0
    print(f"{corpus.train.chars:,} characters to learn from, {corpus.held_out.chars:,} held out")
    if corpus.overlap and corpus.overlap.found:
        print(corpus.overlap)
    for line in expected.describe(corpus.train.chars, bits_per_char(part)):
        print(line)
    for reason in plan.reasons:
        print(reason)
    for title, config in (("model", plan.model), ("training", plan.train)):
        settings = ", ".join(f"{name} {value}" for name, value in config.to_json().items() if value is not None)
        print(f"\n{title}: {settings}")
    return 0
