"""Sequential models of Keras, from .keras files of Keras 3 and .h5 files of Keras 2 and 3.

    [InputLayer]  [Embedding]  LSTM | GRU | SimpleRNN, once or more  [Dropout …]  Dense  [Activation softmax]

The Dense layer may be wrapped as TimeDistributed.

Keras keeps matrices as [D, G*H]; the gates of an LSTM as i, f, g, o, as rhapsode does, those of a GRU as z, r, n with
two rows of biases (https://keras.io/api/layers/recurrent_layers/).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rhapsode.errors import MissingDependency, SourceError
from rhapsode.importing.network import Layer, Network, checked

CELLS: dict[str, Literal["rnn", "gru", "lstm"]] = {"SimpleRNN": "rnn", "GRU": "gru", "LSTM": "lstm"}
GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
IGNORED = ("InputLayer", "Dropout", "SpatialDropout1D")
"""Layers that change nothing when a model predicts."""
Nonlinearity = Literal["tanh", "relu"]
Settings = dict[str, Any]
Weights = list[np.ndarray]


def read_keras(path: Path) -> Network:
    """The network in the file.

    Raises:
        SourceError: it cannot be read, or has a layer or a setting that rhapsode has not; says which.
        MissingDependency: h5py is not installed.
    """
    embedding, layers, cells, output, width = None, list[Layer](), set[str](), None, None
    nonlinearity: Nonlinearity = "tanh"
    for kind, settings, weights in _read(path):
        where = f"{path}: layer {settings.get('name', kind)} ({kind})"
        if output is not None and kind != "Activation":
            raise SourceError(f"{where}: expected nothing after the Dense layer but a softmax")
        if kind == "Embedding" and embedding is None and not layers:
            embedding = _embedding(where, settings, weights)
            width = embedding.shape[1]
        elif kind in CELLS:
            cells.add(kind)
            nonlinearity = _recurrent_settings(where, kind, settings)
            layers.append(_recurrent(where, kind, settings, weights, width))
            width = layers[-1].hidden
        elif kind == "Dense" and layers:
            output = _dense(where, settings, weights, layers[-1].hidden)
        elif kind == "Activation" and output is not None:
            _must(where, settings, "activation", "softmax")
        elif kind not in IGNORED:
            allowed = f"Embedding first, {', '.join(CELLS)}, Dropout, and a Dense last"
            raise SourceError(f"{where}: cannot be imported; allowed are {allowed}")
    if not layers or output is None or len(cells) > 1:
        raise SourceError(f"{path}: expected recurrent layers of one kind and a Dense layer after them")
    network = Network(CELLS[cells.pop()], layers, *output, embedding, nonlinearity)
    reads = layers[0].weight_ih.shape[1] if embedding is None else len(embedding)
    if reads != network.symbols and (embedding is not None or reads != 1):
        raise SourceError(f"{path}: reads {reads} symbols and predicts {network.symbols}: no model of text")
    return network


def _recurrent_settings(where: str, kind: str, settings: Settings) -> Nonlinearity:
    """The activation, if all settings are such that rhapsode has them."""
    if settings.get("go_backwards"):
        raise SourceError(f"{where}: go_backwards cannot be imported")
    if kind == "SimpleRNN" and settings.get("activation") == "relu":
        return "relu"
    _must(where, settings, "activation", "tanh")
    if kind != "SimpleRNN":
        _must(where, settings, "recurrent_activation", "sigmoid")
    if kind == "GRU" and not settings.get("reset_after", False):
        raise SourceError(f"{where}: reset_after is false; rhapsode's gru resets after the product (Keras' default)")
    return "tanh"


def _must(where: str, settings: Settings, name: str, value: str) -> None:
    if settings.get(name) != value:
        raise SourceError(f"{where}: {name} is {settings.get(name)!r}, allowed: {value}")


def _embedding(where: str, settings: Settings, weights: Weights) -> np.ndarray:
    """The table [V, D]."""
    if settings.get("mask_zero"):
        raise SourceError(f"{where}: mask_zero is true: what skips symbols cannot be imported")
    (table,) = _counted(where, weights, 1)
    return checked(f"{where}: its table", table, None, None)


def _recurrent(where: str, kind: str, settings: Settings, weights: Weights, width: int | None) -> Layer:
    """The layer, which reads `width` entries (None: any), with its gates in rhapsode's order."""
    kernel, recurrent, *biases = _counted(where, weights, 3 if settings.get("use_bias", True) else 2)
    H = len(recurrent) if recurrent.ndim else 0
    rows = GATES[kind] * H
    kernel = checked(f"{where}: its kernel", kernel, width, rows)
    recurrent = checked(f"{where}: its recurrent kernel", recurrent, H, rows)
    shape = (2, rows) if kind == "GRU" else (rows,)
    bias = checked(f"{where}: its bias", biases[0], *shape) if biases else np.zeros(shape, np.float32)
    if kind != "GRU":
        return Layer(kernel.T, recurrent.T, bias, None)
    order = np.concatenate([np.arange(H, 2 * H), np.arange(H), np.arange(2 * H, 3 * H)])
    given, inside = bias
    total = given + inside
    total[2 * H :] = given[2 * H :]
    return Layer(kernel.T[order], recurrent.T[order], total[order], inside[2 * H :])


