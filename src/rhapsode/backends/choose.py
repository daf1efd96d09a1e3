"""Which backend computes: a learner of the one that was asked for, imported only then."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rhapsode.backends.base import Learner
from rhapsode.backends.classifier import ClassifierLearner
from rhapsode.backends.joined import JoinedLearner
from rhapsode.config import ClassifierConfig, ModelConfig, TrainConfig, is_own
from rhapsode.errors import ConfigError, MissingDependency
from rhapsode.nn.spec import Parameters


def make_learner(model: ModelConfig, train: TrainConfig, parameters: Parameters) -> Learner:
    """The learner on the backend that `train.backend` names (`resolve_backend`), with these weights.

    Raises:
        MissingDependency: the backend is not installed.
        ConfigError: the model cannot be made of as many networks as `train` says.
    """
    if train.networks > 1:
        return JoinedLearner(model, train, parameters, make_learner)
    if resolve_backend(train.backend, model.cell) == "native":
        from rhapsode.backends.native.learner import NativeLearner

        return NativeLearner(model, train, parameters)
    from rhapsode.backends.torch.learner import TorchLearner

    return TorchLearner(model, train, parameters)


def make_classifier_learner(
    model: ModelConfig, head: ClassifierConfig, train: TrainConfig, parameters: Parameters
) -> ClassifierLearner:
    """The learner on the backend that `train.backend` names, with these weights.

    Raises:
        MissingDependency: the backend is not installed.
    """
    if resolve_backend(train.backend) == "native":
        from rhapsode.backends.native.classifier import NativeClassifier

        return NativeClassifier(model, head, train, parameters)
    from rhapsode.backends.torch.classifier import TorchClassifier

    return TorchClassifier(model, head, train, parameters)


def resolve_backend(backend: str, cell: str = "") -> str:
    """`auto` is the native backend where it is built, else torch; a cell of the user's own runs on torch alone.

    Raises:
        ConfigError: the backend does not have the cell.
        MissingDependency: the backend is not installed.
    """
    if is_own(cell):
        if backend == "native":
            raise ConfigError("backend", backend, f"torch, with cell {cell}")
        backend = "torch"
    found = {"native": _has("rhapsode._native"), "torch": _has("torch")}
    if backend == "auto":
        backend = "native" if found["native"] or not found["torch"] else "torch"
    if not found[backend]:
        cure = {"native": "pip install rhapsode, with a C++17 compiler", "torch": "pip install 'rhapsode[torch]'"}
        raise MissingDependency(f"the {backend} backend is not installed: {cure[backend]}")
    return backend


def load_cell(path: str | Path) -> str:
    """Run a Python file that has a cell of the user's own, and return the cell's name (`torch.own_cell`).

    Raises:
        ConfigError: it cannot be run, or what it has is no cell.
        MissingDependency: torch is not installed.
    """
    resolve_backend("torch")
    from rhapsode.backends.torch import own_cell

    return own_cell.load_cell(path)


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
