"""How fast a model trains: the native backend, on each instruction set, against torch's own layers.

Each contestant is a process of its own that makes the same model from the same weights: an LSTM, GRU or RNN over
one-hot symbols or an embedding, a linear output layer, cross-entropy, clipping by norm and AdamW. Torch runs nn.LSTM,
nn.GRU or nn.RNN, in fp32 and under bf16 autocast, restricted to an instruction set by the variables that its libraries
read. First all must agree on the loss and the gradient's norm (parity); then they take turns, and the table shows the
median of each and its ratio to torch.

With one-hot symbols, "torch … embedded" is the way character models are usually written in torch: an embedding as wide
as the layer before it. It starts as the same function (rows of the identity matrix, so parity is of the loss alone) and
does twice the arithmetic.

    python benchmarks/training.py                              the sizes of the first row of the documentation
    python benchmarks/training.py --hidden 256 1024 --batch 32 64 --cell lstm gru --layers 1 2
    python benchmarks/training.py --input embedding --vocab 10000
    python benchmarks/training.py --isa avx2 avx512            both sides held to each of these
    python benchmarks/training.py --threads 1 --cpu-time       on a machine that others use at the same time
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

TORCH_LIMITS = {
    "plain": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
}
"""What holds torch to an instruction set; where there is no entry it is free to use all."""

NO_BF16_IN_TORCH = {"plain", "avx2"}
"""Where torch's LSTM has no bf16."""

PARITY = {"fp32": 1e-3, "bf16": 5e-2}
"""Largest relative difference of the loss and the gradient's norm from those of torch in fp32."""


@dataclasses.dataclass(frozen=True)
class Size:
    """One model and batch: V symbols, T steps, B sequences."""

    cell: str
    layers: int
    hidden: int
    batch: int
    length: int
    vocab: int
    input: str


def main() -> None:
    args = _arguments()
    product = itertools.product(args.cell, args.layers, args.hidden, args.batch, [args.length], args.vocab, args.input)
    for size in itertools.starmap(Size, product):
        for isa in args.isa or _isas()[-1:]:
            _compare(size, isa, args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cell", nargs="+", default=["lstm"], choices=["rnn", "gru", "lstm"])
    parser.add_argument("--layers", nargs="+", type=int, default=[1])
    parser.add_argument("--hidden", nargs="+", type=int, default=[512])
    parser.add_argument("--batch", nargs="+", type=int, default=[32])
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--vocab", nargs="+", type=int, default=[65])
    parser.add_argument("--input", nargs="+", default=["one-hot"], choices=["one-hot", "embedding"])
    parser.add_argument("--isa", nargs="+", help="instruction sets that both sides are held to (default: the best)")
    parser.add_argument("--rounds", type=int, default=7, help="turns each contestant takes")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    parser.add_argument("--threads", type=int, help="of each contestant (default: the physical cores)")
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's time, not the clock's")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _work(json.loads(args.worker))
        raise SystemExit
    return args


def _isas() -> list[str]:
    from rhapsode import _native

    return _native.available_isas()


def _compare(size: Size, isa: str, args: argparse.Namespace) -> None:
    contestants = {
        f"native {precision}": Worker("native", precision, size, isa, args.threads, False)
        for precision in _precisions(isa)
    }
    peers = ["torch fp32"] if isa in NO_BF16_IN_TORCH else ["torch fp32", "torch bf16"]
    if size.input == "one-hot" and size.vocab <= size.hidden:
        peers += [f"{peer} embedded" for peer in peers]
    contestants |= {peer: Worker(*peer.split()[:2], size, isa, args.threads, "embedded" in peer) for peer in peers}
    _check_parity(contestants)
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, worker in contestants.items():
            speeds[name].append(worker.run(args.seconds, args.cpu_time))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print("\n" + "  ".join(f"{k}={v}" for k, v in dataclasses.asdict(size).items()) + f"  isa={isa}")
    print(f"{'':20}{'tokens/s':>12}" + "".join(f"{'x ' + peer:>23}" for peer in peers) + f"{'peak MB':>10}")
    for name, worker in contestants.items():
        ratios = "".join(f"{medians[name] / medians[peer]:23.2f}" for peer in peers)
        print(f"{name:20}{medians[name]:12.0f}{ratios}{worker.close():10.0f}", flush=True)


def _precisions(isa: str) -> list[str]:
    """fp32, and bf16 where the core has it for this instruction set."""
    code = "from rhapsode import _native; print(_native.supports_bf16())"
    found = subprocess.check_output([sys.executable, "-c", code], env={**os.environ, "RHAPSODE_ISA": isa}, text=True)
    return ["fp32", "bf16"] if found.strip() == "True" else ["fp32"]


def _check_parity(contestants: dict[str, Worker]) -> None:
    first = {name: worker.first_step() for name, worker in contestants.items()}
    for name, found_both in first.items():
        compared = 1 if "embedded" in name else 2
        for found, expected in list(zip(found_both, first["torch fp32"], strict=True))[:compared]:
            if not abs(found / expected - 1) < PARITY[name.split()[1]]:
                raise SystemExit(
                    f"no parity: {name} has loss and gradient norm {first[name]}, torch {first['torch fp32']}"
                )


class Worker:
    """A contestant's process. It answers each request, one JSON line, with one JSON line."""

    def __init__(self, backend: str, precision: str, size: Size, isa: str, threads: int | None, embedded: bool):
        limits = {"RHAPSODE_ISA": isa} if backend == "native" else TORCH_LIMITS.get(isa, {})
        if threads:
            limits = {**limits, "RHAPSODE_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        job = json.dumps(
            {"backend": backend, "precision": precision, "embedded": embedded, "size": dataclasses.asdict(size)}
        )
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--worker", job],
            env={**os.environ, **limits},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, request: object) -> object:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("a contestant ended early; its message is above")
        return json.loads(answer)

    def first_step(self) -> tuple[float, float]:
        """Loss and norm of the gradient of the first step."""
        return self._ask("first")

    def run(self, seconds: float, cpu_time: bool) -> float:
        """Tokens a second over about `seconds`."""
        time.sleep(0.2)  # what the contestant before has left spinning comes to rest
        return self._ask([seconds, cpu_time])

    def close(self) -> float:
        """End the process; the most memory it had, MB."""
        peak = self._ask("end")
        self._process.wait()
        return peak


