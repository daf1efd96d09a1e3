"""What `rhapsode train` costs beside its steps: seconds from process start to the first of them, and its memory.

The native backend runs where torch cannot be imported, as if it were not installed; then the torch backend, where torch
is. Each run starts from text that it has not seen before (an empty cache) and ends after a few hundred steps.
Medians of 5 runs; memory is the most that was resident (Linux).

    python benchmarks/training_start.py
    python benchmarks/training_start.py --hidden 256 --text book.txt
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from pathlib import Path

from train_command import TEXT, said_by_train

RUNS = 5
LIMITS = "first step < 1 s, less than 150 MB"
CHILD = """
import re, sys


class WithoutTorch:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *where):
        return None if name == "torch" else self.finder.find_spec(name, *where)

    def __getattr__(self, name):
        return getattr(self.finder, name)


if "--backend=native" in sys.argv:
    sys.meta_path[:] = map(WithoutTorch, sys.meta_path)
from rhapsode.cli.main import main
status = main(sys.argv[1:])
print("VmHWM", re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(status)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--text", type=Path, default=TEXT)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--steps", type=int, default=200, help="of the native backend; torch does a tenth")
    args = parser.parse_args()
    for backend in ("native", "torch"):
        if backend == "torch" and not importlib.util.find_spec("torch"):
            continue
        steps = args.steps if backend == "native" else max(1, args.steps // 10)
        options = [f"--backend={backend}", f"--hidden={args.hidden}", f"--steps={steps}"]
        runs = [_run(args.text, options) for _ in range(RUNS)]
        first, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{backend}: {first:.2f} s to the first step, {memory:.0f} MB", flush=True)
    print(f"to be held by the native backend at --hidden 512: {LIMITS}")


def _run(text: Path, options: list[str]) -> tuple[float, float]:
    """Seconds to the first step, and MB."""
    said = said_by_train(text, options, ("-c", CHILD))
    first = next(seconds for seconds, line in said if " step 1 " in line)
    return first, int(said[-1][1].split()[1]) / 1024


if __name__ == "__main__":
    main()
