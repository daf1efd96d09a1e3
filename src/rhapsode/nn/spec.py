"""Which parameters a `ModelConfig` has: names, shapes, initial values; and which arrays its state has.

    embedding.weight            [V, D]          input = embedding
    layers.0.table              [V, G*H]        input = one-hot: row x is W_ih x + b of the symbol x
    layers.L.conv.weight, .bias [D, K], [D]     conv = K > 1, likewise; the last column meets the current vector
    layers.L.weight_ih          [G*H, D]        layers that read a vector
    layers.L.bias               [G*H]           likewise
    layers.L.weight_hh          [M*H, H]        cells with a recurrent matrix; most often M = G
    layers.L.bias_hn            [H]             gru; other cells have other vectors of their own: rhapsode.nn.cells
    layers.L.norm.weight        [D]             norm = layer or rms, layers that read a vector; .norm.bias for layer
    layers.L.initial.h, .c      [H]             learned_state; the arrays that the cell's state has
    layers.L.mlp.weight_in      [2*M, H]        mlp, M = mlp * H: W_gate above W_up
    layers.L.mlp.weight_out     [H, M]          likewise
    layers.L.mlp.norm.weight    [H]             likewise, norm = layer or rms; .mlp.norm.bias for layer
    norm.weight, norm.bias      [H]             norm before the output layer
    output.weight               [V, H]          not where tied: then it is embedding.weight
    output.bias                 [V]

The state of layer L has the arrays of its cell (h, or h and c) [B, H] and, where it has a short convolution, conv
[B, (K-1)*D]: the last K-1 vectors that it read, the oldest first.

Initial values are drawn with numpy from the seed and the parameter's name, so that they are the same on every
backend and do not depend on which other parameters there are.
"""

from __future__ import annotations

import os
import zlib
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.errors import ConfigError
from rhapsode.nn.cells import LayerState, Vector, cell_named

Parameters = dict[str, np.ndarray]


@dataclass(frozen=True)
class Parameter:
    """One parameter: its `role` decides its initial values and how it is trained (`table` has a rate of its own,
    only roles in `DECAYED` feel weight decay). `vector`: one of a cell's own, which says how to draw it."""

    name: str
    shape: tuple[int, ...]
    role: str
    vector: Vector | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


DECAYED = frozenset({"table", "embedding", "input", "recurrent", "output"})


class State(NamedTuple):
    """What a model remembers of the text so far: one `LayerState` a layer, arrays [B, N] (`state_fields`)."""

    layers: tuple[LayerState, ...]


def parameter_spec(config: ModelConfig) -> list[Parameter]:
    """The parameters of `config`, in a fixed order."""
    return [*stack_spec(config), *_output(config)]


def stack_spec(config: ModelConfig) -> list[Parameter]:
    """Those of all that stands before the output layer."""
    return list(_stack(config))


def _stack(c: ModelConfig) -> Iterator[Parameter]:
    cell, V, H = cell_named(c.cell), c.vocab_size, c.hidden
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
            if has_conv(c, layer):
                yield Parameter(f"{name}.conv.weight", (D, c.conv), "conv")
                yield Parameter(f"{name}.conv.bias", (D,), "bias")
            yield Parameter(f"{name}.weight_ih", (GH, D), "input")
            yield Parameter(f"{name}.bias", (GH,), "bias")
        if cell.matrices:
            yield Parameter(f"{name}.weight_hh", (cell.matrices * H, H), "recurrent")
        for vector in cell.vectors:
            shape = vector.shape(H)
            yield Parameter(f"{name}.{vector.name}", shape, "recurrent" if len(shape) > 1 else "vector", vector)
        if c.learned_state:
            for field in cell.state._fields:
                yield Parameter(f"{name}.initial.{field}", (H,), "state")
        if c.mlp:
            yield from _mlp(f"{name}.mlp", c)
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


def _mlp(name: str, c: ModelConfig) -> Iterator[Parameter]:
    M, H = mlp_width(c), c.hidden
    if c.norm != "none":
        yield from _norm(f"{name}.norm", H, c.norm)
    yield Parameter(f"{name}.weight_in", (2 * M, H), "input")
    yield Parameter(f"{name}.weight_out", (H, M), "input")


def layer_width(config: ModelConfig, layer: int) -> int:
    """D: how many entries the vector has that `layer` reads (V for the one-hot vector)."""
    if layer > 0:
        return config.hidden
    return {"one-hot": config.vocab_size, "embedding": config.embedding_size, "scalar": 1}[config.input]


def has_norm(config: ModelConfig, layer: int) -> bool:
    """Whether `layer` normalises what it reads."""
    return config.norm != "none" and reads_vector(config, layer)


def has_conv(config: ModelConfig, layer: int) -> bool:
    """Whether a short convolution stands before `layer`."""
    return config.conv > 1 and reads_vector(config, layer)


def reads_vector(config: ModelConfig, layer: int) -> bool:
    """Whether `layer` reads a vector worth the name: a one-hot vector or a lone number is none."""
    return layer > 0 or config.input == "embedding"


def mlp_width(config: ModelConfig) -> int:
    """M: inner width of the gated MLPs, 0 where there are none."""
    return max(1, round(config.mlp * config.hidden)) if config.mlp else 0


