"""How fast a model writes: the native engine in each precision, against torch and against the memory.

The model is a character LSTM of one layer with random weights. First all must agree on its logits (parity); then all
take turns, in short runs, and the table shows the median and the best run of each: on a machine that others use too,
the best is nearer to what the program can do.

torch eager is what people write: nn.LSTM, nn.Linear, softmax, torch.multinomial, a symbol at a time. torch matvec is
the same by hand: four gates from one torch.mv, nothing else. The roofline is the time that one core needs to read
the weights once, measured here with a loop that only reads.

    python benchmarks/generation.py
    python benchmarks/generation.py --hidden 256 --model austen.safetensors     start and memory for a model of yours
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import rhapsode._native as _native
from rhapsode.config import ModelConfig, SamplingConfig
from rhapsode.engine import Ask, Engine, rows
from rhapsode.modelfile import ModelFile
from rhapsode.native_engine import NativeEngine
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.tokenizers.char import CharTokenizer

CHARACTERS = "".join(map(chr, range(32, 97)))
BATCHES = {1: 400, 8: 100, 64: 24, 512: 6}
"""Texts side by side, and the symbols of each that a run writes."""
PARITY = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.2}
"""Largest difference of logits from those of the reference."""

Contestant = Callable[[], int]
"""One run; the symbols that it wrote."""


def main() -> None:
    options = _options()
    file = _model(options.hidden)
    _check_parity(file)
    found: dict[str, list[float]] = {}
    contestants = _native_runs(file) | _torch_runs(file)
    for _ in range(options.rounds):
        for name, (threads, run) in contestants.items():
            _native.use_threads(threads)
            began = time.perf_counter()
            symbols = run()
            found.setdefault(name, []).append(symbols / (time.perf_counter() - began))
    _show(file, found)
    _show_start(options.model, file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--model", help="a model file for the measurement of start and memory")
    return parser.parse_args()


def _model(hidden: int) -> ModelFile:
    tokenizer = CharTokenizer(CHARACTERS)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, hidden=hidden)
    return ModelFile(config, tokenizer, initial_parameters(config))


def _check_parity(file: ModelFile) -> None:
    ids = np.random.default_rng(0).integers(0, len(CHARACTERS), (200, 2)).astype(np.int32)
    expected, _ = Engine(file).read(ids, Engine(file).initial_state(2))
    others = {p: NativeEngine(file, p).read(ids, Engine(file).initial_state(2))[0] for p in ("fp32", "bf16", "int8")}
    others["torch"] = _torch_logits(file, ids)
    for name, logits in others.items():
        worst = float(np.abs(logits - expected).max())
        if worst > PARITY.get(name, 1e-4):
            sys.exit(f"parity: {name} is {worst:.2g} off, allowed {PARITY.get(name, 1e-4)}")


def _native_runs(file: ModelFile) -> dict[str, tuple[int, Contestant]]:
    runs = {}
    for precision in ("int8", "bf16", "fp32"):
        for threads in (1, 2):
            for batch, symbols in BATCHES.items():
                # An engine each: it learns whether sharing a sequence among its threads pays.
                run = _native_run(NativeEngine(file, precision), batch, symbols)
                runs[f"{precision}, {batch} at once, {threads} core{'s' * (threads > 1)}"] = threads, run
    return runs


def _native_run(engine: NativeEngine, batch: int, symbols: int) -> Contestant:
    allowed = np.arange(engine.config.vocab_size) < len(CHARACTERS)
    none = np.empty(0, np.int32)
    asks = [Ask(SamplingConfig(), b, 0, symbols, engine.tokenizer.boundary, allowed, none) for b in range(batch)]
    logits, state = engine.step(np.full(batch, engine.tokenizer.boundary), engine.initial_state(batch))
    state = rows(state, range(batch))

    def run() -> int:
        return sum(len(ids) for ids, _ in engine.write(asks, state, logits, False)[0])

    return run


def _torch_logits(file: ModelFile, ids: np.ndarray) -> np.ndarray:
    import torch

    lstm, output, table = _torch_modules(file)
    with torch.inference_mode():
        return output(lstm(table(torch.tensor(ids).long()))[0]).numpy()


def _torch_modules(file: ModelFile):
    """nn.LSTM that reads one-hot rows (an identity as embedding), and nn.Linear."""
    import torch

    V, H, p = file.config.vocab_size, file.config.hidden, {k: torch.tensor(v) for k, v in file.parameters.items()}
    lstm, output = torch.nn.LSTM(V, H, bias=False), torch.nn.Linear(H, V)
    table = torch.nn.Embedding.from_pretrained(torch.eye(V))
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(p["layers.0.table"].T)
        lstm.weight_hh_l0.copy_(p["layers.0.weight_hh"])
        output.weight.copy_(p["output.weight"])
        output.bias.copy_(p["output.bias"])
    return lstm, output, table


def _torch_runs(file: ModelFile) -> dict[str, tuple[int, Contestant]]:
    import torch

    torch.set_num_threads(1)  # more only slow down products of this size
    lstm, output, embedding = _torch_modules(file)
    table, weight, head, bias = (
        torch.tensor(file.parameters[name])
        for name in ("layers.0.table", "layers.0.weight_hh", "output.weight", "output.bias")
    )
    H, symbols = file.config.hidden, 40

    @torch.inference_mode()
    def eager() -> int:
        state, id = None, torch.zeros(1, 1, dtype=torch.long)
        for _ in range(symbols):
            x, state = lstm(embedding(id), state)
            id = torch.multinomial(torch.softmax(output(x[0]) / 0.8, -1), 1)
        return symbols

    @torch.inference_mode()
    def matvec() -> int:
        h, c, id = torch.zeros(H), torch.zeros(H), 0
        for _ in range(symbols):
            i, f, g, o = torch.addmv(table[id], weight, h).chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            id = int(torch.multinomial(torch.softmax(torch.addmv(bias, head, h) / 0.8, -1), 1))
        return symbols

    return {"torch eager, 1 at once, 1 core": (1, eager), "torch matvec, 1 at once, 1 core": (1, matvec)}


def _show(file: ModelFile, found: dict[str, list[float]]) -> None:
    eager = found["torch eager, 1 at once, 1 core"]
    print(f"LSTM, H={file.config.hidden}, V={file.config.vocab_size}, instruction set {_native.isa()}")
    print(f"{'characters/s':34}{'median':>12}{'best':>12}{'x torch eager (median, best)':>32}{'of roofline':>14}")
    for name, speeds in found.items():
        median, best = statistics.median(speeds), max(speeds)
        ratios = f"{median / statistics.median(eager):.1f}, {best / max(eager):.1f}"
        print(f"{name:34}{median:12,.0f}{best:12,.0f}{ratios:>32}{_of_roofline(file, name, best):>14}")


def _of_roofline(file: ModelFile, name: str, speed: float) -> str:
    """For one text on one core: the time to read the weights, as a part of the time that a symbol takes."""
    precision, batch, cores = name.split(", ")
    if precision not in PARITY or batch != "1 at once" or cores != "1 core":
        return ""
    needed = _native.seconds_to_read(NativeEngine(file, precision).step_bytes, 300)
    return f"{needed * speed:.0%}"


def _show_start(model: str | None, file: ModelFile) -> None:
    """Seconds from start to exit of ``rhapsode generate``, and its memory."""
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            model = str(Path(folder) / "model.safetensors")
            file.save(model)
        command = [sys.executable, "-m", "rhapsode", "generate", model, "--length", "200", "--seed", "1"]
        seconds = []
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            seconds.append(time.perf_counter() - began)
        first = _seconds_to_first_character(command)
        memory = _peak_memory(command[3:])
    print(f"rhapsode generate --length 200: {statistics.median(seconds):.3f} s (best {min(seconds):.3f}) from start")
    print(f"to exit, {first:.3f} s to the first character, at most {memory:.0f} MB resident")


def _peak_memory(words: list[str]) -> float:
    """MB that the command line with these words has in memory at most (Linux)."""
    code = "import re, sys\nfrom rhapsode.cli.main import main\nmain(sys.argv[1:])\n"
    code += "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return int(done.stderr.split()[-1]) / 1024


def _seconds_to_first_character(command: list[str]) -> float:
    """The best of several."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.read(1)
            best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    main()
