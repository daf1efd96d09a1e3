"""Several networks joined in one, whose logits are the mean of theirs (an ensemble: Hansen and Salamon 1990).

    h = [h¹ … hⁿ]     W_hh = diag(W_hh¹ … W_hhⁿ)     table = [table¹ … tableⁿ]     W_out = [W_out¹ … W_outⁿ] / n

gate by gate; so too of other layers, and the output's bias is the mean. What they make is a network like any other, n
times as wide, and nothing that uses it needs to know. An axis of a parameter that grows n times when networks are
joined is one of units; a parameter with two of them becomes block-diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rhapsode.config import ModelConfig, is_own
from rhapsode.errors import ConfigError
from rhapsode.nn.spec import Parameter, Parameters, initial_parameters, parameter_spec

APART = 1_000_003
"""Between the seeds of networks that are joined."""


def part_config(config: ModelConfig, networks: int) -> ModelConfig:
    """Each of so many networks of which the one of `config` is made.

    Raises:
        ConfigError: the one of `config` cannot be made of so many.
    """
    if networks == 1:
        return config
    used = {"norm": config.norm != "none", "mlp": config.mlp, "conv": config.conv > 1, "tied": config.tied}
    for name in (name for name in used if used[name]):  # nothing may mix their units
        raise ConfigError("networks", networks, f"1 with {name} {getattr(config, name)}")
    if is_own(config.cell):
        raise ConfigError("networks", networks, "1 with a cell of your own")
    embedding = config.embedding_size if config.input == "embedding" else networks
    for name, width in (("hidden", config.hidden), ("embedding_size", embedding)):
        if width % networks:
            raise ConfigError(name, width, f"a multiple of {networks}, with {networks} networks")
    return replace(config, hidden=config.hidden // networks, embedding_size=embedding // networks)


def initial(config: ModelConfig, networks: int, seed: int) -> Parameters:
    """Initial weights of the network of `config`: those of so many by themselves, with the seeds `seed_of`, joined."""
    if networks == 1:
        return initial_parameters(config, seed)
    part = part_config(config, networks)
    return join([initial_parameters(part, seed_of(seed, number)) for number in range(networks)], config)


def seed_of(seed: int, number: int) -> int:
    """The seed of a network, by its number from 0; the first has the run's own."""
    return (seed + APART * number) % 2**63


def join(parts: Sequence[Parameters], config: ModelConfig) -> Parameters:
    """The weights of the network of `config` that is made of these."""
    networks, part = len(parts), part_config(config, len(parts))
    joined = {p.name: np.zeros(p.shape, np.float32) for p in parameter_spec(config)}
    for number, weights in enumerate(parts):
        for own in parameter_spec(part):
            whole, value = joined[own.name], weights[own.name]
            share = value / np.float32(networks) if own.name in shared(weights) else value
            whole[_places(own.shape, whole.shape, part.hidden, networks, number)] += share
    return joined


def split(parameters: Parameters, config: ModelConfig, networks: int) -> list[Parameters]:
    """What `join` made one of, except that each has the mean of their biases of the output; whatever joins the networks
    to each other is left out. Joined again they make the same network."""
    part = part_config(config, networks)

    def own_values(own: Parameter, number: int) -> np.ndarray:
        whole = parameters[own.name]
        value = whole[_places(own.shape, whole.shape, part.hidden, networks, number)]
        return value * np.float32(networks) if own.name == "output.weight" else value

    return [{p.name: own_values(p, number) for p in parameter_spec(part)} for number in range(networks)]


def by_blocks(parameters: Parameters, config: ModelConfig, networks: int) -> Parameters:
    """Those parameters [N, K] that are block-diagonal, without what is 0: the networks' own, one below the other."""
    found = {}
    for part in block_diagonal(config, networks):
        value = parameters[part.name]
        own = [value[where] for where in _blocks(part, value.shape, config, networks)]
        if np.count_nonzero(value) == sum(np.count_nonzero(block) for block in own):
            found[part.name] = np.concatenate(own)
    return found


def from_blocks(stored: Parameters, config: ModelConfig, networks: int) -> Parameters:
    """What `by_blocks` was given, of the parameters that it found."""
    shapes = {p.name: p.shape for p in parameter_spec(config)}
    found = {}
    for part in block_diagonal(config, networks):
        if part.name in stored:
            found[part.name] = np.zeros(shapes[part.name], np.float32)
            own = np.split(stored[part.name], networks)
            for where, block in zip(_blocks(part, shapes[part.name], config, networks), own, strict=True):
                found[part.name][where] = block
    return found


def block_diagonal(config: ModelConfig, networks: int) -> list[Parameter]:
    """What one of the networks has instead of each parameter of which all axes are of units."""
    pairs = zip(parameter_spec(part_config(config, networks)), parameter_spec(config), strict=True)
    return [p for p, q in pairs if len(p.shape) == 2 and all(a < b for a, b in zip(p.shape, q.shape, strict=True))]


def _blocks(
    part: Parameter, shape: tuple[int, ...], config: ModelConfig, networks: int
) -> list[tuple[np.ndarray, ...]]:
    return [_places(part.shape, shape, config.hidden // networks, networks, number) for number in range(networks)]


def shared(parameters: Parameters) -> Parameters:
    """Those of the output layer, in which the networks meet."""
    return {name: value for name, value in parameters.items() if name.startswith("output.")}


def _places(
    own: tuple[int, ...], joined: tuple[int, ...], hidden: int, networks: int, number: int
) -> tuple[np.ndarray, ...]:
    """Where the values [own] of one network are in the parameter [joined]: an index of each axis."""
    return np.ix_(
        *(
            np.arange(size) if size == whole else _units(size, hidden, networks, number)
            for size, whole in zip(own, joined, strict=True)
        )
    )


def _units(size: int, hidden: int, networks: int, number: int) -> np.ndarray:
    """Where an axis of units of one network, as many as `size`, is in that of all: the gates stay apart."""
    gates = size // hidden if size % hidden == 0 else 1
    each = size // gates
    return (np.arange(gates)[:, None] * networks * each + number * each + np.arange(each)).ravel()
