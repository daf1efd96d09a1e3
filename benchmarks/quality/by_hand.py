"""How much a person could gain by hand over what `rhapsode train TEXT --minutes M` plans, in the same time.

The plan is trained first; then the same with one choice changed (`CHANGES`), and, round after round, that from the best
so far. All train for the same seconds of one core, by processor time, so that other work on the machine does not count.
The best by hand is chosen by the held-out loss that it is judged by, out of so many: that flatters the hand.

    python -m benchmarks.quality.by_hand --text shakespeare names --seconds 30
    python -m benchmarks.quality.by_hand --text pride --seconds 110 --rounds 2
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from rich.console import Console
from rich.table import Table

os.environ["RHAPSODE_THREADS"] = "1"

import rhapsode
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.errors import ConfigError

from .texts import TEXTS, files, held_out

CHANGES: dict[str, dict[str, float | str]] = {
    "half the learning rate": {"lr": 0.5},
    "twice the learning rate": {"lr": 2.0},
    "narrower": {"hidden": 2 / 3},
    "wider": {"hidden": 4 / 3},
    "half the dropout": {"dropout_output": 0.5, "dropconnect": 0.5},
    "more dropout": {"dropout_output": 1.3, "dropconnect": 1.3},
    "half the batch": {"batch_size": 0.5},
    "twice the batch": {"batch_size": 2.0},
    "half the length": {"length": 0.5},
    "another layer": {"layers": 2.0},
    "twice the networks, half as wide": {"networks": 2.0},
    "twice the networks": {"networks": 2.0, "hidden": 2.0},
    "a GRU": {"cell": "gru"},
}
"""By what a field of the plan is multiplied, or what it is set to."""

UNITS = 96
"""Widths are multiples of it: what two or three networks can share."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", default=list(TEXTS), help=f"{', '.join(TEXTS)}, or files")
    parser.add_argument("--seconds", type=float, default=30.0, help="of one core, for each training")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    time.perf_counter = time.process_time
    for text in args.text:
        Console(width=120).print(by_hand(text, args.seconds, args.rounds))


def by_hand(text: str, seconds: float, rounds: int) -> Table:
    table = Table("what was changed", "nats per symbol", "to the plan", title=f"{text}, {seconds:g} s of one core")
    planned, plan = trained(text, seconds, {})
    table.add_row(f"nothing: {_words(plan)}", f"{planned:.4f}", "")
    best, best_plan, done = planned, plan, ""
    for _ in range(rounds):
        base, before = best_plan, done
        for name, changed in variations(base):
            try:
                loss, _ = trained(text, seconds, changed)
            except ConfigError as error:
                table.add_row(before + name, "", str(error))
                continue
            table.add_row(before + name, f"{loss:.4f}", f"{loss / planned - 1:+.1%}")
            if loss < best:
                best, best_plan, done = loss, changed, f"{before}{name}, "
    table.add_section()
    table.add_row(f"best by hand: {done.removesuffix(', ') or 'the plan'}", f"{best:.4f}", f"{best / planned - 1:+.1%}")
    return table


def variations(plan: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The plan with each of `CHANGES` that changes it."""
    for name, change in CHANGES.items():
        changed = {**plan, **{field: _changed(field, plan.get(field), by) for field, by in change.items()}}
        if changed != plan:
            yield name, changed


def _changed(field: str, value: Any, by: float | str) -> Any:
    if isinstance(by, str):
        return by
    if field == "hidden":
        return round(value * by / UNITS) * UNITS
    return round(value * by) if isinstance(value, int) else value * by


def trained(text: str, seconds: float, named: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """The held-out loss, and all that was planned or named."""
    model = rhapsode.train(files(text), minutes=seconds / 60, held_out=held_out(text), **named)
    training = model.file.training
    loss = training["progress"]["best_loss"] - training.get("calibration", {}).get("gain", 0.0)
    values = model.file.config.to_json() | training["train"]
    return loss, {f.name: values[f.name] for f in (*fields(ModelConfig), *fields(TrainConfig)) if f.metadata["planned"]}


def _words(plan: dict[str, Any]) -> str:
    told = ("networks", "hidden", "lr", "dropout_output", "dropconnect", "batch_size")
    return ", ".join(f"{name} {plan[name]:g}" for name in told)


if __name__ == "__main__":
    main()
