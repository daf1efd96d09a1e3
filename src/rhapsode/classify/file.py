"""A classifier in one `.safetensors` file, with nothing in it that could run.

Format 1. The tensors are exactly those of `rhapsode.nn.classifier` for its configuration, float32. The metadata has one
entry, ``rhapsode``, a JSON object:

    kind        "classifier"
    format      1
    model       the ModelConfig of each stack, by field
    classifier  the ClassifierConfig, by field
    labels      the names of the classes: text or whole numbers, in the order of the logits
    length      the most symbols that are read as one piece (`rhapsode.classify.examples`)
    tokenizer   the tokenizer, as its `to_json` gives it; null where sequences are ids
    training    how it was trained (free form, for people)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rhapsode.classify.report import Label
from rhapsode.config import ClassifierConfig, ModelConfig
from rhapsode.errors import ConfigError, ModelFileError, TokenizerError
from rhapsode.modelfile import CLASSIFIER, ENTRY
from rhapsode.nn.classifier import classifier_spec
from rhapsode.nn.spec import Parameters
from rhapsode.tensorfile import TensorFile, write
from rhapsode.text.tokenizer import Tokenizer, tokenizer_from_json

FORMAT = 1


@dataclass(frozen=True)
class ClassifierFile:
    """Weights, configuration, labels, tokenizer, and how they came about."""

    model: ModelConfig
    head: ClassifierConfig
    labels: tuple[Label, ...]
    length: int
    tokenizer: Tokenizer | None
    parameters: Parameters
    training: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        head = {
            "kind": CLASSIFIER,
            "format": FORMAT,
            "model": self.model.to_json(),
            "classifier": self.head.to_json(),
            "labels": list(self.labels),
            "length": self.length,
            "tokenizer": self.tokenizer.to_json() if self.tokenizer else None,
            "training": self.training,
        }
        write(path, ENTRY, head, self.parameters)

    @classmethod
    def load(cls, path: str | Path) -> ClassifierFile:
        """Read and check the file at `path`.

        Raises:
            ModelFileError: there is none, or it is damaged or of another kind; says what was found and expected.
        """
        if Path(path).is_dir():
            raise ModelFileError(f"{path}: a folder; expected the file of a classifier, as train-classifier writes it")
        file = TensorFile(path, ENTRY, "a classifier", ModelFileError)
        head = file.head
        if head.get("kind") != CLASSIFIER:
            raise ModelFileError(f"{path}: a model of rhapsode, but no classifier")
        if head.get("format") != FORMAT:
            raise ModelFileError(f"{path}: format {head.get('format')!r} is not known; this version reads {FORMAT}")
        try:
            model = ModelConfig.from_json(head.get("model"))
            config = ClassifierConfig.from_json(head.get("classifier"))
            tokenizer = None if head.get("tokenizer") is None else tokenizer_from_json(head["tokenizer"])
        except (ConfigError, TokenizerError) as error:
            raise ModelFileError(f"{path}: {error}") from None
        if tokenizer and tokenizer.vocab_size != model.vocab_size:
            raise ModelFileError(
                f"{path}: the tokenizer has {tokenizer.vocab_size} symbols, the configuration {model.vocab_size}"
            )
        if model.tied:
            raise ModelFileError(f"{path}: tied: found True, allowed: False in a classifier")
        length, training = head.get("length"), head.get("training")
        if type(length) is not int or length < 1:
            raise ModelFileError(f"{path}: length: found {length!r}, expected a whole number from 1")
        labels = _labels(path, head.get("labels"), config.classes)
        expected = {p.name: p.shape for p in classifier_spec(model, config)}
        for name in file.names - expected.keys():
            raise ModelFileError(f"{path}: tensor {name} is none of this configuration's")
        parameters = {name: file.tensor(name, shape) for name, shape in expected.items()}
        return cls(model, config, labels, length, tokenizer, parameters, training if isinstance(training, dict) else {})


def _labels(path: str | Path, found: Any, classes: int) -> tuple[Label, ...]:
    if not isinstance(found, list) or not all(type(label) in (str, int) for label in found):
        raise ModelFileError(f"{path}: labels: expected a list of text or whole numbers")
    if len(found) != classes or len(set(found)) != classes:
        raise ModelFileError(f"{path}: labels: found {len(set(found))} different ones, expected {classes}")
    return tuple(found)
