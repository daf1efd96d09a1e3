"""The whole model in numpy, without dropout: the equations of `rhapsode.nn`, as directly as they can be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.nn.blocks import gated_mlp, short_convolution
from rhapsode.nn.cells import cell_named
from rhapsode.nn.spec import State, has_norm, is_residual, join_state, output_weight, split_state

Array = TypeVar("Array")

EPSILON = 1e-5
"""Added under the root of the norms."""


def forward(
    config: ModelConfig, parameters: Mapping[str, np.ndarray], ids: np.ndarray, state: State
) -> tuple[np.ndarray, State]:
    """Logits [T, B, V], float32, for ids [T, B] read from `state`, and the state after them."""
    outputs, state = hidden(config, parameters, ids, state)
    return logits(config, parameters, outputs), state


def hidden(
    config: ModelConfig, parameters: Mapping[str, np.ndarray], ids: np.ndarray, state: State
) -> tuple[np.ndarray, State]:
    """What the output layer reads [T, B, H], and the state after the ids."""
    cell, layers, vector = cell_named(config.cell), [], _input(config, parameters, ids)
    for layer, before in enumerate(state.layers):
        own, (start, past) = of_layer(parameters, layer), split_state(before, cell.state)
        if vector is None:
            gates = own["table"][ids]
        else:
            read = normalise(config.norm, vector, own, "norm.") if has_norm(config, layer) else vector
            if past is not None:
                read, past = short_convolution(read, past, own["conv.weight"], own["conv.bias"])
            gates = read @ own["weight_ih"].T + own["bias"]
        output, after = cell.scan(gates, start, own, config.nonlinearity)
        layers.append(join_state(after, past))
        vector = vector + output if vector is not None and is_residual(config, layer) else output
        if config.mlp:
            read = normalise(config.norm, vector, own, "mlp.norm.")
            vector = vector + gated_mlp(read, own["mlp.weight_in"], own["mlp.weight_out"])
    assert vector is not None, "a model has at least one layer"
    return normalise(config.norm, vector, parameters, "norm."), State(tuple(layers))


def logits(config: ModelConfig, parameters: Mapping[str, np.ndarray], outputs: np.ndarray) -> np.ndarray:
    """The output layer on outputs [..., H]: logits [..., V]."""
    return outputs @ parameters[output_weight(config)].T + parameters["output.bias"]


def of_layer(parameters: Mapping[str, Array], layer: int) -> dict[str, Array]:
    """The parameters of one layer, without their prefix."""
    return under(parameters, f"layers.{layer}.")


def under(parameters: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    """The parameters whose names begin with `prefix`, by the rest of the name."""
    return {name[len(prefix) :]: value for name, value in parameters.items() if name.startswith(prefix)}


def normalise(kind: str, x: np.ndarray, parameters: Mapping[str, np.ndarray], prefix: str) -> np.ndarray:
    """LayerNorm (arXiv:1607.06450) or RMSNorm (arXiv:1910.07467) over the last axis; `none` returns x."""
    if kind == "none":
        return x
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    scaled = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + EPSILON) * parameters[f"{prefix}weight"]
    return scaled + parameters[f"{prefix}bias"] if kind == "layer" else scaled


def _input(config: ModelConfig, parameters: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray | None:
    """The vectors [T, B, D] that the first layer reads; None for one-hot input, whose layer reads its table."""
    if config.input == "embedding":
        return parameters["embedding.weight"][ids]
    if config.input == "scalar":
        return (ids / np.float32(config.vocab_size)).astype(np.float32)[..., None]
    return None
