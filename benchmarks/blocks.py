"""How fast the short convolution and the gated MLP are, forward and backward: the native core against torch.

For the convolution torch has two ways: conv1d with a group for each column (after the transposition that it needs), and
K shifted products. For the MLP it runs in fp32 and under bf16 autocast. First all must agree on what comes out and on
the gradient of what goes in (parity); then they take turns, and the table shows the median milliseconds of a pass.

    python benchmarks/blocks.py
    python benchmarks/blocks.py --hidden 256 --batch 64 --isa avx2
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rhapsode import _native
from rhapsode.backends.torch.blocks import gated_mlp, short_convolution

PARITY = {"fp32": 1e-4, "bf16": 3e-2}
"""Largest norm of a difference, as a part of the norm of what torch has in fp32."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--inner", type=float, default=1.5, help="inner width of the MLP, as a multiple of hidden")
    parser.add_argument("--taps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--isa", help="of the native core (default: the best)")
    parser.add_argument("--threads", type=int, help="of both (default: the native core's)")
    parser.add_argument("--rounds", type=int, default=9, help="turns each contestant takes")
    args = parser.parse_args()
    if args.isa:
        _native.use_isa(args.isa)
    if args.threads:
        _native.use_threads(args.threads)
    torch.set_num_threads(_native.threads())
    print(f"T={args.length} B={args.batch} H={args.hidden} isa={_native.isa()} threads={_native.threads()}")
    _compare(f"short convolution, K={args.taps}", _convolutions(args), args.rounds)
    _compare(f"gated MLP, M={round(args.inner * args.hidden)}", _mlps(args), args.rounds)


Pass = Callable[[], Any]
Contestant = tuple[Pass, Pass, Callable[[], tuple[np.ndarray, np.ndarray]]]
"""forward, backward, and their results as numpy."""


def _compare(title: str, contestants: dict[str, Contestant], rounds: int) -> None:
    first = {}
    for name, (forward, backward, results) in contestants.items():
        forward()
        backward()
        first[name] = results()
    peer = next(name for name in contestants if name.startswith("torch"))
    for name, found in first.items():
        for one, other in zip(found, first[peer], strict=True):
            off = np.linalg.norm(one - other) / np.linalg.norm(other)
            if not off < PARITY["bf16" if "bf16" in name else "fp32"]:
                raise SystemExit(f"no parity: {name} is off by {off:.2g} from {peer}")
    times: dict[str, list[list[float]]] = {name: [[], []] for name in contestants}
    for _ in range(rounds):
        for name, passes in contestants.items():
            time.sleep(0.05)  # until the other's threads have gone to sleep
            passes[0](), passes[1]()
            for number in range(2):
                times[name][number].append(_milliseconds(passes, number))
    medians = {name: [statistics.median(values) for values in both] for name, both in times.items()}
    best = [min(values[i] for name, values in medians.items() if name.startswith("torch")) for i in range(2)]
    print(f"\n{title:34}{'forward ms':>12}{'x best torch':>14}{'backward ms':>14}{'x best torch':>14}")
    for name, (ahead, back) in medians.items():
        print(f"{name:34}{ahead:12.3f}{best[0] / ahead:14.2f}{back:14.3f}{best[1] / back:14.2f}")


def _milliseconds(passes: Contestant, number: int, repeats: int = 10) -> float:
    """Of one forward (0) or backward (1) pass; the passes take turns, as they do in training."""
    total = 0.0
    for _ in range(repeats):
        for i in range(2):
            start = time.perf_counter()
            passes[i]()
            total += (time.perf_counter() - start) * (i == number)
    return total / repeats * 1e3


def _draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def _set(parameters: list[Any], values: list[np.ndarray]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.set_value(value)


def _convolutions(args: argparse.Namespace) -> dict[str, Contestant]:
    T, B, D, K = args.length, args.batch, args.hidden, args.taps
    x, d, past = _draw(T, B, D), 0.1 * _draw(T, B, D), _draw(B, (K - 1) * D)
    weight, bias = _draw(D, K), _draw(D)
    core = _native.Convolution(D, K)
    _set(core.parameters(), [weight, bias])
    read, d_out = (_native.Vectors(), x), (_native.Vectors(), d)
    read, d_out = (vectors.set(values.reshape(-1, D)) for vectors, values in (read, d_out))
    kept: dict[str, Any] = {}

    def forward() -> None:
        kept["out"] = core.forward(read, past)[0]

    def backward() -> None:
        kept["d"] = core.backward(read, d_out, None, True, False)[0]

    def results() -> tuple[np.ndarray, np.ndarray]:
        return kept["out"].numpy().reshape(T, B, D), kept["d"].numpy().reshape(T, B, D)

    def conv1d(x: Tensor, past: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        whole = torch.cat([past.view(B, K - 1, D).mT, x.permute(1, 2, 0)], dim=2)
        return torch.nn.functional.conv1d(whole, weight[:, None], bias, groups=D).permute(2, 0, 1)

    def shifted(*given: Tensor) -> Tensor:
        return short_convolution(*given)[0]

    return {"native fp32": (forward, backward, results)} | {
        name: _in_torch(way, [x, past, weight, bias], d)
        for name, way in {"torch conv1d": conv1d, "torch shifted products": shifted}.items()
    }


def _mlps(args: argparse.Namespace) -> dict[str, Contestant]:
    rows, H, M = args.length * args.batch, args.hidden, round(args.inner * args.hidden)
    z, d = _draw(rows, H), 0.1 * _draw(rows, H)
    weights = [_draw(2 * M, H) / H**0.5, _draw(H, M) / M**0.5]
    precisions = ["fp32", "bf16"] if _native.supports_bf16() else ["fp32"]
    found = {f"native {p}": _native_mlp(p, z, d, weights) for p in precisions}
    for precision, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items():
        found[f"torch {precision}"] = _in_torch(lambda *given, t=dtype: gated_mlp(*given, t), [z, *weights], d)
    return found


def _native_mlp(precision: str, z: np.ndarray, d: np.ndarray, weights: list[np.ndarray]) -> Contestant:
    H, M = weights[1].shape
    core, vectors, d_vectors = _native.GatedMlp(H, M, precision), _native.Vectors(), _native.Vectors()
    _set(core.parameters(), weights)
    read, d_out, kept = vectors.set(z), d_vectors.set(d), {}

    def forward() -> None:
        kept["out"] = core.forward(read, True)

    def backward() -> None:
        kept["d"] = core.backward(read, d_out, False)

    return forward, backward, lambda: (kept["out"].numpy(), kept["d"].numpy())


def _in_torch(way: Callable[..., Tensor], given: list[np.ndarray], d: np.ndarray) -> Contestant:
    leaves, d_out = [torch.tensor(array, requires_grad=True) for array in given], torch.tensor(d)
    kept: dict[str, Tensor] = {}

    def forward() -> None:
        kept["out"] = way(*leaves)

    def backward() -> None:
        for leaf in leaves:
            leaf.grad = None
        kept["out"].backward(d_out)

    def results() -> tuple[np.ndarray, np.ndarray]:
        assert leaves[0].grad is not None
        return kept["out"].detach().numpy(), leaves[0].grad.numpy()

    return forward, backward, results


if __name__ == "__main__":
    main()
