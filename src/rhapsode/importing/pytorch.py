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
from rhapsode.importing.network import Layer, Network, checked

Tensors = dict[str, np.ndarray]
CELLS: dict[int, Literal["rnn", "gru", "lstm"]] = {1: "rnn", 3: "gru", 4: "lstm"}
"""By the number of gates."""
FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


def read_pytorch(path: Path, nonlinearity: Literal["tanh", "relu"]) -> Network:
    """The network in the file.

    Raises:
        SourceError: it cannot be read, or is none that rhapsode can be.
    """
    tensors = _load(path)
    module = _recurrent_module(path, tensors)
    gates, layers = _layers(path, module, tensors)
    cell, last, width = CELLS[gates], layers[-1], layers[0].weight_ih.shape[1]
    output, bias = _output(path, tensors, last.hidden)
    V = len(output)
    tables = [name for name, t in tensors.items() if t.shape == (V, width)]
    embedding = checked(f"{path}: tensor {tables[0]}", tensors.pop(tables[0]), V, width) if tables else None
    if tensors:
        raise SourceError(f"{path}: tensor {min(tensors)} belongs to no layer that can be imported")
    if embedding is None and width != V:
        if width != last.hidden:
            raise SourceError(f"{path}: no embedding [{V}, {width}] for what the first layer reads")
        embedding = output  # shared
    return Network(cell, layers, output, bias, embedding, nonlinearity if cell == "rnn" else "tanh")


def _load(path: Path) -> Tensors:
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise SourceError(f"{path}: not a whole safetensors file: {error}") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None
    return {name: _numbers(f"{path}: tensor {name}", **tensor) for name, tensor in sorted(found)}


def _numbers(where: str, dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    """A tensor of the file. A bfloat16 is the first half of a float32."""
    if dtype not in FLOATS:
        raise SourceError(f"{where} is {dtype}, expected {', '.join(FLOATS)}")
    numbers = np.frombuffer(data, FLOATS[dtype]).reshape(shape)
    return (numbers.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else numbers


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


def _layers(path: Path, module: str, tensors: Tensors) -> tuple[int, list[Layer]]:
    """The number of gates, and the layers, whose tensors are taken out; `bias_hn` as of a gru."""
    first = tensors.get(f"{module}weight_hh_l0", np.empty(0))
    H = first.shape[-1] if first.ndim == 2 else 0
    gates = len(first) // H if H else 0
    if gates not in CELLS:
        raise SourceError(f"{path}: {module or 'the recurrent module'} is no nn.RNN, nn.GRU or nn.LSTM")
    layers, width, rows = list[Layer](), None, gates * H

    def taken(name: str, *shape: int | None) -> np.ndarray:
        if name not in tensors:
            raise SourceError(f"{path}: tensor {name} is missing")
        return checked(f"{path}: tensor {name}", tensors.pop(name), *shape)

    while f"{module}weight_hh_l{len(layers)}" in tensors:
        name = f"{module}{{}}_l{len(layers)}"
        weight_ih, weight_hh = taken(name.format("weight_ih"), rows, width), taken(name.format("weight_hh"), rows, H)
        given = inside = np.zeros(rows, np.float32)
        if name.format("bias_ih") in tensors or name.format("bias_hh") in tensors:
            given, inside = taken(name.format("bias_ih"), rows), taken(name.format("bias_hh"), rows)
        bias, width = given + inside, H
        if gates == 3:
            bias[2 * H :] = given[2 * H :]
        layers.append(Layer(weight_ih, weight_hh, bias, inside[2 * H :] if gates == 3 else None))
    return gates, layers


def _output(path: Path, tensors: Tensors, hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight [V, H] and bias [V] of the linear layer, whose tensors are taken out."""
    found = [n for n, t in tensors.items() if n.endswith("weight") and t.ndim == 2 and t.shape[1] == hidden]
    with_bias = [n for n in found if _bias_of(n) in tensors]
    names = with_bias or found
    if len(names) != 1:
        raise SourceError(f"{path}: {len(names)} matrices [V, {hidden}] for an output layer, expected one with a bias")
    weight = checked(f"{path}: tensor {names[0]}", tensors.pop(names[0]), None, hidden)
    if not with_bias:
        return weight, np.zeros(len(weight), np.float32)
    bias = _bias_of(names[0])
    return weight, checked(f"{path}: tensor {bias}", tensors.pop(bias), len(weight))


def _bias_of(weight: str) -> str:
    """The name of the bias beside a weight."""
    return f"{weight.removesuffix('weight')}bias"
