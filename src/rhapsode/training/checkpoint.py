"""A checkpoint: all that a run needs to go on as if it had never stopped, in one safetensors file.

Tensors: ``parameters.<name>``, ``optimizer.<slot>.<name>`` and ``state.<layer>.<field>`` (the carried state). The
metadata entry ``rhapsode-checkpoint`` holds the progress as JSON. There is no random state to keep: batches and masks
are functions of (seed, step).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rhapsode.config import ModelConfig
from rhapsode.errors import RunError
from rhapsode.nn.spec import Parameters, State, make_state, parameter_spec
from rhapsode.tensorfile import TensorFile, write
from rhapsode.training.progress import Progress

ENTRY = "rhapsode-checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """Weights, optimiser, carried state, progress: at the same step."""

    parameters: Parameters
    optimizer: Parameters
    state: State
    progress: Progress

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all (OutputError)."""
        tensors = {f"parameters.{k}": v for k, v in self.parameters.items()}
        tensors |= {f"optimizer.{k}": v for k, v in self.optimizer.items()}
        for index, layer in enumerate(self.state.layers):
            tensors |= {f"state.{index}.{k}": v for k, v in layer._asdict().items()}
        write(path, ENTRY, self.progress.to_json(), tensors)

    @classmethod
    def load(cls, path: Path, config: ModelConfig) -> Checkpoint:
        """Read the file; it must fit `config`.

        Raises:
            RunError: it is missing, damaged, or of another model.
        """
        file = TensorFile(path, ENTRY, "a checkpoint", RunError)
        parameters = {p.name: file.tensor(f"parameters.{p.name}", p.shape) for p in parameter_spec(config)}
        state = make_state(config, lambda layer, field, n: file.tensor(f"state.{layer}.{field}", (None, n)))
        return cls(parameters, file.under("optimizer."), state, Progress.from_json(file.head))
