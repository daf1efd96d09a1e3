"""How fast a model reads a prompt of a million characters: with the surprisal of each, and without any.

Read in segments (rhapsode.reading) and symbol by symbol; both are compared on the surprisals of its beginning. Then it
is skimmed; the state after it is compared with that of reading.

    python benchmarks/reading.py --model austen.safetensors --text austen.txt
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rhapsode.modelfile import ModelFile
from rhapsode.native_engine import NativeEngine
from rhapsode.nn.spec import State
from rhapsode.reading import losses, skim

PROMPT, BEGINNING = 1_000_000, 50_000
ROUNDS = {"int8": 5, "bf16": 5, "fp32": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True, help="a file with a million characters")
    options = parser.parse_args()
    file = ModelFile.load(options.model)
    ids = file.tokenizer.encode(Path(options.text).read_text("utf-8")[:PROMPT]).astype(np.int32)
    print(f"{file.config.cell} of {file.config.layers} x {file.config.hidden}, {len(ids):,} symbols, all cores")
    print("| | seconds | symbols/s | one after the other | surprisals differ by (mean, most) |", end=" ")
    print("skimmed, seconds | states differ by (most) |\n|---|---|---|---|---|---|---|")
    for precision, rounds in ROUNDS.items():
        _show(NativeEngine(file, precision), ids, rounds)


def _show(engine: NativeEngine, ids: np.ndarray, rounds: int) -> None:
    found, _ = losses(engine, ids[:BEGINNING], engine.initial_state(1))
    began = time.perf_counter()
    expected, _ = engine.losses(ids[: BEGINNING - 1, None], ids[1:BEGINNING, None], engine.initial_state(1))
    alone = (BEGINNING - 1) / (time.perf_counter() - began)
    difference = np.abs(found - expected[:, 0])
    seconds, state = _timed(rounds, lambda: losses(engine, ids, engine.initial_state(1))[1])
    print(f"| {engine.precision} | {seconds:.2f} | {len(ids) / seconds:,.0f} | {alone:,.0f} |", end=" ")
    print(f"{difference.mean():.1e}, {difference.max():.1e} |", end=" ")
    seconds, skimmed = _timed(5, lambda: skim(engine, ids, engine.initial_state(1)))
    print(f"{seconds:.2f} | {_difference(skimmed, state):.1e} |", flush=True)


def _timed(rounds: int, work: Callable[[], State]) -> tuple[float, State]:
    """Median seconds, and what the work gave."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        state = work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), state


def _difference(a: State, b: State) -> float:
    """The largest of two states' entries."""
    pairs = [pair for layers in zip(a.layers, b.layers, strict=True) for pair in zip(*layers, strict=True)]
    return max(float(np.abs(x - y).max()) for x, y in pairs)


if __name__ == "__main__":
    main()
