"""How fast a model writes: the native engine in each precision, against torch and against the memory.

The model is a character LSTM of one layer with random weights. First all must agree on its logits (parity); then all
take turns, in short runs, each with one before that is not counted; the table shows the median and the best run of
each: on a machine that others use too, the best is nearer to what the program can do.

What torch does is in generation_peers.py. The roofline is the time that one core needs to read the weights once,
measured here with a loop that only reads, from whichever cache they lie in.

    python benchmarks/generation.py
    python benchmarks/generation.py --hidden 256 --rounds 10
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import rhapsode._native as _native
from rhapsode.config import ModelConfig, SamplingConfig
from rhapsode.engine import Ask, Engine, rows
from rhapsode.modelfile import ModelFile
from rhapsode.native_engine import NativeEngine
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.tokenizers.char import CharTokenizer

CHARACTERS = "".join(map(chr, range(32, 97)))
BATCHES = {1: 400, 8: 256, 64: 256, 512: 256}
"""Texts side by side, and the symbols of each a run writes: of several, as many as `rhapsode.generate` asks for."""
PRECISIONS = ("int8", "bf16", "fp32")
PARITY = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.2}
"""Largest difference of logits from those of the reference."""
LEVELS = {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20, "DRAM": 1 << 30}
"""Bytes to read for a measurement of each level of the memory (an L3 of more than these may hold the last, too)."""
Contestant = Callable[[], int]
"""One run; the symbols that it wrote."""


def main() -> None:
    options = _options()
    file = random_file(options.hidden)
    contestants = _native_runs(file)
    if not options.no_torch:
        import generation_peers as peers

        contestants |= {f"{name}, 1 at once, 1 core": (1, run) for name, run in peers.runs(file).items()}
    _check_parity(file, with_torch=not options.no_torch)
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, (threads, run) in contestants.items():
            _native.use_threads(threads)
            run()  # the weights of the one before are in the caches
            began = time.perf_counter()
            symbols = run()
            found[name].append(symbols / (time.perf_counter() - began))
    _show(file, found)
    _show_memory()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-torch", action="store_true", help="without the peers")
    return parser.parse_args()


def random_file(hidden: int) -> ModelFile:
    """A model as it is before training."""
    tokenizer = CharTokenizer(CHARACTERS)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, hidden=hidden)
    return ModelFile(config, tokenizer, initial_parameters(config))


def _check_parity(file: ModelFile, with_torch: bool) -> None:
    ids = np.random.default_rng(0).integers(0, len(CHARACTERS), (200, 2)).astype(np.int32)
    expected, _ = Engine(file).read(ids, Engine(file).initial_state(2))
    others = {p: NativeEngine(file, p).read(ids, Engine(file).initial_state(2))[0] for p in PRECISIONS}
    if with_torch:
        import generation_peers as peers

        others["torch"] = peers.logits(file, ids)
    for name, logits in others.items():
        worst = float(np.abs(logits - expected).max())
        if worst > PARITY.get(name, 1e-4):
            sys.exit(f"parity: {name} is {worst:.2g} off, allowed {PARITY.get(name, 1e-4)}")


def _native_runs(file: ModelFile) -> dict[str, tuple[int, Contestant]]:
    runs = {}
    for precision in PRECISIONS:
        for threads in (1, 2):
            for batch, symbols in BATCHES.items():
                # An engine each: it learns whether sharing a sequence among its threads pays.
                run = _native_run(NativeEngine(file, precision), batch, symbols)
                runs[f"{precision}, {batch} at once, {threads} core{'s' * (threads > 1)}"] = threads, run
    return runs


def _native_run(engine: NativeEngine, batch: int, symbols: int) -> Contestant:
    allowed = np.arange(engine.config.vocab_size) < len(CHARACTERS)
    none = np.empty(0, np.int32)
    asks = [
        Ask(SamplingConfig(), b, 0, symbols, symbols, engine.tokenizer.boundary, allowed, none) for b in range(batch)
    ]
    logits, state = engine.step(np.full(batch, engine.tokenizer.boundary), engine.initial_state(batch))
    state = rows(state, range(batch))

    def run() -> int:
        return sum(len(answer.ids) for answer in engine.write(asks, state, logits)[0])

    return run


def _show(file: ModelFile, found: dict[str, list[float]]) -> None:
    eager = found.get("torch eager, 1 at once, 1 core", [float("nan")])
    print(f"LSTM, H={file.config.hidden}, V={file.config.vocab_size}, instruction set {_native.isa()}\n")
    print("| characters/s | median | best | x torch eager (median) | of the roofline (best) |\n|---|---|---|---|---|")
    for name, speeds in found.items():
        median, best = statistics.median(speeds), max(speeds)
        ratio = median / statistics.median(eager)
        print(f"| {name} | {median:,.0f} | {best:,.0f} | {ratio:.1f} | {_of_roofline(file, name, best)} |")


def _of_roofline(file: ModelFile, name: str, speed: float) -> str:
    """For one text on one core: the time to read the weights, as a part of the time that a symbol takes."""
    precision, batch, cores = name.split(", ")
    if precision not in PARITY or batch != "1 at once" or cores != "1 core":
        return ""
    size = NativeEngine(file, precision).step_bytes
    return f"{_native.seconds_to_read(size, 300) * speed:.0%} of {size / 1e6:.2f} MB a symbol"


def _show_memory() -> None:
    print("\n| one core reads | GB/s |\n|---|---|")
    for level, size in LEVELS.items():
        speed = size / _native.seconds_to_read(size, 3 if size > 1 << 24 else 300)
        print(f"| {size >> 10:,} kB again and again ({level}) | {speed / 1e9:.0f} |")


if __name__ == "__main__":
    main()
