"""How fast a model reads a prompt of a million characters, with the surprisal of each.

Read in segments (rhapsode.reading) and symbol by symbol; first both must agree on the surprisals of its beginning.

    python benchmarks/reading.py --model austen.safetensors --text austen.txt
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from rhapsode.modelfile import ModelFile
from rhapsode.native_engine import NativeEngine
from rhapsode.reading import losses

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
    print("| | seconds | symbols/s | one after the other | surprisals differ by (mean, most) |\n|---|---|---|---|---|")
    for precision, rounds in ROUNDS.items():
        _show(NativeEngine(file, precision), ids, rounds)


def _show(engine: NativeEngine, ids: np.ndarray, rounds: int) -> None:
    found, _ = losses(engine, ids[:BEGINNING], engine.initial_state(1))
    began = time.perf_counter()
    expected, _ = engine.losses(ids[: BEGINNING - 1, None], ids[1:BEGINNING, None], engine.initial_state(1))
    alone = (BEGINNING - 1) / (time.perf_counter() - began)
    difference = np.abs(found - expected[:, 0])
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        losses(engine, ids, engine.initial_state(1))
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds)
    print(f"| {engine.precision} | {median:.2f} | {len(ids) / median:,.0f} | {alone:,.0f} |", end=" ")
    print(f"{difference.mean():.1e}, {difference.max():.1e} |", flush=True)


if __name__ == "__main__":
    main()
