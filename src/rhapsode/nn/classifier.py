"""A sequence classifier: its parameters, and its equations in numpy.

For a sequence of N symbols, with the layers of `rhapsode.nn` below their output layer:

    f_1 … f_N   what a stack of layers gives that reads the sequence from its beginning, [H] each
    b_1 … b_N   what a second stack with weights of its own gives, which reads from the end (bidirectional; Schuster &
                Paliwal 1997, doi:10.1109/78.650093): b_N comes first
    s_t         f_t and b_t side by side, [W], W = 2H; without the second stack f_t, W = H

    z           f_N and b_1                                     pooling = last
                1/N Σ s_t                                       mean
                max_t s_t, each entry for itself                max
                Σ a_t s_t,  a = softmax_t q·tanh(W_a s_t + c)   attention (Yang et al. 2016, doi:10.18653/v1/N16-1174)
    logits      W_out z + b_out

Sequences of a batch are padded at their ends to a common length T. What stands there changes nothing.

    forward.NAME, backward.NAME     the parameters of each stack, by the names of `rhapsode.nn.spec`
    attention.weight                [A, W]
    attention.bias                  [A]
    attention.query                 [1, A]
    output.weight                   [C, W]
    output.bias                     [C]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from rhapsode.config import ClassifierConfig, ModelConfig
from rhapsode.nn.forward import hidden, under
from rhapsode.nn.spec import Parameter, Parameters, draw, initial_state, stack_spec


def directions(head: ClassifierConfig) -> tuple[str, ...]:
    """The stacks, by the prefix of their parameters."""
    return ("forward", "backward") if head.bidirectional else ("forward",)


def pooled_width(model: ModelConfig, head: ClassifierConfig) -> int:
    """W: how many entries s_t and z have."""
    return model.hidden * len(directions(head))


def classifier_spec(model: ModelConfig, head: ClassifierConfig) -> list[Parameter]:
    """The parameters, in a fixed order."""
    return list(_parameters(model, head))


def _parameters(model: ModelConfig, head: ClassifierConfig) -> Iterator[Parameter]:
    W, A = pooled_width(model, head), head.attention_size
    for direction in directions(head):
        for p in stack_spec(model):
            yield replace(p, name=f"{direction}.{p.name}")
    if head.pooling == "attention":
        yield Parameter("attention.weight", (A, W), "input")
        yield Parameter("attention.bias", (A,), "bias")
        yield Parameter("attention.query", (1, A), "output")
    yield Parameter("output.weight", (head.classes, W), "output")
    yield Parameter("output.bias", (head.classes,), "bias")


def initial_classifier(model: ModelConfig, head: ClassifierConfig, seed: int = 0) -> Parameters:
    """Initial values, float32 (see `rhapsode.nn.spec.initial_parameters`)."""
    return {p.name: draw(p, model, seed) for p in classifier_spec(model, head)}


def logits(
    model: ModelConfig,
    head: ClassifierConfig,
    parameters: Mapping[str, np.ndarray],
    ids: np.ndarray,
    lengths: np.ndarray,
) -> np.ndarray:
    """Logits [B, C] for ids [T, B] whose sequences are as long as `lengths` [B] says."""
    back = reversal(len(ids), lengths)
    outputs = []
    for direction in directions(head):
        own = under(parameters, f"{direction}.")
        read = ids if direction == "forward" else np.take_along_axis(ids, back, 0)
        given, _ = hidden(model, own, read, initial_state(model, own, len(lengths)))
        outputs.append(given if direction == "forward" else np.take_along_axis(given, back[..., None], 0))
    z = pool(head, parameters, np.concatenate(outputs, -1), lengths)
    return z @ parameters["output.weight"].T + parameters["output.bias"]


def reversal(steps: int, lengths: np.ndarray) -> np.ndarray:
    """Where each time step [T, B] stands when every sequence is turned round within its length. Its own inverse."""
    t = np.arange(steps)[:, None]
    return np.where(t < lengths, lengths - 1 - t, t)


def is_real(steps: int, lengths: np.ndarray) -> np.ndarray:
    """Which time steps [T, B] are no padding."""
    return np.arange(steps)[:, None] < lengths


def pool(
    head: ClassifierConfig, parameters: Mapping[str, np.ndarray], states: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """z [B, W] of states s [T, B, W]."""
    real = is_real(len(states), lengths)[..., None]
    if head.pooling == "last":
        return np.take_along_axis(states, last_steps(head, states, lengths)[None], 0)[0]
    if head.pooling == "mean":
        return np.where(real, states, 0).sum(0) / lengths[:, None].astype(np.float32)
    if head.pooling == "max":
        return np.where(real, states, -np.inf).max(0)
    weights, _ = attention(parameters, states, lengths)
    return weighted(weights, states)


def weighted(weights: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Σ a_t s_t [B, W] for a [T, B]."""
    return np.einsum("tb,tbw->bw", weights, states)


def last_steps(head: ClassifierConfig, states: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The time step [B, W] at which the stack that gives each entry of s makes its last step."""
    H = states.shape[-1] // len(directions(head))
    return np.where(np.arange(states.shape[-1]) < H, lengths[:, None] - 1, 0)


def attention(
    parameters: Mapping[str, np.ndarray], states: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """a [T, B], which sums to 1 over each sequence, and tanh(W_a s + c) [T, B, A]."""
    u = np.tanh(states @ parameters["attention.weight"].T + parameters["attention.bias"])
    scores = np.where(is_real(len(states), lengths), u @ parameters["attention.query"][0], -np.inf)
    weights = np.exp(scores - scores.max(0))
    return weights / weights.sum(0), u
