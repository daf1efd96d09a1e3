"""Who takes part, and what each is measured to cost the held-out part of a text.

Peers without a setting of their own for a CPU get the size, batches and learning rate of nanoGPT's: 4 layers of 128,
12 x 64 symbols a step, and the recurrent ones the state carried from step to step.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from rhapsode.analysis.baselines import NGram
from rhapsode.config import TrainConfig
from rhapsode.engine import open_engine
from rhapsode.errors import BenchmarkError
from rhapsode.evaluate import evaluate, spans
from rhapsode.modelfile import ModelFile
from rhapsode.text.corpus import Corpus, Part

from .texts import in_documents

RESET = 256
"""Symbols after which the state starts anew, in the second way of reading."""
HIGHEST = 12
"""Order at which the search for the best n-gram ends."""
SMALL = {
    "batch_size": 12,
    "length": 64,
    "lr": 1e-3,
    "beta2": 0.99,
    "weight_decay": 0.1,
    "warmup": 20,
    "schedule": "cosine",
    "final_lr": 0.1,
    "clip_norm": 1.0,
}
"""nanoGPT's, but for the warm-up, which is shorter because the budgets are, and the rate, which follows the clock."""
NETWORKS = {
    "gpt": ("gpt", "GPT", {**SMALL, "batches": "windows"}),
    "mingru": ("recurrent", "MinGRU", SMALL),
    "xlstm": ("recurrent", "XLSTM", {**SMALL, "beta2": 0.95}),
    "lstm": (
        "recurrent",
        "LSTM",
        {"batch_size": 50, "length": 50, "lr": 2e-3, "weight_decay": 0.0, "warmup": 0, "clip_norm": 5.0},
    ),
}
"""The module, its class, and how it is trained."""
DOCUMENTS = {"batches": "documents", "batch_size": 128}
"""For a text of short documents, as rhapsode plans it."""
NEEDS = {"mingru": "minGRU_pytorch", "xlstm": "xlstm"}
ABOUT = {
    "rhapsode": "`rhapsode train TEXT --minutes M`, nothing else named: a native LSTM",
    "torch": "`rhapsode train TEXT --minutes M --backend torch`, planned for the speed that it has there",
    "ngram": "interpolated Kneser-Ney, of the order up to 12 that does best on the held-out part",
    "gpt": "nanoGPT's setting for a CPU in plain torch: 4 layers, 4 heads, width 128, context 64, batch 12, dropout 0, "
    "AdamW (lr 1e-3, β2 0.99, weight decay 0.1), cosine to a tenth, 20 steps of warm-up (100 there)",
    "lstm": "nn.LSTM in char-rnn's sizes: 2 layers of 128, one-hot symbols, 50 x 50 symbols a step, Adam at 2e-3 with "
    "linear decay, state carried",
    "mingru": "minGRU-pytorch's minLM, 4 layers of 128, trained like the GPT with the state carried",
    "xlstm": "xlstm's xLSTMLarge, 4 blocks of 128, 4 heads, its plain torch kernels (those for a CPU), trained like "
    "the GPT with β2 0.95 and the state carried",
}
"""By name."""


class Found(NamedTuple):
    """What was found."""

    nats: dict[str, float]
    """per symbol of the held-out part, by the way of reading: carried (documents, where they are short) and reset;
    of rhapsode's models also uncalibrated, and mixture, dynamic and both, if asked for"""
    facts: dict[str, Any]
    """about the training"""


Run = Callable[[Corpus, float, int, bool], Found]
"""(corpus, seconds, seed, adapt) to what was found."""


def runner(name: str) -> Run:
    """What measures the contestant of this name."""
    special: dict[str, Run] = {"rhapsode": _rhapsode, "torch": _rhapsode_on_torch, "ngram": _ngram}
    return special.get(name) or (lambda corpus, seconds, seed, adapt: _network(name, corpus, seconds, seed))


def missing(name: str) -> str | None:
    """The package that the contestant lacks."""
    needed = [] if name in ("rhapsode", "ngram") else ["torch", NEEDS.get(name, "torch")]
    return next((package for package in needed if importlib.util.find_spec(package) is None), None)


def _rhapsode(corpus: Corpus, seconds: float, seed: int, adapt: bool, backend: str = "auto") -> Found:
    with tempfile.TemporaryDirectory() as folder:
        out, budget = f"{folder}/run", f"--minutes={seconds / 60:.6f}"
        named = [] if backend == "auto" else [f"--backend={backend}"]
        run = _command("train", str(corpus.path), f"--out={out}", budget, f"--seed={seed}", "--no-samples", *named)
        _check_model(out, corpus)
        whole = _command("evaluate", out)
        if whole["tokens"] != len(corpus.held_out.tokens) - 1:
            raise BenchmarkError(
                f"rhapsode evaluate counted {whole['tokens']:,} symbols of {len(corpus.held_out.tokens):,}"
            )
        nats = {_usual(corpus): whole["nats_per_token"], "uncalibrated": run["val_nats_as_trained"]}
        if not in_documents(corpus):
            nats["reset"] = _command("evaluate", out, f"--context={RESET}")["nats_per_token"]
        if adapt:
            mixed, learning = _command("evaluate", out, "--mix"), _command("evaluate", out, "--dynamic", "--mix")
            nats["mixture"] = mixed["mixture"]["nats_per_token"]
            nats["dynamic"] = learning["dynamic"]["nats_per_token"]
            nats["both"] = learning["mixture"]["nats_per_token"]
        facts = {"steps": run["steps"], "symbols": run["tokens"], "parameters": run["parameters"]}
        return Found(nats, facts | {"setting": _setting(ModelFile.load(out))})


