"""An imported network and its vocabulary as a model of rhapsode."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.errors import SourceError
from rhapsode.importing.network import Network, widened
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import Parameters, parameter_spec
from rhapsode.text.tokenizer import Tokenizer

NEVER = -40.0
"""Logit of a symbol that the network has not: its probability is below 1e-17."""


def assemble(network: Network, tokenizer: Tokenizer, index: np.ndarray, source: Path) -> ModelFile:
    """The model that predicts what `network` does.

    Args:
        index: for each id of `tokenizer` the network's [V]; -1 for a boundary or unknown symbol that the network has
            not: it enters as no input, and is never predicted.

    Raises:
        SourceError: the network reads the id itself as a number, and the ids cannot stay as they are.
    """
    hidden = max(layer.hidden for layer in network.layers)
    V, known = len(index), index[index >= 0]
    if network.input == "scalar" and not np.array_equal(known, np.arange(len(known))):
        raise SourceError(
            f"{source}: reads ids as numbers, so its characters must be in the order of their code points"
        )
    config = ModelConfig(
        vocab_size=V,
        specials=tokenizer.specials,
        input=network.input,
        embedding_size=128 if network.embedding is None else network.embedding.shape[1],
        cell=network.cell,
        nonlinearity=network.nonlinearity,
        layers=len(network.layers),
        hidden=hidden,
    )
    parameters = _layers(network, index, hidden)
    if network.embedding is not None:
        parameters["embedding.weight"] = _rows(network.embedding, index, 0.0)
    output = np.pad(network.output_weight, [(0, 0), (0, hidden - network.output_weight.shape[1])])
    parameters["output.weight"] = _rows(output, index, 0.0)
    parameters["output.bias"] = _rows(network.output_bias, index, NEVER)
    ordered = {p.name: np.ascontiguousarray(parameters[p.name], np.float32) for p in parameter_spec(config)}
    return ModelFile(config, tokenizer, ordered, {"imported": source.name})


def _layers(network: Network, index: np.ndarray, hidden: int) -> Parameters:
    parameters: Parameters = {}
    for number, layer in enumerate(network.layers):
        width, name = hidden if number else layer.weight_ih.shape[1], f"layers.{number}"
        wide = widened(layer, hidden, width)
        if number == 0 and network.input == "one-hot":
            parameters[f"{name}.table"] = _rows(wide.weight_ih.T, index, 0.0) + wide.bias
        else:
            # A scalar is the id over the number of symbols, which has grown by those that the network has not.
            scale = len(index) / network.symbols if number == 0 and network.input == "scalar" else 1.0
            parameters[f"{name}.weight_ih"], parameters[f"{name}.bias"] = wide.weight_ih * scale, wide.bias
        parameters[f"{name}.weight_hh"] = wide.weight_hh
        if wide.bias_hn is not None:
            parameters[f"{name}.bias_hn"] = wide.bias_hn
    return parameters


def _rows(old: np.ndarray, index: np.ndarray, absent: float) -> np.ndarray:
    """Rows of `old` by symbol; `absent` for symbols that it has not."""
    found = old[index].astype(np.float32)
    found[index < 0] = absent
    return found