def _dense(where: str, settings: Settings, weights: Weights, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight [V, H] and bias [V] of the layer, which reads `width` entries."""
    if settings.get("activation") not in ("softmax", "linear", None):
        raise SourceError(f"{where}: activation is {settings['activation']!r}, allowed: softmax or linear")
    kernel, *biases = _counted(where, weights, 2 if settings.get("use_bias", True) else 1)
    kernel = checked(f"{where}: its kernel", kernel, width, None)
    V = kernel.shape[1]
    return kernel.T, checked(f"{where}: its bias", biases[0], V) if biases else np.zeros(V, np.float32)


def _counted(where: str, weights: Weights, count: int) -> Weights:
    if len(weights) != count:
        raise SourceError(f"{where}: {len(weights)} weights, expected {count}")
    return weights


# The two kinds of file.


def _read(path: Path) -> list[tuple[str, Settings, Weights]]:
    """Class, settings and weights of each layer."""
    try:
        import h5py
    except ImportError:
        raise MissingDependency("reading Keras files needs a package: pip install 'rhapsode[keras]'") from None
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                described = json.loads(archive.read("config.json"))
                with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as file:
                    return [(*layer, weights) for layer, weights in _zipped(path, described, file)]
        with h5py.File(path, "r") as file:
            described = json.loads(file.attrs["model_config"])
            return [(*layer, weights) for layer, weights in _single(path, described, file["model_weights"])]
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{path}: cannot be read as a whole model of Keras: {reason}") from None


def _described(path: Path, model: Settings) -> list[tuple[str, Settings]]:
    """Class and settings of each layer; of a wrapped one, those of the layer inside."""
    if model["class_name"] != "Sequential":
        raise SourceError(f"{path}: a {model['class_name']} model; only Sequential ones can be imported")
    layers = []
    for layer in model["config"]["layers"] if isinstance(model["config"], dict) else model["config"]:
        kind, settings = str(layer["class_name"]), layer["config"]
        if kind == "TimeDistributed":
            kind, settings = (
                str(settings["layer"]["class_name"]),
                settings["layer"]["config"] | {"name": settings["name"]},
            )
        layers.append((kind, settings))
    return layers


def _zipped(path: Path, model: Settings, file: Any) -> list[tuple[tuple[str, Settings], Weights]]:
    """Of a .keras file: the weights lie under the class's name in snake case, numbered from its second layer on."""
    seen: dict[str, int] = {}
    found = []
    for layer, outer in zip(_described(path, model), model["config"]["layers"], strict=True):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", outer["class_name"]).lower()
        number = seen[name] = seen.get(name, -1) + 1
        group = file["layers"].get(f"{name}_{number}" if number else name)
        found.append((layer, _variables(group)))
    return found


def _variables(group: Any) -> Weights:
    """The arrays 0, 1, … of the group or of what is inside its layer."""
    while group is not None:
        own = group.get("vars", {})
        if len(own):
            return [np.asarray(own[str(i)]) for i in range(len(own))]
        group = group.get("cell") or group.get("layer")
    return []


def _single(path: Path, model: Settings, weights: Any) -> list[tuple[tuple[str, Settings], Weights]]:
    """Of an .h5 file: each layer's group names its weights in order."""
    found = []
    for layer in _described(path, model):
        group = weights.get(layer[1].get("name", ""), None)
        names = [] if group is None else group.attrs["weight_names"]
        found.append((layer, [np.asarray(group[_text(name)]) for name in names]))
    return found


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
