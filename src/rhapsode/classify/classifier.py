"""`SequenceClassifier`: what names the class of a sequence, and learns to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rhapsode.classify.file import ClassifierFile
from rhapsode.classify.inputs import Input, indices
from rhapsode.classify.predict import Logits, open_classifier, probabilities
from rhapsode.classify.report import Label, Report
from rhapsode.classify.training import Examples, Watch, classifier_fields, encode, learn, measure
from rhapsode.errors import ConfigError, ModelFileError, TrainingInterrupted

OF_FILES = {"documents", "held_out", "field", "column", "encoding", "errors", "split_seed"}
"""Fields of `CorpusConfig` that are about files."""


class SequenceClassifier:
    """A recurrent network that names the class of a sequence: of a text, by any tokenizer, or of a row of ids.

        classifier = SequenceClassifier(pooling="mean", hidden=64)
        classifier.train(["Rossi", "Bianchi", "Smith"], ["Italian", "Italian", "English"], num_epochs=20)
        classifier.predict("Ferrari")               # 'Italian'
        classifier.probabilities("Ferrari")         # {'English': 0.03, 'Italian': 0.97}
        classifier.save("names.safetensors")
        classifier = SequenceClassifier.load("names.safetensors")

    Once it is trained it runs without any framework, and may be shared by threads.
    """

    def __init__(self, **fields: Any):
        """
        Args:
            fields: by name, any field of `ClassifierConfig`, of `ModelConfig` (which describes each stack of layers)
                and of `TrainConfig` but `rhapsode.config.NOT_OF_CLASSIFIERS`, and `tokenizer`, `vocab_size` and
                `lowercase` (with ids, `vocab_size` is how many there are). What is not named is planned to suit the
                examples.

        Raises:
            ConfigError: a field is unknown or its value is not allowed.
        """
        for name in OF_FILES & fields.keys():
            raise ConfigError(name, fields[name], "only fields of a classifier; how files are read is none")
        self._fields = fields
        classifier_fields(fields)
        self._file: ClassifierFile | None = None

    def train(
        self,
        inputs: Sequence[Input],
        targets: Sequence[Label],
        learning_rate: float | None = None,
        num_epochs: float | None = None,
        *,
        held_out: Examples | None = None,
        watch: Watch = lambda epoch, report: None,
    ) -> SequenceClassifier:
        """Learn from `inputs`, texts or rows of ids, and their classes `targets`, from new weights; return itself.

        Args:
            learning_rate, num_epochs: the fields `lr` and `epochs`.
            held_out: inputs and targets that are measured on, not learned from; nothing is chosen by them. The figures
                are kept in `file.training["held_out"]`.
            watch: called after every epoch, with the report on `held_out` where it is given.

        Raises:
            TrainingInterrupted: Ctrl-C (or SIGTERM) ended the training after the step at hand. A KeyboardInterrupt;
                its attribute `model` is this classifier, which keeps what it has learned so far.
            ConfigError: an input is empty or of another kind than the first, a target is neither text nor a whole
                number, all targets are of one class, or one of `held_out` is of none of the classes.
            TrainingError: the loss is no longer finite.
        """
        named = {"lr": learning_rate, "epochs": num_epochs}
        fields = self._fields | {name: value for name, value in named.items() if value is not None}
        self._become(learn((inputs, targets), held_out, classifier_fields(fields), watch))
        if self.file.training["interrupted"]:
            raise TrainingInterrupted(self)
        return self

    def _become(self, file: ClassifierFile) -> None:
        self._file = file
        self.__dict__.pop("_logits", None)

    @property
    def file(self) -> ClassifierFile:
        """What was learned.

        Raises:
            ModelFileError: nothing was.
        """
        if self._file is None:
            raise ModelFileError("the classifier has not been trained: call train, or load one")
        return self._file

    @cached_property
    def _logits(self) -> Logits:
        return open_classifier(self.file)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes, in the order of the columns of `distributions`."""
        return self.file.labels

    def predict(self, given: Input) -> Label:
        """The most probable class of a sequence."""
        return self.labels[int(self.distributions([given])[0].argmax())]

    def probabilities(self, given: Input) -> dict[Label, float]:
        """The probability of every class of a sequence."""
        return dict(zip(self.labels, self.distributions([given])[0].tolist(), strict=True))

    def distributions(self, inputs: Sequence[Input]) -> np.ndarray:
        """The probabilities [N, C] of N sequences, float64; much faster than one at a time.

        Raises:
            ConfigError: an input is empty or of another kind than what was learned from.
        """
        if not len(inputs):
            return np.empty((0, len(self.labels)))
        return probabilities(self._logits, encode(self.file, inputs), self.file.length)

    def evaluate(self, inputs: Sequence[Input], targets: Sequence[Label]) -> Report:
        """How good it is on sequences whose classes are known.

        Raises:
            ConfigError: there are none, or as for `distributions`; or a target is a class that was not learned.
        """
        return measure(self.file, self._logits, encode(self.file, inputs), indices(targets, self.labels, inputs))

    def save(self, path: str | Path) -> None:
        """Write the classifier's file (`rhapsode.classify.file`), whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        self.file.save(path)

    @classmethod
    def load(cls, path: str | Path) -> SequenceClassifier:
        """The classifier in a file. `train` would train it anew, with the fields that were planned.

        Raises:
            ModelFileError: there is none, or it is damaged or of another kind.
        """
        classifier = cls()
        classifier._become(ClassifierFile.load(path))
        return classifier
