"""What it costs to start: time and memory of ``rhapsode generate``, and of many processes with one model.

    python benchmarks/starting.py                            a character LSTM of 512 units with random weights
    python benchmarks/starting.py --model austen.safetensors

As where rhapsode is installed, Python finds the modules compiled.

Memory is read from Linux's /proc: RSS counts every page that a process has in memory, PSS counts a page that several
processes have by its share, so that the PSS of all processes is what they need together.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from generation import random_file

from rhapsode.modelfile import ModelFile
from rhapsode.native_engine import NativeEngine

PROCESSES = 8
OPENED = """
import sys
from rhapsode.model import load
from rhapsode.session import Session
model = load(sys.argv[1])
model.generate(length=200, seed=1)
print("ready", flush=True)
sys.stdin.read()
"""
PEAK = """
import re, sys
from rhapsode.cli.main import main
main(sys.argv[1:])
print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model file of yours")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        file = ModelFile.load(options.model) if options.model else random_file(512)
        path = Path(folder) / "model.safetensors"
        file.save(path)
        show_start(path)
        for precision in ("fp32", "int8"):
            show_sharing(file, precision, Path(folder))


def show_start(path: Path) -> None:
    """Seconds from process start to exit and to the first character, and the most memory on the way."""
    words = ["generate", str(path), "--length", "200", "--seed", "1"]
    command, seconds = [sys.executable, "-m", "rhapsode", *words], []
    for _ in range(12):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - began)
    del seconds[0]  # it compiled
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
    print(f"rhapsode generate --length 200, a model of {path.stat().st_size / 1e6:.1f} MB: from start to exit")
    print(f"{statistics.median(seconds):.3f} s (best {min(seconds):.3f}), to the first character", end=" ")
    print(f"{_to_first_character(command):.3f} s, at most {int(done.stderr.split()[-1]) / 1024:.0f} MB resident")


def _to_first_character(command: list[str]) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.read(1)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def show_sharing(file: ModelFile, precision: str, folder: Path) -> None:
    """Memory of many processes that have the model open and have written with it: private weights, and mapped ones."""
    for name, one in (("private", file.with_precision(precision)), ("mapped", NativeEngine(file, precision).packed())):
        path = folder / f"{name}.{precision}.safetensors"
        one.save(path)
        rss, pss, own = _memory(path)
        print(
            f"{PROCESSES} processes, {precision}, {name:8} weights: {path.stat().st_size / 1e6:5.1f} MB on disk;",
            end=" ",
        )
        print(f"a process has {rss:.1f} MB RSS, {pss:.1f} PSS, {own:.1f} to itself")


def _memory(path: Path) -> tuple[float, float, float]:
    """Mean RSS, PSS and private memory of processes with the model at `path`, MB."""
    start = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", OPENED, str(path)], **start) for _ in range(PROCESSES)]
    for process in processes:
        process.stdout.readline()
    totals = [0.0, 0.0, 0.0]
    for process in processes:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        size = {name: int(kb) / 1024 for name, kb in re.findall(r"(\w+):\s+(\d+) kB", text)}
        for i, value in enumerate((size["Rss"], size["Pss"], size["Private_Clean"] + size["Private_Dirty"])):
            totals[i] += value / PROCESSES
    for process in processes:
        process.communicate("")
    return totals[0], totals[1], totals[2]


if __name__ == "__main__":
    main()
