"""Which parameters a `ModelConfig` has: names, shapes, initial values; and which arrays its state has.

    embedding.weight            [V, D]          input = embedding
    layers.0.table              [V, G*H]        input = one-hot: row x is W_ih x + b of the symbol x
    layers.L.weight_ih          [G*H, D]        layers that read a vector
    layers.L.bias               [G*H]           likewise
    layers.L.weight_hh          [G*H, H]
    layers.L.bias_hn            [H]             gru
    layers.L.norm.weight        [D]             norm = layer or rms, layers that read a vector; .norm.bias for layer
    layers.L.initial.h, .c      [H]             learned_state
    norm.weight, norm.bias      [H]             norm before the output layer
    output.weight               [V, H]          not where tied: then it is embedding.weight
    output.bias                 [V]

Initial values are drawn with numpy from the seed and the parameter's name, so that they are the same on every
backend and do not depend on which other parameters there are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.nn.cells import CELLS, LayerState

Parameters = dict[str, np.ndarray]


@dataclass(frozen=True)
class Parameter:
    """One parameter: its `role` decides its initial values and how it is trained (`table` has a rate of its own,
    only roles in `DECAYED` feel weight decay)."""

    name: str
    shape: tuple[int, ...]
    role: str

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


DECAYED = frozenset({"table", "embedding", "input", "recurrent", "output"})


class State(NamedTuple):
    """What a model remembers of the text so far: one `LayerState` a layer, arrays [B, H]."""

    layers: tuple[LayerState, ...]


def parameter_spec(config: ModelConfig) -> list[Parameter]:
    """The parameters of `config`, in a fixed order."""
    return [*stack_spec(config), *_output(config)]


def stack_spec(config: ModelConfig) -> list[Parameter]:
    """Those of all that stands before the output layer."""
    return list(_stack(config))


def _stack(c: ModelConfig) -> Iterator[Parameter]:
    cell, V, H = CELLS[c.cell], c.vocab_size, c.hidden
    GH = cell.gates * H
    if c.input == "embedding":
        yield Parameter("embedding.weight", (V, c.embedding_size), "embedding")
    for layer in range(c.layers):
        name = f"layers.{layer}"
        if layer == 0 and c.input == "one-hot":
            yield Parameter(f"{name}.table", (V, GH), "table")
        else:
            D = layer_width(c, layer)
            if has_norm(c, layer):
                yield from _norm(f"{name}.norm", D, c.norm)
            yield Parameter(f"{name}.weight_ih", (GH, D), "input")
            yield Parameter(f"{name}.bias", (GH,), "bias")
        yield Parameter(f"{name}.weight_hh", (GH, H), "recurrent")
        for bias in cell.recurrent_bias:
            yield Parameter(f"{name}.{bias}", (H,), "bias")
        if c.learned_state:
            for field in cell.state._fields:
                yield Parameter(f"{name}.initial.{field}", (H,), "state")
    if c.norm != "none":
        yield from _norm("norm", H, c.norm)


def _output(c: ModelConfig) -> Iterator[Parameter]:
    if not c.tied:
        yield Parameter("output.weight", (c.vocab_size, c.hidden), "output")
    yield Parameter("output.bias", (c.vocab_size,), "bias")


def _norm(name: str, width: int, kind: str) -> Iterator[Parameter]:
    yield Parameter(f"{name}.weight", (width,), "scale")
    if kind == "layer":
        yield Parameter(f"{name}.bias", (width,), "bias")


def layer_width(config: ModelConfig, layer: int) -> int:
    """D: how many entries the vector has that `layer` reads (V for the one-hot vector)."""
    if layer > 0:
        return config.hidden
    return {"one-hot": config.vocab_size, "embedding": config.embedding_size, "scalar": 1}[config.input]


def has_norm(config: ModelConfig, layer: int) -> bool:
    """Whether `layer` normalises what it reads: a one-hot vector or a lone number is not normalised."""
    return config.norm != "none" and (layer > 0 or config.input == "embedding")


def is_residual(config: ModelConfig, layer: int) -> bool:
    """Whether `layer` adds what it reads to its output."""
    vector = layer > 0 or config.input == "embedding"
    return config.residual and vector and layer_width(config, layer) == config.hidden


def output_weight(config: ModelConfig) -> str:
    """Name of the matrix [V, H] of the output layer."""
    return "embedding.weight" if config.tied else "output.weight"


def initial_parameters(config: ModelConfig, seed: int = 0) -> Parameters:
    """Initial values, float32. DESIGN §9's recipe: orthogonal recurrent blocks, table from N(0, 1), the rest uniform
    in ±1/sqrt(fan in), biases zero; rows of the special symbols start at zero, so that an untrained one is neutral."""
    return {p.name: draw(p, config, seed) for p in parameter_spec(config)}


def draw(p: Parameter, config: ModelConfig, seed: int) -> np.ndarray:
    """The initial values of one parameter of a model, or of what is built on its layers."""
    rng = np.random.default_rng([seed, zlib.crc32(p.name.encode())])
    if p.role == "scale":
        return np.ones(p.shape, np.float32)
    if p.role in ("bias", "state"):
        return np.zeros(p.shape, np.float32)
    if config.init == "normal":
        value = rng.standard_normal(p.shape, np.float32) * np.float32(config.init_std)
    elif p.role == "recurrent":
        value = np.concatenate([_orthogonal(rng, p.shape[1]) for _ in range(p.shape[0] // p.shape[1])])
    elif p.role == "table" or (p.role == "embedding" and not config.tied):
        value = rng.standard_normal(p.shape, np.float32)
    else:
        bound = p.shape[1] ** -0.5
        value = rng.uniform(-bound, bound, p.shape).astype(np.float32)
    if p.role in ("table", "embedding") and config.specials:
        value[-config.specials :] = 0
    return value


def _orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    """A random orthogonal matrix [n, n] (Saxe et al. 2014, arXiv:1312.6120)."""
    q, r = np.linalg.qr(rng.standard_normal((n, n), np.float32))
    return q * np.sign(np.diag(r))


def initial_state(config: ModelConfig, parameters: Mapping[str, np.ndarray], batch_size: int) -> State:
    """The state before any text: zeros, or the trained initial state, for `batch_size` sequences."""
    kind = CELLS[config.cell].state

    def value(layer: int, field: str) -> np.ndarray:
        if not config.learned_state:
            return np.zeros((batch_size, config.hidden), np.float32)
        return np.repeat(parameters[f"layers.{layer}.initial.{field}"][None], batch_size, axis=0)

    return State(tuple(kind(*(value(layer, f) for f in kind._fields)) for layer in range(config.layers)))
