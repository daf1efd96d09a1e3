"""What others do to write with a character LSTM of one layer, one text, symbol by symbol, in PyTorch on one core.

eager       what people write: nn.LSTM, nn.Linear, softmax, torch.multinomial
compiled    the same step by hand, through torch.compile
matvec      the same by hand, uncompiled: four gates from one matrix-vector product, nothing else
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch

from rhapsode.modelfile import ModelFile

SYMBOLS = 40
"""that a run writes"""

torch.set_num_threads(1)  # more only slow down products of this size


def logits(file: ModelFile, ids: np.ndarray) -> np.ndarray:
    """Those of nn.LSTM after each of ids [T, B]."""
    lstm, output, table = _modules(file)
    with torch.inference_mode():
        return output(lstm(table(torch.tensor(ids).long()))[0]).numpy()


def runs(file: ModelFile) -> dict[str, Callable[[], int]]:
    """Each peer by name: a run of it, which returns the symbols that it wrote."""
    found = {"torch eager": _eager(file), "torch matvec": _by_hand(file, _step)}
    if _has_compiler():
        found["torch compiled"] = _by_hand(file, torch.compile(_step, dynamic=False))
        found["torch compiled"]()
    else:
        print("torch.compile: no C++ compiler here", file=sys.stderr)
    return found


def _has_compiler() -> bool:
    try:
        return subprocess.run(["c++", "--version"], capture_output=True).returncode == 0
    except OSError:
        return False


def _modules(file: ModelFile) -> tuple[torch.nn.LSTM, torch.nn.Linear, torch.nn.Embedding]:
    """nn.LSTM that reads one-hot rows (an identity as embedding), and nn.Linear."""
    V, H, p = file.config.vocab_size, file.config.hidden, {k: torch.tensor(v) for k, v in file.parameters.items()}
    lstm, output = torch.nn.LSTM(V, H, bias=False), torch.nn.Linear(H, V)
    table = torch.nn.Embedding.from_pretrained(torch.eye(V))
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(p["layers.0.table"].T)
        lstm.weight_hh_l0.copy_(p["layers.0.weight_hh"])
        output.weight.copy_(p["output.weight"])
        output.bias.copy_(p["output.bias"])
    return lstm, output, table


def _eager(file: ModelFile) -> Callable[[], int]:
    lstm, output, table = _modules(file)

    @torch.inference_mode()
    def run() -> int:
        state, id = None, torch.zeros(1, 1, dtype=torch.long)
        for _ in range(SYMBOLS):
            x, state = lstm(table(id), state)
            id = torch.multinomial(torch.softmax(output(x[0]) / 0.8, -1), 1)
        return SYMBOLS

    return run


def _step(table, weight, head, bias, id, h, c):
    """Probabilities [V] of what follows the symbol `id` [1], and the state."""
    i, f, g, o = torch.addmv(table[id][0], weight, h).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return torch.softmax(torch.addmv(bias, head, h) / 0.8, -1), h, c


def _by_hand(file: ModelFile, step: Callable) -> Callable[[], int]:
    names = ("layers.0.table", "layers.0.weight_hh", "output.weight", "output.bias")
    weights, H = [torch.tensor(file.parameters[name]) for name in names], file.config.hidden

    @torch.inference_mode()
    def run() -> int:
        h, c, id = torch.zeros(H), torch.zeros(H), torch.tensor([0])
        for _ in range(SYMBOLS):
            p, h, c = step(*weights, id, h, c)
            id = torch.multinomial(p, 1)
        return SYMBOLS

    return run
