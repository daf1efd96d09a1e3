"""``rhapsode plan SOURCE...``: what train would do, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rhapsode.cli.fields import spelling
from rhapsode.cli.options import CommandOptions, argument, config_options
from rhapsode.cli.output import NBSP, note, paragraph, print_json
from rhapsode.config import CorpusConfig, ModelConfig, TrainConfig
from rhapsode.option import Config, option

if TYPE_CHECKING:
    from rhapsode.text.corpus import Corpus
    from rhapsode.training.expectation import Expectation
    from rhapsode.training.plan import Plan


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
    from rhapsode.training.start import plan_for

    fields = {**options.model, **options.train, **options.corpus}
    corpus, plan, expected = plan_for(options.source, fields, note, options.from_)
    if options.json:
        print_json(_figures(corpus, plan, expected))
    else:
        for line in _lines(corpus, plan, expected, [*options.model, *options.train]):
            print(line)
    return 0


def _figures(corpus: Corpus, plan: Plan, expected: Expectation) -> dict[str, Any]:
    from rhapsode.text.amount import counts

    return {
        "text": {"train": counts(corpus.train), "held_out": counts(corpus.held_out)},
        "model": plan.model.to_json(),
        "train": plan.train.to_json(),
        "reasons": list(map(str, plan.choices)),
        "expected": expected.to_json(),
        "overlap": corpus.overlap and corpus.overlap.to_json(),
    }


def _lines(corpus: Corpus, plan: Plan, expected: Expectation, named: Iterable[str]) -> Iterator[str]:
    """The plan for people: a line a field that was named or chosen, with the reason; then the others."""
    from rhapsode.text.amount import bits_per_char_of_a_nat, describe

    yield paragraph("text", describe(corpus))
    if corpus.overlap and corpus.overlap.found:
        yield paragraph("overlap", str(corpus.overlap))
    for line in expected.describe(corpus.train.chars, bits_per_char_of_a_nat(corpus)):
        yield paragraph("expected", line)
    reasons = dict.fromkeys(named, "named") | {choice.name: choice.reason for choice in plan.choices}
    for title, config in (("model", plan.model), ("training", plan.train)):
        yield from ("", title)
        yield from _settings(config, reasons)


def _settings(config: Config, reasons: Mapping[str, str]) -> Iterator[str]:
    """The fields that have reasons, in their order, aligned; then the others."""
    fields = [f.name for f in dataclasses.fields(cast(Any, config)) if not f.metadata["derived"]]
    shown = {name: _setting(name, value) for name in fields if (value := getattr(config, name)) is not None}
    told = [name for name in reasons if name in shown]
    width = max((len(shown[name]) for name in told), default=0) + 4
    for name in told:
        yield paragraph(f"  {shown[name]}", reasons[name], width)
    others = [text.removeprefix("--").replace(" ", NBSP) for name, text in shown.items() if name not in told]
    yield paragraph("  the rest", ", ".join(others), width)


def _setting(name: str, value: Any) -> str:
    """A field as an option of the command line."""
    if isinstance(value, bool):
        return spelling(name) if value else spelling(f"no_{name}")
    return f"{spelling(name)} {value:g}" if isinstance(value, float) else f"{spelling(name)} {value}"
