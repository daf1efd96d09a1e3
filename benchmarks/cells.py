"""How fast the cells without a recurrent matrix train: the native backend against torch in eager mode.

Two tables. The first is one layer: gate projections, scan and gating, forward and backward, for vectors in and vectors
out (D=256, H=512, 2048 tokens as 32 sequences of 64). Torch computes the same equations as papers write them: one
product for all gates, then a loop over time of whole-tensor operations (`loop`), and for the minimal cells also the
papers' own parallel scan in log-space (`scan`). The ratio is to the faster of the two, in fp32 and under bf16 autocast.

The second is whole optimiser steps of a character model (V=67, H=512, B=32, T=64) of one and two layers, native against
rhapsode's torch backend, whose learner runs the same model, masks and optimiser.

Before anything is timed, outputs and gradients must agree (parity). Contestants take turns; times are medians.

    python benchmarks/cells.py
    python benchmarks/cells.py --cell mingru rglru --rounds 9
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

import rhapsode._native as native
from rhapsode.backends.base import Batch, Learner, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ELEMENTWISE, ModelConfig, TrainConfig
from rhapsode.nn.cells import CELLS
from rhapsode.nn.spec import initial_parameters

T, B, D, H = 64, 32, 256, 512
PARITY = {"fp32": 1e-4, "bf16": 3e-2}
"""Largest norm of a difference from torch in fp32, as a part of the norm. In bf16 the minimal cells get three times as
much: what rounding carries over the kink of their candidate meets another slope."""

Run = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", default=sorted(ELEMENTWISE), choices=sorted(ELEMENTWISE))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["layer", "model"])
    args = parser.parse_args()
    torch.set_num_threads(native.threads())
    print(f"{native.isa()}, {native.threads()} threads; torch {torch.__version__}, {torch.get_num_threads()} threads")
    precisions = ["fp32", "bf16"] if native.supports_bf16() else ["fp32"]
    if args.only != "model":
        layers(args.cell, precisions, args.rounds)
    if args.only != "layer":
        models(args.cell, precisions, args.rounds)


# ---- one layer ------------------------------------------------------------------------------------------------------


class TorchLayer:
    """One layer in torch. `kind`: loop or scan."""

    def __init__(self, cell: str, kind: str, autocast: bool, arrays: dict[str, np.ndarray]):
        self.run = globals()[f"{cell}_{kind}"]
        self.autocast = autocast
        self.leaves = {n: torch.tensor(a).requires_grad_() for n, a in arrays.items() if n not in ("d_output", "start")}
        self.start, self.d_output = torch.tensor(arrays["start"]), torch.tensor(arrays["d_output"])

    def forward(self) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
            a = functional.linear(self.leaves["x"], self.leaves["weight_ih"], self.leaves["bias"])
            self.output = self.run(a, self.start, self.leaves)

    def backward(self) -> None:
        for leaf in self.leaves.values():
            leaf.grad = None
        self.output.backward(self.d_output.to(self.output.dtype))

    def results(self) -> dict[str, np.ndarray]:
        self.forward()
        self.backward()
        gradients = {name: leaf.grad.float().numpy() for name, leaf in self.leaves.items() if leaf.grad is not None}
        return {"output": self.output.detach().float().numpy(), **gradients}


class NativeLayer:
    """One layer of the native core."""

    def __init__(self, cell: str, precision: str, arrays: dict[str, np.ndarray]):
        self.core = native.Recurrent(cell, False, D, H, precision)
        self.parameters = {p.name: p for p in self.core.parameters()}
        for name, parameter in self.parameters.items():
            parameter.set_value(arrays[name])
        self.vectors, self.gradients = native.Vectors(), native.Vectors()
        self.x = self.vectors.set(arrays["x"].reshape(T * B, D))
        self.d_output = self.gradients.set(arrays["d_output"].reshape(T * B, H))
        self.start, self.none = [arrays["start"]], native.Mask()

    def forward(self) -> None:
        self.output, _ = self.core.forward(self.x, T, B, self.start, self.none, self.none, True)

    def backward(self) -> None:
        self.d_x, _ = self.core.backward(self.x, self.d_output, None, self.none, False, False)

    def results(self) -> dict[str, np.ndarray]:
        self.forward()
        output = self.output.numpy().reshape(T, B, H)
        self.backward()
        gradients = {name: parameter.gradient() for name, parameter in self.parameters.items()}
        return {"output": output, "x": self.d_x.numpy().reshape(T, B, D), **gradients}


def layers(cells: list[str], precisions: list[str], rounds: int) -> None:
    columns = ["forward ms", "backward ms", "sum", "speed-up over torch fp32", "over torch bf16"]
    for cell in cells:
        table = table_of(f"{cell}: one layer, {T * B} tokens, D={D}, H={H}", ["contestant", *columns])
        arrays = layer_arrays(cell)
        judge = TorchLayer(cell, "loop", False, arrays).results()
        contestants: dict[str, TorchLayer | NativeLayer] = {}
        for precision in precisions:
            contestants[f"native {precision}"] = NativeLayer(cell, precision, arrays)
            for kind in ("loop", "scan"):
                if f"{cell}_{kind}" in globals():
                    contestants[f"torch {precision} {kind}"] = TorchLayer(cell, kind, precision == "bf16", arrays)
        for name, contestant in contestants.items():
            check(f"{cell}, {name}", contestant.results(), judge, tolerance(cell, name))
        times = take_turns({name: [c.forward, c.backward] for name, c in contestants.items()}, rounds)
        sums = {name: sum(each) for name, each in times.items()}
        for name, (ahead, back) in times.items():
            ratios = [f"{best(sums, f'torch {p}') / sums[name]:.1f}" if "native" in name else "" for p in precisions]
            table.add_row(name, f"{ahead * 1e3:.3f}", f"{back * 1e3:.3f}", f"{sums[name] * 1e3:.3f}", *ratios)
        Console(width=120).print(table)


def layer_arrays(cell: str) -> dict[str, np.ndarray]:
    rng, GH = np.random.default_rng(1), CELLS[cell].gates * H
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    arrays = {"x": draw(T, B, D), "weight_ih": draw(GH, D) * np.float32(D**-0.5), "bias": draw(GH) * np.float32(0.1)}
    arrays |= {vector.name: vector.draw(rng, H) for vector in CELLS[cell].vectors}
    return arrays | {"start": np.zeros((B, H), np.float32), "d_output": draw(T, B, H)}


def tolerance(cell: str, name: str) -> float:
    if "bf16" not in name:
        return PARITY["fp32"]
    return PARITY["bf16"] * (3 if cell.startswith("min") else 1)


def best(sums: dict[str, float], prefix: str) -> float:
    return min(seconds for name, seconds in sums.items() if name.startswith(prefix))


def check(what: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    for name, value in expected.items():
        error = np.linalg.norm(found[name] - value) / np.linalg.norm(value)
        if not error < tolerance:
            raise SystemExit(f"no parity: {what}: {name} is off by {error:.1e}")


# ---- the cells in torch, as papers write them -----------------------------------------------------------------------


def looped(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    outputs = []
    for t in range(len(a)):
        h = a[t] * h + b[t]
        outputs.append(h)
    return torch.stack(outputs)


def positive(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x + 0.5, x.sigmoid())


def log_positive(x: Tensor) -> Tensor:
    return torch.where(x >= 0, (functional.relu(x) + 0.5).log(), -functional.softplus(-x))


def log_space_scan(log_a: Tensor, log_b: Tensor) -> Tensor:
    """Heinsen, arXiv:2311.06281, for h_0 = 0."""
    log_a, log_b = log_a.float(), log_b.float()
    total = log_a.cumsum(0)
    return (total + (log_b - total).logcumsumexp(0)).exp()


def mingru_loop(a: Tensor, h: Tensor, _: dict[str, Tensor]) -> Tensor:
    a_z, a_n = a.chunk(2, -1)
    z = a_z.sigmoid()
    return looped(1 - z, z * positive(a_n), h)


def mingru_scan(a: Tensor, h: Tensor, _: dict[str, Tensor]) -> Tensor:
    a_z, a_n = a.chunk(2, -1)
    return log_space_scan(-functional.softplus(a_z), -functional.softplus(-a_z) + log_positive(a_n))


def minlstm_loop(a: Tensor, h: Tensor, _: dict[str, Tensor]) -> Tensor:
    a_f, a_i, a_n = a.chunk(3, -1)
    f, i = a_f.sigmoid(), a_i.sigmoid()
    return looped(f / (f + i), i / (f + i) * positive(a_n), h)


def minlstm_scan(a: Tensor, h: Tensor, _: dict[str, Tensor]) -> Tensor:
    a_f, a_i, a_n = a.chunk(3, -1)
    difference = functional.softplus(-a_f) - functional.softplus(-a_i)
    return log_space_scan(-functional.softplus(difference), -functional.softplus(-difference) + log_positive(a_n))


def sru_loop(a: Tensor, c: Tensor, own: dict[str, Tensor]) -> Tensor:
    outputs = []
    for w, a_f, a_r, x in (step.chunk(4, -1) for step in a):
        f, r = (a_f + own["v_f"] * c).sigmoid(), (a_r + own["v_r"] * c).sigmoid()
        c = f * c + (1 - f) * w
        outputs.append(r * c + (1 - r) * x)
    return torch.stack(outputs)


def rglru_loop(a: Tensor, c: Tensor, own: dict[str, Tensor]) -> Tensor:
    a_r, a_i, x, y = a.chunk(4, -1)
    log_alpha = 8 * functional.logsigmoid(own["decay"]) * a_r.sigmoid()
    entry = (-torch.expm1(2 * log_alpha)).sqrt() * a_i.sigmoid() * x
    return looped(log_alpha.exp(), entry, c) * functional.gelu(y, approximate="tanh")


# ---- whole steps ----------------------------------------------------------------------------------------------------


def models(cells: list[str], precisions: list[str], rounds: int) -> None:
    columns = [f"{backend} {p}" for p in precisions for backend in ("native", "torch")]
    ratios = [f"ratio {p}" for p in precisions]
    title = f"Whole steps, H={H}, B={B}, T={T}: thousand tokens a second"
    table = table_of(title, ["cell", "layers", *columns, *ratios])
    for cell in cells:
        for depth in (1, 2):
            steps = {name: step_of(cell, depth, *name.split()) for name in columns}
            losses = {name: step.losses() for name, step in steps.items()}
            expected = losses["torch fp32"]
            for name, found in losses.items():
                if not np.allclose(found, expected, rtol=1e-3 if "fp32" in name else 1e-2):
                    raise SystemExit(f"no parity: {cell}, {name}: losses {found}, torch fp32 {expected}")
            times = take_turns({name: [step.run] for name, step in steps.items()}, rounds)
            speed = {name: T * B / seconds / 1e3 for name, (seconds,) in times.items()}
            faster = [f"{speed[f'native {p}'] / speed[f'torch {p}']:.1f}" for p in precisions]
            table.add_row(cell, str(depth), *(f"{speed[name]:.0f}" for name in columns), *faster)
    Console(width=120).print(table)


class Step:
    """Optimiser steps on one batch over and over."""

    def __init__(self, learner: Learner, batch: Batch):
        self.learner, self.batch, self.number = learner, batch, 0
        self.state = learner.initial_state(B)

    def run(self) -> None:
        result, self.state = self.learner.step(self.batch, self.state, Update(self.number, 1e-3))
        self.loss, self.number = result.loss, self.number + 1

    def losses(self) -> list[float]:
        found = []
        for _ in range(4):
            self.run()
            found.append(self.loss)
        return found


def step_of(cell: str, depth: int, backend: str, precision: str) -> Step:
    config = ModelConfig(vocab_size=67, cell=cell, layers=depth, hidden=H)
    train = TrainConfig(backend=backend, precision=precision)  # type: ignore[arg-type]
    ids = np.random.default_rng(0).integers(0, 67, (T + 1, B)).astype(np.int32)
    batch = Batch(ids[:-1], ids[1:], None, np.zeros(B, bool))
    return Step(make_learner(config, train, initial_parameters(config)), batch)


# ---- timing ---------------------------------------------------------------------------------------------------------


def take_turns(contestants: dict[str, list[Run]], rounds: int, seconds: float = 0.12) -> dict[str, list[float]]:
    """Seconds of each part of each contestant: the median over `rounds` turns of the median of a turn."""
    medians: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, parts in contestants.items():
            time.sleep(0.2)  # until the other library's threads sleep
            medians[name].append(turn(parts, seconds))
    return {name: [statistics.median(each) for each in zip(*turns, strict=True)] for name, turns in medians.items()}


def turn(parts: list[Run], seconds: float) -> list[float]:
    found: list[list[float]] = [[] for _ in parts]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found[0]) < 4:
        for part, times in zip(parts, found, strict=True):
            start = time.perf_counter()
            part()
            times.append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in found]


def table_of(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("cell", "contestant") else "right")
    return table


if __name__ == "__main__":
    main()
