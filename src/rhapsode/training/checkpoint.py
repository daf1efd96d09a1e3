"""A checkpoint: all that a run needs to go on as if it had never stopped, in one safetensors file.

Tensors: ``parameters.<name>``, ``optimizer.<slot>.<name>`` and ``state.<layer>.<field>`` (the carried state). The
metadata entry ``rhapsode-checkpoint`` holds the progress as JSON. There is no random state to keep: batches and masks
are functions of (seed, step).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.errors import RunError
from rhapsode.files import atomic
from rhapsode.nn.cells import CELLS
from rhapsode.nn.spec import Parameters, State, parameter_spec
from rhapsode.training.progress import Progress

KEY = "rhapsode-checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """Weights, optimiser, carried state, progress: at the same step."""

    parameters: Parameters
    optimizer: Parameters
    state: State
    progress: Progress

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all (OutputError)."""
        from safetensors.numpy import save

        tensors = {f"parameters.{k}": v for k, v in self.parameters.items()}
        tensors |= {f"optimizer.{k}": v for k, v in self.optimizer.items()}
        for index, layer in enumerate(self.state.layers):
            tensors |= {f"state.{index}.{k}": np.ascontiguousarray(v) for k, v in layer._asdict().items()}
        data = save(tensors, metadata={KEY: json.dumps(self.progress.to_json())})
        with atomic(path) as file:
            file.write(data)

    @classmethod
    def load(cls, path: Path, config: ModelConfig) -> Checkpoint:
        """Read the file; it must fit `config`.

        Raises:
            RunError: it is missing, damaged, or of another model.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise RunError(f"{path}: no checkpoint to go on from")
        try:
            with safe_open(path, framework="numpy") as file:
                progress = Progress.from_json(json.loads((file.metadata() or {})[KEY]))
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise RunError(f"{path}: not a whole checkpoint: {error}") from None
        parameters = _under(tensors, "parameters.")
        for p in parameter_spec(config):
            if p.name not in parameters or parameters[p.name].shape != p.shape:
                found = parameters[p.name].shape if p.name in parameters else "nothing"
                raise RunError(f"{path}: parameter {p.name}: found {found}, expected {p.shape}")
        kind = CELLS[config.cell].state
        try:
            layers = [kind(**_under(tensors, f"state.{layer}.")) for layer in range(config.layers)]
        except TypeError:
            raise RunError(f"{path}: its carried state is not that of the model") from None
        return cls(parameters, _under(tensors, "optimizer."), State(tuple(layers)), progress)


def _under(tensors: Parameters, prefix: str) -> Parameters:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
