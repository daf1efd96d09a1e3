"""The network of `rhapsode.nn` in torch, for training: with dropout, and with products in bfloat16 where asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from rhapsode.backends.torch.blocks import gated_mlp, short_convolution
from rhapsode.backends.torch.cells import SCANS
from rhapsode.backends.torch.masks import Dropout
from rhapsode.config import ModelConfig
from rhapsode.nn.cells import LayerState, cell_named
from rhapsode.nn.forward import EPSILON, of_layer
from rhapsode.nn.spec import State, has_norm, is_learned, is_residual, join_state, make_state, split_state


def hidden(
    config: ModelConfig,
    parameters: Mapping[str, Tensor],
    ids: Tensor,
    state: State,
    dtype: torch.dtype,
    dropout: Dropout | None = None,
) -> tuple[Tensor, State]:
    """What the output layer reads [T, B, H], for ids [T, B] int32, and the state after them.

    Products are computed in `dtype`; `dropout` None drops nothing.
    """
    layers: list[LayerState] = []
    vector = _input(config, parameters, ids, dropout)
    for layer, before in enumerate(state.layers):
        own, (start, past) = of_layer(parameters, layer), split_state(before, cell_named(config.cell).state)
        if vector is not None and layer > 0 and dropout:
            vector = dropout.vectors(f"layers.{layer}.input", vector, config.dropout)
        if vector is None:
            gates = _table_rows(config, own["table"], ids, dropout)
        else:
            read = normalise(config.norm, vector, own, "norm.") if has_norm(config, layer) else vector
            if past is not None:
                read, past = short_convolution(read, past, own["conv.weight"], own["conv.bias"])
            gates = (read.to(dtype) @ own["weight_ih"].to(dtype).t()).float() + own["bias"]
        if "weight_hh" in own:
            weight = own["weight_hh"]
            if dropout:
                weight = dropout.recurrent(f"layers.{layer}.weight_hh", weight, config.dropconnect)
            own["weight_hh"] = weight.to(dtype)
        output, after = SCANS[config.cell](gates, start, own, config.nonlinearity)
        layers.append(join_state(after, past))
        vector = vector + output if vector is not None and is_residual(config, layer) else output
        if config.mlp:
            read = normalise(config.norm, vector, own, "mlp.norm.")
            vector = vector + gated_mlp(read, own["mlp.weight_in"], own["mlp.weight_out"], dtype)
    assert vector is not None
    vector = normalise(config.norm, vector, parameters, "norm.")
    if dropout:
        vector = dropout.vectors("output", vector, config.dropout_output)
    return vector, State(tuple(layers))


def normalise(kind: str, x: Tensor, parameters: Mapping[str, Tensor], prefix: str) -> Tensor:
    """`rhapsode.nn.forward.normalise`."""
    if kind == "none":
        return x
    weight = parameters[f"{prefix}weight"]
    if kind == "layer":
        return functional.layer_norm(x, weight.shape, weight, parameters[f"{prefix}bias"], EPSILON)
    return functional.rms_norm(x, weight.shape, weight, EPSILON)


def initial_state(
    config: ModelConfig, parameters: Mapping[str, Tensor], batch_size: int, device: torch.device
) -> State:
    """The state before any text; with a trained initial state, its gradient flows to that."""

    def value(layer: int, field: str, width: int) -> Tensor:
        if is_learned(config, field):
            return parameters[f"layers.{layer}.initial.{field}"].expand(batch_size, -1)
        return torch.zeros(batch_size, width, device=device)

    return make_state(config, value)


def _input(
    config: ModelConfig, parameters: Mapping[str, Tensor], ids: Tensor, dropout: Dropout | None
) -> Tensor | None:
    """The vectors [T, B, D] that the first layer reads; None for one-hot input, whose layer reads its table."""
    if config.input == "one-hot":
        return None
    if config.input == "embedding":
        vector = functional.embedding(ids, parameters["embedding.weight"])
    else:
        vector = (ids / config.vocab_size)[..., None]
    return dropout.vectors("input", vector, config.dropout_input) if dropout else vector


def _table_rows(config: ModelConfig, table: Tensor, ids: Tensor, dropout: Dropout | None) -> Tensor:
    """The gates of one-hot input."""
    gates = functional.embedding(ids, table)
    if dropout and config.dropout_input:
        gates = gates * dropout.one_hot("input", ids, config.vocab_size, config.dropout_input)
    return gates