def is_residual(config: ModelConfig, layer: int) -> bool:
    """Whether `layer` adds what it reads to its output."""
    return config.residual and reads_vector(config, layer) and layer_width(config, layer) == config.hidden


def output_weight(config: ModelConfig) -> str:
    """Name of the matrix [V, H] of the output layer."""
    return "embedding.weight" if config.tied else "output.weight"


def initial_parameters(config: ModelConfig, seed: int = 0) -> Parameters:
    """Initial values, float32. The recipe: orthogonal recurrent blocks, table from N(0, 1) (or with
    the cell's own scales), the rest uniform in ±1/sqrt(fan in), biases zero, convolutions that change nothing; rows of
    the special symbols start at zero, so that an untrained one is neutral.

    Raises:
        ConfigError: the machine has too little memory to train them.
    """
    _check_memory(config)
    return {p.name: draw(p, config, seed) for p in parameter_spec(config)}


def _check_memory(config: ModelConfig) -> None:
    """Whether weights, gradients and two moments of each fit into memory: told before it is full."""
    count, there = sum(p.size for p in parameter_spec(config)), memory()
    if there is not None and 16 * count > there:
        room = f"{count:,} weights need {16e-9 * count:,.0f} GB to be trained, there are {1e-9 * there:,.1f}"
        raise ConfigError("hidden", config.hidden, f"a smaller network: {room}")


def memory() -> int | None:
    """Bytes of memory that the machine has; None: it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def draw(p: Parameter, config: ModelConfig, seed: int) -> np.ndarray:
    """The initial values of one parameter of a model, or of what is built on its layers."""
    rng = np.random.default_rng([seed, zlib.crc32(p.name.encode())])
    if p.vector is not None:
        return p.vector.draw(rng, config.hidden)
    if p.role == "scale":
        return np.ones(p.shape, np.float32)
    if p.role in ("bias", "state"):
        return np.zeros(p.shape, np.float32)
    if p.role == "conv":
        return np.repeat(np.eye(1, p.shape[1], p.shape[1] - 1, np.float32), p.shape[0], axis=0)
    if config.init == "normal":
        value = rng.standard_normal(p.shape, np.float32) * np.float32(config.init_std)
    elif p.role == "recurrent":
        value = np.concatenate([_orthogonal(rng, p.shape[1]) for _ in range(p.shape[0] // p.shape[1])])
    elif p.role == "table" or (p.role == "embedding" and not config.tied):
        value = rng.standard_normal(p.shape, np.float32)
        if p.role == "table" and (scales := cell_named(config.cell).table_scales):
            value *= np.repeat(np.array(scales, np.float32), config.hidden)
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


def state_fields(config: ModelConfig, layer: int) -> dict[str, int]:
    """The arrays [B, N] of the layer's state: N by name."""
    fields = dict.fromkeys(cell_named(config.cell).state._fields, config.hidden)
    return fields | ({"conv": (config.conv - 1) * layer_width(config, layer)} if has_conv(config, layer) else {})


def make_state(config: ModelConfig, array: Callable[[int, str, int], Any]) -> State:
    """The state whose arrays are what `array` gives for (layer, field, N)."""

    def layer_state(layer: int) -> LayerState:
        cell_state: Any = cell_named(config.cell).state
        fields = state_fields(config, layer)
        kind = with_conv(cell_state) if "conv" in fields else cell_state
        return kind(*(array(layer, field, width) for field, width in fields.items()))

    return State(tuple(layer_state(layer) for layer in range(config.layers)))


def map_state(function: Callable[..., Any], *states: State) -> State:
    """The state of what `function` makes of the arrays of `states`, one of each."""
    together = zip(*(state.layers for state in states), strict=True)
    return State(tuple(type(layers[0])(*map(function, *layers)) for layers in together))


@cache
def with_conv(kind: Any) -> Any:
    """The kind of state that has one more array, `conv`."""
    return namedtuple(f"{kind.__name__}AndConv", (*kind._fields, "conv"))


def split_state(state: LayerState, kind: type[LayerState]) -> tuple[LayerState, Any]:
    """A layer's state as that of its cell, of this kind, and that of its convolution, None where it has none."""
    return kind(*state[: len(kind._fields)]), getattr(state, "conv", None)


def join_state(state: LayerState, conv: Any) -> LayerState:
    """What `split_state` took apart."""
    kind: Any = type(state)
    return state if conv is None else with_conv(kind)(*state, conv)


def is_learned(config: ModelConfig, field: str) -> bool:
    """Whether this array of a state begins with a trained value: a convolution has read zeros before any text."""
    return config.learned_state and field != "conv"


def initial_state(config: ModelConfig, parameters: Mapping[str, np.ndarray], batch_size: int) -> State:
    """The state before any text: zeros, or the trained initial state, for `batch_size` sequences."""

    def value(layer: int, field: str, width: int) -> np.ndarray:
        if not is_learned(config, field):
            return np.zeros((batch_size, width), np.float32)
        return np.repeat(parameters[f"layers.{layer}.initial.{field}"][None], batch_size, axis=0)

    return make_state(config, value)
