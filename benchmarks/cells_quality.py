"""Which cell learns best, at equal time and at equal parameters, on three texts.

Each run is `rhapsode train` as a user would call it, with what the cell likes (`SETTINGS`: depth, convolution and
learning rate, chosen with --choose on the training part alone, of which the last tenth is held out then); everything
else is planned.
Time is processor time of one core, so that other work on the machine does not count: first each cell's speed is
measured, then it trains for as many passes as fit. At equal time every cell has the width of its row; at equal
parameters its width is what gives as many weights as the one-layer LSTM has, for the same time. Losses are nats per
character over the whole held-out part, which no choice has seen.

    python benchmarks/cells_quality.py --text shakespeare --seconds 10
    python benchmarks/cells_quality.py --text names --cell lstm sru --seeds 3
    python benchmarks/cells_quality.py --text pride --choose --cell sru
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

os.environ["RHAPSODE_THREADS"] = "1"

import rhapsode
from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import initial_parameters, parameter_spec

DATA = Path(__file__).parents[2] / "shared/data"
TEXTS = {"shakespeare": "tinyshakespeare.txt", "names": "names.txt", "pride": "pride-and-prejudice.txt"}

DEEP = {"layers": 2, "lr": 8e-3, "residual": True, "norm": "rms"}
SETTINGS: dict[str, dict[str, Any]] = {
    "lstm": {"layers": 1, "lr": 1e-2},
    "gru": {"layers": 1, "lr": 1e-2},
    "mlstm": {"layers": 1, "lr": 1e-2},
    "mogrifier": {"layers": 1, "lr": 5e-3},
    "mingru": {**DEEP, "conv": 4},
    "minlstm": {**DEEP, "conv": 4},
    "sru": {**DEEP, "conv": 4},
    "rglru": {**DEEP, "conv": 4},
}
"""What each cell is trained with; lstm and gru: what the planner takes for this width."""

CHOICES = {"layers": [2, 3], "lr": [4e-3, 8e-3], "conv": [0, 4]}


@dataclasses.dataclass(frozen=True)
class Result:
    loss: float
    tokens: int
    parameters: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", default=list(TEXTS), choices=list(TEXTS))
    parser.add_argument("--cell", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--choose", action="store_true", help="try depths and learning rates on the training part")
    args = parser.parse_args()
    for text in args.text:
        if args.choose:
            choose(text, args.cell, args.seconds, args.hidden)
        else:
            compare(text, args.cell, args.seconds, args.hidden, args.seeds)


def compare(text: str, cells: list[str], seconds: float, hidden: int, seeds: int) -> None:
    table = Table(title=f"{text}, {seconds:g} s of one core: nats per character", title_justify="left")
    for column in ("cell", "settings", "equal time", "parameters", "symbols read", "equal parameters", "width"):
        table.add_column(column, justify="left" if column in ("cell", "settings") else "right")
    for cell in cells:
        settings, width = SETTINGS[cell], equal_width(cell, hidden)
        runs = [train(DATA / TEXTS[text], cell, hidden, seconds, seed, settings) for seed in range(seeds)]
        same = [train(DATA / TEXTS[text], cell, width, seconds, seed, settings) for seed in range(seeds)]
        words = f"{settings['layers']} layers, lr {settings.get('lr', 'planned')}"
        counts = (f"{runs[0].parameters:,}", f"{runs[0].tokens:,}")
        table.add_row(cell, words, losses_of(runs), *counts, losses_of(same), str(width))
    Console(width=130).print(table)


def choose(text: str, cells: list[str], seconds: float, hidden: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        part = training_part(DATA / TEXTS[text], Path(folder))
        for cell in cells:
            for values in itertools.product(*CHOICES.values()):
                settings = {**DEEP, **dict(zip(CHOICES, values, strict=True))}
                result = train(part, cell, hidden, seconds, 0, settings)
                print(f"{text} {cell} {settings}: {result.loss:.4f}, {result.tokens:,} symbols", flush=True)


def training_part(path: Path, folder: Path) -> Path:
    """The first nine tenths of a text, whose end is the held-out part by default; names are drawn alike."""
    text = path.read_text()
    part = folder / path.name
    part.write_text(text[: len(text) * 9 // 10])
    return part


def train(path: Path, cell: str, hidden: int, seconds: float, seed: int, settings: dict[str, Any]) -> Result:
    fields = {"cell": cell, "hidden": hidden, **settings}
    # Short names go side by side in batches of 128.
    speed = tokens_a_second(fields, *((16, 128) if path.name == TEXTS["names"] else (64, 32)))
    epochs = seconds * speed / (0.9 * path.stat().st_size)
    model = rhapsode.train(path, epochs=epochs, seed=seed, **fields)
    training, parameters = model.file.training, model.file.parameters
    loss = training["progress"]["best_loss"] - training.get("calibration", {}).get("gain", 0.0)
    return Result(loss, training["progress"]["tokens"], sum(p.size for p in parameters.values()))


def tokens_a_second(fields: dict[str, Any], T: int, B: int) -> float:
    """Of whole optimiser steps, by processor time."""
    config = ModelConfig(vocab_size=67, **{name: value for name, value in fields.items() if name != "lr"})
    learner, ids = make_learner(config, TrainConfig(), initial_parameters(config)), np.zeros((T, B), np.int32)
    state, times = learner.initial_state(B), []
    for number in range(12):
        start = time.process_time()
        _, state = learner.step(Batch(ids, ids, None, np.zeros(B, bool)), state, Update(number, 1e-3))
        times.append(time.process_time() - start)
    return T * B / statistics.median(times[2:])


def equal_width(cell: str, hidden: int) -> int:
    """The width, a multiple of 32, at which the cell has about as many weights as the one-layer LSTM."""
    wanted = weights("lstm", hidden, SETTINGS["lstm"])
    widths = range(32, 2049, 32)
    return min(widths, key=lambda width: abs(weights(cell, width, SETTINGS[cell]) - wanted))


def weights(cell: str, hidden: int, settings: dict[str, Any]) -> int:
    fields = {name: value for name, value in settings.items() if name != "lr"}
    return sum(p.size for p in parameter_spec(ModelConfig(vocab_size=67, cell=cell, hidden=hidden, **fields)))


def losses_of(results: list[Result]) -> str:
    losses = [result.loss for result in results]
    spread = f" ±{(max(losses) - min(losses)) / 2:.4f}" if len(losses) > 1 else ""
    return f"{statistics.median(losses):.4f}{spread}"


if __name__ == "__main__":
    main()
