"""From sequences with their classes to a classifier's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rhapsode import __version__
from rhapsode.backends.choose import make_classifier_learner, resolve_backend
from rhapsode.classify.examples import Batches, cut
from rhapsode.classify.file import ClassifierFile
from rhapsode.classify.fit import Epoch, fit
from rhapsode.classify.inputs import Input, classes_of, encoded, indices, make_tokenizer
from rhapsode.classify.plan import planned_model, planned_training
from rhapsode.classify.predict import Logits, open_classifier, probabilities
from rhapsode.classify.report import Label, Report
from rhapsode.config import NOT_OF_CLASSIFIERS, ClassifierConfig, CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError
from rhapsode.nn.classifier import initial_classifier
from rhapsode.training.fields import Groups, split_fields

Examples = tuple[Sequence[Input], Sequence[Label]]
"""Inputs, and the class of each."""
Watch = Callable[[Epoch, Report | None], None]


def classifier_fields(fields: Mapping[str, Any]) -> Groups:
    """Named fields by the configuration that has them, checked.

    Raises:
        ConfigError: a field is none of a classifier's, or its value is not allowed.
    """
    for name in NOT_OF_CLASSIFIERS:
        if name in fields:
            raise ConfigError(name, fields[name], "only fields of a classifier, which has no such")
    groups = split_fields(fields, (ClassifierConfig, CorpusConfig, ModelConfig, TrainConfig))
    ClassifierConfig(classes=2, **groups[ClassifierConfig])
    ModelConfig(vocab_size=2, **groups[ModelConfig])
    for cls in (CorpusConfig, TrainConfig):
        cls(**groups[cls])
    return groups


def learn(
    examples: Examples,
    held_out: Examples | None,
    fields: Groups,
    watch: Watch,
    after_step: Callable[[Epoch], None] = lambda epoch: None,
) -> ClassifierFile:
    """Train on `examples`. On `held_out` it is measured, after every epoch and at the end; nothing is chosen by it.

    Raises:
        ConfigError: the examples are none (see `rhapsode.classify.inputs`).
        TrainingError: the loss is no longer finite.
    """
    inputs, targets = examples
    labels = classes_of(targets)
    classes = indices(targets, labels, inputs)
    tokenizer = make_tokenizer(inputs, CorpusConfig(**fields[CorpusConfig]))
    sequences = encoded(inputs, tokenizer)
    symbols = tokenizer.vocab_size if tokenizer else _ids(sequences, fields)
    head = ClassifierConfig(classes=len(labels), **fields[ClassifierConfig])
    model = planned_model(fields[ModelConfig], symbols, tokenizer.specials if tokenizer else 0)
    train = planned_training(fields[TrainConfig], len(sequences))
    file = ClassifierFile(model, head, labels, train.length, tokenizer, initial_classifier(model, head, train.seed))
    test = None if held_out is None else (encode(file, held_out[0]), indices(held_out[1], labels, held_out[0]))
    learner = make_classifier_learner(model, head, train, file.parameters)

    def after_epoch(epoch: Epoch) -> None:
        watch(epoch, None if test is None else measure(file, learner.logits, *test))

    batches = Batches(cut(sequences, train.length), classes, train.batch_size, train.seed)
    outcome = fit(learner, batches, train, after_step, after_epoch)
    told = {"rhapsode": __version__, "backend": resolve_backend(train.backend), "train": train.to_json()}
    told |= {"sequences": len(sequences), **outcome._asdict()}
    file = replace(file, parameters=learner.parameters(), training=told)
    if test is not None:
        told["held_out"] = measure(file, open_classifier(file), *test).to_json()
    return file


def encode(file: ClassifierFile, inputs: Sequence[Input]) -> list[np.ndarray]:
    """The inputs as the classifier reads them (see `rhapsode.classify.inputs.encoded`)."""
    return encoded(inputs, file.tokenizer, file.model.vocab_size)


def measure(file: ClassifierFile, logits: Logits, sequences: Sequence[np.ndarray], classes: np.ndarray) -> Report:
    """The report on sequences whose classes are known."""
    return Report.of(file.labels, probabilities(logits, sequences, file.length), classes)


def _ids(sequences: Sequence[np.ndarray], fields: Groups) -> int:
    """How many symbols rows of ids have: as many as was said, or as are seen."""
    seen = max(int(ids.max()) for ids in sequences) + 1
    said = fields[CorpusConfig].get("vocab_size", max(2, seen))
    if said < seen:
        raise ConfigError("vocab_size", said, f"at least {seen}, as there is an id {seen - 1}")
    return said
