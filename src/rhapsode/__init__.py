"""Train a recurrent language model on your own text, in minutes, on a CPU; generate, score and serve text with it.

    import rhapsode
    model = rhapsode.train("books/*.txt", minutes=3)
    model.save("austen.safetensors")
    model = rhapsode.load("austen.safetensors")
    model.generate("It was", length=400, temperature=0.8, seed=1)

The public names are imported when they are first used, so that ``import rhapsode`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rhapsode.averaging import average
    from rhapsode.blending import blend
    from rhapsode.classify.classifier import SequenceClassifier
    from rhapsode.config import ClassifierConfig, CorpusConfig, ModelConfig, SamplingConfig, TrainConfig
    from rhapsode.draft import Draft
    from rhapsode.engine import Engine
    from rhapsode.errors import RhapsodeError, TrainingInterrupted
    from rhapsode.model import Model, load
    from rhapsode.modelfile import ModelFile
    from rhapsode.session import Session
    from rhapsode.text.corpus import Corpus, prepare
    from rhapsode.training.api import train

_HOME = {
    "ClassifierConfig": "config",
    "Corpus": "text.corpus",
    "CorpusConfig": "config",
    "Draft": "draft",
    "Engine": "engine",
    "Model": "model",
    "ModelConfig": "config",
    "ModelFile": "modelfile",
    "RhapsodeError": "errors",
    "SamplingConfig": "config",
    "SequenceClassifier": "classify.classifier",
    "Session": "session",
    "TrainConfig": "config",
    "TrainingInterrupted": "errors",
    "average": "averaging",
    "blend": "blending",
    "load": "model",
    "prepare": "text.corpus",
    "train": "training.api",
}
"""Where each public name lives."""

__all__ = [
    "ClassifierConfig",
    "Corpus",
    "CorpusConfig",
    "Draft",
    "Engine",
    "Model",
    "ModelConfig",
    "ModelFile",
    "RhapsodeError",
    "SamplingConfig",
    "SequenceClassifier",
    "Session",
    "TrainConfig",
    "TrainingInterrupted",
    "average",
    "blend",
    "load",
    "prepare",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rhapsode")
    if name not in _HOME:
        raise AttributeError(f"module 'rhapsode' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"rhapsode.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