def _setting(file: ModelFile) -> str:
    config, networks = file.config, file.training["train"]["networks"]
    one = f"{config.cell}, {config.layers} x {config.hidden // networks}"
    return one if networks == 1 else f"{networks} of {one}"


def _rhapsode_on_torch(corpus: Corpus, seconds: float, seed: int, adapt: bool) -> Found:
    return _rhapsode(corpus, seconds, seed, False, "torch")


def _command(*words: str) -> dict[str, Any]:
    """What `rhapsode …` prints with --json."""
    done = subprocess.run([sys.executable, "-m", "rhapsode", *words, "--json"], capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"rhapsode {' '.join(words)}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _check_model(out: str, corpus: Corpus) -> None:
    """That `rhapsode evaluate` finds in a model what torch, an implementation of its own, finds in it."""
    if importlib.util.find_spec("torch") is None:
        return
    from rhapsode.backends.choose import make_learner

    model, part = ModelFile.load(out), corpus.held_out
    cuts = part.starts[:65] if in_documents(corpus) else np.array([0, 512])
    ids = np.asarray(part.tokens[: cuts[-1] + 1], np.int32)[:, None]
    small = Part(ids[:, 0], cuts[:-1], len(ids) - 1, len(ids) - 1)
    found = evaluate(open_engine(model), small, documents=in_documents(corpus)).nats_per_token
    judge = make_learner(model.config, TrainConfig(backend="torch", precision="fp32", steps=1), model.parameters)
    nats = [judge.losses(ids[a:b], ids[a + 1 : b + 1], judge.initial_state(1))[0] for a, b in pairwise(cuts)]
    expected = float(np.concatenate(nats).mean())
    if not abs(found - expected) < 2e-3:
        raise BenchmarkError(f"no parity: rhapsode finds {found:.5f} nats, torch {expected:.5f}")


def _ngram(corpus: Corpus, seconds: float, seed: int, adapt: bool) -> Found:
    """The loss falls with the order and then rises; the lowest one counts."""
    best: Found | None = None
    for order in range(3, HIGHEST + 1):
        model = NGram(order).fit(corpus.train.tokens, corpus.tokenizer.vocab_size, corpus.tokenizer.boundary)
        if not np.allclose(model.distributions(corpus.held_out.tokens[:100]).sum(1), 1):
            raise BenchmarkError(f"the {order}-gram is no distribution")
        usual = _usual(corpus)
        nats = {usual: _counted(model, corpus.held_out, usual)}
        if best and nats[usual] > best.nats[usual]:
            break
        if usual == "carried":
            nats["reset"] = _counted(model, corpus.held_out, "reset")
        best = Found(nats, {"setting": f"order {order}"})
    assert best
    return best


def _counted(model: NGram, part: Part, mode: Any) -> float:
    """Mean nats of an n-gram, span by span."""
    cut = spans(part, mode, RESET if mode == "reset" else None)
    total = sum(model.nats(part.tokens[s : s + n + 1]).sum() for s, n in zip(cut.starts, cut.sizes, strict=True))
    return float(total) / (len(part.tokens) - 1)


def _network(name: str, corpus: Corpus, seconds: float, seed: int) -> Found:
    import torch

    from .by_the_clock import train
    from .network import check, nats_per_token

    module, kind, recipe = NETWORKS[name]
    documents, V = in_documents(corpus), corpus.tokenizer.vocab_size
    torch.manual_seed(seed)
    made = getattr(importlib.import_module(f".{module}", __package__), kind)
    network = made(V, chunk=16) if name == "xlstm" and documents else made(V)
    config = TrainConfig(minutes=seconds / 60, seed=seed, **{**recipe, **(DOCUMENTS if documents else {})})
    check(network, corpus.held_out, V)
    trained = train(network, corpus, config)
    check(network, corpus.held_out, V)
    nats = {_usual(corpus): nats_per_token(network, corpus.held_out, _usual(corpus))}
    if not documents:
        nats["reset"] = nats_per_token(network, corpus.held_out, "reset", RESET)
    return Found(nats, {"parameters": sum(w.numel() for w in network.parameters()), **trained._asdict()})


def _usual(corpus: Corpus) -> Any:
    return "documents" if in_documents(corpus) else "carried"
