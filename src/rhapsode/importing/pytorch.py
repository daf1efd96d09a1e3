"""Weights of PyTorch in a safetensors file: a state dictionary with one nn.RNN, nn.GRU or nn.LSTM, an nn.Linear after
it, and perhaps an nn.Embedding before it, by whatever names.

PyTorch keeps the gates of an LSTM as i, f, g, o and those of a GRU as r, z, n, as rhapsode does, and has two biases,
whose sum counts everywhere but in n (https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from rhapsode.errors import SourceError
from rhapsode.importing.network import Layer, Network

Tensors = dict[str, np.ndarray]
CELLS: dict[int, Literal["rnn", "gru", "lstm"]] = {1: "rnn", 3: "gru", 4: "lstm"}
"""By the number of gates."""


def read_pytorch(path: Path, nonlinearity: Literal["tanh", "relu"]) -> Network:
    """The network in the file.

    Raises:
        SourceError: it cannot be read, or is none that rhapsode can be.
    """
    tensors = _load(path)
    module = _recurrent_module(path, tensors)
    layers = _layers(path, {n[len(module) :]: t for n, t in tensors.items() if n.startswith(module)})
    first, last = layers[0], layers[-1]
    gates = len(first.bias) // first.hidden
    if gates not in CELLS or any(len(layer.bias) != gates * first.hidden for layer in layers):
        raise SourceError(f"{path}: {module or 'the recurrent module'} is no nn.RNN, nn.GRU or nn.LSTM")
    cell = CELLS[gates]
    others = {n: t for n, t in tensors.items() if not n.startswith(module) or not re.search(r"_l\d+$", n)}
    output, bias = _output(path, others, last.hidden)
    V, width = len(output), first.weight_ih.shape[1]
    tables = [t for t in others.values() if t.ndim == 2 and t.shape == (V, width) and t is not output]
    embedding = tables[0] if tables else None
    if embedding is None and width != V:
        if width != last.hidden or len([t for t in others.values() if t.ndim == 2]) != 1:
            raise SourceError(f"{path}: no embedding [{V}, {width}] for what the first layer reads")
        embedding = output  # shared
    if cell == "gru":
        return Network(cell, layers, output, bias, embedding)
    plain = [layer._replace(bias_hn=None) for layer in layers]
    return Network(cell, plain, output, bias, embedding, nonlinearity if cell == "rnn" else "tanh")


def _load(path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise SourceError(f"{path}: not a whole safetensors file: {error}") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def _recurrent_module(path: Path, tensors: Tensors) -> str:
    """The prefix of the only recurrent module's tensors."""
    modules = {m[1] for m in (re.match(r"(.*)weight_hh_l\d+$", name) for name in tensors) if m}
    if len(modules) != 1:
        raise SourceError(f"{path}: {len(modules)} recurrent modules (weight_hh_l0, …), expected one")
    (module,) = modules
    for name in tensors:
        if re.match(re.escape(module) + r"weight_(hr|ih|hh)_l\d+_reverse$", name) or f"{module}weight_hr_l" in name:
            raise SourceError(f"{path}: tensor {name}: no bidirectional or projecting layers can be imported")
    return module


def _layers(path: Path, tensors: Tensors) -> list[Layer]:
    """The layers; `bias_hn` as of a gru."""
    layers = list[Layer]()
    while f"weight_hh_l{len(layers)}" in tensors:
        suffix = f"l{len(layers)}"
        weight_hh, weight_ih = tensors[f"weight_hh_{suffix}"], tensors.get(f"weight_ih_{suffix}")
        if weight_ih is None or weight_hh.ndim != 2 or weight_ih.shape[:1] != weight_hh.shape[:1]:
            raise SourceError(f"{path}: weight_ih_{suffix} is missing, or does not fit weight_hh_{suffix}")
        none = np.zeros(len(weight_hh), np.float32)
        bias, H = tensors.get(f"bias_ih_{suffix}", none).copy(), weight_hh.shape[1]
        recurrent, inside = tensors.get(f"bias_hh_{suffix}", none), slice(2 * H, 3 * H)
        gru = len(bias) == 3 * H
        bias += recurrent
        if gru:
            bias[inside] -= recurrent[inside]
        layers.append(Layer(weight_ih, weight_hh, bias, recurrent[inside] if gru else None))
    return layers


def _output(path: Path, others: Tensors, hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight [V, H] and bias [V] of the linear layer."""
    found = [n for n, t in others.items() if n.endswith("weight") and t.ndim == 2 and t.shape[1] == hidden]
    with_bias = [n for n in found if f"{n.removesuffix('weight')}bias" in others]
    names = with_bias or found
    if len(names) != 1:
        raise SourceError(f"{path}: {len(names)} matrices [V, {hidden}] for an output layer, expected one with a bias")
    weight = others[names[0]]
    bias = others.get(f"{names[0].removesuffix('weight')}bias", np.zeros(len(weight), np.float32))
    if bias.shape != weight.shape[:1]:
        raise SourceError(f"{path}: {names[0]} is {weight.shape}, its bias {bias.shape}")
    return weight, bias
