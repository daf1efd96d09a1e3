"""The one artefact: a model in one `.safetensors` file, with nothing in it that could run.

Format 1. A safetensors file (https://github.com/huggingface/safetensors) whose tensors are exactly those of
`rhapsode.nn.spec` for its configuration, float32, and whose metadata has one entry, ``rhapsode``, a JSON object:

    format      1
    config      the ModelConfig, by field
    tokenizer   the tokenizer, as its `to_json` gives it
    training    how it was trained: configuration, text, steps, seconds, losses (free form, for people)

Reading checks, in this order: that the file is one of safetensors, that it is rhapsode's, that its format is known,
that its configuration and tokenizer are whole and agree, and that every tensor has the name, shape and type that the
configuration asks for. Sizes are compared before anything is allocated.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.errors import ConfigError, ModelFileError, TokenizerError
from rhapsode.nn.spec import Parameters, parameter_spec
from rhapsode.tensorfile import TensorFile, write
from rhapsode.text.tokenizer import Tokenizer, tokenizer_from_json

FORMAT, ENTRY = 1, "rhapsode"
BEST, LAST = "best.safetensors", "last.safetensors"
"""Names of the model files in a run folder."""


@dataclass(frozen=True)
class ModelFile:
    """Weights, configuration, tokenizer, and how they came about."""

    config: ModelConfig
    tokenizer: Tokenizer
    parameters: Parameters
    training: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        head = {
            "format": FORMAT,
            "config": self.config.to_json(),
            "tokenizer": self.tokenizer.to_json(),
            "training": self.training,
        }
        write(path, ENTRY, head, self.parameters)

    @classmethod
    def load(cls, path: str | Path) -> ModelFile:
        """Read and check the model file at `path`, or the best one of the run folder at `path`.

        Raises:
            ModelFileError: there is none, or it is damaged or of another kind; says what was found and expected.
        """
        path = find(path)
        file = TensorFile(path, ENTRY, "a model", ModelFileError)
        head = file.head
        if head.get("format") != FORMAT:
            raise ModelFileError(f"{path}: format {head.get('format')!r} is not known; this version reads {FORMAT}")
        try:
            config = ModelConfig.from_json(head.get("config"))
            tokenizer = tokenizer_from_json(head.get("tokenizer"))
        except (ConfigError, TokenizerError) as error:
            raise ModelFileError(f"{path}: {error}") from None
        if tokenizer.vocab_size != config.vocab_size:
            raise ModelFileError(
                f"{path}: the tokenizer has {tokenizer.vocab_size} symbols, the configuration {config.vocab_size}"
            )
        training = head.get("training")
        return cls(config, tokenizer, _parameters(file, config), training if isinstance(training, dict) else {})

    def digest(self) -> str:
        """A hash of everything that decides the model's predictions; ties a saved session to its model."""
        digest = hashlib.sha256(json.dumps([self.config.to_json(), self.tokenizer.to_json()]).encode())
        for p in parameter_spec(self.config):
            digest.update(np.ascontiguousarray(self.parameters[p.name]).data)
        return digest.hexdigest()


def find(path: str | Path) -> Path:
    """The model file that `path` means: itself, or the best (else the last) one of a run folder."""
    path = Path(path)
    try:
        folder = path.is_dir()
        for file in (path / BEST, path / LAST) if folder else (path,):
            if file.is_file():
                return file
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    if folder:
        raise ModelFileError(f"{path}: a folder without a model file ({BEST} or {LAST})")
    raise ModelFileError(f"{path}: no such model file or run folder")


def _parameters(file: TensorFile, config: ModelConfig) -> Parameters:
    """The tensors, if they are those that the configuration asks for."""
    spec = parameter_spec(config)
    for name in file.names - {p.name for p in spec}:
        raise ModelFileError(f"{file.path}: tensor {name} is none of this configuration's")
    return {p.name: file.tensor(p.name, p.shape) for p in spec}