def _work(job: dict) -> None:
    """A contestant: answer requests until the end."""
    size = Size(**job["size"])
    ids = np.random.default_rng(1).integers(0, size.vocab, (size.length + 1, size.batch), dtype=np.int32)
    make = {"native": _native_step, "torch": _torch_step}[job["backend"]]
    step = make(size, job["precision"], job["embedded"], ids)
    for line in sys.stdin:
        request = json.loads(line)
        if request == "end":
            print(json.dumps(_peak_memory()), flush=True)
            return
        print(json.dumps(step() if request == "first" else _timed(step, ids.size - size.batch, *request)), flush=True)


def _peak_memory() -> float:
    """Of this process, MB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _timed(step, tokens: int, seconds: float, cpu_time: bool) -> float:
    clock = time.process_time if cpu_time else time.perf_counter
    step()
    steps, begun = 0, clock()
    while clock() - begun < seconds:
        step()
        steps += 1
    return steps * tokens / (clock() - begun)


def _model(size: Size):
    from rhapsode.config import ModelConfig
    from rhapsode.nn.spec import initial_parameters

    config = ModelConfig(
        vocab_size=size.vocab,
        input=size.input,
        embedding_size=size.hidden,
        cell=size.cell,
        layers=size.layers,
        hidden=size.hidden,
    )
    return config, initial_parameters(config)


def _native_step(size: Size, precision: str, embedded: bool, ids: np.ndarray):
    from rhapsode.backends.base import Batch, Update, make_learner
    from rhapsode.config import TrainConfig

    config, parameters = _model(size)
    learner = make_learner(config, TrainConfig(backend="native", precision=precision, table_lr=1.0), parameters)
    batch = Batch(ids[:-1], ids[1:], None, np.zeros(size.batch, bool))
    state = learner.initial_state(size.batch)

    def step():
        nonlocal state
        result, state = learner.step(batch, state, Update(0, 1e-4))
        return result.loss, result.grad_norm

    return step


def _torch_step(size: Size, precision: str, embedded: bool, ids: np.ndarray):
    import torch
    from torch import nn
    from torch.nn import functional

    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    _, parameters = _model(size)
    V, H = size.vocab, size.hidden
    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[size.cell]
    one_hot = size.input == "one-hot" and not embedded
    recurrent = kind(V if one_hot else H, H, size.layers)
    embedding, output = nn.Embedding(V, H), nn.Linear(H, V)
    _load(recurrent, embedding, output, parameters, size)
    modules = [recurrent, output] + ([] if one_hot else [embedding])
    weights = [w for m in modules for w in m.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.02, fused=True)
    inputs, targets = torch.tensor(ids[:-1]).long(), torch.tensor(ids[1:]).long()
    state = None

    def step():
        nonlocal state
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            x = functional.one_hot(inputs, V).float() if one_hot else embedding(inputs)
            hidden, state = recurrent(x, state)
            loss = functional.cross_entropy(output(hidden).flatten(0, 1).float(), targets.flatten())
        state = tuple(s.detach() for s in state) if size.cell == "lstm" else state.detach()
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        return loss.item(), norm.item()

    return step


def _load(recurrent, embedding, output, parameters, size: Size) -> None:
    """rhapsode's initial weights into torch's modules. torch has biases that rhapsode has not (a second one in each
    gate, and one beside the table): they rest at zero, so that both train the same model."""
    import torch

    with torch.no_grad():
        for name, w in recurrent.named_parameters():
            kind, layer = name.rsplit("_l", 1)
            prefix = f"layers.{layer}."
            own = {n.removeprefix(prefix): torch.tensor(v) for n, v in parameters.items() if n.startswith(prefix)}
            if name == "weight_ih_l0" and size.input == "one-hot":
                w.zero_()[:, : size.vocab] = own["table"].t()
            elif kind in ("weight_ih", "weight_hh"):
                w.copy_(own[kind])
            elif kind == "bias_ih" and "bias" in own:
                w.copy_(own["bias"])
            else:
                w.zero_()
                w.requires_grad_(kind == "bias_hh" and size.cell == "gru")
        if size.input == "embedding":
            embedding.weight.copy_(torch.tensor(parameters["embedding.weight"]))
        else:
            torch.nn.init.eye_(embedding.weight)
        output.weight.copy_(torch.tensor(parameters["output.weight"]))
        output.bias.copy_(torch.tensor(parameters["output.bias"]))


if __name__ == "__main__":
    main()
