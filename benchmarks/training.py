"""How fast a model trains: the native backend, on each instruction set, against torch's own layers.

All train the same model from the same weights: an LSTM, GRU or RNN over one-hot symbols (up to 1,024 of them) or an
embedding, a linear output layer, cross-entropy, clipping by norm and AdamW, 64 steps of the text at a time. Torch runs
nn.LSTM, nn.GRU or nn.RNN, in fp32 and under bf16 autocast, held to the same instruction set by the variables that its
libraries read. First all must agree on the loss and the gradient's norm (parity); then they take turns, and the table
shows the native median, its ratio to each of torch's, and how much of the measured peak its matrix products reach.

With one-hot symbols, "embedded" is the way character models are usually written in torch: an embedding as wide as
the layer before it. It starts as the same function (rows of the identity matrix, so parity is of the loss alone) and
does twice the arithmetic.

    python benchmarks/training.py                              the sizes of the first rows of the documentation
    python benchmarks/training.py --hidden 256 1024 --batch 32 64 --cell lstm gru --layers 1 2 --vocab 65 10000
    python benchmarks/training.py --isa avx2 avx512            both sides held to each of these
    python benchmarks/training.py --threads 1 --cpu-time       on a machine that others use at the same time
    python benchmarks/training.py --grid --isa amx --results grid.jsonl --minutes 2

The last one is a part of the whole grid; the same command again goes on where it stopped. --table prints the table of
the results so far, and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rhapsode.benchmark.contest import TURNS, Side, contest
from rhapsode.benchmark.task import Entry, Task
from rhapsode.benchmark.training import work_per_token
from rhapsode.config import ModelConfig
from rhapsode.errors import BenchmarkError

GRID = {
    "cell": ["lstm", "gru", "rnn"],
    "layers": [1, 2, 3],
    "hidden": [128, 256, 512, 1024],
    "batch": [1, 8, 32, 64, 128],
    "vocab": [65, 10_000],
}
USUAL = {"cell": ["lstm", "gru", "rnn"], "layers": [1], "hidden": [512], "batch": [32], "vocab": [65]}
ONE_HOT = 1024
"""Most symbols that are given to torch as one-hot vectors."""
PEERS = {"amx": ["fp32", "bf16"]}
"""Precisions of torch that take part, by instruction set; fp32 where there is no entry."""


class Point(NamedTuple):
    """A model, its batch, and the instruction set."""

    isa: str
    cell: str
    layers: int
    hidden: int
    batch: int
    vocab: int


def main() -> None:
    args = _arguments()
    results = _read(args.results)
    if not args.table:
        points = [p for p in _points(args) if p not in results]
        for point, result in _measured(points, args):
            results[point] = result
            print(_line(point, result), flush=True)
            _append(args.results, point, result)
    print("\n" + _table(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, values in USUAL.items():
        parser.add_argument(
            f"--{name}", nargs="+", type=type(values[0]), choices=GRID["cell"] if name == "cell" else None
        )
    parser.add_argument("--isa", nargs="+", help="instruction sets that both sides are held to (default: the best)")
    parser.add_argument("--grid", action="store_true", help="all values of what is not named")
    parser.add_argument("--results", type=Path, help="file of results; what is in it is not measured again")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after these nothing new is begun")
    parser.add_argument("--table", action="store_true", help="print the table of the results, measure nothing")
    parser.add_argument("--turns", type=int, default=TURNS, help="of each contestant")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a turn")
    parser.add_argument("--threads", type=int, help="of each contestant (default: the physical cores)")
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's time, not the clock's")
    return parser.parse_args()


def _points(args: argparse.Namespace) -> Iterator[Point]:
    named = {name: getattr(args, name) or (GRID if args.grid else USUAL)[name] for name in USUAL}
    yield from itertools.starmap(Point, itertools.product(args.isa or [_best_isa()], *named.values()))


def _best_isa() -> str:
    from rhapsode import _native

    return _native.isa()


def _measured(points: Iterable[Point], args: argparse.Namespace) -> Iterator[tuple[Point, dict[str, Any]]]:
    """Each point and what was found, until the time is up; without parity a point is left out, and that is said."""
    begun = time.monotonic()
    for isa, group in itertools.groupby(points, lambda point: point.isa):
        with contextlib.ExitStack() as stack:
            native = stack.enter_context(Side("native", isa, args.threads))
            threads = native.machine()["threads"]
            peak = native.peak(_precision(isa))
            sides = {"native": native, "torch": stack.enter_context(Side("torch", isa, threads))}
            for point in group:
                if time.monotonic() - begun > 60 * args.minutes:
                    return
                entries = {entry: sides[entry.backend] for entry in _entries(point)}
                try:
                    speeds = contest(_task(point), entries, args.turns, args.seconds, args.cpu_time)
                except BenchmarkError as error:
                    print(*point, f"left out: {error}", sep="  ", flush=True)
                    continue
                yield point, {"speeds": {entry.name: speed for entry, speed in speeds.items()}, "peak": peak}


def _precision(isa: str) -> str:
    return "bf16" if isa == "amx" else "fp32"


def _entries(point: Point) -> list[Entry]:
    peers = [Entry("torch", precision) for precision in PEERS.get(point.isa, ["fp32"])]
    if point.vocab <= min(ONE_HOT, point.hidden):
        peers += [peer._replace(embedded=True) for peer in peers]
    return [Entry("native", _precision(point.isa)), *peers]


def _task(point: Point) -> Task:
    source = "one-hot" if point.vocab <= ONE_HOT else "embedding"
    model = ModelConfig(
        vocab_size=point.vocab,
        input=source,
        embedding_size=point.hidden,
        cell=point.cell,
        layers=point.layers,
        hidden=point.hidden,
    )
    return Task("training", model, point.batch)


def _read(path: Path | None) -> dict[Point, dict[str, Any]]:
    lines = path.read_text().splitlines() if path and path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {Point(**{name: row[name] for name in Point._fields}): row for row in rows}


def _append(path: Path | None, point: Point, result: dict[str, Any]) -> None:
    if path:
        with path.open("a") as file:
            file.write(json.dumps(point._asdict() | result) + "\n")


def _line(point: Point, result: dict[str, Any]) -> str:
    return "  ".join(f"{value}" for value in point) + "  " + "  ".join(_figures(point, result))


def _figures(point: Point, result: dict[str, Any]) -> list[str]:
    """Native tokens a second, its part of the peak, its ratio to each of PEERS, as they are and embedded."""
    speeds = result["speeds"]
    own = speeds[Entry("native", _precision(point.isa)).name]
    of_peak = own * work_per_token(_task(point).model) / result["peak"]
    peers = [Entry("torch", precision, embedded) for embedded in (False, True) for precision in ("bf16", "fp32")]
    ratios = [f"{own / speeds[peer.name]:.2f}" if peer.name in speeds else "" for peer in peers]
    return [f"{own:,.0f}", f"{of_peak:.0%}", *ratios]


def _table(results: dict[Point, dict[str, Any]]) -> str:
    """In Markdown."""
    heads = [
        *Point._fields,
        "tokens/s",
        "of peak",
        ": torch bf16",
        ": torch fp32",
        ": bf16 embedded",
        ": fp32 embedded",
    ]
    rows = [[*map(str, point), *_figures(point, result)] for point, result in results.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows])


if __name__ == "__main__":
    main()
