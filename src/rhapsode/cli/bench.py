"""``rhapsode bench``: how fast this machine trains and writes, beside torch where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rhapsode.cli.options import CommandOptions
from rhapsode.cli.output import note, print_json
from rhapsode.option import option

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """Measure how fast this machine trains and writes: character models with random weights, medians of five turns.

    Where torch is installed its own layers (nn.LSTM, nn.GRU, nn.RNN) take turns with rhapsode's on the same model; that
    both compute the same is checked first. RHAPSODE_ISA and RHAPSODE_THREADS hold the measurement to less than the
    machine has, torch too.
    """

    seconds: float = option(12.0, "length of all turns together; what is between them comes on top", low=1)


def run(options: Options) -> int:
    """Measure and print."""
    from rhapsode.benchmark.summary import summary

    found = summary(options.seconds, note)
    if options.json:
        print_json(found)
        return 0
    from rich.console import Console

    console = Console(highlight=False)
    for line in _machine(found):
        console.print(line)
    console.print(_training(found["training"]), _writing(found["writing"]), sep="\n")
    if found["training"][0]["ratio"] is None:
        note("torch is not installed: nothing to compare with (pip install 'rhapsode[torch]')")
    return 0


def _machine(found: dict[str, Any]) -> Iterator[str]:
    machine = found["machine"]
    yield f"instruction set {machine['isa']}, threads: {machine['threads']}"
    for precision, peak in found["peak"].items():
        yield f"measured peak in {precision}: {peak / 1e9:,.0f} GFLOP/s"


def _training(rows: list[dict[str, Any]]) -> Table:
    table = _table("training, tokens/s (64 steps of 32 sequences)", ["cell", "units", "precision"], "of peak")
    for row in rows:
        table.add_row(
            row["cell"],
            str(row["hidden"]),
            row["precision"],
            f"{row['tokens_per_second']:,.0f}",
            f"{row['of_peak']:.0%}",
            *_peer(row["torch_tokens_per_second"], row["ratio"]),
        )
    return table


def _writing(rows: list[dict[str, Any]]) -> Table:
    table = _table("writing, characters/s (lstm, 512 units; torch in fp32)", ["texts at once", "precision"])
    for row in rows:
        table.add_row(
            str(row["streams"]),
            row["precision"],
            f"{row['characters_per_second']:,.0f}",
            *_peer(row["torch_characters_per_second"], row["ratio"]),
        )
    return table


def _table(title: str, what: list[str], *more: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in what:
        table.add_column(name)
    for name in ("rhapsode", *more, "torch", "times"):
        table.add_column(name, justify="right")
    return table


def _peer(speed: float | None, ratio: float | None) -> tuple[str, str]:
    return ("-", "-") if speed is None or ratio is None else (f"{speed:,.0f}", f"{ratio:.1f}")
