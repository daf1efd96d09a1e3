"""Wall-clock seconds from process start to a held-out loss, by the same recipe on both backends.

Each run is `rhapsode train` in a process of its own: reading and encoding the text, starting the backend, training and
validating all count. Both backends get the same model, initial weights, batches, schedule and number of steps. The
held-out part is the last tenth of the text, all of it, with the state carried. Runs take turns; the median over the
seeds is shown, and the loss each one ended with.

    python benchmarks/time_to_loss.py                      to 1.5 nats per character, three seeds
    python benchmarks/time_to_loss.py --loss 1.6 --steps 600 --seeds 1 2 3 4 5 --precision fp32
    python benchmarks/time_to_loss.py --backends native
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
import statistics
from pathlib import Path
from typing import NamedTuple

from train_command import TEXT, said_by_train


class Run(NamedTuple):
    """One run."""

    seconds: float
    """to the loss; infinite if it was not reached"""
    whole: float
    """seconds to the last validation"""
    loss: float
    """at the end"""


def main() -> None:
    args = _arguments()
    runs: dict[str, list[Run]] = {backend: [] for backend in args.backends}
    for seed in args.seeds:
        for backend in args.backends:
            runs[backend].append(run := _run(backend, seed, args))
            told = f"{run.seconds:.1f} s to {args.loss}; {run.loss:.4f} after {run.whole:.1f} s"
            print(f"{backend}, seed {seed}: {told}", flush=True)
    medians = {backend: statistics.median(run.seconds for run in own) for backend, own in runs.items()}
    for backend, seconds in medians.items():
        print(f"{backend}: median {seconds:.1f} s, {seconds / medians[args.backends[0]]:.1f} times {args.backends[0]}")


def _arguments() -> argparse.Namespace:
    known = ["native", "torch"] if importlib.util.find_spec("torch") else ["native"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--loss", type=float, default=1.5, help="held-out nats per character to be reached")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--validate-every", type=int, default=100, help="steps between validations, which count too")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--backends", nargs="+", default=known, choices=known)
    return parser.parse_args()


def _run(backend: str, seed: int, args: argparse.Namespace) -> Run:
    recipe = {name: getattr(args, name) for name in ("steps", "hidden", "lr", "precision", "validate_every")}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in recipe.items()]
    said = said_by_train(args.text, [f"--backend={backend}", f"--seed={seed}", "--dropout-output=0", *options])
    found = [(seconds, re.search(r"held out ([\d.]+) nats", line)) for seconds, line in said]
    losses = [(seconds, float(match[1])) for seconds, match in found if match]
    reached = next((seconds for seconds, loss in losses if loss <= args.loss), math.inf)
    return Run(reached, *losses[-1])


if __name__ == "__main__":
    main()
